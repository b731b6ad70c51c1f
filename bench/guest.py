#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What a Linux guest and the software in it get done under a throttle, stock QEMU
against patched: work kept at commanded throttles, without a migration; then one
migration each over a limited link, as the clients of a database in the guest
see it.
"""

import argparse
import json
import os
import sys
from typing import List, Tuple

from guestbench import kept
from guestbench.linux import SHARED_MEMORY, GuestConfig
from migbench.debugger import find_actuator
from migbench.errors import BenchError
from migbench.machine import use_qemu_python
from migbench.points import format_table, tsv
from migbench.program import run_program

THROTTLES = '50,80,90,95,99'
LOADS = {'spin': 1, 'ipi': 2, 'pingpong': 2, 'redis': 1}    # least vCPUs
GUESTS = 'spin:1,spin:2,ipi:2,pingpong:2,redis:1,redis:2'


def parse_guests(text: str) -> List[Tuple[str, int]]:
    """LOAD:VCPUS,..."""
    guests = []
    for word in text.split(','):
        load, _, vcpus = word.partition(':')
        if load not in LOADS:
            raise ValueError(f'no load {load!r}')
        guests.append((load, int(vcpus)))
        if guests[-1][1] < LOADS[load]:
            raise ValueError(f'{load} wants {LOADS[load]} vCPUs')
    return guests


def parse_qemu(text: str) -> Tuple[str, str]:
    """NAME=PATH"""
    name, equals, path = text.partition('=')
    if not (name.isalnum() and equals and os.access(path, os.X_OK)):
        raise argparse.ArgumentTypeError(f'no NAME=PROGRAM: {text}')
    return name, path


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=kept.LEGEND,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--qemu', required=True, action='append',
                        type=parse_qemu, metavar='NAME=PATH',
                        help='a qemu-system-x86_64; may be repeated, and they '
                        'take turns; all of one release')
    parser.add_argument('--image', required=True, metavar='DIR',
                        help='what scripts/guest-image made')
    parser.add_argument('--qemu-python', required=True, metavar='DIR',
                        help="QEMU's python/ directory")
    parser.add_argument('--out', required=True, metavar='DIR',
                        help='where tables, data and plots go')
    parser.add_argument('--kept', action='store_true',
                        help='only the work kept')
    parser.add_argument('--throttles', default=THROTTLES, metavar='PCT,...',
                        help='default: %(default)s')
    parser.add_argument('--guests', default=GUESTS, metavar='LOAD:VCPUS,...',
                        help='default: %(default)s; spin has one busy thread on '
                        'each vCPU')
    parser.add_argument('--runs', type=int, default=5,
                        help='of each point, interleaved; default: 5')
    parser.add_argument('--seconds', type=float, default=kept.WINDOW_S,
                        help='to watch a throttle, at least; default: '
                        f'%(default)g, {kept.LONG_WINDOW_S:g} from '
                        f'{kept.LONG_FROM_PCT:g} %% on')
    arguments = parser.parse_args()
    try:
        arguments.throttles = [float(t) for t in
                               arguments.throttles.split(',')]
        arguments.guests = parse_guests(arguments.guests)
    except ValueError as exc:
        parser.error(str(exc))
    if not all(0 < t < 100 for t in arguments.throttles):
        parser.error('--throttles: above 0, below 100')
    if len({name for name, _ in arguments.qemu}) < len(arguments.qemu):
        parser.error('--qemu: one name twice')
    return arguments


def guest_config(image: str, load: str, vcpus: int) -> GuestConfig:
    """A guest of the table."""
    return GuestConfig(image, load, vcpus,
                       f'probe.cpus={vcpus}' if load == 'spin' else '')


def measure_kept(arguments: argparse.Namespace,
                 subjects: List[kept.Subject]) -> None:
    """The table, for people and for programs."""
    guests = [guest_config(arguments.image, load, vcpus)
              for load, vcpus in arguments.guests]
    measured = list(kept.measure_all(subjects, guests, arguments.throttles,
                                     arguments.runs, arguments.seconds,
                                     SHARED_MEMORY))
    points = kept.make_points(measured)
    print(f'{format_table(kept.rows(points))}\n\n{kept.LEGEND}\n')
    base = os.path.join(arguments.out, 'kept')
    with open(f'{base}.tsv', 'w', encoding='ascii') as output:
        output.write(tsv(points))
    with open(f'{base}.json', 'w', encoding='ascii') as output:
        json.dump({'points': [point.to_json() for point in points],
                   'runs': [one.to_json() for one in measured]},
                  output, indent=1)
    print(f'written: {base}.tsv, {base}.json')


def main() -> int:
    """Program."""
    arguments = parse_arguments()
    if not os.path.isdir(SHARED_MEMORY):
        raise BenchError(f'{SHARED_MEMORY} is missing: the guest has its RAM '
                         'there')
    use_qemu_python(arguments.qemu_python)
    os.makedirs(arguments.out, exist_ok=True)
    subjects = [kept.Subject(name, binary, find_actuator(binary))
                for name, binary in arguments.qemu]
    measure_kept(arguments, subjects)
    return 0


if __name__ == '__main__':
    sys.exit(run_program('guest', main))
