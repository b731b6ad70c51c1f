# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
A guest with many vCPUs migrates to and fro, throttled each time, while the
monitors of both QEMUs are asked a hundred times a second; every migration is
begun and cancelled once before. How long the answers take, and whether QEMU's
memory grows.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import List, Optional

from migbench.errors import BenchError
from migbench.machine import Machine, MachineConfig, use_qemu_python
from migbench.migrate import deadline
from migbench.migrate_info import END_STATUSES, percent
from migbench.program import add_needed, run_program

from .poller import Poller

BUSY_VCPUS_MAX = 8              # of the guest; the others halt
SET_MIB = 64
WORKLOAD = f'ws={SET_MIB} rate=max'
PAGE_BYTES = 4096
LINK_SHARE = 0.5                # of what the guest dirties
SPEED_S = 2.0                   # to see that
DOWNTIME_SHARE = 0.3            # of a pass: takes a throttle
NO_DOWNTIME_MS = 1              # ends late: there is time to cancel it
CEILING_PCT = 99
CANCEL_AFTER_S = 60             # where no throttle is seen until then
HOP_TIMEOUT_S = 600
REPORT_TIMEOUT_S = 60
POLL_S = 0.05
TRANSLATIONS_MIB = 32           # that is QEMU's, too, and grows with the guest
KIB = 1024
RAMP = 0.2                      # of the hops, before memory is compared
GROWTH_MAX = 0.05
GROWTH_MAX_KIB = 4096
NO_SWITCHOVER = 'pause-before-switchover'


@dataclass
class Hop:
    """One migration."""
    took_s: float = 0.0
    highest_pct: float = 0.0
    phase: str = ''
    cancelled_pct: float = 0.0          # the throttle that was cancelled
    own_kib: int = 0                    # memory of the source but the guest's
    latencies_ms: List[float] = field(default_factory=list)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog='load', description=__doc__)
    parser.add_argument('--qemu', required=True, metavar='QEMU')
    add_needed(parser, 'load.json')
    parser.add_argument('--hops', type=int, default=200)
    parser.add_argument('--vcpus', type=int, default=64)
    parser.add_argument('--memory-mib', type=int, default=8192)
    parser.add_argument('--per-second', type=float, default=100,
                        help='questions to each monitor; default: 100')
    return parser.parse_args()


def own_kib(pid: int) -> int:
    """What a QEMU has in memory besides the guest's, which is shared."""
    with open(f'/proc/{pid}/status', encoding='ascii') as status:
        for line in status:
            if line.startswith('RssAnon:'):
                return int(line.split()[1])
    raise BenchError('no RssAnon in /proc/PID/status')


def speed_bps(machine: Machine) -> float:
    """What the guest writes, unthrottled, in bytes/s of whole pages."""
    first = machine.serial.wait_report(time.time(), REPORT_TIMEOUT_S)
    time.sleep(SPEED_S)
    last = machine.serial.last_report(time.time())
    if not first or last.time <= first.time:
        raise BenchError('the workload guest does not report')
    return (last.work - first.work) * PAGE_BYTES / (last.time - first.time)


class Load:
    """All hops."""

    def __init__(self, arguments: argparse.Namespace, directory: str):
        self._arguments = arguments
        self._directory = directory
        self._link_bps = 0
        self.hops: List[Hop] = []

    def start(self, stack: ExitStack, number: int) -> Machine:
        """One more QEMU."""
        arguments = self._arguments
        name = f'host{number}'
        extra = ['-smp', str(arguments.vcpus),
                 '-object', 'memory-backend-memfd,id=ram,'
                 f'size={arguments.memory_mib}M',
                 '-machine', 'memory-backend=ram',
                 '-qmp', f'unix:{self._directory}/{name}.poll,server=on,'
                 'wait=off']
        config = MachineConfig(
            arguments.qemu, arguments.guest, arguments.memory_mib,
            f'{WORKLOAD} cpus={min(arguments.vcpus, BUSY_VCPUS_MAX)}', extra,
            f'tcg,tb-size={TRANSLATIONS_MIB}')
        return stack.enter_context(Machine(config, self._directory, name, (),
                                           incoming=number > 0))

    def poller(self, number: int) -> Poller:
        """Of that QEMU."""
        return Poller(f'{self._directory}/host{number}.poll',
                      self._arguments.per_second)

    def run(self) -> None:
        """To and fro; the guest checks its memory after each hop."""
        with ExitStack() as last:
            source_stack = last.enter_context(ExitStack())
            source = self.start(source_stack, 0)
            source.serial.wait_ready()
            self._link_bps = int(LINK_SHARE * speed_bps(source))
            for number in range(1, self._arguments.hops + 1):
                dest_stack = last.enter_context(ExitStack())
                dest = self.start(dest_stack, number)
                with deadline(HOP_TIMEOUT_S), self.poller(number - 1) as at, \
                        self.poller(number) as to:
                    hop = self._hop(source, dest, number)
                    hop.latencies_ms = at.latencies_ms + to.latencies_ms
                for poller in (at, to):
                    if poller.error:
                        raise BenchError(f'hop {number}: {poller.error}')
                self.hops.append(hop)
                self._tell(number, hop)
                source_stack.close()
                source, source_stack = dest, dest_stack

    def _hop(self, source: Machine, dest: Machine, number: int) -> Hop:
        uri = f'unix:{self._directory}/migration{number}.sock'
        source.set_capabilities({'auto-converge': True, NO_SWITCHOVER: True})
        source.qmp('migrate-set-parameters', **{
            'max-bandwidth': self._link_bps, 'downtime-limit': NO_DOWNTIME_MS,
            'max-cpu-throttle': CEILING_PCT, 'cpu-throttle-fallback': 'none'})
        hop = Hop(cancelled_pct=self._cancel_one(source))
        source.set_capabilities({NO_SWITCHOVER: False})
        source.qmp('migrate-set-parameters', downtime_limit=int(
            DOWNTIME_SHARE * SET_MIB * KIB * KIB / self._link_bps * 1000))
        dest.qmp('migrate-incoming', uri=uri)
        began = time.time()
        source.qmp('migrate', uri=uri)
        info = source.wait_migration_end()
        hop.took_s = time.time() - began
        if info['status'] != 'completed':
            raise BenchError(f"hop {number}: {info['status']}: "
                             f"{info.get('error-desc')}")
        # 7.2 says so a little before all is done
        time.sleep(POLL_S)
        ours = source.qmp('query-migrate').get('auto-converge', {})
        hop.highest_pct = percent(ours, 'highest-throttle-permille') or 0
        hop.phase = str(ours.get('phase', ''))
        if not dest.serial.wait_report(began, REPORT_TIMEOUT_S):
            raise BenchError(f'hop {number}: the guest is silent')
        verdict = dest.serial.verify()
        if not verdict or not verdict.good:
            raise BenchError(f'hop {number}: memory is not what it was')
        hop.own_kib = own_kib(source.pid)
        return hop

    def _cancel_one(self, source: Machine) -> float:
        """To nowhere; the throttle that is cancelled."""
        source.qmp('migrate', uri='exec:cat >/dev/null')
        end = time.monotonic() + CANCEL_AFTER_S
        throttle = 0.0
        while not throttle and time.monotonic() < end:
            info = source.qmp('query-migrate')
            if info.get('status') in END_STATUSES:
                raise BenchError('a migration to nowhere has '
                                 f"{info['status']}")
            throttle = percent(info.get('auto-converge', {}),
                               'throttle-permille') or 0.0
            if info.get('status') == 'pre-switchover':
                break
            time.sleep(POLL_S)
        source.qmp('migrate_cancel')
        info = source.wait_migration_end()
        if info['status'] == 'completed':
            raise BenchError('a migration was cancelled, and completed')
        return throttle

    @staticmethod
    def _tell(number: int, hop: Hop) -> None:
        print(f'{number:4} {hop.took_s:6.1f} s, throttle to '
              f'{hop.highest_pct:4.1f} %, cancelled at '
              f'{hop.cancelled_pct:4.1f} %; answers '
              f'{quantile(hop.latencies_ms, 0.5):5.1f} ms, 99 %: '
              f'{quantile(hop.latencies_ms, 0.99):6.1f} ms; memory '
              f'{hop.own_kib / KIB:6.1f} MiB', flush=True)


def quantile(values: List[float], share: float) -> float:
    """The value that so many are not above."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] \
        if ordered else float('nan')


def growth(hops: List[Hop]) -> Optional[str]:
    """What the later half has more than the hops after the first ones."""
    own = [hop.own_kib for hop in hops]
    ramp = int(RAMP * len(own))
    early, late = own[ramp:len(own) // 2], own[len(own) // 2:]
    if not early:
        return None
    before, after = statistics.median(early), statistics.median(late)
    if after - before > max(GROWTH_MAX * before, GROWTH_MAX_KIB):
        return f'QEMU has grown from {before:.0f} to {after:.0f} KiB'
    return None


def main() -> int:
    """Run; the exit status."""
    arguments = parse_arguments()
    use_qemu_python(arguments.qemu_python)
    os.makedirs(arguments.out, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='load-') as directory:
        load = Load(arguments, directory)
        try:
            load.run()
        finally:
            with open(os.path.join(arguments.out, 'load.json'), 'w',
                      encoding='utf-8') as out:
                json.dump([asdict(hop) for hop in load.hops], out)
    answers = [ms for hop in load.hops for ms in hop.latencies_ms]
    print(f'{len(load.hops)} migrations of {arguments.vcpus} vCPUs and '
          f'{arguments.memory_mib} MiB, '
          f'{sum(hop.highest_pct > 0 for hop in load.hops)} throttled, as many '
          'cancelled before; memory was checked after each')
    print(f'{len(answers)} answers: median {quantile(answers, 0.5):.1f} ms, '
          f'99 %: {quantile(answers, 0.99):.1f} ms, longest '
          f'{max(answers):.0f} ms')
    grown = growth(load.hops)
    print(grown or 'the memory of QEMU has not grown')
    return 1 if grown else 0


if __name__ == '__main__':
    sys.exit(run_program('load', main))
