"""What every end-to-end test uses: processes, the gateway, backends, certificates, time limits.

Rules it keeps: loopback and free ports only; every wait has a limit; every child is stopped by its
process id, and dies with the test runner should that be killed; output is shown when a test fails.
"""

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

import exposition

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DJANGO = os.path.join(ROOT, "tests", "django")
PYTHON = "/usr/bin/python3"
LOOPBACK = "127.0.0.1"

_given_ports = set()
_PR_SET_PDEATHSIG = 1


class HarnessError(Exception):
    """The surroundings of a test failed, not what it tests."""


def binary():
    """Path of the wscope binary: $WSCOPE_BIN or build/wscope. Raises when it is not there."""
    path = os.environ.get("WSCOPE_BIN") or os.path.join(ROOT, "build", "wscope")
    if not os.access(path, os.X_OK):
        raise HarnessError("no executable %s; run ./dev build or set WSCOPE_BIN" % path)
    return path


def free_port():
    """A loopback port nobody listens on, given out once a run."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port
    raise HarnessError("no free port")


def wait_until(predicate, seconds=5.0, what="condition", interval=0.02):
    """Polls until the predicate is true and returns its value; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError("not within %.1f s: %s" % (seconds, what))
        time.sleep(interval)


def port_open(port):
    with contextlib.suppress(OSError):
        with socket.create_connection((LOOPBACK, port), timeout=0.5):
            return True
    return False


def _child_setup():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A child with its output in a file. Stopped by pid; `output()` is what it wrote."""

    def __init__(self, name, arguments, directory, env=None, cwd=None):
        self.name = name
        self.arguments = [str(argument) for argument in arguments]
        self.out_path = os.path.join(directory, name + ".out")
        self.err_path = os.path.join(directory, name + ".err")
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.child = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env=dict(os.environ, **(env or {})),
                preexec_fn=_child_setup,
            )

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def signal(self, number):
        self.child.send_signal(number)

    def wait(self, seconds):
        """The exit code; fails when the child still runs after `seconds`."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s still runs after %.1f s" % (self.name, seconds)) from None

    def stop(self, seconds=5.0):
        """Asks it to end, then ends it. Returns the exit code."""
        if self.alive():
            self.child.terminate()
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
        return self.child.wait(10)

    def kill(self):
        if self.alive():
            self.child.kill()
        return self.child.wait(10)

    def stdout(self):
        return _read(self.out_path)

    def stderr(self):
        return _read(self.err_path)

    def output(self):
        return "%s\n--- %s stdout ---\n%s\n--- %s stderr ---\n%s" % (
            " ".join(self.arguments),
            self.name,
            self.stdout()[-4000:],
            self.name,
            self.stderr()[-8000:],
        )

    def wait_port(self, port, seconds=20.0):
        """Waits until the child listens on `port`; says at once when it has ended instead."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.alive():
                raise HarnessError("%s ended: %s" % (self.name, self.output()))
            if port_open(port):
                return self
            time.sleep(0.05)
        raise HarnessError("%s does not listen: %s" % (self.name, self.output()))

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def rss_bytes(self):
        with open("/proc/%d/status" % self.pid, encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise HarnessError("no VmRSS")

    def cpu_seconds(self):
        """User and system time so far."""
        with open("/proc/%d/stat" % self.pid, encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Reply:
    """An HTTP answer: status, headers (lower case; last one wins), pairs, body."""

    def __init__(self, response):
        self.status = response.status
        self.pairs = response.getheaders()
        self.headers = {name.lower(): value for name, value in self.pairs}
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        return json.loads(self.body)


def request(port, path, method="GET", body=None, headers=None, tls=None, timeout=10.0):
    """One HTTP request on its own connection."""
    if tls is not None:
        connection = http.client.HTTPSConnection(LOOPBACK, port, timeout=timeout, context=tls)
    else:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        return Reply(connection.getresponse())
    finally:
        connection.close()


class Wscope(Process):
    """`wscope up` on two free ports with its own data directory, ready when the constructor ends.

    config: text of a configuration file (listeners and data are given as flags on top of it);
    flags: further arguments. `ready=False` starts it without waiting.
    """

    count = 0

    def __init__(self, directory, *flags, config=None, ready=True, tls=False, name=None):
        Wscope.count += 1
        self.number = Wscope.count
        self.data = os.path.join(directory, "data-%d" % self.number)
        self.port = free_port()
        self.observer = free_port()
        self.tls = tls
        self.config_path = None
        arguments = [binary(), "up"]
        if config is not None:
            self.config_path = os.path.join(directory, "wscope-%d.yaml" % self.number)
            self.write_config(config)
            arguments += ["--config", self.config_path]
        arguments += ["--listen", "%s:%d" % (LOOPBACK, self.port)]
        arguments += ["--observer", "%s:%d" % (LOOPBACK, self.observer)]
        arguments += ["--data", self.data, *flags]
        super().__init__(name or "wscope-%d" % self.number, arguments, directory)
        if ready:
            self.wait_ready()

    def write_config(self, text):
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(text)

    @property
    def url(self):
        return "%s://%s:%d" % ("wss" if self.tls else "ws", LOOPBACK, self.port)

    def wait_ready(self, seconds=10.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.alive():
                raise HarnessError("wscope ended with %s: %s" % (self.child.poll(), self.output()))
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/readyz", timeout=1.0).status == 200:
                    return self
            time.sleep(0.03)
        raise HarnessError("wscope is not ready: %s" % self.output())

    def get(self, path, headers=None, timeout=10.0):
        """GET from the observer."""
        return request(self.observer, path, headers=headers, timeout=timeout)

    def put(self, path, value):
        """PUT JSON to the observer."""
        return request(
            self.observer,
            path,
            method="PUT",
            body=json.dumps(value),
            headers={"Content-Type": "application/json"},
        )

    def metrics(self):
        """The metrics page, parsed strictly."""
        reply = self.get("/metrics")
        if reply.status != 200:
            raise AssertionError("/metrics answers %d" % reply.status)
        return exposition.parse_text(reply.text)

    def wait_metric(self, predicate, what, seconds=5.0):
        """Scrapes until `predicate(metrics)` holds; returns that scrape."""
        last = []

        def probe():
            last[:] = [self.metrics()]
            return predicate(last[0])

        try:
            wait_until(probe, seconds, what, interval=0.05)
        except AssertionError as error:
            busy = [
                "%s%s %g" % (name, labels, value)
                for name, series in sorted(last[0].samples.items())
                for labels, value in series
                if value and not name.endswith("_bucket") and "{" not in name
            ]
            raise AssertionError("%s; last scrape:\n%s" % (error, "\n".join(busy))) from None
        return last[0]

    def log_path(self):
        return os.path.join(self.data, "logs", "wscope.log")

    def log_text(self, path=None):
        with open(path or self.log_path(), "rb") as file:
            return file.read().decode("utf-8")

    def log_lines(self, logger=None, path=None, **fields):
        """Lines of the log file as objects, each checked to be one JSON object."""
        return [
            line
            for line in parse_log(self.log_text(path))
            if (logger is None or line["logger"] == logger)
            and all(line.get(key) == value for key, value in fields.items())
        ]

    def wait_log(self, predicate, what, seconds=5.0):
        """Waits for a log line that satisfies the predicate and returns it."""
        found = []

        def probe():
            with contextlib.suppress(FileNotFoundError):
                found[:] = [line for line in self.log_lines() if predicate(line)]
            return found

        wait_until(probe, seconds, "log line: " + what, interval=0.05)
        return found[0]

    def reload(self):
        self.signal(signal.SIGHUP)

    def drain(self, seconds=15.0):
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)


def parse_log(text):
    """Every line one JSON object; a torn last line (still being written) is left out."""
    lines = []
    whole, newline, _ = text.rpartition("\n")
    for line in whole.split("\n") if newline else []:
        value = json.loads(line)
        if not isinstance(value, dict):
            raise AssertionError("log line is no object: %r" % line)
        lines.append(value)
    return lines


class Daphne(Process):
    """The Django Channels project under daphne; with `certificate` it also listens with TLS."""

    def __init__(self, directory, redis_port=None, certificate=None, port=None, name="daphne"):
        self.port = port or free_port()
        self.tls_port = None
        arguments = [PYTHON, "-B", "-m", "daphne", "--verbosity", "1"]
        arguments += ["-b", LOOPBACK, "-p", self.port]
        if certificate is not None:
            self.tls_port = free_port()
            arguments += [
                "-e",
                "ssl:%d:privateKey=%s:certKey=%s:interface=%s"
                % (self.tls_port, certificate.key, certificate.cert, LOOPBACK),
            ]
        arguments.append("service.asgi:application")
        env = {"PYTHONDONTWRITEBYTECODE": "1", "CHANNEL_REDIS": ""}
        if redis_port is not None:
            env["CHANNEL_REDIS"] = "redis://%s:%d/0" % (LOOPBACK, redis_port)
        super().__init__(name, arguments, directory, env=env, cwd=DJANGO)
        self.wait_port(self.port)
        if self.tls_port is not None:
            self.wait_port(self.tls_port)

    @property
    def upstream(self):
        return "http://%s:%d" % (LOOPBACK, self.port)

    @property
    def tls_upstream(self):
        return "https://localhost:%d" % self.tls_port


class Redis(Process):
    """redis-server without persistence."""

    def __init__(self, directory):
        self.port = free_port()
        arguments = ["redis-server", "--port", self.port, "--bind", LOOPBACK, "--save", ""]
        arguments += ["--appendonly", "no", "--dir", directory]
        super().__init__("redis", arguments, directory)
        self.wait_port(self.port)


class Certificate:
    """A certificate for localhost and 127.0.0.1, signed by a CA made for this run."""

    def __init__(self, directory, name="server"):
        self.directory = directory
        self.ca = os.path.join(directory, name + "-ca.pem")
        self.ca_key = os.path.join(directory, name + "-ca.key")
        self.cert = os.path.join(directory, name + ".pem")
        self.key = os.path.join(directory, name + ".key")
        request_path = os.path.join(directory, name + ".csr")
        extensions = os.path.join(directory, name + ".ext")
        with open(extensions, "w", encoding="ascii") as file:
            file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            file.write("basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _openssl(
            ["req", "-x509", *curve, "-keyout", self.ca_key, "-out", self.ca, "-days", "2"]
            + ["-subj", "/CN=test authority " + name]
            + ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        )
        _openssl(
            ["req", *curve, "-keyout", self.key, "-out", request_path, "-subj", "/CN=localhost"]
        )
        _openssl(
            ["x509", "-req", "-in", request_path, "-CA", self.ca, "-CAkey", self.ca_key]
            + ["-CAcreateserial", "-out", self.cert, "-days", "2", "-extfile", extensions]
        )

    def client_context(self):
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _openssl(arguments):
    done = subprocess.run(
        ["openssl", *arguments], capture_output=True, timeout=30, check=False
    )
    if done.returncode != 0:
        raise HarnessError("openssl %s: %s" % (arguments[0], done.stderr.decode()))


def run_wscope(*arguments, seconds=10.0, cwd=None):
    """Runs the binary to its end: (exit code, stdout, stderr)."""
    done = subprocess.run(
        [binary(), *[str(argument) for argument in arguments]],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=seconds,
        check=False,
        cwd=cwd,
        preexec_fn=_child_setup,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class TestCase(unittest.TestCase):
    """A test with a time limit, a directory for the class and children that end with it.

    `cls.start(child)` and `self.start(child)` register a child; the first lives as long as the
    class, the second as long as the test. Output of both is printed when the test fails.
    """

    limit_seconds = 60
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="wscope-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.shared = []
        with time_limit(60):
            cls.prepare()

    @classmethod
    def prepare(cls):
        """Starts what all tests of the class share."""

    @classmethod
    def share(cls, child):
        cls.shared.append(child)
        cls.addClassCleanup(child.stop)
        return child

    def start(self, child):
        self.own.append(child)
        self.addCleanup(child.stop)
        return child

    def wscope(self, *flags, **options):
        return self.start(Wscope(self.directory, *flags, **options))

    def run(self, result=None):
        self.own = []
        before = len(result.failures) + len(result.errors) if result else 0
        previous = signal.signal(signal.SIGALRM, self._expired)
        signal.alarm(self.limit_seconds)
        try:
            super().run(result)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
        if result and len(result.failures) + len(result.errors) > before:
            for child in [*self.shared, *self.own]:
                print("\n=== %s: %s" % (self.id(), child.output()), file=sys.stderr)

    def _expired(self, *_):
        raise AssertionError("the test took more than %d s" % self.limit_seconds)

    def assert_metric(self, metrics, name, labels, value):
        """One sample with exactly this value; the message shows its neighbours."""
        got = metrics.value(name, **labels)
        if got != value:
            self.fail(
                "%s%s is %s, wanted %s; family: %s"
                % (name, labels, got, value, metrics.samples.get(name))
            )


@contextlib.contextmanager
def time_limit(seconds):
    """Raises HarnessError in the main thread when the block takes longer."""

    def expired(*_):
        raise HarnessError("took more than %d s" % seconds)

    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
