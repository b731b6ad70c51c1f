# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The program itself, on recordings made up here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from typing import Iterator, List, Optional
from unittest import mock

from convergetop import options
from convergetop.errors import ExitStatus, Vanished
from convergetop.main import LINES_INSTEAD, with_end
from convergetop.model import Sample
from convergetop.sources import Update

from .made_up import TOP, patched_reply, sample
from .test_qmp import Peer, Server
from .test_view import HAVE_RICH

PROGRAM = os.path.join(TOP, 'top', 'auto-converge-top')
TIMEOUT_S = 60                  # finds a hang
# no rich to be found, as on a host without it
WITHOUT_RICH = "import sys; sys.modules['rich'] = None; " \
               "sys.modules['rich.console'] = None; "


class Program(unittest.TestCase):
    """Runs it."""

    def setUp(self) -> None:
        # pylint: disable-next=consider-using-with
        directory = tempfile.TemporaryDirectory(prefix='top-test-')
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def file(self, name: str) -> str:
        """A path for this test."""
        return os.path.join(self.directory, name)

    def recording(self, *statuses: str) -> str:
        """Of a migration that goes through these."""
        path = self.file('recording.json')
        with open(path, 'w', encoding='ascii') as file:
            for number, status in enumerate(statuses):
                one = Sample(1.0) if status == 'none' else sample(
                    patched_reply(status=status), at_s=number)
                file.write(json.dumps(one.to_json()) + '\n')
        return path

    def run_top(self, *arguments: str, prefix: Optional[List[str]] = None
                ) -> 'subprocess.CompletedProcess[str]':
        """To its end."""
        return subprocess.run(
            [*(prefix or [sys.executable, PROGRAM]), *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=TIMEOUT_S)

    def play(self, *statuses: str, once: bool = False
             ) -> 'subprocess.CompletedProcess[str]':
        """A recording, at once."""
        return self.run_top('--play', self.recording(*statuses), '--speed',
                            '0', *(['--once'] if once else []))


class Statuses(Program):
    """The exit status says how it ended."""

    def test_ends(self) -> None:
        """One for each."""
        for status, expected in (('completed', ExitStatus.COMPLETED),
                                 ('failed', ExitStatus.FAILED),
                                 ('cancelled', ExitStatus.CANCELLED),
                                 ('active', ExitStatus.GOES_ON),
                                 ('none', ExitStatus.NO_MIGRATION)):
            done = self.play('active', status)
            self.assertEqual(done.returncode, expected, done.stderr)

    def test_once(self) -> None:
        """The first sample counts."""
        done = self.play('active', 'completed', once=True)
        self.assertEqual(done.returncode, ExitStatus.GOES_ON)
        done = self.play('none', 'completed', once=True)
        self.assertEqual(done.returncode, ExitStatus.NO_MIGRATION)
        self.assertIn('no migration yet\n', done.stdout)

    def test_they_are_in_the_help(self) -> None:
        """All of them."""
        for status in ExitStatus:
            self.assertRegex(options.EPILOG, rf'(?m)^  {status:d}\b')

    def test_what_cannot_be_read(self) -> None:
        """It is named."""
        done = self.run_top('--play', self.file('nothing'))
        self.assertEqual(done.returncode, ExitStatus.USAGE)
        self.assertIn('--play: ' + self.file('nothing'), done.stderr)
        done = self.run_top('--qmp', self.file('nothing'))
        self.assertEqual(done.returncode, ExitStatus.USAGE)

    def test_last_words_are_an_end(self) -> None:
        """Where QEMU told it before it went."""
        def gone(status: str) -> List[str]:
            def updates() -> Iterator[Update]:
                yield from ()
                raise Vanished('gone', status)

            return [update.sample.status for update in with_end(updates())
                    if update.sample]
        self.assertEqual(gone('completed'), ['completed'])
        with self.assertRaises(Vanished):
            gone('')


class Watching(Program):
    """A monitor that is made up here."""

    def watch(self, *last: str) -> 'subprocess.CompletedProcess[str]':
        """One that goes away after these events."""
        def script(peer: Peer) -> None:
            peer.greet()
            peer.answer({'max-cpu-throttle': 90})
            peer.answer(patched_reply())
            peer.hear()
            for status in last:
                peer.tell(event='MIGRATION', data={'status': status})
        with Server(script) as server:
            done = self.run_top('--qmp', server.path)
        self.asked = {one['execute'] for one in server.heard}
        return done

    def test_the_monitor_vanishes(self) -> None:
        """What to do now is said."""
        done = self.watch()
        self.assertEqual(done.returncode, ExitStatus.LOST)
        self.assertIn('not known: ask at the destination', done.stderr)
        self.assertIn('throttle, raise', done.stdout)

    def test_the_end_is_an_event(self) -> None:
        """It counts."""
        done = self.watch('active', 'completed')
        self.assertEqual(done.returncode, ExitStatus.COMPLETED, done.stderr)
        self.assertEqual(done.stderr, '')

    def test_it_only_asks(self) -> None:
        """No command that changes anything."""
        self.watch()
        self.assertEqual(self.asked, {
            'qmp_capabilities', 'query-migrate', 'query-migrate-parameters'})

    def test_interrupt(self) -> None:
        """The migration is not touched by it."""
        def script(peer: Peer) -> None:
            peer.greet()
            peer.answer({})
            peer.answer(patched_reply())
            while peer.hear():
                pass            # never answered, until it hangs up
        # env: where the tests run in the background, the signal is ignored
        with Server(script) as server, subprocess.Popen(
                ['env', '--default-signal=INT', sys.executable, PROGRAM,
                 '--qmp', server.path],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True) as process:
            assert process.stdout
            process.stdout.readline()       # it watches
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, ExitStatus.INTERRUPTED)
        self.assertIn('the migration goes on', errors)
        self.assertNotIn('Traceback', errors)


class Outputs(Program):
    """What is written where."""

    def test_a_recording_plays_back_the_same(self) -> None:
        """Byte for byte."""
        path = self.recording('none', 'active', 'active', 'completed')
        done = self.run_top('--play', path, '--speed', '0', '--json',
                            '--record', self.file('again.json'))
        with open(path, encoding='ascii') as first, \
                open(self.file('again.json'), encoding='ascii') as again:
            text = first.read()
            self.assertEqual(again.read(), text)
        self.assertEqual(done.stdout, text)

    @unittest.skipUnless(shutil.which('gnuplot'), 'gnuplot is missing')
    def test_plot(self) -> None:
        """All curves, and the names of the states."""
        self.run_top('--play', self.recording('active', 'active', 'completed'),
                     '--speed', '0', '--plot', self.file('run.svg'))
        with open(self.file('run.svg'), encoding='utf-8') as file:
            picture = file.read()
        for name in ('remaining', 'throttle', 'ceiling', 'dirtied', 'drained',
                     'throttle, raise'):
            self.assertIn(name, picture)

    @unittest.skipUnless(shutil.which('gnuplot'), 'gnuplot is missing')
    def test_plots_that_are_none(self) -> None:
        """Before anything is watched; and when nothing was seen."""
        done = self.run_top('--qmp', '/nonexistent', '--plot', 'run.jpg')
        self.assertEqual(done.returncode, ExitStatus.USAGE)
        self.assertIn("'run.jpg': one of png, svg", done.stderr)
        done = self.run_top('--play', self.recording('none'), '--speed', '0',
                            '--plot', self.file('run.svg'))
        self.assertIn('no migration was seen', done.stderr)

    @unittest.skipUnless(HAVE_RICH, 'python3-rich is missing')
    def test_svg(self) -> None:
        """A frame, without anything from elsewhere."""
        self.run_top('--play', self.recording('active'), '--speed', '0',
                     '--svg', self.file('frame.svg'))
        with open(self.file('frame.svg'), encoding='utf-8') as file:
            picture = file.read()
        self.assertIn('72.5', picture)
        self.assertNotIn('font-face', picture)
        self.assertNotIn('url("http', picture)

    def test_a_full_disk(self) -> None:
        """It is told, and not with a traceback."""
        done = self.run_top('--play', self.recording('active'), '--record',
                            '/dev/full')
        self.assertEqual(done.returncode, ExitStatus.USAGE)
        self.assertEqual(done.stderr, 'auto-converge-top: cannot write: No '
                         'space left on device\n')

    def test_what_is_no_text(self) -> None:
        """The line is named."""
        with open(self.file('binary'), 'wb') as file:
            file.write(b'\xff\xfe\n')
        done = self.run_top('--play', self.file('binary'))
        self.assertEqual(done.returncode, ExitStatus.USAGE)
        self.assertIn('--play: line 1 is no sample', done.stderr)

    def test_explain(self) -> None:
        """The tables."""
        done = self.run_top('--explain')
        self.assertIn('| `too-long` |', done.stdout)

    def test_a_reader_that_has_seen_enough(self) -> None:
        """No traceback for that."""
        path = self.recording(*['active'] * 20000)
        shell = f'{sys.executable} {PROGRAM} --play {path} --speed 0 --json ' \
                '| head -n 1'
        done = self.run_top(prefix=['sh', '-c', shell])
        self.assertEqual(done.stderr, '')
        self.assertEqual(len(done.stdout.splitlines()), 1)


class Terminal(Program):
    """On a terminal, which script(1) makes."""

    def on_terminal(self, code: str) -> str:
        """What a Python program writes to its terminal."""
        command = f'{sys.executable} -c "{code}"'
        environment = {**os.environ, 'TERM': 'xterm', 'COLUMNS': '80',
                       'LINES': '24'}
        done = subprocess.run(
            ['script', '-qec', command, '/dev/null'], check=True,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIMEOUT_S, env=environment, cwd=os.path.dirname(PROGRAM))
        return done.stdout

    def program(self) -> str:
        """As Python."""
        path = self.recording('active', 'completed')
        return 'from convergetop.main import main; ' \
               f"main(['--play', '{path}', '--speed', '0'])"

    @unittest.skipUnless(shutil.which('script'), 'script is missing')
    def test_without_rich(self) -> None:
        """Lines, and it is said once why."""
        said = self.on_terminal(WITHOUT_RICH + self.program())
        self.assertEqual(said.count(LINES_INSTEAD), 1)
        self.assertIn('What to do', said)
        self.assertNotIn('\x1b', said)

    @unittest.skipUnless(HAVE_RICH and shutil.which('script'),
                         'python3-rich or script is missing')
    def test_screen(self) -> None:
        """It is given back, and the last frame stays."""
        said = self.on_terminal(self.program())
        given_back = said.rindex('\x1b[?1049l')
        self.assertLess(said.index('\x1b[?1049h'), given_back)
        self.assertIn('\x1b[?25h', said)        # the cursor
        self.assertIn('has completed', said[given_back:])


class Options(unittest.TestCase):
    """What is refused names the option and its range."""

    def refused(self, *arguments: str) -> str:
        """What is said about it."""
        with mock.patch('sys.stderr') as errors, \
                self.assertRaises(SystemExit) as caught:
            options.parse(arguments)
        self.assertEqual(caught.exception.code, ExitStatus.USAGE)
        return ''.join(call.args[0] for call in errors.write.call_args_list)

    def test_ranges(self) -> None:
        """Of numbers."""
        for given in ('0', '61', 'x', 'nan'):
            said = self.refused('--qmp', 'x', '--interval', given)
            self.assertIn('--interval', said)
            self.assertIn('a number of 0.1 to 60', said)
        said = self.refused('--play', 'x', '--speed', '-1')
        self.assertIn('a number of 0 to 1000', said)

    def test_one_source(self) -> None:
        """Neither none nor two."""
        self.assertIn('--qmp', self.refused())
        self.assertIn('not allowed', self.refused('--qmp', 'x', '--play', 'y'))

    def test_options_that_need_another(self) -> None:
        """It says which."""
        self.assertIn('--domain', self.refused('--qmp', 'x', '--connect', 'y'))
        self.assertIn('--play', self.refused('--play', 'x', '--wait'))
