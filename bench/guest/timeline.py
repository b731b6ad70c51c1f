# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What the clients in a guest get while it is watched: how many transactions, how
fast, and the longest silence.

The shared pages move with the guest, so the host reads those of the source and
those of the destination: a page that has arrived is never ahead of the one
that is still written, and the greater count is that of the guest that runs.

Latencies are by the guest's clock, which stands still while the guest is
stopped. Silences are by the host's: it looks whether a transaction has ended.
"""

import threading
import time
from dataclasses import dataclass
from typing import List, Optional, Sequence

from migbench.vcpu_monitor import realtime

from .shared import Counts, SharedPages, latency_between

LOOK_PERIOD_S = 0.002           # for silences
INTERVAL_S = 0.5                # of the time line


@dataclass
class Record:
    """Where it stood when an interval ended."""
    time: float                     # s, as time.time()
    counts: Counts
    silence_s: float                # the longest that ended in it, or goes on


@dataclass
class Interval:
    """What ended in an interval."""
    start: float                    # s, as time.time()
    end: float
    transactions: int
    latency: List[int]              # see guest/shared.h
    silence_s: float

    @property
    def rate(self) -> float:
        """Transactions per second."""
        return self.transactions / (self.end - self.start)


class SilenceMeter:
    """The longest time without progress, among looks at known times."""

    def __init__(self, now: float, work: int):
        self._work = work
        self._changed = now
        self._longest_s = 0.0

    def take(self, now: float, work: int) -> None:
        """One look."""
        if work != self._work:
            self._longest_s = max(self._longest_s, now - self._changed)
            self._work = work
            self._changed = now

    def longest_s(self, now: float) -> float:
        """Since this was asked last, what goes on included."""
        longest_s = max(self._longest_s, now - self._changed)
        self._longest_s = 0.0
        return longest_s


def greater(looks: Sequence[Counts]) -> Counts:
    """Of the guest that runs; the source's while it does."""
    return max(looks, key=lambda counts: counts.work)


class Watcher(threading.Thread):
    """Looks in a thread of its own; a context manager that ends it."""

    def __init__(self, pages: Sequence[SharedPages]):
        super().__init__(daemon=True)
        self.records: List[Record] = []
        self._pages = pages
        self._ended = threading.Event()
        self._error: Optional[BaseException] = None

    def __enter__(self) -> 'Watcher':
        self._note(time.time(), 0.0)
        self.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._ended.set()
        self.join()

    def _note(self, now: float, silence_s: float) -> None:
        self.records.append(Record(
            now, greater([pages.read() for pages in self._pages]), silence_s))

    def run(self) -> None:
        """The thread."""
        start = time.time()
        meter = SilenceMeter(start, self._work())
        with realtime():
            while not self._ended.wait(LOOK_PERIOD_S):
                now = time.time()
                meter.take(now, self._work())
                if now - self.records[-1].time >= INTERVAL_S:
                    self._note(now, meter.longest_s(now))

    def _work(self) -> int:
        return max(pages.work for pages in self._pages)


def intervals(records: Sequence[Record]) -> List[Interval]:
    """From record to record."""
    return [Interval(early.time, late.time,
                     late.counts.work - early.counts.work,
                     latency_between(early.counts.latency,
                                     late.counts.latency), late.silence_s)
            for early, late in zip(records, records[1:])]


def whole(parts: Sequence[Interval]) -> Optional[Interval]:
    """All of them as one; None: there are none."""
    if not parts:
        return None
    return Interval(parts[0].start, parts[-1].end,
                    sum(part.transactions for part in parts),
                    [sum(column) for column in
                     zip(*(part.latency for part in parts))],
                    max(part.silence_s for part in parts))


def between(parts: Sequence[Interval], start: float,
            end: float) -> List[Interval]:
    """Those that end after start, and begin before end."""
    return [part for part in parts if part.end > start and part.start < end]
