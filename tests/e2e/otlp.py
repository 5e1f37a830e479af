"""An OTLP/HTTP collector for tests: takes traces as protobuf or JSON, answers as it is told.

`Collector.spans()` is everything accepted so far, one dict a span in one form for both encodings:
trace_id, span_id, parent (hex, parent "" for a root), name, kind, start, end (ns), attributes
(dict), links [{trace_id, span_id}], status (0 unset, 1 ok, 2 error), resource and scope.
"""

import gzip
import http.server
import json
import threading
import time
import zlib

import wire

KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}

_VALUE = {
    1: ("string", "string"),
    2: ("bool", "bool"),
    3: ("int", "int"),
    4: ("double", "double"),
    7: ("bytes", "bytes"),
}
_VALUE[5] = ("array", {1: ("values", [_VALUE])})
_PAIR = {1: ("key", "string"), 2: ("value", _VALUE)}
_LINK = {
    1: ("trace_id", "bytes"),
    2: ("span_id", "bytes"),
    3: ("trace_state", "string"),
    4: ("attributes", [_PAIR]),
    6: ("flags", "fixed32"),
}
_EVENT = {1: ("time", "fixed64"), 2: ("name", "string"), 3: ("attributes", [_PAIR])}
_SPAN = {
    1: ("trace_id", "bytes"),
    2: ("span_id", "bytes"),
    3: ("trace_state", "string"),
    4: ("parent", "bytes"),
    5: ("name", "string"),
    6: ("kind", "varint"),
    7: ("start", "fixed64"),
    8: ("end", "fixed64"),
    9: ("attributes", [_PAIR]),
    10: ("dropped_attributes", "varint"),
    11: ("events", [_EVENT]),
    12: ("dropped_events", "varint"),
    13: ("links", [_LINK]),
    14: ("dropped_links", "varint"),
    15: ("status", {2: ("message", "string"), 3: ("code", "varint")}),
    16: ("flags", "fixed32"),
}
_SCOPE_SPANS = {
    1: ("scope", {1: ("name", "string"), 2: ("version", "string"), 3: ("attributes", [_PAIR])}),
    2: ("spans", [_SPAN]),
    3: ("schema_url", "string"),
}
_RESOURCE_SPANS = {
    1: ("resource", {1: ("attributes", [_PAIR])}),
    2: ("scope_spans", [_SCOPE_SPANS]),
    3: ("schema_url", "string"),
}
EXPORT_REQUEST = {1: ("resource_spans", [_RESOURCE_SPANS])}


def _attributes(pairs):
    out = {}
    for pair in pairs:
        if pair["key"] in out:
            raise wire.WireError("attribute twice: %s" % pair["key"])
        value = pair.get("value", {})
        kinds = [kind for kind in ("string", "bool", "int", "double", "bytes") if kind in value]
        if len(kinds) > 1:
            raise wire.WireError("two values in %r" % pair)
        if "array" in value:
            out[pair["key"]] = [next(iter(item.values())) for item in value["array"]["values"]]
        else:
            out[pair["key"]] = value[kinds[0]] if kinds else None
    return out


def _check_ids(span):
    for key, length in (("trace_id", 32), ("span_id", 16)):
        if len(span[key]) != length or set(span[key]) <= {"0"}:
            raise wire.WireError("bad %s %r" % (key, span[key]))
    if span["parent"] and len(span["parent"]) != 16:
        raise wire.WireError("bad parent %r" % span["parent"])
    if span["end"] < span["start"]:
        raise wire.WireError("span ends before it starts: %s" % span["name"])


def decode_protobuf(body):
    """Spans of an ExportTraceServiceRequest."""
    spans = []
    for resource_spans in wire.decode(body, EXPORT_REQUEST)["resource_spans"]:
        resource = _attributes(resource_spans.get("resource", {"attributes": []})["attributes"])
        for scope_spans in resource_spans["scope_spans"]:
            for raw in scope_spans["spans"]:
                span = {
                    "trace_id": raw.get("trace_id", b"").hex(),
                    "span_id": raw.get("span_id", b"").hex(),
                    "parent": raw.get("parent", b"").hex(),
                    "trace_state": raw.get("trace_state", ""),
                    "name": raw.get("name", ""),
                    "kind": KINDS.get(raw.get("kind", 0), "UNSPECIFIED"),
                    "start": raw.get("start", 0),
                    "end": raw.get("end", 0),
                    "attributes": _attributes(raw["attributes"]),
                    "links": [
                        {"trace_id": link["trace_id"].hex(), "span_id": link["span_id"].hex()}
                        for link in raw["links"]
                    ],
                    "status": raw.get("status", {}).get("code", 0),
                    "flags": raw.get("flags", 0),
                    "events": [event.get("name", "") for event in raw["events"]],
                    "resource": resource,
                    "scope": scope_spans.get("scope", {}).get("name", ""),
                }
                _check_ids(span)
                spans.append(span)
    return spans


def _json_value(value):
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_json_value(item) for item in value["arrayValue"].get("values", [])]
    for key in ("stringValue", "boolValue", "doubleValue"):
        if key in value:
            return value[key]
    return None


def _json_attributes(pairs):
    return {pair["key"]: _json_value(pair.get("value", {})) for pair in pairs}


def decode_json(body):
    """Spans of the JSON form: ids in hex, enums as integers, 64-bit integers as strings."""
    spans = []
    for resource_spans in json.loads(body).get("resourceSpans", []):
        resource = _json_attributes(resource_spans.get("resource", {}).get("attributes", []))
        for scope_spans in resource_spans.get("scopeSpans", []):
            for raw in scope_spans.get("spans", []):
                if not isinstance(raw.get("kind", 0), int):
                    raise wire.WireError("kind is no integer")
                span = {
                    "trace_id": raw["traceId"],
                    "span_id": raw["spanId"],
                    "parent": raw.get("parentSpanId", ""),
                    "trace_state": raw.get("traceState", ""),
                    "name": raw.get("name", ""),
                    "kind": KINDS.get(raw.get("kind", 0), "UNSPECIFIED"),
                    "start": int(raw["startTimeUnixNano"]),
                    "end": int(raw["endTimeUnixNano"]),
                    "attributes": _json_attributes(raw.get("attributes", [])),
                    "links": [
                        {"trace_id": link["traceId"], "span_id": link["spanId"]}
                        for link in raw.get("links", [])
                    ],
                    "status": raw.get("status", {}).get("code", 0),
                    "flags": raw.get("flags", 0),
                    "events": [event.get("name", "") for event in raw.get("events", [])],
                    "resource": resource,
                    "scope": scope_spans.get("scope", {}).get("name", ""),
                }
                _check_ids(span)
                spans.append(span)
    return spans


class Answer:
    """How to answer one request: a status, headers, `partial` = rejected spans, or a hang."""

    def __init__(self, status=200, headers=None, partial=None, hang=0.0):
        self.status = status
        self.headers = headers or {}
        self.partial = partial
        self.hang = hang


class Collector:
    """The server. `script(...)` queues answers; when the queue is empty every request gets 200."""

    def __init__(self):
        self._lock = threading.Lock()
        self._answers = []
        self._spans = []
        self.requests = []
        self.errors = []
        self._released = threading.Event()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_POST(self):
                collector._handle(self)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def stop(self):
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def output(self):
        return "collector: %d requests, errors: %s" % (len(self.requests), self.errors)

    def script(self, *answers):
        with self._lock:
            self._answers.extend(answers)

    def spans(self, name=None):
        with self._lock:
            return [span for span in self._spans if name is None or span["name"] == name]

    def clear(self):
        with self._lock:
            self._spans.clear()
            self.requests.clear()

    def _handle(self, handler):
        size = int(handler.headers.get("Content-Length") or 0)
        if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = _chunked(handler.rfile)
        else:
            body = handler.rfile.read(size)
        kind = (handler.headers.get("Content-Type") or "").split(";")[0].strip()
        with self._lock:
            answer = self._answers.pop(0) if self._answers else Answer()
            record = {
                "time": time.monotonic(),
                "path": handler.path,
                "type": kind,
                "encoding": handler.headers.get("Content-Encoding", ""),
                "status": answer.status,
                "headers": {name.lower(): value for name, value in handler.headers.items()},
                "spans": [],
            }
            self.requests.append(record)
        if answer.hang:
            self._released.wait(answer.hang)
            handler.close_connection = True
            return
        status = self._take(record, kind, body, answer)
        self._reply(handler, status, kind, answer)

    def _take(self, record, kind, body, answer):
        """Decodes the body; keeps its spans when the answer accepts them. Returns the status."""
        if record["path"] != "/v1/traces":
            self.errors.append("path %s" % record["path"])
            return 404
        try:
            if record["encoding"] == "gzip":
                body = gzip.decompress(body)
            elif record["encoding"] not in ("", "identity"):
                raise wire.WireError("encoding %r" % record["encoding"])
            if kind == "application/x-protobuf":
                spans = decode_protobuf(body)
            elif kind == "application/json":
                spans = decode_json(body)
            else:
                raise wire.WireError("content type %r" % kind)
        except (wire.WireError, ValueError, KeyError, OSError, zlib.error) as error:
            self.errors.append(repr(error))
            return 400
        record["spans"] = spans
        if answer.status == 200:
            with self._lock:
                self._spans.extend(spans)
        return answer.status

    def _reply(self, handler, status, kind, answer):
        body = b""
        if status == 200 and answer.partial is not None:
            if kind == "application/json":
                partial = {"rejectedSpans": str(answer.partial), "errorMessage": "told to reject"}
                body = json.dumps({"partialSuccess": partial}).encode()
            else:
                inner = wire.field(1, answer.partial) + wire.field(2, "told to reject")
                body = wire.field(1, inner)
        elif kind == "application/json":
            body = b"{}"
        handler.send_response(status)
        handler.send_header("Content-Type", kind or "application/x-protobuf")
        handler.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


def _chunked(stream):
    body = b""
    while True:
        size = int(stream.readline().split(b";")[0], 16)
        piece = stream.read(size)
        stream.readline()
        if size == 0:
            return body
        body += piece
