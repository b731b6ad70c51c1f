#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Every command that the documents show is run: what is said to virsh, with two
hosts, a guest and a migration; what is said to QEMU's monitors, with two QEMUs.
Prints TAP, a case for each.

    run --qemu QEMU --guest ELF --qemu-python DIR DOCUMENT...

A command is a line of a literal block, with those that continue it. In place of
GUEST, HOST and the addresses goes what is there. A line that is for nobody here
fails. Of make, it is seen that there is such a target. See hosts.py for what it
needs.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from typing import Any, Callable, List, Optional, Tuple

from hosts import DOMAIN, TIMEOUT_S, Host, run_cases, two_hosts, wait
from migbench.errors import BenchError
from migbench.machine import Machine, MachineConfig, use_qemu_python

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINK_MIB_PER_S = 40             # 64 MiB that are busy take some seconds
TOP_ENDS = (0, 6)               # completed, or gone before that was told
MEMORY_MIB = 192
WORKLOAD = 'ws=64 rate=calm'    # completes, whatever is allowed
REPORT_TIMEOUT_S = 60
# what has no answer else, or one that is an error
ANSWERS = {"'info migrate_parameters'": 'cpu-throttle-fallback: ',
           "'info migrate'": 'auto-converge phase: '}
ANY_ADDRESS = re.compile(r'tcp:192\.0\.2\.1:4444')
ANY_HOST = re.compile(r'qemu\+ssh://\w+/')
MAKE_SPAN = re.compile(r'`(make [^`]+)`')

Block = List[str]


def blocks(text: str) -> List[Block]:
    """The literal blocks of a Markdown document, each a list of lines."""
    found: List[Block] = [[]]
    fenced = False
    for line in text.splitlines():
        if line.startswith('```'):
            fenced = not fenced
            found.append([])
        elif fenced:
            found[-1].append(line)
        elif line.startswith('    '):
            found[-1].append(line[4:])
        elif line.strip():
            found.append([])
    return [block for block in found if block]


def is_json(text: str) -> bool:
    """All of it."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def commands(block: Block) -> List[str]:
    """
    What is to be typed, each as one line. With a prompt somewhere, the lines
    without one are output.
    """
    prompted = any(line.startswith('$ ') for line in block)
    found: List[str] = []
    pending = ''
    for line in block:
        if prompted and not pending:
            if not line.startswith('$ '):
                continue
            line = line[2:]
        pending = f'{pending} {line.strip()}'.strip()
        if pending.endswith('\\'):
            pending = pending[:-1].strip()
        elif not pending.startswith('{') or is_json(pending):
            found.append(pending)
            pending = ''
    return found + [pending] if pending else found


def need(condition: bool, what: str) -> None:
    """Raise what, unless it is so."""
    if not condition:
        raise AssertionError(what)


class Monitors:
    """A guest that migrates from one QEMU to the next, by QMP and HMP."""

    def __init__(self, args: argparse.Namespace, directory: str,
                 stack: ExitStack):
        self._args = args
        self._directory = directory
        self._stack = stack
        self._count = 0
        self._source: Optional[Machine] = None

    def _start(self) -> Machine:
        self._count += 1
        config = MachineConfig(self._args.qemu, self._args.guest, MEMORY_MIB,
                               WORKLOAD)
        return self._stack.enter_context(
            Machine(config, self._directory, f'qemu{self._count}', (),
                    incoming=self._count > 1))

    @property
    def source(self) -> Machine:
        """Where the guest is."""
        if self._source is None:
            self._source = self._start()
            self._source.serial.wait_ready()
        return self._source

    def _migrate(self, command: Callable[[str], None]) -> None:
        """It is begun with an address by command, and the guest arrives."""
        source, dest = self.source, self._start()
        address = f'unix:{self._directory}/migration{self._count}'
        dest.qmp('migrate-incoming', uri=address)
        command(address)
        info = source.wait_migration_end()
        need(info['status'] == 'completed', str(info))
        need('auto-converge' in info, f'without the controller: {info}')
        self._source = dest
        verdict = dest.serial.verify()
        need(bool(verdict and verdict.good), 'memory is not what it was')

    def qmp(self, text: str) -> None:
        """A command in JSON."""
        def run(line: str) -> Any:
            command = json.loads(line)
            return self.source.qmp(command['execute'],
                                   **command.get('arguments', {}))

        if ANY_ADDRESS.search(text):
            self._migrate(lambda address: run(ANY_ADDRESS.sub(address, text)))
        elif 'query-migrate-parameters' in text:
            need('cpu-throttle-fallback' in run(text),
                 'no such member: cpu-throttle-fallback')
        else:
            run(text)

    def hmp(self, text: str) -> None:
        """A line of the human monitor."""
        def run(line: str) -> None:
            said = self.source.qmp('human-monitor-command', command_line=line)
            need(not said, said)

        need(bool(ANY_ADDRESS.search(text)), f'without an address: {text}')
        self._migrate(lambda address: run(ANY_ADDRESS.sub(address, text)))


class Shell:
    """Two hosts, and whoever types at the one that has the guest."""

    def __init__(self, args: argparse.Namespace, hosts: List[Host]):
        hosts[0].start_guest(args.qemu, args.guest)
        self._here, self._there = hosts
        self._job: Optional['subprocess.Popen[str]'] = None

    def _begin(self, command: str) -> None:
        self._here.virsh('migrate-setspeed', DOMAIN, str(LINK_MIB_PER_S))
        self._job = subprocess.Popen(
            self._here.shell(command.rstrip('& '), REPOSITORY), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait(lambda: self._has_ended() or self._here.remaining() is not None,
             'the migration begins')

    def _has_ended(self) -> bool:
        return self._job is None or self._job.poll() is not None

    def finish(self) -> None:
        """The migration that runs, if any; the guest is at the other host."""
        if self._job is None:
            return
        said, _ = self._job.communicate(timeout=TIMEOUT_S)
        failed, self._job = self._job.returncode, None
        need(not failed, said)
        need(self._there.has_guest(), 'the guest has not arrived')
        self._here, self._there = self._there, self._here
        self._here.verify()

    def _run(self, command: str) -> Tuple[int, str]:
        done = subprocess.run(
            self._here.shell(command, REPOSITORY), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            timeout=TIMEOUT_S)
        return done.returncode, done.stdout.strip()

    def virsh(self, text: str) -> None:
        """What an operator types."""
        migrates = text.startswith('virsh migrate ')
        if migrates or self._has_ended():
            self.finish()
        text = ANY_HOST.sub(f'qemu+ssh://{self._there.name}/',
                            text.replace('GUEST', DOMAIN))
        if migrates:
            self._begin(text)
            return
        status, said = self._run(text)
        if status and self._job is not None and not self._here.has_guest():
            self.finish()       # it has just gone
            status, said = self._run(text)
        need(status == 0, said)
        for question, answer in ANSWERS.items():
            if question in text:
                need(answer in said, said)
                return
        need(not said, said)

    def top(self, text: str) -> None:
        """It watches to the end."""
        if self._has_ended():
            self.finish()
            self._begin('virsh migrate --live --auto-converge '
                        f'{DOMAIN} qemu+ssh://{self._there.name}/system')
        status, said = self._run(text.replace('GUEST', DOMAIN))
        print(f'# {said.splitlines()[-1] if said else "nothing"}')
        need(status in TOP_ENDS, said)
        self.finish()


def make(text: str) -> None:
    """There is such a target."""
    done = subprocess.run(['make', '-n', *text.split('#')[0].split()[1:]],
                          cwd=REPOSITORY, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    need(done.returncode == 0, done.stdout)


def obey(command: str, shell: Shell, monitors: Monitors) -> None:
    """By whom it is for."""
    for word, does in (('virsh ', shell.virsh), ('{ ', monitors.qmp),
                       ('top/auto-converge-top ', shell.top),
                       ('migrate ', monitors.hmp), ('make ', make)):
        if command.startswith(word):
            does(command)
            return
    raise AssertionError('nobody to say this to')


def main() -> int:
    """Run; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ('qemu', 'guest', 'qemu-python'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('documents', nargs='+', metavar='DOCUMENT')
    args = parser.parse_args()
    use_qemu_python(args.qemu_python)
    todo: List[Tuple[str, str]] = []
    for path in args.documents:
        with open(path, encoding='utf-8') as document:
            text = document.read()
        todo += [(os.path.basename(path), command) for command in
                 [one for block in blocks(text) for one in commands(block)] +
                 MAKE_SPAN.findall(text)]
    print(f'1..{len(todo) + 1}', flush=True)
    with tempfile.TemporaryDirectory(prefix='auto-converge-commands-') as top, \
            two_hosts(top) as hosts, ExitStack() as stack:
        shell = Shell(args, hosts)
        monitors = Monitors(args, top, stack)
        return run_cases(
            [(f'{path}: {command}', partial(obey, command, shell, monitors))
             for path, command in todo] +
            [('the last migration ends', shell.finish)], (BenchError,))


if __name__ == '__main__':
    sys.exit(main())
