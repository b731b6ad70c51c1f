#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
The migration stream is as it was: one running guest migrates through all the
QEMUs that are named, in that order, and checks its memory after each hop.
Prints TAP. A patched QEMU throttles the guest before it lets it go.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from migbench.errors import BenchError
from migbench.machine import Machine, MachineConfig, use_qemu_python
from migbench.migrate import deadline
from migbench.migrate_info import percent
from migbench.program import add_needed

MACHINE_TYPE = 'pc-q35-7.2'     # the newest that every release here knows
MEMORY_MIB = 192
WORKLOAD = 'ws=64 rate=max'     # converges under no throttle allowed below
LINK_BPS = 32 * 1024 * 1024     # a pass takes two seconds then
CEILING_PCT = 80
UNLIMITED_BPS = 10 ** 12
STOP_MS = 5000                  # ends it where nothing throttles
HOP_TIMEOUT_S = 240             # a hop that lasts longer is broken
REPORT_TIMEOUT_S = 60


@dataclass
class Host:
    """One QEMU that the guest comes through."""
    binary: str
    patched: bool
    name: str


class AddHost(argparse.Action):
    """--stock and --patched go to one list, in the order given."""

    def __call__(self, parser: argparse.ArgumentParser,
                 namespace: argparse.Namespace, values: Any,
                 option_string: Optional[str] = None) -> None:
        kind = str(option_string).lstrip('-')
        release = os.path.abspath(values).split(os.sep)[-4]
        hosts = namespace.hosts or []
        namespace.hosts = [*hosts, Host(values, kind == 'patched',
                                        f'{release} {kind}')]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_needed(parser)
    for kind in ('stock', 'patched'):
        parser.add_argument(f'--{kind}', action=AddHost, dest='hosts',
                            metavar='QEMU', help=f'a {kind} QEMU')
    return parser.parse_args()


def set_up(machine: Machine, host: Host) -> None:
    """A patched QEMU has to throttle, a stock one just copies."""
    parameters: Dict[str, int] = {'max-bandwidth': UNLIMITED_BPS,
                                  'downtime-limit': STOP_MS}
    if host.patched:
        parameters = {'max-bandwidth': LINK_BPS, 'downtime-limit': 30,
                      'max-cpu-throttle': CEILING_PCT}
        machine.set_capabilities({'auto-converge': True})
    machine.qmp('migrate-set-parameters', **parameters)


def hop(source: Machine, dest: Machine, host: Host, uri: str) -> str:
    """Migrate, check the memory; what to say about it."""
    set_up(source, host)
    dest.qmp('migrate-incoming', uri=uri)
    since = time.time()
    source.qmp('migrate', uri=uri)
    info = source.wait_migration_end()
    if info['status'] != 'completed':
        raise BenchError(f"{info['status']}: {info.get('error-desc')}")
    if not dest.serial.wait_report(since, REPORT_TIMEOUT_S):
        raise BenchError('the guest is silent at the destination')
    verdict = dest.serial.verify()
    if not verdict or not verdict.good:
        raise BenchError(f'memory: {verdict.describe()}' if verdict else
                         'the guest does not check its memory')
    ours = info.get('auto-converge', {})
    throttle = percent(ours, 'highest-throttle-permille')
    if host.patched and not throttle and ours.get('phase') != 'fallback':
        raise BenchError('it was neither throttled nor stopped')
    helped = f'throttle up to {throttle:g} %' if throttle else 'stopped at once'
    return f'{helped if host.patched else "stock"}, memory {verdict.describe()}'


def run(arguments: argparse.Namespace, directory: str) -> int:
    """All hops; the number of those that failed."""
    hosts: List[Host] = arguments.hosts
    with ExitStack() as stack:
        def start(number: int) -> Machine:
            config = MachineConfig(hosts[number].binary, arguments.guest,
                                   MEMORY_MIB, WORKLOAD,
                                   ('-machine', MACHINE_TYPE))
            return stack.enter_context(
                Machine(config, directory, f'host{number}', (),
                        incoming=number > 0))

        source = start(0)
        source.serial.wait_ready()
        for number in range(1, len(hosts)):
            name = f'{hosts[number - 1].name} to {hosts[number].name}'
            uri = f'unix:{directory}/migration{number}.sock'
            try:
                with deadline(HOP_TIMEOUT_S):
                    dest = start(number)
                    said = hop(source, dest, hosts[number - 1], uri)
            except BenchError as exc:
                # the guest is lost; there is nothing left to go on with
                print(f'not ok {number} - {name}\n# {exc}')
                return 1
            print(f'ok {number} - {name}\n# {said}', flush=True)
            source.qmp('quit')
            source = dest
    return 0


def main() -> int:
    """Run; the exit status."""
    arguments = parse_arguments()
    use_qemu_python(arguments.qemu_python)
    print(f'1..{len(arguments.hosts) - 1}')
    with tempfile.TemporaryDirectory(prefix='auto-converge-') as directory:
        return run(arguments, directory)


if __name__ == '__main__':
    sys.exit(main())
