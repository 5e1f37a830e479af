"""Entry point for daphne."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "service.settings")

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402

_http = get_asgi_application()

from django.urls import path  # noqa: E402

from service import consumers  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": URLRouter(
            [
                path("ws/chat/<str:room>/", consumers.Chat.as_asgi()),
                path("ws/echo/", consumers.Echo.as_asgi()),
                path("ws/headers/", consumers.Headers.as_asgi()),
                path("ws/refuse/", consumers.Refuse.as_asgi()),
                path("ws/greet/<int:count>/", consumers.Greet.as_asgi()),
            ]
        ),
    }
)
