"""A chat of two nodes with Django Channels and its pub/sub layer: join a room, and what one sends goes to all in it.

REDIS_URL=… uvicorn channels_app.asgi:application --port PORT
"""

import os
import secrets
from datetime import datetime, timezone

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=secrets.token_hex(),
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402


class Chat(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.rooms = set()
        await self.accept()

    async def disconnect(self, code):
        for room in self.rooms:
            await self.channel_layer.group_discard(room, self.channel_name)

    async def receive_json(self, frame):
        room = frame["room"]
        if frame["type"] == "join":
            self.rooms.add(room)
            await self.channel_layer.group_add(room, self.channel_name)
            await self.send_json({"type": "joined", "room": room})
        elif frame["type"] == "send":
            message = {
                "type": "chat.message",
                "room": room,
                "author": self.channel_name,
                "content": frame["content"],
                "created_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            }
            await self.channel_layer.group_send(room, message)

    async def chat_message(self, event):
        await self.send_json({**event, "type": "chat_message"})


application = ProtocolTypeRouter({"websocket": URLRouter([path("ws", Chat.as_asgi())])})
