# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What the soak calls wrong, on observations made up here; its link; its report.

    PYTHONPATH=integration:bench \\
        python3 -m unittest discover -s integration/tests
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Iterator, List, Tuple

from soak import phases, plan as plans, report, sums, verdict
from soak.drive import Result
from soak.plan import draw_plan
from soak.relay import Relay
from soak.stacks import thread_state
from soak.verdict import Seen, judge

GOOD = Seen(outcome='completed', source_state='postmigrate',
            dest_state='running', reports=True, memory='ok, 9 pages',
            memory_good=True, share_before=0.99, share_after=0.98)
STAYED = replace(GOOD, outcome='cancelled', source_state='running',
                 dest_state=None, cancelled=True)


def kinds(seen: Seen) -> List[str]:
    """What is wrong with it."""
    return [problem.kind for problem in judge(seen)]


class JudgeTest(unittest.TestCase):
    """judge(): each kind is seen, and only what is wrong."""

    def test_good(self) -> None:
        """Completed, failed and cancelled as it has to be."""
        self.assertEqual(kinds(GOOD), [])
        self.assertEqual(kinds(STAYED), [])
        self.assertEqual(kinds(replace(STAYED, outcome='failed',
                                       dest_state='inmigrate')), [])
        # a destination that never was: what cannot be measured is not wrong
        self.assertEqual(kinds(replace(STAYED, share_after=None)), [])

    def test_killed_with_guest(self) -> None:
        """Who kills the only guest has lost it; not before it was there."""
        killed = replace(GOOD, dest_state=None, killed_with_guest=True)
        self.assertEqual(kinds(killed), [])
        self.assertEqual(kinds(replace(killed, killed_with_guest=False)),
                         [verdict.LOST])
        self.assertEqual(kinds(replace(killed, outcome='failed')),
                         [verdict.LOST])
        self.assertEqual(kinds(replace(killed, hangs=['it'])),
                         [verdict.HUNG])

    def test_doubled(self) -> None:
        """Both run, whatever the outcome says."""
        for outcome in ('completed', 'failed', 'cancelled'):
            self.assertEqual(kinds(replace(
                GOOD, outcome=outcome, source_state='running',
                cancelled=True)), [verdict.DOUBLED])
        # none of the two was looked at, then
        self.assertEqual(kinds(Seen(outcome='failed', source_state='running',
                                    dest_state='running')), [verdict.DOUBLED])

    def test_lost(self) -> None:
        """None runs, or the one that does is silent."""
        for dest_state in (None, 'inmigrate', 'paused', 'internal-error'):
            self.assertEqual(kinds(replace(GOOD, dest_state=dest_state)),
                             [verdict.LOST])
        self.assertEqual(kinds(replace(GOOD, source_state=None,
                                       dest_state=None)), [verdict.LOST])
        self.assertEqual(kinds(replace(GOOD, reports=False)), [verdict.LOST])

    def test_misplaced(self) -> None:
        """One runs where the outcome does not say."""
        self.assertEqual(kinds(replace(GOOD, outcome='failed')),
                         [verdict.MISPLACED])
        self.assertEqual(kinds(replace(STAYED, outcome='completed')),
                         [verdict.MISPLACED])
        # the operator stopped it, it arrived so, and ran on at the source
        self.assertEqual(kinds(replace(STAYED, outcome='completed',
                                       operator_stopped=True)), [])

    def test_corrupt(self) -> None:
        """The guest finds bad pages, or does not answer."""
        self.assertEqual(kinds(replace(GOOD, memory='1 bad',
                                       memory_good=False)), [verdict.CORRUPT])
        self.assertEqual(kinds(replace(GOOD, memory=None, memory_good=False)),
                         [verdict.CORRUPT])

    def test_throttled(self) -> None:
        """QEMU says so, or the vCPUs execute less."""
        self.assertEqual(kinds(replace(GOOD, throttle_pct=20.0)),
                         [verdict.THROTTLED])
        self.assertEqual(kinds(replace(GOOD, share_after=0.85)),
                         [verdict.THROTTLED])
        # it executed no more before
        self.assertEqual(kinds(replace(GOOD, share_before=0.7,
                                       share_after=0.7)), [])

    def test_the_rest(self) -> None:
        """What was noted while it ran."""
        for name, kind in (('hangs', verdict.HUNG),
                           ('crashes', verdict.CRASHED),
                           ('answers', verdict.ANSWERED),
                           ('broken', verdict.BROKEN)):
            self.assertEqual(kinds(replace(GOOD, **{name: ['why']})), [kind])
        self.assertEqual(kinds(replace(GOOD, sequel='failed')),
                         [verdict.SEQUEL])

    def test_failed_for_nothing(self) -> None:
        """It may fail, but not without a reason."""
        failed = replace(STAYED, outcome='failed', error='why')
        self.assertEqual(kinds(replace(failed, harmless=True)),
                         [verdict.FAILED])
        self.assertEqual(kinds(replace(STAYED, harmless=True)), [])
        self.assertEqual(kinds(replace(STAYED, cancelled=False)),
                         [verdict.FAILED])

    def test_more_than_one(self) -> None:
        """A crash does not hide that the guest is lost."""
        self.assertEqual(
            kinds(replace(GOOD, dest_state=None, crashes=['dest'])),
            [verdict.CRASHED, verdict.LOST])


class ReportTest(unittest.TestCase):
    """TAP, counts and the table."""

    def setUp(self) -> None:
        plan = next(plan for plan in (draw_plan(seed, '7.2')
                                      for seed in range(1000))
                    if plan.fault == plans.CANCEL)
        self.plan = plan
        self.good = report.to_json(Result(plan, plan.target, GOOD))
        self.missed = report.to_json(Result(plan, None, GOOD))
        bad = replace(GOOD, source_state='running')
        self.bad = report.to_json(Result(plan, 'bulk', bad, judge(bad)))

    def test_sums(self) -> None:
        """Several soaks of one release are one; a seed counts once."""
        with tempfile.TemporaryDirectory() as directory:
            paths = []
            for number, series in enumerate(('7.2', '7.2', '10.0')):
                entry = {**self.good, 'seed': number}
                paths.append(os.path.join(directory, str(number)))
                with open(paths[-1], 'w', encoding='utf-8') as file:
                    json.dump({'series': series,
                               'migrations': [self.missed, entry]}, file)
            seeds = [entry['seed'] for entry in sums.read_entries(paths[:2])]
            self.assertEqual(sorted(set(seeds)), sorted(seeds))
            self.assertLessEqual({0, 1, self.missed['seed']}, set(seeds))
            with self.assertRaisesRegex(ValueError, '10.0, 7.2'):
                sums.read_entries(paths)

    def test_tap(self) -> None:
        """A line for each, with the reasons below."""
        self.assertTrue(report.tap_line(1, self.good).startswith('ok 1 - '))
        self.assertIn('not reached', report.tap_line(1, self.missed))
        first, second = report.tap_line(2, self.bad).splitlines()
        self.assertTrue(first.startswith('not ok 2 - seed '))
        self.assertTrue(second.startswith('# doubled: '))

    def test_counts(self) -> None:
        """By the phase that was seen."""
        entries = [self.good, self.missed, self.bad]
        row = report.count_strikes(entries)[plans.CANCEL]
        self.assertEqual(row.pop('not reached'), 1)
        self.assertEqual(sum(row.values()), 2)
        self.assertGreaterEqual(row['bulk'], 1)
        self.assertEqual(report.count_problems(entries)[verdict.DOUBLED], 1)
        self.assertIn('1 doubled', report.totals(entries))

    def test_reached(self) -> None:
        """A soak that strikes nothing is no success."""
        few = [self.missed] * 5 + [self.good] * 5
        self.assertEqual(report.reached(few), (5, 10))
        self.assertTrue(report.reached_line(1, few).startswith('not ok 1'))
        most = [self.missed] * 4 + [self.good] * 6
        self.assertTrue(report.reached_line(1, most).startswith('ok 1'))

    def test_phases(self) -> None:
        """Nor is one that leaves phases out."""
        every = [{**self.good, 'struck': phase} for phase in phases.PHASES]
        line = report.phases_line(1, every[1:])
        self.assertTrue(line.startswith('ok 1 - '))
        self.assertTrue(line.endswith(f': {phases.PHASES[0]}'))
        self.assertTrue(report.phases_line(1, every).endswith(': none'))
        self.assertTrue(report.phases_line(1, every[2:]).startswith('not ok'))

    def test_what_the_host_hides(self) -> None:
        """It is counted where it cannot be told who is held back."""
        hidden = report.to_json(Result(self.plan, None, replace(
            GOOD, share_before=0.5)))
        self.assertIn('of 1 the host', report.totals([self.good, hidden]))

    def test_table(self) -> None:
        """A row for each fault, and what was not drawn."""
        lines = report.table([self.good, self.bad])
        rows = [line for line in lines if line.startswith(plans.CANCEL)]
        self.assertEqual(len(rows), 1)
        self.assertIn('-', rows[0])
        broken = report.broken(self.plan, 'why', verdict.HUNG)
        self.assertIn('not ok', report.tap_line(1, broken))


class RelayTest(unittest.TestCase):
    """The link: bytes get through, and what is done to it is seen."""

    TIMEOUT_S = 20                      # only to find a hang
    BYTES = 300000                      # more than is in flight
    LONG_S = 1000
    AWHILE_S = 0.2                      # what a link that works does not take

    @contextmanager
    def ends(self, accept: bool = True
             ) -> Iterator[Tuple[Relay, socket.socket, Any]]:
        """The relay, its near end, and what the far end comes from."""
        with tempfile.TemporaryDirectory() as directory:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(os.path.join(directory, 'far'))
                server.listen(1)
                server.settimeout(self.TIMEOUT_S)
                with Relay(os.path.join(directory, 'near'),
                           os.path.join(directory, 'far'), None) as relay:
                    if accept:
                        relay.accept()
                    else:
                        relay.hold_connections()
                    near = socket.socket(socket.AF_UNIX)
                    near.settimeout(self.TIMEOUT_S)
                    with near:
                        yield relay, near, server

    def join(self, relay: Relay, near: socket.socket,
             server: socket.socket) -> socket.socket:
        """The far end."""
        near.connect(relay.listen_path)
        far, _ = server.accept()
        far.settimeout(self.TIMEOUT_S)
        return far

    def test_carries_both_ways(self) -> None:
        """All bytes, in order."""
        data = bytes(range(250)) * (self.BYTES // 250)
        with self.ends() as (relay, near, server):
            with self.join(relay, near, server) as far:
                for sink, source in ((near, far), (far, near)):
                    got = b''
                    sink.setblocking(True)
                    sent = 0
                    while len(got) < len(data):
                        sent += sink.send(data[sent:sent + 10000])
                        while len(got) < sent:
                            got += source.recv(1 << 16)
                    self.assertEqual(got, data)

    def test_cut(self) -> None:
        """Both ends see the end."""
        with self.ends() as (relay, near, server):
            with self.join(relay, near, server) as far:
                near.sendall(b'a')
                self.assertEqual(far.recv(1), b'a')
                relay.cut()
                self.assertEqual(far.recv(1), b'')
                self.assertEqual(near.recv(1), b'')

    def test_half_close(self) -> None:
        """The far end sees it at once, the near one when it writes."""
        with self.ends() as (relay, near, server):
            with self.join(relay, near, server) as far:
                near.sendall(b'a')
                self.assertEqual(far.recv(1), b'a')
                relay.half_close()
                self.assertEqual(far.recv(1), b'')
                far.sendall(b'b')
                self.assertEqual(near.recv(1), b'b')
                near.sendall(b'c')
                self.assertEqual(near.recv(1), b'')

    def test_stall_ends(self) -> None:
        """What was written during a stall arrives when it is over."""
        with self.ends() as (relay, near, server):
            with self.join(relay, near, server) as far:
                relay.stall(self.LONG_S)
                near.sendall(b'a')
                far.settimeout(self.AWHILE_S)
                with self.assertRaises(TimeoutError):
                    far.recv(1)
                relay.stall(0)
                far.settimeout(self.TIMEOUT_S)
                self.assertEqual(far.recv(1), b'a')

    def test_slow_ends(self) -> None:
        """It carries next to nothing, and then all."""
        data = bytes(self.BYTES)
        with self.ends() as (relay, near, server):
            with self.join(relay, near, server) as far:
                relay.slow(self.LONG_S, 1)
                sender = threading.Thread(target=near.sendall, args=(data,))
                sender.start()
                far.settimeout(self.AWHILE_S)
                got = b''
                with self.assertRaises(TimeoutError):
                    while True:
                        got += far.recv(1 << 16)
                self.assertLess(len(got), self.BYTES)
                relay.slow(0, 1)
                far.settimeout(self.TIMEOUT_S)
                while len(got) < self.BYTES:
                    got += far.recv(1 << 16)
                sender.join()

    def test_reverse_held(self) -> None:
        """What the far end says waits, what the near one says does not."""
        with self.ends() as (relay, near, server):
            with self.join(relay, near, server) as far:
                relay.hold_reverse(True)
                far.sendall(b'b')
                near.sendall(b'a')
                self.assertEqual(far.recv(1), b'a')
                near.setblocking(False)
                with self.assertRaises(BlockingIOError):
                    near.recv(1)
                near.settimeout(self.TIMEOUT_S)
                relay.hold_reverse(False)
                self.assertEqual(near.recv(1), b'b')

    def test_held_connection(self) -> None:
        """Whoever connects waits until he is let in."""
        with self.ends(accept=False) as (relay, near, server):
            near.setblocking(False)
            with self.assertRaises(BlockingIOError):
                near.connect(relay.listen_path)
            relay.accept()
            near.settimeout(self.TIMEOUT_S)
            with self.join(relay, near, server) as far:
                near.sendall(b'a')
                self.assertEqual(far.recv(1), b'a')


class ThreadStateTest(unittest.TestCase):
    """stacks.py"""

    def test_state(self) -> None:
        """Of one that runs, of one that is stopped, of one that is gone."""
        self.assertEqual(thread_state(os.getpid(), threading.get_native_id()),
                         'R')
        with tempfile.TemporaryDirectory() as directory:
            # a name that ends as the kernel's quoting of it does
            program = shutil.copy('/bin/sleep', f'{directory}/a) R b')
            with subprocess.Popen([program, '60']) as process:
                os.kill(process.pid, signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
                self.assertEqual(thread_state(process.pid, process.pid), 'T')
                process.kill()
            self.assertEqual(thread_state(process.pid, process.pid), '?')


if __name__ == '__main__':
    unittest.main()
