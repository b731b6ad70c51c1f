# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The figures and the table of the actuator benchmark."""

from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from .watch import Watch


@dataclass
class Measurement:
    """One run of one point: unhindered, throttled, unhindered again."""
    qemu: str
    vcpus: int
    throttle_pct: float
    before: Watch
    throttled: Watch
    after: Watch


@dataclass
class Point:
    """All runs of one point; shares of 1, medians of the runs."""
    qemu: str
    vcpus: int
    throttle_pct: float
    runs: int
    commanded: float                    # run share
    mean_share: float                   # executed, over the vCPUs
    busiest_share: float
    raw_share: float                    # mean over the vCPUs, of all time
    mean_error: float                   # relative to what was commanded
    busiest_error: float
    gap_ms: float                       # the longest of a run
    worst_gap_ms: float                 # the longest of all runs
    own_gap_ms: float                   # the longest between two looks
    overhead: Optional[float]           # of the run share

    def to_json(self) -> Dict[str, Any]:
        """As it is."""
        return asdict(self)


def run_share(throttle_pct: float) -> float:
    """What a throttle leaves."""
    return 1 - throttle_pct / 100


def overhead(measurement: Measurement) -> Optional[float]:
    """
    The part of its run share that a vCPU loses to being throttled: interrupts,
    cold caches. Its progress for each s executed, against the same without a
    throttle right before and after; mean over the vCPUs.
    """
    lost = []
    for before, now, after in zip(measurement.before.vcpus,
                                  measurement.throttled.vcpus,
                                  measurement.after.vcpus):
        executed = before.run_s + after.run_s
        progress = before.progress + after.progress
        if now.speed is None or not executed or not progress:
            return None
        lost.append(1 - now.speed * executed / progress)
    return mean(lost)


def make_point(runs: Sequence[Measurement]) -> Point:
    """Sum up the runs of one point."""
    first = runs[0]
    watches = [run.throttled for run in runs]
    commanded = run_share(first.throttle_pct)
    mean_share = median(mean(v.share for v in w.vcpus) for w in watches)
    busiest = median(max(v.share for v in w.vcpus) for w in watches)
    gaps = [max(v.gap_s for v in w.vcpus) * 1000 for w in watches]
    overheads = [o for o in map(overhead, runs) if o is not None]
    return Point(
        qemu=first.qemu, vcpus=first.vcpus, throttle_pct=first.throttle_pct,
        runs=len(runs), commanded=commanded, mean_share=mean_share,
        busiest_share=busiest,
        raw_share=median(mean(v.raw_share for v in w.vcpus) for w in watches),
        mean_error=mean_share / commanded - 1,
        busiest_error=busiest / commanded - 1,
        gap_ms=median(gaps), worst_gap_ms=max(gaps),
        own_gap_ms=max(w.own_gap_s for w in watches) * 1000,
        overhead=median(overheads) if overheads else None)


def make_points(measurements: Sequence[Measurement]) -> List[Point]:
    """In the order in which points were first measured."""
    groups: Dict[Tuple[int, float, str], List[Measurement]] = {}
    for one in measurements:
        key = (one.vcpus, one.throttle_pct, one.qemu)
        groups.setdefault(key, []).append(one)
    return [make_point(runs) for runs in groups.values()]


def _percent(value: Optional[float], digits: int = 1) -> str:
    return '-' if value is None else f'{value * 100:.{digits}f}'


COLUMNS: List[Tuple[str, Callable[[Point], str]]] = [
    ('vCPUs', lambda p: str(p.vcpus)),
    ('throttle %', lambda p: f'{p.throttle_pct:g}'),
    ('QEMU', lambda p: p.qemu),
    ('runs', lambda p: str(p.runs)),
    ('run share %', lambda p: _percent(p.commanded)),
    ('mean %', lambda p: _percent(p.mean_share, 2)),
    ('busiest %', lambda p: _percent(p.busiest_share, 2)),
    ('of all time %', lambda p: _percent(p.raw_share, 2)),
    ('error mean %', lambda p: f'{p.mean_error * 100:+.1f}'),
    ('busiest', lambda p: f'{p.busiest_error * 100:+.1f}'),
    ('gap ms', lambda p: f'{p.gap_ms:.1f}'),
    ('worst', lambda p: f'{p.worst_gap_ms:.1f}'),
    ('looks', lambda p: f'{p.own_gap_ms:.1f}'),
    ('overhead %', lambda p: _percent(p.overhead)),
]

LEGEND = '''\
run share: what the throttle leaves, as commanded; mean, busiest: what the
vCPUs executed of the time in which the host let them; of all time: the same
of all time, mean; error: of mean and busiest against the run share; gap: the
longest time without progress of the guest, as seen from outside: median of
the runs, and worst; looks: the longest time between two looks at it; overhead:
progress lost for each s executed, against no throttle right before and after'''


def actuator_table(points: Sequence[Point]) -> str:
    """For people."""
    rows = [[name for name, _ in COLUMNS]]
    rows += [[show(point) for _, show in COLUMNS] for point in points]
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    lines = ['  '.join(cell.rjust(width) for cell, width
                       in zip(row, widths)) for row in rows]
    lines.insert(1, '  '.join('-' * width for width in widths))
    return '\n'.join(lines)


def tsv(points: Sequence[Point]) -> str:
    """For programs: a line with names, a line for each point."""
    if not points:
        return ''
    lines = ['\t'.join(points[0].to_json())]
    for point in points:
        lines.append('\t'.join('' if value is None else str(value)
                               for value in point.to_json().values()))
    return '\n'.join(lines) + '\n'
