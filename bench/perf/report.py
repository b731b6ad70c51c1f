# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What a report of guestperf says."""

import statistics
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple

__all__ = ['Report', 'Row', 'Stretch', 'kept', 'length_s',
           'make_row', 'speeds', 'start_of', 'stop_of', 'table', 'usual_s']

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
    work_kept: float                # of what it does undisturbed, 0..1


def start_of(report: Report) -> float:
    """When the migration began, by the clock of the timings (s)."""
    first = report['progress_history'][0]
    return float(first['now'] - first['duration'] / MS_PER_S)


def length_s(report: Report) -> float:
    """How long it took; QEMU no longer tells when it was cancelled."""
    last = report['progress_history'][-1]
    return float(last['duration'] / MS_PER_S or
                 last['now'] - start_of(report))


def usual_s(report: Report) -> float:
    """
    What a GB takes the guest when nothing holds it back, in the median; NaN if
    it said nothing before the migration. A timing is in ms, and told when the
    GB is through.
    """
    start = start_of(report)
    before = [float(timing['value']) for timing in report['guest_timings']
              if timing['timestamp'] <= start]
    return statistics.median(before) / MS_PER_S if before else float('nan')


def stop_of(report: Report) -> float:
    """When the guest was stopped, s since the migration began."""
    downtime_ms = report['progress_history'][-1]['downtime']
    return length_s(report) - float(downtime_ms) / MS_PER_S


def speeds(report: Report) -> List[Stretch]:
    """
    How fast the guest was, at the source and then at the destination. Its clock
    stands still while it is stopped.
    """
    start, usual = start_of(report), usual_s(report) * MS_PER_S
    stop = stop_of(report)
    stretches = []
    for timing in report['guest_timings']:
        end = timing['timestamp'] - start
        end += length_s(report) - stop if end > stop else 0
        stretches.append(Stretch(end - timing['value'] / MS_PER_S, end,
                                 usual / timing['value']))
    return stretches


def kept(report: Report) -> float:
    """
    The guest's work while it was migrated, the stop included, against what it
    does in such a time when nothing holds it back; NaN where that is not known.
    """
    stop = stop_of(report)
    during = sum(0 < stretch.end_s <= stop for stretch in speeds(report))
    return during * usual_s(report) / length_s(report)


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
             'stop ms passes throttle   work']
    for row in rows:
        lines.append(f'{row.scenario:{width}} {row.qemu:8} {row.run:3}  '
                     f'{row.outcome:10} {row.total_s:7.1f} '
                     f'{row.downtime_ms:7.0f} {row.passes:6} '
                     f'{row.throttle_pct:6.0f} %  {row.work_kept:5.2f}')
    return '\n'.join(lines)
