"""The tests' own tools, checked without the gateway: a tool that takes anything proves nothing."""

import http.client
import json
import os
import struct
import unittest

import exposition
import harness
import otlp
import rawsocket
import wire


def _attribute(key, value):
    number = 3 if isinstance(value, int) else 1
    return wire.field(1, key) + wire.field(2, wire.field(number, value))


def export_bytes(name="GET /x", start=1_000, end=2_000, trace=b"\x01" * 16, span=b"\x02" * 8):
    """An ExportTraceServiceRequest with one span, field by field."""
    span_bytes = (
        wire.field(1, trace)
        + wire.field(2, span)
        + wire.field(4, b"\x03" * 8)
        + wire.field(5, name)
        + wire.field(6, 2)
        + wire.fixed64(7, start)
        + wire.fixed64(8, end)
        + wire.field(9, _attribute("http.route", "/x"))
        + wire.field(9, _attribute("http.response.status_code", 101))
        + wire.field(13, wire.field(1, b"\x04" * 16) + wire.field(2, b"\x05" * 8))
        + wire.field(15, wire.field(3, 2))
        + wire.fixed32(16, 0x101)
    )
    scope = wire.field(1, wire.field(1, "scope")) + wire.field(2, span_bytes)
    resource = wire.field(1, _attribute("service.name", "svc"))
    return wire.field(1, wire.field(1, resource) + wire.field(2, scope))


class Wire(unittest.TestCase):
    def test_known_bytes(self):
        """The examples of protobuf's own encoding page."""
        self.assertEqual(wire.decode(bytes.fromhex("089601"), {1: ("a", "varint")}), {"a": 150})
        self.assertEqual(
            wire.decode(bytes.fromhex("120774657374696e67"), {2: ("b", "string")}),
            {"b": "testing"},
        )
        self.assertEqual(
            wire.decode(bytes.fromhex("3206038e029ea705"), {6: ("e", ["varint"])}),
            {"e": [3, 270, 86942]},
        )
        self.assertEqual(wire.decode(b"\x08\x03", {1: ("s", "sint")}), {"s": -2})
        self.assertEqual(wire.encode_varint(-1), b"\xff" * 9 + b"\x01")

    def test_refuses(self):
        for bad in (b"\x08", b"\x12\x05ab", b"\x0b", b"\x00\x01", b"\x08" + b"\xff" * 11):
            with self.assertRaises(wire.WireError, msg=bad):
                wire.decode(bad, {1: ("a", "varint"), 2: ("b", "string")})


class Otlp(unittest.TestCase):
    def test_decodes_span(self):
        (span,) = otlp.decode_protobuf(export_bytes())
        self.assertEqual(span["trace_id"], "01" * 16)
        self.assertEqual(span["parent"], "03" * 8)
        self.assertEqual((span["kind"], span["start"], span["end"]), ("SERVER", 1000, 2000))
        self.assertEqual(
            span["attributes"], {"http.route": "/x", "http.response.status_code": 101}
        )
        self.assertEqual(span["links"], [{"trace_id": "04" * 16, "span_id": "05" * 8}])
        self.assertEqual((span["status"], span["flags"]), (2, 0x101))
        self.assertEqual(span["resource"], {"service.name": "svc"})

    def test_json_gives_the_same(self):
        (wanted,) = otlp.decode_protobuf(export_bytes())
        text = json.dumps(
            {
                "resourceSpans": [
                    {
                        "resource": {
                            "attributes": [{"key": "service.name", "value": {"stringValue": "svc"}}]
                        },
                        "scopeSpans": [
                            {
                                "scope": {"name": "scope"},
                                "spans": [
                                    {
                                        "traceId": "01" * 16,
                                        "spanId": "02" * 8,
                                        "parentSpanId": "03" * 8,
                                        "name": "GET /x",
                                        "kind": 2,
                                        "startTimeUnixNano": "1000",
                                        "endTimeUnixNano": "2000",
                                        "attributes": [
                                            {"key": "http.route", "value": {"stringValue": "/x"}},
                                            {
                                                "key": "http.response.status_code",
                                                "value": {"intValue": "101"},
                                            },
                                        ],
                                        "links": [{"traceId": "04" * 16, "spanId": "05" * 8}],
                                        "status": {"code": 2},
                                        "flags": 257,
                                    }
                                ],
                            }
                        ],
                    }
                ]
            }
        )
        self.assertEqual(otlp.decode_json(text), [wanted])

    def test_refuses(self):
        for bad in (
            export_bytes(start=5, end=4),
            export_bytes(trace=b"\0" * 16),
            export_bytes(span=b"\1" * 7),
        ):
            with self.assertRaises(wire.WireError):
                otlp.decode_protobuf(bad)

    def test_collector(self):
        collector = otlp.Collector()
        self.addCleanup(collector.stop)

        def post(body, kind="application/x-protobuf", path="/v1/traces"):
            connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=5)
            connection.request("POST", path, body, {"Content-Type": kind})
            reply = harness.Reply(connection.getresponse())
            connection.close()
            return reply

        collector.script(
            otlp.Answer(429, {"Retry-After": "1"}), otlp.Answer(200, partial=1), otlp.Answer(503)
        )
        self.assertEqual(post(export_bytes()).headers["retry-after"], "1")
        self.assertEqual(collector.spans(), [])
        self.assertEqual(
            wire.decode(
                post(export_bytes()).body, {1: ("p", {1: ("n", "varint"), 2: ("m", "string")})}
            ),
            {"p": {"n": 1, "m": "told to reject"}},
        )
        self.assertEqual(post(export_bytes()).status, 503)
        self.assertEqual(post(export_bytes()).status, 200)
        self.assertEqual(len(collector.spans()), 2)
        self.assertEqual(collector.errors, [])
        self.assertEqual(post(b"\xff", path="/v1/traces").status, 400)
        self.assertEqual(post(b"", kind="text/plain").status, 400)
        self.assertEqual(len(collector.errors), 2)


TEXT = """\
# HELP a_total Things\\n done
# TYPE a_total counter
a_total{x="1\\"\\\\\\n"} 3
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 2
h_sum 5.5
h_count 2
# TYPE g gauge
g -1.5e3 1700000000000
"""

OPEN = """\
# TYPE a counter
# HELP a Things
a_total{x="1"} 3.0 # {trace_id="0af7"} 1.0 1700000000.5
a_created{x="1"} 1700000000.0
# TYPE h_seconds histogram
# UNIT h_seconds seconds
h_seconds_bucket{le="1.0"} 1 # {span_id="1"} 0.5
h_seconds_bucket{le="+Inf"} 2
h_seconds_sum 5.5
h_seconds_count 2
h_seconds_created 1.0
# EOF
"""


class Exposition(unittest.TestCase):
    def test_text(self):
        metrics = exposition.parse_text(TEXT)
        self.assertEqual(metrics.value("a_total", x='1"\\\n'), 3)
        self.assertEqual(metrics.helps["a_total"], "Things\n done")
        self.assertEqual(metrics.buckets("h"), {"1": 1, "+Inf": 2})
        self.assertEqual(metrics.value("g"), -1500)
        self.assertEqual(metrics.total("h_bucket"), 3)
        self.assertEqual(metrics.label_names("a_total"), {("x",)})

    def test_text_refuses(self):
        for old, new in (
            ("g -1.5e3 1700000000000\n", "g 1"),
            ('"1\\"', '"1\\t"'),
            ("h_count 2", "h_count 3"),
            ('h_bucket{le="1"} 1', 'h_bucket{le="1"} 3'),
            ("# TYPE g gauge\n", "# TYPE g gauge\n# TYPE g gauge\n"),
            ("# TYPE g gauge\n", 'a_total{x="2"} 1\n# TYPE g gauge\n'),
            ("# TYPE g gauge\n", "# TYPE g number\n"),
            ("g -1.5e3 1700000000000", "g -1.5e3 1.5"),
            ("g -1.5e3", "g 0x1p3"),
            ("g -1.5e3", "g-x 1"),
            ("h_sum 5.5\n", ""),
            ("g -1.5e3 1700000000000\n", "g 1\ng 2\n"),
        ):
            self.assertIn(old, TEXT)
            with self.assertRaises(exposition.FormatError, msg=(old, new)):
                exposition.parse_text(TEXT.replace(old, new))

    def test_open(self):
        metrics = exposition.parse_open(OPEN)
        self.assertEqual(metrics.types, {"a": "counter", "h_seconds": "histogram"})
        self.assertEqual(
            metrics.exemplars,
            [
                ("a_total", {"x": "1"}, {"trace_id": "0af7"}, 1.0),
                ("h_seconds_bucket", {"le": "1.0"}, {"span_id": "1"}, 0.5),
            ],
        )

    def test_open_refuses(self):
        for old, new in (
            ("# EOF\n", ""),
            ("# EOF\n", "\n# EOF\n"),
            ("# EOF\n", "# TYPE h_seconds_sum gauge\n# EOF\n"),
            ("# EOF\n", "# TYPE a_total gauge\n# EOF\n"),
            ("# HELP a Things", "# a comment"),
            ("# TYPE a counter", "# TYPE a_total counter"),
            ('le="1.0"', 'le="1"'),
            ("# UNIT h_seconds seconds", "# UNIT h_seconds bytes"),
            ("0.5\n", "1.5\n"),
            ("h_seconds_created 1.0\n", "h_seconds_created 1.0\nh_seconds 1\n"),
            ('span_id="1"', 'span_id="%s"' % ("x" * 122)),
            ("h_seconds_count 2\n", 'h_seconds_count 2 # {a="b"} 1\n'),
            ("3.0 #", "-3.0 #"),
        ):
            self.assertIn(old, OPEN)
            with self.assertRaises(exposition.FormatError, msg=(old, new)):
                exposition.parse_open(OPEN.replace(old, new))

    def test_protobuf(self):
        label = wire.field(1, "x") + wire.field(2, "1")
        histogram = (
            wire.field(1, 3)
            + wire.field(2, 1.5)
            + wire.field(5, 6)
            + wire.field(12, wire.field(1, 1) + wire.field(2, 2))
            + wire.field(13, b"\x02\x01")
        )
        family = (
            wire.field(1, "h")
            + wire.field(3, 4)
            + wire.field(4, wire.field(1, label) + wire.field(7, histogram))
        )
        page = wire.encode_varint(len(family)) + family
        parsed = exposition.parse_protobuf(page)["h"]
        self.assertEqual(parsed["type"], 4)
        got = parsed["metric"][0]["histogram"]
        self.assertEqual(got["schema"], 3)
        self.assertEqual(got["positive_span"], [{"offset": -1, "length": 2}])
        self.assertEqual(got["positive_delta"], [1, -1])
        with self.assertRaises(exposition.FormatError):
            exposition.parse_protobuf(page[:-1])
        with self.assertRaises(exposition.FormatError):
            exposition.parse_protobuf(page + page)


class RawSocket(unittest.TestCase):
    def test_frames(self):
        """The examples of RFC 6455 section 5.7 and 1.3."""
        mask = bytes.fromhex("37fa213d")
        self.assertEqual(
            rawsocket.frame(rawsocket.TEXT, b"Hello", mask=mask).hex(), "818537fa213d7f9f4d5158"
        )
        self.assertEqual(rawsocket.frame(1, b"Hello", mask=None).hex(), "810548656c6c6f")
        self.assertEqual(rawsocket.frame(1, b"Hel", fin=False, mask=None).hex(), "010348656c")
        self.assertEqual(rawsocket.frame(2, b"x" * 256, mask=None)[:4].hex(), "827e0100")
        self.assertEqual(
            rawsocket.frame(2, b"x" * 65536, mask=None)[:10].hex(), "827f0000000000010000"
        )
        self.assertEqual(rawsocket.frame(1, b"a", mask=None, width=16).hex(), "817e000161")
        self.assertEqual(
            rawsocket.accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        )
        self.assertEqual(struct.unpack("!H", rawsocket.close_payload(1012))[0], 1012)


class Processes(unittest.TestCase):
    def test_missing_binary(self):
        """A missing binary is an error that says what to do, not a pass."""
        previous = os.environ.get("WSCOPE_BIN")
        os.environ["WSCOPE_BIN"] = "/nonexistent/wscope"
        try:
            with self.assertRaisesRegex(harness.HarnessError, "run ./dev build"):
                harness.binary()
        finally:
            if previous is None:
                del os.environ["WSCOPE_BIN"]
            else:
                os.environ["WSCOPE_BIN"] = previous

    def test_log_reader(self):
        self.assertEqual(harness.parse_log('{"a":1}\n{"b":2}\n{"c'), [{"a": 1}, {"b": 2}])
        self.assertEqual(harness.parse_log(""), [])
        for bad in ("[1]\n", "{} {}\n", "x\n", '{"a":1}\n\n{"b":1}\n'):
            with self.assertRaises((AssertionError, ValueError)):
                harness.parse_log(bad)

    def test_wait_until_has_a_limit(self):
        with self.assertRaisesRegex(AssertionError, "not within"):
            harness.wait_until(lambda: False, 0.1, "never")


class Limits(harness.TestCase):
    def test_time_limit_and_output(self):
        """A hanging test fails, and its children end with it."""
        children = []

        class Hangs(harness.TestCase):
            limit_seconds = 1

            def runTest(self):
                children.append(
                    self.start(harness.Process("sleeper", ["sleep", "60"], self.directory))
                )
                children[0].wait(30)

        result = unittest.TestResult()
        stderr, os_stderr = harness.sys.stderr, open(os.devnull, "w", encoding="utf-8")
        harness.sys.stderr = os_stderr
        try:
            unittest.TestSuite([Hangs()]).run(result)
        finally:
            harness.sys.stderr = stderr
            os_stderr.close()
        self.assertEqual(len(result.failures), 1, result.errors)
        self.assertIn("more than 1 s", result.failures[0][1])
        self.assertFalse(children[0].alive())
