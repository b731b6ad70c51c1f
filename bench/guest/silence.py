# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What a guest gets done just after a silence. All of QEMU is stopped for it, its
main loop too, and no throttle is involved: so this shows what a silence costs
whatever its cause is, but is no bound for a throttle, which lets the main loop
run.
"""

import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from migbench.errors import BenchError

from .kept import WARM_UP_S
from .linux import GuestConfig, LinuxGuest, SavedGuests

PAUSES_S = (0.045, 0.09, 0.19, 0.99)    # sleeps of throttles, old and new
AFTER_S = (0.002, 0.005, 0.01, 0.02, 0.05)
REFERENCE_S = (0.1, 0.2)        # after a silence: as if there had been none
CYCLES = 40
LOOK_S = 0.0005

Look = Tuple[float, int]        # seconds since the silence, work


@dataclass
class AfterSilence:
    """Means of the cycles."""
    load: str
    vcpus: int
    pause_s: float
    cycles: int
    free_rate: float            # work per second without a silence
    done: List[float]           # of what that makes until AFTER_S, the share

    def to_json(self) -> Dict[str, Any]:
        """A key for each time."""
        result = asdict(self)
        for after, share in zip(AFTER_S, result.pop('done')):
            result[f'done_{after * 1000:g}_ms'] = share
        return result


def work_at(looks: Sequence[Look], seconds: float) -> float:
    """What had been counted by then; between two looks, in proportion."""
    for (early, less), (late, more) in zip(looks, looks[1:]):
        if early <= seconds <= late and early < late:
            return less + (more - less) * (seconds - early) / (late - early)
    raise BenchError(f'nobody looked at the guest until {seconds:g} s')


def look(guest: LinuxGuest, pause_s: float) -> List[Look]:
    """One silence, and what follows."""
    os.kill(guest.machine.pid, signal.SIGSTOP)
    time.sleep(pause_s)
    looks = [(0.0, guest.pages.work)]
    start = time.monotonic()
    os.kill(guest.machine.pid, signal.SIGCONT)
    while looks[-1][0] < REFERENCE_S[1]:
        time.sleep(LOOK_S)
        looks.append((time.monotonic() - start, guest.pages.work))
    return looks


def sum_up(config: GuestConfig, pause_s: float,
           cycles: Sequence[Sequence[Look]]) -> AfterSilence:
    """Means of the cycles, each point of which was looked at."""
    begin_s, end_s = REFERENCE_S
    rate = mean(work_at(looks, end_s) - work_at(looks, begin_s)
                for looks in cycles) / (end_s - begin_s)
    if not rate:
        raise BenchError(f'{config.load} does nothing')
    return AfterSilence(
        config.load, config.vcpus, pause_s, len(cycles), rate,
        [mean(work_at(looks, after) - looks[0][1] for looks in cycles) /
         (rate * after) for after in AFTER_S])


def measure_all(binary: str, guests: Sequence[GuestConfig],
                directory: str) -> Iterator[AfterSilence]:
    """Guest by guest; the silences take turns."""
    states = SavedGuests(binary, directory)
    for config in guests:
        state = states.path(config)
        looks: Dict[float, List[List[Look]]] = {p: [] for p in PAUSES_S}
        with LinuxGuest(binary, config, directory, 'silent',
                        incoming=True) as guest:
            guest.load(state)
            time.sleep(WARM_UP_S)
            for _ in range(CYCLES):
                for pause_s, cycles in looks.items():
                    cycles.append(look(guest, pause_s))
            guest.check()
        for pause_s, cycles in looks.items():
            one = sum_up(config, pause_s, cycles)
            print(f'{one.load}, {one.vcpus} vCPUs, after {pause_s * 1000:g} '
                  f'ms: in 10 ms {one.done[AFTER_S.index(0.01)]:.2f} of the '
                  'work', file=sys.stderr, flush=True)
            yield one


COLUMNS: List[Tuple[str, Callable[[AfterSilence], str]]] = [
    ('load', lambda a: a.load),
    ('vCPUs', lambda a: str(a.vcpus)),
    ('silence', lambda a: f'{a.pause_s * 1000:g}'),
    ('free 1/s', lambda a: f'{a.free_rate:.0f}'),
    *[(f'{after * 1000:g} ms', lambda a, i=i: f'{a.done[i]:.2f}')
      for i, after in enumerate(AFTER_S)],
]

LEGEND = f'''\
silence     ms for which all of QEMU was stopped; no throttle
2 ms ...    work done until then after it, as a share of what is done in that
            time without a silence; means of {CYCLES} silences'''


def rows(measured: Sequence[AfterSilence]) -> List[List[str]]:
    """For people: a row of names, and one for each silence."""
    return [[name for name, _ in COLUMNS]] + [
        [show(one) for _, show in COLUMNS] for one in measured]
