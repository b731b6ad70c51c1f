# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What is computed from a run, on runs made up here.

    python3 -m unittest discover -s bench/tests -t bench
"""

import io
import os
import re
import shutil
import socket
import tempfile
import time
import unittest
from dataclasses import replace
from typing import Any, Dict
from unittest import mock

from migbench import metrics
from migbench.display import Progress, table
from migbench.errors import BenchError
from migbench.link import make_link, why_no_namespaces
from migbench.machine import use_qemu_python
from migbench.migrate import Run
from migbench.plot import plot
from migbench.migrate_info import Events, make_sample
from migbench.console import Report, SerialPort, Verdict

START = 1000.0
PAGES_PER_S = 5000


def event(name: str, at: float, **data: Any) -> Dict[str, Any]:
    """As QMP delivers it; at: s since START."""
    return {'event': name, 'data': data,
            'timestamp': {'seconds': int(START + at),
                          'microseconds': int((START + at) % 1 * 1e6)}}


def reply(status: str, **members: Any) -> Dict[str, Any]:
    """query-migrate's, '_' for '-'."""
    return {'status': status, **{name.replace('_', '-'): value
                                 for name, value in members.items()}}


def report(at: float, work: int, guest_ms: int) -> Report:
    """at: s since START."""
    return Report(START + at, work, guest_ms, 0, 0)


def patched_run() -> Run:
    """
    20 s: bulk pass until 4, passes until 8, 8.5, 9.2 and 12, stopped for the
    last 5 s. The guest worked at full speed until 8, then at a tenth.
    """
    run = Run(start=START, end=START + 20, outcome='completed')
    for at, number in ((0, 1), (4, 2), (8, 3), (8.5, 4), (9.2, 5), (12, 6),
                       (15, 7)):
        run.events.take([event('MIGRATION_PASS', at, **{'pass': number})])
    run.events.take([
        event('MIGRATION_AUTO_CONVERGE', 8, phase='throttle',
              **{'throttle-permille': 900}),
        event('MIGRATION_AUTO_CONVERGE', 15, phase='fallback',
              **{'throttle-permille': 985, 'predicted-downtime': 5100})])
    ram = {'remaining': 1000, 'total': 4096000, 'normal': 10, 'duplicate': 5,
           'dirty-sync-count': 6, 'dirty-pages-rate': 3, 'page-size': 4096}
    before = None
    for at, status in ((1, 'active'), (14, 'active'), (20, 'completed')):
        before = make_sample(reply(
            status, ram=ram, expected_downtime=200,
            auto_converge={'phase': 'throttle', 'throttle-permille': 900,
                           'throttled-time': at * 100,
                           'predicted-downtime': 400}), START + at, before)
        run.samples.append(before)
    run.final = {'total-time': 20000, 'downtime': 5000}
    run.baseline = [report(-3, 0, 0), report(0, 3 * PAGES_PER_S, 3000)]
    run.before = run.baseline[1]
    work = (3 + 8) * PAGES_PER_S + 7 * PAGES_PER_S // 10
    run.last_at_source = report(14.95, work, 17950)
    run.after = report(20.05, work, 18050)
    # the last one at the source came late
    run.reports = [report(14.5, work, 17500), report(14.95, work, 17900)]
    run.reports_after = [run.after]
    run.verdict_after = Verdict(10, 0, 0, True, True)
    return run


class FiguresTest(unittest.TestCase):
    """metrics.py"""

    def test_all(self) -> None:
        """Each figure of the run above, as its comment derives it."""
        got = metrics.metrics(patched_run())
        self.assertEqual(got.outcome, 'completed by stop-and-copy')
        self.assertEqual(got.total_s, 20)
        self.assertAlmostEqual(got.after_bulk_s or 0, 16)
        self.assertEqual(got.predicted_downtime_ms, 5100)
        self.assertEqual(got.downtime_ms, 5000)
        self.assertAlmostEqual(got.guest_downtime_ms or 0, 5000, 3)
        # windows end at 8, 9.2, 12 and 15: 8.5 is too short for its own
        self.assertEqual(got.windows_after_bulk, 4)
        self.assertEqual(got.highest_throttle_pct, 98.5)
        self.assertEqual(got.throttled_s, 2.0)
        # 20.05 s less 8 at full speed and 7 at a tenth
        self.assertAlmostEqual(got.work_lost_s or 0, 20.05 - 8.7)
        self.assertTrue(got.memory_good)

    def test_stock_throttle_is_integrated(self) -> None:
        """Without the controller's own account: 4 s at 50 %, 2 s at 25 %."""
        run = Run(start=START, end=START + 6, outcome='cancelled')
        for at, throttle in ((0, 50), (4, 25), (6, 0)):
            run.samples.append(make_sample(
                reply('active', cpu_throttle_percentage=throttle),
                START + at, None))
        self.assertAlmostEqual(metrics.throttled_s(run), 2.5)
        self.assertIsNone(metrics.predicted_downtime_ms(run))

    def test_bare_run(self) -> None:
        """A run that failed at once still has a row."""
        run = Run(start=START, end=START + 1, outcome='failed')
        run.baseline = [report(-1, 0, 0), report(0, 100, 1000)]
        got = metrics.metrics(run)
        self.assertIsNone(got.after_bulk_s)
        self.assertIsNone(got.memory_good)
        self.assertIn('no answer', table([('g', 'stock', got)]))


class SamplesTest(unittest.TestCase):
    """samples.py"""

    def test_empty_reply(self) -> None:
        """Members may be absent."""
        sample = make_sample({}, START, None)
        self.assertEqual((sample.status, sample.phase), ('none', None))

    def test_drain_counts_zero_pages(self) -> None:
        """Pages sent and pages found zero, since the sample before."""
        first = make_sample(reply('active', ram={'normal': 1,
                                                 'duplicate': 0}), START, None)
        second = make_sample(reply('active', ram={'normal': 2,
                                                  'duplicate': 3}),
                             START + 2, first)
        self.assertEqual(second.drain_bps, 4 * 4096 / 2)

    def test_foreign_events(self) -> None:
        """Others are left out."""
        events = Events()
        events.take([event('STOP', 1)])
        self.assertFalse(events.passes or events.phases)


class SerialTest(unittest.TestCase):
    """serial.py against a made-up guest."""

    def setUp(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.port = SerialPort(os.path.join(self.directory.name, 's'))
        self.guest = socket.socket(socket.AF_UNIX)
        self.guest.connect(self.port.path)
        self.port.accept()

    def tearDown(self) -> None:
        self.guest.close()
        self.port.close()
        self.directory.cleanup()

    def test_lines(self) -> None:
        """Reports in pieces; the rest of a torn line is left out."""
        self.guest.sendall(b'4 idle=1 drop=0\nready pages=7\nwork=5 t=1')
        time.sleep(0.05)
        self.guest.sendall(b'0 idle=2 drop=3\nwork=broken t=1\n')
        found = self.port.wait_report(0, 5)
        assert found
        self.assertEqual((found.work, found.guest_ms, found.dropped),
                         (5, 10, 3))
        self.assertEqual(self.port.wait_ready()['pages'], '7')
        self.assertEqual(len(self.port.reports), 1)

    def test_verdict(self) -> None:
        """A stale page alone makes it bad."""
        self.guest.sendall(b'')
        with self.assertRaises(BenchError):
            self.port.command('rate=1', timeout=0.05)
        self.assertIsNone(self.port.verify(timeout=0.05))
        self.assertEqual(self.guest.recv(100), b'rate=1\nverify\n')
        verdict = Verdict(9, 0, 1, True, True)
        self.assertFalse(verdict.good)
        self.assertEqual(verdict.describe(), '1 stale')

    def test_error(self) -> None:
        """What the guest objects to is told."""
        self.guest.sendall(b'error bad value: ws\n')
        with self.assertRaisesRegex(BenchError, 'bad value: ws'):
            self.port.wait_ready(5)


class LinkTest(unittest.TestCase):
    """A machine that cannot have a real link."""

    def test_reason(self) -> None:
        """Which tool is missing; what iproute2 said."""
        with mock.patch('os.geteuid', return_value=0):
            with mock.patch('shutil.which', return_value=None):
                self.assertIn('ip and tc missing', why_no_namespaces())
            with mock.patch('shutil.which', return_value='/bin/true'), \
                    mock.patch('subprocess.run', return_value=mock.Mock(
                        returncode=2, stderr='Invalid argument')):
                reason = why_no_namespaces()
        self.assertRegex(reason, "^'ip netns add .* failed: Invalid argument")
        link = make_link(50, reason)
        self.assertFalse(link.real)
        self.assertIn(reason, link.describe())
        with mock.patch('os.geteuid', return_value=1000):
            self.assertEqual(why_no_namespaces(), 'not root')

    def test_real(self) -> None:
        """No reason: a real one."""
        self.assertTrue(make_link(50, '').real)


class OutputTest(unittest.TestCase):
    """display.py and plot.py"""

    def test_plain_progress(self) -> None:
        """Not a terminal: a line at a change, none soon after."""
        run, stream = patched_run(), io.StringIO()
        progress = Progress('guest', stream)
        for sample in (run.samples[0], run.samples[0], run.samples[2]):
            progress(run, sample)
        lines = stream.getvalue().splitlines()
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], r'pass +6 .* remaining +0.0 MB .* throttle$')

    def test_narrow_terminal(self) -> None:
        """80 columns have what matters of the line, and the whole table."""
        run, stream = patched_run(), io.StringIO()
        with mock.patch.object(stream, 'isatty', return_value=True), \
                mock.patch('shutil.get_terminal_size',
                           return_value=os.terminal_size((80, 24))):
            Progress('pathological patched', stream)(run, run.samples[0])
        self.assertRegex(stream.getvalue(), r'throttle .*remaining +0.0 MB')
        got = metrics.metrics(run)
        plain = replace(got, outcome='completed')
        shown = table([('pathological', 'stock', plain),
                       ('pathological', 'patched', got),
                       ('middle', 'stock', plain),
                       ('middle', 'patched', plain)])
        self.assertLess(max(map(len, shown.splitlines())), 80)
        self.assertRegex(shown, r'outcome .* stop-and-copy ')

    @unittest.skipUnless(shutil.which('gnuplot'), 'gnuplot is missing')
    def test_plot(self) -> None:
        """A picture with both names, whatever they contain."""
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "a'b.svg")
            plot(path, [("guest's", [('stock', patched_run()),
                                     ('patched', patched_run())])])
            with open(path, encoding='utf-8') as picture:
                text = picture.read()
            self.assertTrue(re.search('patched', text))
            with self.assertRaisesRegex(BenchError, 'png, svg'):
                plot(os.path.join(directory, 'a.gif'), [])

    def test_wrong_python_directory(self) -> None:
        """Named in the error."""
        with self.assertRaisesRegex(BenchError, '/nowhere'):
            use_qemu_python('/nowhere')


if __name__ == '__main__':
    unittest.main()
