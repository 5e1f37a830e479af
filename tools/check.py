#!/usr/bin/env python3
"""check: what ./dev test, lint and fmt do. Each check is counted; a failure does not stop the rest.

Usage: check.py test [PART…]   all parts, or the named ones: lint build unit asan tsan install e2e soak
       check.py lint           format, clang-tidy, sizes, words, layers, and the tests of these tools
       check.py fmt            format the sources in place
The last line of test and lint is `N passed, N failed[, N skipped]`; exit 1 if any failed.
"""
import glob, json, os, re, shutil, subprocess, sys, time
import xml.etree.ElementTree as xml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FORMAT = 'clang-format-14'
THREADED = ('runtime', 'telemetry', 'net', 'gateway', 'ingest', 'app')
DEBUG = ['-DCMAKE_BUILD_TYPE=Debug', '-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1 -fno-omit-frame-pointer']
SANITIZERS = {
    'ASAN_OPTIONS': 'detect_stack_use_after_return=1:strict_string_checks=1',
    'UBSAN_OPTIONS': 'print_stacktrace=1',
    'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1',
}


class Counts:
    """What a part adds up. The reason of every failure and skip is printed as it happens."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def ok(self, count=1):
        self.passed += count

    def fail(self, what, count=1):
        self.failed += count
        print(f'FAILED  {what}', flush=True)

    def skip(self, what, count=1):
        self.skipped += count
        print(f'skipped {what}', flush=True)

    def check(self, what, good):
        self.ok() if good else self.fail(what)
        return good

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        skipped = f', {self.skipped} skipped' if self.skipped else ''
        return f'{self.passed} passed, {self.failed} failed{skipped}'


def run(*command, quiet=False, env=None):
    """Exit code of a command in the root; when quiet its output is shown only if it failed."""
    sys.stdout.flush()
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(env or {})}, text=True, errors='replace',
                          stdout=subprocess.PIPE if quiet else None,
                          stderr=subprocess.STDOUT if quiet else None)
    if quiet and done.returncode:
        print(done.stdout, end='', flush=True)
    return done.returncode


def tool(name, *arguments):
    return run(sys.executable, os.path.join('tools', name), *arguments, quiet=True)


def sources():
    found = []
    for folder in ('src', 'bench', 'fuzz', 'examples', 'tests'):
        for ending in ('h', 'cc'):
            found += glob.glob(f'{ROOT}/{folder}/**/*.{ending}', recursive=True)
    return sorted(f for f in found if '/build' not in f[len(ROOT):])


def part_lint(counts):
    if shutil.which(FORMAT):
        done = subprocess.run([FORMAT, '--dry-run', *sources()], capture_output=True, text=True)
        bad = sorted(set(re.findall(r'^(\S+?):\d+:\d+: warning', done.stderr, re.M)))
        counts.check(f'format (./dev fmt mends it): {" ".join(os.path.relpath(b, ROOT) for b in bad)}',
                     done.returncode == 0 and not bad)
    else:
        counts.skip(f'format: {FORMAT} is not installed')
    for name in ('size.py', 'words.py', 'docs.py', 'layers.py'):
        counts.check(name, tool(name, '.') == 0)
        counts.check(f'{name} --selftest', tool(name, '--selftest') == 0)
    code = tool('tidy.py', '--selftest')
    if code == 3:
        counts.skip('clang-tidy: not installed', 2)
        return
    counts.check('tidy.py --selftest', code == 0)
    counts.check('clang-tidy', tool('tidy.py') == 0)


def configure(folder, *flags):
    if os.path.exists(os.path.join(ROOT, folder, 'build.ninja')):
        return True
    return run('cmake', '-G', 'Ninja', '-S', '.', '-B', folder, *flags, quiet=True) == 0


def targets_of(folder, *endings):
    """Names of the programs of a build folder that end so."""
    query = subprocess.run(['ninja', '-C', folder, '-t', 'targets', 'all'], cwd=ROOT,
                           capture_output=True, text=True).stdout
    return sorted(t for t in set(re.findall(r'^(\w+): phony', query, re.M)) if t.endswith(endings))


def ninja(folder, *targets):
    # -k 0: what builds is tested even when something else does not build.
    return run('ninja', '--quiet', '-k', '0', '-C', folder, *targets, quiet=True) == 0


def part_build(counts):
    if not configure('build', '-DCMAKE_BUILD_TYPE=RelWithDebInfo', '-DWSCOPE_WERROR=ON'):
        counts.fail('configuring build/')
        return
    counts.check('building with -Werror', ninja('build', 'all'))
    counts.check('every header compiles alone', ninja('build', 'all_verify_interface_header_sets'))


def ctest(counts, folder, what, *arguments):
    """Runs ctest and counts single GoogleTest cases; any other test counts as one."""
    results = os.path.join(ROOT, folder, 'results')
    shutil.rmtree(results, ignore_errors=True)
    os.makedirs(results)
    listing = subprocess.run(['ctest', '--test-dir', folder, '--show-only=json-v1', *arguments],
                             cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        counts.fail(f'{what}: ctest can not list its tests')
        return
    tests = {t['name']: t.get('command') for t in json.loads(listing.stdout)['tests']}
    if not tests:
        counts.fail(f'{what}: no test')
        return
    junit = os.path.join(results, 'ctest.xml')
    run('ctest', '--test-dir', folder, '--output-on-failure', '-j', str(os.cpu_count() or 1),
        '--timeout', '300', '--output-junit', junit, *arguments, quiet=True,
        env={**SANITIZERS, 'GTEST_OUTPUT': f'xml:{results}/', 'GTEST_COLOR': 'no'})
    status = {c.get('name'): c.get('status') for c in xml.parse(junit).getroot().iter('testcase')}
    for name, command in tests.items():
        program = os.path.basename(command[0]) if command else name
        count_one(counts, f'{what}: {name}', status.get(name) == 'run',
                  os.path.join(results, f'{program}.xml'))


def count_one(counts, what, good, report):
    if not os.path.exists(report):
        counts.check(what, good)
        return
    failed = 0
    for case in xml.parse(report).getroot().iter('testcase'):
        name = f'{what}: {case.get("classname")}.{case.get("name")}'
        if case.find('failure') is not None:
            failed += 1
            counts.fail(name)
        elif case.find('skipped') is not None or case.get('result') == 'skipped':
            counts.skip(name)
        elif case.get('status') == 'run':
            counts.ok()
    if not good and not failed:  # every case passed, yet the program did not: a leak, an exit code
        counts.fail(what)


def part_unit(counts):
    # The layers checks have run in the lint part.
    ctest(counts, 'build', 'unit', '--exclude-regex', '^layers')


def sanitized(counts, folder, sanitizer, endings, labels, only=None):
    if not configure(folder, *DEBUG, f'-DWSCOPE_SANITIZE={sanitizer}'):
        counts.fail(f'configuring {folder}/')
        return
    targets = [t for t in targets_of(folder, *endings) if not only or t.rsplit('_', 1)[0] in only]
    if not targets:
        counts.skip(f'{sanitizer}: no test programs')
        return
    counts.check(f'building with {sanitizer}', ninja(folder, *targets))
    chosen = ['--label-regex', labels]
    if only:
        chosen += ['--tests-regex', f'^({"|".join(only)})$']
    ctest(counts, folder, sanitizer, *chosen)


def part_asan(counts):
    sanitized(counts, 'build-asan', 'address,undefined', ('_test', '_fuzz'), '^(unit|fuzz)$')


def part_tsan(counts):
    sanitized(counts, 'build-tsan', 'thread', ('_test',), '^unit$', THREADED)


def part_install(counts):
    if not os.path.isdir(os.path.join(ROOT, 'examples', 'embed')):
        counts.skip('install: no examples/embed')
        return
    counts.check('install and find_package(wscope)', tool('install_test.py', 'build') == 0)


def part_e2e(counts):
    if not glob.glob(f'{ROOT}/tests/*/test_*.py'):
        counts.skip('integration tests: none in tests/')
        return
    report = os.path.join(ROOT, 'build', 'integration.json')
    os.makedirs(os.path.dirname(report), exist_ok=True)
    if os.path.exists(report):
        os.remove(report)
    code = run('/usr/bin/python3', 'tools/run_tests.py', '--json', report,
               env={'WSCOPE_BIN': os.path.join(ROOT, 'build', 'wscope')})
    if not os.path.exists(report):
        counts.fail(f'integration tests ended with {code} and no result')
        return
    with open(report) as file:
        result = json.load(file)
    counts.ok(result['passed'])
    counts.skipped += result['skipped']
    if result['failed']:
        counts.fail(f"{result['failed']} integration tests", result['failed'])


def part_soak(counts):
    if not os.path.exists(os.path.join(ROOT, 'tests', 'soak', 'soak.py')):
        counts.skip('soak: no tests/soak/soak.py')
        return
    counts.check('soak --short', run('/usr/bin/python3', 'tests/soak/soak.py', '--short') == 0)


PARTS = {'lint': part_lint, 'build': part_build, 'unit': part_unit, 'asan': part_asan,
         'tsan': part_tsan, 'install': part_install, 'e2e': part_e2e, 'soak': part_soak}


def run_parts(names):
    total = Counts()
    for name in names:
        print(f'== {name}', flush=True)
        began, counts = time.monotonic(), Counts()
        try:
            PARTS[name](counts)
        except Exception as error:  # a broken part is a failed check, and the others still run
            counts.fail(f'{name}: {type(error).__name__}: {error}')
        print(f'== {name:<8} {time.monotonic() - began:7.1f} s  {counts}', flush=True)
        total.add(counts)
    print(total)
    sys.exit(1 if total.failed or not total.passed else 0)


def main():
    verb, names = (sys.argv[1] if len(sys.argv) > 1 else ''), sys.argv[2:]
    if verb == 'test' and all(n in PARTS for n in names):
        run_parts(names or list(PARTS))
    elif verb == 'lint' and not names:
        run_parts(['lint'])
    elif verb == 'fmt' and not names:
        sys.exit(run(FORMAT, '-i', *sources()))
    else:
        sys.exit(__doc__)


main()
