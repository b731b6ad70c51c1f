# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The metrics and the table of the throttle benchmark."""

from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import (Any, Callable, Dict, Iterable, List, Optional, Sequence,
                    Tuple)

from .vcpu_monitor import Watch


@dataclass
class Measurement:
    """
    One run of one point: unhindered, throttled, unhindered again. Speeds are
    of stretches of time in which nobody looked.
    """
    qemu: str
    vcpus: int
    throttle_pct: float
    before: Watch                       # nobody looked
    throttled: Watch
    unseen: Watch                       # throttled, and nobody looked
    after: Watch                        # nobody looked
    paused: Optional[Watch] = None      # the like by SIGSTOP; one vCPU alone


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
    host_share: float                   # the same without a throttle
    raw_error: float                    # to the lesser of commanded and host
    mean_error: float                   # relative to what was commanded
    busiest_error: float
    gap_ms: float                       # the longest of a run
    worst_gap_ms: float                 # the longest of all runs
    own_gap_ms: float                   # the longest between two looks
    slice_ms: Optional[float]           # executed from sleep to sleep
    slower: Optional[float]             # than without a throttle
    overhead: Optional[float]           # slower than paused from outside

    def to_json(self) -> Dict[str, Any]:
        """As it is."""
        return asdict(self)


def run_share(throttle_pct: float) -> float:
    """What a throttle leaves."""
    return 1 - throttle_pct / 100


def _speed(watches: Sequence[Watch], vcpu: int) -> Optional[float]:
    """Progress for each s executed."""
    executed = sum(w.vcpus[vcpu].run_s for w in watches)
    progress = sum(w.vcpus[vcpu].progress for w in watches)
    return progress / executed if executed else None


def _loss(now: Sequence[Watch], reference: Sequence[Watch]
          ) -> Optional[float]:
    """The part of its speed that a vCPU has lost; mean over the vCPUs."""
    lost = []
    for vcpu in range(len(now[0].vcpus)):
        speed, full = _speed(now, vcpu), _speed(reference, vcpu)
        if speed is None or not full:
            return None
        lost.append(1 - speed / full)
    return mean(lost)


def slower(run: Measurement) -> Optional[float]:
    """
    How much less a throttled vCPU gets done for each s executed: interrupts,
    cold caches, a host that is slow to speed up.
    """
    return _loss([run.unseen], [run.before, run.after])


def overhead(run: Measurement) -> Optional[float]:
    """
    The part of that which is the throttle's own: against the same vCPU in the
    same pulses by SIGSTOP and SIGCONT.
    """
    return _loss([run.unseen], [run.paused]) if run.paused else None


def slice_ms(run: Measurement) -> Optional[float]:
    """What a vCPU executes from sleep to sleep, mean over the vCPUs."""
    pulses = [v.pulse for v in run.throttled.vcpus]
    known = [pulse[0] for pulse in pulses if pulse]
    return mean(known) * 1000 if known else None


def _middle(values: Iterable[Optional[float]]) -> Optional[float]:
    """The median of those that are known."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _raw_share(watches: Sequence[Watch]) -> float:
    return mean(v.raw_share for w in watches for v in w.vcpus)


def make_point(runs: Sequence[Measurement]) -> Point:
    """Sum up the runs of one point."""
    first = runs[0]
    watches = [run.throttled for run in runs]
    commanded = run_share(first.throttle_pct)
    mean_share = median(mean(v.share for v in w.vcpus) for w in watches)
    busiest = median(max(v.share for v in w.vcpus) for w in watches)
    raw = median(_raw_share([w]) for w in watches)
    host = median(_raw_share([run.before, run.after]) for run in runs)
    gaps = [max(v.gap_s for v in w.vcpus) * 1000 for w in watches]
    return Point(
        qemu=first.qemu, vcpus=first.vcpus, throttle_pct=first.throttle_pct,
        runs=len(runs), commanded=commanded, mean_share=mean_share,
        busiest_share=busiest, raw_share=raw, host_share=host,
        raw_error=raw / min(commanded, host) - 1,
        mean_error=mean_share / commanded - 1,
        busiest_error=busiest / commanded - 1,
        gap_ms=median(gaps), worst_gap_ms=max(gaps),
        own_gap_ms=max(w.own_gap_s for w in watches) * 1000,
        slice_ms=_middle(map(slice_ms, runs)),
        slower=_middle(map(slower, runs)),
        overhead=_middle(map(overhead, runs)))


def make_points(measurements: Sequence[Measurement]) -> List[Point]:
    """In the order in which points were first measured."""
    groups: Dict[Tuple[int, float, str], List[Measurement]] = {}
    for one in measurements:
        key = (one.vcpus, one.throttle_pct, one.qemu)
        groups.setdefault(key, []).append(one)
    return [make_point(runs) for runs in groups.values()]


def _percent(value: Optional[float], digits: int = 1) -> str:
    return '-' if value is None else f'{value * 100:.{digits}f}'


def _number(value: Optional[float]) -> str:
    return '-' if value is None else f'{value:.2f}'


COLUMNS: List[Tuple[str, Callable[[Point], str]]] = [
    ('vCPUs', lambda p: str(p.vcpus)),
    ('throttle', lambda p: f'{p.throttle_pct:g}'),
    ('QEMU', lambda p: p.qemu),
    ('runs', lambda p: str(p.runs)),
    ('run share', lambda p: _percent(p.commanded)),
    ('mean', lambda p: _percent(p.mean_share, 2)),
    ('busiest', lambda p: _percent(p.busiest_share, 2)),
    ('error mean', lambda p: f'{p.mean_error * 100:+.1f}'),
    ('busiest', lambda p: f'{p.busiest_error * 100:+.1f}'),
    ('of all', lambda p: _percent(p.raw_share, 2)),
    ('host gave', lambda p: _percent(p.host_share)),
    ('error', lambda p: f'{p.raw_error * 100:+.1f}'),
    ('gap ms', lambda p: f'{p.gap_ms:.1f}'),
    ('worst', lambda p: f'{p.worst_gap_ms:.1f}'),
    ('looks', lambda p: f'{p.own_gap_ms:.1f}'),
    ('slice ms', lambda p: _number(p.slice_ms)),
    ('slower', lambda p: _percent(p.slower)),
    ('overhead', lambda p: _percent(p.overhead)),
]

LEGEND = '''\
Percent where no unit is given; medians of the runs.
run share   what the throttle leaves, as commanded
mean, busiest   what the vCPUs executed of the time in which the host let
            them, and the errors of both
of all      what they executed of all the time, mean; host gave: without a
            throttle; error: against the lesser of run share and host gave
gap         the longest time without progress of the guest, as seen from
            outside; worst: of all runs; looks: longest time between two looks
slice       executed from sleep to sleep
slower      progress lost for each s executed, against no throttle; overhead:
            against the same pulses by SIGSTOP and SIGCONT, which cost the
            guest as much in cold caches: what the throttle itself costs'''


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """For people; the first row holds the names of the columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    lines = ['  '.join(cell.rjust(width) for cell, width
                       in zip(row, widths)) for row in rows]
    lines.insert(1, '  '.join('-' * width for width in widths))
    return '\n'.join(lines)


def throttle_table(points: Sequence[Point]) -> str:
    """One row for each point."""
    return format_table([[name for name, _ in COLUMNS]] + [
        [show(point) for _, show in COLUMNS] for point in points])


def tsv(points: Sequence[Any]) -> str:
    """For programs: a line with names, a line for each point's to_json()."""
    if not points:
        return ''
    lines = ['\t'.join(points[0].to_json())]
    for point in points:
        lines.append('\t'.join('' if value is None else str(value)
                               for value in point.to_json().values()))
    return '\n'.join(lines) + '\n'
