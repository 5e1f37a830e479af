"""Plain HTTP through the gateway: bytes exact, connections kept, everything measured."""

import hashlib
import http.client
import json
import os
import re
import socket
import threading
import time

import harness
import rawsocket

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
COUNTS = "django_http_requests_total"
ITEM = "/items/9b2d9c1e-7a8f-4a3e-9b1a-1f2e3d4c5b6a/"
PATTERN = bytes(range(251))


def pattern(size):
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def get(port, path, close=True, headers=""):
    """The bytes of a GET request."""
    ending = "Connection: close\r\n" if close else ""
    return (
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s%s\r\n" % (path, port, headers, ending)
    ).encode()


class Relay(harness.TestCase):
    """All views of the Django project, one gateway for the class."""

    @classmethod
    def prepare(cls):
        cls.django = cls.share(harness.Daphne(cls.directory))
        cls.gateway = cls.share(
            harness.Wscope(cls.directory, "--upstream", cls.django.upstream)
        )
        cls.port = cls.gateway.port

    def ask(self, path, **options):
        return harness.request(self.port, path, **options)

    def test_same_as_direct(self):
        """Status, body and headers are those of the backend asked directly."""
        for method, path, headers in (
            ("GET", "/hello/", {}),
            ("HEAD", "/hello/", {}),
            ("GET", "/users/7/", {}),
            ("GET", ITEM, {}),
            ("GET", "/fail/", {}),
            ("GET", "/nosuch/", {}),
            ("GET", "/stream/?parts=7", {}),
            ("HEAD", "/stream/", {}),
            ("GET", "/empty/", {}),
            ("GET", "/cached/", {}),
            ("GET", "/cached/", {"If-None-Match": '"v1"'}),
            ("GET", "/cookies/", {}),
            ("GET", "/upload/", {}),
            ("OPTIONS", "/hello/", {}),
            ("DELETE", "/hello/", {}),
            ("GET", "/pages/a%20b%C3%A9?q=%2F&r=1+2", {}),
        ):
            with self.subTest(method=method, path=path):
                wanted = harness.request(self.django.port, path, method=method, headers=headers)
                got = self.ask(path, method=method, headers=headers)
                self.assertEqual((got.status, got.body), (wanted.status, wanted.body))
                ours = {"x-correlation-id", "connection", "keep-alive", "date", "via"}
                ours |= {"transfer-encoding", "content-length"}
                for reply in (got, wanted):
                    reply.pairs = sorted(
                        (name.lower(), value)
                        for name, value in reply.pairs
                        if name.lower() not in ours
                    )
                self.assertEqual(got.pairs, wanted.pairs)
                self.assertRegex(got.headers["x-correlation-id"], UUID)

    def test_head_has_length_and_no_body(self):
        with rawsocket.Raw(self.port) as raw:
            raw.send(get(self.port, "/hello/").replace(b"GET", b"HEAD"))
            status, headers, _ = raw.head()
            self.assertEqual((status, headers["content-length"]), (200, "6"))
            self.assertEqual(raw.buffer, b"")
            self.assertTrue(raw.ended())

    def test_bodies_both_ways(self):
        for size in (0, 1, 65535, 1_000_000, 5_000_001):
            with self.subTest(size=size):
                body = pattern(size)
                got = self.ask("/upload/", method="POST", body=body).json()
                self.assertEqual(
                    got, {"length": size, "sha256": hashlib.sha256(body).hexdigest()}
                )
                self.assertEqual(self.ask("/big/?size=%d" % size).body, body)

    def test_chunked_upload(self):
        pieces = [b"a" * 10, b"b" * 70000, b"c"]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self.addCleanup(connection.close)
        connection.request("POST", "/upload/", body=iter(pieces), encode_chunked=True)
        got = json.loads(connection.getresponse().read())
        body = b"".join(pieces)
        self.assertEqual(got, {"length": 70011, "sha256": hashlib.sha256(body).hexdigest()})

    def test_chunked_upload_split_anywhere(self):
        """Chunk heads, extensions and trailers cut at every byte."""
        request = (
            b"POST /upload/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" % self.port
        )
        for cut in range(len(request) - 50, len(request), 3):
            with rawsocket.Raw(self.port) as raw:
                raw.send(request[:cut])
                time.sleep(0.01)
                raw.send(request[cut:])
                status, _, _ = raw.head()
                self.assertEqual(status, 200, cut)
                while not raw.buffer.endswith(b"}") and b'"}' not in raw.buffer:
                    raw.read_more()
                self.assertIn(hashlib.sha256(b"hello world").hexdigest().encode(), raw.buffer)

    def test_keep_alive(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self.addCleanup(connection.close)
        connection.connect()
        first = connection.sock.getsockname()
        for number in range(20):
            connection.request("GET", "/users/%d/" % number)
            self.assertEqual(json.loads(connection.getresponse().read()), {"user": number})
            self.assertEqual(connection.sock and connection.sock.getsockname(), first)

    def test_pipelining(self):
        with rawsocket.Raw(self.port, timeout=10) as raw:
            raw.send(b"".join(get(self.port, "/pages/%d/" % n, close=n == 9) for n in range(10)))
            data = b""
            try:
                while True:
                    raw.read_more()
                    data, raw.buffer = data + raw.buffer, b""
            except rawsocket.Closed:
                pass
        got = [int(number) for number in re.findall(rb"page (\d+)\n", data)]
        self.assertEqual(got, list(range(10)), "each answered once, in order")

    def test_http_10(self):
        with rawsocket.Raw(self.port) as raw:
            raw.send(b"GET /stream/ HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            data = b""
            try:
                while True:
                    raw.read_more()
                    data, raw.buffer = data + raw.buffer, b""
            except rawsocket.Closed:
                pass
        head, _, body = data.partition(b"\r\n\r\n")
        self.assertIn(b" 200 ", head.split(b"\r\n")[0] + b" ")
        self.assertNotIn(b"transfer-encoding", head.lower())
        self.assertEqual(body, b"".join(b"part %d;" % number for number in range(5)))

    def test_expect_continue(self):
        with rawsocket.Raw(self.port) as raw:
            raw.send(
                b"POST /upload/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 5\r\n"
                b"Expect: 100-continue\r\nConnection: close\r\n\r\n" % self.port
            )
            self.assertEqual(raw.head()[0], 100)
            raw.send(b"hello")
            self.assertEqual(raw.head()[0], 200)

    def test_backend_sees_headers(self):
        got = self.ask(
            "/headers/",
            headers={
                "X-Correlation-ID": "req-1",
                "X-Custom": "kept",
                "Connection": "keep-alive, X-Drop",
                "X-Drop": "hop by hop",
                "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            },
        )
        seen = got.json()
        self.assertEqual(got.headers["x-correlation-id"], "req-1")
        self.assertEqual(seen["x-correlation-id"], "req-1")
        self.assertEqual(seen["x-custom"], "kept")
        self.assertEqual(seen["host"], "127.0.0.1:%d" % self.port)
        self.assertEqual(seen["x-forwarded-for"], "127.0.0.1")
        self.assertEqual(seen["x-forwarded-proto"], "http")
        self.assertEqual(seen["x-forwarded-host"], "127.0.0.1:%d" % self.port)
        self.assertTrue(seen["traceparent"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-"))
        self.assertNotIn("x-drop", seen)

    def test_client_leaves_midway(self):
        """Half an upload and a half-read answer cost nobody anything."""
        for _ in range(5):
            raw = rawsocket.Raw(self.port)
            raw.send(
                b"POST /upload/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhalf"
            )
            raw.abort()
            raw = rawsocket.Raw(self.port)
            raw.send(get(self.port, "/big/?size=5000000"))
            raw.read_more()
            raw.abort()
        self.gateway.wait_metric(
            lambda metrics: metrics.value("django_http_requests_active") == 0, "active is 0"
        )
        self.assertEqual(self.ask("/hello/").body, b"hello\n")

    def test_slow_reader_bounds_memory(self):
        """A client that does not read holds the backend back, not 60 MB in the gateway."""
        before = self.gateway.rss_bytes()
        raws = []
        try:
            for _ in range(4):
                raw = rawsocket.Raw(self.port, receive_buffer=4096)
                raw.send(get(self.port, "/big/?size=15000000"))
                raws.append(raw)
            time.sleep(1.0)
            self.assertLess(self.gateway.rss_bytes() - before, 20_000_000)
            total = 0
            raws[0].head()
            total = len(raws[0].buffer)
            raws[0].socket.settimeout(20)
            while total < 15_000_000:
                raws[0].buffer = b""
                raws[0].read_more()
                total += len(raws[0].buffer)
            self.assertEqual(total, 15_000_000)
        finally:
            for raw in raws:
                raw.close()

    def test_concurrent(self):
        """Fifty requests at once, each with its own answer."""
        results, threads = {}, []

        def one(number):
            results[number] = self.ask("/users/%d/" % number).json()["user"]

        for number in range(50):
            threads.append(threading.Thread(target=one, args=(number,)))
            threads[-1].start()
        for thread in threads:
            thread.join(20)
        self.assertEqual(results, {number: number for number in range(50)})


class Measured(harness.TestCase):
    """Counters, templates, times; each test its own gateway."""

    @classmethod
    def prepare(cls):
        cls.django = cls.share(harness.Daphne(cls.directory))

    def test_counts_and_templates(self):
        gateway = self.wscope("--upstream", self.django.upstream)
        paths = ["/users/%d/" % number for number in (1, 22, 333, 4444)]
        paths += [ITEM, "/items/00000000-7a8f-4a3e-9b1a-ffffffffffff/"]
        paths += ["/blobs/%s/" % hashlib.sha256(str(n).encode()).hexdigest() for n in range(3)]
        paths += ["/hello/", "/hello/?secret=1", "/fail/", "/nosuch/"]
        statuses = {}
        for path in paths:
            status = harness.request(gateway.port, path).status
            statuses[status] = statuses.get(status, 0) + 1
        harness.request(gateway.port, "/upload/", method="POST", body=b"x")
        harness.request(gateway.port, "/hello/", method="HEAD")
        metrics = gateway.metrics()
        self.assertEqual(metrics.total(COUNTS), len(paths) + 2)
        for status, count in {**statuses, 200: statuses[200] + 2}.items():
            self.assertEqual(metrics.total(COUNTS, status=status), count, status)
        endpoints = {
            labels["endpoint"]: value
            for labels, value in metrics.series(COUNTS)
            if value and labels["endpoint"] != "__other__"  # what the backend does not know
        }
        families = {}
        for endpoint in endpoints:
            families.setdefault(endpoint.split("/")[1], []).append(endpoint)
        for family, count in (("users", 4), ("items", 2), ("blobs", 3)):
            self.assertEqual(len(families[family]), 1, families)
            (endpoint,) = families[family]
            self.assertEqual(metrics.total(COUNTS, endpoint=endpoint, method="GET"), count)
            self.assertNotRegex(endpoint, r"\d")
        self.assertEqual(families["hello"], ["/hello/"], "no query in a template")
        self.assertEqual(metrics.total(COUNTS, endpoint="/hello/", method="HEAD"), 1)
        self.assertEqual(metrics.total(COUNTS, endpoint="/upload/", method="POST"), 1)
        self.assert_metric(
            metrics, "django_http_request_duration_seconds_count", {}, len(paths) + 2
        )
        self.assert_metric(metrics, "django_http_requests_active", {}, 0)
        self.assert_metric(metrics, "app_requests_total", {}, 0)

    def test_templates_are_bounded(self):
        gateway = self.wscope("--upstream", self.django.upstream)
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        self.addCleanup(connection.close)
        letters = "abcdefghijklmnopqrstuvwxyz"
        for number in range(260):
            name = letters[number % 26] + "-" + letters[number // 26] + "-name"
            connection.request("GET", "/pages/%s/" % name)
            self.assertEqual(connection.getresponse().read(), b"page %s\n" % name.encode())
        connection.request("GET", "/users/7/")
        connection.getresponse().read()
        metrics = gateway.metrics()
        endpoints = {labels["endpoint"] for labels, _ in metrics.series(COUNTS)}
        self.assertLessEqual(len(endpoints), 201)
        self.assertEqual(metrics.total(COUNTS), 261)

    def test_methods_and_statuses_are_bounded(self):
        """A client can not make labels: unknown methods share one."""
        gateway = self.wscope("--upstream", self.django.upstream)
        for number in range(20):
            with rawsocket.Raw(gateway.port) as raw:
                raw.send(get(gateway.port, "/hello/").replace(b"GET", b"M%s" % (b"A" * number)))
                raw.head()
        metrics = gateway.wait_metric(lambda metrics: metrics.total(COUNTS) >= 20, "20 requests")
        methods = {labels["method"] for labels, value in metrics.series(COUNTS) if value}
        self.assertLessEqual(len(methods), 2, methods)

    def test_durations_and_active(self):
        gateway = self.wscope("--upstream", self.django.upstream)
        thread = threading.Thread(
            target=harness.request, args=(gateway.port, "/slow/?seconds=0.6")
        )
        thread.start()
        gateway.wait_metric(
            lambda metrics: metrics.value("django_http_requests_active") == 1, "one active"
        )
        thread.join(10)
        metrics = gateway.wait_metric(
            lambda metrics: metrics.value("django_http_requests_active") == 0, "none active"
        )
        spent = metrics.value("django_http_request_duration_seconds_sum")
        self.assertTrue(0.6 <= spent < 2, spent)

    def test_log_line(self):
        """The http logger has the fields that the usual log queries read."""
        gateway = self.wscope("--upstream", self.django.upstream)
        reply = harness.request(
            gateway.port, "/users/7/?a=1", headers={"X-Correlation-ID": "line-1"}
        )
        self.assertEqual(reply.status, 200)
        line = gateway.wait_log(lambda line: line["logger"] == "http", "request")
        self.assertEqual(line["correlation_id"], "line-1")
        fields = line["extra_fields"]
        self.assertEqual(fields["method"], "GET")
        self.assertTrue(fields["endpoint"].startswith("/users/"))
        self.assertIsInstance(fields["response_time"], (int, float))
        self.assertEqual(int(fields["status"]), 200)


class Broken(harness.TestCase):
    """Backends that are not there, do not answer, or lie."""

    @classmethod
    def prepare(cls):
        cls.down = harness.free_port()

    def stub(self, answer, hold=0.0):
        """A backend that reads a head, sends the given bytes and closes."""
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        server.settimeout(20)
        self.addCleanup(server.close)

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(5)
                    try:
                        data = b""
                        while b"\r\n\r\n" not in data:
                            more = client.recv(65536)
                            if not more:
                                break
                            data += more
                        client.sendall(answer)
                        time.sleep(hold)
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()
        return "http://127.0.0.1:%d" % server.getsockname()[1]

    def test_down_is_502_at_once(self):
        gateway = self.wscope("--upstream", "http://127.0.0.1:%d" % self.down)
        began = time.monotonic()
        reply = harness.request(gateway.port, "/hello/")
        self.assertEqual(reply.status, 502)
        self.assertLess(time.monotonic() - began, 1.0)
        self.assertRegex(reply.headers["x-correlation-id"], UUID)
        metrics = gateway.metrics()
        self.assertEqual(metrics.total(COUNTS, status="502", method="GET"), 1)
        line = gateway.wait_log(
            lambda line: line["logger"] == "http" and line["level"] in ("WARNING", "ERROR"),
            "the failure",
        )
        self.assertEqual(line["correlation_id"], reply.headers["x-correlation-id"])

    def test_slow_is_504(self):
        django = self.start(harness.Daphne(self.directory))
        gateway = self.wscope(
            "--upstream", django.upstream, config="gateway: {response_timeout: 500ms}\n"
        )
        began = time.monotonic()
        self.assertEqual(harness.request(gateway.port, "/slow/?seconds=1.5").status, 504)
        self.assertLess(time.monotonic() - began, 2.0)
        self.assertEqual(gateway.metrics().total(COUNTS, status="504"), 1)
        # Django runs its views one after the other: it is still in the slow one.
        harness.wait_until(
            lambda: harness.request(gateway.port, "/hello/").body == b"hello\n", 5, "an answer"
        )

    def test_silent_backend_is_504_for_handshakes(self):
        """A backend that accepts and says nothing."""
        server = socket.socket()
        self.addCleanup(server.close)
        server.bind(("127.0.0.1", 0))
        server.listen(10)
        gateway = self.wscope(
            "--upstream",
            "http://127.0.0.1:%d" % server.getsockname()[1],
            config="gateway: {response_timeout: 500ms}\n",
        )
        with self.assertRaises(rawsocket.Refused) as refused:
            rawsocket.WebSocket(gateway.port, "/ws/echo/")
        self.assertEqual(refused.exception.status, 504)
        metrics = gateway.metrics()
        self.assertEqual(metrics.total("app_errors_total", error_code="504"), 1)
        self.assert_metric(metrics, "app_connections_total", {}, 0)

    def test_garbage_is_502(self):
        for answer in (b"not http at all\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"):
            with self.subTest(answer=answer):
                gateway = self.wscope("--upstream", self.stub(answer))
                self.assertEqual(harness.request(gateway.port, "/x").status, 502)
                gateway.drain()

    def test_cut_short_is_no_complete_answer(self):
        """A body shorter than its Content-Length must not look whole to the client."""
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"
        gateway = self.wscope("--upstream", self.stub(answer))
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            harness.request(gateway.port, "/x")

    def test_upgrade_without_accept_is_502(self):
        """A backend's 101 with a wrong Sec-WebSocket-Accept opens no connection."""
        answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
        )
        gateway = self.wscope("--upstream", self.stub(answer, hold=1.0))
        with self.assertRaises(rawsocket.Refused) as refused:
            rawsocket.WebSocket(gateway.port, "/ws/echo/")
        self.assertEqual(refused.exception.status, 502)

    def test_no_descriptor_is_lost(self):
        gateway = self.wscope("--upstream", "http://127.0.0.1:%d" % self.down)
        harness.request(gateway.port, "/warm")
        before = gateway.descriptors()
        for number in range(100):
            harness.request(gateway.port, "/x/%d" % number)
        harness.wait_until(
            lambda: gateway.descriptors() <= before + 2, 5, "descriptors back to %d" % before
        )
        self.assertTrue(os.path.exists("/proc/%d" % gateway.pid))
