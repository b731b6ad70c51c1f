# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The program: from a source to what is shown, and the exit status."""

import argparse
import os
import shlex
import signal
import sys
import time
from contextlib import ExitStack
from types import FrameType, ModuleType
from typing import Iterator, List, Optional, Sequence, TextIO, Tuple, Union

from . import plot, words
from .errors import ExitStatus, UserError, Vanished
from .gnuplot import check_gnuplot, kind_of
from .model import Sample
from .options import NAME, parse
from .plain import JsonOutput, Output, PlainOutput
from .qmp import QmpMonitor
from .sources import LiveSource, Recording, Update
from .view import View
from .virsh import VirshMonitor

NO_RICH = 'python3-rich is missing (Debian: python3-rich)'
LINES_INSTEAD = f'{NO_RICH}, so there are lines instead of a screen'
SIGNAL_STATUS = 128             # a shell adds the signal's number to it
ENDS = {'completed': ExitStatus.COMPLETED, 'failed': ExitStatus.FAILED,
        'cancelled': ExitStatus.CANCELLED}


def tell(words_of_it: str) -> None:
    """To the user, beside what is shown."""
    print(f'{NAME}: {words_of_it}', file=sys.stderr)


def screen_module() -> Optional[ModuleType]:
    """None where rich is missing."""
    try:
        from . import screen    # pylint: disable=import-outside-toplevel
    except ImportError:
        return None
    return screen


def titles(options: argparse.Namespace) -> Tuple[str, str]:
    """What is watched, and what goes before a command of its monitor."""
    if options.domain:
        connect = ['-c', options.connect] if options.connect else []
        program = ['virsh', *connect, 'qemu-monitor-command', options.domain]
        return options.domain, f'{shlex.join(program)} --hmp '
    return options.qmp or options.play, 'HMP: '


def open_text(option: str, path: str, mode: str) -> TextIO:
    """A file that the user named; - is standard input."""
    if path == '-' and mode == 'r':
        return sys.stdin
    try:
        # pylint: disable-next=consider-using-with
        file: TextIO = open(path, mode, encoding='utf-8',  # type: ignore
                            errors='replace')
        return file
    except OSError as exc:
        raise UserError(f'{option}: {path}: {exc.strerror}') from exc


def open_source(options: argparse.Namespace,
                stack: ExitStack) -> Union[LiveSource, Recording]:
    """What was asked for."""
    if options.play:
        lines = stack.enter_context(open_text('--play', options.play, 'r'))
        return Recording(lines, options.speed)
    monitor: Union[QmpMonitor, VirshMonitor]
    if options.domain:
        monitor = VirshMonitor(options.domain, options.connect)
    else:
        monitor = QmpMonitor(options.qmp)
    stack.callback(monitor.close)
    return LiveSource(monitor, options.interval, options.wait)


def open_outputs(options: argparse.Namespace,
                 stack: ExitStack) -> List[Output]:
    """What shows the updates, and what records them."""
    outputs: List[Output] = []
    if options.record:
        outputs.append(JsonOutput(stack.enter_context(
            open_text('--record', options.record, 'w'))))
    title, prompt = titles(options)
    if options.json:
        return [*outputs, JsonOutput(sys.stdout)]
    if not options.plain and not options.once and sys.stdout.isatty():
        screen = screen_module()
        if screen is None:
            tell(LINES_INSTEAD)
        elif screen.ScreenOutput.possible(sys.stdout):
            return [*outputs, screen.ScreenOutput(sys.stdout, title, prompt)]
    return [*outputs, PlainOutput(sys.stdout, prompt)]


def with_end(updates: Iterator[Update]) -> Iterator[Update]:
    """Where the monitor goes, but its last words were the end, that is it."""
    try:
        yield from updates
    except Vanished as gone:
        if not gone.status:
            raise
        yield Update(Sample(time.time(), gone.status))


def status_of(sample: Optional[Sample]) -> ExitStatus:
    """What the last sample comes to."""
    if sample is None or not sample.begun:
        return ExitStatus.NO_MIGRATION
    return ENDS.get(sample.status, ExitStatus.GOES_ON)


def show_all(updates: Iterator[Update], view: View, outputs: Sequence[Output],
             once: bool) -> ExitStatus:
    """Feed the outputs until the end."""
    try:
        for update in updates:
            view.take(update)
            for output in outputs:
                output.show(view, update)
            if once and update.sample:
                break
        return status_of(view.sample)
    finally:
        for output in outputs:
            output.close(view)


def watch(options: argparse.Namespace, view: View) -> ExitStatus:
    """Show it while it lasts."""
    stack = ExitStack()
    try:
        source = open_source(options, stack)
        outputs = open_outputs(options, stack)
        return show_all(with_end(source.updates()), view, outputs,
                        options.once)
    except Vanished as gone:
        tell(f'{gone}. How the migration ended is not known: ask at the '
             'destination.')
        return ExitStatus.LOST
    except KeyboardInterrupt:
        tell('interrupted; this only watched, the migration goes on')
        return ExitStatus.INTERRUPTED
    finally:
        stack.close()


def check_pictures(options: argparse.Namespace) -> None:
    """Before hours of watching, not after them."""
    if options.plot:
        check_gnuplot()
        kind_of(options.plot)
    if options.svg and screen_module() is None:
        raise UserError(f'--svg: {NO_RICH}')


def draw_pictures(options: argparse.Namespace, view: View) -> None:
    """At the end."""
    if options.plot:
        plot.plot(options.plot, view.history.samples, view.changes)
    screen = screen_module() if options.svg else None
    if screen is not None:
        screen.save_svg(options.svg, view, *titles(options))


def terminate(signum: int, _frame: Optional[FrameType]) -> None:
    """Let the terminal be given back."""
    sys.exit(SIGNAL_STATUS + signum)


def run(options: argparse.Namespace) -> int:
    """The exit status."""
    if options.explain:
        print('\n'.join(words.tables()))
        return ExitStatus.COMPLETED
    check_pictures(options)
    view = View(waits=not (options.once or options.play))
    status = watch(options, view)
    draw_pictures(options, view)
    return status


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The same, errors told without a traceback."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGHUP, terminate)
    try:
        return int(run(options))
    except UserError as exc:
        tell(str(exc))
        return ExitStatus.USAGE
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # who read it has seen enough; nothing is to be flushed there any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNAL_STATUS + signal.SIGPIPE
    except OSError as exc:
        tell(f'cannot write: {exc.strerror}')
        return ExitStatus.USAGE
