# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
The throttle benchmark: what it reads, and what it makes of it.

    python3 -m unittest discover -s bench/tests -t bench
"""

import os
import re
import tempfile
import unittest
from typing import List
from unittest import mock

from migbench import debugger, tables, vcpu_monitor
from migbench.errors import BenchError

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


def vcpu(share: float, wait: float = 0.0, speed: float = 1000.0,
         gap_s: float = 0.01) -> vcpu_monitor.VcpuWatch:
    """10 s, of which others took wait, and it executed a share of the rest."""
    run_s = share * (10 - wait)
    return vcpu_monitor.VcpuWatch(10, run_s, wait, round(run_s * speed), gap_s,
                                  1000)


def measurement(throttle_pct: float, *throttled: vcpu_monitor.VcpuWatch
                ) -> tables.Measurement:
    """Undisturbed before and after; pauses cost a 20th of the speed."""
    free = vcpu_monitor.Watch([vcpu(1.0) for _ in throttled], 0.001)
    seen = vcpu_monitor.Watch(list(throttled), 0.002)
    paused = vcpu_monitor.Watch([vcpu(0.1, speed=950) for _ in throttled],
                                0.001)
    return tables.Measurement('patched', len(throttled), throttle_pct, free,
                              seen, seen, free, paused)


class WatchTest(unittest.TestCase):
    """vcpu_monitor.py"""

    def meter(self, looks: List[int]) -> vcpu_monitor.GapMeter:
        """Looks at one vCPU, 1 s apart."""
        meter = vcpu_monitor.GapMeter(0, looks[:1])
        for now, value in enumerate(looks[1:], 1):
            meter.take(now, [value])
        meter.finish()
        return meter

    def test_gap(self) -> None:
        """Seen at 1, and again at 4."""
        meter = self.meter([5, 6, 6, 6, 9, 10])
        self.assertEqual(meter.gaps_s, [3])
        self.assertEqual(meter.progress, [5])
        self.assertEqual(meter.own_gap_s, 1)
        # looks are so far apart that each of them ends a sleep
        self.assertEqual(meter.sleeps, [3])

    def test_gap_until_the_end(self) -> None:
        """What does not go on counts, too."""
        self.assertEqual(self.meter([5, 6, 6, 6]).gaps_s, [2])

    def test_wrap(self) -> None:
        """The words have 32 bits."""
        self.assertEqual(self.meter([2 ** 32 - 1, 4]).progress, [5])

    def test_own_gap(self) -> None:
        """A look that came late."""
        meter = vcpu_monitor.GapMeter(0, [0, 0])
        meter.take(1, [1, 0])
        meter.take(5, [2, 1])
        self.assertEqual(meter.own_gap_s, 4)
        self.assertEqual(meter.gaps_s, [4, 5])

    def test_schedstat(self) -> None:
        """Time that others took is not the throttle's doing."""
        before = vcpu_monitor.parse_schedstat('1000000000 500 7\n', 1)
        after = vcpu_monitor.parse_schedstat('2000000000 2000000500 9\n', 5)
        seen = vcpu_monitor.vcpu_watch(before, after, 100, 0.5, 10)
        self.assertAlmostEqual(seen.raw_share, 1 / 4)
        self.assertAlmostEqual(seen.share, 1 / (4 - 2))
        self.assertEqual(seen.speed, 100)
        # 1 s executed and 1 s held back, in ten pulses
        self.assertEqual(seen.pulse, (0.1, 0.1))

    def test_no_schedstat(self) -> None:
        """As of a kernel without it."""
        with self.assertRaisesRegex(BenchError, 'schedstat'):
            vcpu_monitor.parse_schedstat('0\n', 1)
        with self.assertRaisesRegex(BenchError, 'schedstat'):
            vcpu_monitor.read_schedstats(os.getpid(), [0])

    def test_progress_map(self) -> None:
        """A word in each line, as the guest lays them out."""
        with tempfile.NamedTemporaryFile() as ram:
            ram.truncate(vcpu_monitor.PROGRESS_ADDRESS + 4096)
            for number in range(3):
                ram.seek(vcpu_monitor.PROGRESS_ADDRESS
                         + number * vcpu_monitor.PROGRESS_STRIDE)
                ram.write(bytes([number + 1, 0, 0, 0]))
            ram.flush()
            words = vcpu_monitor.ProgressMap(ram.name, 2)
            self.assertEqual(words.read(), [1, 2])
            words.close()

    def test_guest_agrees(self) -> None:
        """Where the guest has its words."""
        path = os.path.join(TOP, 'tests', 'guest', 'progress.h')
        with open(path, encoding='ascii') as header:
            said = dict(re.findall(r'#define (PROGRESS_\w+)\s+(\w+)u',
                                   header.read()))
        self.assertEqual(int(said['PROGRESS_ADDRESS'], 0),
                         vcpu_monitor.PROGRESS_ADDRESS)
        self.assertEqual(int(said['PROGRESS_STRIDE'], 0),
                         vcpu_monitor.PROGRESS_STRIDE)


class DebuggerTest(unittest.TestCase):
    """debugger.py, without a debugger"""

    def test_calls(self) -> None:
        """Stock takes percent, the series permille; 0 is to stop."""
        def calls(throttle: debugger.Throttle, pct: float) -> List[str]:
            return [word for command in throttle.set_commands(pct)
                    for word in re.findall(r'cpu_throttle_\w+|rdi = \d+',
                                           command)]

        with mock.patch('platform.machine', return_value='x86_64'):
            self.assertEqual(calls(debugger.STOCK, 50)[:2],
                             ['rdi = 50', 'cpu_throttle_set'])
            self.assertEqual(calls(debugger.FINE, 99.5)[:2],
                             ['rdi = 995', 'cpu_throttle_set_permille'])
            self.assertEqual(calls(debugger.STOCK, 0)[1:],
                             ['cpu_throttle_stop', 'rdi = 0',
                              'cpu_throttle_get_percentage'])
        with mock.patch('platform.machine', return_value='riscv64'):
            self.assertIn('cpu_throttle_set)(50)',
                          debugger.STOCK.set_commands(50)[0])
        self.assertFalse(debugger.STOCK.knows(99.5))
        self.assertTrue(debugger.FINE.knows(99.5))

    def test_command(self) -> None:
        """It stops where the BQL is held, and leaves at the end."""
        words = debugger.gdb_command('qemu', 7, ['print f()'])
        commands = [word for flag, word in zip(words, words[1:])
                    if flag == '-ex']
        self.assertLess(commands.index('attach 7'),
                        commands.index('break *qmp_query_status'))
        self.assertEqual(commands[-2:], ['print f()', 'detach'])
        self.assertEqual(words[-1], 'qemu')

    def test_output(self) -> None:
        """The last value, or what is wrong."""
        good = ('debugger waits\n[Switching to Thread 1]\n\nThread 1 "qemu" '
                'hit Breakpoint 1, 0x1 in qmp_query_status ()\n$1 = 995\n'
                '[Inferior 1 (process 7) detached]\n')
        self.assertEqual(debugger.value_of(good), 995)
        self.assertIsNone(debugger.failure_of(good))
        denied = 'Type "help"\nptrace: Operation not permitted.\n'
        self.assertEqual(debugger.failure_of(denied),
                         'ptrace: Operation not permitted.')
        self.assertIsNone(debugger.value_of(denied))


class PointsTest(unittest.TestCase):
    """tables.py"""

    def test_point(self) -> None:
        """Medians of the runs; the worst gap of all."""
        runs = [measurement(90, vcpu(0.10, gap_s=0.04), vcpu(0.12)),
                measurement(90, vcpu(0.11, wait=5, gap_s=0.09), vcpu(0.11)),
                measurement(90, vcpu(0.30, gap_s=0.05), vcpu(0.10))]
        point = tables.make_point(runs)
        self.assertAlmostEqual(point.commanded, 0.10)
        self.assertAlmostEqual(point.mean_share, 0.11)
        self.assertAlmostEqual(point.mean_error, 0.10)
        self.assertAlmostEqual(point.busiest_share, 0.12)
        self.assertAlmostEqual(point.busiest_error, 0.20)
        # of the second, half the time of the one is not its own: 0.0825
        self.assertAlmostEqual(point.raw_share, 0.11)
        self.assertAlmostEqual(point.gap_ms, 50)
        self.assertAlmostEqual(point.worst_gap_ms, 90)
        self.assertAlmostEqual(point.own_gap_ms, 2)

    def test_overhead(self) -> None:
        """A tenth less for each s executed, half of it by any pause."""
        one = measurement(90, vcpu(0.1, speed=900), vcpu(0.1, speed=900))
        self.assertAlmostEqual(tables.slower(one) or 0, 0.1)
        self.assertAlmostEqual(tables.overhead(one) or 0, 1 - 900 / 950)
        # 1 s in 1000 slices
        self.assertAlmostEqual(tables.slice_ms(one) or 0, 1)
        # one that executed nothing has none
        self.assertIsNone(tables.slower(measurement(90, vcpu(0.0))))

    def test_busy_host(self) -> None:
        """A throttle is not to blame for what the host does not give."""
        one = measurement(10, vcpu(0.9, wait=5))
        one.before = one.after = vcpu_monitor.Watch([vcpu(1, wait=5)])
        point = tables.make_point([one])
        self.assertAlmostEqual(point.mean_error, 0)
        self.assertAlmostEqual(point.host_share, 0.5)
        # 0.45 instead of 0.5
        self.assertAlmostEqual(point.raw_error, -0.1)

    def test_table(self) -> None:
        """A row for each point, in order; the same for programs."""
        made = tables.make_points([measurement(99.5, vcpu(0.005)),
                                   measurement(90, vcpu(0.0)),
                                   measurement(99.5, vcpu(0.005))])
        self.assertEqual([p.runs for p in made], [2, 1])
        rows = tables.throttle_table(made).splitlines()
        self.assertRegex(rows[2], r'1 +99.5 +patched +2 +0.5 +0.50 ')
        self.assertRegex(rows[3], r'-100.0 .* -$')
        lines = tables.tsv(made).splitlines()
        self.assertEqual(len(lines), 3)
        self.assertEqual(len(lines[0].split('\t')), len(lines[1].split('\t')))


if __name__ == '__main__':
    unittest.main()
