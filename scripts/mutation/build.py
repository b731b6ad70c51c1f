# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""A copy of the standalone build, in which a constant may be changed."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Set, Tuple

from mutation.notes import Constant

# What the standalone build is made of.
PARTS = ('meson.build', 'meson_options.txt', 'compat', 'fuzz', 'include',
         'migration', 'qapi', 'sim', 'tests')

# Only a hang takes as long: the slowest test takes some seconds.
TEST_TIMEOUT_S = 300


class BuildError(Exception):
    """The compiler did not take it; the argument is what it said."""


class Build:
    """The copy, below a directory that is the caller's to remove."""

    def __init__(self, top: Path, scratch: Path) -> None:
        self.source = scratch / 'source'
        self.objects = scratch / 'objects'
        self.source.mkdir(parents=True)
        for name in PARTS:
            part = top / name
            if part.is_dir():
                shutil.copytree(part, self.source / name)
            elif part.exists():
                shutil.copy(part, self.source / name)
        self._run('meson', 'setup', str(self.objects), str(self.source))
        self.programs = self._find_programs()
        self.make(self.programs)
        self.tests = self._find_tests()
        self.files = self._find_files()

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, text=True, check=False,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode:
            raise BuildError(done.stdout)
        return done.stdout

    def _find_programs(self) -> List[str]:
        """Those that meson runs as tests of GLib's kind."""
        tests = json.loads(self._run('meson', 'introspect', '--tests',
                                     str(self.objects)))
        return [test['cmd'][0] for test in tests
                if test['protocol'] == 'tap' and '--tap' in test['cmd']]

    def _find_tests(self) -> Dict[str, str]:
        """The path of each test, and the program that it is in."""
        return {path: program for program in self.programs
                for path in self._run(program, '-l').splitlines()
                if path.startswith('/')}

    def _find_files(self) -> Set[str]:
        """Which files these are made of, headers included; of ours."""
        lines = self._run('ninja', '-C', str(self.objects), '-t', 'deps')
        paths = (self.objects / line.strip() for line in lines.splitlines()
                 if line.startswith(' '))
        return {os.path.relpath(os.path.realpath(path),
                                os.path.realpath(self.source))
                for path in paths}

    def make(self, programs: Sequence[str]) -> None:
        """Bring these up to date."""
        targets = [os.path.relpath(program, self.objects)
                   for program in programs]
        self._run('ninja', '-C', str(self.objects), '-j1', *targets)

    def passes(self, program: str, *options: str) -> bool:
        """Does it pass? A test that hangs does not."""
        env = {**os.environ, 'G_TEST_SRCDIR': str(self.source / 'sim')}
        try:
            done = subprocess.run((program, '--tap', *options), env=env,
                                  stdout=subprocess.DEVNULL, check=False,
                                  stderr=subprocess.DEVNULL,
                                  timeout=TEST_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def test_passes(self, test: str) -> bool:
        """One test alone."""
        return self.passes(self.tests[test], '-p', test)

    def failing(self) -> Iterator[str]:
        """All tests that fail; each alone, because the first one ends it."""
        for program in self.programs:
            if not self.passes(program):
                yield from (test for test, where in self.tests.items()
                            if where == program and
                            not self.test_passes(test))

    def changed(self, constant: Constant) -> Iterator[Tuple[str, bool]]:
        """
        With each change of the constant in the sources: its value, and whether
        it still compiles. Afterwards they are as they were.
        """
        path = self.source / constant.path
        text = path.read_text(encoding='utf-8')
        try:
            for value in constant.changes():
                path.write_text(constant.changed(text, value),
                                encoding='utf-8')
                try:
                    self.make(self.programs)
                    yield value, True
                except BuildError:
                    yield value, False
        finally:
            path.write_text(text, encoding='utf-8')
