#!/usr/bin/env python3
"""docs: what the documents claim about the tree is so.

Usage: docs.py ROOT        check every *.md, print every fault, exit 1 if any
       docs.py --selftest  plant faults and require each to be found
Faults: a relative link to a file that is not there; a ```layers block that differs from LAYERS; a
`./dev VERB` that dev does not list; a module's README of more than 30 lines.
"""
import os, re, sys, tempfile

LINK = re.compile(r'\]\(([^)#\s]+)(?:#[^)]*)?\)')
VERB = re.compile(r'\./dev ([a-z]+)')


def laws(text):
    """The lines of a LAYERS text that say something, with single blanks."""
    lines = (re.sub(r'\s+', ' ', line.split('#')[0]).strip() for line in text.split('\n'))
    return [line for line in lines if line]


def read(path):
    with open(path, errors='replace') as file:
        return file.read()


def check(root):
    faults = []
    verbs = set(re.findall(r'^  ([a-z]+) ', read(os.path.join(root, 'dev')), re.M))
    law = laws(read(os.path.join(root, 'LAYERS')))
    for where, folders, names in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(('.', 'build', 'node_modules', 'data'))]
        for name in names:
            if not name.endswith('.md'):
                continue
            path = os.path.join(where, name)
            shown, text = os.path.relpath(path, root), read(path)
            for link in LINK.findall(text):
                if '://' not in link and not os.path.exists(os.path.join(where, link)):
                    faults.append(f'{shown}: link to {link}, which is not there')
            for verb in VERB.findall(text):
                if verb not in verbs:
                    faults.append(f'{shown}: ./dev has no verb {verb}')
            for block in re.findall(r'```layers\n(.*?)```', text, re.S):
                if laws(block) != law:
                    faults.append(f'{shown}: its LAYERS is not the one of the file')
            if re.fullmatch(r'src/\w+/README\.md', shown) and text.count('\n') > 30:
                faults.append(f'{shown}: {text.count(chr(10))} lines, at most 30')
    return faults


def selftest():
    cases = [
        ({}, ''),
        ({'a.md': '[x](dev) [y](https://e.org/z) ./dev test\n```layers\na: # word\nb:  a\n```\n'}, ''),
        ({'a.md': '[x](none.md)\n'}, 'link to none.md'),
        ({'docs/a.md': '[x](dev)\n'}, 'link to dev'),
        ({'a.md': 'Run ./dev fly.\n'}, 'no verb fly'),
        ({'a.md': '```layers\na:\nb:\n```\n'}, 'its LAYERS'),
        ({'src/a/README.md': 'x\n' * 31}, '31 lines'),
    ]
    bad = 0
    for i, (files, want) in enumerate(cases):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {'dev': '  test   run\n', 'LAYERS': 'a:\nb: a\n', **files}.items():
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
    print('\n'.join(faults) if faults else 'docs: clean')
    sys.exit(1 if faults else 0)


main()
