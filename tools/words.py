#!/usr/bin/env python3
"""words: committed text speaks of the product, not of the desk it was written at.

Usage: words.py ROOT        check every text file that git knows (or all files), exit 1 on a fault
       words.py --selftest  plant faults and require each to be found
Faults: absolute paths of one machine, hosts that packages came from, marks of unfinished work,
references to an issue by number, and words about who typed the text.
"""
import os, re, subprocess, sys, tempfile

# Written with one-letter classes so that this file does not match itself.
RULES = [
    ('a path of one machine', re.compile(r'(?<![\w.~}/])/(?:wor[k]|hom[e]/\w+|roo[t]|User[s]/\w+)/')),
    ('a path of one machine', re.compile(r'file[:]//')),
    ('a temporary path in a document', re.compile(r'(?<![\w.~}/])/tm[p]/\w'), ('.md', '.svg')),
    ('a host packages come from', re.compile(
        r'\b(?:deb\.debia[n]\.org|registry\.npmj[s]\.org|(?:files\.pythonhoste[d]|pyp[i])\.org'
        r'|(?:static\.|index\.)?crate[s]\.io|proxy\.golan[g]\.org|repo1?\.mave[n]\.\w+)\b')),
    ('unfinished work', re.compile(r'\b(?:TOD[O]|FIXM[E]|XX[X])\b')),
    ('an issue by its number', re.compile(r'\bissues?\s+#?[0-9]+\b|\bcloses\s+#[0-9]', re.I)),
    ('who typed it', re.compile(
        r'\bAI[- ](?:generate[d]|assiste[d])\b|\blanguage mode[l]\b|\bLL[M]s?\b|\bcoding agen[t]'
        r'|\bco-authored-b[y]\b|\bsub-?agen[t]|\bchatbo[t]|\bas you aske[d]\b', re.I)),
]
SKIP_FILES = re.compile(r'(^|/)(package-lock\.json|LICENSE)$|^fuzz/corpus/')


def listed(root):
    """What git tracks or would track; every file where there is no git."""
    git = subprocess.run(['git', '-C', root, 'ls-files', '-co', '--exclude-standard', '-z'],
                         capture_output=True)
    if git.returncode == 0:
        return [p for p in git.stdout.decode().split('\0') if p]
    found = []
    for where, _, names in os.walk(root):
        found += [os.path.relpath(os.path.join(where, n), root) for n in names]
    return found


def check_line(path, line):
    return [rule[0] for rule in RULES
            if rule[1].search(line) and (len(rule) < 3 or path.endswith(rule[2]))]


def check(root):
    faults = []
    for path in sorted(listed(root)):
        full = os.path.join(root, path)
        if SKIP_FILES.search(path) or not os.path.isfile(full):
            continue
        with open(full, 'rb') as file:
            data = file.read(1 << 20)
        if b'\0' in data:
            continue
        for number, line in enumerate(data.decode(errors='replace').split('\n'), 1):
            faults += [f'{path}:{number}: {kind}: {line.strip()[:80]}'
                       for kind in check_line(path, line)]
    return faults


def selftest():
    cases = [
        ('a.md', 'See ./docs/work/x.md, https://example.org/home/page and data/root/x\n', ''),
        ('a.md', 'The user agent, the session and the issue are words of the product.\n', ''),
        ('a.md', 'built in /wor' + 'k/tree/build\n', 'a path of one machine'),
        ('a.cc', '// see /hom' + 'e/jo/notes\n', 'a path of one machine'),
        ('a.md', 'written to /tm' + 'p/out\n', 'a temporary path'),
        ('a.py', 'folder = "/tm' + 'p/out"\n', ''),
        ('a.sh', 'curl https://registry.npmj' + 's.org/x\n', 'a host packages'),
        ('a.cc', '// TOD' + 'O later\n', 'unfinished work'),
        ('a.md', 'as issu' + 'e 12 says\n', 'an issue by its number'),
        ('a.md', 'written by a language mode' + 'l\n', 'who typed it'),
        ('fuzz/corpus/t/a', 'TOD' + 'O\n', ''),
    ]
    bad = 0
    for i, (path, text, want) in enumerate(cases):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), 'w') as file:
                file.write(text)
            got = '\n'.join(check(root))
        ok = (want in got) if want else got == ''
        bad += not ok
        print('ok  ' if ok else 'FAIL', i, want or '(no fault)', '' if ok else repr(got))
    return bad


def main():
    if sys.argv[1:] == ['--selftest']:
        sys.exit(1 if selftest() else 0)
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    faults = check(sys.argv[1])
    print('\n'.join(faults) if faults else 'words: clean')
    sys.exit(1 if faults else 0)


main()
