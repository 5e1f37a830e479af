"""Sending spans: what is retried, what is not, what is counted as lost."""

import time

import harness
import otlp
import rawsocket

DROPPED = "wscope_spans_dropped_total"
EXPORTED = "wscope_spans_exported_total"


class Export(harness.TestCase):
    def setUp(self):
        self.collector = otlp.Collector()
        self.own.append(self.collector)
        self.addCleanup(self.collector.stop)

    def gateway(self, **options):
        return self.wscope("--otlp", self.collector.url, **options)

    def talk(self, gateway, count=3):
        """One connection with `count` messages: 1 + 2 × count spans."""
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            for _ in range(count):
                ws.text("x")
                ws.message()
            ws.finish()

    def requests(self, count, seconds=15):
        harness.wait_until(
            lambda: len(self.collector.requests) >= count, seconds, "%d requests" % count
        )
        return self.collector.requests

    def ids(self, record):
        return sorted(span["span_id"] for span in record["spans"])

    def settled(self, gateway, name, **labels):
        """The first value above 0 of a family."""
        metrics = gateway.wait_metric(
            lambda metrics: metrics.total(name, **labels) > 0, name, 10
        )
        return metrics.total(name, **labels)

    def test_retry_after(self):
        """429 with Retry-After: the same spans again, not sooner."""
        self.collector.script(otlp.Answer(429, {"Retry-After": "2"}))
        gateway = self.gateway()
        self.talk(gateway)
        first, second = self.requests(2)[:2]
        waited = second["time"] - first["time"]
        self.assertTrue(1.9 < waited < 5, waited)
        self.assertEqual(self.ids(first), self.ids(second))
        self.assertEqual(self.collector.errors, [])

    def test_unavailable_is_retried(self):
        self.collector.script(otlp.Answer(503), otlp.Answer(502))
        gateway = self.gateway()
        self.talk(gateway)
        records = self.requests(3)
        self.assertEqual(self.ids(records[0]), self.ids(records[2]))
        self.assertGreater(records[1]["time"] - records[0]["time"], 0.3, "backs off")
        harness.wait_until(lambda: len(self.collector.spans()) >= 4, 5, "the spans")
        metrics = gateway.metrics()
        self.assertEqual(metrics.total(DROPPED), 0)

    def refused(self, *answers):
        self.collector.script(*answers)
        gateway = self.gateway()
        self.talk(gateway)
        self.requests(1)
        time.sleep(2.5)
        seen = [tuple(self.ids(record)) for record in self.collector.requests]
        self.assertEqual(len(seen), len(set(seen)), "sent again")
        return gateway

    def test_bad_request_is_not_retried(self):
        gateway = self.refused(otlp.Answer(400))
        lost = len(self.collector.requests[0]["spans"])
        self.assertEqual(self.settled(gateway, DROPPED, reason="refused"), lost)

    def test_server_error_is_not_retried(self):
        gateway = self.refused(otlp.Answer(500))
        self.assertGreater(self.settled(gateway, DROPPED, reason="refused"), 0)

    def test_partial_success_is_not_retried(self):
        gateway = self.refused(otlp.Answer(200, partial=2))
        self.assertEqual(self.settled(gateway, DROPPED, reason="rejected"), 2)

    def test_counts(self):
        gateway = self.gateway()
        self.talk(gateway, 10)
        harness.wait_until(lambda: len(self.collector.spans()) >= 11, 10, "11 spans")
        sent = len(self.collector.spans())
        gateway.wait_metric(lambda metrics: metrics.total(EXPORTED) == sent, "exported", 5)
        self.assertEqual(gateway.metrics().total(DROPPED), 0)

    def test_last_spans_on_drain(self):
        """What waits is sent before the exit."""
        gateway = self.gateway()
        self.talk(gateway, 10)
        self.assertEqual(gateway.drain(), 0)
        self.assertGreaterEqual(len(self.collector.spans()), 11)
        self.assertEqual(self.collector.errors, [])

    def test_receiver_that_hangs(self):
        """Messages go on and the exit is bounded."""
        self.collector.script(*[otlp.Answer(hang=30.0) for _ in range(5)])
        gateway = self.gateway()
        self.talk(gateway)
        self.requests(1)
        began = time.monotonic()
        self.talk(gateway, 200)
        self.assertLess(time.monotonic() - began, 2)
        self.assertEqual(gateway.drain(20), 0)

    def test_receiver_that_is_not_there(self):
        gateway = self.wscope("--otlp", "http://127.0.0.1:%d" % harness.free_port())
        self.talk(gateway, 100)
        self.assertEqual(gateway.get("/healthz").status, 200)
        self.assertEqual(gateway.drain(20), 0)

    def test_errors_are_always_kept(self):
        """Ratio 0, but a message that broke a rule is exported with its error."""
        gateway = self.wscope("--otlp", self.collector.url, "--trace-ratio", "0")
        self.talk(gateway)
        with rawsocket.WebSocket(gateway.port, "/echo") as ws:
            ws.send_frame(rawsocket.TEXT, b"\xff")
            self.assertEqual(ws.until_close().code, 1007)
        self.assertEqual(gateway.drain(), 0)
        failed = [span for span in self.collector.spans() if span["status"] == 2]
        self.assertTrue(failed)
        self.assertTrue(all(span["attributes"].get("error.type") for span in failed))
        self.assertEqual(
            [span for span in self.collector.spans() if span["status"] != 2 and
             span["kind"] == "CONSUMER"], []
        )

    def test_ratio_half(self):
        """Head sampling keeps about half: 400 draws, 6 standard deviations wide."""
        gateway = self.wscope("--otlp", self.collector.url, "--trace-ratio", "0.5")
        self.talk(gateway, 400)
        self.assertEqual(gateway.drain(), 0)
        kept = len([span for span in self.collector.spans() if span["kind"] == "CONSUMER"])
        self.assertTrue(140 < kept < 260, kept)
