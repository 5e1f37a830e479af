"""The clients of the soak run: asyncio protocols, cheap enough for thousands in one process."""

import asyncio
import base64
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import rawsocket  # noqa: E402


class Tally:
    """What happened, over all clients."""

    def __init__(self):
        self.counts = {}
        self.violations = []
        self.latencies = []
        self.slowest = 0.0

    def add(self, what, count=1):
        self.counts[what] = self.counts.get(what, 0) + count

    def get(self, what):
        return self.counts.get(what, 0)

    def violation(self, text):
        self.add("violations")
        if len(self.violations) < 20:
            self.violations.append(text)

    def latency(self, seconds):
        self.slowest = max(self.slowest, seconds)
        if len(self.latencies) < 500_000:
            self.latencies.append(seconds)


class Client(asyncio.Protocol):
    """A WebSocket connection; subclasses say what to do with it."""

    path = "/echo"

    def __init__(self, soak):
        self.soak = soak
        self.tally = soak.tally
        self.buffer = b""
        self.open = False
        self.code = None
        self.leaving = False
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(rawsocket.handshake_text(self.soak.port, self.path, key))

    def connection_lost(self, _):
        if not self.ended.done():
            self.ended.set_result(self.code)

    def data_received(self, data):
        self.buffer += data
        if not self.open:
            head, mark, rest = self.buffer.partition(b"\r\n\r\n")
            if not mark:
                return
            status = int(head[9:12])
            if status != 101:
                self.code = -status
                self.transport.close()
                return
            self.open, self.buffer = True, rest
        while self.frame():
            pass

    def frame(self):
        have = len(self.buffer)
        if have < 2:
            return False
        opcode, size, at = self.buffer[0] & 15, self.buffer[1], 2
        if size == 126:
            if have < 4:
                return False
            size, at = struct.unpack_from("!H", self.buffer, 2)[0], 4
        elif size == 127:
            if have < 10:
                return False
            size, at = struct.unpack_from("!Q", self.buffer, 2)[0], 10
        if have < at + size:
            return False
        payload = self.buffer[at : at + size]
        self.buffer = self.buffer[at + size :]
        if opcode == rawsocket.CLOSE:
            self.code = struct.unpack("!H", payload[:2])[0] if size >= 2 else 1005
            if not self.leaving:
                self.send(rawsocket.CLOSE, payload[:2])
            self.transport.close()
            return False
        if opcode == rawsocket.PING:
            self.send(rawsocket.PONG, payload)
        elif opcode in (rawsocket.TEXT, rawsocket.BINARY):
            self.message(payload)
        return True

    def send(self, opcode, payload):
        self.transport.write(rawsocket.frame(opcode, payload))

    def leave(self):
        """The closing handshake from this side."""
        if self.open and not self.transport.is_closing():
            self.leaving = True
            self.send(rawsocket.CLOSE, rawsocket.close_payload(1000))
            asyncio.get_running_loop().call_later(5, self.transport.abort)
        else:
            self.transport.abort()

    def message(self, payload):
        raise NotImplementedError


class Talker(Client):
    """Sends, checks each echo, and knows which backend it is on."""

    backend = None
    control = False

    def __init__(self, soak):
        super().__init__(soak)
        self.sent_at = None
        self.wanted = None

    def message(self, payload):
        if self.backend is None:
            self.backend = payload.decode()
            self.soak.joined(self)
            self.timer(random.random() * self.soak.period)
            return
        if payload != self.wanted:
            self.tally.violation("wrong echo on backend %s" % self.backend)
        self.wanted = None
        spent = time.monotonic() - self.sent_at
        self.tally.add("messages")
        if self.control:
            self.tally.add("control messages")
            self.tally.latency(spent)
            if spent > self.soak.patience:
                self.tally.violation("control waited %.1f s" % spent)
        self.timer(self.soak.period)

    def timer(self, seconds):
        asyncio.get_running_loop().call_later(seconds, self.talk)

    def talk(self):
        if self.transport.is_closing() or self.leaving or self.wanted is not None:
            return
        dice = random.random()
        size = 65600 if dice < 0.002 else random.randrange(16, 2000)
        self.wanted = random.randbytes(8) + b"x" * (size - 8)
        self.sent_at = time.monotonic()
        self.send(rawsocket.BINARY, self.wanted)

    def check_stuck(self, now):
        """Called now and then: an echo that never came."""
        if self.wanted is not None and self.backend == "stays" and not self.leaving:
            if now - self.sent_at > 10:
                self.tally.violation("no echo for 10 s")
                self.transport.abort()


class Slow(Client):
    """Takes a flood a little at a time, then goes away with a reset."""

    path = "/flood"

    def connection_made(self, transport):
        super().connection_made(transport)
        self.taken = 0

    def data_received(self, data):
        self.taken += len(data)
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(0.5, self.resume)

    def resume(self):
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def message(self, payload):
        pass


def small_socket():
    """A socket with a receive buffer so small that its peer soon has to wait."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    return made


async def abort_handshake(soak):
    """One handshake that does not come to its end, of a random kind."""
    loop = asyncio.get_running_loop()
    made = socket.socket()
    made.setblocking(False)
    full = rawsocket.handshake_text(soak.port, "/echo")
    kind = random.randrange(7)
    try:
        await asyncio.wait_for(loop.sock_connect(made, ("127.0.0.1", soak.port)), 5)
        if kind == 1:
            await loop.sock_sendall(made, full[: random.randrange(1, len(full))])
        elif kind == 2:
            await loop.sock_sendall(made, full)
        elif kind == 3:
            await loop.sock_sendall(made, full.replace(b": 13", b": 12"))
        elif kind == 4:
            await loop.sock_sendall(made, random.randbytes(300))
        elif kind == 5:
            await loop.sock_sendall(made, rawsocket.handshake_text(soak.port, "/cut"))
        elif kind == 6:
            await loop.sock_sendall(made, full + rawsocket.frame(rawsocket.TEXT, b"x", mask=None))
        await asyncio.sleep(random.random() * 0.2)
        if random.random() < 0.5:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        soak.tally.add("aborted handshakes")
    except (OSError, asyncio.TimeoutError):
        soak.tally.add("failed connects")
    finally:
        made.close()
