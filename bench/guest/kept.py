# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Work kept at commanded throttles, without a migration."""

import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from migbench.debugger import Throttle, set_throttle
from migbench.errors import BenchError
from migbench.tables import run_share
from migbench.vcpu_monitor import NS, read_schedstats

from .linux import GuestConfig, LinuxGuest, SavedGuests
from .shared import latency_between, quantile_s

WARM_UP_S = 2.5                 # code is translated anew in a new process
SETTLE_S = 0.5                  # after gdb has gone
LET_GO_S = 1.2                  # stock's last sleep may take 1 s
FREE_S = 2.0                    # without a throttle, before and after
WINDOW_S = 4.0                  # under a throttle
LONG_WINDOW_S = 10.0            # ... at which stock's periods are long
LONG_FROM_PCT = 95.0
DISTURBED = 0.10                # vCPUs that waited more were not alone
TRANSACTIONS = ('redis',)       # loads whose latencies are known


@dataclass
class Subject:
    """A QEMU to measure."""
    name: str
    binary: str
    throttle: Throttle


@dataclass
class Window:
    """What was counted for a time."""
    seconds: float
    work: int
    printed: int                    # lines
    waited: float                   # vCPUs, for the host: share of the time
    latency: List[int]              # transactions, see guest/shared.h
    executed: List[float]           # each vCPU, for this share of the time

    @property
    def rate(self) -> float:
        """Work per second that the host left to the vCPUs."""
        return self.work / (self.seconds * (1 - self.waited))


@dataclass
class Kept:
    """One run of one point."""
    qemu: str
    load: str
    vcpus: int
    throttle_pct: float
    before: Window
    throttled: Window
    after: Window

    @property
    def free_rate(self) -> float:
        """The same without a throttle."""
        return mean((self.before.rate, self.after.rate))

    @property
    def share(self) -> float:
        """The part of this that is left under the throttle."""
        return self.throttled.rate / self.free_rate

    @property
    def waited(self) -> float:
        """The most that vCPUs waited for the host in any of the windows."""
        return max(w.waited for w in (self.before, self.throttled, self.after))

    def to_json(self) -> Dict[str, Any]:
        """Without the many buckets."""
        result = asdict(self)
        for window in ('before', 'throttled', 'after'):
            del result[window]['latency']
        return {**result, 'share': self.share, 'free_rate': self.free_rate}


def window_s(throttle_pct: float, least_s: float) -> float:
    """How long to watch; the same for all QEMUs."""
    return max(least_s,
               LONG_WINDOW_S if throttle_pct >= LONG_FROM_PCT else WINDOW_S)


def watch(guest: LinuxGuest, seconds: float) -> Window:
    """Count for a time; nothing is asked of QEMU meanwhile."""
    pid, threads = guest.machine.pid, guest.machine.vcpu_threads()
    before, stats = guest.pages.read(), read_schedstats(pid, threads)
    start = time.monotonic()
    time.sleep(seconds)
    after, elapsed = guest.pages.read(), time.monotonic() - start
    pairs = list(zip(stats, read_schedstats(pid, threads)))
    waited_ns = mean(late.wait_ns - early.wait_ns for early, late in pairs)
    return Window(elapsed, after.work - before.work,
                  after.printed - before.printed, waited_ns / NS / elapsed,
                  latency_between(before.latency, after.latency),
                  [(late.run_ns - early.run_ns) / NS / elapsed
                   for early, late in pairs])


def measure(subject: Subject, config: GuestConfig, state: str,
            throttle_pct: float, least_s: float, directory: str) -> Kept:
    """
    One run of one point, in a process of its own: stock may cease to throttle
    a vCPU for good when a throttle ends.
    """
    def throttle(pct: float) -> None:
        set_throttle(guest.machine, subject.binary, subject.throttle, pct)

    with LinuxGuest(subject.binary, config, directory, subject.name,
                    incoming=True) as guest:
        guest.load(state)
        time.sleep(WARM_UP_S)
        before = watch(guest, FREE_S)
        throttle(throttle_pct)
        time.sleep(SETTLE_S)
        throttled = watch(guest, window_s(throttle_pct, least_s))
        throttle(0)
        time.sleep(LET_GO_S)
        after = watch(guest, FREE_S)
        guest.check()
    if not before.work or not after.work:
        raise BenchError(f'{subject.name}: {config.load} does nothing')
    return Kept(subject.name, config.load, config.vcpus, throttle_pct, before,
                throttled, after)


def measure_all(subjects: Sequence[Subject], guests: Sequence[GuestConfig],
                throttles: Sequence[float], runs: int, least_s: float,
                memory: str) -> Iterator[Kept]:
    """Run by run; the QEMUs take turns at each point."""
    with tempfile.TemporaryDirectory(prefix='guest-', dir=memory) as directory:
        states = SavedGuests(subjects[0].binary, directory)
        points = [(guest, pct) for guest in guests for pct in throttles]
        for run in range(runs):
            order = subjects if run % 2 == 0 else subjects[::-1]
            for guest, pct in points:
                state = states.path(guest)
                for subject in order:
                    if subject.throttle.knows(pct):
                        kept = measure(subject, guest, state, pct, least_s,
                                       directory)
                        tell(kept, run)
                        yield kept


def tell(kept: Kept, run: int) -> None:
    """One line while it runs."""
    print(f'run {run + 1}: {kept.load}, {kept.vcpus} vCPUs, '
          f'{kept.throttle_pct:g} %, {kept.qemu}: keeps {kept.share:.4f} of '
          f'{kept.free_rate:.0f}/s, prints {kept.throttled.printed} lines in '
          f'{kept.throttled.seconds:.0f} s'
          + (f'; DISTURBED: vCPUs waited {kept.waited * 100:.0f} %'
             if kept.waited > DISTURBED else ''),
          file=sys.stderr, flush=True)


@dataclass
class KeptPoint:
    """All runs of one point."""
    load: str
    vcpus: int
    throttle_pct: float
    qemu: str
    runs: int
    share: float                    # median, and so on
    least: float
    most: float
    efficiency: float               # share, of the run share commanded
    free_rate: float                # work per second without a throttle
    printed: float                  # lines per second
    median_ms: float                # of transactions, medians; 0: none
    p99_ms: float
    disturbed: int                  # runs in which vCPUs waited for the host

    def to_json(self) -> Dict[str, Any]:
        """As it is."""
        return asdict(self)


def make_point(runs: Sequence[Kept]) -> KeptPoint:
    """Sum up the runs of one point."""
    first = runs[0]
    shares = [run.share for run in runs]

    def latency_ms(quantile: float) -> float:
        return median(quantile_s(run.throttled.latency, quantile)
                      for run in runs) * 1000

    return KeptPoint(
        first.load, first.vcpus, first.throttle_pct, first.qemu, len(runs),
        median(shares), min(shares), max(shares),
        median(shares) / run_share(first.throttle_pct),
        median(run.free_rate for run in runs),
        median(run.throttled.printed / run.throttled.seconds for run in runs),
        latency_ms(0.5), latency_ms(0.99),
        sum(run.waited > DISTURBED for run in runs))


def make_points(measured: Sequence[Kept]) -> List[KeptPoint]:
    """In the order in which points were first measured."""
    groups: Dict[Tuple[str, int, float, str], List[Kept]] = {}
    for one in measured:
        groups.setdefault((one.load, one.vcpus, one.throttle_pct, one.qemu),
                          []).append(one)
    return [make_point(runs) for runs in groups.values()]


def _latency(point: KeptPoint, value_ms: float) -> str:
    return f'{value_ms:.1f}' if point.load in TRANSACTIONS else '-'


COLUMNS: List[Tuple[str, Callable[[KeptPoint], str]]] = [
    ('load', lambda p: p.load),
    ('vCPUs', lambda p: str(p.vcpus)),
    ('throttle', lambda p: f'{p.throttle_pct:g}'),
    ('QEMU', lambda p: p.qemu),
    ('runs', lambda p: str(p.runs)),
    ('run share', lambda p: f'{run_share(p.throttle_pct) * 100:.1f}'),
    ('kept', lambda p: f'{p.share * 100:.2f}'),
    ('least', lambda p: f'{p.least * 100:.2f}'),
    ('most', lambda p: f'{p.most * 100:.2f}'),
    ('of run share', lambda p: f'{p.efficiency:.2f}'),
    ('free 1/s', lambda p: f'{p.free_rate:.0f}'),
    ('lines/s', lambda p: f'{p.printed:.2f}'),
    ('median ms', lambda p: _latency(p, p.median_ms)),
    ('p99 ms', lambda p: _latency(p, p.p99_ms)),
    ('disturbed', lambda p: str(p.disturbed)),
]

LEGEND = '''\
Percent where no unit is given; medians of the runs.
kept        work done per second, as a share of what the same guest did
            without a throttle, before and after; its least and most of the
            runs; of the seconds that the host left to the vCPUs
of run share   kept, as a part of the run share that the throttle leaves
free        work per second without a throttle
lines/s     what the guest goes on printing under it, of one line a second
ms          latency of transactions under it, as clients in the guest see it
disturbed   runs in which vCPUs waited for the host for more than 10 % of the
            time'''


def rows(points: Sequence[KeptPoint]) -> List[List[str]]:
    """For people: a row of names, and one for each point."""
    return [[name for name, _ in COLUMNS]] + [
        [show(point) for _, show in COLUMNS] for point in points]
