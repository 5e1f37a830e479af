"""A WebSocket client that can break every rule: bytes out as given, frames in checked strictly."""

import base64
import hashlib
import os
import socket
import struct
import time

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_of(key):
    """Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def frame(opcode, payload=b"", fin=True, mask=b"\x11\x22\x33\x44", rsv=0, length=None, width=None):
    """The bytes of a frame. mask=None leaves it unmasked; width 7, 16 or 64 forces the length form;
    `length` overrides the announced length."""
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    marked = 0x80 if mask is not None else 0
    if width is None:
        width = 7 if size < 126 else 16 if size < 65536 else 64
    if width == 7:
        head = struct.pack("!BB", first, marked | size)
    elif width == 16:
        head = struct.pack("!BBH", first, marked | 126, size)
    else:
        head = struct.pack("!BBQ", first, marked | 127, size)
    if mask is None:
        return head + payload
    return head + mask + xor(payload, mask)


def xor(payload, mask):
    """Masks or unmasks."""
    if not payload or mask == b"\0\0\0\0":
        return payload
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return number.to_bytes(size, "little")


def close_payload(code, reason=b""):
    return struct.pack("!H", code) + reason


class Frame:
    """A frame from the server."""

    def __init__(self, first, payload):
        self.fin = bool(first & 0x80)
        self.rsv = first >> 4 & 7
        self.opcode = first & 15
        self.payload = payload

    @property
    def code(self):
        """The close code, or None when the close frame has none."""
        return struct.unpack("!H", self.payload[:2])[0] if len(self.payload) >= 2 else None

    @property
    def reason(self):
        return self.payload[2:].decode("utf-8")

    def __repr__(self):
        return "Frame(op=%d fin=%s rsv=%d %r)" % (
            self.opcode,
            self.fin,
            self.rsv,
            self.payload[:40],
        )


class Closed(Exception):
    """The peer ended the TCP connection."""


class Raw:
    """A TCP (or TLS) connection with a time limit on every operation."""

    def __init__(self, port, tls=None, timeout=5.0, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.timeout = timeout
        self.buffer = b""
        self.port = port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def abort(self):
        """Ends with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        """Sends all; a peer that has already closed is no error here, reading will tell."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def read_more(self):
        try:
            data = self.socket.recv(262144)
        except (ConnectionResetError, BrokenPipeError):
            raise Closed from None
        except socket.timeout:
            raise AssertionError("nothing received within %.1f s" % self.timeout) from None
        if not data:
            raise Closed
        self.buffer += data

    def exactly(self, count):
        parts, have = [self.buffer], len(self.buffer)
        while have < count:
            self.buffer = b""
            self.read_more()
            parts.append(self.buffer)
            have += len(self.buffer)
        data = b"".join(parts)
        self.buffer = data[count:]
        return data[:count]

    def head(self):
        """Reads an HTTP head: (status, {lower-case name: value}, list of pairs)."""
        while b"\r\n\r\n" not in self.buffer:
            self.read_more()
        raw, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = raw.decode("latin1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        if version != "HTTP/1.1" or not status.isdigit():
            raise AssertionError("bad status line %r" % lines[0])
        pairs = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip() or not name:
                raise AssertionError("bad header line %r" % line)
            pairs.append((name.lower(), value.strip()))
        return int(status), dict(pairs), pairs

    def reply(self):
        """Reads a whole HTTP reply with a Content-Length: (status, headers, body)."""
        status, headers, _ = self.head()
        return status, headers, self.exactly(int(headers.get("content-length", "0")))

    def ended(self, seconds=5.0):
        """Waits until the peer closes; False when it does not within the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                if not self.socket.recv(65536):
                    return True
            except (ConnectionResetError, BrokenPipeError):
                return True
            except socket.timeout:
                return False
        return False


def handshake_text(port, path="/echo", key=None, headers=(), drop=(), method="GET", version="1.1"):
    """A handshake request. `headers` are appended as they are; `drop` leaves standard ones out."""
    standard = [
        ("Host", "127.0.0.1:%d" % port),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key or "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    lines = ["%s %s HTTP/%s" % (method, path, version)]
    lines += ["%s: %s" % pair for pair in standard if pair[0].lower() not in drop]
    lines += list(headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin1")


class WebSocket(Raw):
    """A raw connection on which the handshake has been done (and its answer checked)."""

    def __init__(self, port, path="/echo", headers=(), **options):
        super().__init__(port, **options)
        key = base64.b64encode(os.urandom(16)).decode()
        self.send(handshake_text(port, path, key, headers))
        self.status, self.headers, self.pairs = self.head()
        if self.status != 101:
            size = int(self.headers.get("content-length", "0"))
            body = self.exactly(size)
            self.close()
            raise Refused(self.status, self.headers, body)
        if self.headers.get("sec-websocket-accept") != accept_of(key):
            raise AssertionError("wrong Sec-WebSocket-Accept: %r" % self.headers)

    def send_frame(self, opcode, payload=b"", **options):
        self.send(frame(opcode, payload, **options))

    def text(self, value):
        self.send_frame(TEXT, value.encode())

    def binary(self, value):
        self.send_frame(BINARY, value)

    def frame(self):
        """The next frame; fails when it breaks a rule a server must keep."""
        first, second = self.exactly(2)
        if second & 0x80:
            raise AssertionError("masked frame from the server")
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", self.exactly(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self.exactly(8))[0]
        got = Frame(first, self.exactly(size))
        if got.opcode >= 8 and (not got.fin or size > 125):
            raise AssertionError("bad control frame %r" % got)
        return got

    def message(self):
        """The next data message: (opcode, payload). Pings are answered, pongs skipped."""
        opcode, payload = None, b""
        while True:
            got = self.frame()
            if got.opcode == PING:
                self.send_frame(PONG, got.payload)
            elif got.opcode == CLOSE:
                raise AssertionError("close %s %r instead of a message" % (got.code, got.payload))
            elif got.opcode != PONG:
                opcode = got.opcode if opcode is None else opcode
                payload += got.payload
                if got.fin:
                    return opcode, payload

    def until_close(self):
        """Reads on until a close frame and returns it; Closed when there was none."""
        while True:
            got = self.frame()
            if got.opcode == CLOSE:
                return got

    def finish(self, code=1000, reason=b""):
        """The closing handshake from this side; returns the peer's close frame."""
        self.send_frame(CLOSE, close_payload(code, reason))
        got = self.until_close()
        self.close()
        return got


class Refused(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, status, headers, body):
        super().__init__("refused with %d: %r" % (status, body[:200]))
        self.status = status
        self.headers = headers
        self.body = body
