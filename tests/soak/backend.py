#!/usr/bin/python3
"""A small WebSocket backend for the soak run: `backend.py PORT NAME`.

Several processes may share the port (SO_REUSEPORT), so one of them can be killed while the
connections of another go on. The first message on a connection is the process' name; then each
message is echoed, but under `/flood` 64 KiB messages are sent as fast as the peer takes them, and
`/cut` ends without an answer.
"""

import asyncio
import base64
import hashlib
import struct
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FLOOD = b"\x82\x7f" + struct.pack("!Q", 65536) + b"f" * 65536


def unmasked(opcode, payload):
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def xor(payload, mask):
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return number.to_bytes(size, "little")


class Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, name):
        self.name = name
        self.buffer = b""
        self.open = False
        self.flooding = False
        self.paused = False

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        self.flooding = False

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        if self.flooding:
            self.flood()

    def flood(self):
        while not self.paused and not self.transport.is_closing():
            self.transport.write(FLOOD)

    def data_received(self, data):
        self.buffer += data
        if not self.open and not self.handshake():
            return
        while self.frame():
            pass

    def handshake(self):
        head, mark, rest = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return False
        lines = head.split(b"\r\n")
        path = lines[0].split(b" ")[1]
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        key = fields.get(b"sec-websocket-key")
        if key is None or path == b"/cut":
            self.transport.close()
            return False
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + unmasked(1, self.name)
        )
        self.buffer, self.open = rest, True
        if path == b"/flood":
            self.flooding = True
            self.flood()
        return True

    def frame(self):
        """Handles one whole frame of the buffer; False when there is none."""
        have = len(self.buffer)
        if have < 6:
            return False
        opcode, size, at = self.buffer[0] & 15, self.buffer[1] & 127, 2
        if size == 126:
            size, at = struct.unpack_from("!H", self.buffer, 2)[0], 4
        elif size == 127:
            if have < 14:
                return False
            size, at = struct.unpack_from("!Q", self.buffer, 2)[0], 10
        if have < at + 4 + size:
            return False
        mask = self.buffer[at : at + 4]
        payload = xor(self.buffer[at + 4 : at + 4 + size], mask)
        self.buffer = self.buffer[at + 4 + size :]
        if opcode == 8:
            self.transport.write(unmasked(8, payload[:2]))
            self.transport.close()
            return False
        if opcode == 9:
            self.transport.write(unmasked(10, payload))
        elif opcode in (1, 2) and not self.flooding:
            self.transport.write(unmasked(opcode, payload))
        return True


async def main(port, name):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Peer(name.encode()), "127.0.0.1", port, reuse_port=True, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
