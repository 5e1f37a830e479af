#!/usr/bin/env python3
"""install_test: what is installed can be used by a project that knows nothing of this tree.

Usage: install_test.py BUILD_FOLDER
Installs into a temporary prefix, configures examples/embed against it, builds it, runs it, and reads
its exposition: the counter and the histogram that it registered must be there with their values.
The installed program must tell its version.
"""
import os, re, shutil, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(*command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=300)
    if done.returncode:
        sys.exit(f'install: {" ".join(command)} ended with {done.returncode}\n{done.stdout}')
    return done.stdout


def main():
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as top:
        prefix, source, work = (os.path.join(top, n) for n in ('prefix', 'embed', 'work'))
        run('cmake', '--install', build, '--prefix', prefix)
        # A copy outside the tree: nothing may be found by its relative place.
        shutil.copytree(os.path.join(ROOT, 'examples', 'embed'), source)
        run('cmake', '-G', 'Ninja', '-S', source, '-B', work, f'-DCMAKE_PREFIX_PATH={prefix}',
            '-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF')
        run('ninja', '-C', work)
        text = run(os.path.join(work, 'embed'))
        version = run(os.path.join(prefix, 'bin', 'wscope'), 'version')
    wanted = [r'^# TYPE jobs_done_total counter$', r'^jobs_done_total\{kind="import"\} 3(\.0)?$',
              r'^# TYPE job_seconds histogram$', r'^job_seconds_bucket\{le="\+Inf"\} 3$',
              r'^job_seconds_bucket\{le="0\.1"\} 2$', r'^job_seconds_count 3$']
    lost = [w for w in wanted if not re.search(w, text, re.M)]
    if lost:
        sys.exit(f'install: not in the exposition: {lost}\n{text}')
    if not re.search(r'\b\d+\.\d+\.\d+\b', version):
        sys.exit(f'install: `wscope version` says {version!r}')
    print('install: the example builds against the installed library and runs')


main()
