# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""How a program of this directory ends: cleanly, and with a word why."""

import argparse
import signal
import sys
from types import FrameType
from typing import Callable, Optional

from .errors import BenchError

INTERRUPTED = 130               # as a shell says it of SIGINT


def add_needed(parser: argparse.ArgumentParser, out: str = '',
               guest: bool = True) -> None:
    """The options that all programs need; out: what goes to --out."""
    if guest:
        parser.add_argument('--guest', required=True, metavar='ELF',
                            help='tests/guest/workload.elf')
    parser.add_argument('--qemu-python', required=True, metavar='DIR',
                        help="QEMU's python/ directory")
    if out:
        parser.add_argument('--out', required=True, metavar='DIR',
                            help=f'where {out} go')


def terminate(signum: int, _frame: Optional[FrameType]) -> None:
    """Let the context managers clean up."""
    sys.exit(128 + signum)


def run_program(name: str, main: Callable[[], int]) -> int:
    """The exit status of main(); errors and interrupts are told by name."""
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGHUP, terminate)
    try:
        return main()
    except BenchError as exc:
        print(f'{name}: {exc}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'\n{name}: interrupted', file=sys.stderr)
        return INTERRUPTED
