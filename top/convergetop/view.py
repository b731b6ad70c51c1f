# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What is known of the migration so far, and the sentences about it."""

from dataclasses import dataclass
from typing import List, Optional, Tuple

from . import words
from .model import FIRST_PASS, History, Sample
from .sources import LATE_S, Update
from .text import MS_PER_S, duration, percent

NOT_KNOWN = 'not known yet'
CHANGES_MAX = 200               # kept; a migration has some tens


@dataclass(frozen=True)
class Change:
    """From here on the state has another name."""
    time_s: float
    elapsed_ms: Optional[float]
    state: str
    throttle_pct: Optional[float]


class View:
    """Fed with updates; sample is the last one."""

    def __init__(self, waits: bool = True) -> None:
        self._waits = waits
        self.sample: Optional[Sample] = None
        self.history = History()
        self.changes: List[Change] = []
        self.note = ''
        self._predicted_ms: Optional[float] = None
        self._predicted_at_s = 0.0
        self._decision: Optional[Tuple[Optional[float], str,
                                       Optional[float]]] = None

    def take(self, update: Update) -> None:
        """One update."""
        self.note = update.note
        if update.late_s >= LATE_S:
            self.note = ('the monitor has not answered for '
                         f'{duration(update.late_s * MS_PER_S)}')
        if update.sample:
            self._take_sample(update.sample)

    def _take_sample(self, sample: Sample) -> None:
        self.sample = sample
        if not sample.begun:
            self.note = self.note or 'there is no migration yet' + \
                ('; waiting for one' if self._waits else '')
            return
        self.history.add(sample)
        decision = (sample.windows, words.state(sample),
                    sample.predicted_time_ms)
        if decision != self._decision:
            self._decision = decision
            self._predicted_ms = sample.predicted_time_ms
            self._predicted_at_s = sample.time_s
        name = words.state(sample)
        if not self.changes or self.changes[-1].state != name:
            self.changes.append(Change(sample.time_s, self.elapsed_ms(),
                                       name, sample.throttle_pct))
            del self.changes[:-CHANGES_MAX]

    def elapsed_ms(self) -> Optional[float]:
        """Since the begin; a migration that was cancelled does not tell it."""
        known = [one for one in self.history.samples
                 if one.elapsed_ms is not None]
        if not self.sample or not known:
            return None
        passed_ms = (self.sample.time_s - known[-1].time_s) * MS_PER_S
        return (known[-1].elapsed_ms or 0) + passed_ms

    def _predicted_left_ms(self, sample: Sample) -> Optional[float]:
        """The prediction is of the last window, and time has passed since."""
        if self._predicted_ms is None:
            return None
        passed_ms = (sample.time_s - self._predicted_at_s) * MS_PER_S
        return max(0.0, self._predicted_ms - passed_ms)

    def left_ms(self) -> Optional[float]:
        """Time to completion; None: not known, or never as things are."""
        sample = self.sample
        if not sample or sample.ended or not sample.begun:
            return None
        if nothing_dirties(sample):
            return quotient_ms(sample.remaining_bytes, sample.drain_bps)
        if sample.tells_why:
            return self._predicted_left_ms(sample)
        if in_first_pass(sample):
            return None
        return quotient_ms(sample.remaining_bytes,
                           (sample.drain_bps or 0) - (sample.dirty_bps or 0))

    def to_go(self) -> str:
        """The same in words."""
        sample = self.sample
        if not sample or not sample.begun:
            return 'not begun'
        if sample.ended:
            return sample.status
        left_ms = self.left_ms()
        if left_ms is not None:
            told = sample.tells_why and not nothing_dirties(sample)
            return f'about {duration(left_ms)}' \
                   f' ({"predicted" if told else "by the rates"})'
        pass_ms = quotient_ms(sample.remaining_bytes, sample.drain_bps)
        if in_first_pass(sample) and pass_ms is not None:
            return f'at least {duration(pass_ms)} (the first pass)'
        if sample.remaining_bytes is None or not sample.drain_bps:
            return 'not known'
        return 'never, as things are'

    def deadline(self) -> str:
        """How it stands with cpu-throttle-deadline; empty without one."""
        sample = self.sample
        if not sample or not sample.deadline_s or sample.elapsed_ms is None:
            return ''
        until_ms = sample.deadline_s * MS_PER_S - sample.elapsed_ms
        if sample.ended:
            return 'deadline met' if until_ms >= 0 else \
                   f'deadline missed by {duration(-until_ms)}'
        if until_ms < 0:
            return f'deadline was {duration(-until_ms)} ago'
        when = f'deadline in {duration(until_ms)}'
        if sample.reason == 'deadline':
            # the prediction is of a guest that stays as it is, and it will not
            return when + ', auto-converge acts in time for it'
        left_ms = self.left_ms()
        if left_ms is None:
            return when
        return when + (', will be met' if left_ms <= until_ms else
                       f', missed by {duration(left_ms - until_ms)}')


def nothing_dirties(sample: Sample) -> bool:
    """Whether what is left only shrinks: the guest is stopped, or elsewhere."""
    return sample.phase == 'fallback' or sample.status in (
        'postcopy-active', 'device', 'pre-switchover')


def in_first_pass(sample: Sample) -> bool:
    """Whether the memory is still copied for the first time."""
    return sample.passes is not None and sample.passes <= FIRST_PASS


def quotient_ms(value_bytes: Optional[float],
                rate_bps: Optional[float]) -> Optional[float]:
    """How long it takes; None: for ever, or not known."""
    if value_bytes is None or not rate_bps or rate_bps <= 0:
        return None
    return value_bytes / rate_bps * MS_PER_S


def share(sample: Sample) -> Optional[float]:
    """Which part of the memory is through."""
    if sample.status == 'completed':
        return 1.0
    if sample.remaining_bytes is None or not sample.total_bytes:
        return None
    return 1 - sample.remaining_bytes / sample.total_bytes


def going_on(sample: Sample) -> str:
    """What the guest loses until the end, if all stays as it is."""
    if not sample.tells_why:
        return 'not told by this QEMU'
    if sample.predicted_loss_ms is not None:
        return f"{duration(sample.predicted_loss_ms)} of the guest's work"
    if not sample.windows:
        return NOT_KNOWN
    return 'there is no end, as things are'


def stop_now(sample: Sample) -> str:
    """What a stop would cost now, and whether it is allowed."""
    if not sample.tells_why:
        left_ms = quotient_ms(sample.remaining_bytes, sample.drain_bps)
        return NOT_KNOWN if left_ms is None else \
               f'about {duration(left_ms)} (by the rates)'
    if sample.predicted_downtime_ms is None:
        return NOT_KNOWN
    cost = duration(sample.predicted_downtime_ms)
    if sample.fallback == 'none':
        return f'{cost} (a fallback is not allowed)'
    bound_ms = sample.fallback_downtime_ms
    if sample.fallback == 'post-copy' or bound_ms is None:
        return cost
    if not bound_ms:
        return f'{cost} (no bound)'
    return f'{cost} (bound {duration(bound_ms)}' + \
           (', too long)' if sample.predicted_downtime_ms > bound_ms else ')')


def taken(sample: Sample) -> str:
    """What the guest has lost so far, in a sentence without its full stop."""
    parts = []
    if sample.throttled_ms is not None:
        parts.append(f'held back for {duration(sample.throttled_ms)}')
    if sample.downtime_ms is not None:
        parts.append(f'stopped for {duration(sample.downtime_ms)}')
    if not parts:
        return 'What the guest lost is not told'
    return f'The guest was {", ".join(parts)}'


def throttle(sample: Sample) -> str:
    """Now, the highest, and the most that is allowed."""
    if sample.throttle_pct is None:
        return 'none'
    limits = [f'{name} {percent(value)}' for name, value in
              (('highest', sample.highest_throttle_pct),
               ('ceiling', sample.ceiling_pct)) if value is not None]
    return percent(sample.throttle_pct) + \
        (f' ({", ".join(limits)})' if limits else '')
