#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What a Linux guest and the software in it get done under a throttle, stock QEMU
against patched: work kept at commanded throttles, without a migration; what is
done after a silence that no throttle has made; then one migration each over
a limited link, as the clients of a database in the guest see it.
"""

import argparse
import json
import os
import sys
import tempfile
from typing import Any, Iterator, List, Tuple

from . import kept, migration, silence
from .charts import plot_kept, plot_migrations
from .linux import SHARED_MEMORY, GuestConfig, SavedGuests
from migbench.debugger import find_throttle
from migbench.display import Progress
from migbench.errors import BenchError
from migbench.link import make_link, why_no_namespaces
from migbench.machine import use_qemu_python
from migbench.migrate import Plan
from migbench.plot import check_gnuplot
from migbench.tables import format_table, tsv
from migbench.program import add_needed, run_program

THROTTLES = '50,80,90,95,99'
LOADS = {'spin': 1, 'ipi': 2, 'pingpong': 2, 'redis': 1}    # least vCPUs
SILENT = ('spin', 'redis')      # loads that are looked at after a silence
GUESTS = 'spin:1,spin:2,ipi:2,pingpong:2,redis:1,redis:2'

# Some 60 MB that are written at random, faster than the link carries them.
DATABASE = 'probe.keys=6000 probe.bytes=8000 probe.set=8 probe.get=2'
LINK_MBPS = {1: 8, 2: 20}       # by vCPUs, 10^6 bytes/s
TIME_LIMIT_S = 120.0            # a migration is cancelled then


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


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='guest',
        description=__doc__,
        epilog=f'{kept.LEGEND}\n\nSilences:\n{silence.LEGEND}\n\n'
        f'Migrations:\n{migration.LEGEND}',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--qemu', required=True, action='append',
                        type=parse_qemu, metavar='NAME=PATH',
                        help='a qemu-system-x86_64; may be repeated, and they '
                        'take turns; all of one release')
    parser.add_argument('--image', required=True, metavar='DIR',
                        help='what scripts/guest-image made')
    add_needed(parser, 'tables, data and plots', guest=False)
    parser.add_argument('--plot-format', choices=('svg', 'png'),
                        default='svg', help='default: svg')
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument('--kept', action='store_true',
                       help='only the work kept')
    parts.add_argument('--silences', action='store_true',
                       help='only what is done after a silence')
    parts.add_argument('--migrations', action='store_true',
                       help='only the migrations')
    return parser


def add_measures(parser: argparse.ArgumentParser) -> None:
    """What is measured."""
    parser.add_argument('--throttles', default=THROTTLES, metavar='PCT,...',
                        help='default: %(default)s')
    parser.add_argument('--guests', default=GUESTS, metavar='LOAD:VCPUS,...',
                        help='default: %(default)s; spin has one busy thread '
                        'on each vCPU')
    parser.add_argument('--runs', type=int, default=5,
                        help='of each throttle, interleaved; default: 5')
    parser.add_argument('--seconds', type=float, default=kept.WINDOW_S,
                        help='to watch a throttle, at least; default: '
                        f'%(default)g, {kept.LONG_WINDOW_S:g} from '
                        f'{kept.LONG_FROM_PCT:g} %% on')
    parser.add_argument('--pin', action='store_true',
                        help='each vCPU of a guest that is not migrated to a '
                        'host CPU of its own')
    parser.add_argument('--vcpus', default='1,2', metavar='N,...',
                        help='of the guests that are migrated; default: '
                        '%(default)s')
    parser.add_argument('--link', type=int, metavar='MB/S',
                        help='that they are migrated over; default: '
                        + ', '.join(f'{rate} with {vcpus} vCPUs' for
                                    vcpus, rate in LINK_MBPS.items()))
    parser.add_argument('--time-limit', type=float, default=TIME_LIMIT_S,
                        metavar='S', help='after which a migration is '
                        'cancelled; default: %(default)g')


def parse_arguments() -> argparse.Namespace:
    """What was asked for, checked."""
    parser = make_parser()
    add_measures(parser)
    arguments = parser.parse_args()
    try:
        arguments.throttles = [float(t) for t in
                               arguments.throttles.split(',')]
        arguments.guests = parse_guests(arguments.guests)
        arguments.vcpus = [int(n) for n in arguments.vcpus.split(',')]
    except ValueError as exc:
        parser.error(str(exc))
    if not all(0 < t < 100 for t in arguments.throttles):
        parser.error('--throttles: above 0, below 100')
    if len({name for name, _ in arguments.qemu}) < len(arguments.qemu):
        parser.error('--qemu: one name twice')
    for name in ('vmlinuz', 'initrd.img'):
        if not os.path.exists(os.path.join(arguments.image, name)):
            parser.error(f'--image: no {name} in {arguments.image}')
    return arguments


def write_json(path: str, content: Any) -> None:
    """All of it, for programs."""
    with open(path, 'w', encoding='ascii') as output:
        json.dump(content, output, indent=1)


def write_table(base: str, points: List[Any]) -> None:
    """For programs, too."""
    with open(f'{base}.tsv', 'w', encoding='ascii') as output:
        output.write(tsv(points))


def guest_config(arguments: argparse.Namespace, load: str,
                 vcpus: int) -> GuestConfig:
    """A guest whose work is throttled."""
    return GuestConfig(arguments.image, load, vcpus,
                       f'probe.cpus={vcpus}' if load == 'spin' else '',
                       pinned=arguments.pin)


def report_kept(arguments: argparse.Namespace,
                measured: List[kept.Kept]) -> None:
    """Table, plot, and all of it for programs."""
    points = kept.make_points(measured)
    print(f'{format_table(kept.rows(points))}\n\n{kept.LEGEND}\n')
    base = os.path.join(arguments.out, 'kept')
    write_table(base, points)
    write_json(f'{base}.json',
               {'points': [point.to_json() for point in points],
                'runs': [one.to_json() for one in measured]})
    plot_kept(f'{base}.{arguments.plot_format}', points)
    print(f'written: {base}.tsv, .json, .{arguments.plot_format}\n')


def measure_kept(arguments: argparse.Namespace) -> None:
    """
    The work that is left under commanded throttles. What was measured until it
    breaks off is told as well.
    """
    subjects = [kept.Subject(name, binary, find_throttle(binary))
                for name, binary in arguments.qemu]
    guests = [guest_config(arguments, load, vcpus)
              for load, vcpus in arguments.guests]
    measured = []
    try:
        for one in kept.measure_all(subjects, guests, arguments.throttles,
                                    arguments.runs, arguments.seconds,
                                    SHARED_MEMORY):
            measured.append(one)
    finally:
        if measured:
            report_kept(arguments, measured)


def measure_silences(arguments: argparse.Namespace) -> None:
    """What is done after a silence, of which no throttle is the cause."""
    guests = [guest_config(arguments, load, vcpus)
              for load, vcpus in arguments.guests if load in SILENT]
    with tempfile.TemporaryDirectory(prefix='guest-',
                                     dir=SHARED_MEMORY) as directory:
        measured = list(silence.measure_all(arguments.qemu[0][1], guests,
                                            directory))
    print(f'{format_table(silence.rows(measured))}\n\n{silence.LEGEND}\n')
    base = os.path.join(arguments.out, 'silences')
    write_table(base, measured)
    print(f'written: {base}.tsv\n')


def migrate_guest(arguments: argparse.Namespace, vcpus: int,
                  states: SavedGuests, directory: str
                  ) -> Iterator[migration.Served]:
    """One migration by each QEMU."""
    config = GuestConfig(arguments.image, 'redis', vcpus, DATABASE)
    state = states.path(config)
    rate_mbps = arguments.link or LINK_MBPS.get(vcpus, max(LINK_MBPS.values()))
    with make_link(rate_mbps, why_no_namespaces()) as link:
        print(f'redis, {vcpus} vCPUs, {DATABASE}\n'
              f'  cancelled after {arguments.time_limit:g} s\n'
              f'  link: {link.describe()}', flush=True)
        plan = Plan(config.memory_mib, '', link, arguments.time_limit)
        for name, binary in arguments.qemu:
            progress = Progress(f'{vcpus} vCPUs {name:7s}')
            one = migration.DatabaseMigration(binary, config, state, plan,
                                              directory, progress)
            try:
                run = one.execute()
            except BaseException:
                progress.abandon()
                raise
            yield migration.Served(name, vcpus, run, one.intervals)


def report_migrations(arguments: argparse.Namespace,
                      served: List[migration.Served]) -> None:
    """Table, plot, and all of it for programs."""
    metrics = migration.all_metrics(served)
    print(f'\n{format_table(migration.rows(metrics))}\n\n{migration.LEGEND}\n')
    base = os.path.join(arguments.out, 'migrations')
    write_table(base, metrics)
    write_json(f'{base}.json',
               [migration.to_json(*pair) for pair in zip(served, metrics)])
    plot_migrations(f'{base}.{arguments.plot_format}', served)
    print(f'written: {base}.tsv, .json, .{arguments.plot_format}')


def measure_migrations(arguments: argparse.Namespace) -> None:
    """Transactions while the guest is migrated."""
    served = []
    with tempfile.TemporaryDirectory(prefix='guest-',
                                     dir=SHARED_MEMORY) as directory:
        states = SavedGuests(arguments.qemu[0][1], directory)
        try:
            for vcpus in arguments.vcpus:
                for one in migrate_guest(arguments, vcpus, states, directory):
                    served.append(one)
        finally:
            if served:
                report_migrations(arguments, served)


def main() -> int:
    """Program."""
    arguments = parse_arguments()
    if not os.path.isdir(SHARED_MEMORY):
        raise BenchError(f'{SHARED_MEMORY} is missing: the guest has its RAM '
                         'there')
    check_gnuplot()
    use_qemu_python(arguments.qemu_python)
    os.makedirs(arguments.out, exist_ok=True)
    only = arguments.kept or arguments.silences or arguments.migrations
    if arguments.kept or not only:
        measure_kept(arguments)
    if arguments.silences or not only:
        measure_silences(arguments)
    if arguments.migrations or not only:
        measure_migrations(arguments)
    return 0


if __name__ == '__main__':
    sys.exit(run_program('guest', main))
