# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What is wrong with what was seen of a migration; asks no QEMU."""

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional

from .machines import FREE_SHARE

LOST, DOUBLED, MISPLACED = 'lost', 'doubled', 'misplaced'
CORRUPT, THROTTLED, HUNG = 'corrupt', 'throttled', 'hung'
CRASHED, ANSWERED, SEQUEL = 'crashed', 'wrong answer', 'sequel failed'
FAILED, BROKEN = 'failed for nothing', 'broken soak'
KINDS = (LOST, DOUBLED, MISPLACED, CORRUPT, THROTTLED, HUNG, CRASHED, ANSWERED,
         SEQUEL, FAILED, BROKEN)

RUNNING = 'running'


@dataclass
class Seen:
    """All that was seen when the migration was over."""
    outcome: str = 'none'                   # of query-migrate, at the source
    error: str = ''                         # and what it says why
    source_state: Optional[str] = None      # run states; None: it is gone
    dest_state: Optional[str] = None
    harmless: bool = False                  # nothing it has to fail of
    cancelled: bool = False                 # somebody asked for that
    operator_stopped: bool = False          # and continued the guest
    killed_with_guest: bool = False         # a destination that ran it
    reports: bool = False                   # the guest that runs says so
    memory: Optional[str] = None            # what its check says, if any
    memory_good: bool = False
    throttle_pct: float = 0.0               # of query-migrate
    share_before: float = 1.0               # of the time that a busy vCPU gets
    share_after: Optional[float] = None     # None: not measured
    hangs: List[str] = field(default_factory=list)
    crashes: List[str] = field(default_factory=list)
    answers: List[str] = field(default_factory=list)
    sequel: Optional[str] = None            # why the next one failed
    broken: List[str] = field(default_factory=list)

    @property
    def held_back(self) -> bool:
        """Whether a vCPU does not get what it got before."""
        return self.share_after is not None \
            and self.share_after < FREE_SHARE <= self.share_before

    def to_json(self) -> Dict[str, Any]:
        """All of it."""
        return asdict(self)


@dataclass
class Problem:
    """One thing that is wrong."""
    kind: str
    text: str


def _went_down(seen: Seen) -> bool:
    """The destination had the guest, had said so, and was killed then."""
    return seen.killed_with_guest and seen.outcome == 'completed' \
        and seen.source_state == 'postmigrate' and seen.dest_state is None


def _whereabouts(seen: Seen) -> List[Problem]:
    """Exactly one guest runs, where the outcome says."""
    states = (f"{seen.outcome}: the source is {seen.source_state or 'gone'}, "
              f"the destination {seen.dest_state or 'gone'}")
    at_source = seen.source_state == RUNNING
    at_dest = seen.dest_state == RUNNING
    if at_source and at_dest:
        return [Problem(DOUBLED, states)]
    if not at_source and not at_dest:
        return [Problem(LOST, states)]
    if at_dest != (seen.outcome == 'completed') and not (
            at_source and seen.operator_stopped):
        return [Problem(MISPLACED, states)]
    return []


def _condition(seen: Seen) -> List[Problem]:
    """The guest that runs works, remembers, and is held back by nothing."""
    problems = []
    if not seen.reports:
        problems.append(Problem(LOST, 'the guest that runs is silent'))
    elif not seen.memory_good:
        problems.append(Problem(CORRUPT, seen.memory or
                                'the guest does not check its memory'))
    if seen.throttle_pct:
        problems.append(Problem(THROTTLED, 'query-migrate still says '
                                f'{seen.throttle_pct:g} %'))
    if seen.held_back and seen.share_after is not None:
        problems.append(Problem(
            THROTTLED, f'a busy vCPU executes {seen.share_after:.0%} of what '
            f'the host leaves to it, before {seen.share_before:.0%}'))
    return problems


def judge(seen: Seen) -> List[Problem]:
    """Everything that is wrong."""
    problems = [Problem(HUNG, text) for text in seen.hangs]
    problems += [Problem(CRASHED, text) for text in seen.crashes]
    problems += [Problem(ANSWERED, text) for text in seen.answers]
    problems += [Problem(BROKEN, text) for text in seen.broken]
    if seen.harmless and seen.outcome == 'failed':
        problems.append(Problem(FAILED, seen.error or 'no reason given'))
    if seen.outcome == 'cancelled' and not seen.cancelled:
        problems.append(Problem(FAILED, 'cancelled by nobody'))
    if _went_down(seen):
        return problems
    if not problems or seen.source_state or seen.dest_state:
        where = _whereabouts(seen)
        problems += where
        if not any(problem.kind in (LOST, DOUBLED) for problem in where) \
                and not seen.hangs and not seen.broken:
            problems += _condition(seen)
    if seen.sequel:
        problems.append(Problem(SEQUEL, seen.sequel))
    return problems
