# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What is read from a report of guestperf."""

import math
import shutil
import tempfile
import unittest
from typing import Any, Dict, List, Tuple

from perf.chart import plot
from perf.report import kept, make_row, speeds, table


def report(timings: List[Tuple[float, float]]) -> Dict[str, Any]:
    """One that has migrated from 100 s on, for 10 s."""
    steps = [{'now': now, 'duration': (now - 100) * 1000, 'downtime': downtime,
              'status': status, 'throttle_pcent': throttle,
              'ram': {'iterations': passes}}
             for now, downtime, status, throttle, passes in
             ((100.0, 0, 'active', 0, 1), (104.0, 0, 'active', 90, 2),
              (110.0, 250, 'completed', 0, 3))]
    return {'progress_history': steps, 'guest_timings': [
        {'timestamp': time, 'value': value} for time, value in timings]}


class ReportTest(unittest.TestCase):
    """kept() and make_row()."""

    def test_kept(self) -> None:
        """Two of five GB; what the destination says does not count."""
        self.assertAlmostEqual(kept(report(
            [(98, 2000), (99, 2000), (103, 3000), (107, 4000), (112, 2000)])),
            0.4)

    def test_silent(self) -> None:
        """Nothing was done; nothing is known to compare with."""
        self.assertEqual(kept(report([(98, 50)])), 0)
        self.assertTrue(math.isnan(kept(report([(103, 50)]))))

    def test_speeds(self) -> None:
        """
        A GB takes the time before its word; at the destination, too, but the
        stop, a quarter of a second, is not in the guest's clock.
        """
        stretches = speeds(report([(99, 2000), (105, 4000), (112, 1000)]))
        self.assertEqual([tuple(stretch) for stretch in stretches],
                         [(-3, -1, 1), (1, 5, 0.5), (11.25, 12.25, 2)])

    @unittest.skipUnless(shutil.which('gnuplot'), 'gnuplot is missing')
    def test_plot(self) -> None:
        """Both QEMUs are drawn, with how they ended and the stop."""
        with tempfile.TemporaryDirectory() as where:
            path = f'{where}/perf.svg'
            one = report([(99, 2000), (105, 4000), (112, 4000)])
            plot(path, {'a/b': [('stock', one), ('patched', one)]})
            with open(path, encoding='utf-8') as drawn:
                text = drawn.read()
            with open(f'{where}/perf-b-stock-speed.dat',
                      encoding='ascii') as data:
                self.assertIn('1.000 50.000\n5.000 50.000\n8.000 50.000\n'
                              '9.750 50.000\n\n10.000 50.000\n12.250 50.000\n',
                              data.read())
        for word in ('stock: completed after 10.0 s', 'patched: completed',
                     'b: speed of the guest', 'b: throttle'):
            self.assertIn(word, text)

    def test_cancelled(self) -> None:
        """QEMU tells no times and passes any more."""
        one = report([(99, 2000), (105, 4000)])
        one['progress_history'][-1].update(
            status='cancelled', duration=0, ram={'iterations': 0})
        row = make_row('a/b', 'stock', 1, one)
        self.assertEqual((row.outcome, row.total_s, row.passes,
                          row.work_kept), ('cancelled', 10, 2, 0.2))

    def test_row(self) -> None:
        """The highest throttle, the last step."""
        row = make_row('a/b', 'stock', 2, report([(98, 50), (103, 100)]))
        self.assertEqual((row.outcome, row.total_s, row.downtime_ms,
                          row.passes, row.throttle_pct),
                         ('completed', 10, 250, 3, 90))
        self.assertIn('stock', table([row]).split('\n')[1])
