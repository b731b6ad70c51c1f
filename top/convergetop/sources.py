# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Where samples come from: a monitor, or a recording. A source is an iterator of
updates; it ends with the migration.
"""

import json
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, Optional, Protocol, TextIO

from .errors import UserError, Vanished
from .model import Sample, make_sample

QUERY = 'query-migrate'
QUERY_PARAMETERS = 'query-migrate-parameters'
PARAMETERS_PERIOD_S = 5.0       # they change seldom
FINAL_WAIT_S = 0.2              # 7.2 has its final figures a little after the
                                # state that says so
LATE_S = 2.0                    # an answer that takes longer is worth a word


class Monitor(Protocol):
    """What a live source asks."""

    def ask(self, command: str, timeout_s: float) -> Optional[Dict[str, Any]]:
        """The reply; None: not yet, to be asked for again."""

    def close(self) -> None:
        """Let go of it."""


@dataclass
class Update:
    """A sample, or a word why there is none; late_s: no answer for so long."""
    sample: Optional[Sample] = None
    note: str = ''
    late_s: float = 0.0


class LiveSource:
    """Ask a monitor, and nothing but queries."""

    def __init__(self, monitor: Monitor, period_s: float,
                 wait_for_next: bool = False,
                 now: Callable[[], float] = time.time,
                 sleep: Callable[[float], None] = time.sleep):
        self._monitor = monitor
        self._period_s = period_s
        self._wait_for_next = wait_for_next
        self._now = now
        self._sleep = sleep
        self._parameters: Dict[str, Any] = {}
        self._parameters_at_s: Optional[float] = None
        self._before: Optional[Sample] = None
        self._asked_at_s = 0.0

    def _reply(self, command: str) -> Iterator[Optional[Dict[str, Any]]]:
        """None while the monitor does not answer, then the reply."""
        self._asked_at_s = self._now()
        while True:
            begun_s = self._now()
            reply = self._monitor.ask(command, self._period_s)
            yield reply
            if reply is not None:
                return
            # one that refuses for the moment does so at once
            passed_s = self._now() - begun_s
            self._sleep(min(max(0.0, self._period_s - passed_s),
                            self._period_s))

    def _queries(self) -> Iterator[Optional[Dict[str, Any]]]:
        """The parameters now and then, and then the migration."""
        if self._parameters_at_s is None or \
                self._now() - self._parameters_at_s >= PARAMETERS_PERIOD_S:
            for reply in self._reply(QUERY_PARAMETERS):
                if reply is None:
                    yield None
                else:
                    self._parameters = reply
            self._parameters_at_s = self._now()
        yield from self._reply(QUERY)

    def _look(self) -> Iterator[Update]:
        """Updates until there is a sample; the last one has it."""
        for reply in self._queries():
            if reply is None:
                yield Update(late_s=self._now() - self._asked_at_s)
                continue
            sample = make_sample(reply, self._parameters, self._now(),
                                 self._before)
            self._before = sample
            yield Update(sample)

    def _old(self, sample: Sample) -> bool:
        """Whether it is of a migration that is not the one waited for."""
        self._wait_for_next = self._wait_for_next and sample.ended
        return self._wait_for_next

    def updates(self) -> Iterator[Update]:
        """Until the migration has ended; raises Vanished."""
        while True:
            ended = False
            for update in self._look():
                if update.sample and self._old(update.sample):
                    update.note = f'the last one has {update.sample.status}; ' \
                                  'waiting for the next'
                    update.sample = Sample(update.sample.time_s)
                ended = bool(update.sample and update.sample.ended)
                if not ended:
                    yield update
            if ended:
                yield self._final()
                return
            self._sleep(self._period_s)

    def _final(self) -> Update:
        """The same once more, or as it was when QEMU has gone meanwhile."""
        known = self._before
        self._sleep(FINAL_WAIT_S)
        try:
            for update in self._look():
                if update.sample and update.sample.ended:
                    return update
        except Vanished:
            pass
        return Update(known)


class Recording:
    """Samples that --json or --record wrote, in their own time."""

    def __init__(self, lines: TextIO, speed: float,
                 sleep: Callable[[float], None] = time.sleep):
        self._lines = lines
        self._speed = speed
        self._sleep = sleep

    def updates(self) -> Iterator[Update]:
        """All of them; the speed 0 does not wait."""
        before: Optional[Sample] = None
        for count, line in enumerate(self._lines, 1):
            sample = self._parse(line, count)
            if before and self._speed:
                gap_s = (sample.time_s - before.time_s) / self._speed
                self._sleep(max(0.0, gap_s))
            before = sample
            yield Update(sample)
        if before is None:
            raise UserError('--play: the recording has no sample')

    def _parse(self, line: str, count: int) -> Sample:
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError('it is no JSON object')
            return Sample.from_json(value)
        except ValueError as exc:
            raise UserError(f'--play: line {count} is no sample: {exc}'
                            ) from exc
