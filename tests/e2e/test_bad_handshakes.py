"""Malformed handshakes, smuggling, heads too long or too slow: the right status, one count."""

import threading
import time

import rawsocket
from rawsocket import TEXT, frame
from undisturbed import Case


class Handshakes(Case):
    """RFC 6455 section 4.2.1."""

    def ask(self, status, **options):
        count = options.pop("count", True)
        return self.refused(
            rawsocket.handshake_text(self.port, **options), status, count=count
        )

    def test_the_good_one_is_taken(self):
        with rawsocket.WebSocket(self.port, "/echo") as ws:
            ws.text("x")
            self.assertEqual(ws.message(), (TEXT, b"x"))
        self.errors(count=0)

    def test_spellings_that_are_right(self):
        """Case and lists in Upgrade and Connection; blanks around values."""
        for headers in (
            ["Upgrade: WebSocket", "Connection: keep-alive, Upgrade"],
            ["upgrade: websocket", "connection: upgrade"],
            ["UPGRADE:websocket", "Connection:\tkeep-alive ,\tupgrade  "],
            ["Upgrade: websocket", "Connection: keep-alive", "Connection: Upgrade"],
        ):
            request = rawsocket.handshake_text(
                self.port, headers=headers, drop=("upgrade", "connection")
            )
            with rawsocket.Raw(self.port) as raw:
                raw.send(request)
                self.assertEqual(raw.head()[0], 101, headers)

    def test_method(self):
        for method in ("POST", "PUT", "HEAD", "get"):
            request = rawsocket.handshake_text(self.port, method=method)
            with rawsocket.Raw(self.port) as raw:
                raw.send(request)
                status = raw.head()[0]
                self.assertIn(status, (400, 405), method)
        self.errors(count=4)

    def test_version_of_http(self):
        for version in ("1.0", "2.0", "0.9", "1.2x"):
            with rawsocket.Raw(self.port) as raw:
                raw.send(rawsocket.handshake_text(self.port, version=version))
                self.assertIn(raw.head()[0], (400, 505), version)
                self.assertTrue(raw.ended())
        self.errors(count=4)

    def test_host(self):
        self.ask(400, drop=("host",))
        self.ask(400, headers=["Host: other"])
        self.ask(400, drop=("host",), headers=["Host: a b"])

    def test_key(self):
        self.ask(400, drop=("sec-websocket-key",))
        for key in (
            "c2hvcnQ=",
            "dGhlIHNhbXBsZSBub25jZXh4eHh4",
            "dGhlIHNhbXBsZSBub25jZQ",
            "not base64 at all!!!!!!!",
            "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
            "============",
        ):
            with self.subTest(key=key):
                self.ask(400, key=key)
        self.ask(400, headers=["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="])

    def test_version(self):
        for version in ("8", "0", "14", "013", "x", "255"):
            with self.subTest(version=version):
                headers = self.ask(
                    426,
                    drop=("sec-websocket-version",),
                    headers=["Sec-WebSocket-Version: " + version],
                )
                self.assertEqual(headers["sec-websocket-version"], "13")

    def test_missing_version(self):
        with rawsocket.Raw(self.port) as raw:
            raw.send(rawsocket.handshake_text(self.port, drop=("sec-websocket-version",)))
            status, headers, _ = raw.head()
            self.assertIn(status, (400, 426))
            self.assertEqual(headers.get("sec-websocket-version", "13"), "13")
        self.errors(status)

    def test_tokens(self):
        """Without the upgrade tokens it is an ordinary request, to an endpoint that upgrades."""
        for drop, headers in (
            (("upgrade",), []),
            (("connection",), []),
            (("upgrade",), ["Upgrade: h2c"]),
            (("connection",), ["Connection: keep-alive"]),
            (("upgrade",), ["Upgrade: websocketx"]),
            (("connection",), ["Connection: notupgrade"]),
        ):
            with self.subTest(drop=drop, headers=headers):
                with rawsocket.Raw(self.port) as raw:
                    raw.send(rawsocket.handshake_text(self.port, drop=drop, headers=headers))
                    status, got, _ = raw.head()
                    self.assertIn(status, (400, 426))
                    if status == 426:
                        self.assertEqual(got.get("upgrade", "").lower(), "websocket")

    def test_path(self):
        self.ask(404, path="/nowhere")
        for path in ("echo", "/e cho", "/\x01", "/echo#x"):
            with self.subTest(path=path):
                with rawsocket.Raw(self.port) as raw:
                    raw.send(rawsocket.handshake_text(self.port, path=path))
                    self.assertIn(raw.head()[0], (400, 404))

    def test_frames_in_the_same_packet(self):
        """Frames sent together with the request are not lost."""
        with rawsocket.Raw(self.port) as raw:
            raw.send(rawsocket.handshake_text(self.port) + frame(TEXT, b"early"))
            self.assertEqual(raw.head()[0], 101)
            self.assertEqual(raw.exactly(7), b"\x81\x05early")

    def test_one_byte_at_a_time(self):
        with rawsocket.Raw(self.port) as raw:
            for byte in rawsocket.handshake_text(self.port) + frame(TEXT, b"slow"):
                raw.send(bytes([byte]))
            self.assertEqual(raw.head()[0], 101)
            self.assertEqual(raw.exactly(6), b"\x81\x04slow")


class Smuggling(Case):
    """Requests that two parsers could read in two ways: refused, and nothing after them read."""

    def test_shapes(self):
        host = "Host: 127.0.0.1:%d\r\n" % self.port
        after = "GET /smuggled HTTP/1.1\r\n" + host + "\r\n"
        shapes = {
            "length and chunked": "POST /x HTTP/1.1\r\n%sContent-Length: 5\r\n"
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "two lengths": "POST /x HTTP/1.1\r\n%sContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
            "hello",
            "list of lengths": "POST /x HTTP/1.1\r\n%sContent-Length: 5, 6\r\n\r\nhello",
            "signed length": "POST /x HTTP/1.1\r\n%sContent-Length: +5\r\n\r\nhello",
            "negative length": "POST /x HTTP/1.1\r\n%sContent-Length: -1\r\n\r\nhello",
            "hex length": "POST /x HTTP/1.1\r\n%sContent-Length: 0x5\r\n\r\nhello",
            "huge length": "POST /x HTTP/1.1\r\n%sContent-Length: 99999999999999999999\r\n\r\n",
            "chunked with tab": "POST /x HTTP/1.1\r\n%sTransfer-Encoding: \x0bchunked\r\n\r\n"
            "0\r\n\r\n",
            "chunked twice": "POST /x HTTP/1.1\r\n%sTransfer-Encoding: chunked, chunked\r\n\r\n"
            "0\r\n\r\n",
            "chunked not last": "POST /x HTTP/1.1\r\n%sTransfer-Encoding: chunked, identity\r\n"
            "\r\n0\r\n\r\n",
            "two encodings": "POST /x HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n"
            "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            "folded line": "GET /x HTTP/1.1\r\n%sX-A: b\r\n c\r\n\r\n",
            "blank before colon": "POST /x HTTP/1.1\r\n%sContent-Length : 5\r\n\r\nhello",
            "blank in name": "GET /x HTTP/1.1\r\n%sX A: b\r\n\r\n",
            "empty name": "GET /x HTTP/1.1\r\n%s: b\r\n\r\n",
            "no colon": "GET /x HTTP/1.1\r\n%sgarbage\r\n\r\n",
            "bare return": "GET /x HTTP/1.1\r\n%sX-A: b\rX-B: c\r\n\r\n",
            "zero byte": "GET /x HTTP/1.1\r\n%sX-A: b\0c\r\n\r\n",
            "leading blank": "GET /x HTTP/1.1\r\n X-A: b\r\n%s\r\n",
            "bad chunk size": "POST /x HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "signed chunk size": "POST /x HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n+5\r\n"
            "hello\r\n0\r\n\r\n",
            "huge chunk size": "POST /x HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n"
            "fffffffffffffffff\r\n",
            "two hosts": "GET /x HTTP/1.1\r\n%sHost: other\r\n\r\n",
            "no version": "GET /x\r\n%s\r\n",
            "bad version": "GET /x HTTP/1.1x\r\n%s\r\n",
            "garbage": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        }
        for name, shape in shapes.items():
            with self.subTest(name):
                text = shape % host if "%s" in shape else shape
                before = self.gateway.metrics()
                with rawsocket.Raw(self.port) as raw:
                    raw.send((text + after).encode("latin1"))
                    try:
                        status = raw.head()[0]
                    except rawsocket.Closed:
                        status = None
                    # An endpoint without a body may answer 404 before it reads one.
                    self.assertIn(status, (None, 400, 404, 411, 413, 501, 505))
                    rest = raw.buffer
                    try:
                        while True:
                            raw.read_more()
                            rest += raw.buffer
                            raw.buffer = b""
                    except rawsocket.Closed:
                        pass
                    self.assertLessEqual(rest.count(b"HTTP/1.1 "), 0, "a second request answered")
                self.assertEqual(
                    self.gateway.metrics().value("app_connections_total"),
                    before.value("app_connections_total"),
                )

    def test_unknown_encoding(self):
        for encoding in ("gzip", "xchunked", "chunked;q=1"):
            with rawsocket.Raw(self.port) as raw:
                raw.send(
                    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %s\r\n\r\n0\r\n\r\n"
                    % encoding.encode()
                )
                self.assertIn(raw.head()[0], (400, 501), encoding)
                self.assertTrue(raw.ended())

    def test_upgrade_with_a_body(self):
        """A handshake with a body or an unknown encoding is no handshake."""
        for header in ("Content-Length: 5", "Transfer-Encoding: chunked", "Transfer-Encoding: x"):
            with rawsocket.Raw(self.port) as raw:
                raw.send(rawsocket.handshake_text(self.port, headers=[header]) + b"hello")
                self.assertIn(raw.head()[0], (400, 501), header)
                self.assertTrue(raw.ended())


class Sizes(Case):
    """Heads over the limit and heads that never end."""

    config = "gateway: {head_limit: 8KiB, handshake_timeout: 1s}\n"

    def test_long_header(self):
        self.refused(
            rawsocket.handshake_text(self.port, headers=["X-Long: " + "x" * 9000]), 431
        )

    def test_many_headers(self):
        many = ["X-%d: y" % number for number in range(2000)]
        self.refused(rawsocket.handshake_text(self.port, headers=many), 431)

    def test_long_path(self):
        with rawsocket.Raw(self.port) as raw:
            raw.send(rawsocket.handshake_text(self.port, path="/" + "x" * 9000))
            self.assertIn(raw.head()[0], (414, 431))

    def test_under_the_limit(self):
        with rawsocket.WebSocket(self.port, "/echo", ["X-Long: " + "x" * 7000]) as ws:
            ws.text("fits")
            self.assertEqual(ws.message()[1], b"fits")

    def test_slow_handshakes(self):
        """Nothing sent, half a head, a byte now and then: all end after a second."""
        request = rawsocket.handshake_text(self.port)
        raws = [rawsocket.Raw(self.port) for _ in range(3)]
        began = time.monotonic()
        raws[1].send(request[:60])
        stop = threading.Event()

        def drip():
            for byte in request[:-2] * 2:
                if stop.wait(0.1):
                    return
                raws[2].send(bytes([byte]))

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            for number, raw in enumerate(raws):
                try:
                    self.assertEqual((number, raw.head()[0]), (number, 408))
                    self.assertTrue(raw.ended())
                except rawsocket.Closed:
                    pass
            spent = time.monotonic() - began
            self.assertTrue(0.8 < spent < 4, spent)
        finally:
            stop.set()
            thread.join(5)
            for raw in raws:
                raw.close()
        self.gateway.wait_metric(
            lambda metrics: metrics.total("app_errors_total")
            > self.before.total("app_errors_total"),
            "a counted time-out",
        )
