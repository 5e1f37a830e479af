#!/usr/bin/env python3
"""run_tests: runs Python unittest suites file by file, each in a process and a time limit of its own.

Usage: run_tests.py [--json FILE] [--timeout SECONDS] [-k WORD] [FOLDER|FILE…]
Default: every tests/*/ that has a test_*.py. Prints each test with its duration; the last line is
`N passed, N failed[, N skipped]`, which --json also writes as {"passed":…,"failed":…,"skipped":…}.
A file that dies, hangs or cannot be imported counts as one failure.
"""
import argparse, glob, json, os, signal, subprocess, sys, tempfile, time, unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Result(unittest.TextTestResult):
    """Counts per test, and says after each one how it went, so that a hang loses nothing."""

    def __init__(self, stream, descriptions, verbosity, counts_path=None):
        super().__init__(stream, descriptions, 0)
        self.counts = {'passed': 0, 'failed': 0, 'skipped': 0}
        self.counts_path, self.bad = counts_path, None

    def startTest(self, test):
        super().startTest(test)
        self.began, self.word = time.monotonic(), 'ok'

    def stopTest(self, test):
        super().stopTest(test)
        self.note(test, self.word, time.monotonic() - self.began)

    def note(self, test, word, seconds):
        kind = {'ok': 'passed', 'FAIL': 'failed'}.get(word.split(':')[0], 'skipped')
        self.counts[kind] += 1
        print(f'  {word:<6} {seconds:7.2f} s  {test.id()}', flush=True)
        with open(self.counts_path, 'w') as file:
            json.dump(self.counts, file)

    def broken(self, test, error, show):
        self.word = 'FAIL'
        print(self._exc_info_to_string(error, show), flush=True)
        if not hasattr(test, '_testMethodName'):  # setUpClass or setUpModule: no test of its own
            self.note(test, 'FAIL', 0)

    def addError(self, test, err):
        self.broken(test, err, test)

    def addFailure(self, test, err):
        self.broken(test, err, test)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            print(f'  in {subtest.id()}:')
            self.broken(test, err, test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if hasattr(self, 'began') and hasattr(test, '_testMethodName'):
            self.word = f'skip: {reason}'
        else:
            self.note(test, f'skip: {reason}', 0)

    def addUnexpectedSuccess(self, test):
        self.word = 'FAIL'
        print('  expected to fail, but passed')


def child(path, counts_path, word):
    folder, name = os.path.split(path)
    sys.path.insert(0, folder)
    loader = unittest.TestLoader()
    if word:
        loader.testNamePatterns = [f'*{word}*']
    suite = loader.loadTestsFromName(name.removesuffix('.py'))
    result = Result(unittest.runner._WritelnDecorator(sys.stderr), False, 0, counts_path)
    suite.run(result)
    if result.testsRun == 0 and not word and not any(result.counts.values()):
        print(f'  {name}: no test in it')
        sys.exit(1)
    sys.exit(0)


def run_file(path, timeout, word):
    with tempfile.TemporaryDirectory() as folder:
        counts_path = os.path.join(folder, 'counts')
        command = [sys.executable, os.path.abspath(__file__), '--child', path, counts_path, word]
        # A session of its own: whatever a hung test started ends with it.
        process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = f'still running after {timeout} s'
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        counts = {'passed': 0, 'failed': 0, 'skipped': 0}
        if os.path.exists(counts_path):
            with open(counts_path) as file:
                counts = json.load(file)
    if code != 0:
        print(f'  FAIL   {os.path.relpath(path, ROOT)} ended with {code}', flush=True)
        counts['failed'] += 1
    return counts


def files_of(places):
    if not places:
        places = sorted(glob.glob(os.path.join(ROOT, 'tests', '*', '')))
    files = []
    for place in places:
        found = sorted(glob.glob(os.path.join(place, 'test_*.py'))) if os.path.isdir(place) else [place]
        files += [os.path.abspath(f) for f in found]
    return files


def summary(counts):
    skipped = f", {counts['skipped']} skipped" if counts['skipped'] else ''
    return f"{counts['passed']} passed, {counts['failed']} failed{skipped}"


def main():
    if sys.argv[1:2] == ['--child']:
        child(*sys.argv[2:5])
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--json')
    parser.add_argument('--timeout', type=float, default=600)
    parser.add_argument('-k', default='')
    parser.add_argument('places', nargs='*')
    options = parser.parse_args()
    os.environ.setdefault('WSCOPE_BIN', os.path.join(ROOT, 'build', 'wscope'))
    total = {'passed': 0, 'failed': 0, 'skipped': 0}
    for path in files_of(options.places):
        print(os.path.relpath(path, ROOT), flush=True)
        for kind, count in run_file(path, options.timeout, options.k).items():
            total[kind] += count
    if options.json:
        with open(options.json, 'w') as file:
            json.dump(total, file)
    print(summary(total))
    sys.exit(1 if total['failed'] else 0)


main()
