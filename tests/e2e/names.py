"""Every name and label the tests expect, in one place, so that a renaming is one edit here.

The `app_*`, `django_*` and `redis_*` part is a contract and fixed; `ws_*` labels, log keys and span
attributes are the program's own choice.
"""

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"

# Family: (type, label names, bucket edges that must be there).
CONTRACT = {
    "app_active_connections": (GAUGE, (), ()),
    "app_connections_total": (COUNTER, (), ()),
    "app_connections_closed_total": (COUNTER, (), ()),
    "app_connection_duration_seconds": (
        HISTOGRAM,
        (),
        (1, 5, 15, 30, 60, 300, 600, 1800, 3600),
    ),
    "app_messages_total": (COUNTER, (), ()),
    "app_message_size_bytes": (HISTOGRAM, (), (64, 256, 1024, 4096, 16384, 65536)),
    "app_message_processing_seconds": (HISTOGRAM, (), (0.001, 0.01, 0.1, 0.5, 1, 2, 5)),
    "app_sessions_tracked": (GAUGE, (), ()),
    "app_session_duration_seconds": (
        HISTOGRAM,
        (),
        (60, 300, 900, 1800, 3600, 7200, 14400),
    ),
    "app_errors_total": (COUNTER, ("error_code", "error_type"), ()),
    "app_requests_total": (COUNTER, (), ()),
    "app_error_rate": (GAUGE, (), ()),
    "app_messages_per_second": (GAUGE, (), ()),
    "app_response_time_p95": (GAUGE, (), ()),
    "app_uptime_percentage": (GAUGE, (), ()),
    "app_memory_usage_bytes": (GAUGE, (), ()),
    "app_memory_total_bytes": (GAUGE, (), ()),
    "app_memory_usage_percent": (GAUGE, (), ()),
    "app_cpu_usage_percent": (GAUGE, (), ()),
    "redis_commands_duration_seconds": (HISTOGRAM, (), ()),
    "django_http_requests_total": (COUNTER, ("endpoint", "method", "status"), ()),
    "django_http_request_duration_seconds": (HISTOGRAM, (), ()),
    "django_http_requests_active": (GAUGE, (), ()),
}

# Gauges that say something about the process and so are not 0 on an idle start.
NEVER_ZERO = {
    "app_uptime_percentage",
    "app_memory_usage_bytes",
    "app_memory_total_bytes",
    "app_memory_usage_percent",
    "app_cpu_usage_percent",
}

IN, OUT = "in", "out"
TEXT, BINARY, CONTINUATION = "text", "binary", "continuation"
CLOSE, PING, PONG = "close", "ping", "pong"
CLIENT, BACKEND, GATEWAY = "client", "backend", "gateway"

WS = {
    "messages": ("ws_messages_total", {"route", "direction", "opcode"}),
    "frames": ("ws_frames_total", {"route", "direction", "opcode"}),
    "payload": ("ws_payload_bytes_total", {"route", "direction", "opcode"}),
    "wire": ("ws_wire_bytes_total", {"route", "direction", "opcode"}),
    "closes": ("ws_closes_total", {"route", "close_code", "initiator"}),
    "handshakes": ("ws_handshakes_total", {"route", "status"}),
}
WS_RELAY_SECONDS = "ws_relay_seconds"

# Log lines.
LOG_ALWAYS = ("timestamp", "level", "logger", "message", "module", "function", "line")
LOG_CONNECTION = ("correlation_id", "connection_id", "session_id", "trace_id", "span_id")
LOG_SIZE_KEYS = ("size",)
LOG_TYPE_KEYS = ("opcode",)
LOG_DIRECTION_KEYS = ("direction",)
LOG_CODE_KEYS = ("code", "close_code", "websocket.close.code")
LOG_INITIATOR_KEYS = ("initiator", "websocket.close.initiator")


def data_payload(metrics, direction, **labels):
    """Payload bytes of data frames in one direction."""
    name, have = WS["payload"]
    if "opcode" not in have:
        return metrics.total(name, direction=direction, **labels)
    return sum(
        metrics.total(name, direction=direction, opcode=opcode, **labels)
        for opcode in (TEXT, BINARY, CONTINUATION)
    )


def extra(line, keys):
    """The value in a line's extra_fields under the first of the keys that is there, else None."""
    fields = line.get("extra_fields") or {}
    for key in keys:
        if key in fields:
            return fields[key]
    return None


def is_open(line):
    return line["logger"] == "websocket" and "open" in line["message"].lower()


def is_close(line):
    return line["logger"] == "websocket" and extra(line, LOG_CODE_KEYS) is not None


# Spans.
SPAN_HANDSHAKE = "websocket.connect"
SPAN_PROCESS = "websocket.message.process"
SPAN_SEND = "websocket.message.send"
HANDSHAKE_ATTRIBUTES = (
    "http.request.method",
    "url.path",
    "http.route",
    "http.response.status_code",
    "network.protocol.version",
    "client.address",
    "server.address",
    "user_agent.original",
    "websocket.session_id",
    "websocket.room_name",
)
MESSAGE_ATTRIBUTES = (
    "websocket.session_id",
    "websocket.room_name",
    "websocket.message.size",
    "websocket.message.type",
    "websocket.message.sequence",
    "messaging.system",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.destination.template",
    "messaging.message.body.size",
    "messaging.message.envelope.size",
    "messaging.message.conversation_id",
    "network.io.direction",
)
FORWARDED_PROTO = {False: "http", True: "https"}
