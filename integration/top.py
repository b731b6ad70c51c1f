#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
auto-converge-top watches real migrations, of each QEMU that is named: what it
tells is what happened, and the migration does not notice. Prints TAP.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import Any, Callable, Dict, List, Sequence, Tuple

from convergetop.errors import ExitStatus
from migbench.errors import BenchError
from migbench.machine import Machine, MachineConfig, use_qemu_python
from migbench.migrate import deadline
from migbench.program import add_needed

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'top', 'auto-converge-top')
MEMORY_MIB = 192
WORKLOAD = 'ws=64 rate=120 cpu=80 pattern=random'   # helped by a throttle
LINK_BPS = 20 * 10 ** 6         # a pass takes three seconds
DOWNTIME_MS = 30
STOP_MS = 20000                 # ends it, once a throttle was seen
RUN_TIMEOUT_S = 240             # what lasts longer is broken
TIMEOUT_S = 60                  # of a program that has all it needs
POLL_PERIOD_S = 0.1
MONITORS = ('json', 'plain', 'once')

Case = Tuple[str, Callable[[], None]]


def require(condition: bool, what: str) -> None:
    """A claim that does not hold ends the case."""
    if not condition:
        raise BenchError(what)


class Watchers:
    """The source's monitors, and the programs that watch it."""

    def __init__(self, directory: str):
        self._directory = directory
        self._running: Dict[str, 'subprocess.Popen[str]'] = {}

    def path(self, name: str) -> str:
        """A file of this run."""
        return os.path.join(self._directory, name)

    def qemu_options(self) -> List[str]:
        """A monitor for each."""
        return [word for name in MONITORS for word in
                ('-qmp', f'unix:{self.path(name)},server=on,wait=off')]

    def start(self, name: str, *options: str) -> None:
        """At the monitor of that name."""
        # pylint: disable-next=consider-using-with
        self._running[name] = subprocess.Popen(
            [PROGRAM, '--qmp', self.path(name), *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def end(self, name: str) -> Tuple[int, str, str]:
        """Its exit status and what it wrote, when it ends by itself."""
        output, errors = self._running[name].communicate(timeout=TIMEOUT_S)
        return self._running.pop(name).returncode, output, errors

    def once(self, name: str, *options: str) -> Tuple[int, str, str]:
        """Start and end."""
        self.start(name, *options)
        return self.end(name)

    def close(self) -> None:
        """Leave none behind."""
        for process in self._running.values():
            process.kill()
            process.communicate()


class Watched:
    """One QEMU, migrated once."""

    def __init__(self, binary: str, guest: str, patched: bool,
                 stack: ExitStack):
        self._patched = patched
        self._directory = stack.enter_context(
            tempfile.TemporaryDirectory(prefix='auto-converge-top-'))
        self.top = Watchers(self._directory)
        stack.callback(self.top.close)
        config = MachineConfig(binary, guest, MEMORY_MIB, WORKLOAD)
        self._dest = stack.enter_context(Machine(
            config, self._directory, 'dest', (), incoming=True))
        config.extra = self.top.qemu_options()
        self._source = stack.enter_context(Machine(
            config, self._directory, 'source', ()))
        self._source.serial.wait_ready()
        self._parameters: Dict[str, Any] = {}
        self._told: List[Dict[str, Any]] = []

    def before(self) -> None:
        """before a migration it says that there is none"""
        status, output, errors = self.top.once('once', '--once')
        require(status == ExitStatus.NO_MIGRATION, f'{status}: {errors}')
        require('no migration yet' in output, output)

    def _throttle_was_told(self) -> bool:
        """By a line that is recorded already."""
        if not os.path.exists(self.top.path('record')):
            return False        # the program has just been started
        with open(self.top.path('record'), encoding='ascii') as record:
            lines = [line for line in record if line.endswith('\n')]
        return any(json.loads(line).get('throttle_pct') for line in lines)

    def _wait_status(self, status: str) -> None:
        """As QEMU itself tells."""
        while self._source.qmp('query-migrate').get('status') != status:
            time.sleep(POLL_PERIOD_S)

    def _set_up(self) -> str:
        """The address to migrate to."""
        parameters: Dict[str, Any] = {'max-bandwidth': LINK_BPS,
                                      'downtime-limit': DOWNTIME_MS}
        if self._patched:
            parameters['cpu-throttle-fallback'] = 'none'
        # it does not complete before it was looked at
        self._source.set_capabilities({'auto-converge': True,
                                       'pause-before-switchover': True})
        self._source.qmp('migrate-set-parameters', **parameters)
        self._parameters = self._source.qmp('query-migrate-parameters')
        uri = f'unix:{self._directory}/migration'
        self._dest.qmp('migrate-incoming', uri=uri)
        return uri

    def migrate(self) -> None:
        """it watches from the start to the end, by several monitors"""
        uri = self._set_up()
        self.top.start('json', '--json', '--record', self.top.path('record'))
        self.top.start('plain', '--plain')
        self._source.qmp('migrate', uri=uri)
        while not self._throttle_was_told():
            time.sleep(POLL_PERIOD_S)
        self._look_in_between()
        require(self._source.qmp('query-migrate-parameters')
                == self._parameters, 'parameters have changed')
        self._source.qmp('migrate-set-parameters', downtime_limit=STOP_MS)
        self._wait_status('pre-switchover')
        self._source.qmp('migrate-continue', state='pre-switchover')
        status, output, errors = self.top.end('json')
        require(status == ExitStatus.COMPLETED, f'{status}: {errors}')
        self._told = [json.loads(line) for line in output.splitlines()]

    def _look_in_between(self) -> None:
        """One look while it runs, and one at a monitor that is taken."""
        status, output, errors = self.top.once('once', '--once', '--json')
        require(status == ExitStatus.GOES_ON, f'{status}: {errors}')
        look = json.loads(output)
        require(look['status'] in ('active', 'pre-switchover'), output)
        taken = subprocess.run(
            [PROGRAM, '--qmp', self.top.path('json'), '--once'],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=TIMEOUT_S)
        require(taken.returncode == ExitStatus.USAGE
                and '-qmp unix:PATH' in taken.stderr,
                f'a monitor that is taken: {taken.stderr}')

    def metrics(self) -> None:
        """the samples tell the throttle, the memory and the end"""
        require(bool(self._told), 'there is no sample')
        throttles = [one.get('throttle_pct', 0) for one in self._told]
        require(max(throttles) > 0, f'throttles: {throttles}')
        last = self._told[-1]
        require(last['status'] == 'completed', f'the last one: {last}')
        final = self._source.qmp('query-migrate')
        require(last['total_bytes'] == final['ram']['total']
                and last['elapsed_ms'] == final['total-time'],
                f'the last one: {last}; QEMU: {final}')
        remaining = [one['remaining_bytes'] for one in self._told
                     if 'remaining_bytes' in one]
        require(max(remaining) > min(remaining) == 0, f'{remaining}')
        phases = {one['phase'] for one in self._told if 'phase' in one}
        require(('throttle' in phases or 'ceiling' in phases) == self._patched,
                f'phases: {phases}')

    def lines(self) -> None:
        """the lines say why, what to do, and what it cost"""
        status, output, errors = self.top.end('plain')
        require(status == ExitStatus.COMPLETED, f'{status}: {errors}')
        require('What to do: ' in output, output)
        require('The migration has completed.' in output, output)
        require(output.splitlines()[-1].strip().startswith('The guest was '),
                output)

    def playback(self) -> None:
        """the recording is what was told, and plays back the same"""
        with open(self.top.path('record'), encoding='ascii') as file:
            record = file.read()
        require([json.loads(line) for line in record.splitlines()]
                == self._told, 'the recording is another one')
        done = subprocess.run(
            [PROGRAM, '--play', self.top.path('record'), '--speed', '0',
             '--json'], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=TIMEOUT_S)
        require(done.returncode == ExitStatus.COMPLETED, done.stderr)
        require(done.stdout == record, 'it plays back something else')

    def arrived(self) -> None:
        """the guest arrived with its memory"""
        verdict = self._dest.serial.verify()
        require(bool(verdict and verdict.good),
                verdict.describe() if verdict else 'it does not answer')

    def vanished(self) -> None:
        """it waits for another migration, and says when QEMU goes"""
        self.top.start('once', '--wait', '--json', '--record',
                       self.top.path('waiting'))
        while not os.path.exists(self.top.path('waiting')) \
                or not os.path.getsize(self.top.path('waiting')):
            time.sleep(POLL_PERIOD_S)
        self._source.qmp('quit')
        status, output, errors = self.top.end('once')
        require(status == ExitStatus.LOST, f'{status}: {errors}')
        require('ask at the destination' in errors, errors)
        require(json.loads(output.splitlines()[-1])['status'] == 'none',
                output)

    def cases(self) -> Sequence[Case]:
        """In this order; each builds on those before."""
        return [(case.__doc__ or '', case) for case in
                (self.before, self.migrate, self.metrics, self.lines,
                 self.playback, self.arrived, self.vanished)]


CASES = 7       # of Watched.cases(), for the plan before any QEMU runs


def run(kind: str, binary: str, guest: str, first: int) -> int:
    """All cases of one QEMU; the number of those that failed."""
    failed = 0
    with ExitStack() as stack:
        stack.enter_context(deadline(RUN_TIMEOUT_S))
        watched = Watched(binary, guest, kind == 'patched', stack)
        for number, (name, case) in enumerate(watched.cases(), first):
            try:
                require(not failed, 'a case before it has failed')
                case()
                print(f'ok {number} - {kind}: {name}', flush=True)
            except (BenchError, OSError, KeyError, ValueError, IndexError,
                    subprocess.TimeoutExpired) as exc:
                failed += 1
                print(f'not ok {number} - {kind}: {name}')
                for line in str(exc).splitlines():
                    print(f'# {line}', flush=True)
    return failed


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_needed(parser)
    for kind in ('stock', 'patched'):
        parser.add_argument(f'--{kind}', required=True, metavar='QEMU',
                            help=f'a {kind} QEMU')
    return parser.parse_args()


def main() -> int:
    """Run; the exit status."""
    arguments = parse_arguments()
    use_qemu_python(arguments.qemu_python)
    kinds = ('stock', 'patched')
    print(f'1..{CASES * len(kinds)}', flush=True)
    failed = 0
    for index, kind in enumerate(kinds):
        failed += run(kind, getattr(arguments, kind), arguments.guest,
                      1 + index * CASES)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
