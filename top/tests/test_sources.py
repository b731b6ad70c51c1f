# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Live sources and recordings."""

import io
import json
import unittest
from typing import List

from convergetop.errors import UserError, Vanished
from convergetop.sources import LiveSource, Recording, Update

from .made_up import (START_S, Answer, FakeClock, FakeMonitor, patched_reply,
                      reply, sample)

PERIOD_S = 0.5


class Live(unittest.TestCase):
    """LiveSource"""

    def follow(self, answers: List[Answer],
               wait_for_next: bool = False) -> List[Update]:
        """All updates; the monitor stays in self.monitor."""
        self.monitor = FakeMonitor(answers)
        self.clock = FakeClock()
        source = LiveSource(self.monitor, PERIOD_S, wait_for_next,
                            self.clock.now, self.clock.sleep)
        self.updates: List[Update] = []
        for update in source.updates():
            self.updates.append(update)
        return self.updates

    def statuses(self) -> List[str]:
        """Of the samples."""
        return [update.sample.status for update in self.updates
                if update.sample]

    def test_from_none_to_the_end(self) -> None:
        """The end is asked for twice, as 7.2 has its figures late."""
        self.follow([{}, patched_reply(), reply(status='completed'),
                     reply(status='completed', downtime=5)])
        self.assertEqual(self.statuses(), ['none', 'active', 'completed'])
        last = self.updates[-1].sample
        assert last
        self.assertEqual(last.downtime_ms, 5)
        self.assertEqual(last.ceiling_pct, 99)

    def test_it_only_asks(self) -> None:
        """Nothing but queries, the parameters seldom."""
        self.follow([*[patched_reply()] * 30, *[reply(status='failed')] * 2])
        self.assertEqual(set(self.monitor.asked),
                         {'query-migrate', 'query-migrate-parameters'})
        self.assertEqual(self.monitor.asked.count('query-migrate'), 32)
        self.assertLess(self.monitor.asked.count('query-migrate-parameters'),
                        6)

    def test_qemu_goes_at_the_end(self) -> None:
        """The end was known."""
        self.follow([reply(status='completed'), Vanished('gone')])
        self.assertEqual(self.statuses(), ['completed'])

    def test_qemu_goes_before_it(self) -> None:
        """What was seen before is kept."""
        with self.assertRaises(Vanished):
            self.follow([patched_reply(), Vanished('gone')])
        self.assertEqual(self.statuses(), ['active'])

    def test_a_late_monitor(self) -> None:
        """It says for how long, and then goes on."""
        self.follow([None, None, None, patched_reply(),
                     *[reply(status='cancelled')] * 2])
        late = [update.late_s for update in self.updates]
        self.assertEqual(late[:4], [0.0, PERIOD_S, 2 * PERIOD_S, 0.0])
        self.assertEqual(self.statuses(), ['active', 'cancelled'])

    def test_wait_for_the_next(self) -> None:
        """The last one, which has ended, is not what is asked for."""
        self.follow([reply(status='failed'), reply(status='failed'),
                     patched_reply(), *[reply(status='completed')] * 2], True)
        self.assertEqual(self.statuses(),
                         ['none', 'none', 'active', 'completed'])
        self.assertIn('failed', self.updates[0].note)


class Recordings(unittest.TestCase):
    """Recording"""

    def play(self, text: str, speed: float = 1.0) -> List[Update]:
        """All of it; how long it took is in self.clock."""
        self.clock = FakeClock()
        return list(Recording(io.StringIO(text), speed,
                              self.clock.sleep).updates())

    def test_in_its_own_time(self) -> None:
        """Or faster, or at once."""
        samples = [sample(at_s=at_s) for at_s in (1, 2, 6)]
        text = ''.join(json.dumps(one.to_json()) + '\n' for one in samples)
        for speed, took_s in ((1, 5), (10, 0.5), (0, 0)):
            updates = self.play(text, speed)
            self.assertEqual([update.sample for update in updates], samples)
            self.assertAlmostEqual(self.clock.time_s - START_S, took_s)

    def test_a_clock_that_was_set_back(self) -> None:
        """It does not wait for that."""
        self.play('{"time_s": 9}\n{"time_s": 3}\n')
        self.assertEqual(self.clock.time_s, START_S)

    def test_what_is_no_recording(self) -> None:
        """The line is named."""
        for text, pattern in (('', 'no sample'), ('{"time_s": 1}\nx\n',
                                                  'line 2'),
                              ('[]\n', 'line 1.*no JSON object'),
                              ('{}\n', "line 1.*'time_s'")):
            with self.assertRaisesRegex(UserError, pattern):
                self.play(text)
