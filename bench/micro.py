"""The micro rows: Google Benchmark programs beside the code, and their peers in micro_peers_bench."""

import json
import os
import statistics
import subprocess

from harness import SERVER_CORE, NotMeasured
from report import Row

NS = {'ns': 1.0, 'us': 1e3, 'ms': 1e6, 's': 1e9}

# name, what, bound in ns, peer's benchmark (or none), what was seen elsewhere
ROWS = [
    ('counter_add', 'counter, one add on the owner thread', 0.7, 'prometheus_cpp_counter',
     'prometheus-cpp 7'),
    ('counter_add_two_threads', 'counter, one add, two threads at one family', 0.7,
     'prometheus_cpp_counter_two_threads', 'prometheus-cpp 28'),
    ('histogram_observe_10', 'ten-bucket histogram, one observation on the owner thread', 4,
     'prometheus_cpp_histogram', 'prometheus-cpp 30'),
    ('histogram_observe_10_two_threads', 'ten-bucket histogram, one observation, two threads', 4,
     'prometheus_cpp_histogram_two_threads', 'prometheus-cpp 117'),
    ('span_record', 'span record', 30, None, 'OpenTelemetry 380 to 690'),
    ('json_log_line', 'JSON log line, on the loop', 150, 'spdlog_json_line', 'spdlog 480 to 1,200'),
    ('exposition_text_10000', 'text exposition of 10,000 series', 2e6, 'prometheus_cpp_text_10000',
     'prometheus-cpp 12 to 14 ms'),
]
SPDLOG_ASYNC = 'spdlog_json_line_async'  # said beside its row


def base_name(name):
    """'BM_counter_add/threads:2' -> 'counter_add'."""
    return name.split('/', 1)[0].removeprefix('BM_')


def parse(text):
    """name -> CPU ns of one iteration of one thread. With several threads Google Benchmark's real time
    is divided by their number; CPU time is what an operation costs the thread that does it."""
    found = {}
    for entry in json.loads(text)['benchmarks']:
        if entry.get('run_type', 'iteration') == 'iteration' and not entry.get('error_occurred'):
            found[base_name(entry['name'])] = entry['cpu_time'] * NS[entry['time_unit']]
    return found


def programs(machine):
    """All benchmark programs of the build: beside the code, then the peers."""
    root = machine.wscope.parent
    names = ('telemetry_bench', 'net_bench', 'runtime_bench', 'micro_peers_bench')
    return [path for name in names for path in sorted(root.rglob(name)) if path.is_file()]


def run(program, machine, chosen, cores, quick):
    # Two threads need both cores, one must not wander between them.
    command = ['taskset', '-c', cores, str(program), '--benchmark_format=json',
               f'--benchmark_min_time={0.05 if quick else 0.3}', f'--benchmark_filter={chosen}']
    environment = {**os.environ, 'WSCOPE_BENCH_DIR': str(machine.directory)}
    # The script itself is kept to one core and children inherit that; taskset says which anew.
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    if done.returncode != 0:
        raise NotMeasured(f'{program.name} ended with status {done.returncode}')
    return parse(done.stdout) if done.stdout.strip().startswith('{') else {}


def collect(machine, runs, quick, say):
    """name -> one number a round. Ours and the peers' take turns."""
    values, faults = {}, []
    names = [name for row in ROWS for name in (row[0], row[3]) if name] + [SPDLOG_ASYNC]
    single = '^(BM_)?(' + '|'.join(n for n in names if not n.endswith('two_threads')) + ')(/|$)'
    double = '^(BM_)?(' + '|'.join(n for n in names if n.endswith('two_threads')) + ')(/|$)'
    for _ in range(runs):
        for program in programs(machine):
            for chosen, cores in ((single, str(SERVER_CORE)), (double, '0,1')):
                try:
                    found = run(program, machine, chosen, cores, quick)
                except (NotMeasured, OSError, ValueError, subprocess.TimeoutExpired) as why:
                    faults.append(str(why))
                    continue
                for name, value in found.items():
                    values.setdefault(name, []).append(value)
                    say(f'    {name}: {value:.3g} ns')
    return values, faults


def rows(machine, runs, quick, say):
    values, faults = collect(machine, runs, quick, say)
    made = []
    for name, what, bound, peer, seen in ROWS:
        unit, scale = ('ms', 1e-6) if bound >= 1e6 else ('ns', 1.0)
        ours = [value * scale for value in values.get(name, [])]
        theirs = [value * scale for value in values.get(peer, [])] if peer else []
        row = Row(f'micro_{name}', what, unit, ours, (peer or '') if theirs else '', theirs,
                  value_max=bound * scale, lower_is_better=True, seen=seen)
        if not ours:
            row.faults.append(f'no benchmark {name} in telemetry_bench, net_bench or runtime_bench')
            row.faults += faults[:1]
        if not theirs:
            row.notes.append('no peer in Debian' if peer is None else f'{peer} is not built')
        if name == 'json_log_line' and values.get(SPDLOG_ASYNC):
            row.notes.append(f'spdlog asynchronous, the caller alone: '
                             f'{statistics.median(values[SPDLOG_ASYNC]):.0f} ns')
        made.append(row)
    return made
