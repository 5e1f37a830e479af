#!/usr/bin/env python3
"""size: keep functions, files and lines of the C++ sources within what a reader holds in mind.

Usage: size.py ROOT        check ROOT, print every fault, exit 1 if any
       size.py --selftest  plant faults and require each to be found
Limits: a function 70 lines, a file 800 (500 wanted), a line 100 columns. ALLOWED is a ratchet: it
names what may be over, by 'path' or 'path:function'; an entry that is no longer needed is a fault.
"""
import os, re, sys, tempfile

FUNCTION_LINES, FILE_LINES, COLUMNS = 70, 800, 100
FOLDERS = ('src', 'bench', 'fuzz', 'examples', 'tests')
ALLOWED = set()

# Literals and comments, in the order in which a scanner must try them.
OPAQUE = re.compile(r'R"(?P<d>[^()\\\s]{0,16})\(.*?\)(?P=d)"'
                    r'|//[^\n]*|/\*.*?\*/'
                    r'|"(?:\\.|[^"\\\n])*"'
                    r"|(?<![0-9A-Za-z_])(?:u8|[uUL])?'(?:\\.|[^'\\\n])+'", re.S)
DIRECTIVE = re.compile(r'^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', re.M)
CONTAINER = re.compile(r'\b(namespace|class|struct|union|enum|extern\s*"")')
NAME = re.compile(r'([~\w:<>]+|operator\s*\S+?)\s*\(')


def blank(match):
    """The same lines with nothing on them; a literal stays a literal."""
    text = match.group(0)
    return ('""' if text[0] in '"\'RuUL' else '') + '\n' * text.count('\n')


def functions(text):
    """Yields (name, first line, lines) of every function body at namespace or class scope."""
    text = DIRECTIVE.sub(blank, OPAQUE.sub(blank, text))
    stack, head, line = [], 0, 1
    line_of_head = None
    for at, c in enumerate(text):
        if c == '\n':
            line += 1
        elif line_of_head is None and not c.isspace():
            head, line_of_head = at, line
        if c == '{':
            before = text[head:at]
            inside = bool(stack) and stack[-1][0] != 'container'
            kind = 'inner' if inside else classify(before)
            stack.append((kind, before, line_of_head or line))
            if kind in ('container',):
                line_of_head = None
        elif c == '}' and stack:
            kind, before, first = stack.pop()
            if kind == 'function':
                name = NAME.search(before)
                yield (name.group(1) if name else '?'), first, line - first + 1
            if kind in ('function', 'container') or not stack:
                line_of_head = None
        elif c == ';' and (not stack or stack[-1][0] == 'container'):
            line_of_head = None


def classify(before):
    """What a brace opens: a container of declarations, a function's body, or a value."""
    if before.rstrip().endswith('='):
        return 'value'
    bare = re.sub(r'template\s*<[^{;]*?>\s*(?=\w)', '', before)
    if CONTAINER.search(bare.split('(')[0]) and not re.search(r'\)\s*(const|noexcept|->.*)?\s*$', bare):
        return 'container'
    if '(' in before:
        # A member's brace initialiser before the body (": a_{1}") belongs to the same head.
        if re.search(r'\)\s*:.*[\w>]\s*$', before, re.S) or re.search(r',\s*\w+_\s*$', before):
            return 'value'
        return 'function'
    return 'value'


def check_text(path, text):
    faults = {}
    count = text.count('\n') + (not text.endswith('\n'))
    if count > FILE_LINES:
        faults[path] = f'{path}: {count} lines, at most {FILE_LINES}'
    for number, line in enumerate(text.split('\n'), 1):
        if len(line) > COLUMNS:
            faults[f'{path}:{number}'] = f'{path}:{number}: {len(line)} columns, at most {COLUMNS}'
    for name, first, lines in functions(text):
        if lines > FUNCTION_LINES:
            faults[f'{path}:{name}'] = (f'{path}:{first}: {name} has {lines} lines, '
                                        f'at most {FUNCTION_LINES}')
    return faults


def check(root, allowed=frozenset()):
    faults = {}
    for folder in FOLDERS:
        for where, subfolders, names in os.walk(os.path.join(root, folder)):
            subfolders[:] = [s for s in subfolders if not s.startswith(('.', 'build', 'node_modules'))]
            for name in names:
                if name.endswith(('.h', '.cc')):
                    path = os.path.join(where, name)
                    with open(path, errors='replace') as file:
                        faults.update(check_text(os.path.relpath(path, root), file.read()))
    over = [text for key, text in faults.items() if key not in allowed]
    return over + [f'{key}: allowed to be over, but is not' for key in allowed if key not in faults]


def selftest():
    long_body = '  x += 1;\n' * 75
    short_body = '  x += 1;\n' * 10
    tricky = ('// {{{ "\nconst char* s = R"(\n} {)"; char c = \'{\';\n#define M(x) { \\\n  x }\n'
              'constexpr int n = 1\'000;\n')
    cases = [
        (tricky + f'namespace a {{\nint f(int x) {{\n{short_body}}}\n}}\n', ''),
        (f'namespace a {{\nint f(int x) {{\n{long_body}}}\n}}\n', 'f has 77 lines'),
        (tricky + f'namespace a {{\nint f(int x) {{\n{long_body}}}\n}}\n', 'f has 77 lines'),
        (f'class B : public C {{\n  B(int x) : y_{{x}}, z_(x) {{\n{long_body}}}\n}};\n', 'B has 77'),
        (f'template <class T>\nstruct S {{\n  auto g() const -> int {{\n{long_body}}}\n}};\n', 'g has'),
        (f'TEST(Suite, Name) {{\n{long_body}}}\n', 'TEST has 77'),
        (f'int h() {{\n  auto l = [](int x) {{\n{long_body}  }};\n}}\n', 'h has'),
        ('struct Row { int a; };\nRow const rows[] = {\n' + '  {1},\n' * 90 + '};\n', ''),
        ('enum class E {\n' + '  a,\n' * 90 + '};\n', ''),
        ('int x;\n' * 801, '801 lines'),
        ('// ' + 'x' * 100 + '\n', '103 columns'),
    ]
    bad = 0
    for i, (text, want) in enumerate(cases):
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(os.path.join(root, 'src'))
            with open(os.path.join(root, 'src', 'x.cc'), 'w') as file:
                file.write(text)
            got = '\n'.join(check(root))
            ok = (want in got) if want else got == ''
            if want and 'lines' in want:
                ok = ok and check(root, {'src/none.cc'})[-1].endswith('but is not')
        bad += not ok
        print('ok  ' if ok else 'FAIL', i, want or '(no fault)', '' if ok else repr(got))
    return bad


def main():
    if sys.argv[1:] == ['--selftest']:
        sys.exit(1 if selftest() else 0)
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    faults = check(sys.argv[1], ALLOWED)
    print('\n'.join(sorted(faults)) if faults else 'size: clean')
    sys.exit(1 if faults else 0)


main()
