"""Starts, pins, measures and stops what bench/run.py compares.

Linux only: CPU time and memory are read from /proc. Every process started here is stopped here, by its
own id. Nothing is shared between contenders but the machine.
"""

import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

SERVER_CORE = 0
LOAD_CORE = 1
TICKS_PER_S = os.sysconf('SC_CLK_TCK')


class NotMeasured(Exception):
    """A row can not be had; the text says why and goes into the table."""


def raise_descriptor_limit():
    """Sets the soft limit to the hard one and returns it; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def wait_for_port(port, process, seconds=15):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotMeasured(f'{process.args[3:5]} ended with status {process.returncode}')
        try:
            socket.create_connection(('127.0.0.1', port), 0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise NotMeasured(f'nothing listens on port {port} after {seconds} s')


def children(pid):
    try:
        text = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def cpu_seconds(pids):
    """User and system time of all threads of the processes so far."""
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


def smaps_anonymous_bytes(text):
    """Anonymous memory in a smaps_rollup: Pss_Anon, or Anonymous on kernels before it."""
    fields = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == 'kB':
            fields[words[0].rstrip(':')] = int(words[1]) * 1024
    return fields['Pss_Anon'] if 'Pss_Anon' in fields else fields['Anonymous']


def private_bytes(pids):
    return sum(smaps_anonymous_bytes(pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text())
               for pid in pids)


def descriptors(pids):
    return sum(len(os.listdir(f'/proc/{pid}/fd')) for pid in pids)


def core_times():
    """Seconds so far of each core: name -> (busy, stolen by the host)."""
    times = {}
    for line in pathlib.Path('/proc/stat').read_text().splitlines():
        words = line.split()
        if words[0].startswith('cpu') and words[0] != 'cpu':
            user, nice, system, _, _, irq, softirq, stolen = (int(word) for word in words[1:9])
            times[words[0]] = ((user + nice + system + irq + softirq) / TICKS_PER_S, stolen / TICKS_PER_S)
    return times


def bytes_written(pid):
    """Bytes of write() calls so far, to files above all; send() to sockets is not among them."""
    for line in pathlib.Path(f'/proc/{pid}/io').read_text().splitlines():
        if line.startswith('wchar:'):
            return int(line.split()[1])
    raise NotMeasured(f'/proc/{pid}/io has no wchar')


class Process:
    """A pinned child with its output in a file; a context manager that ends it by its id."""

    def __init__(self, command, core, directory, name, port=None):
        self.name = name
        self.port = port
        self.command = ['taskset', '-c', str(core), *map(str, command)]
        self.output = pathlib.Path(directory) / f'{name}.out'
        with open(self.output, 'wb') as out, open(f'{self.output}.err', 'wb') as err:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def ready(self):
        if self.port:
            wait_for_port(self.port, self.process)
        return self

    def pids(self):
        return [self.process.pid, *children(self.process.pid)]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Machine:
    """Where binaries are, which cores are used, and the directory for all that is written."""

    def __init__(self, wscope, directory, descriptor_limit):
        self.wscope = pathlib.Path(wscope).absolute()
        self.peers = self.wscope.parent / 'bench'
        self.directory = pathlib.Path(directory)
        self.descriptor_limit = descriptor_limit
        self.templates = pathlib.Path(__file__).resolve().parent
        self.running = []

    def start(self, name, command, core, port):
        process = Process(command, core, self.directory, f'{name}-{port}', port)
        self.running.append(process)
        return process.ready()

    def stop_all(self):
        while self.running:
            self.running.pop().stop()

    def peer(self, program, *arguments, core=SERVER_CORE):
        """A server of bench/, by the port that it listens on (its first argument)."""
        path = self.peers / program
        if not path.exists():
            raise NotMeasured(f'{path.name} is not built')
        port = free_port()
        return self.start(program, [path, port, *arguments], core, port)

    def upstream(self):
        return self.peer('upstream_echo')

    def wscope_up(self, *arguments):
        if not self.wscope.exists():
            raise NotMeasured('the wscope binary is not built')
        port, observer = free_port(), free_port()
        data = self.directory / f'data-{port}'
        command = [self.wscope, 'up', '--listen', f'127.0.0.1:{port}', '--observer',
                   f'127.0.0.1:{observer}', '--data', data, '--loops', 1, *arguments]
        server = self.start('wscope', command, SERVER_CORE, port)
        server.observer, server.data = observer, data
        return server

    def template(self, name, values):
        text = (self.templates / f'{name}.in').read_text()
        for key, value in values.items():
            text = text.replace(f'@{key}@', str(value))
        path = self.directory / f'{name}-{values["LISTEN_PORT"]}'
        path.write_text(text)
        return path

    def haproxy(self, upstream_port, buffer_bytes=16384):
        program = find_program('haproxy')
        port = free_port()
        config = self.template('haproxy.cfg', {
            'LISTEN_PORT': port, 'UPSTREAM_PORT': upstream_port, 'BUFFER_BYTES': buffer_bytes,
            'CONNECTIONS': (self.descriptor_limit - 200) // 2})
        return self.start('haproxy', [program, '-db', '-q', '-f', config], SERVER_CORE, port)

    def nginx(self, upstream_port, buffer_bytes=4096):
        program = find_program('nginx')
        port = free_port()
        place = self.directory / f'nginx-{port}'
        place.mkdir()
        config = self.template('nginx.conf', {
            'LISTEN_PORT': port, 'UPSTREAM_PORT': upstream_port, 'BUFFER_BYTES': buffer_bytes,
            'BUSY_BYTES': 2 * buffer_bytes, 'DESCRIPTORS': self.descriptor_limit, 'DIR': place,
            # nginx drops new clients once fewer than a sixteenth of its slots are free.
            'CONNECTIONS': 2 * self.descriptor_limit})
        return self.start('nginx', [program, '-p', place, '-c', config], SERVER_CORE, port)

    def load_command(self, port, path, mode, options):
        command = [self.wscope, 'load', f'ws://127.0.0.1:{port}{path}', '--mode', mode, '--json',
                   '--cpu', LOAD_CORE]
        for key, value in options.items():
            command += [f'--{key.replace("_", "-")}', value]
        return command

    def load(self, server, path, mode, options):
        """Runs the generator once. Returns its JSON with what the middle of the window looked like:
        server_busy, load_busy, core_busy (the server's core), others (all else that ran on the two
        cores) and stolen, each in cores."""
        command = self.load_command(server.port, path, mode, options)
        warmup, duration = float(options['warmup']), float(options['duration'])
        generator = Process(command, LOAD_CORE, self.directory, 'load')
        try:
            # Connecting and closing are left out.
            time.sleep(warmup + 0.15 * duration)
            before = self.usage(server, generator)
            time.sleep(0.7 * duration)
            after = self.usage(server, generator)
            result = finished_load(generator, warmup + duration + 30)
        finally:
            generator.stop()
        elapsed = after.pop('at') - before.pop('at')
        result.update({key: (after[key] - before[key]) / elapsed for key in after})
        if server.process.poll() is not None:
            raise NotMeasured(f'{server.name} ended with status {server.process.returncode}')
        asked = int(options['connections'])
        if result.get('connections', asked) < asked:
            raise NotMeasured(f'{result["connections"]} of {asked} connections to {server.name}')
        return result

    def usage(self, server, generator):
        cores = core_times()
        both = [cores.get(f'cpu{core}', (0.0, 0.0)) for core in (SERVER_CORE, LOAD_CORE)]
        load = cpu_seconds(generator.pids())
        servers = sum(cpu_seconds(process.pids()) for process in self.running)
        return {'at': time.monotonic(), 'server_busy': cpu_seconds(server.pids()), 'load_busy': load,
                'core_busy': both[0][0], 'others': both[0][0] + both[1][0] - servers - load,
                'stolen': both[0][1] + both[1][1]}


def find_program(name):
    path = shutil.which(name) or shutil.which(name, path='/usr/sbin:/usr/local/sbin')
    if not path:
        raise NotMeasured(f'{name} is not installed')
    return path


def finished_load(generator, seconds):
    """Waits for a generator, returns its JSON; an error it saw makes the number worthless."""
    try:
        status = generator.process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise NotMeasured(f'the load did not end within {seconds:.0f} s') from None
    text = generator.output.read_text()
    if status != 0:
        reason = pathlib.Path(f'{generator.output}.err').read_text().strip().splitlines()[-1:]
        raise NotMeasured(f'the load ended with status {status} {" ".join(reason)}')
    result = parse_load(text)
    errors = result.get('errors', 0)
    if errors not in (0, {}, []) and not (isinstance(errors, dict) and not any(errors.values())):
        raise NotMeasured(f'the load saw errors: {json.dumps(errors)}')
    return result


def parse_load(text):
    """The last JSON object of the load's output, alone on its line or the whole output."""
    for candidate in [text, *reversed(text.splitlines())]:
        try:
            value = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    raise NotMeasured('the load wrote no JSON')


def idle_memory(machine, server, path, connections, per_connection, settle_s):
    """Bytes of the server's own memory for each idle connection.

    The server first serves 16 connections, so that what it sets up once is not counted; then the
    growth from 0 to `connections` idle ones is divided. All are there when the server holds
    `per_connection` descriptors for each.
    """
    machine.load(server, path, 'echo', {'connections': 16, 'in_flight': 1, 'size': 32, 'warmup': 0.2,
                                        'duration': 0.5})
    time.sleep(settle_s)
    pids = server.pids()
    before, open_before = private_bytes(pids), descriptors(pids)
    command = machine.load_command(server.port, path, 'idle', {
        'connections': connections, 'warmup': 0, 'duration': 8 + 2 * settle_s})
    generator = Process(command, LOAD_CORE, machine.directory, 'load')
    try:
        deadline = time.monotonic() + 60
        while descriptors(pids) - open_before < connections * per_connection:
            if generator.process.poll() is not None:
                finished_load(generator, 1)  # says why, where the generator knows
            if generator.process.poll() is not None or time.monotonic() > deadline:
                raise NotMeasured(f'only {descriptors(pids) - open_before} descriptors for '
                                  f'{connections} connections to {server.name}')
            time.sleep(0.1)
        time.sleep(settle_s)
        growth = private_bytes(pids) - before
        if descriptors(pids) - open_before < connections * per_connection:
            raise NotMeasured(f'{server.name} lost idle connections')
        finished_load(generator, 90)
    finally:
        generator.stop()
    return growth / connections


def scrape(observer_port):
    """What /metrics says: series with its labels -> value."""
    address = f'http://127.0.0.1:{observer_port}/metrics'
    request = urllib.request.Request(address, headers={'Accept': 'text/plain;version=0.0.4'})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return parse_exposition(reply.read().decode())


def parse_exposition(text):
    series = {}
    for line in text.splitlines():
        if not line or line.startswith('#'):
            continue
        end = line.rindex('}') + 1 if '{' in line else line.index(' ')
        try:
            series[line[:end]] = float(line[end:].split()[0])
        except (ValueError, IndexError):
            continue
    return series


def total(series, name, having='', lacking=None):
    """The sum of a family's series whose labels hold `having` and not `lacking`; None without any."""
    values = [value for key, value in series.items() if key.split('{', 1)[0] == name and having in key
              and (lacking is None or lacking not in key)]
    return sum(values) if values else None
