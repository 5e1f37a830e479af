"""The built-in service: echo, rooms, sessions."""

import time

import harness
import names
import rawsocket
from rawsocket import BINARY, TEXT

ROUTE = "/ws/{room}"


class Echo(harness.TestCase):
    @classmethod
    def prepare(cls):
        cls.gateway = cls.share(harness.Wscope(cls.directory))

    def test_sizes(self):
        """Text and binary around every length form."""
        with rawsocket.WebSocket(self.gateway.port, "/echo") as ws:
            for size in (0, 1, 125, 126, 127, 65535, 65536, 70000, 600000):
                ws.binary(bytes(size))
                self.assertEqual(ws.message(), (BINARY, bytes(size)))
                ws.text("é" * (size // 2))
                self.assertEqual(ws.message(), (TEXT, ("é" * (size // 2)).encode()))
            self.assertEqual(ws.finish(4242, b"bye").code, 4242)

    def test_batch(self):
        """A thousand messages in one write come back in order."""
        with rawsocket.WebSocket(self.gateway.port, "/echo") as ws:
            ws.send(b"".join(rawsocket.frame(TEXT, b"%d" % n) for n in range(1000)))
            self.assertEqual([ws.message()[1] for _ in range(1000)],
                             [b"%d" % n for n in range(1000)])

    def test_counts(self):
        gateway = self.wscope()
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            for size in (10, 200):
                ws.text("x" * size)
                ws.message()
            ws.finish(1001)
        metrics = gateway.wait_metric(
            lambda metrics: metrics.value("app_connections_closed_total") == 1, "closed"
        )
        for name, value in (
            ("app_messages_total", 2),
            ("app_message_size_bytes_sum", 210),
            ("app_message_processing_seconds_count", 2),
            ("app_requests_total", 3),
            ("app_connections_total", 1),
        ):
            self.assert_metric(metrics, name, {}, value)
        for direction, head in ((names.IN, 6), (names.OUT, 2)):
            wire = metrics.total(names.WS["wire"][0], direction=direction)
            self.assertEqual(wire, 10 + head + 200 + head + 2 + 2 + head, direction)
            self.assertEqual(names.data_payload(metrics, direction), 210)
            self.assertEqual(
                metrics.total(names.WS["messages"][0], direction=direction, route="/echo"), 2
            )
        self.assertLess(metrics.value("app_message_processing_seconds_sum"), 0.1)
        self.assertEqual(
            metrics.total(names.WS["closes"][0], close_code="1001", initiator=names.CLIENT), 1
        )

    def test_count_outbound(self):
        gateway = self.wscope(config="gateway: {count_outbound: true}\n")
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            ws.text("x")
            ws.message()
            ws.finish()
        gateway.wait_metric(lambda metrics: metrics.value("app_messages_total") == 2, "both ways")

    def test_idle_peer_is_pinged_and_ended(self):
        """ping_interval: a ping after silence; without a pong the connection ends."""
        gateway = self.wscope(config="gateway: {ping_interval: 1s}\n")
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            got = ws.frame()
            self.assertEqual(got.opcode, rawsocket.PING)
            ws.send_frame(rawsocket.PONG, got.payload)
            self.assertEqual(ws.frame().opcode, rawsocket.PING, "alive after its pong")
            self.assertTrue(ws.ended(6), "half-open socket kept")
        gateway.wait_metric(lambda metrics: metrics.value("app_active_connections") == 0, "ended")

    def test_load_generator(self):
        """`wscope load` measures what the gateway counts."""
        gateway = self.wscope()
        code, out, err = harness.run_wscope(
            "load", gateway.url + "/echo", "--connections", "5", "--in-flight", "4",
            "--size", "32", "--duration", "1", "--warmup", "0", "--json", seconds=20,
        )
        self.assertEqual(code, 0, err)
        result = harness.json.loads(out[out.index("{"):])
        self.assertTrue(result)
        metrics = gateway.wait_metric(
            lambda metrics: metrics.value("app_active_connections") == 0, "closed"
        )
        self.assert_metric(metrics, "app_connections_total", {}, 5)
        self.assertGreater(metrics.value("app_messages_total"), 100)
        self.assertEqual(metrics.total("app_errors_total"), 0)


class Rooms(harness.TestCase):
    def join(self, gateway, room, count=1):
        return [rawsocket.WebSocket(gateway.port, room) for _ in range(count)]

    def silent(self, ws):
        """Nothing but the echo of a marker arrives: proves that nothing was delivered before."""
        ws.text("marker")
        self.assertEqual(ws.message(), (TEXT, b"marker"))

    def check_rooms(self, gateway):
        members = self.join(gateway, "/ws/lobby", 4)
        (other,) = self.join(gateway, "/ws/other")
        members[0].text("hello")
        members_got = [ws.message() for ws in members]
        self.assertEqual(members_got, [(TEXT, b"hello")] * 4)
        members[1].binary(b"\x00\xff")
        self.assertEqual([ws.message() for ws in members], [(BINARY, b"\x00\xff")] * 4)
        self.silent(other)
        members.pop().finish()
        members[0].text("again")
        self.assertEqual([ws.message() for ws in members], [(TEXT, b"again")] * 3)
        for ws in [*members, other]:
            ws.finish()
        return gateway.wait_metric(
            lambda metrics: metrics.value("app_active_connections") == 0, "closed"
        )

    def test_broadcast(self):
        metrics = self.check_rooms(self.wscope())
        name = names.WS["messages"][0]
        self.assert_metric(metrics, "app_messages_total", {}, 4)
        self.assertEqual(metrics.total(name, route=ROUTE, direction=names.IN), 4)
        self.assertEqual(metrics.total(name, route=ROUTE, direction=names.OUT), 4 + 4 + 1 + 3)

    def test_broadcast_over_loops(self):
        """Rooms span the loop threads."""
        gateway = self.wscope("--loops", "3")
        for _ in range(3):
            self.check_rooms(gateway)

    def test_without_own_echo(self):
        gateway = self.wscope()
        sender, reader = self.join(gateway, "/ws/r?echo=0")[0], self.join(gateway, "/ws/r")[0]
        sender.text("to others")
        self.assertEqual(reader.message(), (TEXT, b"to others"))
        reader.text("back")
        self.assertEqual(sender.message(), (TEXT, b"back"), "its own message did not come")
        self.assertEqual(reader.message(), (TEXT, b"back"))
        for ws in (sender, reader):
            ws.finish()

    def test_order_and_big_messages(self):
        gateway = self.wscope("--loops", "2")
        members = self.join(gateway, "/ws/r", 3)
        payloads = [b"%d" % n + b"x" * (n * 997 % 50000) for n in range(60)]
        for payload in payloads:
            members[0].binary(payload)
        for ws in members:
            self.assertEqual([ws.message()[1] for _ in payloads], payloads)
            ws.close()

    def test_member_that_does_not_read(self):
        """A stuck member costs the others nothing; it is let go in the end."""
        gateway = self.wscope()
        stuck = rawsocket.WebSocket(gateway.port, "/ws/r", receive_buffer=4096)
        sender, reader = self.join(gateway, "/ws/r?echo=0")[0], self.join(gateway, "/ws/r")[0]
        before = gateway.rss_bytes()
        payload = b"z" * 60000
        for _ in range(200):
            sender.binary(payload)
            self.assertEqual(reader.message(), (BINARY, payload))
        self.assertLess(gateway.rss_bytes() - before, 16_000_000)
        metrics = gateway.metrics()
        self.assertLessEqual(metrics.total("app_errors_total"), 1)
        for ws in (stuck, sender, reader):
            ws.close()


class Sessions(harness.TestCase):
    CONFIG = "gateway: {session: {%sgrace: 1s}}\n"

    def tracked(self, gateway, count, seconds=4.0):
        return gateway.wait_metric(
            lambda metrics: metrics.value("app_sessions_tracked") == count,
            "%d sessions tracked" % count,
            seconds,
        )

    def rows(self, gateway):
        data = gateway.get("/api/v1/sessions").json()
        rows = data.get("data", data)
        return rows["sessions"] if isinstance(rows, dict) else rows

    def connect(self, gateway, value, path="/echo"):
        return rawsocket.WebSocket(gateway.port, path, ["Cookie: a=b; sessionid=" + value])

    def test_cookie_and_grace(self):
        gateway = self.wscope(config=self.CONFIG % "")
        self.assertEqual(self.rows(gateway), [])
        first, second = self.connect(gateway, "one"), self.connect(gateway, "one")
        third = self.connect(gateway, "two")
        self.tracked(gateway, 2)
        self.assertEqual(len(self.rows(gateway)), 2)
        began = time.monotonic()
        for ws in (first, second, third):
            ws.finish()
        again = self.connect(gateway, "one")
        metrics = self.tracked(gateway, 1)
        self.assertGreater(time.monotonic() - began, 0.8, "grace kept the second session")
        self.assert_metric(metrics, "app_session_duration_seconds_count", {}, 1)
        again.finish()
        metrics = self.tracked(gateway, 0)
        self.assert_metric(metrics, "app_session_duration_seconds_count", {}, 2)
        spent = metrics.value("app_session_duration_seconds_sum")
        self.assertTrue(0 < spent < 6, spent)
        self.assertEqual(self.rows(gateway), [])

    def test_without_a_key(self):
        """Each connection is its own session and needs no grace."""
        gateway = self.wscope(config=self.CONFIG % "")
        sockets = [rawsocket.WebSocket(gateway.port, "/echo") for _ in range(3)]
        self.tracked(gateway, 3)
        for ws in sockets:
            ws.finish()
        metrics = self.tracked(gateway, 0)
        self.assert_metric(metrics, "app_session_duration_seconds_count", {}, 3)

    def test_header_and_query(self):
        gateway = self.wscope(config=self.CONFIG % "header: X-Session, query: token, ")
        sockets = [
            rawsocket.WebSocket(gateway.port, "/echo", ["X-Session: h"]),
            rawsocket.WebSocket(gateway.port, "/echo?x=1&token=h"),
            rawsocket.WebSocket(gateway.port, "/echo?token=other"),
        ]
        self.tracked(gateway, 2)
        for ws in sockets:
            ws.close()

    def test_id_in_the_log(self):
        """Two connections of a session share its id in the log, and it is not the cookie."""
        gateway = self.wscope()
        for value in ("sesame1", "sesame1", "sesame2"):
            self.connect(gateway, value).finish()

        def closes():
            lines = [line for line in gateway.log_lines() if names.is_close(line)]
            return lines if len(lines) == 3 else None

        ids = [line["session_id"] for line in harness.wait_until(closes, 5, "three closes")]
        self.assertEqual(len(set(ids)), 2)
        self.assertEqual(sorted(map(ids.count, ids)), [1, 2, 2])
        self.assertNotIn("sesame", gateway.log_text())
