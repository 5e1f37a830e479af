#!/usr/bin/python3
"""Runs the end-to-end tests: all, or those whose name contains one of the arguments.

    tests/e2e/run.py [-v] [django lifecycle …]

The last line is `N passed, N failed, N skipped`; the exit code is 1 when anything failed.
"""

import os
import sys
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


class Result(unittest.TextTestResult):
    """Counts what passed and prints each test with its time."""

    passed = 0

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        spent = time.monotonic() - self.began
        if spent > 5:
            self.stream.writeln("    (%s: %.1f s)" % (test.id(), spent))

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def _flat(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from _flat(part)
        else:
            yield part


def main(arguments):
    verbose = 2 if "-v" in arguments else 1
    wanted = [word for word in arguments if not word.startswith("-")]
    suite = unittest.TestSuite()
    for test in _flat(unittest.defaultTestLoader.discover(HERE, top_level_dir=HERE)):
        if not wanted or any(word in test.id() for word in wanted):
            suite.addTest(test)
    runner = unittest.TextTestRunner(stream=sys.stderr, verbosity=verbose, resultclass=Result)
    began = time.monotonic()
    result = runner.run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    if result.testsRun == 0 and not failed:
        failed = 1
        print("no test has such a name", file=sys.stderr)
    sys.stderr.flush()
    print("end-to-end: %.0f s" % (time.monotonic() - began))
    print("%d passed, %d failed, %d skipped" % (result.passed, failed, len(result.skipped)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
