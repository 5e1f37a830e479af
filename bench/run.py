#!/usr/bin/python3
"""Measures wscope against its peers on pinned cores and writes one table. See bench/README.md.

    bench/run.py [--quick] [--only NAME,...] [--runs N] [--bin PATH] [--out DIR] [--list]

Ends with 0 when every row with a bound passes, 1 when one does not, 2 on wrong arguments.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import harness
import micro
import report
from harness import NotMeasured
from report import Row

RATES = {'echo': ('messages_per_s', 'messages/s'), 'fanout': ('deliveries_per_s', 'deliveries/s'),
         'churn': ('handshakes_per_s', 'handshakes/s')}
KIB = 1024
SERVED_CONNECTIONS = 10_000
# What else may run on the two cores, or be taken by the host, before a round is called disturbed (cores).
DISTURBED = 0.1


class Context:
    """What all workloads share: the machine and how long and how often to measure."""

    def __init__(self, machine, options):
        self.machine = machine
        self.runs = options.runs
        self.quick = options.quick
        self.warmup = 0.3 if options.quick else 1.0
        self.duration = 1.0 if options.quick else 3.0
        self.settle = 1.0 if options.quick else 3.0

    def say(self, text):
        print(text, file=sys.stderr, flush=True)


class Samples:
    """All rounds of one contender in one workload; `fault` when it could not be measured."""

    def __init__(self, name):
        self.name = name
        self.rates = []
        self.cpu_us = []
        self.results = []
        self.fault = ''
        self.notes = []
        self.faults = []

    def cpu(self):
        return statistics.median(self.cpu_us) if self.cpu_us else None


def measure(context, mode, path, shape, contenders):
    """Runs `contenders` (name -> function that starts one) in turn, all up at once, for all rounds.

    The order turns round each time, so drift of the machine hits all alike. Returns name -> Samples.
    """
    key, _ = RATES[mode]
    options = {**shape, 'warmup': context.warmup, 'duration': context.duration}
    samples = {name: Samples(name) for name in contenders}
    servers = {}
    try:
        for name, start in contenders.items():
            try:
                servers[name] = start()
            except NotMeasured as why:
                samples[name].fault = str(why)
        for turn in range(context.runs):
            order = list(servers) if turn % 2 == 0 else list(reversed(servers))
            for name in order:
                if not samples[name].fault:
                    one_run(context, servers[name], path, mode, options, key, samples[name])
    finally:
        context.machine.stop_all()
    return samples


def one_run(context, server, path, mode, options, key, into):
    try:
        before = message_records(server) if hasattr(server, 'honest') else None
        result = context.machine.load(server, path, mode, options)
        rate = float(result.get(key) or 0)
        if rate <= 0:
            raise NotMeasured(f'the load reported no {key}')
        if before is not None:
            check_records(server, before, result.get('messages', rate * context.duration), into)
    except (NotMeasured, OSError) as why:
        into.fault = str(why)
        context.say(f'    {into.name}: not measured: {why}')
        return
    into.rates.append(rate)
    into.cpu_us.append(result['server_busy'] * 1e6 / rate)
    into.results.append(result)
    if result['load_busy'] > 0.97 and result['core_busy'] < 0.9:
        note(into.notes, f'{into.name} had time to spare: the load was the limit')
    if result['others'] + result['stolen'] > DISTURBED:
        note(into.notes, f'{into.name} was disturbed: other programs or the host used the cores')
    context.say(f'    {into.name}: {report.number(rate)} {key}; server {result["server_busy"]:.0%}, its core '
                f'{result["core_busy"]:.0%}, load {result["load_busy"]:.0%}, others {result["others"]:.0%}')


def note(notes, text):
    if text not in notes:
        notes.append(text)


# What the server says became of each message's record: key -> family, label wanted, label not wanted.
# A span that finds its ring full never was a record; one that the export refused was.
RECORDS = {
    'messages': ('ws_messages_total', 'direction="in"', None),
    'lines': ('wscope_log_lines_total', '', None),
    'lines dropped': ('wscope_log_dropped_total', '', None),
    'lines dropped by a sink': ('wscope_log_sink_dropped_lines_total', '', None),
    'spans exported': ('wscope_spans_exported_total', '', None),
    'spans lost': ('wscope_spans_dropped_total', 'ring_full', None),
    'spans not exported': ('wscope_spans_dropped_total', '', 'ring_full'),
}
AT_REST_S = 2.0  # longer than a batch of spans waits to be sent
LINE_BYTES_MIN = 100


def message_records(server):
    """The counters, once they stand still: lines and spans are written behind the loop."""
    last, since = None, 0.0
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        series = harness.scrape(server.observer)
        now = {key: harness.total(series, *wanted) for key, wanted in RECORDS.items()}
        missing = sorted({RECORDS[key][0] for key, value in now.items() if value is None})
        if missing:
            raise NotMeasured(f'/metrics has no {", ".join(missing)}')
        # The metrics' own log line or span would count as movement; messages leave thousands.
        if last is None or any(abs(now[key] - last[key]) > 10 for key in now):
            last, since = now, time.monotonic()
        if time.monotonic() - since >= AT_REST_S:
            now['bytes written'] = harness.bytes_written(server.process.pid)
            return now
        time.sleep(0.2)
    raise NotMeasured('the counters of records do not come to rest')


def check_records(server, before, reported, into):
    """Every message of the round, warm-up included, must have left a line and a span record."""
    after = message_records(server)
    grown = {key: after[key] - before[key] for key in after}
    faults, text = judge_records(grown, reported)
    for fault in faults:
        note(into.faults, fault)
    if not whole_lines(server.data / 'logs'):
        note(into.faults, 'the log file does not end in JSON lines of messages')
    into.notes[:] = [kept for kept in into.notes if not kept.startswith('last round: ')] + [text]


def judge_records(grown, reported):
    """What is missing (none is good), and the figures as text. `reported`: messages the load measured."""
    messages, lines = grown['messages'], grown['lines']
    spans = grown['spans exported'] + grown['spans not exported']
    dropped = grown['lines dropped'] + grown['lines dropped by a sink']
    faults = []
    if messages < reported:
        faults.append('the server counted fewer messages than the load')
    if dropped > 0 or lines < messages:
        faults.append('not every message left a log line')
    if grown['spans lost'] > 0 or spans < messages:
        faults.append('not every message left a span record')
    if grown['bytes written'] < lines * LINE_BYTES_MIN:
        faults.append('fewer bytes were written than the lines need')
    text = (f'last round: {messages:,.0f} messages; {lines:,.0f} lines, {dropped:,.0f} dropped, '
            f'{grown["bytes written"] / max(1, lines):,.0f} B written a line; {spans:,.0f} span records, '
            f'{grown["spans lost"]:,.0f} lost, {grown["spans not exported"]:,.0f} not exported')
    return faults, text


def whole_lines(directory):
    """True when the newest log with lines in it ends in JSON objects of the message logger."""
    loggers = []
    try:
        # The newest file may have been turned over a moment ago and still be empty.
        for path in sorted(directory.iterdir(), key=lambda file: file.stat().st_mtime)[-2:]:
            with open(path, 'rb') as file:
                file.seek(max(0, path.stat().st_size - 64 * KIB))
                loggers += [json.loads(line).get('logger') for line in file.read().splitlines()[1:-1]]
    except (OSError, ValueError, AttributeError):
        return False
    return loggers.count('websocket.message') > len(loggers) // 2


def row(name, what, samples, ours, theirs, unit, **bounds):
    """One row out of two contenders of a workload."""
    mine, other = samples[ours], samples[theirs]
    made = Row(name, what, unit, mine.rates, theirs, other.rates, cpu_us=(mine.cpu(), other.cpu()), **bounds)
    for part in (mine, other):
        if part.fault:
            made.faults.append(f'{part.name} not measured: {part.fault}')
        for text in part.notes:
            note(made.notes, text)
    made.faults += mine.faults
    return made


SHAPES = {
    '32x16': ('100 connections × 16 in flight × 32 B', {'connections': 100, 'in_flight': 16, 'size': 32}),
    '32x1': ('100 connections × 1 in flight × 32 B', {'connections': 100, 'in_flight': 1, 'size': 32}),
    '16k': ('100 connections × 1 in flight × 16 KiB',
            {'connections': 100, 'in_flight': 1, 'size': 16 * KIB}),
}
# Twelve times Beast is asked for where batching can show. With one message in flight, or with large
# ones, the kernel's work for each is the wall: there the ratio that uWebSockets reaches is asked for.
ECHO_OVER_BEAST = {'32x16': (12, 'uWebSockets 16'), '32x1': (1.5, 'uWebSockets 1.54'),
                   '16k': (6.6, 'uWebSockets 6.6')}


def start_recording(machine):
    """wscope writing a span record and a JSON line for every message, spans exported to a sink."""
    sink = machine.peer('otlp_sink', core=harness.LOAD_CORE)
    server = machine.wscope_up('--log-messages', '--no-console', '--trace-ratio', '1', '--otlp',
                               f'http://127.0.0.1:{sink.port}')
    server.honest = True
    return server


def echo(context, shape):
    what, options = SHAPES[shape]
    machine = context.machine
    contenders = {
        'wscope': machine.wscope_up,
        'wscope, telemetry off': lambda: machine.wscope_up('--telemetry', 'off'),
        'wscope, span and log line a message': lambda: start_recording(machine),
        'Beast': lambda: machine.peer('beast_echo'),
    }
    if shape == '16k':
        contenders['Beast, auto_fragment off'] = lambda: machine.peer('beast_echo', '--no-auto-fragment')
    samples = measure(context, 'echo', '/echo', options, contenders)
    bound, seen = ECHO_OVER_BEAST[shape]
    off, full = 'wscope, telemetry off', 'wscope, span and log line a message'
    rows = [
        row(f'echo_{shape}_beast', f'echo, {what}, defaults', samples, 'wscope', 'Beast', 'messages/s',
            ratio_min=bound, seen=seen),
        row(f'echo_{shape}_telemetry', f'echo, {what}, defaults', samples, 'wscope', off, 'messages/s',
            ratio_min=0.95),
        row(f'echo_{shape}_every_message', f'echo, {what}, span record and JSON line for every message',
            samples, full, off, 'messages/s', ratio_min=0.80,
            seen='a probe 0.89; uWebSockets with prometheus-cpp, spdlog, OpenTelemetry 0.14'),
    ]
    if shape == '16k':
        rows.append(row('echo_16k_beast_whole', f'echo, {what}, defaults', samples, 'wscope',
                        'Beast, auto_fragment off', 'messages/s', seen='uWebSockets 1.5'))
    return rows


def behind_one_upstream(machine):
    """Gives starters of relays the port of one backend, which the first of them starts.

    The backend stands on the server's core for all alike: the load's core stays free for the load.
    """
    upstream = []

    def behind(start):
        def begin():
            if not upstream:
                upstream.append(machine.upstream().port)
            return start(upstream[0])
        return begin
    return behind


RELAY_SEEN = {'32x16': ('', '0.97', '0.90 to 1.18'), '32x1': ('', '1.08', '0.90 to 1.18'),
              '16k': ('a simple relay 2.3', '4.6', '0.90 to 1.18')}


def relay(context, shape):
    what, options = SHAPES[shape]
    machine = context.machine
    behind = behind_one_upstream(machine)
    contenders = {
        'wscope': behind(lambda port: machine.wscope_up('--upstream', f'http://127.0.0.1:{port}')),
        'HAProxy': behind(machine.haproxy),
        'nginx': behind(machine.nginx),
        'bare loop': behind(lambda port: machine.peer('bare_relay', port)),
    }
    if shape == '16k':
        contenders['HAProxy, 64 KiB buffers'] = behind(lambda port: machine.haproxy(port, 64 * KIB))
        contenders['nginx, 64 KiB buffers'] = behind(lambda port: machine.nginx(port, 64 * KIB))
    samples = measure(context, 'echo', '/echo', options, contenders)
    haproxy_seen, nginx_seen, bare_seen = RELAY_SEEN[shape]
    bounds = {'HAProxy': {'ratio_min': 2 if shape == '16k' else 1, 'seen': haproxy_seen},
              'nginx': {'seen': nginx_seen and f'a plain copy {nginx_seen}'},
              'bare loop': {'ratio_min': 0.95, 'seen': bare_seen}}
    return [row(f'relay_{shape}_{peer.split(",")[0].split(" ")[0].lower()}{"_64k" if "," in peer else ""}',
                f'relay, {what}', samples, 'wscope', peer, 'messages/s', **bounds.get(peer, {}))
            for peer in contenders if peer != 'wscope']


def fanout(context):
    shape = {'connections': 1000, 'in_flight': 16, 'size': 32}
    machine = context.machine
    samples = measure(context, 'fanout', '/ws/bench', shape,
                      {'wscope': machine.wscope_up, 'Beast': lambda: machine.peer('beast_echo')})
    return [row('fanout', 'fan-out, 1 publisher to 1,000 members × 16 in flight × 32 B', samples, 'wscope',
                'Beast', 'deliveries/s', ratio_min=8, seen='uWebSockets 13')]


def handshakes(context):
    shape = {'connections': 100}
    machine = context.machine
    behind = behind_one_upstream(machine)
    samples = measure(context, 'churn', '/echo', shape, {
        'wscope': behind(lambda port: machine.wscope_up('--upstream', f'http://127.0.0.1:{port}')),
        'HAProxy': behind(machine.haproxy),
        'nginx': behind(machine.nginx),
        'wscope served': machine.wscope_up,
        'Beast': lambda: machine.peer('beast_echo'),
    })
    what = 'connect, handshake, close, 100 at once'
    return [
        row('handshakes_haproxy', f'{what}, relayed', samples, 'wscope', 'HAProxy', 'handshakes/s',
            ratio_min=1),
        row('handshakes_nginx', f'{what}, relayed', samples, 'wscope', 'nginx', 'handshakes/s'),
        row('handshakes_served', f'{what}, served', samples, 'wscope served', 'Beast', 'handshakes/s'),
    ]


def memory(context):
    machine = context.machine
    relayed = min(SERVED_CONNECTIONS, (machine.descriptor_limit - 256) // 2)
    served = min(SERVED_CONNECTIONS, machine.descriptor_limit - 256)
    if context.quick:
        relayed = served = 2000
    contenders = {
        'wscope served': (machine.wscope_up, served, 1),
        'Beast': (lambda: machine.peer('beast_echo'), served, 1),
        'wscope relayed': (lambda port: machine.wscope_up('--upstream', f'http://127.0.0.1:{port}'),
                           relayed, 2),
        'HAProxy': (machine.haproxy, relayed, 2),
        'nginx': (machine.nginx, relayed, 2),
    }
    samples = {name: Samples(name) for name in contenders}
    for _ in range(context.runs):
        for name, (start, connections, each) in contenders.items():
            if samples[name].fault:
                continue
            try:
                # A fresh process each time: memory that it kept from a round before would hide growth.
                server = start(machine.upstream().port) if each == 2 else start()
                size = harness.idle_memory(machine, server, '/echo', connections, each, context.settle)
                samples[name].rates.append(size)
                context.say(f'    {name}: {report.number(size)} B')
            except (NotMeasured, OSError, KeyError) as why:
                samples[name].fault = str(why)
                context.say(f'    {name}: not measured: {why}')
            finally:
                machine.stop_all()
    unit = 'B a connection'
    rows = [
        row('memory_served', f'own memory an idle connection, {served:,} served', samples, 'wscope served',
            'Beast', unit, value_max=512, seen='uWebSockets 256, a probe 97'),
        row('memory_relayed', f'own memory an idle connection, {relayed:,} relayed', samples,
            'wscope relayed', 'HAProxy', unit, value_max=1024, seen='HAProxy 4.7 k, nginx 18 k, Daphne 32 k'),
        row('memory_relayed_nginx', f'own memory an idle connection, {relayed:,} relayed', samples,
            'wscope relayed', 'nginx', unit),
    ]
    for made, asked in zip(rows, (served, relayed, relayed)):
        made.lower_is_better = True
        if asked < SERVED_CONNECTIONS:
            why = '--quick' if context.quick else f'the limit of {machine.descriptor_limit} descriptors'
            made.notes.append(f'{asked:,} connections and not 10,000: {why}')
    return rows


WORKLOADS = {
    'echo_32x16': lambda context: echo(context, '32x16'),
    'echo_32x1': lambda context: echo(context, '32x1'),
    'echo_16k': lambda context: echo(context, '16k'),
    'relay_32x16': lambda context: relay(context, '32x16'),
    'relay_32x1': lambda context: relay(context, '32x1'),
    'relay_16k': lambda context: relay(context, '16k'),
    'fanout': fanout,
    'handshakes': handshakes,
    'memory': memory,
    'micro': lambda context: micro.rows(context.machine, context.runs, context.quick, context.say),
}


def version(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return ((done.stdout + done.stderr).strip().splitlines() or ['unknown'])[0]
    except (OSError, subprocess.TimeoutExpired):
        return 'not there'


def facts(context, chosen):
    cpu = [line.split(':', 1)[1].strip() for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines()
           if line.startswith('model name')]
    return {
        'measured': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
        'machine': f'{os.cpu_count()} × {cpu[0] if cpu else "?"}, Linux {platform.release()}',
        'pinning': f'server under test (and the backend of relays) on core {harness.SERVER_CORE}, '
                   f'load on core {harness.LOAD_CORE}',
        'rounds': f'{context.runs}, medians shown; {context.duration:g} s each after '
                  f'{context.warmup:g} s of warm-up',
        'load average at the start': f'{os.getloadavg()[0]:.2f}',
        'wscope': version([str(context.machine.wscope), 'version']),
        'peers': '; '.join([version(['/usr/sbin/haproxy', '-v']), version(['/usr/sbin/nginx', '-v'])]),
        'workloads': ', '.join(chosen),
    }


def arguments(argv):
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description='Measures wscope against its peers.')
    parser.add_argument('--quick', action='store_true', help='short rounds, to see that all rows work')
    parser.add_argument('--only', default='', help='workloads by the start of their names, comma between')
    parser.add_argument('--runs', type=int, default=5, help='rounds (5)')
    parser.add_argument('--bin', default=root / 'build-bench' / 'wscope', help='the wscope binary')
    parser.add_argument('--out', default=root / 'bench' / 'results', help='directory of the table')
    parser.add_argument('--list', action='store_true', help='names of the workloads')
    options = parser.parse_args(argv)
    wanted = [word for word in options.only.split(',') if word]
    unknown = [word for word in wanted if not any(name.startswith(word) for name in WORKLOADS)]
    if unknown:
        parser.error(f'no workload {", ".join(unknown)}; there are {", ".join(WORKLOADS)}')
    if options.runs < 1:
        parser.error('--runs must be at least 1')
    chosen = [name for name in WORKLOADS if not wanted or any(name.startswith(word) for word in wanted)]
    return options, chosen


def main(argv):
    options, chosen = arguments(argv)
    if options.list:
        print('\n'.join(WORKLOADS))
        return 0
    if len(os.sched_getaffinity(0)) < 2:
        print('bench/run.py: two cores are needed, one for the server and one for the load', file=sys.stderr)
        return 2
    limit = harness.raise_descriptor_limit()
    # This script only waits; it must not wait on the server's core.
    os.sched_setaffinity(0, {harness.LOAD_CORE})
    rows = []
    with tempfile.TemporaryDirectory(prefix='wscope-bench-') as directory:
        machine = harness.Machine(options.bin, directory, limit)
        context = Context(machine, options)
        known = facts(context, chosen)
        for name in chosen:
            context.say(f'{name}:')
            try:
                rows += WORKLOADS[name](context)
            finally:
                machine.stop_all()
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    table = report.markdown(rows, known)
    (out / 'bench.md').write_text(table)
    (out / 'bench.json').write_text(report.as_json(rows, known))
    print(table)
    failed = any(made.verdict() == report.FAIL for made in rows)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
