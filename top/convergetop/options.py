# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The command line."""

import argparse
from typing import Callable, Optional, Sequence

NAME = 'auto-converge-top'
INTERVAL_S = 0.5
INTERVAL_MIN_S = 0.1            # below it, the asking is felt
INTERVAL_MAX_S = 60.0
SPEED_MAX = 1000.0
EPILOG = '''exit status:
  0    the migration completed
  1    it failed
  2    a wrong option, or nothing that can be watched
  3    it was cancelled
  4    it goes on: with --once, or where a recording ends
  5    there is none: with --once, or where a recording ends
  6    the monitor went away, and how the migration ended is not known
  130  interrupted by Ctrl-C; the migration goes on'''


def between(least: float, most: float) -> Callable[[str], float]:
    """An argparse type: a number of a range."""
    def read(given: str) -> float:
        try:
            value = float(given)
        except ValueError:
            value = float('nan')
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"'{given}' is not a number of {least:g} to {most:g}")
        return value
    return read


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=NAME, epilog=EPILOG,
        description='Watch a live migration of QEMU, and change nothing.',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--qmp', metavar='PATH|HOST:PORT',
                        help='a QMP monitor of the source QEMU')
    source.add_argument('--domain', metavar='NAME',
                        help='a libvirt domain, by virsh')
    source.add_argument('--play', metavar='FILE', help='a recording')
    source.add_argument('--explain', action='store_true',
                        help='what all phases, reasons and states mean')
    parser.add_argument('--connect', metavar='URI',
                        help="libvirt's, with --domain")
    parser.add_argument('--interval', metavar='SECONDS', default=INTERVAL_S,
                        type=between(INTERVAL_MIN_S, INTERVAL_MAX_S),
                        help='between two samples; %(default)s')
    parser.add_argument('--speed', metavar='FACTOR', default=1.0,
                        type=between(0, SPEED_MAX),
                        help='of --play; 0 does not wait; %(default)s')
    parser.add_argument('--wait', action='store_true',
                        help='do not take the last migration, which has ended, '
                        'but wait for the next')
    parser.add_argument('--once', action='store_true',
                        help='one sample, then exit')
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument('--json', action='store_true',
                       help='a line of JSON for each sample')
    shown.add_argument('--plain', action='store_true',
                       help='lines of text, also on a terminal')
    parser.add_argument('--record', metavar='FILE',
                        help='write the lines of JSON there')
    parser.add_argument('--plot', metavar='FILE',
                        help='draw it at the end, .svg or .png; takes gnuplot')
    parser.add_argument('--svg', metavar='FILE',
                        help='the last frame of the screen as a picture')
    return parser


def parse(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """The options; exits with a word where they make no sense."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.connect and not options.domain:
        parser.error('--connect: only with --domain')
    if options.wait and options.play:
        parser.error('--wait: not with --play')
    return options
