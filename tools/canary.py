#!/usr/bin/env python3
"""canary: a fuzz target that must fail, fails, and its input is kept.

Usage: canary.py PROGRAM CORPUS_FOLDER   exit 0 only if the crash was found, reported and kept
"""
import os, subprocess, sys, tempfile

SECONDS = 60
MAGIC = b'wsc!'


def main():
    program, corpus = (os.path.abspath(p) for p in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run([program, corpus], cwd=folder, timeout=SECONDS, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        kept = [open(os.path.join(folder, n), 'rb').read() for n in os.listdir(folder)]
    faults = []
    if run.returncode == 0:
        faults.append('the canary ran to its end: crashes go unseen')
    if not any(k.startswith(MAGIC) for k in kept):
        faults.append(f'the input that crashes was not kept: {kept}')
    if 'input kept in' not in run.stdout and 'Test unit written' not in run.stdout:
        faults.append('the output does not say where the input is')
    for fault in faults:
        print('canary:', fault)
    if faults:
        print(run.stdout)
        sys.exit(1)
    print(f'canary: found (exit {run.returncode})')


main()
