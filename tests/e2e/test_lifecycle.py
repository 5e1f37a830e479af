"""Start, reload, a backend that dies, drain; logs while it runs."""

import contextlib
import os
import socket
import threading
import time

import harness
import names
import rawsocket
from rawsocket import CLOSE, TEXT, close_payload


def backend(test, **options):
    """A second instance that serves echo and rooms: a backend that speaks WebSocket well."""
    return test.start(harness.Wscope(test.directory, name="backend-%d" % time.monotonic_ns(),
                                     **options))


class Drain(harness.TestCase):
    """SIGTERM: not ready, 1012 for everyone over the window, exit 0."""

    COUNT = 40
    WINDOW = 2.0
    CONFIG = "gateway: {drain: 2s}\n"

    def closes(self, gateway, path):
        """Opens connections, drains, returns [(seconds after SIGTERM, close code)]."""
        sockets = [rawsocket.WebSocket(gateway.port, path, timeout=8) for _ in range(self.COUNT)]
        seen, lock = [], threading.Lock()
        began = time.monotonic()

        def read(ws):
            try:
                got = ws.until_close().code
                ws.send_frame(CLOSE, close_payload(got))
                ended = ws.ended(5)
            except (rawsocket.Closed, AssertionError) as error:
                got, ended = repr(error), False
            with lock:
                seen.append((time.monotonic() - began, got, ended))
            ws.close()

        threads = [threading.Thread(target=read, args=(ws,)) for ws in sockets]
        for thread in threads:
            thread.start()
        gateway.signal(harness.signal.SIGTERM)
        self.assertEqual(
            harness.wait_until(
                lambda: gateway.get("/readyz").status == 503 and 503, 1.0, "/readyz 503"
            ),
            503,
        )
        self.assertEqual(gateway.get("/healthz").status, 200, "alive while draining")
        with self.assertRaises((OSError, rawsocket.Closed, rawsocket.Refused)):
            rawsocket.WebSocket(gateway.port, path, timeout=1)
        for thread in threads:
            thread.join(10)
        return seen

    def check(self, gateway, path):
        seen = self.closes(gateway, path)
        self.assertEqual(gateway.wait(5), 0)
        self.assertEqual([code for _, code, _ in seen], [1012] * self.COUNT)
        self.assertTrue(all(ended for _, _, ended in seen))
        times = sorted(when for when, _, _ in seen)
        self.assertLess(times[-1], self.WINDOW + 1.0)
        self.assertGreater(times[-1] - times[0], self.WINDOW / 3, "not all at one moment")
        first_half = sum(when < self.WINDOW / 2 for when in times)
        self.assertTrue(self.COUNT * 0.1 < first_half < self.COUNT * 0.9, times)
        lines = [line for line in gateway.log_lines() if names.is_close(line)]
        self.assertEqual(len(lines), self.COUNT)
        for line in lines:
            self.assertEqual(str(names.extra(line, names.LOG_CODE_KEYS)), "1012")
            self.assertEqual(names.extra(line, names.LOG_INITIATOR_KEYS), names.GATEWAY)

    def test_served(self):
        self.check(self.wscope(config=self.CONFIG), "/echo")

    def test_relayed(self):
        upstream = "http://127.0.0.1:%d" % backend(self).port
        self.check(self.wscope("--upstream", upstream, config=self.CONFIG), "/ws/room")

    def test_idle_ends_at_once(self):
        gateway = self.wscope()
        began = time.monotonic()
        self.assertEqual(gateway.drain(), 0)
        self.assertLess(time.monotonic() - began, 2.0)

    def test_silent_clients_do_not_hold_it(self):
        """Clients that answer no close frame, and half-open handshakes, end with the window."""
        gateway = self.wscope(config="gateway: {drain: 1s}\n")
        silent = [rawsocket.WebSocket(gateway.port, "/echo") for _ in range(5)]
        half = rawsocket.Raw(gateway.port)
        half.send(b"GET /echo HTTP/1.1\r\n")
        try:
            self.assertEqual(gateway.drain(8), 0)
        finally:
            for raw in [*silent, half]:
                raw.close()

    def test_answers_in_flight(self):
        """A message sent before the close is still answered while draining."""
        gateway = self.wscope(config="gateway: {drain: 2s}\n")
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            gateway.signal(harness.signal.SIGTERM)
            ws.text("still")
            self.assertEqual(ws.message(), (TEXT, b"still"))
            self.assertEqual(ws.until_close().code, 1012)

    def test_interrupt(self):
        gateway = self.wscope()
        gateway.signal(harness.signal.SIGINT)
        self.assertEqual(gateway.wait(5), 0)


class Reload(harness.TestCase):
    """SIGHUP."""

    def limit_of(self, gateway):
        """Whether a fresh connection takes a message of 2,000 bytes."""
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            ws.binary(b"x" * 2000)
            return ws.frame().opcode != CLOSE

    def test_good_file(self):
        gateway = self.wscope(config="gateway: {message_limit: 1KiB}\n")
        self.assertFalse(self.limit_of(gateway))
        with rawsocket.WebSocket(gateway.port, "/echo") as old:
            gateway.write_config("gateway: {message_limit: 4KiB}\n")
            gateway.reload()
            harness.wait_until(lambda: self.limit_of(gateway), 5, "the new limit")
            old.text("still here")
            self.assertEqual(old.message(), (TEXT, b"still here"))

    def test_bad_file(self):
        """Refused with its line; the old one stays in force, whole."""
        gateway = self.wscope(config="gateway: {message_limit: 1KiB}\n")
        gateway.write_config("gateway:\n  message_limit: 4KiB\n  lisen: 127.0.0.1:1\n")
        gateway.reload()
        line = gateway.wait_log(
            lambda line: line["level"] in ("WARNING", "ERROR") and "lisen" in str(line),
            "the refusal",
        )
        self.assertIn("%s:3:" % gateway.config_path, str(line))
        self.assertFalse(self.limit_of(gateway), "no part of the bad file is in force")
        self.assertTrue(gateway.alive())
        gateway.write_config("gateway: {message_limit: 4KiB}\n")
        gateway.reload()
        harness.wait_until(lambda: self.limit_of(gateway), 5, "the good file after the bad")

    def test_missing_file(self):
        gateway = self.wscope(config="gateway: {message_limit: 1KiB}\n")
        os.unlink(gateway.config_path)
        gateway.reload()
        gateway.wait_log(
            lambda line: line["level"] in ("WARNING", "ERROR")
            and gateway.config_path in str(line),
            "the missing file",
        )
        self.assertFalse(self.limit_of(gateway))

    def test_log_level(self):
        gateway = self.wscope(config="log: {level: WARNING}\n")
        rawsocket.WebSocket(gateway.port, "/echo").close()
        gateway.write_config("log: {level: INFO}\n")
        gateway.reload()

        def opens():
            rawsocket.WebSocket(gateway.port, "/echo").close()
            return [line for line in gateway.log_lines() if names.is_open(line)]

        harness.wait_until(opens, 5, "an open line", interval=0.2)

    def test_upstream(self):
        """New connections go to the new backend, open ones stay where they are."""
        first, second = backend(self), backend(self)
        template = "gateway: {upstream: 'http://127.0.0.1:%d'}\n"
        gateway = self.wscope(config=template % first.port)
        with rawsocket.WebSocket(gateway.port, "/echo") as old:
            gateway.write_config(template % second.port)
            gateway.reload()

            def moved():
                with rawsocket.WebSocket(gateway.port, "/echo") as ws:
                    ws.text("x")
                    ws.message()
                return second.metrics().value("app_connections_total") > 0

            harness.wait_until(moved, 5, "a connection at the second backend", interval=0.1)
            old.text("still here")
            self.assertEqual(old.message(), (TEXT, b"still here"))


class BackendDies(harness.TestCase):
    """Never a hang: 1014 for who is connected, 502 for who comes."""

    def test_killed(self):
        behind = backend(self)
        gateway = self.wscope("--upstream", "http://127.0.0.1:%d" % behind.port)
        sockets = [rawsocket.WebSocket(gateway.port, "/echo") for _ in range(20)]
        for ws in sockets:
            ws.text("x")
            ws.message()
        behind.kill()
        began = time.monotonic()
        for ws in sockets:
            self.assertEqual(ws.until_close().code, 1014)
            ws.send_frame(CLOSE, close_payload(1014))
            self.assertTrue(ws.ended())
            ws.close()
        self.assertLess(time.monotonic() - began, 3.0)
        with self.assertRaises(rawsocket.Refused) as refused:
            rawsocket.WebSocket(gateway.port, "/echo")
        self.assertEqual(refused.exception.status, 502)
        metrics = gateway.wait_metric(
            lambda metrics: metrics.value("app_active_connections") == 0, "all closed"
        )
        self.assert_metric(metrics, "app_connections_closed_total", {}, 20)
        name = names.WS["closes"][0]
        self.assertEqual(metrics.total(name, close_code="1014"), 20)
        self.assertEqual(metrics.total("app_errors_total", error_code="1014"), 20)
        self.assertEqual(metrics.total("app_errors_total", error_code="502"), 1)
        self.assertLessEqual(
            metrics.total("app_errors_total"), metrics.value("app_requests_total")
        )
        harness.wait_until(
            lambda: sum(names.is_close(line) for line in gateway.log_lines()) == 20, 3, "20 lines"
        )
        lines = [line for line in gateway.log_lines() if names.is_close(line)]

    def test_comes_back(self):
        behind = backend(self)
        gateway = self.wscope("--upstream", "http://127.0.0.1:%d" % behind.port)
        behind.kill()
        with self.assertRaises(rawsocket.Refused):
            rawsocket.WebSocket(gateway.port, "/echo")
        again = self.start(
            harness.Process("backend-again", behind.arguments, self.directory)
        )
        again.wait_port(behind.port)
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            ws.text("back")
            self.assertEqual(ws.message(), (TEXT, b"back"))

    def stub(self, *steps):
        """A backend that answers the handshake, sends `steps` and cuts the connection."""
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(5)
        server.settimeout(10)
        self.addCleanup(server.close)

        def serve():
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.settimeout(5)
                    data = b""
                    while b"\r\n\r\n" not in data:
                        data += client.recv(65536)
                    key = [
                        line.split(b":")[1].strip().decode()
                        for line in data.split(b"\r\n")
                        if line.lower().startswith(b"sec-websocket-key")
                    ][0]
                    client.sendall(
                        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        b"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
                        % rawsocket.accept_of(key).encode()
                    )
                    for step in steps:
                        client.sendall(step)
                    time.sleep(0.3)

        threading.Thread(target=serve, daemon=True).start()
        return self.wscope("--upstream", "http://127.0.0.1:%d" % server.getsockname()[1])

    def test_dies_inside_a_frame(self):
        """Half a frame can not be followed by a close frame: the connection just ends."""
        gateway = self.stub(b"\x82\x7e\x10\x00" + b"half")
        with rawsocket.WebSocket(gateway.port, "/x") as ws:
            self.assertTrue(ws.ended(3))
        gateway.wait_metric(lambda metrics: metrics.value("app_active_connections") == 0, "gone")

    def test_dies_between_fragments(self):
        gateway = self.stub(b"\x01\x02ab")
        with rawsocket.WebSocket(gateway.port, "/x") as ws:
            self.assertEqual(ws.frame().payload, b"ab")
            self.assertEqual(ws.until_close().code, 1014)

    def test_breaks_the_protocol(self):
        """A masked frame from the backend is not passed on as if it were one."""
        gateway = self.stub(b"\x81\x81\x01\x02\x03\x04x")
        with rawsocket.WebSocket(gateway.port, "/x") as ws:
            try:
                self.assertIn(ws.until_close().code, (1014, 1002, 1011))
            except rawsocket.Closed:
                pass
        gateway.wait_metric(
            lambda metrics: metrics.total("app_errors_total") == 1, "one error counted"
        )

    def test_frames_with_the_answer(self):
        """Frames that come in the same packet as the backend's 101 are not lost."""
        gateway = self.stub(b"\x81\x05first" * 3)
        with rawsocket.WebSocket(gateway.port, "/x") as ws:
            self.assertEqual([ws.message()[1] for _ in range(3)], [b"first"] * 3)


class Observer(harness.TestCase):
    """The observer's API."""

    @classmethod
    def prepare(cls):
        cls.gateway = cls.share(harness.Wscope(cls.directory))

    def levels(self):
        data = self.gateway.get("/api/v1/loggers").json()
        rows = data.get("data", data)
        if isinstance(rows, dict):
            rows = rows.get("loggers", rows)
        if isinstance(rows, dict):
            return {
                name: value["level"] if isinstance(value, dict) else value
                for name, value in rows.items()
            }
        return {row["name"]: row["level"] for row in rows}

    def echo(self, text):
        with rawsocket.WebSocket(self.gateway.port, "/echo") as ws:
            ws.text(text)
            ws.message()
            ws.finish()

    def message_lines(self):
        return self.gateway.log_lines(logger="websocket.message")

    def test_levels_at_run_time(self):
        levels = self.levels()
        self.assertLessEqual({"websocket", "websocket.message", "http", "wscope"}, set(levels))
        self.assertEqual(levels["websocket"], "INFO")
        self.echo("quiet")
        reply = self.gateway.put("/api/v1/loggers/websocket.message", {"level": "DEBUG"})
        self.assertIn(reply.status, (200, 204))
        self.assertEqual(self.levels()["websocket.message"], "DEBUG")

        def lines():
            self.echo("loud")
            return self.message_lines()

        harness.wait_until(lines, 5, "message lines", interval=0.2)
        self.gateway.put("/api/v1/loggers/websocket.message", {"level": "INFO"})
        self.echo("settle")
        time.sleep(0.5)
        before = len(self.message_lines())
        self.echo("quiet again")
        self.gateway.wait_log(names.is_close, "close")
        time.sleep(0.5)
        self.assertEqual(len(self.message_lines()), before)

    def test_refusals(self):
        put = self.gateway.put
        self.assertEqual(put("/api/v1/loggers/nosuch", {"level": "DEBUG"}).status, 404)
        self.assertEqual(put("/api/v1/loggers/websocket", {"level": "LOUD"}).status, 400)
        self.assertEqual(put("/api/v1/loggers/websocket", {}).status, 400)
        reply = harness.request(
            self.gateway.observer, "/api/v1/loggers/websocket", method="PUT", body=b"{broken"
        )
        self.assertEqual(reply.status, 400)
        self.assertEqual(self.levels()["websocket"], "INFO")

    def test_token(self):
        gateway = self.wscope(config="observer: {token: open-sesame-4711}\n", ready=False)
        gateway.wait_port(gateway.observer)
        self.assertEqual(gateway.get("/healthz").status, 200)
        self.assertEqual(gateway.get("/metrics").status, 401)
        wrong = {"Authorization": "Bearer open-sesame-4712"}
        self.assertEqual(gateway.get("/metrics", headers=wrong).status, 401)
        right = {"Authorization": "Bearer open-sesame-4711"}
        self.assertEqual(gateway.get("/metrics", headers=right).status, 200)
        self.assertNotIn("open-sesame", gateway.log_text() + gateway.stderr())

    def test_telemetry_off(self):
        gateway = self.wscope("--telemetry", "off")
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            ws.text("x")
            self.assertEqual(ws.message(), (TEXT, b"x"))
        self.assertEqual(gateway.get("/metrics").status, 200)


class Logs(harness.TestCase):
    """The log file and the console."""

    def test_rotation(self):
        gateway = self.wscope(
            "--log-messages", "--no-console", config="log: {max_bytes: 64KiB, backups: 2}\n"
        )
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            for number in range(1000):
                ws.text("message %d" % number)
                ws.message()
            ws.finish()
        self.assertEqual(gateway.drain(), 0)
        folder = os.path.dirname(gateway.log_path())
        self.assertEqual(
            sorted(os.listdir(folder)), ["wscope.log", "wscope.log.1", "wscope.log.2"]
        )
        sequences = []
        for name in ("wscope.log.2", "wscope.log.1", "wscope.log"):
            path = os.path.join(folder, name)
            self.assertLessEqual(os.path.getsize(path), 64 * 1024)
            text = gateway.log_text(path)
            self.assertTrue(text.endswith("\n"), "a line torn at rotation")
            for line in gateway.log_lines(logger="websocket.message", path=path):
                fields = line["extra_fields"]
                if names.extra(line, names.LOG_DIRECTION_KEYS) == names.IN:
                    sequences.append(fields["seq"])
        self.assertEqual(
            sequences, list(range(sequences[0], sequences[0] + len(sequences))), "no line lost"
        )
        self.assertGreater(len(sequences), 100)
        self.assertEqual(gateway.stderr(), "")

    def test_nothing_can_forge_a_line(self):
        """Newlines, quotes, escapes and separators in everything a client chooses."""
        gateway = self.wscope("--log-messages")
        evil = '\n{"level":"CRITICAL","logger":"forged"}\r\n\x1b[31m\u2028\u0085"\\'
        quoted = "%0a%7b%22level%22%3a%22CRITICAL%22%2c%22logger%22%3a%22forged%22%7d%0d%0a%1b"
        with rawsocket.WebSocket(
            gateway.port,
            "/ws/room" + quoted,
            ["User-Agent: [31m\"\\ \xff\xfe", "Cookie: sessionid=" + '"\\{}%0a'],
        ) as ws:
            ws.text(evil)
            ws.message()
            ws.finish(4000, evil.encode())
        with contextlib.suppress(rawsocket.Refused, rawsocket.Closed):
            rawsocket.WebSocket(gateway.port, "/nowhere/" + quoted)
        with self.assertRaises(rawsocket.Refused) as refused:
            rawsocket.WebSocket(gateway.port, "/echo", ["User-Agent: \x1b[31m"])
        self.assertEqual(refused.exception.status, 400)
        line = gateway.wait_log(names.is_close, "close")
        self.assertEqual(str(names.extra(line, names.LOG_CODE_KEYS)), "4000")
        self.assertEqual(gateway.drain(), 0)
        for text in (gateway.log_text(), gateway.stderr()):
            for char in text:
                self.assertFalse(
                    (ord(char) < 32 and char != "\n") or char in "\x7f\u0085\u2028\u2029",
                    "control character %r in the log" % char,
                )
            for one in harness.parse_log(text):
                self.assertNotEqual(one["logger"], "forged")
                self.assertNotEqual(one["level"], "CRITICAL")

    def test_no_payload_and_no_cookie_in_the_log(self):
        gateway = self.wscope("--log-messages")
        with rawsocket.WebSocket(
            gateway.port, "/echo", ["Cookie: sessionid=topsecretcookie"]
        ) as ws:
            ws.text("topsecretpayload")
            ws.message()
            ws.finish()
        gateway.wait_log(names.is_close, "close")
        self.assertNotIn("topsecret", gateway.log_text() + gateway.stderr())
        self.assertNotIn("topsecret", gateway.get("/api/v1/sessions").text)

    def test_a_blocked_console_blocks_nobody(self):
        """stderr is a pipe that nobody reads: messages go on, lines to it are dropped."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        port, observer = harness.free_port(), harness.free_port()
        arguments = [harness.binary(), "up", "--log-messages", "--data"]
        arguments += [self.directory + "/blocked", "--listen", "127.0.0.1:%d" % port]
        arguments += ["--observer", "127.0.0.1:%d" % observer]
        child = harness.subprocess.Popen(
            arguments, stderr=write, stdout=harness.subprocess.DEVNULL,
            stdin=harness.subprocess.DEVNULL, preexec_fn=harness._child_setup,
        )
        os.close(write)
        self.addCleanup(child.wait, 10)
        self.addCleanup(child.kill)
        harness.wait_until(lambda: harness.port_open(port), 10, "listening")
        with rawsocket.WebSocket(port, "/echo") as ws:
            began = time.monotonic()
            for _ in range(2000):
                ws.text("x")
                ws.message()
            self.assertLess(time.monotonic() - began, 10)
