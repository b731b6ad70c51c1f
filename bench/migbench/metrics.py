# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What a run comes to: the metrics of the demo's table."""

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional

from .throttle_loss import lost_s
from .migrate import Run
from .migrate_info import PassEvent, percent

WINDOW_S = 1.0      # passes shorter than this share a window, as in QEMU
OUTCOMES = {'cancelled': 'not converged: cancelled', 'failed': 'failed'}


@dataclass
class Metrics:
    """One row; None: not known. Times in s unless named otherwise."""
    outcome: str
    completed: bool
    total_s: float
    after_bulk_s: Optional[float]
    predicted_downtime_ms: Optional[float]
    downtime_ms: Optional[float]            # as QEMU measured it
    guest_downtime_ms: Optional[float]      # as the guest's reports show it
    passes: int
    windows_after_bulk: int
    highest_throttle_pct: float
    throttled_s: float
    throttled_by_guest_s: Optional[float]   # as its own count shows it
    longest_stall_ms: Optional[float]       # before the guest was stopped
    work_lost_s: Optional[float]
    memory_good: Optional[bool]             # None: the guest did not answer
    memory: str
    phases: List[Dict[str, Any]] = field(default_factory=list)
    auto_converge: Dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> Dict[str, Any]:
        """As it is."""
        return asdict(self)


def baseline_rate(run: Run) -> float:
    """Pages per s of the undisturbed guest."""
    first, last = run.baseline
    return (last.work - first.work) / (last.time - first.time)


def work_lost_s(run: Run) -> Optional[float]:
    """
    Guest work that the migration cost, in s of undisturbed work: from the last
    report before it to the first one after it.
    """
    rate = baseline_rate(run)
    if not run.before or not run.after or rate <= 0:
        return None
    elapsed = run.after.time - run.before.time
    return elapsed - (run.after.work - run.before.work) / rate


def guest_downtime_ms(run: Run) -> Optional[float]:
    """
    Time that passed outside but not in the guest, whose clock stands still
    while it is stopped. A report may come late, as when the vCPU is made to
    sleep between looking at its clock and telling: the promptest of each side
    count.
    """
    if run.outcome != 'completed' or not run.reports \
            or not run.reports_after:
        return None
    here, there = (min(r.time - r.guest_ms / 1000 for r in reports)
                   for reports in (run.reports, run.reports_after))
    return max(0.0, (there - here) * 1000)


def bulk_end(passes: List[PassEvent]) -> Optional[float]:
    """When the bulk pass ended: the second sync."""
    for event in passes:
        if event.number >= 2:
            return event.time
    return None


def windows_after_bulk(passes: List[PassEvent]) -> int:
    """Windows, as QEMU forms them, that ended after the bulk pass."""
    start = bulk_end(passes)
    count = 0
    for event in passes:
        if start is not None and event.time >= start + WINDOW_S:
            count += 1
            start = event.time
    return count


def throttled_s(run: Run) -> float:
    """
    Time withheld from the vCPUs: QEMU's own account, else the throttle asked
    for, integrated over the samples.
    """
    own = [s.throttled_ms for s in run.samples if s.throttled_ms is not None]
    if own:
        return max(own) / 1000
    total = 0.0
    for before, after in zip(run.samples, run.samples[1:]):
        total += before.throttle_pct / 100 * (after.time - before.time)
    return total


def highest_throttle_pct(run: Run) -> float:
    """Of samples and events; a phase may be shorter than a sample."""
    seen = [s.throttle_pct for s in run.samples]
    seen += [percent(s.auto_converge, 'highest-throttle-permille') or 0
             for s in run.samples]
    seen += [percent(e.auto_converge, 'throttle-permille') or 0
             for e in run.events.phases]
    return max(seen, default=0.0)


def ended_by_fallback(run: Run) -> bool:
    """Whether the controller had the guest stopped."""
    phases = [e.auto_converge.get('phase') for e in run.events.phases]
    phases += [s.phase for s in run.samples]
    return 'fallback' in phases


def predicted_downtime_ms(run: Run) -> Optional[float]:
    """
    The prediction on which the guest was stopped: the controller's in its
    fallback; else the last expected-downtime seen, or the limit if that is
    less, as QEMU does not stop before it predicts that.
    """
    if run.outcome != 'completed':
        return None
    if ended_by_fallback(run):
        told = [(s.time, s.auto_converge) for s in run.samples]
        told += [(e.time, e.auto_converge) for e in run.events.phases]
        told.sort(key=lambda entry: entry[0])
        known = [auto['predicted-downtime'] for _, auto in told
                 if auto.get('phase') == 'fallback'
                 and auto.get('predicted-downtime') is not None]
    else:
        known = [min(s.expected_downtime_ms, run.downtime_limit_ms)
                 for s in run.samples if s.status != 'completed'
                 and s.expected_downtime_ms is not None]
    return float(known[-1]) if known else None


def longest_stall_ms(run: Run) -> Optional[float]:
    """
    The longest silence of the guest at the source while it was migrated. A
    guest that runs is silent for its report interval, 100 ms.
    """
    times = [r.time for r in run.reports]
    return max(((late - early) * 1000
                for early, late in zip(times, times[1:])), default=None)


def outcome(run: Run) -> str:
    """In words."""
    if run.outcome == 'completed':
        return 'completed by stop-and-copy' if ended_by_fallback(run) \
            else 'completed'
    return OUTCOMES.get(run.outcome, run.outcome)


def metrics(run: Run) -> Metrics:
    """All of them."""
    total = run.end - run.start
    if run.outcome == 'completed' and 'total-time' in run.final:
        total = run.final['total-time'] / 1000
    bulk = bulk_end(run.events.passes)
    verdict = run.verdict_after
    return Metrics(
        outcome=outcome(run), completed=run.outcome == 'completed',
        total_s=total,
        after_bulk_s=max(0.0, run.start + total - bulk) if bulk else None,
        predicted_downtime_ms=predicted_downtime_ms(run),
        downtime_ms=run.final.get('downtime')
        if run.outcome == 'completed' else None,
        guest_downtime_ms=guest_downtime_ms(run),
        passes=max((s.passes for s in run.samples), default=0),
        windows_after_bulk=windows_after_bulk(run.events.passes),
        highest_throttle_pct=highest_throttle_pct(run),
        throttled_s=throttled_s(run), throttled_by_guest_s=lost_s(run),
        longest_stall_ms=longest_stall_ms(run), work_lost_s=work_lost_s(run),
        memory_good=verdict.good if verdict else None,
        memory=verdict.describe() if verdict else 'no answer',
        phases=[{'time': e.time - run.start, **e.auto_converge}
                for e in run.events.phases],
        auto_converge=next((s.auto_converge for s in reversed(run.samples)
                            if s.auto_converge), {}))
