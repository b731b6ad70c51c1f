# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Bars, sparklines, times and sizes."""

import unittest

from convergetop import text


class Pictures(unittest.TestCase):
    """bar() and sparkline()"""

    def test_bar(self) -> None:
        """As wide as asked for, whatever the share."""
        self.assertEqual(text.bar(0.5, 4), '[##..]')
        self.assertEqual(text.bar(-3, 4), '[....]')
        self.assertEqual(text.bar(7, 4), '[####]')

    def test_sparkline(self) -> None:
        """Lowest, highest, and a scale of its own."""
        self.assertEqual(text.sparkline([0, 7], 9), '▁█')
        self.assertEqual(text.sparkline([0, 50], 9, 100), '▁▅')
        self.assertEqual(text.sparkline([0, 0], 9), '▁▁')
        self.assertEqual(text.sparkline([], 9), '')
        self.assertEqual(text.sparkline([-5, 1], 9), '▁█')

    def test_many_values_share_a_character(self) -> None:
        """Every value counts in one of the means."""
        self.assertEqual(text.buckets([0, 2, 4, 6], 2), [1, 5])
        means = text.buckets(list(range(101)), 10)
        self.assertEqual(len(means), 10)
        self.assertEqual(means, sorted(means))

    def test_terminals_that_have_no_blocks(self) -> None:
        """The encoding decides."""
        self.assertEqual(text.blocks_for('utf-8'), text.BLOCKS)
        for encoding in ('ascii', 'latin-1', None, 'no such encoding'):
            self.assertEqual(text.blocks_for(encoding), text.PLAIN_BLOCKS)
        self.assertEqual(len(text.BLOCKS), len(text.PLAIN_BLOCKS))


class Quantities(unittest.TestCase):
    """duration(), size(), rate(), percent()"""

    def test_durations(self) -> None:
        """As exact as they are worth."""
        for value_ms, shown in ((0, '0 ms'), (340, '340 ms'), (4120, '4.1 s'),
                                (41499, '41 s'), (125000, '2 min 05 s'),
                                (59999, '1 min 00 s'),
                                (12000000, '3 h 20 min'),
                                (-41000, '-41 s'), (None, '-')):
            self.assertEqual(text.duration(value_ms), shown)

    def test_sizes_and_rates(self) -> None:
        """Powers of ten."""
        self.assertEqual(text.size(312.14e6), '312.1 MB')
        self.assertEqual(text.size(4.294e9), '4.29 GB')
        self.assertEqual(text.size(1.5e12), '1.50 TB')
        self.assertEqual(text.rate(35e6), '35.0 MB/s')
        self.assertEqual(text.rate(None), '-')
        self.assertEqual(text.megabytes(None, 5), '    -')

    def test_percent(self) -> None:
        """The same for both kinds of number."""
        for value_pct, shown in ((98.9, '98.9 %'), (80, '80 %'),
                                 (80.0, '80 %'), (0, '0 %'), (100, '100 %'),
                                 (None, '-')):
            self.assertEqual(text.percent(value_pct), shown)
