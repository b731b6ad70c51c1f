# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What is read from a report of guestperf."""

import math
import unittest
from typing import Any, Dict, List, Tuple

from perf.__main__ import kept, make_row, table


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
        """Half the speed; what the destination says does not count."""
        self.assertAlmostEqual(kept(report([(98, 50), (99, 50), (103, 100),
                                            (105, 100), (112, 50)])), 0.5)

    def test_silent(self) -> None:
        """A guest that said nothing has no speed."""
        self.assertTrue(math.isnan(kept(report([(98, 50)]))))

    def test_row(self) -> None:
        """The highest throttle, the last step."""
        row = make_row('a/b', 'stock', 2, report([(98, 50), (103, 100)]))
        self.assertEqual((row.outcome, row.total_s, row.downtime_ms,
                          row.passes, row.throttle_pct),
                         ('completed', 10, 250, 3, 90))
        self.assertIn('stock', table([row]).split('\n')[1])
