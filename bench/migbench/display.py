# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What the user sees while it runs, and the table at the end."""

import shutil
import sys
from typing import Callable, List, Optional, Sequence, TextIO, Tuple

from convergetop import model as shown
from convergetop.plain import PLAIN_PERIOD_S, line
from convergetop.text import bar

from .metrics import Metrics
from .migrate import Run
from .migrate_info import Sample

BAR_MAX_WIDTH = 24          # characters
BAR_MIN_WIDTH = 8


def progress_text(run: Run, sample: Sample) -> str:
    """One look at a migration in one line, as auto-converge-top's."""
    return line(shown.Sample(
        sample.time, sample.status, sample.phase, passes=sample.passes,
        remaining_bytes=sample.remaining, dirty_bps=sample.dirty_bps,
        drain_bps=sample.drain_bps, throttle_pct=sample.throttle_pct),
        sample.time - run.start)


class Progress:
    """
    The live line of one migration: redrawn in place on a terminal, with a bar
    of what remains; otherwise a plain line now and then and at each change.
    """

    def __init__(self, name: str, stream: TextIO = sys.stdout):
        self._name = name
        self._stream = stream
        self._terminal = stream.isatty()
        self._last_time = 0.0
        self._last_state: Optional[Tuple[str, Optional[str]]] = None

    def __call__(self, run: Run, sample: Sample) -> None:
        if self._terminal:
            self._redraw(run, sample)
        else:
            self._plain(run, sample)

    def _redraw(self, run: Run, sample: Sample) -> None:
        columns = shutil.get_terminal_size().columns
        text = f'{self._name} {progress_text(run, sample)}'
        width = min(BAR_MAX_WIDTH, columns - len(text) - 4)
        if width >= BAR_MIN_WIDTH and sample.total:
            text += ' ' + bar(1 - sample.remaining / sample.total, width)
        self._stream.write('\r' + text[:columns - 1] + '\x1b[K')
        if sample.status in shown.END_STATUSES:
            self._stream.write('\n')
        self._stream.flush()

    def _plain(self, run: Run, sample: Sample) -> None:
        state = (sample.status, sample.phase)
        if sample.time - self._last_time < PLAIN_PERIOD_S \
                and state == self._last_state:
            return
        self._last_time = sample.time
        self._last_state = state
        print(f'{self._name} {progress_text(run, sample)}',
              file=self._stream, flush=True)

    def abandon(self) -> None:
        """Leave the line when a run breaks off."""
        if self._terminal and self._last_state is None:
            self._stream.write('\n')


def _number(value: Optional[float], unit: str, digits: int = 1) -> str:
    return '-' if value is None else f'{value:.{digits}f} {unit}'


def _short_outcome(figures: Metrics) -> str:
    """For a column: 'stop-and-copy', 'cancelled'."""
    return figures.outcome.removeprefix('completed by ').rsplit(': ')[-1]


# Two guests under two QEMUs are as wide as a terminal of 80 columns.
ROWS: List[Tuple[str, Callable[[Metrics], str]]] = [
    ('outcome', _short_outcome),
    ('total time', lambda f: _number(f.total_s, 's')),
    ('  after the bulk pass', lambda f: _number(f.after_bulk_s, 's')),
    ('downtime predicted',
     lambda f: _number(f.predicted_downtime_ms, 'ms', 0)),
    ('downtime real', lambda f: _number(f.downtime_ms, 'ms', 0)),
    ('  as the guest saw it', lambda f: _number(f.guest_downtime_ms, 'ms', 0)),
    ('passes', lambda f: str(f.passes)),
    ('  windows after bulk pass', lambda f: str(f.windows_after_bulk)),
    ('highest throttle', lambda f: _number(f.highest_throttle_pct, '%')),
    ('throttled time', lambda f: _number(f.throttled_s, 's')),
    ("  by the guest's count",
     lambda f: _number(f.throttled_by_guest_s, 's')),
    ('longest stall before stop',
     lambda f: _number(f.longest_stall_ms, 'ms', 0)),
    ('guest work lost', lambda f: _number(f.work_lost_s, 's')),
    ('memory verified', lambda f: 'ok' if f.memory_good else f.memory),
]


def table(columns: Sequence[Tuple[str, str, Metrics]]) -> str:
    """The metrics of runs (guest, QEMU, metrics) side by side."""
    cells = [['guest', 'QEMU', *(name for name, _ in ROWS)]]
    for guest, qemu, metrics in columns:
        cells.append([guest, qemu, *(show(metrics) for _, show in ROWS)])
    widths = [max(len(cell) for cell in column) for column in cells]
    lines = []
    for row in range(len(cells[0])):
        lines.append('  '.join(column[row].ljust(width) for column, width
                               in zip(cells, widths)).rstrip())
        if row == 1:
            lines.append('  '.join('-' * width for width in widths))
    return '\n'.join(lines)
