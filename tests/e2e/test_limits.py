"""The message limit, bombs, floods and slow readers, served and relayed."""

import zlib

import harness
import rawsocket
from rawsocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_payload, frame
from undisturbed import Case

LIMIT = 16 * 1024 * 1024


class Limits(Case):
    """The message limit, bombs, endless fragments, floods."""

    limit_seconds = 90

    def test_limit_passes(self):
        data = bytes(range(256)) * (LIMIT // 256)
        with rawsocket.WebSocket(self.port, "/echo", timeout=20) as ws:
            ws.binary(data)
            opcode, got = ws.message()
            self.assertEqual((opcode, len(got), got == data), (BINARY, LIMIT, True))
            ws.finish()
        self.errors(count=0)

    def test_one_more_is_1009(self):
        """Refused at its head: the announced length is enough."""
        with rawsocket.WebSocket(self.port, "/echo") as ws:
            ws.send(frame(BINARY, b"", length=LIMIT + 1))
            self.assertEqual(ws.until_close().code, 1009)
        self.errors(1009)

    def test_one_more_in_fragments_is_1009(self):
        piece = b"x" * (LIMIT // 4)
        with rawsocket.WebSocket(self.port, "/echo", timeout=20) as ws:
            ws.send(frame(BINARY, piece, fin=False))
            for _ in range(3):
                ws.send(frame(CONTINUATION, piece, fin=False))
            ws.send(frame(CONTINUATION, b"y"))
            self.assertEqual(ws.until_close().code, 1009)
        self.errors(1009)

    def test_endless_fragments(self):
        """Empty fragments without end cost no memory and are ended."""
        before = self.gateway.rss_bytes()
        with rawsocket.WebSocket(self.port, "/echo", timeout=20) as ws:
            ws.send(frame(TEXT, b"", fin=False))
            block = frame(CONTINUATION, b"", fin=False) * 10000
            code = None
            for _ in range(30):
                ws.send(block)
                ws.socket.settimeout(0.05)
                try:
                    code = ws.until_close().code
                    break
                except AssertionError:
                    continue
                except rawsocket.Closed:
                    break
            self.assertIn(code, (1008, None))
        self.errors(1008)
        self.assertLess(self.gateway.rss_bytes() - before, 4_000_000)

    def test_bomb(self):
        """64 MiB of zeros in 64 KiB of deflate: closed with 1009, little memory taken."""
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(b"\0" * (4 * LIMIT)) + packer.flush(zlib.Z_SYNC_FLUSH)
        packed = packed[:-4]
        before = self.gateway.rss_bytes()
        extension = ["Sec-WebSocket-Extensions: permessage-deflate"]
        for _ in range(5):
            with rawsocket.WebSocket(self.port, "/echo", extension, timeout=10) as ws:
                self.assertIn("permessage-deflate", ws.headers["sec-websocket-extensions"])
                ws.send_frame(BINARY, packed, rsv=4)
                self.assertEqual(ws.until_close().code, 1009)
        self.errors(1009, count=5)
        self.assertLess(self.gateway.rss_bytes() - before, 3 * LIMIT)

    def test_compressed_echo(self):
        """permessage-deflate works, and sizes are counted after inflating."""
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        unpacker = zlib.decompressobj(-15)
        data = b"compress me " * 1000
        extension = ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]
        with rawsocket.WebSocket(self.port, "/echo", extension) as ws:
            self.assertIn("permessage-deflate", ws.headers["sec-websocket-extensions"])
            packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
            ws.send_frame(TEXT, packed[:-4], rsv=4)
            got = ws.frame()
            self.assertEqual(got.opcode, TEXT)
            body = got.payload
            if got.rsv == 4:
                body = unpacker.decompress(body + b"\0\0\xff\xff")
            self.assertEqual(body, data)
            ws.finish()
        metrics = self.gateway.metrics()
        self.assertEqual(
            metrics.value("app_message_size_bytes_sum")
            - self.before.value("app_message_size_bytes_sum"),
            len(data),
        )

    def test_broken_deflate(self):
        extension = ["Sec-WebSocket-Extensions: permessage-deflate"]
        with rawsocket.WebSocket(self.port, "/echo", extension) as ws:
            ws.send_frame(TEXT, b"\xff\xff\xff\xff\xff", rsv=4)
            self.assertIn(ws.until_close().code, (1002, 1007))
        self.errors(count=1)

    def test_deflate_offers(self):
        """RFC 7692 section 7.1: unknown or broken parameters are declined, others answered."""
        for offer, taken in (
            ("permessage-deflate; unknown=1", False),
            ("permessage-deflate; server_max_window_bits=7", False),
            ("permessage-deflate; server_max_window_bits=16", False),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", False),
            ("x-webkit-deflate-frame", False),
            ("permessage-deflate; bad=1, permessage-deflate", True),
            ("permessage-deflate; server_no_context_takeover", True),
            ("permessage-deflate; server_max_window_bits=10", True),
        ):
            with self.subTest(offer=offer):
                header = ["Sec-WebSocket-Extensions: " + offer]
                with rawsocket.WebSocket(self.port, "/echo", header) as ws:
                    answer = ws.headers.get("sec-websocket-extensions", "")
                    self.assertEqual("permessage-deflate" in answer, taken, answer)
                    for parameter in ("server_no_context_takeover", "server_max_window_bits=10"):
                        if taken and parameter in offer:
                            self.assertIn(parameter, answer)
                    ws.text("x")
                    self.assertEqual(ws.frame().opcode, TEXT)

    def test_ping_flood(self):
        """100,000 pings from a client that does not read: bounded memory, others served."""
        before = self.gateway.rss_bytes()
        flood = frame(PING, b"f" * 125) * 1000
        with rawsocket.WebSocket(self.port, "/echo", receive_buffer=4096) as ws:
            ws.socket.settimeout(0.5)
            try:
                for _ in range(100):
                    ws.socket.sendall(flood)
            except OSError:
                pass
            self.check_witness()
        self.errors(1008)
        self.assertLess(self.gateway.rss_bytes() - before, 8_000_000)

    def test_reader_that_never_reads(self):
        """Echo to a client that does not read: its own input stops, memory is bounded."""
        before = self.gateway.rss_bytes()
        block = frame(BINARY, b"z" * 65000)
        with rawsocket.WebSocket(self.port, "/echo", receive_buffer=4096) as ws:
            ws.socket.settimeout(0.5)
            sent = 0
            try:
                for _ in range(2000):
                    ws.socket.sendall(block)
                    sent += len(block)
            except OSError:
                pass
            self.assertLess(sent, 100_000_000, "128 MB taken from a client that reads nothing")
            self.check_witness()
            self.assertLess(self.gateway.rss_bytes() - before, 24_000_000)


class Relayed(Case):
    """The same through a relay, in front of a second instance with a higher limit."""

    @classmethod
    def prepare(cls):
        cls.backend = cls.share(
            harness.Wscope(cls.directory, config="gateway: {message_limit: 32MiB}\n")
        )
        cls.gateway = cls.share(
            harness.Wscope(
                cls.directory, "--upstream", "http://127.0.0.1:%d" % cls.backend.port
            )
        )
        cls.port = cls.gateway.port

    def test_limit_passes(self):
        data = bytes(range(256)) * (LIMIT // 256)
        with rawsocket.WebSocket(self.port, "/echo", timeout=20) as ws:
            ws.binary(data)
            opcode, got = ws.message()
            self.assertEqual((opcode, len(got), got == data), (BINARY, LIMIT, True))
            ws.finish()
        self.errors(count=0)

    def test_one_more_is_1009(self):
        with rawsocket.WebSocket(self.port, "/echo", timeout=20) as ws:
            ws.send(frame(BINARY, b"", length=LIMIT + 1))
            self.assertEqual(ws.until_close().code, 1009)
        self.errors(1009)

    def test_protocol_errors(self):
        for data, code in (
            (frame(TEXT, b"x", mask=None), 1002),
            (frame(3, b"x"), 1002),
            (frame(PING, b"x", fin=False), 1002),
            (frame(CONTINUATION, b"x"), 1002),
            (frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), 1002),
            (frame(CLOSE, close_payload(1005)), 1002),
        ):
            with self.subTest(data=data):
                before = self.gateway.metrics()
                with rawsocket.WebSocket(self.port, "/echo") as ws:
                    ws.send(data)
                    self.assertEqual(ws.until_close().code, code)
                    self.assertTrue(ws.ended())
                self.errors(code, by=before)

    def test_smuggled_second_request(self):
        """What follows a refused handshake never reaches the backend."""
        requests = self.backend.metrics().value("app_requests_total")
        with rawsocket.Raw(self.port) as raw:
            raw.send(
                rawsocket.handshake_text(self.port, headers=["Host: other"])
                + rawsocket.handshake_text(self.port)
            )
            self.assertEqual(raw.head()[0], 400)
            self.assertTrue(raw.ended())
        self.assertEqual(self.backend.metrics().value("app_requests_total"), requests)

    def test_slow_reader(self):
        """A client that does not read stops the backend's sending; the witness goes on."""
        before = self.gateway.rss_bytes()
        block = frame(BINARY, b"z" * 65000)
        with rawsocket.WebSocket(self.port, "/echo", receive_buffer=4096) as ws:
            ws.socket.settimeout(0.5)
            try:
                for _ in range(2000):
                    ws.socket.sendall(block)
            except OSError:
                pass
            self.check_witness()
            self.assertLess(self.gateway.rss_bytes() - before, 24_000_000)
