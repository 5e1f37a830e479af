"""Settings of the test service: no database, no sessions, no middleware."""

import os

SECRET_KEY = "used by tests on loopback only"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "service.urls"
ASGI_APPLICATION = "service.asgi.application"
INSTALLED_APPS = ["channels"]
MIDDLEWARE = []
USE_TZ = True
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024 * 1024

_redis = os.environ.get("CHANNEL_REDIS", "")
if _redis:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [_redis], "capacity": 1000},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
