# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Constants of C sources, and the tests that their comments name.

    /*
     * Why it is what it is.
     * Breaks: /auto-converge/law/burst,
     *         /auto-converge/law/calm
     */
    #define BURST 1.5

A note counts for all constants that follow its comment without a gap.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

NOTE = re.compile(r'\bBreaks:((?:[\s*]*/[\w/-]+,?)+)')
TEST = re.compile(r'/[\w/-]*\w')
DEFINE = re.compile(r'#define[ \t]+(\w+)[ \t]+(\S.*)', re.DOTALL)
INTEGER = re.compile(r'\(?(\d+)[uUlL]*\)?')
TRAILING_COMMENT = re.compile(r'[ \t]*/\*.*?\*/[ \t]*$')

# Integers up to this are counts, and one more or less is the least change.
SMALL_INTEGER_MAX = 16

BY_ONE = ('{} + 1', '{} - 1')
# A quotient of integers, so that it does for integers as well.
BY_HALF = ('{} * 3 / 2', '{} * 2 / 3')

# Where the usual change says nothing, by name: what to put in its place. With
# nothing there, it is a guard of the arithmetic, and no test can tell.
EXCEPTIONS: Dict[str, Tuple[str, ...]] = {
    # Less than 2^63 ns, and more than a vCPU is owed or credited
    'EXECUTED_MAX_NS': (),
    'PERIODS_MAX': (),
}


@dataclass(frozen=True)
class Constant:
    """One #define, and what its comment says."""
    path: str
    name: str
    value: str
    first: int               # line in its file, from 0
    end: int                 # the line after it
    tests: Tuple[str, ...]   # which break when it changes
    explained: bool          # a comment of its own stands above it

    def changes(self) -> Tuple[str, ...]:
        """The values that stand in for its own, one after the other."""
        integer = INTEGER.fullmatch(self.value)
        small = integer and int(integer.group(1)) <= SMALL_INTEGER_MAX
        forms = EXCEPTIONS.get(self.name, BY_ONE if small else BY_HALF)
        return tuple('(' + form.format(f'({self.value})') + ')'
                     for form in forms)

    def changed(self, text: str, value: str) -> str:
        """The text of its file, with another value."""
        lines = text.splitlines(keepends=True)
        lines[self.first:self.end] = [f'#define {self.name} {value}\n']
        return ''.join(lines)


def named_tests(comment: str) -> Tuple[str, ...]:
    """The tests that a comment names."""
    note = NOTE.search(comment)
    return tuple(TEST.findall(note.group(1))) if note else ()


def _chunks(lines: List[str]) -> Iterator[Tuple[str, int, int]]:
    """
    Comments that begin a line, directives with their continuation, and other
    lines, each as text, first line, and the line after it.
    """
    first = 0
    while first < len(lines):
        end = first + 1
        if lines[first].startswith('/*'):
            while end < len(lines) and '*/' not in lines[end - 1]:
                end += 1
        elif lines[first].startswith('#'):
            while end < len(lines) and lines[end - 1].endswith('\\'):
                end += 1
        yield '\n'.join(lines[first:end]), first, end
        first = end


def _constant(text: str) -> Optional[Tuple[str, str]]:
    """Name and value; not of macros with arguments, nor of guards."""
    define = DEFINE.fullmatch(text.replace('\\\n', ' ').strip())
    if not define:
        return None
    value = ' '.join(TRAILING_COMMENT.sub('', define.group(2)).split())
    return (define.group(1), value) if value else None


def find_constants(path: str, text: str) -> List[Constant]:
    """All constants of a file."""
    comment = ''
    found = []
    for chunk, first, end in _chunks(text.splitlines()):
        constant = _constant(chunk)
        if chunk.startswith('/*'):
            comment = chunk
        elif constant:
            found.append(Constant(path, *constant, first, end,
                                  named_tests(comment), bool(comment)))
        else:
            comment = ''
    return found


def unnoted(constants: List[Constant]) -> List[Constant]:
    """
    Those that are explained and name no test, in files that have the habit;
    but no guards.
    """
    habit = {constant.path for constant in constants if constant.tests}
    return [constant for constant in constants if constant.path in habit and
            constant.explained and not constant.tests and
            constant.changes()]


def read_constants(top: Path, files: List[Path]) -> List[Constant]:
    """All constants of these files, which lie below top."""
    found: List[Constant] = []
    for path in files:
        found += find_constants(str(path.relative_to(top)),
                                path.read_text(encoding='utf-8'))
    return found
