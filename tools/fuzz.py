#!/usr/bin/env python3
"""fuzz: runs the libFuzzer targets and keeps what they found.

Usage: fuzz.py [--seconds N] [TARGET…]   all targets without one; N also from FUZZ_SECONDS, else 60
Builds with clang in build-fuzz (address, undefined behaviour, coverage). New inputs are merged into
fuzz/corpus/TARGET, at most 4 KiB each and 200 a target. Inputs that crash are left in
build-fuzz/crashes/TARGET and reported. The canary must be found failing. The last line counts.
"""
import argparse, glob, hashlib, os, re, shutil, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, 'build-fuzz')
CANARY = 'canary_fuzz'
INPUT_BYTES, INPUTS = 4096, 200
# The macro is explained in tools/tidy.py.
CXX_FLAGS = '-U__cpp_concepts -D__cpp_concepts=202002L -w'


def build(targets):
    if not os.path.exists(os.path.join(FOLDER, 'build.ninja')):
        subprocess.run(['cmake', '-G', 'Ninja', '-S', ROOT, '-B', FOLDER, '--log-level=WARNING',
                        '-DCMAKE_CXX_COMPILER=clang++-16', '-DCMAKE_C_COMPILER=clang-16',
                        f'-DCMAKE_CXX_FLAGS={CXX_FLAGS}', '-DCMAKE_BUILD_TYPE=Debug',
                        '-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1 -fno-omit-frame-pointer',
                        '-DWSCOPE_FUZZ=libfuzzer', '-DBUILD_TESTING=OFF',
                        '-DWSCOPE_SANITIZE=address,undefined,fuzzer-no-link'], check=True)
    if subprocess.run(['ninja', '--quiet', '-C', FOLDER, *(targets or ['fuzzers'])]).returncode:
        sys.exit('fuzz: the build failed')
    if targets:
        return targets
    query = subprocess.run(['ninja', '-C', FOLDER, '-t', 'targets', 'all'], check=True,
                           capture_output=True, text=True).stdout
    return sorted(set(re.findall(r'^(\w+_fuzz): ', query, re.M)))


def find_program(target):
    found = [p for p in glob.glob(f'{FOLDER}/**/{target}', recursive=True)
             if os.path.isfile(p) and os.access(p, os.X_OK)]
    if not found:
        sys.exit(f'fuzz: {target} is not in {FOLDER}')
    return found[0]


def fuzz(target, seconds):
    """Runs one target; returns the inputs that crash it."""
    program = find_program(target)
    corpus = os.path.join(ROOT, 'fuzz', 'corpus', target)
    crashes = os.path.join(FOLDER, 'crashes', target)
    os.makedirs(corpus, exist_ok=True)
    shutil.rmtree(crashes, ignore_errors=True)
    os.makedirs(crashes)
    with tempfile.TemporaryDirectory() as work:
        fresh, merged = os.path.join(work, 'fresh'), os.path.join(work, 'merged')
        os.mkdir(fresh)
        os.mkdir(merged)
        log = os.path.join(FOLDER, f'{target}.log')
        with open(log, 'w') as file:
            limits = [f'-max_len={INPUT_BYTES}', '-timeout=10', '-rss_limit_mb=2048']
            code = subprocess.run([program, fresh, corpus, f'-max_total_time={seconds}', *limits,
                                   f'-artifact_prefix={crashes}/', '-print_final_stats=1'],
                                  stdout=file, stderr=file).returncode
            if target != CANARY:
                subprocess.run([program, '-merge=1', *limits, merged, corpus, fresh],
                               stdout=file, stderr=file)
                keep(merged, corpus)
        with open(log, errors='replace') as file:
            runs = re.search(r'number_of_executed_units:\s*(\d+)', text := file.read())
    covered = (re.findall(r'cov: (\d+)', text) or ['?'])[-1]
    left = sorted(os.path.join(crashes, n) for n in os.listdir(crashes))
    print(f'{target}: {runs.group(1) if runs else "?"} runs, cov {covered}, '
          f'{len(os.listdir(corpus))} inputs kept, {len(left)} crash(es), exit {code}', flush=True)
    return left if left or code == 0 else [log]


def keep(merged, corpus):
    """Replaces the found inputs of the corpus by the merged ones, the smallest first."""
    if not os.listdir(merged):
        return
    kept = set()
    for name in os.listdir(merged):
        with open(os.path.join(merged, name), 'rb') as file:
            kept.add(file.read())
    for name in os.listdir(corpus):
        path = os.path.join(corpus, name)
        with open(path, 'rb') as file:
            data = file.read()
        # Hand-written seeds say in their name what they are for; the found ones are replaced.
        if not re.fullmatch(r'[0-9a-f]{40}', name):
            kept.discard(data)
        else:
            os.remove(path)
    room = max(0, INPUTS - len(os.listdir(corpus)))
    for data in sorted(kept, key=len)[:room]:
        if len(data) <= INPUT_BYTES:
            with open(os.path.join(corpus, hashlib.sha1(data).hexdigest()), 'wb') as file:
                file.write(data)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--seconds', type=int, default=int(os.environ.get('FUZZ_SECONDS', 60)))
    parser.add_argument('targets', nargs='*')
    options = parser.parse_args()
    passed = failed = 0
    for target in build(options.targets):
        began = time.monotonic()
        crashes = fuzz(target, options.seconds)
        good = bool(crashes) if target == CANARY else not crashes
        passed, failed = passed + good, failed + (not good)
        if target == CANARY:
            print(f'{CANARY}: {"found, as it must be" if good else "NOT FOUND: crashes go unseen"}')
        elif crashes:
            print(f'{target}: FAILED after {time.monotonic() - began:.0f} s:', *crashes)
    print(f'{passed} passed, {failed} failed')
    sys.exit(1 if failed else 0)


main()
