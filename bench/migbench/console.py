# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The workload guest's serial port (protocol: tests/guest/main.c)."""

import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import Dict, List, Optional

from .errors import BenchError


@dataclass
class Report:
    """One "work=" line."""
    time: float             # when it was read, s
    work: int               # pages written since boot
    guest_ms: int           # the guest's clock
    idle_ms: int            # of it spent in hlt
    dropped: int            # pages of work dropped


@dataclass
class Verdict:
    """One "verify" line."""
    pages: int
    bad: int                # pages that were wrong
    stale: int              # and more that were when they were overwritten
    table_good: bool
    seal_good: bool

    @property
    def good(self) -> bool:
        """Whether the memory is what the guest wrote."""
        return not self.bad and not self.stale \
            and self.table_good and self.seal_good

    def describe(self) -> str:
        """A few words for a table."""
        if self.good:
            return f'ok, {self.pages} pages'
        parts = [f'{self.bad} of {self.pages} pages bad'] if self.bad else []
        parts += [f'{self.stale} stale'] if self.stale else []
        parts += [] if self.table_good else ['table bad']
        parts += [] if self.seal_good else ['seal bad']
        return ', '.join(parts)


def _fields(line: str) -> Dict[str, str]:
    return dict(word.split('=', 1) for word in line.split() if '=' in word)


class SerialPort:
    """
    The near end of a guest's COM1. It listens before QEMU starts, so that no
    line is lost, and reads in a thread of its own.
    """

    def __init__(self, path: str):
        self.path = path
        self.reports: List[Report] = []
        self.ready: Optional[Dict[str, str]] = None
        self.errors: List[str] = []
        self._answers: List[str] = []
        self._verdicts: List[Verdict] = []
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._socket: Optional[socket.socket] = None
        self._thread: Optional[threading.Thread] = None

    def accept(self, timeout: float = 10) -> None:
        """Take the connection of the QEMU that has just been started."""
        self._listener.settimeout(timeout)
        self._socket, _ = self._listener.accept()
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the reader; QEMU sees a closed connection."""
        if self._socket:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        if self._thread:
            self._thread.join(timeout=5)
        if self._socket:
            self._socket.close()
        self._listener.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def _read(self) -> None:
        assert self._socket
        buffer = b''
        while True:
            try:
                data = self._socket.recv(4096)
            except OSError:
                return
            if not data:
                return
            now = time.time()
            *lines, buffer = (buffer + data).split(b'\n')
            with self._changed:
                for line in lines:
                    self._take(line.decode('ascii', 'replace'), now)
                self._changed.notify_all()

    def _take(self, line: str, now: float) -> None:
        """
        Understand one line. The first one of a destination may be the tail of
        one that began at the source: what makes no sense is left out.
        """
        fields = _fields(line)
        try:
            if line.startswith('work='):
                self.reports.append(Report(now, int(fields['work']),
                                           int(fields['t']),
                                           int(fields['idle']),
                                           int(fields['drop'])))
            elif line.startswith('ready '):
                self.ready = fields
            elif line.startswith('verify '):
                self._verdicts.append(Verdict(int(fields['pages']),
                                              int(fields['bad']),
                                              int(fields['stale']),
                                              fields['table'] == 'ok',
                                              fields['seal'] == 'ok'))
            elif line == 'ok' or line.startswith('error'):
                self._answers.append(line)
                if line != 'ok':
                    self.errors.append(line)
        except (KeyError, ValueError):
            pass

    def wait_ready(self, timeout: float = 30) -> Dict[str, str]:
        """What the guest says of itself once it has booted."""
        with self._changed:
            self._changed.wait_for(lambda: self.ready or self.errors, timeout)
            if self.errors:
                raise BenchError(f'the workload guest says: {self.errors[0]}')
            if not self.ready:
                raise BenchError('the workload guest does not boot')
            return self.ready

    def wait_report(self, after: float, timeout: float) -> Optional[Report]:
        """The first report read after a time; None: it stays silent."""
        def found() -> Optional[Report]:
            for report in self.reports:
                if report.time > after:
                    return report
            return None

        with self._changed:
            self._changed.wait_for(found, timeout)
            return found()

    def last_report(self, before: float) -> Report:
        """The last report read before a time."""
        with self._changed:
            reports = [r for r in self.reports if r.time <= before]
        if not reports:
            raise BenchError('the workload guest has not reported yet')
        return reports[-1]

    def reports_between(self, start: float, end: float) -> List[Report]:
        """Reports read between two times, both included."""
        with self._changed:
            return [r for r in self.reports if start <= r.time <= end]

    def send(self, line: str) -> None:
        """Send one command without waiting."""
        assert self._socket
        self._socket.sendall(line.encode('ascii') + b'\n')

    def command(self, line: str, timeout: float = 30) -> None:
        """Send one command and wait until it is taken."""
        with self._changed:
            self._answers.clear()
        self.send(line)
        with self._changed:
            self._changed.wait_for(lambda: self._answers, timeout)
            if not self._answers:
                raise BenchError(f"no answer to '{line}' from the guest")
            if self._answers[0] != 'ok':
                raise BenchError(f"'{line}': {self._answers[0]}")

    def verify(self, timeout: float = 60) -> Optional[Verdict]:
        """The guest checks its memory; None: it does not answer."""
        with self._changed:
            self._verdicts.clear()
        self.send('verify')
        with self._changed:
            self._changed.wait_for(lambda: self._verdicts, timeout)
            return self._verdicts[0] if self._verdicts else None
