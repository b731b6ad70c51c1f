# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What a throttle took from a busy guest, by the guest's own count.

QEMU says for how long it held vCPUs back; the guest says how much work it did.
A guest that is always busy loses work for two reasons that are not the
throttle's: others run on its CPU, and what it executes gets it less far while
its writes are logged. So its speed is counted in pages for each s that its
vCPU executed, in that part of the same migration that was not throttled; and
the time in which the host let others run is left out:

    lost  =  elapsed - waited - work / speed
"""

from bisect import bisect
from typing import List, Optional, Sequence, Tuple

from .migrate import Run
from .console import Report

UNTHROTTLED_MIN_S = 1.0     # less of the migration tells no speed


def always_busy(append: str) -> bool:
    """Whether a guest with these keys works as fast as it can."""
    keys = dict(word.split('=', 1) for word in append.split() if '=' in word)
    return keys.get('rate', 'max') in ('max', '0') \
        and keys.get('cpu', '0') == '0' and 'phases' not in keys


def at_time(points: Sequence[Tuple[float, float]],
            when: float) -> Optional[float]:
    """Between two known points; None: not known."""
    index = bisect(points, (when, float('inf')))
    if not index or (index == len(points) and points[-1][0] < when):
        return None
    early, late = points[index - 1], points[min(index, len(points) - 1)]
    if late[0] == early[0]:
        return early[1]
    part = (when - early[0]) / (late[0] - early[0])
    return early[1] + part * (late[1] - early[1])


class Stretch:
    """What guest and host counted from one time to another."""

    def __init__(self, run: Run, start: float, end: float):
        reports: List[Report] = sorted(
            [*run.baseline, *([run.before] if run.before else []),
             *run.reports], key=lambda report: report.time)
        work = [(r.time, float(r.work)) for r in reports]
        executed = [(c.time, c.run_s) for c in run.clocks]
        waited = [(c.time, c.wait_s) for c in run.clocks]
        self.elapsed_s = end - start
        self.work, self.executed_s, self.waited_s = (
            self._between(points, start, end)
            for points in (work, executed, waited))

    @staticmethod
    def _between(points: Sequence[Tuple[float, float]], start: float,
                 end: float) -> Optional[float]:
        first, last = at_time(points, start), at_time(points, end)
        return None if first is None or last is None else last - first

    @property
    def speed(self) -> Optional[float]:
        """Pages for each s executed."""
        if not self.work or not self.executed_s:
            return None
        return self.work / self.executed_s


def throttle_begins(run: Run) -> Optional[float]:
    """When the guest was last seen without a throttle before it had one."""
    for before, sample in zip(run.samples, run.samples[1:]):
        if sample.throttle_pct > 0:
            return before.time
    return None


def lost_s(run: Run) -> Optional[float]:
    """Time that the throttle took; None: not known, or not always busy."""
    begin = throttle_begins(run)
    if not run.busy or begin is None or not run.last_at_source \
            or not run.baseline:
        return None
    free = Stretch(run, run.start, begin)
    if free.elapsed_s < UNTHROTTLED_MIN_S:
        free = Stretch(run, run.baseline[0].time, run.baseline[1].time)
    held = Stretch(run, begin, run.last_at_source.time)
    if held.work is None or held.waited_s is None or not free.speed:
        return None
    return held.elapsed_s - held.waited_s - held.work / free.speed
