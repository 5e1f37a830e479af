"""Bad files and flags, and ports that are taken: what is said and the exit code."""

import os
import socket

import harness


class Configuration(harness.TestCase):
    """Mistakes in files and flags: where, what, what was expected."""

    def check(self, text, *parts, line=1):
        path = os.path.join(self.directory, "bad.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        for command in (("check", path), ("up", "--config", path, "--data", self.directory)):
            code, _, stderr = harness.run_wscope(*command)
            self.assertEqual(code, 2, (command, stderr))
            self.assertIn("%s:%d:" % (path, line), stderr)
            for part in parts:
                self.assertIn(part, stderr)
            self.assertNotIn("terminate called", stderr)

    def test_unknown_key(self):
        self.check("gateway:\n  lisen: 127.0.0.1:1\n", "lisen", "listen", line=2)
        self.check("loop: 1\n", "loop", "loops")
        self.check("log:\n  levle: INFO\n", "levle", "level", line=2)
        self.check("gateway:\n  session:\n    cokie: x\n", "cokie", "cookie", line=3)

    def test_wrong_values(self):
        for text, key in (
            ("gateway:\n  listen: nowhere\n", "listen"),
            ("gateway:\n  listen: 127.0.0.1:99999\n", "listen"),
            ("gateway:\n  connect_timeout: soon\n", "connect_timeout"),
            ("gateway:\n  message_limit: 16QiB\n", "message_limit"),
            ("gateway:\n  upstream: ftp://x\n", "upstream"),
            ("log:\n  level: LOUD\n", "level"),
            ("trace:\n  ratio: 2\n", "ratio"),
            ("trace:\n  encoding: xml\n", "encoding"),
            ("gateway:\n  connections: many\n", "connections"),
        ):
            with self.subTest(text=text):
                self.check(text, key, line=2)

    def test_wrong_shapes(self):
        self.check("loops: [1, 2]\n", "loops")
        self.check("gateway: 5\n", "gateway")
        self.check("loops: 1\nloops: 2\n", "loops", line=2)

    def test_no_yaml(self):
        path = os.path.join(self.directory, "broken.yaml")
        with open(path, "w", encoding="ascii") as file:
            file.write('gateway:\n  listen: "unclosed\n')
        code, _, stderr = harness.run_wscope("check", path)
        self.assertEqual(code, 2)
        self.assertRegex(stderr, r"broken\.yaml:\d+:")

    def test_missing_file(self):
        code, _, stderr = harness.run_wscope("up", "--config", self.directory + "/none.yaml")
        self.assertEqual(code, 2)
        self.assertIn("none.yaml", stderr)

    def test_good_file(self):
        path = os.path.join(self.directory, "good.yaml")
        with open(path, "w", encoding="ascii") as file:
            file.write("gateway: {drain: 2s, session: {grace: 1m}}\nlog: {max_bytes: 1MiB}\n")
        code, _, stderr = harness.run_wscope("check", path)
        self.assertEqual((code, stderr), (0, ""))

    def test_flags(self):
        for flags, part in (
            (("--lisen", "127.0.0.1:1"), "lisen"),
            (("--listen", "nowhere"), "listen"),
            (("--trace-ratio", "7"), "ratio"),
            (("--log-level", "LOUD"), "level"),
        ):
            code, _, stderr = harness.run_wscope("up", "--data", self.directory, *flags)
            self.assertEqual(code, 2, (flags, stderr))
            self.assertIn(part, stderr)

    def test_certificate_files(self):
        code, _, stderr = harness.run_wscope(
            "up", "--data", self.directory, "--tls-cert", "/none.pem", "--tls-key", "/none.key"
        )
        self.assertIn(code, (1, 2))
        self.assertIn("/none.pem", stderr)

    def test_open_observer_needs_a_token(self):
        """A listener that is not on loopback, without TLS and token, is refused."""
        code, _, stderr = harness.run_wscope(
            "up", "--data", self.directory, "--observer", "0.0.0.0:%d" % harness.free_port()
        )
        self.assertEqual(code, 2)
        self.assertIn("observer", stderr)

    def test_port_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            other = harness.free_port()
            for flags, setting in (
                (("--listen", port, "--observer", other), "listen"),
                (("--listen", other, "--observer", port), "observer"),
            ):
                first, address, second, more = flags
                code, _, stderr = harness.run_wscope(
                    "up",
                    "--data",
                    self.directory,
                    first,
                    "127.0.0.1:%d" % address,
                    second,
                    "127.0.0.1:%d" % more,
                )
                self.assertEqual(code, 1, stderr)
                self.assertIn(str(port), stderr)
                self.assertIn(setting, stderr)

    def test_second_instance_on_the_same_port(self):
        """SO_REUSEPORT must not let a second program take half of the connections."""
        running = self.wscope()
        code, _, stderr = harness.run_wscope(
            "up",
            "--data",
            self.directory + "/second",
            "--listen",
            "127.0.0.1:%d" % running.port,
            "--observer",
            "127.0.0.1:%d" % harness.free_port(),
        )
        self.assertEqual(code, 1, stderr)
        self.assertIn(str(running.port), stderr)
