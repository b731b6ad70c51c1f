#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
The throttle alone, stock against patched: command throttles without a
migration, and see what the vCPUs of a busy guest execute, for how long the
guest stands still, and what being throttled costs it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import List, Optional, Type

from migbench.debugger import Throttle, find_throttle, set_throttle
from migbench.errors import BenchError
from migbench.machine import Machine, MachineConfig, use_qemu_python
from migbench.tables import (LEGEND, Measurement, Point, throttle_table,
                             make_points, run_share, tsv)
from migbench.program import add_needed, run_program
from migbench.vcpu_monitor import ProgressMap, Watch, pause_and_watch, watch

THROTTLES = '10,20,30,40,50,60,70,80,90,95,99,99.5'
VCPUS = '1,4'
MEMORY_MIB = 64
WORKLOAD = 'ws=16 rate=max report=10000'
SHARED_MEMORY = '/dev/shm'      # a file on a disk would be written back

STEADY_S = 0.5                  # after gdb has gone
UNHINDERED_S = 1.0              # before, and again after
UNSEEN_S = 3.0                  # throttled, for the speed
STOCK_SLICE_S = 0.010           # stock runs this long, then sleeps
STOCK_PERIODS = 15              # watch as many at least


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='throttle', description=__doc__, epilog=LEGEND,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--stock', metavar='QEMU',
                        help='qemu-system-x86_64 without the series')
    parser.add_argument('--patched', metavar='QEMU',
                        help='qemu-system-x86_64 with it')
    add_needed(parser, 'throttle.tsv and throttle.json')
    parser.add_argument('--throttles', default=THROTTLES, metavar='PCT,...',
                        help='default: %(default)s; what is no whole percent '
                        'is left out for QEMUs that know no others')
    parser.add_argument('--vcpus', default=VCPUS, metavar='N,...',
                        help='default: %(default)s')
    parser.add_argument('--runs', type=int, default=3,
                        help='of each point, interleaved; default: 3')
    parser.add_argument('--seconds', type=float, default=5.0,
                        help='to watch each; longer where a period of stock '
                        'is long; default: 5')
    arguments = parser.parse_args()
    try:
        arguments.throttles = [float(t) for t in
                               arguments.throttles.split(',')]
        arguments.vcpus = [int(n) for n in arguments.vcpus.split(',')]
    except ValueError as exc:
        parser.error(str(exc))
    if not all(0 < t < 100 for t in arguments.throttles):
        parser.error('--throttles: above 0, below 100')
    if not (arguments.stock or arguments.patched):
        parser.error('--stock, --patched: at least one of them')
    return arguments


@dataclass
class Subject:
    """A QEMU to measure."""
    name: str
    binary: str
    throttle: Throttle

    def seconds(self, throttle_pct: float, least: float) -> float:
        """How long to watch it."""
        if self.throttle.per_percent > 1:
            return least
        return max(least, STOCK_PERIODS * STOCK_SLICE_S
                   / run_share(throttle_pct))


class BusyGuest:
    """
    One QEMU with a busy guest; a context manager. Each run has its own: stock
    may stop to throttle a vCPU for good when a throttle ends.
    """

    def __init__(self, subject: Subject, vcpus: int, kernel: str):
        self._subject = subject
        self._vcpus = vcpus
        self._kernel = kernel
        self._stack = ExitStack()

    def __enter__(self) -> 'BusyGuest':
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, exc_type: Optional[Type[BaseException]],
                 exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self._stack.close()

    def _start(self) -> None:
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(
            prefix='throttle-', dir=SHARED_MEMORY
            if os.path.isdir(SHARED_MEMORY) else None))
        ram = os.path.join(directory, 'ram')
        config = MachineConfig(
            self._subject.binary, self._kernel, MEMORY_MIB,
            f'{WORKLOAD} cpus={self._vcpus}',
            ('-smp', str(self._vcpus), '-object',
             f'memory-backend-file,id=ram,mem-path={ram},share=on,'
             f'size={MEMORY_MIB}M', '-machine', 'memory-backend=ram'))
        self._machine = self._stack.enter_context(
            Machine(config, directory, self._subject.name, []))
        self._machine.serial.wait_ready()
        self._progress = ProgressMap(ram, self._vcpus)
        self._stack.callback(self._progress.close)
        self._threads = self._machine.vcpu_threads()

    def _watch(self, seconds: float) -> Watch:
        return watch(self._machine.pid, self._threads, self._progress.read,
                     seconds)

    def _watch_unseen(self, seconds: float) -> Watch:
        return watch(self._machine.pid, self._threads, self._progress.read,
                     seconds, period_s=seconds)

    def _pause_like(self, throttled: Watch, seconds: float) -> Optional[Watch]:
        """Only one vCPU is paused as it is throttled: by itself."""
        pulse = throttled.vcpus[0].pulse
        if self._vcpus > 1 or not pulse:
            return None
        return pause_and_watch(self._machine.pid, self._threads[0],
                               self._progress.read, seconds, pulse)

    def _set(self, throttle_pct: float) -> None:
        set_throttle(self._machine, self._subject.binary,
                     self._subject.throttle, throttle_pct)
        time.sleep(STEADY_S)

    def measure(self, throttle_pct: float, seconds: float) -> Measurement:
        """One run of one point."""
        time.sleep(STEADY_S)
        before = self._watch_unseen(UNHINDERED_S)
        self._set(throttle_pct)
        throttled = self._watch(seconds)
        unseen = self._watch_unseen(UNSEEN_S)
        self._set(0)
        after = self._watch_unseen(UNHINDERED_S)
        paused = self._pause_like(throttled, UNSEEN_S)
        if not all(vcpu.progress for vcpu in before.vcpus):
            raise BenchError(f'{self._subject.name}: a vCPU makes no progress')
        return Measurement(self._subject.name, self._vcpus, throttle_pct,
                           before, throttled, unseen, after, paused)


def measure_all(arguments: argparse.Namespace) -> List[Measurement]:
    """All points, run by run; the QEMUs take turns at each."""
    result = []
    subjects = [Subject(name, binary, find_throttle(binary))
                for name, binary in (('stock', arguments.stock),
                                     ('patched', arguments.patched))
                if binary]
    points = [(vcpus, throttle_pct, subject) for vcpus in arguments.vcpus
              for throttle_pct in arguments.throttles for subject in subjects
              if subject.throttle.knows(throttle_pct)]
    for run in range(arguments.runs):
        for vcpus, throttle_pct, subject in points:
            with BusyGuest(subject, vcpus, arguments.guest) as guest:
                result.append(guest.measure(
                    throttle_pct,
                    subject.seconds(throttle_pct, arguments.seconds)))
            tell(result[-1], run)
    return result


def tell(measurement: Measurement, run: int) -> None:
    """One line while it runs."""
    watched = measurement.throttled
    shares = ' '.join(f'{v.share * 100:.2f}' for v in watched.vcpus)
    gap = max(v.gap_s for v in watched.vcpus) * 1000
    print(f'run {run + 1}: {measurement.vcpus} vCPUs, throttle '
          f'{measurement.throttle_pct:g} %, {measurement.qemu}: '
          f'{shares} %, gap {gap:.1f} ms', file=sys.stderr, flush=True)


def write(arguments: argparse.Namespace, measurements: List[Measurement],
          points: List[Point]) -> None:
    """All of it, for programs."""
    os.makedirs(arguments.out, exist_ok=True)
    base = os.path.join(arguments.out, 'throttle')
    with open(f'{base}.tsv', 'w', encoding='ascii') as output:
        output.write(tsv(points))
    with open(f'{base}.json', 'w', encoding='ascii') as output:
        json.dump({'points': [point.to_json() for point in points],
                   'runs': [asdict(one) for one in measurements]},
                  output, indent=1)
    print(f'written: {base}.tsv, {base}.json')


def main() -> int:
    """Program."""
    arguments = parse_arguments()
    use_qemu_python(arguments.qemu_python)
    measurements = measure_all(arguments)
    points = make_points(measurements)
    print(f'{throttle_table(points)}\n\n{LEGEND}\n')
    write(arguments, measurements, points)
    return 0


if __name__ == '__main__':
    sys.exit(run_program('throttle', main))
