# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
The benchmark of a Linux guest: what it reads, and what it makes of it.

    python3 -m unittest discover -s bench/tests -t bench
"""

import os
import re
import shutil
import struct
import tempfile
import unittest
from typing import Any, Dict, List, Optional, Sequence

from guest import __main__ as program
from guest import kept, migration, shared, silence, timeline
from guest.charts import plot_kept, plot_migrations
from guest.linux import GuestConfig
from migbench.errors import BenchError
from migbench.migrate import Run
from migbench.tables import format_table, tsv
from migbench.migrate_info import make_sample
from migbench.vcpu_monitor import VcpuClock

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
START = 1000.0                  # time.time() of a migration's start
FREE_RATE = 100                 # transactions per second


def buckets(**numbers: int) -> List[int]:
    """Transactions of a few buckets: b8=3."""
    latency = [0] * shared.LATENCY_BUCKETS
    for name, number in numbers.items():
        latency[int(name[1:])] = number
    return latency


class SharedTest(unittest.TestCase):
    """shared.py"""

    def test_guest_agrees(self) -> None:
        """Offsets and sizes are those of the guest's header."""
        path = os.path.join(TOP, 'bench', 'guest', 'programs', 'shared.h')
        with open(path, encoding='ascii') as header:
            text = header.read()
        said = dict(re.findall(r'#define (\w+) (\w+?)(?:ull)?\s', text))
        self.assertEqual(int(said['SHARED_BYTES']), shared.SHARED_BYTES)
        self.assertEqual(int(said['SHARED_MAGIC'], 0), shared.MAGIC)
        self.assertEqual(int(said['COUNTERS']), shared.COUNTERS)
        self.assertEqual(int(said['COUNTER_WORDS']), shared.COUNTER_WORDS)
        self.assertEqual(1 << int(said['LATENCY_STEP_BITS']),
                         shared.LATENCY_STEPS)
        self.assertIn('#define LATENCY_BUCKETS (39 * LATENCY_STEPS + 1)', text)
        self.assertEqual(shared.LATENCY_BUCKETS,
                         39 * shared.LATENCY_STEPS + 1)
        self.assertRegex(text, rf'magic; +/\* {shared.MAGIC_AT}:')
        self.assertRegex(text, rf'seconds; +/\* {shared.SECONDS_AT}:')
        self.assertRegex(text, rf'COUNTER_WORDS\]; +/\* {shared.COUNT_AT}:')
        self.assertRegex(text, rf'BUCKETS\]; +/\* {shared.LATENCY_AT}:')

    def write(self, ram: Any, offset: int, *words: int) -> None:
        """As the guest would."""
        ram.seek(shared.PAGE_AT + offset)
        ram.write(struct.pack(f'<{len(words)}Q', *words))
        ram.flush()

    def test_pages(self) -> None:
        """All counters together are the work."""
        with tempfile.NamedTemporaryFile() as ram:
            ram.truncate(shared.PAGE_AT + shared.SHARED_BYTES)
            with shared.SharedPages(ram.name) as pages:
                self.assertFalse(pages.ready)
                self.write(ram, shared.MAGIC_AT, shared.MAGIC, 7)
                self.write(ram, shared.COUNT_AT, 5, *[99] * 7, 6)
                self.write(ram, shared.LATENCY_AT, 1, 2)
                self.assertTrue(pages.ready)
                counts = pages.read()
        self.assertEqual((counts.work, counts.printed), (11, 7))
        self.assertEqual(list(counts.latency), buckets(b0=1, b1=2))

    def test_bucket(self) -> None:
        """Eight to a factor of two; as of 2^20 ns, and the last one."""
        self.assertAlmostEqual(shared.bucket_s(160), 2 ** 20 / 1e9)
        self.assertAlmostEqual(shared.bucket_s(164), 1.5 * 2 ** 20 / 1e9)
        self.assertAlmostEqual(shared.bucket_s(168), 2 ** 21 / 1e9)
        self.assertAlmostEqual(shared.bucket_s(shared.LATENCY_BUCKETS - 1),
                               2 ** 39 / 1e9)

    def test_quantile(self) -> None:
        """Within a bucket in proportion."""
        self.assertEqual(shared.quantile_s(buckets(), 0.5), 0)
        latency = buckets(b160=50, b168=50)
        self.assertAlmostEqual(shared.quantile_s(latency, 0.5),
                               shared.bucket_s(161))
        self.assertAlmostEqual(
            shared.quantile_s(latency, 0.75),
            (shared.bucket_s(168) + shared.bucket_s(169)) / 2)

    def test_between(self) -> None:
        """What came in since, and how much of that is slow."""
        got = shared.latency_between(buckets(b8=1, b240=4),
                                     buckets(b8=3, b240=9, b300=1))
        self.assertEqual(got, buckets(b8=2, b240=5, b300=1))
        self.assertEqual(shared.slower_than(got, 1.0), 6)   # 2^30 ns
        self.assertEqual(shared.slower_than(got, 1.1), 1)


class ConfigTest(unittest.TestCase):
    """linux.py, and the command line"""

    def test_machine(self) -> None:
        """The kernel leaves alone what the probe maps, in a shared file."""
        config = GuestConfig('image', 'redis', 2, 'probe.keys=9', 256)
        arguments = config.machine('qemu', '/ram').arguments()
        append = arguments[arguments.index('-append') + 1]
        self.assertIn(f'memmap=64K${shared.PAGE_AT:#x}', append)
        self.assertIn(f'probe.page={shared.PAGE_AT:#x}', append)
        self.assertIn('probe.load=redis probe.keys=9', append)
        self.assertIn('memory-backend-file,id=ram,mem-path=/ram,share=on,'
                      'size=256M', arguments)

    def test_guests(self) -> None:
        """Each with its number of vCPUs, not less than it takes."""
        self.assertEqual(program.parse_guests('spin:1,ipi:2'),
                         [('spin', 1), ('ipi', 2)])
        for wrong in ('ipi:1', 'spinn:1', 'spin', ''):
            with self.assertRaises(ValueError):
                program.parse_guests(wrong)

    def test_default_guests(self) -> None:
        """They are what may be asked for."""
        self.assertTrue(program.parse_guests(program.GUESTS))


def window(rate: float, waited: float = 0.0, seconds: float = 10.0,
           latency: Optional[List[int]] = None) -> kept.Window:
    """Some work per second of those that the host gives."""
    return kept.Window(seconds, round(rate * seconds * (1 - waited)), 9,
                       waited, latency or buckets(), [0.1, 0.2])


def one_kept(share: float, qemu: str = 'stock', load: str = 'redis',
             waited: float = 0.0, throttle_pct: float = 80) -> kept.Kept:
    """A run in which this share was kept."""
    return kept.Kept(qemu, load, 2, throttle_pct, window(900),
                     window(1000 * share, waited, latency=buckets(b160=4)),
                     window(1100))


class KeptTest(unittest.TestCase):
    """kept.py"""

    def test_share(self) -> None:
        """Of the mean of before and after; what others took is left out."""
        run = one_kept(0.2, waited=0.5)
        self.assertAlmostEqual(run.free_rate, 1000)
        self.assertAlmostEqual(run.share, 0.2)
        self.assertAlmostEqual(run.waited, 0.5)
        told = run.to_json()['throttled']
        self.assertNotIn('latency', told)
        self.assertEqual(told['executed'], [0.1, 0.2])

    def test_point(self) -> None:
        """Median, least and most of the runs."""
        runs = [one_kept(share, waited=waited) for share, waited in
                ((0.1, 0), (0.3, 0.2), (0.18, 0))]
        point, = kept.make_points(runs)
        self.assertEqual(point.runs, 3)
        for got, want in ((point.share, 0.18), (point.least, 0.1),
                          (point.most, 0.3), (point.efficiency, 0.9),
                          (point.printed, 0.9)):
            self.assertAlmostEqual(got, want)
        self.assertEqual(point.disturbed, 1)
        self.assertAlmostEqual(point.median_ms / 1000,
                               (shared.bucket_s(160) + shared.bucket_s(161))
                               / 2)

    def test_groups(self) -> None:
        """A point for each QEMU, in the order in which they came."""
        points = kept.make_points([one_kept(0.1), one_kept(0.2, 'patched'),
                                   one_kept(0.3)])
        self.assertEqual([(p.qemu, p.runs) for p in points],
                         [('stock', 2), ('patched', 1)])

    def test_window(self) -> None:
        """Longer where stock's periods are, and where it is asked for."""
        self.assertEqual(kept.window_s(90, 1), kept.WINDOW_S)
        self.assertEqual(kept.window_s(95, 1), kept.LONG_WINDOW_S)
        self.assertEqual(kept.window_s(50, 20), 20)

    def test_table(self) -> None:
        """Latencies of transactions alone; a line for each point."""
        points = kept.make_points([one_kept(0.1),
                                   one_kept(0.2, load='spin')])
        table = format_table(kept.rows(points)).splitlines()
        self.assertEqual(len(table), 4)
        self.assertRegex(table[2], r'redis +2 +80 +stock +1 +20.0 +10.00')
        self.assertRegex(table[3], r'- +- +0$')
        self.assertEqual(len(tsv(points).splitlines()), 3)


def looks(first_s: float, rate: int) -> List[silence.Look]:
    """After a silence: nothing until first_s, then work at a rate."""
    times = [look_ms / 1000 for look_ms in range(0, 202, 2)]
    return [(now, round(max(now - first_s, 0) * rate)) for now in times]


class AfterSilenceTest(unittest.TestCase):
    """silence.py"""

    config = GuestConfig('images', 'redis', 1)

    def test_work_at(self) -> None:
        """Between two looks; not where nobody looked."""
        seen = [(0.0, 100), (0.001, 100), (0.003, 300)]
        self.assertEqual(silence.work_at(seen, 0), 100)
        self.assertAlmostEqual(silence.work_at(seen, 0.002), 200)
        with self.assertRaisesRegex(BenchError, 'until 0.004 s'):
            silence.work_at(seen, 0.004)

    def test_sum_up(self) -> None:
        """Shares of what is done in as long a time later."""
        one = silence.sum_up(self.config, 0.19,
                             [looks(0.008, 100000), looks(0.004, 100000)])
        self.assertEqual(one.cycles, 2)
        self.assertAlmostEqual(one.free_rate, 100000)
        wanted = (0, 0.1, 0.4, 0.7, 0.88)   # of AFTER_S
        for got, want in zip(one.done, wanted):
            self.assertAlmostEqual(got, want)
        self.assertEqual(one.to_json()['done_5_ms'], one.done[1])
        self.assertRegex(format_table(silence.rows([one])),
                         r'redis +1 +190 +100000 +0.00 +0.10 ')

    def test_dead(self) -> None:
        """A guest that does nothing is no guest to compare with."""
        with self.assertRaisesRegex(BenchError, 'does nothing'):
            silence.sum_up(self.config, 0.19, [looks(1, 100000)])


def records(*works: int, silence_s: float = 0.01,
            first: float = START - 2) -> List[timeline.Record]:
    """A record each second."""
    return [timeline.Record(first + second,
                            shared.Counts(work, 0, buckets(b160=work)),
                            silence_s)
            for second, work in enumerate(works)]


class TimelineTest(unittest.TestCase):
    """timeline.py"""

    def test_silence(self) -> None:
        """What ended, and what goes on, since it was asked last."""
        meter = timeline.SilenceMeter(0, 5)
        for now, work in ((1, 6), (2, 6), (4, 7), (5, 7)):
            meter.take(now, work)
        self.assertEqual(meter.longest_s(5), 3)
        self.assertEqual(meter.longest_s(9), 5)     # goes on since 4
        meter.take(10, 8)
        self.assertEqual(meter.longest_s(10), 6)
        self.assertEqual(meter.longest_s(10.5), 0.5)

    def test_greater(self) -> None:
        """The source's, until the destination is ahead."""
        here, there = (shared.Counts(work, mark, [])
                       for work, mark in ((5, 1), (5, 2)))
        self.assertIs(timeline.greater([here, there]), here)
        there.work += 1
        self.assertIs(timeline.greater([here, there]), there)

    def test_intervals(self) -> None:
        """Differences; all together; of a time."""
        parts = timeline.intervals(records(0, 10, 30, 30))
        self.assertEqual([part.transactions for part in parts], [10, 20, 0])
        self.assertEqual(parts[1].rate, 20)
        self.assertEqual(parts[1].latency, buckets(b160=20))
        parts[1].silence_s = 0.5
        total = timeline.whole(parts)
        assert total
        self.assertEqual((total.start, total.end, total.transactions,
                          total.silence_s), (START - 2, START + 1, 30, 0.5))
        self.assertIsNone(timeline.whole([]))
        self.assertEqual(timeline.between(parts, START - 0.5, START),
                         parts[1:2])


def sample_reply(status: str, throttle: int) -> Dict[str, Any]:
    """Of query-migrate."""
    return {'status': status, 'cpu-throttle-percentage': throttle,
            'ram': {'remaining': 1, 'total': 2, 'dirty-sync-count': 3}}


def served(works: Sequence[int], qemu: str = 'stock',
           outcome: str = 'completed') -> migration.Served:
    """Two s free; then 4 s of migration, and AFTER_S more."""
    run = Run(start=START, end=START + 4, outcome=outcome)
    for at, throttle in ((0, 0), (2, 80), (4, 0)):
        run.samples.append(make_sample(sample_reply('active', throttle),
                                       START + at, None))
    run.clocks = [VcpuClock(START, 1, 2), VcpuClock(START + 4, 4, 3)]
    run.final = {'total-time': 3900, 'downtime': 1000}
    return migration.Served(qemu, 2, run,
                            timeline.intervals(records(*works)))


# 200 before, then full speed, 10, 10, 0, and full speed again
WORKS = [0, 100, 200, 300, 310, 320, 320,
         *range(420, 420 + 100 * int(migration.AFTER_S), 100)]


class MigrationTest(unittest.TestCase):
    """migration.py"""

    def test_figures(self) -> None:
        """What is lost is what the rate before would have given."""
        got, = migration.all_metrics([served(WORKS)])
        self.assertEqual(got.free_rate, FREE_RATE)
        self.assertEqual(got.done, WORKS[-1] - 200)
        self.assertEqual(got.lost, 280)     # 90 + 90 + 100
        self.assertAlmostEqual(got.lost_s, 2.8)
        self.assertEqual(got.total_s, 3.9)
        self.assertEqual(got.downtime_ms, 1000)
        self.assertEqual(got.highest_throttle_pct, 80)
        self.assertEqual(got.late, 0)
        assert got.waited
        self.assertAlmostEqual(got.waited, 0.25)

    def test_slow_host(self) -> None:
        """The rate before is that of all migrations of a guest."""
        slow, other = [work // 2 for work in WORKS], served(WORKS)
        other.vcpus = 1
        got = migration.all_metrics([served(WORKS), served(slow), other,
                                     served(WORKS)])
        self.assertEqual([one.free_rate for one in got], [FREE_RATE] * 4)
        self.assertEqual(got[0].lost, 280)
        self.assertEqual(got[1].lost, 280 + slow[-1] - slow[2])

    def test_cancelled(self) -> None:
        """No downtime; it lasted until it was cancelled."""
        got = migration.metrics(served(WORKS, outcome='cancelled'), FREE_RATE)
        self.assertEqual(got.total_s, 4)
        self.assertIsNone(got.downtime_ms)
        self.assertIn('cancelled', got.outcome)

    def test_nothing_before(self) -> None:
        """Then there is nothing to compare with."""
        with self.assertRaisesRegex(BenchError, 'nothing was done'):
            migration.all_metrics([served([0] * len(WORKS))])

    def test_table(self) -> None:
        """The figure that counts, and the time line for programs."""
        one = served(WORKS)
        shown = migration.metrics(one, FREE_RATE)
        table = format_table(migration.rows([shown]))
        self.assertRegex(table, r' 280 +2\.8 ')
        told = migration.to_json(one, shown)
        self.assertEqual(told['intervals'][2]['transactions'], 100)
        self.assertEqual(told['intervals'][2]['start'], 0)


@unittest.skipUnless(shutil.which('gnuplot'), 'gnuplot is missing')
class ChartsTest(unittest.TestCase):
    """charts.py"""

    def setUp(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, 'a.svg')

    def tearDown(self) -> None:
        self.directory.cleanup()

    def drawn(self) -> str:
        """The picture."""
        with open(self.path, encoding='utf-8') as picture:
            return picture.read()

    def test_kept(self) -> None:
        """A panel for each guest; nothing kept is drawn, too."""
        plot_kept(self.path, kept.make_points(
            [one_kept(share, qemu, load, throttle_pct=pct)
             for share in (0, 0.1) for qemu in ('stock', 'patched')
             for load in ('spin', 'redis') for pct in (80, 99)]))
        for word in ('spin, 2 vCPUs', 'redis, 2 vCPUs', 'patched'):
            self.assertIn(word, self.drawn())

    def test_migrations(self) -> None:
        """Time lines of both QEMUs."""
        plot_migrations(self.path, [served(WORKS), served(WORKS, 'patched')])
        for word in ('transactions', 'stock: median', 'patched: p99'):
            self.assertIn(word, self.drawn())


if __name__ == '__main__':
    unittest.main()
