"""The metrics page: every contract name at 0, three formats, negotiation, a real Prometheus."""

import gzip
import http.server
import math
import os
import subprocess
import threading
import time
import urllib.parse

import exposition
import harness
import names
import otlp
import rawsocket

TEXT = "text/plain"
OPEN = "application/openmetrics-text"
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


class FirstScrape(harness.TestCase):
    """An idle gateway, nothing has happened yet."""

    @classmethod
    def prepare(cls):
        cls.gateway = cls.share(harness.Wscope(cls.directory))
        cls.first = cls.gateway.metrics()

    def test_contract(self):
        """Every family with its type and exactly its labels, children at 0."""
        for family, (kind, labels, edges) in names.CONTRACT.items():
            with self.subTest(family=family):
                self.assertEqual(self.first.types.get(family), kind)
                self.assertTrue(self.first.helps.get(family))
                if kind == names.HISTOGRAM:
                    self.check_histogram(family, labels, edges)
                    continue
                if family == "django_http_requests_total" and family not in self.first.samples:
                    continue  # its children are learnt from the traffic
                self.assertEqual(self.first.label_names(family), {tuple(sorted(labels))})
                for have, value in self.first.samples[family]:
                    self.assertTrue(all(have.values()), "empty label: %s" % have)
                    if family not in names.NEVER_ZERO:
                        self.assertEqual(value, 0, have)
                    self.assertFalse(math.isinf(value))

    def check_histogram(self, family, labels, edges):
        self.assertEqual(self.first.label_names(family + "_count"), {tuple(labels)})
        self.assertEqual(self.first.value(family + "_count"), 0)
        self.assertEqual(self.first.value(family + "_sum"), 0)
        have = {float(le) for le in self.first.buckets(family)}
        self.assertLessEqual({float(edge) for edge in edges}, have)
        self.assertIn(math.inf, have)

    def test_errors_have_children(self):
        """Errors exist at 0, so that a first error is a rise from 0 and no new series."""
        rows = self.first.samples["app_errors_total"]
        self.assertGreater(len(rows), 3)
        self.assertLess(len(rows), 200)

    def test_memory_and_cpu_are_true(self):
        rss = self.gateway.rss_bytes()
        metrics = self.gateway.metrics()
        used = metrics.value("app_memory_usage_bytes")
        total = metrics.value("app_memory_total_bytes")
        self.assertTrue(0.5 * rss < used < 2 * rss, (used, rss))
        self.assertGreater(total, used)
        self.assertAlmostEqual(
            metrics.value("app_memory_usage_percent"), used / total * 100, delta=1
        )
        self.assertTrue(0 <= metrics.value("app_cpu_usage_percent") <= 100 * os.cpu_count())
        self.assertTrue(0 <= metrics.value("app_uptime_percentage") <= 100)

    def test_promtool(self):
        """The linter finds nothing but the guide's own `percent` names."""
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=self.gateway.get("/metrics").body,
            capture_output=True,
            timeout=30,
            check=False,
        )
        found = (done.stdout + done.stderr).decode().strip().splitlines()
        self.assertEqual([line for line in found if "percent" not in line.split()[0]], [])
        self.assertIn(done.returncode, (0, 3))

    def test_negotiation(self):
        """Highest q wins, unknown types are skipped, nothing asked means text."""
        prometheus2 = OPEN + ";version=1.0.0,%s;version=0.0.1;q=0.75,text/plain;" % OPEN
        prometheus2 += "version=0.0.4;q=0.5,*/*;q=0.1"
        prometheus3 = OPEN + ";version=1.0.0;escaping=allow-utf-8;q=0.6,"
        prometheus3 += OPEN + ";version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
        prometheus3 += "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        for accept, wanted in (
            (None, TEXT),
            ("*/*", TEXT),
            ("text/*", TEXT),
            ("text/html", TEXT),
            ("text/plain;version=0.0.4", TEXT),
            ("text/plain;q=0.1, %s;q=0.9" % OPEN, OPEN),
            ("text/plain;q=0.9, %s;q=0.1" % OPEN, TEXT),
            ("%s;q=0, text/plain" % OPEN, TEXT),
            (prometheus2, OPEN),
            (prometheus3, OPEN),
            (PROTOBUF + ";q=0.8," + OPEN + ";q=0.7,text/plain;q=0.1", PROTOBUF),
            (PROTOBUF.replace(";", "; "), PROTOBUF),
            ("application/vnd.google.protobuf;proto=other.Type;encoding=delimited", TEXT),
            ("application/vnd.google.protobuf;encoding=text;q=1,text/plain;q=0.1", TEXT),
            ("%s; version=9.9.9, text/plain;q=0.2" % OPEN, TEXT),
            ("garbage;;;q=x,,", TEXT),
        ):
            with self.subTest(accept=accept):
                headers = {} if accept is None else {"Accept": accept}
                reply = self.gateway.get("/metrics", headers=headers)
                self.assertEqual(reply.status, 200)
                kind = reply.headers["content-type"].replace(" ", "")
                self.assertEqual(kind.split(";")[0], wanted.split(";")[0])
                if wanted == TEXT:
                    self.assertIn("version=0.0.4", kind)
                    exposition.parse_text(reply.text)
                elif wanted == OPEN:
                    self.assertIn("version=1.0.0", kind)
                    self.assertIn("charset=utf-8", kind)
                    exposition.parse_open(reply.text)
                else:
                    self.assertEqual(kind, PROTOBUF)
                    exposition.parse_protobuf(reply.body)

    def test_gzip(self):
        plain = self.gateway.get("/metrics", headers={"Accept-Encoding": "identity"})
        self.assertNotIn("content-encoding", plain.headers)
        packed = self.gateway.get("/metrics", headers={"Accept-Encoding": "gzip"})
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertIn("accept-encoding", packed.headers.get("vary", "").lower())
        text = gzip.decompress(packed.body)
        exposition.parse_text(text.decode())
        self.assertLess(len(packed.body), len(text) / 3)
        refused = self.gateway.get("/metrics", headers={"Accept-Encoding": "gzip;q=0, br"})
        self.assertNotIn("content-encoding", refused.headers)

    def test_other_methods(self):
        for method, status in (("HEAD", 200), ("POST", 405), ("DELETE", 405)):
            reply = harness.request(self.gateway.observer, "/metrics", method=method)
            self.assertEqual(reply.status, status, method)
        self.assertEqual(self.gateway.get("/no/such/page").status, 404)

    def test_start_page_and_health(self):
        page = self.gateway.get("/")
        self.assertEqual(page.status, 200)
        self.assertIn("text/html", page.headers["content-type"])
        for path in ("/metrics", "/healthz", "/readyz", "/api/v1/sessions"):
            self.assertIn(path, page.text)
        self.assertEqual(self.gateway.get("/healthz").status, 200)
        self.assertEqual(self.gateway.get("/readyz").status, 200)
        self.assertEqual(len(self.gateway.stdout().strip().splitlines()), 5)

    def test_three_formats_agree(self):
        text = self.gateway.metrics()
        opened = exposition.parse_open(
            self.gateway.get("/metrics", headers={"Accept": OPEN + ";version=1.0.0"}).text
        )
        packed = exposition.parse_protobuf(
            self.gateway.get("/metrics", headers={"Accept": PROTOBUF}).body
        )
        self.assertEqual(set(text.types), set(packed))
        for family, kind in text.types.items():
            self.assertEqual(exposition.PROTO_TYPES[packed[family].get("type", 0)], kind)
            base = family[:-6] if kind == "counter" else family
            self.assertEqual(opened.types.get(base), kind, family)
            self.assertEqual(opened.helps.get(base), text.helps[family])
            if kind == "counter":
                for labels, _ in text.samples.get(family, []):
                    self.assertIsNotNone(opened.value(base + "_created", **labels), family)


class Traffic(harness.TestCase):
    """A gateway that has had known traffic on its built-in echo."""

    @classmethod
    def prepare(cls):
        cls.collector = otlp.Collector()
        cls.addClassCleanup(cls.collector.stop)
        cls.gateway = cls.share(
            harness.Wscope(cls.directory, "--otlp", cls.collector.url, "--trace-ratio", "1")
        )
        with rawsocket.WebSocket(cls.gateway.port, "/echo") as socket:
            for size in (10, 100, 1000, 10000):
                socket.text("x" * size)
                socket.message()
            socket.finish()

    def test_native_histogram(self):
        """Sparse buckets at schema 3: their counts add up, their place fits the sizes."""
        packed = exposition.parse_protobuf(
            self.gateway.get("/metrics", headers={"Accept": PROTOBUF}).body
        )
        (metric,) = packed["app_message_size_bytes"]["metric"]
        histogram = metric["histogram"]
        self.assertEqual((histogram["sample_count"], histogram["sample_sum"]), (4, 11110))
        self.assertEqual(histogram["schema"], 3)
        counts, running, index = {}, 0, 0
        deltas = iter(histogram["positive_delta"])
        for span in histogram["positive_span"]:
            index += span.get("offset", 0)
            for _ in range(span["length"]):
                running += next(deltas)
                counts[index] = running
                index += 1
        self.assertIsNone(next(deltas, None))
        wanted = {}
        for size in (10, 100, 1000, 10000):
            edge = math.ceil(math.log2(size) * 8)
            wanted[edge] = wanted.get(edge, 0) + 1
        self.assertEqual({place: n for place, n in counts.items() if n}, wanted)
        self.assertEqual(histogram.get("zero_count", 0), 0)
        classic = {
            bucket.get("upper_bound", 0.0): bucket.get("cumulative_count", 0)
            for bucket in histogram["bucket"]
        }
        self.assertEqual((classic[64.0], classic[1024.0], classic[16384.0]), (1, 3, 4))

    def test_exemplars(self):
        page = self.gateway.get("/metrics", headers={"Accept": OPEN + ";version=1.0.0"}).text
        metrics = exposition.parse_open(page)
        self.assertTrue(metrics.exemplars)
        for name, _, exemplar, _ in metrics.exemplars:
            self.assertRegex(exemplar["trace_id"], r"\A[0-9a-f]{32}\Z", name)
            self.assertRegex(exemplar["span_id"], r"\A[0-9a-f]{16}\Z", name)

    def test_created_does_not_move(self):
        def created():
            page = self.gateway.get("/metrics", headers={"Accept": OPEN + ";version=1.0.0"}).text
            return exposition.parse_open(page).value("app_messages_created")

        first = created()
        self.assertLess(abs(first - time.time()), 120)
        time.sleep(0.2)
        self.assertEqual(created(), first)

    def test_rates(self):
        """The derived gauges follow the traffic."""
        metrics = self.gateway.wait_metric(
            lambda metrics: metrics.value("app_messages_per_second") > 0, "a rate", 10
        )
        self.assertLessEqual(metrics.value("app_messages_per_second"), 4)
        self.assertGreater(metrics.value("app_response_time_p95"), 0)
        self.assertLess(metrics.value("app_response_time_p95"), 1)

    def test_cost_of_a_scrape(self):
        """Far under the second that a scrape may take."""
        self.gateway.get("/metrics")
        began = time.monotonic()
        for _ in range(20):
            self.gateway.get("/metrics")
        self.assertLess((time.monotonic() - began) / 20, 0.1)


SCRAPE = """\
global: {scrape_interval: 1s, scrape_timeout: 900ms}
scrape_configs:
  - job_name: websocket-app
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""


class Prometheus(harness.TestCase):
    """Debian's Prometheus scrapes: its own Accept gives OpenMetrics, with native histograms
    switched on it gives protobuf, and behind a proxy that asks for text, the text."""

    @classmethod
    def prepare(cls):
        cls.gateway = cls.share(harness.Wscope(cls.directory))
        with rawsocket.WebSocket(cls.gateway.port, "/echo") as socket:
            socket.text("hello")
            socket.message()
            socket.finish()

    def prometheus(self, name, target, *flags):
        directory = os.path.join(self.directory, name)
        os.mkdir(directory)
        configuration = os.path.join(directory, "prometheus.yml")
        with open(configuration, "w", encoding="ascii") as file:
            file.write(SCRAPE % target)
        port = harness.free_port()
        child = self.start(
            harness.Process(
                name,
                ["prometheus", "--config.file", configuration, "--log.level", "warn"]
                + ["--storage.tsdb.path", os.path.join(directory, "data")]
                + ["--web.listen-address", "127.0.0.1:%d" % port, *flags],
                self.directory,
            )
        )
        child.wait_port(port)
        harness.wait_until(
            lambda: harness.request(port, "/-/ready").status == 200, 15, "prometheus ready"
        )
        return child, port

    def ask(self, port, path, **query):
        reply = harness.request(port, path + "?" + urllib.parse.urlencode(query))
        answer = reply.json()
        self.assertEqual(answer["status"], "success", answer)
        return answer["data"]

    def check(self, name, target, *flags):
        child, port = self.prometheus(name, target, *flags)

        def scraped():
            (one,) = self.ask(port, "/api/v1/targets")["activeTargets"] or [{}]
            return one if one.get("health") in ("up", "down") else None

        one = harness.wait_until(scraped, 15, "a scrape", interval=0.2)
        self.assertEqual((one["health"], one["lastError"]), ("up", ""))

        def vector(query):
            return self.ask(port, "/api/v1/query", query=query)["result"]

        harness.wait_until(lambda: vector("app_active_connections"), 10, "series", interval=0.2)
        for family, (kind, _, _) in names.CONTRACT.items():
            if kind != names.HISTOGRAM and family != "django_http_requests_total":
                self.assertTrue(vector(family), family)
        (count,) = vector("app_messages_total")
        self.assertEqual(count["value"][1], "1")
        self.assertEqual(count["metric"]["job"], "websocket-app")
        self.assertNotIn("err=", child.stderr())
        self.assertNotIn("Error on ingesting", child.stderr())
        return vector

    def test_open_metrics(self):
        vector = self.check("open", self.gateway.observer)
        self.assertEqual(vector("app_message_size_bytes_count")[0]["value"][1], "1")

    def test_protobuf(self):
        vector = self.check(
            "protobuf", self.gateway.observer, "--enable-feature=native-histograms"
        )
        (count,) = vector("histogram_count(app_message_size_bytes)")
        self.assertEqual(count["value"][1], "1", "a native histogram came over protobuf")

    def test_text(self):
        """A small relay that asks for the text format on Prometheus' behalf."""
        proxy = TextProxy(self.gateway.observer)
        self.addCleanup(proxy.stop)
        vector = self.check("text", proxy.port)
        self.assertEqual(vector("app_message_size_bytes_sum")[0]["value"][1], "5")
        self.assertTrue(proxy.types)
        self.assertTrue(all(kind.startswith("text/plain") for kind in proxy.types))


class TextProxy:
    """Fetches the metrics page with `Accept: text/plain` and passes it on with its type."""

    def __init__(self, target):
        proxy = self
        self.types = []

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self):
                reply = harness.request(
                    target, "/metrics", headers={"Accept": "text/plain;version=0.0.4"}
                )
                proxy.types.append(reply.headers["content-type"])
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.headers["content-type"])
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

