# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Watch vCPUs from outside: what the host let them execute, and what progress the
guest made. Nothing here asks QEMU or the guest while it measures.
"""

import mmap
import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Callable, Iterator, List, Optional, Sequence, Tuple

from .errors import BenchError

# tests/guest/progress.h
PROGRESS_ADDRESS = 0x200000
PROGRESS_STRIDE = 64
PROGRESS_WRAP = 1 << 32
WORD_BYTES = 4

SAMPLE_PERIOD_S = 0.0005
REALTIME_PRIORITY = 1
SLEEP_MIN_S = 0.0015            # what counts as a sleep of a vCPU
PAUSE_GAIN = 0.25               # how fast pause_and_watch() finds the slice
NS = 1e9


class ProgressMap:
    """The progress words of the guest whose RAM is this file."""

    def __init__(self, path: str, vcpus: int):
        with open(path, 'rb') as ram:
            self._map = mmap.mmap(ram.fileno(), mmap.PAGESIZE,
                                  prot=mmap.PROT_READ, offset=PROGRESS_ADDRESS)
        self._words = memoryview(self._map).cast('I')
        self._step = PROGRESS_STRIDE // WORD_BYTES
        self._end = vcpus * self._step

    def read(self) -> List[int]:
        """One look."""
        return self._words[:self._end:self._step].tolist()

    def close(self) -> None:
        """Unmap it."""
        self._words.release()
        self._map.close()


class GapMeter:
    """
    The longest time without progress of each vCPU, among looks at known times.
    As progress is noticed at the next look, a gap is known but for the time
    between two looks; own_gap_s is the longest of these.
    """

    def __init__(self, now: float, values: Sequence[int]):
        self.own_gap_s = 0.0
        self.gaps_s = [0.0] * len(values)
        self.progress = [0] * len(values)
        self.sleeps = [0] * len(values)     # gaps of SLEEP_MIN_S or more
        self._now = now
        self._values = list(values)
        self._changed = [now] * len(values)

    def take(self, now: float, values: Sequence[int]) -> None:
        """One look."""
        self.own_gap_s = max(self.own_gap_s, now - self._now)
        self._now = now
        for vcpu, value in enumerate(values):
            if value == self._values[vcpu]:
                continue
            self.progress[vcpu] += (value - self._values[vcpu]) \
                % PROGRESS_WRAP
            self._values[vcpu] = value
            self._end_gap(vcpu)

    def finish(self) -> None:
        """No further look: what stands still does so until now."""
        for vcpu in range(len(self._values)):
            self._end_gap(vcpu)

    def _end_gap(self, vcpu: int) -> None:
        gap_s = self._now - self._changed[vcpu]
        self.gaps_s[vcpu] = max(self.gaps_s[vcpu], gap_s)
        self.sleeps[vcpu] += gap_s >= SLEEP_MIN_S
        self._changed[vcpu] = self._now


@dataclass
class SchedStat:
    """What the kernel says of one thread, ns."""
    time: float                         # s, of the look
    run_ns: int
    wait_ns: int                        # runnable, but others ran


def parse_schedstat(text: str, now: float) -> SchedStat:
    """/proc/PID/task/TID/schedstat: run, wait, time slices."""
    try:
        run, wait, _ = (int(word) for word in text.split())
    except ValueError as exc:
        raise BenchError(f'no schedstat of this kernel: {text!r}') from exc
    return SchedStat(now, run, wait)


@dataclass
class VcpuClock:
    """What all vCPUs executed so far, and waited for; mean over them."""
    time: float                         # s, as time.time()
    run_s: float
    wait_s: float


def read_vcpu_clock(pid: int, threads: Sequence[int]) -> Optional[VcpuClock]:
    """Of a running process; None: the kernel does not tell."""
    now = time.time()
    try:
        stats = read_schedstats(pid, threads)
    except BenchError:
        return None
    return VcpuClock(now, sum(s.run_ns for s in stats) / NS / len(stats),
                     sum(s.wait_ns for s in stats) / NS / len(stats))


def read_schedstats(pid: int, threads: Sequence[int]) -> List[SchedStat]:
    """Of some threads of a process."""
    result = []
    for thread in threads:
        try:
            with open(f'/proc/{pid}/task/{thread}/schedstat',
                      encoding='ascii') as stat:
                result.append(parse_schedstat(stat.read(), time.monotonic()))
        except OSError as exc:
            raise BenchError(f'no schedstat of this kernel: {exc}') from exc
    return result


@dataclass
class VcpuWatch:
    """One vCPU over one stretch of time."""
    wall_s: float
    run_s: float
    wait_s: float
    progress: int
    gap_s: float                        # longest time without progress
    sleeps: int                         # how often it stood still

    @property
    def raw_share(self) -> float:
        """Executed part of all the time."""
        return self.run_s / self.wall_s

    @property
    def share(self) -> float:
        """Executed part of the time that other processes left to it."""
        return self.run_s / max(self.wall_s - self.wait_s, self.run_s)

    @property
    def speed(self) -> Optional[float]:
        """Progress for each s executed."""
        return self.progress / self.run_s if self.run_s else None

    @property
    def pulse(self) -> Optional[Tuple[float, float]]:
        """
        s executed, and s held back, from sleep to sleep. None where sleeps
        are too short to be seen: then the few that were seen are too few.
        """
        held_s = max(0.0, self.wall_s - self.wait_s - self.run_s)
        if not self.sleeps or held_s / self.sleeps > self.gap_s:
            return None
        return self.run_s / self.sleeps, held_s / self.sleeps


@dataclass
class Watch:
    """All vCPUs over one stretch of time."""
    vcpus: List[VcpuWatch] = field(default_factory=list)
    own_gap_s: float = 0.0              # longest time without a look


def vcpu_watch(before: SchedStat, after: SchedStat, progress: int,
               gap_s: float, sleeps: int) -> VcpuWatch:
    """What lies between two looks at schedstat."""
    return VcpuWatch(after.time - before.time,
                     (after.run_ns - before.run_ns) / NS,
                     (after.wait_ns - before.wait_ns) / NS, progress, gap_s,
                     sleeps)


@contextmanager
def realtime() -> Iterator[None]:
    """Look when it is time to, also where vCPUs take all of the host."""
    old: Optional[Tuple[int, os.sched_param]] = None
    try:
        old = (os.sched_getscheduler(0), os.sched_getparam(0))
        os.sched_setscheduler(0, os.SCHED_FIFO,
                              os.sched_param(REALTIME_PRIORITY))
    except (AttributeError, OSError):
        old = None                      # own_gap_s tells what comes of it
    try:
        yield
    finally:
        if old:
            os.sched_setscheduler(0, *old)


def _watch_by(pid: int, threads: Sequence[int], read: Callable[[], List[int]],
              wait: Callable[[], bool]) -> Watch:
    """A look whenever wait() returns, until it returns False."""
    with realtime():
        before = read_schedstats(pid, threads)
        meter = GapMeter(time.monotonic(), read())
        more = True
        while more:
            more = wait()
            meter.take(time.monotonic(), read())
        after = read_schedstats(pid, threads)
        meter.finish()
    return Watch([vcpu_watch(*one) for one in
                  zip(before, after, meter.progress, meter.gaps_s,
                      meter.sleeps)], meter.own_gap_s)


def watch(pid: int, threads: Sequence[int], read: Callable[[], List[int]],
          seconds: float, period_s: float = SAMPLE_PERIOD_S) -> Watch:
    """
    Watch the vCPUs of a process for a time. Looking costs a busy host some of
    its speed: where gaps do not matter, look once, by a period_s of seconds.
    """
    end = time.monotonic() + seconds

    def wait() -> bool:
        time.sleep(period_s)
        return time.monotonic() < end

    return _watch_by(pid, threads, read, wait)


def pause_and_watch(pid: int, thread: int, read: Callable[[], List[int]],
                    seconds: float, pulse: Tuple[float, float]) -> Watch:
    """
    Stop and continue the whole process for a time, so that the vCPU executes
    in such pulses as a throttle made: what this costs, any pause does.
    """
    end = time.monotonic() + seconds
    slice_s, held_s = pulse
    delay_s = slice_s

    def wait() -> bool:
        nonlocal delay_s
        start = read_schedstats(pid, [thread])[0]
        os.kill(pid, signal.SIGCONT)
        time.sleep(delay_s)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(held_s)
        got_s = (read_schedstats(pid, [thread])[0].run_ns - start.run_ns) / NS
        delay_s += PAUSE_GAIN * (slice_s - got_s)
        delay_s = min(max(delay_s, 0.0), slice_s)
        return time.monotonic() < end

    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(held_s)
        return _watch_by(pid, [thread], read, wait)
    finally:
        os.kill(pid, signal.SIGCONT)
