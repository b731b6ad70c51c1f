# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What is understood of a reply.

    python3 -m unittest discover -s top/tests -t top
"""

import json
import unittest
from dataclasses import fields

from convergetop.model import History, Sample, make_sample

from .made_up import (MB, PAGE_BYTES, START_S, controller, patched_reply,
                      reply, sample)


class Reading(unittest.TestCase):
    """make_sample()"""

    def test_patched(self) -> None:
        """The controller's figures are taken."""
        got = sample()
        self.assertEqual((got.phase, got.reason), ('throttle', 'raise'))
        self.assertEqual(got.throttle_pct, 72.5)
        self.assertEqual(got.highest_throttle_pct, 80)
        self.assertEqual(got.dirty_bps, 30 * MB)
        self.assertEqual(got.drain_bps, 49 * MB)
        self.assertEqual(got.predicted_loss_ms, 12000)
        self.assertEqual(got.throttled_ms, 1500)
        self.assertEqual(got.fallback_downtime_ms, 30000)
        self.assertIsNone(got.downtime_ms)

    def test_rates_of_the_controller_begin_with_its_first_window(self) -> None:
        """Before it they are 0, which is no measurement."""
        got = sample(patched_reply(windows=0, dirty_rate=0, transfer_rate=0))
        self.assertEqual(got.dirty_bps, 5000 * PAGE_BYTES)
        self.assertEqual(got.drain_bps, 50 * MB)            # of mbps

    def test_stock(self) -> None:
        """What stock tells is taken, and nothing is made up."""
        got = make_sample(reply(cpu_throttle_percentage=40), {}, START_S)
        self.assertFalse(got.tells_why)
        self.assertEqual(got.throttle_pct, 40)
        self.assertEqual(got.dirty_bps, 5000 * PAGE_BYTES)
        self.assertEqual(got.wire_bps, 50 * MB)
        for name in ('predicted_time_ms', 'throttled_ms', 'fallback',
                     'ceiling_pct', 'deadline_s'):
            self.assertIsNone(getattr(got, name), name)

    def test_drain_is_of_the_pages_since_the_sample_before(self) -> None:
        """... and not of those of an earlier migration."""
        first = sample(reply(pages=1000), 10)
        second = sample(reply(pages=2000), 12, first)
        self.assertEqual(second.drain_bps, 1000 * PAGE_BYTES / 2)
        again = sample(reply(pages=10), 14, second)
        self.assertEqual(again.drain_bps, again.wire_bps)
        ended = sample(reply(pages=2000, status='completed'), 12.2, second)
        self.assertEqual(ended.drain_bps, ended.wire_bps)

    def test_downtime_with_ended_stops_is_better(self) -> None:
        """The migration's own leaves them out."""
        got = sample({**patched_reply(downtime=900), 'downtime': 300})
        self.assertEqual(got.downtime_ms, 900)

    def test_nothing_and_nonsense(self) -> None:
        """Whatever is missing, or of another kind, is not known."""
        self.assertFalse(make_sample({}, {}, START_S).begun)
        odd = make_sample(
            {'status': 'active', 'ram': [], 'auto-converge': 7,
             'total-time': 'long', 'downtime': True,
             'cpu-throttle-percentage': float('nan')}, {}, START_S)
        self.assertEqual(odd.to_json(), {'time_s': START_S,
                                         'status': 'active'})

    def test_unknown_members_and_names(self) -> None:
        """A newer QEMU has more of everything."""
        new = patched_reply('dither', 'because', novelty=[1])
        new['ram']['colour'] = 'blue'
        got = sample(new)
        self.assertEqual((got.phase, got.reason), ('dither', 'because'))
        self.assertEqual(got.remaining_bytes, 400 * MB)

    def test_each_member_of_the_controller_counts(self) -> None:
        """Without any of them the sample is another one."""
        whole = sample(patched_reply(downtime=5)).to_json()
        for name in controller(downtime=5):
            less = patched_reply(downtime=5)
            del less['auto-converge'][name]
            self.assertNotEqual(sample(less).to_json(), whole, name)


class Json(unittest.TestCase):
    """to_json() and from_json()"""

    def test_there_and_back(self) -> None:
        """Nothing is lost, and what is not known is not written."""
        for one in (sample(patched_reply(downtime=5)), sample(reply()),
                    Sample(START_S), sample(reply(error_desc='it broke'))):
            written = json.loads(json.dumps(one.to_json()))
            self.assertEqual(Sample.from_json(written), one)
            self.assertNotIn(None, written.values())

    def test_every_member_survives(self) -> None:
        """Also one that no sample above has."""
        one = Sample(START_S, 'active')
        for number, field in enumerate(fields(Sample)[2:]):
            is_text = field.name in ('phase', 'reason', 'fallback', 'error')
            setattr(one, field.name, f'text {number}' if is_text else number)
        self.assertEqual(Sample.from_json(one.to_json()), one)

    def test_what_newer_programs_wrote(self) -> None:
        """Members that are not known are passed over, the time is needed."""
        self.assertEqual(Sample.from_json({'time_s': 1, 'novelty': 2}),
                         Sample(1))
        with self.assertRaisesRegex(ValueError, 'time_s'):
            Sample.from_json({'status': 'active'})


class Histories(unittest.TestCase):
    """History"""

    def test_it_spans_the_whole_and_stays_small(self) -> None:
        """Whatever is added, the first and the end are kept, in order."""
        history = History(16)
        for number in range(1000):
            history.add(Sample(float(number), 'active', passes=number))
            self.assertLessEqual(len(history.samples), 16)
        history.add(Sample(1000.0, 'completed'))
        times = [one.time_s for one in history.samples]
        self.assertEqual(times, sorted(times))
        self.assertEqual((times[0], times[-1]), (0.0, 1000.0))
        self.assertEqual(len(history.values('passes')), len(times) - 1)
        gaps = {late - early for early, late in zip(times[:-1], times[1:-1])}
        self.assertEqual(len(gaps), 1, 'the samples are not even')
