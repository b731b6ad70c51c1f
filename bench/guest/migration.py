# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""One migration of a guest with a busy database, as its clients see it."""

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from migbench import metrics as migmetrics
from migbench.errors import BenchError
from migbench.machine import Machine
from migbench.migrate import RUN_GRACE_S, Migration, Plan, Run, deadline
from migbench.migrate_info import Sample

from .linux import GuestConfig, LinuxGuest
from .shared import quantile_s, slower_than
from .timeline import Interval, Watcher, between, intervals, whole

WARM_UP_S = 3.0                 # code is translated anew in a new process
FREE_S = 8.0                    # undisturbed, for the rate
AFTER_S = 5.0                   # where the guest runs on then
LATE_S = 1.0                    # as a client's time limit may be


class DatabaseMigration(Migration):
    """Starts from a saved state; the shared pages tell what the guest did."""

    def __init__(self, binary: str, config: GuestConfig, state: str,
                 plan: Plan, directory: str,
                 watch: Callable[[Run, Sample], None]):
        super().__init__(binary, '', plan, directory, watch)
        self._binary = binary
        self._guest = config
        self._state = state
        self.intervals: List[Interval] = []

    def execute(self) -> Run:
        with ExitStack() as stack:
            stack.enter_context(deadline(self._plan.time_limit_s
                                         + RUN_GRACE_S))
            link = self._plan.link
            source, dest = (
                stack.enter_context(LinuxGuest(
                    self._binary, self._guest, self._directory, name, wrapper,
                    incoming=True))
                for name, wrapper in (('source', link.source_wrapper()),
                                      ('dest', link.dest_wrapper())))
            source.load(self._state)
            self._set_up(source.machine, dest.machine)
            time.sleep(WARM_UP_S)
            self._look_at_clock(source.machine)
            with Watcher([source.pages, dest.pages]) as watcher:
                time.sleep(FREE_S)
                self._migrate(source.machine)
                time.sleep(AFTER_S)
            self.intervals = intervals(watcher.records)
            (dest if self.run.outcome == 'completed' else source).check()
            self.run.events.take(source.machine.events())
        return self.run

    def _begin(self, source: Machine) -> None:
        self.run.start = time.time()


@dataclass
class Served:
    """One migration, and what the clients got."""
    qemu: str
    vcpus: int
    run: Run
    intervals: List[Interval]

    def free(self) -> List[Interval]:
        """Before it."""
        return [part for part in self.intervals if part.end <= self.run.start]

    def during(self) -> List[Interval]:
        """From its start, which may cut an interval in two, to AFTER_S on."""
        return between(self.intervals, self.run.start, self.run.end + AFTER_S)

    def waited(self) -> Optional[float]:
        """The share of the time for which its vCPUs waited for the host."""
        clocks = self.run.clocks
        if len(clocks) < 2:
            return None
        return (clocks[-1].wait_s - clocks[0].wait_s) \
            / (clocks[-1].time - clocks[0].time)


@dataclass
class Metrics:
    """What it comes to."""
    qemu: str
    vcpus: int
    outcome: str
    total_s: float
    downtime_ms: Optional[float]    # as QEMU measured it
    highest_throttle_pct: float
    free_rate: float                # transactions per second undisturbed
    done: int                       # from the start to AFTER_S after the end
    lost: float                     # more would have been done undisturbed
    lost_s: float                   # in seconds of undisturbed work
    late: int                       # took LATE_S or longer
    free_median_ms: float           # before it
    median_ms: float
    free_p99_ms: float
    p99_ms: float
    silence_ms: float               # the longest
    waited: Optional[float]         # by vCPUs, for the host: of the time

    def to_json(self) -> Dict[str, Any]:
        """As it is."""
        return asdict(self)


def _total_s(run: Run) -> float:
    if run.outcome == 'completed' and 'total-time' in run.final:
        return float(run.final['total-time']) / 1000
    return run.end - run.start


def free_rate(served: Sequence[Served]) -> float:
    """
    Transactions per second before migrations of the same guest. All of them
    start from the same state, so a host that was slow for one of them does not
    make that one look better.
    """
    rates = [part.rate for one in served for part in one.free()]
    if not rates or not median(rates):
        raise BenchError('nothing was done before the migrations')
    return median(rates)


def metrics(served: Served, rate: float) -> Metrics:
    """All of them; rate: of the undisturbed guest."""
    run = served.run
    free, during = whole(served.free()), whole(served.during())
    if not free or not during:
        raise BenchError(f'{served.qemu}: not watched for long enough')
    lost = rate * (during.end - during.start) - during.transactions
    completed = run.outcome == 'completed'
    return Metrics(
        qemu=served.qemu, vcpus=served.vcpus, outcome=migmetrics.outcome(run),
        total_s=_total_s(run),
        downtime_ms=run.final.get('downtime') if completed else None,
        highest_throttle_pct=migmetrics.highest_throttle_pct(run),
        free_rate=rate, done=during.transactions, lost=lost,
        lost_s=lost / rate, late=slower_than(during.latency, LATE_S),
        free_median_ms=quantile_s(free.latency, 0.5) * 1000,
        median_ms=quantile_s(during.latency, 0.5) * 1000,
        free_p99_ms=quantile_s(free.latency, 0.99) * 1000,
        p99_ms=quantile_s(during.latency, 0.99) * 1000,
        silence_ms=during.silence_s * 1000, waited=served.waited())


def all_metrics(served: Sequence[Served]) -> List[Metrics]:
    """In the same order."""
    rates = {vcpus: free_rate([one for one in served if one.vcpus == vcpus])
             for vcpus in {one.vcpus for one in served}}
    return [metrics(one, rates[one.vcpus]) for one in served]


def _milliseconds(value: Optional[float]) -> str:
    return '-' if value is None else f'{value:.0f}'


COLUMNS: List[Tuple[str, Callable[[Metrics], str]]] = [
    ('vCPUs', lambda f: str(f.vcpus)),
    ('QEMU', lambda f: f.qemu),
    ('outcome', lambda f: f.outcome),
    ('total s', lambda f: f'{f.total_s:.1f}'),
    ('downtime ms', lambda f: _milliseconds(f.downtime_ms)),
    ('throttle', lambda f: f'{f.highest_throttle_pct:.1f}'),
    ('free 1/s', lambda f: f'{f.free_rate:.0f}'),
    ('done', lambda f: str(f.done)),
    ('LOST', lambda f: f'{f.lost:.0f}'),
    ('lost s', lambda f: f'{f.lost_s:.1f}'),
    ('late', lambda f: str(f.late)),
    ('median ms', lambda f: f'{f.free_median_ms:.1f} -> {f.median_ms:.1f}'),
    ('p99 ms', lambda f: f'{f.free_p99_ms:.1f} -> {f.p99_ms:.1f}'),
    ('silence ms', lambda f: _milliseconds(f.silence_ms)),
    ('waited', lambda f: '-' if f.waited is None else f'{f.waited * 100:.0f}'),
]

LEGEND = f'''\
throttle    the highest, in percent
free        transactions per second before the migrations of this guest
done        from its start until {AFTER_S:g} s after its end
lost        what the guest would have done more in that time undisturbed; the
            same in seconds of undisturbed work
late        transactions that took {LATE_S:g} s or longer
ms          latency, before -> from the start on, by the guest's clock, which
            stands still while the guest is stopped; silence: the longest time
            in which no transaction ended, by the host's
waited      percent of the time for which vCPUs waited for the host'''


def rows(measured: Sequence[Metrics]) -> List[List[str]]:
    """For people: a row of names, and one for each migration."""
    return [[name for name, _ in COLUMNS]] + [
        [show(one) for _, show in COLUMNS] for one in measured]


def to_json(served: Served, shown: Metrics) -> Dict[str, Any]:
    """The time line and all else about one migration, for programs."""
    run = served.run
    return {
        'metrics': shown.to_json(),
        'intervals': [{'start': part.start - run.start,
                       'end': part.end - run.start,
                       'transactions': part.transactions,
                       'median_ms': quantile_s(part.latency, 0.5) * 1000,
                       'p99_ms': quantile_s(part.latency, 0.99) * 1000,
                       'late': slower_than(part.latency, LATE_S),
                       'silence_ms': part.silence_s * 1000}
                      for part in served.intervals],
        'samples': [{**sample.to_json(), 'time': sample.time - run.start}
                    for sample in run.samples],
        'final': run.final,
    }
