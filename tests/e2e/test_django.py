"""A Django Channels service behind the gateway: counts, lines, headers and spans, all exact."""

import asyncio
import json
import re
import ssl
import uuid

import exposition
import harness
import names
import otlp
import rawsocket
import websockets

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")
TEXTS = ["x" * size for size in (1, 63, 64, 65, 125, 126, 255, 1024, 65535, 65536, 70000)]
TEXTS.append("ä€𝄞" * 50)
BINARIES = [bytes(range(256)) * (size // 256 + 1) for size in (1, 256, 4096, 16384)]
BINARIES = [data[:size] for data, size in zip(BINARIES, (1, 256, 4097, 16384))]
EDGES = names.CONTRACT["app_message_size_bytes"][2]


def run(coroutine, seconds=20):
    """Runs a coroutine to its end, with a limit."""
    return asyncio.run(asyncio.wait_for(coroutine, seconds))


def header_bytes(size, masked):
    """Bytes of a frame's head (RFC 6455 section 5.2)."""
    return 2 + (0 if size < 126 else 2 if size < 65536 else 8) + (4 if masked else 0)


async def converse(url, tls):
    """Sends the script, checks each answer; returns the correlation id of the response."""
    async with connect(url, tls) as socket:
        for message in [*TEXTS, *BINARIES]:
            await socket.send(message)
            answer = await socket.recv()
            assert answer == message, (len(answer), len(message))
        correlation = socket.response_headers["X-Correlation-ID"]
    assert socket.close_code == 1000, socket.close_code
    return correlation


def connect(url, tls=None, **options):
    options.setdefault("ping_interval", None)
    options.setdefault("max_size", None)
    options.setdefault("open_timeout", 10)
    options.setdefault("close_timeout", 5)
    return websockets.connect(url, ssl=tls, **options)


class Case(harness.TestCase):
    """What both ways, plain and TLS, share."""

    tls = False
    redis = False

    @classmethod
    def prepare(cls):
        cls.certificate = harness.Certificate(cls.directory) if cls.tls else None
        port = cls.share(harness.Redis(cls.directory)).port if cls.redis else None
        cls.django = cls.share(
            harness.Daphne(cls.directory, redis_port=port, certificate=cls.certificate)
        )
        cls.context = cls.certificate.client_context() if cls.tls else None

    def gateway(self, *flags, otlp_url=None, **options):
        """A fresh gateway in front of Django, so that every count starts at 0."""
        flags = list(flags)
        if self.tls:
            flags += ["--upstream", self.django.tls_upstream]
            flags += ["--upstream-ca", self.certificate.ca]
            flags += ["--tls-cert", self.certificate.cert, "--tls-key", self.certificate.key]
        else:
            flags += ["--upstream", self.django.upstream]
        if otlp_url:
            flags += ["--otlp", otlp_url]
        return self.wscope(*flags, tls=self.tls, **options)

    def collector(self):
        collector = otlp.Collector()
        self.own.append(collector)
        self.addCleanup(collector.stop)
        return collector

    def closed(self, gateway, count=1):
        """Waits until so many connections are closed; returns that scrape."""
        return gateway.wait_metric(
            lambda metrics: metrics.value("app_connections_closed_total") == count
            and metrics.value("app_active_connections") == 0,
            "%d connections closed" % count,
        )


class Script:
    """The script of known messages; its counts, lines and spans."""

    route = "/ws/chat/lobby/"

    def test_counts(self):
        gateway = self.gateway()
        run(converse(gateway.url + self.route, self.context))
        metrics = self.closed(gateway)
        sizes = [len(text.encode()) for text in TEXTS] + [len(data) for data in BINARIES]
        wanted = {
            "app_connections_total": 1,
            "app_connections_closed_total": 1,
            "app_active_connections": 0,
            "app_messages_total": len(sizes),
            "app_message_size_bytes_count": len(sizes),
            "app_message_size_bytes_sum": sum(sizes),
            "app_message_processing_seconds_count": len(sizes),
            "app_requests_total": 1 + len(sizes),
            "app_connection_duration_seconds_count": 1,
        }
        for name, value in wanted.items():
            self.assert_metric(metrics, name, {}, value)
        buckets = metrics.buckets("app_message_size_bytes")
        for edge in EDGES:
            (count,) = [value for le, value in buckets.items() if float(le) == edge]
            self.assertEqual(count, sum(size <= edge for size in sizes), "le=%s" % edge)
        self.assertEqual(metrics.total("app_errors_total"), 0)
        for direction in (names.IN, names.OUT):
            count = metrics.total(names.WS_RELAY_SECONDS + "_count", direction=direction)
            self.assertGreaterEqual(count, len(sizes))
        self.check_ws(metrics)

    def check_ws(self, metrics):
        """The rich families, by direction and opcode."""
        rows = []
        for direction, masked in ((names.IN, True), (names.OUT, False)):
            for opcode, payloads in (
                (names.TEXT, [text.encode() for text in TEXTS]),
                (names.BINARY, BINARIES),
            ):
                size = sum(map(len, payloads))
                heads = sum(header_bytes(len(data), masked) for data in payloads)
                rows += [
                    ("messages", direction, opcode, len(payloads)),
                    ("frames", direction, opcode, len(payloads)),
                    ("payload", direction, opcode, size),
                    ("wire", direction, opcode, size + heads),
                ]
            rows += [
                ("frames", direction, names.CLOSE, 1),
                ("wire", direction, names.CLOSE, 2 + header_bytes(2, masked)),
            ]
        for kind, direction, opcode, value in rows:
            name = names.WS[kind][0]
            got = metrics.total(name, route=self.route, direction=direction, opcode=opcode)
            self.assertEqual(got, value, (name, direction, opcode, metrics.samples.get(name)))
        for name, labels in names.WS.values():
            self.assertEqual(metrics.label_names(name), {tuple(sorted(labels))}, name)
        closes = names.WS["closes"][0]
        self.assertEqual(metrics.total(closes), 1)
        self.assertEqual(metrics.total(closes, close_code="1000", initiator=names.CLIENT), 1)

    def test_logs(self):
        gateway = self.gateway("--log-messages")
        correlation = run(converse(gateway.url + self.route, self.context))
        self.assertRegex(correlation, UUID)
        self.closed(gateway)
        gateway.wait_log(names.is_close, "close")
        self.assertEqual(gateway.drain(), 0)
        lines = gateway.log_lines()
        for line in lines:
            for key in names.LOG_ALWAYS:
                self.assertIn(key, line)
            self.assertRegex(line["timestamp"], STAMP)
            self.assertIn(line["level"], ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
            self.assertIsInstance(line["line"], int)
            self.assertIsInstance(line.get("extra_fields", {}), dict)
        self.assertEqual(
            sorted(gateway.stderr().splitlines()), sorted(gateway.log_text().splitlines())
        )
        (opened,) = [line for line in lines if names.is_open(line)]
        (closed,) = [line for line in lines if names.is_close(line)]
        self.assertEqual((opened["level"], closed["level"]), ("INFO", "INFO"))
        self.assertEqual(str(names.extra(closed, names.LOG_CODE_KEYS)), "1000")
        self.assertEqual(names.extra(closed, names.LOG_INITIATOR_KEYS), names.CLIENT)
        messages = [line for line in lines if line["logger"] == "websocket.message"]
        self.assertEqual({line["level"] for line in messages}, {"DEBUG"})
        own = [opened, *messages, closed]
        self.assertTrue(opened["connection_id"])
        for line in own:
            for key in names.LOG_CONNECTION:
                self.assertTrue(line.get(key), (key, line))
            self.assertEqual(line["correlation_id"], correlation)
            self.assertEqual(line["connection_id"], opened["connection_id"])
            self.assertEqual(line["session_id"], opened["session_id"])
        got = [
            (
                names.extra(line, names.LOG_DIRECTION_KEYS),
                names.extra(line, names.LOG_TYPE_KEYS),
                names.extra(line, names.LOG_SIZE_KEYS),
            )
            for line in messages
        ]
        wanted = []
        for direction in (names.IN, names.OUT):
            wanted += [(direction, names.TEXT, len(text.encode())) for text in TEXTS]
            wanted += [(direction, names.BINARY, len(data)) for data in BINARIES]
        self.assertEqual(sorted(got), sorted(wanted))

    def test_no_message_lines_by_default(self):
        gateway = self.gateway()
        run(converse(gateway.url + self.route, self.context))
        gateway.wait_log(names.is_close, "close")
        self.assertEqual(gateway.log_lines(logger="websocket.message"), [])

    def test_spans(self):
        collector = self.collector()
        gateway = self.gateway(otlp_url=collector.url)
        correlation = run(converse(gateway.url + self.route, self.context))
        total = 2 * (len(TEXTS) + len(BINARIES))
        harness.wait_until(
            lambda: len(collector.spans()) >= total + 2, 10, "%d spans" % (total + 2)
        )
        self.assertEqual(gateway.drain(), 0)
        spans = collector.spans()
        self.assertEqual(collector.errors, [])
        kinds = {}
        for span in spans:
            kinds.setdefault(span["kind"], []).append(span)
        self.assertEqual(
            {kind: len(rows) for kind, rows in kinds.items() if kind != "INTERNAL"},
            {"SERVER": 1, "CLIENT": 1, "CONSUMER": total // 2, "PRODUCER": total // 2},
        )
        self.assertEqual(len({span["span_id"] for span in spans}), len(spans))
        server, client = kinds["SERVER"][0], kinds["CLIENT"][0]
        self.check_handshake(gateway, server, client, correlation)
        sent = [("text", len(text.encode())) for text in TEXTS]
        sent += [("binary", len(data)) for data in BINARIES]
        for kind in ("CONSUMER", "PRODUCER"):
            self.check_messages(kinds[kind], sent, server, correlation)
        self.assertEqual({span["name"] for span in kinds["CONSUMER"]}, {names.SPAN_PROCESS})
        self.assertEqual({span["name"] for span in kinds["PRODUCER"]}, {names.SPAN_SEND})
        for span in spans:
            self.assertTrue(span["resource"].get("service.name"), span["resource"])
            self.assertNotEqual(span["status"], 2, span)

    def check_handshake(self, gateway, server, client, correlation):
        self.assertEqual(server["name"], names.SPAN_HANDSHAKE)
        self.assertEqual(server["parent"], "")
        self.assertEqual(client["trace_id"], server["trace_id"])
        self.assertEqual(client["parent"], server["span_id"])
        attributes = server["attributes"]
        for key in names.HANDSHAKE_ATTRIBUTES:
            self.assertIn(key, attributes)
        self.assertEqual(attributes["http.request.method"], "GET")
        self.assertEqual(attributes["url.path"], self.route)
        self.assertEqual(attributes["http.route"], self.route)
        self.assertEqual(attributes["http.response.status_code"], 101)
        self.assertEqual(attributes["client.address"], "127.0.0.1")
        self.assertIn("websockets", attributes["user_agent.original"])
        self.assertIn(correlation, attributes.values())
        self.assertLess(server["end"] - server["start"], 5_000_000_000)
        self.assertLessEqual(server["start"], client["start"])

    def check_messages(self, spans, sent, server, correlation):
        self.assertEqual(len({span["trace_id"] for span in spans}), len(spans))
        spans.sort(key=lambda span: span["attributes"]["websocket.message.sequence"])
        got = [
            (
                span["attributes"]["websocket.message.type"],
                span["attributes"]["websocket.message.size"],
            )
            for span in spans
        ]
        self.assertEqual(got, sent)
        for span in spans:
            for key in names.MESSAGE_ATTRIBUTES:
                self.assertIn(key, span["attributes"], span["name"])
            size = span["attributes"]["websocket.message.size"]
            self.assertEqual(span["attributes"]["messaging.message.body.size"], size)
            self.assertEqual(
                span["attributes"]["messaging.message.envelope.size"],
                size + header_bytes(size, span["kind"] == "CONSUMER"),
            )
            self.assertEqual(span["parent"], "", "a message is a root of its own")
            self.assertNotEqual(span["trace_id"], server["trace_id"])
            self.assertEqual(
                span["links"],
                [{"trace_id": server["trace_id"], "span_id": server["span_id"]}],
            )
            self.assertEqual(span["attributes"]["messaging.system"], "websocket")
            self.assertEqual(
                span["attributes"]["messaging.message.conversation_id"], correlation
            )
            self.assertGreaterEqual(span["start"], server["start"])

    def test_backend_sees_the_handshake(self):
        """Headers, subprotocol, cookies and query reach Django; ids agree on all sides."""
        collector = self.collector()
        gateway = self.gateway(otlp_url=collector.url)

        async def talk():
            async with connect(
                gateway.url + "/ws/headers/?room=a%20b&x=1",
                self.context,
                subprotocols=["other", "chat.v1"],
                extra_headers=[("Cookie", "sessionid=abc; theme=dark"), ("X-Custom", "kept")],
            ) as socket:
                return json.loads(await socket.recv()), socket.subprotocol, socket.response_headers

        seen, subprotocol, response = run(talk())
        headers = seen["headers"]
        self.assertEqual(subprotocol, "chat.v1")
        self.assertEqual(seen["subprotocols"], ["other", "chat.v1"])
        self.assertEqual((seen["path"], seen["query"]), ("/ws/headers/", "room=a%20b&x=1"))
        self.assertEqual(headers["cookie"], "sessionid=abc; theme=dark")
        self.assertEqual(headers["x-custom"], "kept")
        self.assertEqual(headers["host"], "127.0.0.1:%d" % gateway.port)
        self.assertEqual(headers["x-forwarded-for"], "127.0.0.1")
        self.assertEqual(headers["x-forwarded-host"], "127.0.0.1:%d" % gateway.port)
        self.assertEqual(headers["x-forwarded-proto"], names.FORWARDED_PROTO[self.tls])
        self.assertRegex(headers["x-correlation-id"], UUID)
        self.assertEqual(headers["x-correlation-id"], response["X-Correlation-ID"])
        self.assertRegex(headers["traceparent"], r"\A00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]\Z")
        harness.wait_until(lambda: len(collector.spans()) >= 3, 10, "spans")
        (client,) = [span for span in collector.spans() if span["kind"] == "CLIENT"]
        self.assertEqual(
            headers["traceparent"].split("-")[1:3], [client["trace_id"], client["span_id"]]
        )

    def test_inbound_ids_are_kept(self):
        collector = self.collector()
        gateway = self.gateway(otlp_url=collector.url)
        trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

        async def talk():
            async with connect(
                gateway.url + "/ws/headers/",
                self.context,
                extra_headers=[
                    ("X-Correlation-ID", "order-4711.a_B"),
                    ("traceparent", "00-%s-%s-01" % (trace, parent)),
                    ("tracestate", "vendor=a1,other=b2"),
                    ("X-Forwarded-For", "203.0.113.9"),
                ],
            ) as socket:
                return json.loads(await socket.recv())["headers"], socket.response_headers

        headers, response = run(talk())
        self.assertEqual(headers["x-correlation-id"], "order-4711.a_B")
        self.assertEqual(response["X-Correlation-ID"], "order-4711.a_B")
        self.assertEqual(headers["tracestate"], "vendor=a1,other=b2")
        self.assertEqual(headers["x-forwarded-for"].split(",")[-1].strip(), "127.0.0.1")
        harness.wait_until(lambda: len(collector.spans()) >= 3, 10, "spans")
        (server,) = [span for span in collector.spans() if span["kind"] == "SERVER"]
        (client,) = [span for span in collector.spans() if span["kind"] == "CLIENT"]
        self.assertEqual((server["trace_id"], server["parent"]), (trace, parent))
        self.assertEqual((client["trace_id"], client["parent"]), (trace, server["span_id"]))
        self.assertEqual(
            headers["traceparent"].split("-")[1:], [trace, client["span_id"], "01"]
        )

    def test_server_closes(self):
        gateway = self.gateway()

        async def talk():
            async with connect(gateway.url + "/ws/echo/", self.context) as socket:
                await socket.send('{"close": 4001}')
                try:
                    await socket.recv()
                except websockets.ConnectionClosed:
                    pass
                return socket.close_code

        self.assertEqual(run(talk()), 4001)
        metrics = self.closed(gateway)
        closes = names.WS["closes"][0]
        self.assertEqual(metrics.total(closes, close_code="4001", initiator=names.BACKEND), 1)
        self.assertEqual(metrics.total(closes), 1)
        line = gateway.wait_log(names.is_close, "close")
        self.assertEqual(str(names.extra(line, names.LOG_CODE_KEYS)), "4001")
        self.assertEqual(names.extra(line, names.LOG_INITIATOR_KEYS), names.BACKEND)


class Plain(Script, Case):
    """Through Redis, without TLS."""

    redis = True

    def test_invalid_correlation_ids_are_replaced(self):
        gateway = self.gateway()
        for bad in ("x" * 300, "two words", 'quo"te', "a;b", "caf\u00e9", "tab\there", ""):
            with rawsocket.WebSocket(
                gateway.port, "/ws/headers/", ["X-Correlation-ID: " + bad]
            ) as socket:
                headers = json.loads(socket.message()[1])["headers"]
                self.assertRegex(headers["x-correlation-id"], UUID, bad)
                self.assertEqual(socket.headers["x-correlation-id"], headers["x-correlation-id"])

    def test_invalid_traceparents_are_ignored(self):
        gateway = self.gateway()
        trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
        for bad in (
            "00-%s-%s-01" % (trace.upper(), span),
            "00-%s-%s-01" % ("0" * 32, span),
            "00-%s-%s-01" % (trace, "0" * 16),
            "ff-%s-%s-01" % (trace, span),
            "00-%s-%s-01-more" % (trace, span),
            "00-%s-%s" % (trace, span),
            "garbage",
        ):
            with rawsocket.WebSocket(
                gateway.port, "/ws/headers/", ["traceparent: " + bad]
            ) as socket:
                headers = json.loads(socket.message()[1])["headers"]
                self.assertRegex(headers["traceparent"], r"\A00-[0-9a-f]{32}-[0-9a-f]{16}-0\d\Z")
                self.assertNotIn(trace, headers["traceparent"].lower(), bad)
        with rawsocket.WebSocket(
            gateway.port, "/ws/headers/", ["traceparent: 01-%s-%s-01-new" % (trace, span)]
        ) as socket:
            headers = json.loads(socket.message()[1])["headers"]
            self.assertIn(trace, headers["traceparent"], "a higher version: its ids are used")

    def test_room_through_redis(self):
        """Three clients in a room: one message in, three out, all counted."""
        gateway = self.gateway()

        async def talk():
            sockets = [
                await connect(gateway.url + "/ws/chat/many/", extra_headers={"X-N": str(number)})
                for number in range(3)
            ]
            await sockets[0].send("to all")
            await sockets[1].send(b"\x00\xff")
            got = [{await socket.recv(), await socket.recv()} for socket in sockets]
            for socket in sockets:
                await socket.close()
            return got

        self.assertEqual(run(talk()), [{"to all", b"\x00\xff"}] * 3)
        metrics = self.closed(gateway, 3)
        name = names.WS["messages"][0]
        route = "/ws/chat/many/"
        self.assert_metric(metrics, "app_messages_total", {}, 2)
        self.assert_metric(metrics, "app_requests_total", {}, 5)
        self.assertEqual(metrics.total(name, route=route, direction=names.OUT), 6)
        self.assertEqual(metrics.total(name, route=route, direction=names.IN), 2)

    def test_refused_handshakes(self):
        """Django's 403 passes on; it is a request, no connection."""
        gateway = self.gateway()
        with self.assertRaises(rawsocket.Refused) as refused:
            rawsocket.WebSocket(gateway.port, "/ws/refuse/")
        self.assertEqual(refused.exception.status, 403)
        self.assertIn("x-correlation-id", refused.exception.headers)
        metrics = gateway.wait_metric(
            lambda metrics: metrics.value("app_requests_total") == 1, "the request"
        )
        self.assert_metric(metrics, "app_connections_total", {}, 0)
        self.assert_metric(metrics, "app_active_connections", {}, 0)
        self.assertLessEqual(metrics.total("app_errors_total"), 1)
        self.assertEqual(metrics.total(names.WS["handshakes"][0], status="403"), 1)

    def test_fragments_and_pings_pass_unchanged(self):
        """Frames, control frames in between, wire bytes, exactly."""
        gateway = self.gateway()
        with rawsocket.WebSocket(gateway.port, "/ws/echo/") as socket:
            socket.send(
                rawsocket.frame(rawsocket.TEXT, "€u".encode()[:2], fin=False)
                + rawsocket.frame(rawsocket.PING, b"in between")
                + rawsocket.frame(rawsocket.CONTINUATION, "€u".encode()[2:], fin=False)
                + rawsocket.frame(rawsocket.CONTINUATION, b"!")
            )
            pong = socket.frame()
            self.assertEqual((pong.opcode, pong.payload), (rawsocket.PONG, b"in between"))
            self.assertEqual(socket.message(), (rawsocket.TEXT, "€u!".encode()))
            self.assertEqual(socket.finish(1000, b"bye").code, 1000)
        metrics = self.closed(gateway)
        frames, wire = names.WS["frames"][0], names.WS["wire"][0]
        self.assertEqual(metrics.total(names.WS["messages"][0], direction=names.IN), 1)
        self.assertEqual(metrics.total(frames, direction=names.IN), 5)
        self.assertEqual(metrics.total(frames, direction=names.IN, opcode=names.PING), 1)
        self.assertEqual(metrics.total(frames, direction=names.OUT, opcode=names.PONG), 1)
        self.assertEqual(metrics.total(wire, direction=names.IN), 5 * 6 + 5 + 10 + 5)
        self.assertEqual(names.data_payload(metrics, names.IN), 5)
        self.assert_metric(metrics, "app_message_size_bytes_sum", {}, 5)

    def test_unasked_messages(self):
        """Messages the backend sends by itself are counted outbound and answer no request."""
        gateway = self.gateway()

        async def talk():
            async with connect(gateway.url + "/ws/greet/5/") as socket:
                return [await socket.recv() for _ in range(5)]

        self.assertEqual(run(talk()), ["greeting %d" % number for number in range(5)])
        metrics = self.closed(gateway)
        self.assertEqual(metrics.total(names.WS["messages"][0], direction=names.OUT), 5)
        self.assert_metric(metrics, "app_messages_total", {}, 0)
        self.assert_metric(metrics, "app_message_processing_seconds_count", {}, 0)
        routes = {row[0]["route"] for row in metrics.series(names.WS["messages"][0]) if row[1]}
        self.assertEqual(len(routes), 1)
        self.assertNotIn("5", routes.pop(), "a number in the path is a placeholder")

    def test_processing_time(self):
        """The time of a message is the time until the backend's next one."""
        gateway = self.gateway()

        async def talk():
            async with connect(gateway.url + "/ws/echo/") as socket:
                await socket.send('{"sleep": 0.3}')
                return await socket.recv()

        self.assertEqual(run(talk()), "slept")
        metrics = self.closed(gateway)
        self.assert_metric(metrics, "app_message_processing_seconds_count", {}, 1)
        spent = metrics.value("app_message_processing_seconds_sum")
        self.assertTrue(0.29 < spent < 2, spent)
        relay = metrics.total(names.WS_RELAY_SECONDS + "_sum")
        self.assertLess(relay, 0.2, "the gateway's own share does not hold the backend's time")

    def test_big_messages(self):
        gateway = self.gateway()
        command = '{"big": 8000000, "binary": true}'

        async def talk():
            async with connect(gateway.url + "/ws/echo/") as socket:
                data = bytes(range(251)) * 20000
                await socket.send(data)
                assert await socket.recv() == data
                await socket.send(command)
                assert await socket.recv() == b"\x5a" * 8000000

        run(talk())
        metrics = self.closed(gateway)
        self.assert_metric(
            metrics, "app_message_size_bytes_sum", {}, 251 * 20000 + len(command)
        )
        self.assertEqual(names.data_payload(metrics, names.OUT), 251 * 20000 + 8000000)

    def test_ratio_zero_sends_no_spans(self):
        """Head sampling by ratio; the backend still gets a traceparent, marked unsampled."""
        collector = self.collector()
        gateway = self.gateway("--trace-ratio", "0", otlp_url=collector.url)

        async def talk():
            async with connect(gateway.url + "/ws/headers/") as socket:
                headers = json.loads(await socket.recv())["headers"]
                await socket.send("x")
                await socket.recv()
                return headers

        headers = run(talk())
        self.assertRegex(headers["traceparent"], r"-0[02]\Z")
        self.closed(gateway)
        self.assertEqual(gateway.drain(), 0)
        self.assertEqual(collector.spans(), [])

    def test_slow_messages_are_kept(self):
        """Ratio 0, but a message slower than the threshold (500 ms) is always exported."""
        collector = self.collector()
        gateway = self.gateway("--trace-ratio", "0", otlp_url=collector.url)

        async def talk():
            async with connect(gateway.url + "/ws/echo/") as socket:
                await socket.send("quick")
                await socket.recv()
                await socket.send('{"sleep": 0.7}')
                await socket.recv()

        run(talk())
        self.closed(gateway)
        self.assertEqual(gateway.drain(), 0)
        (span,) = [span for span in collector.spans() if span["kind"] == "CONSUMER"]
        self.assertEqual(span["attributes"]["websocket.message.size"], len('{"sleep": 0.7}'))
        self.assertGreater(span["end"] - span["start"], 600_000_000)

    def test_otlp_json(self):
        """The same spans as JSON."""
        collector = self.collector()
        gateway = self.gateway(otlp_url=collector.url, config="trace: {encoding: json}\n")

        async def talk():
            async with connect(gateway.url + "/ws/echo/") as socket:
                await socket.send("x")
                await socket.recv()

        run(talk())
        harness.wait_until(lambda: len(collector.spans()) >= 4, 10, "spans")
        self.assertEqual(collector.errors, [])
        self.assertEqual({record["type"] for record in collector.requests}, {"application/json"})
        kinds = sorted(span["kind"] for span in collector.spans())
        self.assertEqual(
            [kind for kind in kinds if kind != "INTERNAL"],
            ["CLIENT", "CONSUMER", "PRODUCER", "SERVER"],
        )

    def test_exemplars_point_to_spans(self):
        """OpenMetrics exemplars carry the trace id of an exported message."""
        collector = self.collector()
        gateway = self.gateway(otlp_url=collector.url)
        run(converse(gateway.url + self.route, None))
        self.closed(gateway)
        page = gateway.get(
            "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )
        metrics = exposition.parse_open(page.text)
        found = [
            exemplar["trace_id"]
            for name, _, exemplar, _ in metrics.exemplars
            if name == "app_message_processing_seconds_bucket"
        ]
        self.assertTrue(found)
        self.assertEqual(gateway.drain(), 0)
        self.assertLessEqual(set(found), {span["trace_id"] for span in collector.spans()})


class InMemory(Case):
    """Without Redis, for what Channels does only so."""

    def test_consumer_raises(self):
        """Django's 1011 reaches the client and is counted as its own."""
        gateway = self.gateway()

        async def talk():
            async with connect(gateway.url + "/ws/echo/") as socket:
                await socket.send('{"raise": true}')
                try:
                    await socket.recv()
                except websockets.ConnectionClosed:
                    pass
                return socket.close_code

        self.assertEqual(run(talk()), 1011)
        metrics = self.closed(gateway)
        self.assertLessEqual(metrics.total("app_errors_total"), 1)
        self.assert_metric(metrics, "app_requests_total", {}, 2)
        name = names.WS["closes"][0]
        self.assertEqual(metrics.total(name, close_code="1011", initiator=names.BACKEND), 1)


class Tls(Script, Case):
    """wss:// to the gateway and https:// to Django."""

    tls = True

    def test_wrong_authority_is_refused(self):
        """An upstream certificate that --upstream-ca did not sign: 502, never a connection."""
        other = harness.Certificate(self.directory, "other-" + uuid.uuid4().hex[:6])
        gateway = self.wscope(
            "--upstream", self.django.tls_upstream, "--upstream-ca", other.ca
        )
        with self.assertRaises(rawsocket.Refused) as refused:
            rawsocket.WebSocket(gateway.port, "/ws/echo/")
        self.assertEqual(refused.exception.status, 502)
        self.assertEqual(harness.request(gateway.port, "/hello/").status, 502)
        self.assertEqual(gateway.metrics().value("app_connections_total"), 0)

    def test_old_tls_is_refused(self):
        gateway = self.gateway()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificate.ca)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, ConnectionResetError)):
            rawsocket.Raw(gateway.port, tls=context)
        with rawsocket.Raw(gateway.port, tls=self.context) as raw:
            self.assertIn(raw.socket.version(), ("TLSv1.2", "TLSv1.3"))

    def test_certificate_reload_keeps_sockets(self):
        """SIGHUP takes a new certificate; open connections go on."""
        first = harness.Certificate(self.directory, "reload")
        gateway = self.wscope(
            "--upstream",
            self.django.upstream,
            "--tls-cert",
            first.cert,
            "--tls-key",
            first.key,
            config="",
            tls=True,
        )
        old_context = first.client_context()
        with rawsocket.WebSocket(gateway.port, "/ws/echo/", tls=old_context) as socket:
            harness.Certificate(self.directory, "reload")  # the same paths, a new key and CA
            new_context = first.client_context()
            gateway.reload()

            def renewed():
                try:
                    rawsocket.Raw(gateway.port, tls=new_context).close()
                    return True
                except ssl.SSLError:
                    return False

            harness.wait_until(renewed, 5, "the new certificate")
            socket.text("still here")
            self.assertEqual(socket.message(), (rawsocket.TEXT, b"still here"))
