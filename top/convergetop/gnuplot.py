# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Draw with gnuplot, into .svg or .png."""

import os
import shutil
import subprocess
from typing import Sequence

from .errors import UserError

TERMINALS = {'svg': "svg size 1000,{height} dynamic font 'sans,13' "
                    "background '#ffffff'",
             'png': "pngcairo size 1000,{height} font 'sans,11'"}


def quote(text: str) -> str:
    """As a string of gnuplot's."""
    return "'" + text.replace("'", "''") + "'"


def check_gnuplot() -> None:
    """Raises UserError where nothing can be drawn."""
    if not shutil.which('gnuplot'):
        raise UserError('gnuplot is missing (Debian: gnuplot-nox)')


def kind_of(path: str) -> str:
    """svg or png; raises UserError for another one."""
    kind = os.path.splitext(path)[1].lstrip('.')
    if kind not in TERMINALS:
        raise UserError(f"cannot plot into '{path}': "
                        f"one of {', '.join(sorted(TERMINALS))}")
    return kind


def run_gnuplot(path: str, height: int, script: Sequence[str]) -> None:
    """Draw into path, .svg or .png, as high as this in pixels."""
    check_gnuplot()
    terminal = TERMINALS[kind_of(path)].format(height=height)
    lines = [f'set terminal {terminal}', f'set output {quote(path)}', *script]
    done = subprocess.run(('gnuplot',), input='\n'.join(lines) + '\n',
                          capture_output=True, text=True, check=False)
    if done.returncode or not os.path.exists(path):
        raise UserError(f'gnuplot failed: {done.stderr.strip()}')
