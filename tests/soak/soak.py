#!/usr/bin/python3
"""The gateway under load for ten minutes: memory and descriptors end where they began.

    tests/soak/soak.py [--short] [--seconds N] [--connections N]

2,000 connections through one gateway to two backend processes on one port: `stays` is never killed,
`dies` is killed and started again all the time. Between them slow readers under a flood and aborted
handshakes. Connections on `stays` must notice nothing. `--short` is the two-minute form.
Prints a table while it runs; the last line is `N passed, N failed`, the exit code 1 on a failure.
"""

import argparse
import asyncio
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]
import clients  # noqa: E402
import harness  # noqa: E402

MIB = 1024 * 1024
CONTROL_SHARE = 0.1
SLOW_SHARE = 0.03
ABORTS_PER_SECOND = 20


class Soak:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.tally = clients.Tally()
        self.period = 2.0
        self.patience = 3.0
        self.seed = options.seed
        random.seed(self.seed)
        self.backend_port = harness.free_port()
        self.talkers = set()
        self.slow = set()
        self.control_wanted = 0
        self.stopping = False
        self.rows = []
        self.kills = 0
        self.most_rss = 0

    # What runs.

    def start_backend(self, name):
        child = harness.Process(
            "%s-%d" % (name, time.monotonic_ns()),
            [harness.PYTHON, "-B", os.path.join(HERE, "backend.py"), self.backend_port, name],
            self.directory,
        )
        return child

    def start(self):
        self.stays = self.start_backend("stays").wait_port(self.backend_port)
        self.dies = self.start_backend("dies")
        if self.options.without_gateway:
            self.gateway, self.port = None, self.backend_port
            return
        upstream = "http://127.0.0.1:%d" % self.backend_port
        self.gateway = harness.Wscope(
            self.directory, "--upstream", upstream, "--no-console", name="gateway"
        )
        self.port = self.gateway.port

    def stop(self):
        for child in (self.gateway, self.dies, self.stays):
            if child is not None:
                child.kill()

    # Clients.

    def joined(self, talker):
        """A talker has learnt its backend: the first ones on `stays` are the control set."""
        self.tally.add("opened on " + talker.backend)
        controls = sum(other.control for other in self.talkers)
        if talker.backend == "stays" and controls < self.control_wanted:
            talker.control = True
        elif talker.backend == "stays":
            asyncio.get_running_loop().call_later(random.uniform(5, 20), talker.leave)

    async def keep_talking(self):
        """Keeps one talker going, over kills and reconnects, until the phase ends."""
        loop = asyncio.get_running_loop()
        while not self.stopping:
            await asyncio.sleep(random.random())
            if self.stopping:
                return
            try:
                _, talker = await asyncio.wait_for(
                    loop.create_connection(lambda: clients.Talker(self), "127.0.0.1", self.port),
                    10,
                )
            except (OSError, asyncio.TimeoutError) as error:
                self.tally.violation("connect: %r" % error)
                continue
            self.talkers.add(talker)
            if self.stopping:
                talker.leave()
            code = await talker.ended
            self.talkers.discard(talker)
            self.judge(talker, code)

    def judge(self, talker, code):
        """Whether a connection may end like this."""
        if talker.leaving:
            self.tally.add("left")
            if code != 1000 and talker.backend == "stays":
                self.tally.violation("closing handshake answered with %s" % code)
        elif talker.backend == "stays":
            self.tally.violation(
                "%s on the backend that stays ended with %s"
                % ("control" if talker.control else "connection", code)
            )
        elif talker.backend == "dies":
            self.tally.add("killed, 1014" if code == 1014 else "killed, %s" % code)
        elif code in (-502, 1014):
            self.tally.add("refused, 502" if code == -502 else "killed, 1014")
        elif self.gateway is None:
            self.tally.add("refused, %s" % code)
        else:
            self.tally.violation("handshake ended with %s" % code)

    async def keep_slow(self):
        """Keeps one slow reader going."""
        loop = asyncio.get_running_loop()
        while not self.stopping:
            await asyncio.sleep(random.random() * 3)
            made = clients.small_socket()
            try:
                await asyncio.wait_for(
                    loop.sock_connect(made, ("127.0.0.1", self.port)), 10
                )
                _, reader = await loop.create_connection(lambda: clients.Slow(self), sock=made)
            except (OSError, asyncio.TimeoutError):
                made.close()
                self.tally.add("failed connects")
                continue
            self.slow.add(reader)
            end = time.monotonic() + random.uniform(10, 30)
            while time.monotonic() < end and not self.stopping and not reader.ended.done():
                await asyncio.sleep(0.5)
            self.tally.add("slow readers")
            reader.transport.abort()
            await reader.ended
            self.slow.discard(reader)

    async def keep_aborting(self):
        tasks = set()
        while not self.stopping:
            task = asyncio.ensure_future(clients.abort_handshake(self))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(1 / ABORTS_PER_SECOND)
        if tasks:
            await asyncio.wait(tasks, timeout=10)

    async def keep_killing(self):
        """Kills a backend and starts it again."""
        while not self.stopping:
            await self.rest(self.options.kill_every)
            if self.stopping:
                return
            self.dies.kill()
            self.kills += 1
            await self.rest(2.0)
            self.dies = self.start_backend("dies")

    async def rest(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopping:
            await asyncio.sleep(0.2)

    # Watching.

    def row(self, phase):
        """One line of the table."""
        if self.gateway is None:
            rss = descriptors = 0
        else:
            if not self.gateway.alive():
                raise harness.HarnessError("the gateway ended: " + self.gateway.output())
            rss, descriptors = self.gateway.rss_bytes(), self.gateway.descriptors()
        self.most_rss = max(self.most_rss, rss)
        now = time.monotonic() - self.began
        line = "%7.0f  %-8s %6d %6d %8.1f %6d %9d %6d %6d %6d" % (
            now,
            phase,
            len(self.talkers),
            len(self.slow),
            rss / MIB,
            descriptors,
            self.tally.get("messages"),
            self.kills,
            self.tally.get("aborted handshakes"),
            self.tally.get("violations"),
        )
        print(line, flush=True)
        return rss, descriptors

    async def watch(self, phase, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(min(5.0, max(0.1, end - time.monotonic())))
            self.row(phase)
            now = time.monotonic()
            for talker in list(self.talkers):
                talker.check_stuck(now)

    async def phase(self, name, seconds):
        """Full load for a time, then everything closed and quiet; returns (rss, descriptors)."""
        self.stopping = False
        total = self.options.connections
        slow = int(total * SLOW_SHARE)
        self.control_wanted = int(total * CONTROL_SHARE)
        tasks = [asyncio.ensure_future(self.keep_talking()) for _ in range(total - slow)]
        tasks += [asyncio.ensure_future(self.keep_slow()) for _ in range(slow)]
        tasks.append(asyncio.ensure_future(self.keep_aborting()))
        tasks.append(asyncio.ensure_future(self.keep_killing()))
        await self.watch(name, seconds)
        self.stopping = True
        for talker in list(self.talkers):
            talker.leave()
        done, pending = await asyncio.wait(tasks, timeout=20)
        for task in done:
            task.result()
        if pending:
            self.tally.violation("%d clients did not come to an end" % len(pending))
            for task in pending:
                task.cancel()
        if not self.dies.alive():
            self.dies = self.start_backend("dies")
        return await self.quiet(name)

    async def quiet(self, name):
        """Waits until the gateway holds no connection any more."""
        for _ in range(100):
            await asyncio.sleep(0.2)
            if self.gateway is None or self.active() == 0:
                break
        await asyncio.sleep(2.0)
        return self.row("quiet")

    def active(self):
        return self.gateway.metrics().value("app_active_connections")

    async def run(self):
        print("seed %d" % self.seed)
        print(
            "seconds  phase   talkers  slow  RSS MiB    fds  messages  kills aborts  violations",
            flush=True,
        )
        self.began = time.monotonic()
        first = await self.phase("warm-up", self.options.warmup)
        last = await self.phase("load", self.options.seconds)
        return first, last

    # Judging.

    def verdicts(self, first, last):
        """[(passed, text)]."""
        tally = self.tally
        allowed = max(8 * MIB, first[0] * 0.1)
        latencies = sorted(tally.latencies) or [0.0]
        killed = sum(count for what, count in tally.counts.items() if what.startswith("killed"))
        clean = tally.get("killed, 1014")
        out = [
            (tally.get("violations") == 0, "undisturbed: %d violations %s"
             % (tally.get("violations"), tally.violations)),
            (tally.get("control messages") > 0, "control messages: %d, p50 %.1f ms, p99 %.1f ms, "
             "most %.1f ms" % (
                 tally.get("control messages"),
                 latencies[len(latencies) // 2] * 1e3,
                 latencies[int(len(latencies) * 0.99)] * 1e3,
                 tally.slowest * 1e3)),
            (self.kills >= 2 and killed > 0, "backends killed %d times, %d connections with them"
             % (self.kills, killed)),
            (tally.get("aborted handshakes") > 0 and tally.get("slow readers") > 0,
             "%d aborted handshakes, %d slow readers"
             % (tally.get("aborted handshakes"), tally.get("slow readers"))),
        ]
        if self.gateway is None:
            return out
        metrics = self.gateway.metrics()
        opened = metrics.value("app_connections_total")
        closed = metrics.value("app_connections_closed_total")
        out += [
            (clean >= 0.9 * killed, "%d of %d got close code 1014" % (clean, killed)),
            (last[1] <= first[1] + 2, "descriptors: %d after warm-up, %d at the end"
             % (first[1], last[1])),
            (last[0] <= first[0] + allowed, "memory: %.1f MiB after warm-up, %.1f at the end, "
             "%.1f at most; %.1f more allowed"
             % (first[0] / MIB, last[0] / MIB, self.most_rss / MIB, allowed / MIB)),
            (opened == closed and opened > 0, "%d connections opened, %d closed"
             % (opened, closed)),
            (metrics.total("app_errors_total") <= metrics.value("app_requests_total"),
             "%d errors in %d requests"
             % (metrics.total("app_errors_total"), metrics.value("app_requests_total"))),
        ]
        self.gateway.signal(signal.SIGTERM)
        code = self.gateway.wait(20)
        out.append((code == 0, "exit code %s" % code))
        return out


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="two minutes instead of ten")
    parser.add_argument("--seconds", type=float, help="of the load phase")
    parser.add_argument("--warmup", type=float, help="seconds of the warm-up phase")
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--kill-every", type=float, default=15.0, help="seconds")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    parser.add_argument(
        "--without-gateway",
        action="store_true",
        help="clients straight to the backends: shows that the load itself is sound",
    )
    options = parser.parse_args(arguments)
    if options.seconds is None:
        options.seconds = 80.0 if options.short else 540.0
    if options.warmup is None:
        options.warmup = 25.0 if options.short else 50.0
    return options


def main(arguments):
    options = parse(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    directory = tempfile.mkdtemp(prefix="wscope-soak-")
    soak = Soak(options, directory)
    soak.gateway = soak.dies = soak.stays = None
    limit = options.seconds + options.warmup + 120
    try:
        soak.start()
        first, last = asyncio.run(asyncio.wait_for(soak.run(), limit))
        verdicts = soak.verdicts(first, last)
    except (harness.HarnessError, asyncio.TimeoutError, AssertionError) as error:
        verdicts = [(False, "%s: %s" % (type(error).__name__, error))]
    finally:
        soak.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print("counts: %s" % dict(sorted(soak.tally.counts.items())))
    for passed, text in verdicts:
        print("%s  %s" % ("pass" if passed else "FAIL", text))
    failed = sum(not passed for passed, _ in verdicts)
    print("%d passed, %d failed" % (len(verdicts) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
