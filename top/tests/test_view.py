# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The sentences about a migration; lines; the screen."""

import io
import json
import unittest
from typing import Any, Dict, List, Tuple

from convergetop import view as viewed
from convergetop.model import Sample
from convergetop.plain import JsonOutput, PlainOutput
from convergetop.sources import Update
from convergetop.view import View

from .made_up import MB, START_S, controller, patched_reply, reply, sample

try:
    from rich.console import Console
    from convergetop.screen import Frame
    HAVE_RICH = True
except ImportError:
    HAVE_RICH = False


def view_of(*samples: Sample) -> View:
    """Fed with these."""
    view = View()
    for one in samples:
        view.take(Update(one))
    return view


class ToGo(unittest.TestCase):
    """Time to completion, and the deadline."""

    def test_the_prediction_gets_older(self) -> None:
        """It is of a window, and counts down until the next."""
        view = view_of(sample(at_s=10), sample(at_s=14))
        self.assertEqual(view.to_go(), 'about 16 s (predicted)')
        view.take(Update(sample(patched_reply(windows=4), at_s=15)))
        self.assertEqual(view.to_go(), 'about 20 s (predicted)')
        view.take(Update(sample(patched_reply(windows=4), at_s=99)))
        self.assertEqual(view.to_go(), 'about 0 ms (predicted)')

    def test_no_prediction(self) -> None:
        """As things are it would never end; in the first pass one sees."""
        never = patched_reply('let-go', 'too-long', predicted_time=None)
        self.assertEqual(view_of(sample(never)).to_go(),
                         'never, as things are')
        bulk = {**reply(passes=1), 'auto-converge': controller(
            'watch', 'start', predicted_time=None, windows=0)}
        self.assertEqual(view_of(sample(bulk)).to_go(),
                         'at least 8.0 s (the first pass)')

    def test_stopped(self) -> None:
        """Then what is left over the rate is the time."""
        stopped = patched_reply('fallback', 'stop-and-copy',
                                predicted_time=999)
        self.assertEqual(view_of(sample(stopped)).to_go(),
                         'about 8.2 s (by the rates)')

    def test_stock(self) -> None:
        """What is drained above what is dirtied."""
        quick = reply()             # 50 MB/s, of which 20.48 are new ones
        self.assertEqual(view_of(sample(quick)).to_go(),
                         'about 14 s (by the rates)')
        quick['ram']['dirty-pages-rate'] = 20000
        self.assertEqual(view_of(sample(quick)).to_go(),
                         'never, as things are')

    def test_before_and_after(self) -> None:
        """There is nothing to be predicted."""
        self.assertEqual(View().to_go(), 'not begun')
        self.assertEqual(view_of(sample(reply(status='failed'))).to_go(),
                         'failed')
        self.assertEqual(view_of(sample({'status': 'active'})).to_go(),
                         'not known')

    def test_deadline(self) -> None:
        """Met, missed, over, or none."""
        for deadline_s, shown in (
                (0, ''), (40, 'deadline in 30 s, will be met'),
                (25, 'deadline in 15 s, missed by 5.0 s'),
                (4, 'deadline was 6.0 s ago')):
            one = sample(cpu_throttle_deadline=deadline_s)
            self.assertEqual(view_of(one).deadline(), shown)
        waits = sample(patched_reply('watch', 'deadline', predicted_time=10**7),
                       cpu_throttle_deadline=40)
        self.assertEqual(view_of(waits).deadline(),
                         'deadline in 30 s, auto-converge acts in time for it')
        done = reply(status='completed')
        for deadline_s, shown in ((12, 'deadline met'),
                                  (8, 'deadline missed by 2.0 s')):
            one = sample(done, cpu_throttle_deadline=deadline_s)
            self.assertEqual(view_of(one).deadline(), shown)


class Price(unittest.TestCase):
    """What going on and a stop cost, and what the guest lost."""

    def test_going_on(self) -> None:
        """The controller knows."""
        self.assertEqual(viewed.going_on(sample()),
                         "12 s of the guest's work")
        endless = patched_reply(predicted_loss=None)
        self.assertIn('no end', viewed.going_on(sample(endless)))
        young = patched_reply(predicted_loss=None, windows=0)
        self.assertIn('not known yet', viewed.going_on(sample(young)))
        self.assertIn('not told', viewed.going_on(sample(reply())))

    def test_a_stop_now(self) -> None:
        """And whether it is allowed."""
        cases: List[Tuple[Dict[str, Any], int, str]] = [
            ({}, 30000, '8.0 s (bound 30 s)'),
            ({}, 5000, '8.0 s (bound 5.0 s, too long)'),
            ({}, 0, '8.0 s (no bound)'),
            ({'fallback': 'none'}, 5000,
             '8.0 s (a fallback is not allowed)'),
            ({'fallback': 'post-copy'}, 5000, '8.0 s'),
            ({'predicted_downtime': None}, 5000, viewed.NOT_KNOWN)]
        for members, bound_ms, shown in cases:
            one = sample(patched_reply(**members),
                         cpu_throttle_fallback_downtime=bound_ms)
            self.assertEqual(viewed.stop_now(one), shown)
        self.assertEqual(viewed.stop_now(sample(reply())),
                         'about 8.0 s (by the rates)')

    def test_taken(self) -> None:
        """As far as it is told."""
        self.assertEqual(viewed.taken(sample(patched_reply(downtime=40))),
                         'The guest was held back for 1.5 s, stopped for 40 ms')
        self.assertIn('not told', viewed.taken(Sample(START_S)))

    def test_throttle(self) -> None:
        """Whichever kind of number it came as."""
        self.assertEqual(viewed.throttle(sample()),
                         '72.5 % (highest 80 %, ceiling 99 %)')
        self.assertEqual(viewed.throttle(sample(
            reply(cpu_throttle_percentage=20))), '20 % (ceiling 99 %)')
        self.assertEqual(viewed.throttle(Sample(START_S)), 'none')


class Lines(unittest.TestCase):
    """PlainOutput and JsonOutput"""

    def shown(self, updates: List[Update]) -> List[str]:
        """The lines of text."""
        stream, view = io.StringIO(), View()
        output = PlainOutput(stream, 'HMP: ')
        for update in updates:
            view.take(update)
            output.show(view, update)
        return stream.getvalue().splitlines()

    def test_now_and_then(self) -> None:
        """Every two seconds, and at each change with why and what to do."""
        lines = self.shown([Update(sample(at_s=at_s / 2))
                            for at_s in range(20)])
        self.assertEqual(len([one for one in lines if 'pass' in one
                              and 'remaining' in one]), 5)
        explained = [one for one in lines if 'What to do' in one]
        self.assertEqual(len(explained), 1)
        lines = self.shown([Update(sample()), Update(sample(
            patched_reply('ceiling', 'ceiling'), at_s=10.1))])
        self.assertEqual(len([one for one in lines if 'What to do' in one]), 2)

    def test_notes(self) -> None:
        """Said once, and again after there was something else."""
        none = Update(Sample(START_S))
        lines = self.shown([none, none, Update(sample())])
        self.assertEqual([one for one in lines if 'no migration yet' in one],
                         lines[:1])
        lines = self.shown([Update(late_s=3.0), Update(late_s=4.0),
                            Update(sample()), Update(late_s=2.0)])
        self.assertEqual(len([one for one in lines if 'not answered' in one]),
                         2)

    def test_a_command_that_helps(self) -> None:
        """It can be copied."""
        lines = self.shown([Update(sample(patched_reply('let-go',
                                                        'too-long')))])
        self.assertTrue([one for one in lines if one.strip().startswith(
            'As in: HMP: migrate_set_parameter cpu-throttle-fallback-down')])

    def test_the_end(self) -> None:
        """With the error, and the account."""
        lines = self.shown([Update(sample(patched_reply(
            status='completed', downtime=40)))])
        self.assertIn('stopped for 40 ms; all took 10 s', lines[-1])
        lines = self.shown([Update(sample(reply(
            status='failed', error_desc='no route')))])
        self.assertTrue([one for one in lines if 'Error: no route' in one])

    def test_an_end_without_figures(self) -> None:
        """As that of a cancelled one: none is made up, the time is known."""
        lines = self.shown([Update(sample(at_s=10)), Update(sample(
            {'status': 'cancelled'}, at_s=12))])
        self.assertFalse([one for one in lines if 'remaining     -' in one])
        self.assertIn('all took 12 s', lines[-1])

    def test_json(self) -> None:
        """A line a sample, none for a note."""
        stream = io.StringIO()
        output = JsonOutput(stream)
        for update in (Update(late_s=3.0), Update(sample())):
            output.show(View(), update)
        lines = stream.getvalue().splitlines()
        self.assertEqual(len(lines), 1)
        self.assertEqual(Sample.from_json(json.loads(lines[0])), sample())


@unittest.skipUnless(HAVE_RICH, 'python3-rich is missing')
class Screens(unittest.TestCase):
    """Frame, drawn into text."""

    def drawn(self, view: View, width: int = 80, height: int = 24,
              whole_screen: bool = True, encoding: str = 'utf-8') -> List[str]:
        """Its lines, without colours."""
        binary = io.BytesIO()
        stream = io.TextIOWrapper(binary, encoding=encoding, newline='')
        options: Dict[str, Any] = {'width': width, 'height': height,
                                   'color_system': None}
        Console(file=stream, force_terminal=True, legacy_windows=False,
                _environ={}, **options).print(
            Frame(view, 'guest', 'HMP: ', whole_screen))
        stream.flush()
        return binary.getvalue().decode(encoding).splitlines()

    def busy(self) -> View:
        """A migration that has been through several states."""
        view = View()
        for at_s in range(40):
            phase = ('watch', 'throttle', 'ceiling', 'let-go')[at_s // 10]
            reason = ('converges', 'raise', 'ceiling', 'too-long')[at_s // 10]
            view.take(Update(sample(patched_reply(phase, reason, at_s),
                                    at_s=at_s)))
        return view

    def test_it_tells_everything(self) -> None:
        """Each figure is somewhere."""
        text = '\n'.join(self.drawn(self.busy(), 120, 40))
        for shown in ('let-go, too-long', 'pass 3', '60 %', 'predicted',
                      '400.0 MB of 1.00 GB', '72.5 %', 'ceiling 99 %',
                      '30.0 MB/s', '49.0 MB/s', 'What', 'held back for 1.5 s',
                      "12 s of the guest's work", 'bound 30 s',
                      'cpu-throttle-fallback-downtime 10500', '▄',
                      'throttle, raise', 'Ctrl-C'):
            self.assertIn(shown.lower(), text.lower())

    def test_sizes(self) -> None:
        """It fits into terminals of any width and usual heights."""
        for width, height in ((60, 40), (80, 24), (80, 30), (200, 60)):
            lines = self.drawn(self.busy(), width, height)
            self.assertLessEqual(len(lines), height, (width, height))
            self.assertLessEqual(max(map(len, lines)), width)
        for width, height in ((40, 10), (12, 4)):
            lines = self.drawn(self.busy(), width, height)
            self.assertLessEqual(max(map(len, lines)), width)

    def test_other_states(self) -> None:
        """None of them is too much for it."""
        self.assertIn('no migration yet', '\n'.join(
            self.drawn(view_of(Sample(START_S)))))
        for one in (reply(), {'status': 'active'}, reply(status='warp'),
                    reply(status='failed', error_desc='[bold]no route[/]'),
                    reply(status='completed'), patched_reply('new', 'new')):
            lines = self.drawn(view_of(sample(one)), whole_screen=False)
            self.assertGreater(len(lines), 8)
        view = view_of(sample())
        view.take(Update(late_s=3.0))
        self.assertIn('not answered for 3.0 s', '\n'.join(self.drawn(view)))

    def test_text_of_qemu_is_no_markup(self) -> None:
        """An error is shown as it is."""
        failed = reply(status='failed', error_desc='[bold]no route[/]')
        self.assertIn('[bold]no route[/]',
                      '\n'.join(self.drawn(view_of(sample(failed)))))

    def test_terminals_without_unicode(self) -> None:
        """It has other characters then, for the sparklines too."""
        lines = self.drawn(self.busy(), encoding='ascii')
        throttle = next(line for line in lines if 'ceiling 99 %' in line)
        self.assertRegex(throttle, r'ceiling 99 %\) +[_.=+*%#-]{8}')


class Account(unittest.TestCase):
    """View itself"""

    def test_changes(self) -> None:
        """Each change of the state once."""
        view = view_of(sample(patched_reply('watch', 'start')), sample(),
                       sample(), sample(reply(status='completed')))
        self.assertEqual([change.state for change in view.changes],
                         ['watch, start', 'throttle, raise', 'completed'])

    def test_share(self) -> None:
        """All of it at the end, whatever is left in the last sample."""
        self.assertAlmostEqual(viewed.share(sample()) or 0, 0.6)
        self.assertEqual(viewed.share(sample(reply(status='completed'))), 1)
        self.assertIsNone(viewed.share(Sample(START_S, 'active')))

    def test_quotients(self) -> None:
        """Never a division by nothing."""
        self.assertEqual(viewed.quotient_ms(8 * MB, 2 * MB), 4000)
        for rate_bps in (None, 0.0, -1.0):
            self.assertIsNone(viewed.quotient_ms(8 * MB, rate_bps))
