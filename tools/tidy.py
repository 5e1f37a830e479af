#!/usr/bin/env python3
"""tidy: clang-tidy over the sources, only over what changed since it last passed.

Usage: tidy.py [--jobs N] [FILE…]   all of src/, bench/, fuzz/ and examples/ without a FILE
       tidy.py --selftest           plant a fault in a source and in a header; both must be found
A file passed if it passed with the same text, the same headers of the project, the same .clang-tidy
and the same command; build/tidy/passed.json remembers that by hash. Exit 1 on a warning, 3 when
clang-tidy is not there. The compile commands come from a clang configuration of its own
(build/tidy, configured, never built): GCC's flags and precompiled headers are not clang's.
"""
import concurrent.futures, hashlib, json, os, re, shutil, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, 'build', 'tidy')
TIDY, CLANG = 'clang-tidy-16', 'clang++-16'
# GCC 12's <expected> asks for a later concepts macro than clang 16 announces, not for more of it.
# -w: compiler warnings are GCC's to give, in the build.
CLANG_FLAGS = '-U__cpp_concepts -D__cpp_concepts=202002L -w'
# Tests are mostly GoogleTest's macros: what can go wrong unseen in a test, in a third of the time.
TEST_CHECKS = ('-*,bugprone-use-after-move,bugprone-unused-raii,bugprone-suspicious-semicolon,'
               'bugprone-terminating-continue,modernize-use-override')
INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.M)


def configure():
    if not os.path.exists(os.path.join(FOLDER, 'build.ninja')):
        subprocess.run(['cmake', '-G', 'Ninja', '-S', ROOT, '-B', FOLDER, '--log-level=WARNING',
                        f'-DCMAKE_CXX_COMPILER={CLANG}', '-DCMAKE_C_COMPILER=clang-16',
                        f'-DCMAKE_CXX_FLAGS={CLANG_FLAGS}', '-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON',
                        '-DWSCOPE_BENCH=ON'], check=True, stdout=subprocess.DEVNULL)
    else:  # new files come in by globs, which ninja looks at
        subprocess.run(['ninja', '--quiet', '-C', FOLDER, 'build.ninja'], check=True)
    with open(os.path.join(FOLDER, 'compile_commands.json')) as file:
        return {os.path.normpath(os.path.join(c['directory'], c['file'])): c['command']
                for c in json.load(file)}


def headers(path, seen):
    """Every file of the project that `path` includes, directly or not."""
    with open(path, 'rb') as file:
        text = file.read()
    for name in INCLUDE.findall(text):
        for base in (os.path.join(ROOT, 'src'), os.path.dirname(path), ROOT):
            full = os.path.normpath(os.path.join(base, name.decode()))
            if os.path.isfile(full):
                if full not in seen:
                    seen.add(full)
                    headers(full, seen)
                break
    return seen


def key(path, command):
    digest = hashlib.sha256((command + TEST_CHECKS).encode())
    for name in [path, *sorted(headers(path, set())), os.path.join(ROOT, '.clang-tidy')]:
        with open(name, 'rb') as file:
            digest.update(name.encode() + b'\0' + hashlib.sha256(file.read()).digest())
    return digest.hexdigest()


def run(path):
    start = time.monotonic()
    fewer = [f'--checks={TEST_CHECKS}'] if path.endswith('_test.cc') else []
    done = subprocess.run([TIDY, '-p', FOLDER, '--quiet', *fewer, path], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    noise = '' if done.returncode == 0 else done.stderr
    return path, done.returncode, done.stdout + noise, time.monotonic() - start


def load(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def wanted(commands, files):
    names = [os.path.abspath(f) for f in files]
    folders = tuple(os.path.join(ROOT, f) + os.sep for f in ('src', 'bench', 'fuzz', 'examples'))
    return sorted(f for f in commands if (f in names if names else f.startswith(folders)))


def selftest():
    """The checks see a moved-from string in a source and a slow loop in a header it includes."""
    with tempfile.TemporaryDirectory() as top:
        folder = os.path.join(top, 'src')
        os.mkdir(folder)
        source, header = os.path.join(folder, 'a.cc'), os.path.join(folder, 'a.h')
        with open(header, 'w') as file:
            file.write('#pragma once\n#include <string>\n#include <vector>\n'
                       'inline size_t f(std::vector<std::string> const& v) {\n  size_t n = 0;\n'
                       '  for (auto const s : v) n += s.size();\n  return n;\n}\n')
        with open(source, 'w') as file:
            file.write('#include "a.h"\n#include <utility>\nvoid take(std::string);\n'
                       'size_t g(std::string s) { take(std::move(s)); return s.size(); }\n')
        done = subprocess.run([TIDY, f'--config-file={ROOT}/.clang-tidy', source, '--', '-std=c++2b',
                               *CLANG_FLAGS.split()], capture_output=True, text=True)
    wanted = ['bugprone-use-after-move', 'performance-for-range-copy']
    lost = [w for w in wanted if w not in done.stdout]
    print(f'tidy: not found: {lost}\n{done.stdout}' if lost else 'tidy: planted faults found')
    return bool(lost) or done.returncode == 0


def main():
    arguments = sys.argv[1:]
    jobs = os.cpu_count() or 1
    if arguments[:1] == ['--jobs']:
        jobs, arguments = int(arguments[1]), arguments[2:]
    if not shutil.which(TIDY) or not shutil.which(CLANG):
        print(f'tidy: {TIDY} and {CLANG} are not installed (./dev setup)')
        sys.exit(3)
    if arguments == ['--selftest']:
        sys.exit(selftest())
    commands = configure()
    store = os.path.join(FOLDER, 'passed.json')
    passed = load(store)
    files = wanted(commands, arguments)
    keys = {f: key(f, commands[f]) for f in files}
    todo = [f for f in files if passed.get(os.path.relpath(f, ROOT)) != keys[f]]
    todo.sort(key=os.path.getsize, reverse=True)  # the long ones first, so that no core waits
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for path, code, output, seconds in pool.map(run, todo):
            name = os.path.relpath(path, ROOT)
            if code == 0:
                passed[name] = keys[path]
            else:
                failed += 1
                print(f'{output.rstrip()}\ntidy: {name} has faults ({seconds:.1f} s)', flush=True)
            with open(store, 'w') as file:
                json.dump(passed, file, indent=0, sort_keys=True)
    print(f'tidy: {len(files)} files, {len(todo)} read, {failed} with faults')
    sys.exit(1 if failed else 0)


main()
