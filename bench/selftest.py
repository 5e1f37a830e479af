#!/usr/bin/python3
"""Checks the measuring itself: verdicts, parsers, and that the peers do what the rows assume.

    bench/selftest.py [PEERS_DIRECTORY]        default: build-bench/bench
"""

import asyncio
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import harness
import micro
import report
import run
from report import Row

try:
    import websockets
except ImportError:
    websockets = None

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / 'build-bench' / 'bench'


class Verdicts(unittest.TestCase):
    def test_rate_needs_its_ratio(self):
        self.assertEqual(Row('a', '', 'x', [12.0], 'p', [1.0], ratio_min=12).verdict(), report.PASS)
        self.assertEqual(Row('a', '', 'x', [11.9], 'p', [1.0], ratio_min=12).verdict(), report.FAIL)

    def test_value_needs_its_bound(self):
        self.assertEqual(Row('a', '', 'B', [512.0], value_max=512).verdict(), report.PASS)
        self.assertEqual(Row('a', '', 'B', [513.0], value_max=512).verdict(), report.FAIL)

    def test_nothing_measured_never_passes(self):
        self.assertEqual(Row('a', '', 'B', [], value_max=512).verdict(), report.FAIL)
        self.assertEqual(Row('a', '', 'x', [], 'p', [1.0], ratio_min=1).verdict(), report.FAIL)
        self.assertEqual(Row('a', '', 'x', [1.0], 'p', [], ratio_min=1).verdict(), report.FAIL)

    def test_a_fault_fails_a_good_number(self):
        row = Row('a', '', 'x', [2.0], 'p', [1.0], ratio_min=1, faults=['lines were dropped'])
        self.assertEqual(row.verdict(), report.FAIL)

    def test_median_and_direction(self):
        row = Row('a', '', 'ns', [1.0, 100.0, 2.0], 'p', [8.0, 8.0, 8.0], lower_is_better=True)
        self.assertEqual(row.ratio(), 4.0)
        self.assertEqual(row.verdict(), report.SHOWN)

    def test_every_cell_has_a_heading(self):
        self.assertEqual(len(report.cells(Row('a', '', 'x', [1.0]))), len(report.HEADINGS))


class Parsers(unittest.TestCase):
    def test_exposition_keeps_labels_and_skips_timestamps(self):
        text = '# TYPE a counter\na{x="b } c"} 2 1700000000\na{x="d"} 3\nb_total 1e3\nab 7\n'
        series = harness.parse_exposition(text)
        self.assertEqual(series, {'a{x="b } c"}': 2.0, 'a{x="d"}': 3.0, 'b_total': 1000.0, 'ab': 7.0})
        self.assertEqual(harness.total(series, 'a'), 5.0)
        self.assertEqual(harness.total(series, 'a', 'x="d"'), 3.0)
        self.assertEqual(harness.total(series, 'a', '', 'x="d"'), 2.0)
        self.assertIsNone(harness.total(series, 'c'))

    def test_load_takes_the_last_object(self):
        self.assertEqual(harness.parse_load('1 s\n{"a": 1}\n{"a": 2}\n'), {'a': 2})
        self.assertEqual(harness.parse_load('{\n "a": 3\n}\n'), {'a': 3})
        with self.assertRaises(harness.NotMeasured):
            harness.parse_load('progress only\n')

    def test_smaps(self):
        text = '5588-7ffe ---p 00000000 00:00 0 [rollup]\nRss: 99 kB\nPss_Anon: 7 kB\nAnonymous: 8 kB\n'
        self.assertEqual(harness.smaps_anonymous_bytes(text), 7 * 1024)
        self.assertEqual(harness.smaps_anonymous_bytes(text.replace('Pss_Anon', 'Else')), 8 * 1024)

    def test_benchmark_names_and_units(self):
        text = json.dumps({'benchmarks': [
            {'name': 'BM_counter_add', 'cpu_time': 0.5, 'time_unit': 'ns', 'run_type': 'iteration'},
            {'name': 'x_two_threads/threads:2', 'cpu_time': 2, 'time_unit': 'us'},
            {'name': 'broken', 'cpu_time': 0, 'time_unit': 'ns', 'error_occurred': True}]})
        self.assertEqual(micro.parse(text), {'counter_add': 0.5, 'x_two_threads': 2000.0})

    def test_log_lines(self):
        with tempfile.TemporaryDirectory() as name:
            log = pathlib.Path(name) / 'wscope.log'
            log.write_text('{"logger":"websocket.message"}\n' * 10)
            self.assertTrue(run.whole_lines(log.parent))
            log.write_text('{"logger":"websocket"}\n' * 10)
            self.assertFalse(run.whole_lines(log.parent))
            log.write_text('')
            self.assertFalse(run.whole_lines(log.parent))
            log.write_text('not JSON\n' * 10)
            self.assertFalse(run.whole_lines(log.parent))

    def test_a_missing_counter_is_not_a_pass(self):
        class Server:
            observer = 0
        original, harness.scrape = harness.scrape, lambda port: {'wscope_log_lines_total': 1.0}
        try:
            with self.assertRaises(harness.NotMeasured):
                run.message_records(Server)
        finally:
            harness.scrape = original


class Records(unittest.TestCase):
    """The row with a record for every message is void when one is missing."""

    WHOLE = {'messages': 100.0, 'lines': 100.0, 'lines dropped': 0.0, 'lines dropped by a sink': 0.0,
             'spans exported': 60.0, 'spans lost': 0.0, 'spans not exported': 40.0, 'bytes written': 30_000}

    def test_whole(self):
        self.assertEqual(run.judge_records(self.WHOLE, 90)[0], [])

    def test_each_loss_is_a_fault(self):
        for change in ({'lines': 99.0}, {'lines dropped': 1.0}, {'lines dropped by a sink': 1.0},
                       {'spans exported': 59.0}, {'spans lost': 1.0}, {'bytes written': 9_000},
                       {'messages': 80.0}):
            self.assertEqual(len(run.judge_records({**self.WHOLE, **change}, 90)[0]), 1, change)


class Peers(unittest.TestCase):
    """The real programs, each started on a free port and ended by its id."""

    def setUp(self):
        if not (PEERS / 'upstream_echo').exists():
            self.skipTest(f'{PEERS} has no peers: ./dev bench builds them')
        self.directory = tempfile.TemporaryDirectory(prefix='wscope-bench-test-')
        self.machine = harness.Machine(PEERS.parent / 'wscope', self.directory.name, 2000)
        self.machine.peers = PEERS
        self.addCleanup(self.directory.cleanup)
        self.addCleanup(self.machine.stop_all)

    def talk(self, port):
        """Text, binary, large and pinged messages come back as they went; a close is answered."""
        if websockets is None:
            self.skipTest('python3-websockets is not installed')

        async def talk():
            address = f'ws://127.0.0.1:{port}/echo'
            async with websockets.connect(address, max_size=None, compression=None) as ws:
                for message in ['', 'hello', 'ü' * 100, b'\x00\xff' * 70_000, 'x' * 3_000_000]:
                    await ws.send(message)
                    self.assertEqual(await asyncio.wait_for(ws.recv(), 10), message)
                await asyncio.wait_for(await ws.ping(b'p'), 10)
                for i in range(1000):
                    await ws.send(str(i))
                for i in range(1000):
                    self.assertEqual(await asyncio.wait_for(ws.recv(), 10), str(i))
            self.assertEqual(ws.close_code, 1000)
        asyncio.run(talk())

    def test_echo_servers(self):
        self.talk(self.machine.peer('upstream_echo').port)
        self.talk(self.machine.peer('beast_echo').port)
        self.talk(self.machine.peer('beast_echo', '--no-auto-fragment').port)

    def test_relays(self):
        upstream = self.machine.upstream().port
        self.talk(self.machine.peer('bare_relay', upstream).port)
        self.talk(self.machine.haproxy(upstream).port)
        self.talk(self.machine.haproxy(upstream, 65536).port)
        self.talk(self.machine.nginx(upstream).port)
        self.talk(self.machine.nginx(upstream, 65536).port)

    def test_beast_room_reaches_all_members_and_no_other_room(self):
        if websockets is None:
            self.skipTest('python3-websockets is not installed')
        port = self.machine.peer('beast_echo').port

        async def talk():
            base = f'ws://127.0.0.1:{port}/ws/'
            members = [await websockets.connect(base + 'a') for _ in range(20)]
            stranger = await websockets.connect(base + 'b')
            gone = await websockets.connect(base + 'a')
            await gone.close()
            for i in range(50):
                await members[0].send(f'm{i}')
            for member in members:
                for i in range(50):
                    self.assertEqual(await asyncio.wait_for(member.recv(), 10), f'm{i}')
            await stranger.send('mine')
            self.assertEqual(await asyncio.wait_for(stranger.recv(), 10), 'mine')
            for socket_ in [*members, stranger]:
                await socket_.close()
        asyncio.run(talk())

    def test_bare_relay_keeps_every_byte_for_a_slow_reader(self):
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            listener.listen()
            port = self.machine.peer('bare_relay', listener.getsockname()[1]).port
            listener.accept()[0].close()  # the probe that waited for the port
            client = socket.create_connection(('127.0.0.1', port))
            backend = listener.accept()[0]
        block = os.urandom(1 << 20)
        sender = threading.Thread(target=lambda: [client.sendall(block) for _ in range(64)] and
                                  client.shutdown(socket.SHUT_WR))
        sender.start()
        sender.join(1.0)
        self.assertTrue(sender.is_alive(), 'nobody reads, so the sender must stand still')
        received = bytearray()
        while chunk := backend.recv(1 << 20):
            received += chunk
        sender.join()
        self.assertTrue(bytes(received) == block * 64)
        backend.sendall(b'after the half close')
        backend.close()
        self.assertEqual(client.recv(100), b'after the half close')
        self.assertEqual(client.recv(100), b'')
        client.close()

    def test_sink_takes_lengths_chunks_and_expectations(self):
        sink = self.machine.peer('otlp_sink')
        body = pathlib.Path(self.directory.name) / 'body'
        body.write_bytes(os.urandom(3_000_000))
        address = f'http://127.0.0.1:{sink.port}/v1/traces'
        for extra in ([], ['-H', 'Transfer-Encoding: chunked'], ['-H', 'Expect: 100-continue']):
            command = ['curl', '-sS', '-m', '20', '-w', '%{http_code} ', *extra, '--data-binary', f'@{body}', address,
                       '--next', '-sS', '-w', '%{http_code}', '-d', 'small', address]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual(done.stdout, '200 200', done.stderr)
        sink.stop()
        totals = json.loads(sink.output.read_text())
        self.assertEqual(totals, {'requests': 6, 'body_bytes': 3 * 3_000_005})


if __name__ == '__main__':
    if len(sys.argv) > 1 and pathlib.Path(sys.argv[1]).is_dir():
        PEERS = pathlib.Path(sys.argv.pop(1)).absolute()
    unittest.main()
