# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Lines of text, where there is no terminal; lines of JSON."""

import json
from typing import Optional, Protocol, TextIO

from . import words
from .model import Sample
from .sources import Update
from .text import MS_PER_S, duration, megabytes
from .view import View, going_on, stop_now, taken

PLAIN_PERIOD_S = 2.0            # between lines where nothing has changed
INDENT = ' ' * 8


def line(sample: Sample, elapsed_s: Optional[float] = None) -> str:
    """One look at a migration in one line."""
    if elapsed_s is None:
        elapsed_s = (sample.elapsed_ms or 0) / MS_PER_S
    phase = sample.phase or '-'
    if sample.status != 'active':
        phase = sample.status
    return (f'{elapsed_s:5.1f} s  pass {sample.passes or 0:3.0f}  '
            f'throttle {sample.throttle_pct or 0:5.1f} %  '
            f'remaining {megabytes(sample.remaining_bytes, 6)} MB  '
            f'dirty {megabytes(sample.dirty_bps, 5)} '
            f'drain {megabytes(sample.drain_bps, 5)} MB/s  {phase}')


class Output(Protocol):
    """Something that shows updates; view has taken them already."""

    def show(self, view: View, update: Update) -> None:
        """One update."""

    def close(self, view: View) -> None:
        """No further one."""


class PlainOutput:
    """A line now and then; at each change also why, and what to do."""

    def __init__(self, stream: TextIO, prompt: str = ''):
        self._stream = stream
        self._prompt = prompt
        self._last_time_s: Optional[float] = None
        self._last_state = ''
        self._last_note = ''

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def show(self, view: View, update: Update) -> None:
        """A line when it is time to, or when there is something new."""
        if view.note and not self._last_note:
            self._print(view.note)
        self._last_note = view.note
        sample = update.sample
        if not sample or not sample.begun:
            return
        state = words.state(sample)
        changed = state != self._last_state
        due = self._last_time_s is None or \
            sample.time_s - self._last_time_s >= PLAIN_PERIOD_S
        if not changed and not due:
            return
        self._last_time_s, self._last_state = sample.time_s, state
        if sample.remaining_bytes is not None:
            self._print(line(sample))
        if changed:
            self._explain(sample, state)
        if sample.ended:
            self._account(view, sample)

    def _explain(self, sample: Sample, state: str) -> None:
        why = words.why(sample)
        self._print(f'{INDENT}{state}: {why.meaning}')
        if not sample.ended or sample.error:
            self._print(f'{INDENT}What to do: {why.advice}')
        command = words.command(sample)
        if command:
            self._print(f'{INDENT}As in: {self._prompt}{command}')
        if sample.status == 'active':
            self._print(f'{INDENT}Price of going on: {going_on(sample)}; '
                        f'of a stop now: {stop_now(sample)}.')

    def _account(self, view: View, sample: Sample) -> None:
        if sample.error:
            self._print(f'{INDENT}Error: {sample.error}')
        self._print(f'{INDENT}{taken(sample)}; all took '
                    f'{duration(view.elapsed_ms())}.')

    def close(self, view: View) -> None:
        """Nothing is left to be said."""


class JsonOutput:
    """A line of JSON for each sample, as Recording reads them."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def show(self, view: View, update: Update) -> None:
        """One line; nothing where there is no sample."""
        if update.sample:
            self._stream.write(json.dumps(update.sample.to_json()) + '\n')
            self._stream.flush()

    def close(self, view: View) -> None:
        """Nothing is left to be said."""
