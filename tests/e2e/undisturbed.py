"""Base of the tests of bad input: one error counted for each, and a witness that notices nothing."""

import time

import harness
import rawsocket
from rawsocket import TEXT


class Case(harness.TestCase):
    """A gateway with its built-in echo and a witness: a connection that must not notice."""

    config = ""

    @classmethod
    def prepare(cls):
        cls.gateway = cls.share(harness.Wscope(cls.directory, config=cls.config))
        cls.port = cls.gateway.port

    def setUp(self):
        self.witness = rawsocket.WebSocket(self.port, "/echo")
        self.addCleanup(self.witness.close)
        self.before = self.gateway.metrics()

    def tearDown(self):
        if self.gateway.alive():
            self.check_witness()

    def check_witness(self):
        began = time.monotonic()
        self.witness.text("undisturbed")
        self.assertEqual(self.witness.message(), (TEXT, b"undisturbed"))
        self.assertLess(time.monotonic() - began, 1.0)

    def errors(self, code=None, count=1, by=None):
        """Waits until exactly so many errors (of that code) more than before were counted."""
        labels = {} if code is None else {"error_code": str(code)}
        before = by or self.before
        wanted = before.total("app_errors_total", **labels) + count
        metrics = self.gateway.wait_metric(
            lambda metrics: metrics.total("app_errors_total", **labels) >= wanted,
            "%d error(s) of code %s" % (count, code),
            3,
        )
        self.assertEqual(metrics.total("app_errors_total", **labels), wanted)
        if code is not None:
            self.assertEqual(
                metrics.total("app_errors_total"), before.total("app_errors_total") + count
            )
        self.assertLessEqual(
            metrics.total("app_errors_total"), metrics.value("app_requests_total")
        )
        for have, _ in metrics.samples["app_errors_total"]:
            self.assertLess(len(have["error_type"]), 40)
        return metrics

    def refused(self, request, status, count=True):
        """Sends a request; asserts the status of its answer and that the connection ends."""
        before = self.gateway.metrics()
        with rawsocket.Raw(self.port) as raw:
            raw.send(request)
            got, headers, _ = raw.head()
            self.assertEqual(got, status, request[:200])
            self.assertNotIn("sec-websocket-accept", headers)
            if status not in (404, 426):
                self.assertTrue(raw.ended(), "still open after %d" % status)
        if count:
            self.errors(status, by=before)
        return headers
