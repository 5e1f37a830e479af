"""Frames against the rules: the right close code, one count each, nobody else disturbed."""

import os
import random
import socket
import struct

import names
import rawsocket
from rawsocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame
from undisturbed import Case


class Frames(Case):
    """RFC 6455 sections 5 to 8, on the built-in echo."""

    def broken(self, data, code, path="/echo", count=True, headers=()):
        """Sends bytes on a fresh connection; asserts the close code and the count."""
        before = self.gateway.metrics()
        with rawsocket.WebSocket(self.port, path, headers) as ws:
            ws.send(data)
            got = ws.until_close()
            self.assertEqual(got.code, code, got)
            ws.send_frame(CLOSE, close_payload(code))
            self.assertTrue(ws.ended(), "not closed after the close frame")
        if count:
            metrics = self.errors(code, by=before)
            name = names.WS["closes"][0]
            self.assertEqual(
                metrics.total(name, close_code=code) - before.total(name, close_code=code), 1
            )

    def test_unmasked(self):
        self.broken(frame(TEXT, b"x", mask=None), 1002)
        self.broken(frame(BINARY, b"x" * 70000, mask=None), 1002)
        self.broken(frame(PING, b"", mask=None), 1002)

    def test_reserved_bits(self):
        for rsv in (1, 2, 4, 7):
            self.broken(frame(TEXT, b"x", rsv=rsv), 1002)
        self.broken(frame(PING, b"x", rsv=4), 1002)

    def test_reserved_opcodes(self):
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            self.broken(frame(opcode, b"x"), 1002)

    def test_control_frames(self):
        for opcode in (PING, PONG, CLOSE):
            self.broken(frame(opcode, b"\x03\xe8" + b"x" * 124), 1002)
            self.broken(frame(opcode, b"\x03\xe8", fin=False), 1002)
        self.broken(frame(PING, b"x" * 10, width=16), 1002)

    def test_largest_control_frame(self):
        with rawsocket.WebSocket(self.port, "/echo") as ws:
            ws.send_frame(PING, b"p" * 125)
            got = ws.frame()
            self.assertEqual((got.opcode, got.payload), (PONG, b"p" * 125))
            ws.send_frame(PONG, b"unasked")
            ws.text("alive")
            self.assertEqual(ws.message()[1], b"alive")
            self.assertEqual(ws.finish(1000, b"r" * 123).code, 1000)
        self.errors(count=0)

    def test_order_of_fragments(self):
        self.broken(frame(CONTINUATION, b"x"), 1002)
        self.broken(frame(CONTINUATION, b"x", fin=False), 1002)
        self.broken(frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002)
        self.broken(frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), 1002)
        self.broken(frame(BINARY, b"a", fin=False) + frame(TEXT, b"b", fin=False), 1002)

    def test_fragments_in_order(self):
        with rawsocket.WebSocket(self.port, "/echo") as ws:
            ws.send(
                frame(BINARY, b"", fin=False)
                + frame(CONTINUATION, b"a", fin=False)
                + frame(PING, b"1")
                + frame(CONTINUATION, b"", fin=False)
                + frame(CONTINUATION, b"b")
                + frame(TEXT, b"")
            )
            got = ws.frame()
            self.assertEqual((got.opcode, got.payload), (PONG, b"1"))
            self.assertEqual(ws.message(), (BINARY, b"ab"))
            self.assertEqual(ws.message(), (TEXT, b""))
            ws.finish()
        self.errors(count=0)

    def test_lengths(self):
        """RFC 6455 section 5.2: the shortest form must be used; the top bit must be 0."""
        self.broken(frame(BINARY, b"x" * 10, width=16), 1002)
        self.broken(frame(BINARY, b"x" * 10, width=64), 1002)
        self.broken(frame(BINARY, b"x" * 1000, width=64), 1002)
        self.broken(b"\x82\xff" + struct.pack("!Q", 1 << 63) + b"\0\0\0\0", 1002)
        self.broken(b"\x82\xff" + struct.pack("!Q", 1 << 62) + b"\0\0\0\0", 1009)

    def test_utf8(self):
        for bad in (
            b"\xff",
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xf8\x88\x80\x80\x80",
            b"abc\x80",
            b"\xe2\x82",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        ):
            with self.subTest(bad=bad):
                self.broken(frame(TEXT, bad), 1007)

    def test_utf8_split(self):
        """A character over frames is good; a wrong byte fails before the message ends."""
        with rawsocket.WebSocket(self.port, "/echo") as ws:
            text = "κόσμε𐍈".encode()
            ws.send(frame(TEXT, text[:1], fin=False))
            for place in range(1, len(text) - 1):
                ws.send(frame(CONTINUATION, text[place : place + 1], fin=False))
            ws.send(frame(CONTINUATION, text[-1:]))
            self.assertEqual(ws.message(), (TEXT, "κόσμε𐍈".encode()))
            ws.finish()
        self.broken(
            frame(TEXT, b"\xce", fin=False) + frame(CONTINUATION, b"\xce", fin=False), 1007
        )
        self.broken(frame(TEXT, b"ok\xf4", fin=False) + frame(CONTINUATION, b"\x90", fin=False),
                    1007)
        # The frame announces a megabyte; the answer comes at its first bad byte.
        self.broken(frame(TEXT, b"ok\xff" + b"x" * 100, length=1_000_000), 1007)

    def test_utf8_in_binary_is_free(self):
        with rawsocket.WebSocket(self.port, "/echo") as ws:
            ws.binary(b"\xff\xfe\xc0")
            self.assertEqual(ws.message(), (BINARY, b"\xff\xfe\xc0"))
            ws.finish()
        self.errors(count=0)

    def test_close_codes(self):
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
            with self.subTest(code=code):
                self.broken(frame(CLOSE, close_payload(code)), 1002)
        self.broken(frame(CLOSE, b"\x03"), 1002)
        self.broken(frame(CLOSE, close_payload(1000, b"\xff\xfe")), 1007)

    def test_good_close_codes(self):
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
                     3000, 3999, 4000, 4999):
            with rawsocket.WebSocket(self.port, "/echo") as ws:
                self.assertEqual(ws.finish(code).code, code)
        with rawsocket.WebSocket(self.port, "/echo") as ws:
            ws.send_frame(CLOSE)
            self.assertEqual(ws.until_close().payload, b"")
            self.assertTrue(ws.ended())

    def test_data_after_close_is_ignored(self):
        with rawsocket.WebSocket(self.port, "/echo") as ws:
            ws.send(frame(CLOSE, close_payload(1000)) + frame(TEXT, b"late"))
            self.assertEqual(ws.frame().opcode, CLOSE)
            self.assertTrue(ws.ended())
        self.gateway.wait_metric(
            lambda metrics: metrics.value("app_active_connections") == 1, "closed"
        )
        self.assertEqual(
            self.gateway.metrics().value("app_messages_total"),
            self.before.value("app_messages_total"),
        )

    def test_garbage(self):
        """Random bytes end each connection with a protocol error, never the gateway."""
        seed = int.from_bytes(os.urandom(4), "little")
        rng = random.Random(seed)
        for _ in range(50):
            with rawsocket.WebSocket(self.port, "/echo") as ws:
                ws.send(bytes(rng.randrange(256) for _ in range(200)))
                ws.socket.shutdown(socket.SHUT_WR)
                self.assertTrue(ws.ended(), "seed %d" % seed)
        self.check_witness()

    def test_reset_and_half_close(self):
        for _ in range(20):
            ws = rawsocket.WebSocket(self.port, "/echo")
            ws.send(frame(TEXT, b"half a frame")[:8])
            ws.abort()
        with rawsocket.WebSocket(self.port, "/echo") as ws:
            ws.text("then half-closed")
            ws.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(ws.ended(), "a half-closed connection stays")
        self.gateway.wait_metric(
            lambda metrics: metrics.value("app_active_connections") == 1, "all gone"
        )
        name = names.WS["closes"][0]
        metrics = self.gateway.metrics()
        self.assertEqual(
            metrics.total(name, close_code="1006") - self.before.total(name, close_code="1006"), 21
        )
