# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""One migration, from the start of both QEMUs to the verified memory."""

import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, Optional, Type

from .errors import BenchError
from .link import Link
from .machine import Machine, MachineConfig
from .migrate_info import END_STATUSES, Events, Sample, make_sample
from .console import Report, Verdict
from .vcpu_monitor import VcpuClock, read_vcpu_clock

SAMPLE_PERIOD_S = 0.2
CLOSE_PERIOD_S = 0.05       # near the end, for what is predicted last
CLOSE_S = 1.0               # so near: what remains takes less than this
END_TIMEOUT_S = 60          # for a cancellation or switchover to come through
RESUME_TIMEOUT_S = 30       # for the guest to report after its migration
RUN_GRACE_S = 150           # beyond the time limit a run is broken, not slow
SETTLE_S = 0.5              # after boot, before the baseline


@dataclass
class Plan:
    """What a run does."""
    memory_mib: int
    append: str                         # keys of the workload guest
    link: Link
    time_limit_s: float                 # cancel after
    downtime_limit_ms: int = 300
    busy: bool = False                  # the guest works as fast as it can
    baseline_s: float = 3.0             # length of the undisturbed measurement
    parameters: Dict[str, Any] = field(default_factory=dict)
    capabilities: Dict[str, bool] = field(default_factory=dict)


@dataclass
class Run:
    """What happened, unprocessed."""
    start: float = 0.0                  # the migrate command, s
    end: float = 0.0                    # its end was seen
    outcome: str = 'none'               # completed, cancelled, failed
    error: Optional[str] = None
    samples: List[Sample] = field(default_factory=list)
    events: Events = field(default_factory=Events)
    final: Dict[str, Any] = field(default_factory=dict)
    ready: Dict[str, str] = field(default_factory=dict)

    # guest: the baseline from..to, before the migration, after it
    baseline: List[Report] = field(default_factory=list)
    before: Optional[Report] = None
    last_at_source: Optional[Report] = None
    after: Optional[Report] = None
    reports: List[Report] = field(default_factory=list)     # at the source
    reports_after: List[Report] = field(default_factory=list)   # run.after on
    downtime_limit_ms: int = 0
    busy: bool = False                  # as fast as it can, always
    clocks: List[VcpuClock] = field(default_factory=list)   # of the source
    verdict_before: Optional[Verdict] = None
    verdict_after: Optional[Verdict] = None


@contextmanager
def deadline(seconds: float, what: str = 'a run has not ended',
             error: Type[Exception] = BenchError) -> Iterator[None]:
    """Raise an error in the main thread after a time."""
    def expired(signum: int, frame: Optional[FrameType]) -> None:
        raise error(f'{what} after {seconds:.0f} s')

    old = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


class Migration:
    """One run; watch is called with each sample."""

    def __init__(self, binary: str, kernel: str, plan: Plan, directory: str,
                 watch: Callable[[Run, Sample], None]):
        self._plan = plan
        self._directory = directory
        self._watch = watch
        self._config = MachineConfig(binary, kernel, plan.memory_mib,
                                     plan.append)
        self._threads: List[int] = []
        self.run = Run(downtime_limit_ms=plan.downtime_limit_ms,
                       busy=plan.busy)

    def execute(self) -> Run:
        """Do it; raises BenchError when it cannot be done."""
        with ExitStack() as stack:
            stack.enter_context(deadline(self._plan.time_limit_s
                                         + RUN_GRACE_S))
            link = self._plan.link
            dest = stack.enter_context(
                Machine(self._config, self._directory, 'dest',
                        link.dest_wrapper(), incoming=True))
            source = stack.enter_context(
                Machine(self._config, self._directory, 'source',
                        link.source_wrapper()))
            self._measure_baseline(source)
            self._set_up(source, dest)
            self._migrate(source)
            self._look_after(source, dest)
        return self.run

    def _look_at_clock(self, source: Machine) -> None:
        if not self._threads:
            self._threads = source.vcpu_threads()
        clock = read_vcpu_clock(source.pid, self._threads)
        if clock:
            self.run.clocks.append(clock)

    def _measure_baseline(self, source: Machine) -> None:
        """Boot, check the memory, see what the guest does undisturbed."""
        run = self.run
        run.ready = source.serial.wait_ready()
        time.sleep(SETTLE_S)
        run.verdict_before = source.serial.verify()
        self._look_at_clock(source)
        first = source.serial.wait_report(time.time(), RESUME_TIMEOUT_S)
        time.sleep(self._plan.baseline_s)
        self._look_at_clock(source)
        last = source.serial.last_report(time.time())
        if not first or last.time <= first.time:
            raise BenchError('the workload guest does not report')
        run.baseline = [first, last]

    def _set_up(self, source: Machine, dest: Machine) -> None:
        plan = self._plan
        capabilities = {'events': True, 'auto-converge': True,
                        **plan.capabilities}
        source.set_capabilities(capabilities)
        source.qmp('migrate-set-parameters',
                   max_bandwidth=plan.link.max_bandwidth_bps(),
                   downtime_limit=plan.downtime_limit_ms, **plan.parameters)
        dest.qmp('migrate-incoming', uri=plan.link.uri(self._directory))

    def _sample(self, source: Machine) -> Sample:
        run = self.run
        reply = source.qmp('query-migrate')
        self._look_at_clock(source)
        sample = make_sample(reply, time.time(),
                             run.samples[-1] if run.samples else None)
        run.events.take(source.events())
        run.samples.append(sample)
        self._watch(run, sample)
        return sample

    def _begin(self, source: Machine) -> None:
        """The last thing before the migration."""
        self.run.start = time.time()
        self.run.before = source.serial.last_report(self.run.start)

    def _migrate(self, source: Machine) -> None:
        run, plan = self.run, self._plan
        self._begin(source)
        source.qmp('migrate', uri=plan.link.uri(self._directory))
        cancelled_at: Optional[float] = None
        while True:
            sample = self._sample(source)
            if sample.status in END_STATUSES:
                break
            waited = sample.time - run.start
            if cancelled_at and sample.time - cancelled_at > END_TIMEOUT_S:
                raise BenchError('a cancelled migration does not end')
            if not cancelled_at and waited > plan.time_limit_s \
                    and sample.status == 'active':
                source.qmp('migrate_cancel')
                cancelled_at = sample.time
            elif not cancelled_at and waited > plan.time_limit_s \
                    + END_TIMEOUT_S:
                raise BenchError(f"a migration stays '{sample.status}'")
            close = 0 < sample.remaining < sample.drain_bps * CLOSE_S
            time.sleep(CLOSE_PERIOD_S if close else SAMPLE_PERIOD_S)
        run.end = sample.time
        run.outcome = sample.status
        # 7.2 says "completed" a little before it has the final metrics
        time.sleep(SAMPLE_PERIOD_S)
        run.final = source.qmp('query-migrate')
        run.error = run.final.get('error-desc')

    def _look_after(self, source: Machine, dest: Machine) -> None:
        """See the guest run on where it now has to, and check its memory."""
        run = self.run
        where = dest if run.outcome == 'completed' else source
        # a completed guest may have reported before its end was seen
        since = run.start if where is dest else run.end
        run.after = where.serial.wait_report(since, RESUME_TIMEOUT_S)
        run.last_at_source = source.serial.last_report(
            run.after.time if run.after and where is dest else run.end)
        run.reports = source.serial.reports_between(run.start,
                                                    run.last_at_source.time)
        if run.after:
            run.verdict_after = where.serial.verify()
            run.reports_after = where.serial.reports_between(run.after.time,
                                                             time.time())
        run.events.take(source.events())
