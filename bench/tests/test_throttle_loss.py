# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What the guest counts of the throttle, on runs made up here.

    python3 -m unittest discover -s bench/tests -t bench
"""

import unittest
from typing import Any, Dict, List, Tuple

from migbench import throttle_loss
from migbench.migrate import Run
from migbench.migrate_info import make_sample
from migbench.console import Report
from migbench.vcpu_monitor import VcpuClock

START = 1000.0


def busy_run(bulk_s: float = 10) -> Run:
    """
    3 s undisturbed at 100 pages/s. Then the migration: 80 pages for each s
    executed, a tenth of the time taken by others; throttled to a tenth of the
    time from bulk_s on for 10 s.
    """
    run = Run(start=START, busy=True)
    end = bulk_s + 10
    # time, executed, waited, work
    known: List[Tuple[float, float, float, float]] = [
        (-3, 0, 0, 0), (0, 3, 0, 300)]
    known.append((bulk_s, 3 + 0.9 * bulk_s, 0.1 * bulk_s,
                  300 + 80 * 0.9 * bulk_s))
    _, executed, waited, work = known[-1]
    known.append((end, executed + 1, waited + 1, work + 80))
    run.clocks = [VcpuClock(START + k[0], k[1], k[2]) for k in known]
    reports = [Report(START + k[0], round(k[3]), 0, 0, 0) for k in known]
    run.baseline, run.before = reports[:2], reports[1]
    run.reports, run.last_at_source = reports[1:], reports[-1]
    for at, throttle in ((0, 0), (bulk_s, 0), (bulk_s + 0.2, 90), (end, 90)):
        reply: Dict[str, Any] = {'status': 'active',
                                 'cpu-throttle-percentage': throttle}
        run.samples.append(make_sample(reply, START + at, None))
    return run


class LostTest(unittest.TestCase):
    """lost.py"""

    def test_lost(self) -> None:
        """Of 10 s others took 1 s, and 1 s was executed: the rest was held."""
        self.assertAlmostEqual(throttle_loss.lost_s(busy_run()) or 0, 8)

    def test_short_bulk_pass(self) -> None:
        """Then the speed before counts: 80 pages are 0.8 s of it."""
        self.assertAlmostEqual(throttle_loss.lost_s(busy_run(0.5)) or 0, 8.2)

    def test_not_known(self) -> None:
        """No throttle, no clock, or a guest that is not always busy."""
        nothing: List[Any] = []
        for name, value in (('samples', nothing), ('clocks', nothing),
                            ('busy', False), ('last_at_source', None)):
            run = busy_run()
            setattr(run, name, value)
            self.assertIsNone(throttle_loss.lost_s(run))

    def test_at_time(self) -> None:
        """Between points; not before the first or after the last."""
        points = [(1.0, 10.0), (2.0, 20.0), (2.0, 21.0)]
        self.assertEqual(throttle_loss.at_time(points, 1.5), 15)
        self.assertEqual(throttle_loss.at_time(points, 1), 10)
        self.assertEqual(throttle_loss.at_time(points, 2), 21)
        self.assertIsNone(throttle_loss.at_time(points, 0.9))
        self.assertIsNone(throttle_loss.at_time(points, 2.1))

    def test_always_busy(self) -> None:
        """By its keys."""
        self.assertTrue(throttle_loss.always_busy('ws=200'))
        self.assertTrue(throttle_loss.always_busy('ws=200 rate=max cpus=2'))
        for append in ('rate=10', 'rate=max cpu=20', 'phases=1:calm'):
            self.assertFalse(throttle_loss.always_busy(append))


if __name__ == '__main__':
    unittest.main()
