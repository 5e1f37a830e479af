"""WebSocket consumers: echo, chat, and what a test needs to see from the backend's side."""

import asyncio
import json
import os

from channels.generic.websocket import AsyncWebsocketConsumer

SUBPROTOCOL = "chat.v1"


def _command(text):
    """The command in a text message, or None: a JSON object with one known key."""
    if not text or not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if isinstance(value, dict) and value.keys() & {"close", "big", "sleep", "raise"}:
        return value
    return None


class Commanded(AsyncWebsocketConsumer):
    """Accepts with `chat.v1` when offered, and does what a command message tells it to."""

    async def connect(self):
        offered = self.scope.get("subprotocols") or []
        await self.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)

    async def receive(self, text_data=None, bytes_data=None):
        command = _command(text_data)
        if command is None:
            await self.plain(text_data, bytes_data)
        elif "close" in command:
            await self.close(code=int(command["close"]))
        elif "big" in command:
            size = int(command["big"])
            if command.get("binary"):
                await self.send(bytes_data=b"\x5a" * size)
            else:
                await self.send(text_data="z" * size)
        elif "sleep" in command:
            await asyncio.sleep(float(command["sleep"]))
            await self.send(text_data="slept")
        else:
            raise RuntimeError("told to raise")

    async def plain(self, text_data, bytes_data):
        """What to do with a message that is no command."""
        raise NotImplementedError


class Echo(Commanded):
    """Sends each message back as it came, text or binary."""

    async def plain(self, text_data, bytes_data):
        if text_data is not None:
            await self.send(text_data=text_data)
        else:
            await self.send(bytes_data=bytes_data)


class Chat(Commanded):
    """A room: every message goes to all members through Redis, or back to its sender without it."""

    shared = bool(os.environ.get("CHANNEL_REDIS"))

    async def connect(self):
        self.group = "chat_" + self.scope["url_route"]["kwargs"]["room"]
        if self.shared:
            await self.channel_layer.group_add(self.group, self.channel_name)
        await super().connect()

    async def disconnect(self, code):
        if self.shared:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def plain(self, text_data, bytes_data):
        event = {"type": "chat.message", "text": text_data, "bytes": bytes_data}
        if self.shared:
            await self.channel_layer.group_send(self.group, event)
        else:
            await self.chat_message(event)

    async def chat_message(self, event):
        if event["text"] is not None:
            await self.send(text_data=event["text"])
        else:
            await self.send(bytes_data=event["bytes"])


class Headers(Commanded):
    """Sends, once a connection, the handshake as the backend saw it; then echoes."""

    async def connect(self):
        await super().connect()
        headers = {}
        for name, value in self.scope["headers"]:
            headers.setdefault(name.decode("latin1").lower(), []).append(value.decode("latin1"))
        await self.send(
            text_data=json.dumps(
                {
                    "headers": {name: ", ".join(values) for name, values in headers.items()},
                    "subprotocols": list(self.scope.get("subprotocols") or []),
                    "path": self.scope["path"],
                    "query": self.scope["query_string"].decode("latin1"),
                    "client": self.scope["client"],
                }
            )
        )

    async def plain(self, text_data, bytes_data):
        if text_data is not None:
            await self.send(text_data=text_data)
        else:
            await self.send(bytes_data=bytes_data)


class Refuse(AsyncWebsocketConsumer):
    """Refuses every handshake; daphne answers it with 403."""

    async def connect(self):
        await self.close()


class Greet(Commanded):
    """Sends a number of messages as soon as it is connected, without being asked."""

    async def connect(self):
        await super().connect()
        for number in range(self.scope["url_route"]["kwargs"]["count"]):
            await self.send(text_data="greeting %d" % number)

    async def plain(self, text_data, bytes_data):
        await self.send(text_data="heard")
