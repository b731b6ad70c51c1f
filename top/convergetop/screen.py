# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The terminal, by rich. Nothing else imports it, as rich may be missing."""

import io
import re
import time
from typing import List, Optional, Sequence, TextIO

from rich.console import (Console, ConsoleOptions, Group, RenderableType,
                          RenderResult)
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from . import view as viewed
from . import words
from .errors import UserError
from .model import Sample
from .sources import Update
from .text import (FULL_PCT, UNKNOWN, blocks_for, duration, percent,
                   rate, size, sparkline)
from .view import Change, View

LABEL_WIDTH = 10                # the longest is 'what to do'
FIGURE_WIDTH = 39               # beside a sparkline: a throttle and its limits
SPARK_MIN_WIDTH = 8
BORDER_WIDTH = 4                # a line and a blank at each side
BORDER_HEIGHT = 2
CHANGES_ROWS = 6                # of a frame that is not bound in its height
SVG_WIDTH = 100                 # characters
STATE_STYLES = {'watch': 'green', 'throttle': 'yellow',
                'ceiling': 'dark_orange', 'fallback': 'bold red',
                'let-go': 'magenta', 'completed': 'bold green',
                'failed': 'bold red', 'cancelled': 'bold yellow',
                'postcopy-paused': 'bold red'}
LEAVE = 'Ctrl-C leaves; the migration goes on'


def _style(sample: Sample) -> str:
    """Of the phase while it is active, else of the status."""
    name = sample.phase if sample.status == 'active' else sample.status
    return STATE_STYLES.get(name or '', 'cyan')


def _grid(rows: Sequence[Sequence[RenderableType]],
          widths: Sequence[Optional[int]]) -> Table:
    """Columns; one without a width takes what is left."""
    table = Table.grid(padding=(0, 1), expand=True)
    for width in widths:
        table.add_column(width=width, ratio=None if width else 1)
    for row in rows:
        table.add_row(*row)
    return table


def _label(name: str) -> Text:
    return Text(name, style='dim')


def _bar(share: float) -> RenderableType:
    drawn: RenderableType = ProgressBar(
        total=1.0, completed=max(0.0, share), complete_style='blue',
        finished_style='green')
    return drawn


class Frame:
    """The whole picture, as large as the console is when it is drawn."""

    def __init__(self, view: View, title: str, prompt: str,
                 whole_screen: bool):
        self._view = view
        self._title = title
        self._prompt = prompt
        self._whole_screen = whole_screen

    def __rich_console__(self, console: Console,
                         options: ConsoleOptions) -> RenderResult:
        blocks = blocks_for(console.encoding)
        width = options.max_width - BORDER_WIDTH
        parts = self._parts(width, blocks)
        room = CHANGES_ROWS
        if self._whole_screen:
            used = len(console.render_lines(
                Group(*parts), options.update(width=width), pad=False))
            room = console.size.height - BORDER_HEIGHT - used - 1
        parts += self._changes(room)
        yield Panel(Group(*parts), title=Text(self._title, style='bold'),
                    subtitle=Text(LEAVE, style='dim')
                    if self._whole_screen else None)

    def _parts(self, width: int, blocks: str) -> List[RenderableType]:
        view = self._view
        sample = view.sample
        parts: List[RenderableType] = []
        if sample and sample.begun:
            parts = [self._head(sample), Text(), self._curves(width, blocks),
                     Text(), self._sentences(sample)]
        if view.note:
            parts.append(Text(view.note, style='bold yellow'))
        return parts

    def _head(self, sample: Sample) -> Table:
        share = viewed.share(sample)
        done: RenderableType = Text(UNKNOWN) if share is None else _grid(
            [(_bar(share), Text(f'{share * FULL_PCT:3.0f} %'))], (None, 5))
        # Text() of what QEMU tells, never markup
        passes = f'pass {sample.passes:.0f}' if sample.passes else ''
        state = Text(words.state(sample), style=_style(sample))
        when = self._view.to_go()
        deadline = self._view.deadline()
        late = ' missed' in deadline or ' ago' in deadline
        return _grid([
            (_label('state'), _grid(
                [(state, Text(f'{passes}  {duration(self._view.elapsed_ms())}',
                              justify='right'))], (None, 24))),
            (_label('progress'), done),
            (_label('to go'), Text.assemble(
                when, ('   ' + deadline if deadline else '',
                       'red' if late else 'green'))),
        ], (LABEL_WIDTH, None))

    def _curves(self, width: int, blocks: str) -> Table:
        sample = self._view.sample
        assert sample
        room = max(SPARK_MIN_WIDTH,
                   width - LABEL_WIDTH - FIGURE_WIDTH - BORDER_WIDTH)
        remaining = size(sample.remaining_bytes) + \
            f' of {size(sample.total_bytes)}'
        rates = [*self._view.history.values('dirty_bps'),
                 *self._view.history.values('drain_bps')]
        fastest_bps = max(rates, default=0.0)
        rows: List[Sequence[RenderableType]] = []
        for label, name, most, figure, style in (
                ('remaining', 'remaining_bytes', sample.total_bytes or 0.0,
                 remaining, 'blue'),
                ('throttle', 'throttle_pct', float(FULL_PCT),
                 viewed.throttle(sample), 'red'),
                ('dirty', 'dirty_bps', fastest_bps, rate(sample.dirty_bps),
                 'dark_orange'),
                ('drain', 'drain_bps', fastest_bps, rate(sample.drain_bps),
                 'green')):
            values = self._view.history.values(name)
            rows.append((_label(label), Text(figure),
                         Text(sparkline(values, room, most, blocks),
                              style=style, no_wrap=True, overflow='crop')))
        return _grid(rows, (LABEL_WIDTH, FIGURE_WIDTH, None))

    def _sentences(self, sample: Sample) -> Table:
        why = words.why(sample)
        rows: List[Sequence[RenderableType]] = []
        if sample.status == 'active' and sample.phase:
            meaning = words.PHASES.get(sample.phase, words.UNKNOWN.meaning)
            rows.append((_label('phase'), Text(meaning)))
        rows += [(_label('why'), Text(why.meaning)),
                 (_label('what to do'), Text(why.advice, style='bold'))]
        command = words.command(sample)
        if command:
            rows.append((_label('as in'), Text(self._prompt + command,
                                               style='cyan')))
        if sample.error:
            rows.append((_label('error'), Text(sample.error, style='red')))
        if sample.status == 'active':
            rows += [(_label('price'),
                      Text(f'of going on: {viewed.going_on(sample)}')),
                     (_label(''),
                      Text(f'of a stop now: {viewed.stop_now(sample)}'))]
        rows.append((_label('so far'), Text(viewed.taken(sample))))
        return _grid(rows, (LABEL_WIDTH, None))

    def _changes(self, room: int) -> List[RenderableType]:
        """As many of the last ones as there is room for."""
        if room <= 0 or not self._view.changes:
            return []
        rows = [self._change(change) for change in self._view.changes[-room:]]
        return [Text(), _grid(rows, (LABEL_WIDTH, 12, 8, None))]

    @staticmethod
    def _change(change: Change) -> Sequence[RenderableType]:
        clock = time.strftime('%H:%M:%S', time.localtime(change.time_s))
        return (_label(clock), Text(duration(change.elapsed_ms),
                                    justify='right'),
                Text(percent(change.throttle_pct), justify='right'),
                Text(change.state))


class ScreenOutput:
    """Drawn in place; the last frame stays on the terminal at the end."""

    def __init__(self, stream: TextIO, title: str, prompt: str):
        self._title = title
        self._prompt = prompt
        self._console = Console(file=stream, highlight=False)
        self._live: Optional[Live] = None

    @staticmethod
    def possible(stream: TextIO) -> bool:
        """Whether it is a terminal that can move its cursor."""
        console = Console(file=stream)
        return console.is_terminal and not console.is_dumb_terminal

    def show(self, view: View, update: Update) -> None:
        """Every update, as one without a sample may have a note."""
        frame = Frame(view, self._title, self._prompt, whole_screen=True)
        if self._live is None:
            # no thread: it would draw what is just changing
            self._live = Live(frame, console=self._console, screen=True,
                              auto_refresh=False)
            self._live.start()
        self._live.update(frame, refresh=True)

    def close(self, view: View) -> None:
        """Give the terminal back."""
        if self._live:
            self._live.stop()
            self._console.print(Frame(view, self._title, self._prompt,
                                      whole_screen=False))


def save_svg(path: str, view: View, title: str, prompt: str) -> None:
    """The last frame as a picture, without fonts from elsewhere."""
    console = Console(file=io.StringIO(), record=True, width=SVG_WIDTH,
                      force_terminal=True, color_system='truecolor')
    console.print(Frame(view, title, prompt, whole_screen=False))
    svg = console.export_svg(title='auto-converge-top')
    # else some programs drop the spaces at the ends of a line
    svg = svg.replace('<svg ', '<svg xml:space="preserve" ', 1)
    try:
        with open(path, 'w', encoding='utf-8') as picture:
            picture.write(re.sub(r'@font-face\s*{[^}]*}', '', svg))
    except OSError as exc:
        raise UserError(f'--svg: {path}: {exc.strerror}') from exc
