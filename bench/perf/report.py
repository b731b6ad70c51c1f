# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What a report of guestperf says."""

import statistics
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple

__all__ = ['MS_PER_S', 'Report', 'Row', 'Stretch', 'kept', 'length_s',
           'make_row', 'speeds', 'start_of', 'table']

MS_PER_S = 1000

Report = Dict[str, Any]         # its JSON


class Stretch(NamedTuple):
    """What the guest took for one GB."""
    start_s: float              # since the migration began
    end_s: float
    speed: float                # 1: the median before the migration


@dataclass
class Row:
    """One migration, in figures."""
    scenario: str
    qemu: str
    run: int
    outcome: str
    total_s: float
    downtime_ms: float
    passes: int
    throttle_pct: float             # highest that a pass began with
    work_kept: float                # of the guest's speed before, 0..1


def start_of(report: Report) -> float:
    """When the migration began, by the clock of the timings (s)."""
    first = report['progress_history'][0]
    return float(first['now'] - first['duration'] / MS_PER_S)


def length_s(report: Report) -> float:
    """How long it took; QEMU no longer tells when it was cancelled."""
    last = report['progress_history'][-1]
    return float(last['duration'] / MS_PER_S or
                 last['now'] - start_of(report))


def speeds(report: Report) -> List[Stretch]:
    """
    How fast the guest was, at the source and then at the destination; empty if
    it said nothing before the migration. A timing is in ms, and told when the
    GB is through.
    """
    start = start_of(report)
    timings = report['guest_timings']
    before = [1 / timing['value'] for timing in timings
              if timing['timestamp'] <= start]
    if not before:
        return []
    usual = statistics.median(before)
    return [Stretch(timing['timestamp'] - start - timing['value'] / MS_PER_S,
                    timing['timestamp'] - start, 1 / timing['value'] / usual)
            for timing in timings]


def kept(report: Report) -> float:
    """
    The guest's mean speed from the first pass to its last word at the source,
    against the one before; NaN if it said nothing in either.
    """
    end = length_s(report)
    during = [stretch.speed for stretch in speeds(report)
              if 0 < stretch.end_s <= end]
    return statistics.mean(during) if during else float('nan')


def make_row(name: str, qemu: str, run: int, report: Report) -> Row:
    """What a report of guestperf says."""
    history = report['progress_history']
    last = history[-1]
    return Row(name, qemu, run, last['status'],
               length_s(report), last['downtime'],
               max(step['ram']['iterations'] for step in history),
               max(step['throttle_pcent'] for step in history), kept(report))


def table(rows: List[Row]) -> str:
    """A line a run."""
    width = max(len(row.scenario) for row in rows)
    lines = [f"{'scenario':{width}} {'QEMU':8} run  outcome    total s "
             'stop ms passes throttle  speed']
    for row in rows:
        lines.append(f'{row.scenario:{width}} {row.qemu:8} {row.run:3}  '
                     f'{row.outcome:10} {row.total_s:7.1f} '
                     f'{row.downtime_ms:7.0f} {row.passes:6} '
                     f'{row.throttle_pct:6.0f} %  {row.work_kept:5.2f}')
    return '\n'.join(lines)
