# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Throttle and remaining memory over time, drawn by gnuplot."""

import os
from typing import List, Sequence, Tuple

from convergetop.gnuplot import check_gnuplot, quote, run_gnuplot

from .migrate import Run

__all__ = ['COLOURS', 'check_gnuplot', 'plot', 'quote', 'run_gnuplot', 'shade',
           'stops']

COLOURS = ('#c0392b', '#1f6fb4', '#2e8b57', '#8e44ad')  # stock, patched, ...
WIDTHS = (5, 2, 2, 2)               # the first is seen where others lie on it
PANEL_HEIGHT = 270                  # pixels; two panels for each guest


def _write_data(path: str, run: Run) -> None:
    """Columns: time (s), remaining (MB), throttle (%)."""
    with open(path, 'w', encoding='ascii') as data:
        for sample in run.samples:
            if not sample.total:
                continue            # not begun
            data.write(f'{sample.time - run.start:.3f} '
                       f'{sample.remaining / 1e6:.3f} '
                       f'{sample.throttle_pct:.3f}\n')


def _panel(title: str, y_label: str, column: int, y_range: str,
           curves: Sequence[Tuple[str, str]]) -> List[str]:
    lines = [f'set title {quote(title)}', f'set ylabel {quote(y_label)}',
             f'set yrange {y_range}']
    style = 'steps' if column == 3 else 'lines'
    parts = [f'{quote(path)} using 1:{column} with {style} lw {width} '
             f"lc rgb '{colour}' title {quote(name)}"
             for (name, path), colour, width in zip(curves, COLOURS, WIDTHS)]
    return lines + ['plot ' + ', '.join(parts)]


def shade(start_s: float, end_s: float, colour: str) -> str:
    """Shade a time, until the next 'unset object'."""
    return (f'set object rectangle from {start_s:.3f}, graph 0 '
            f"to {end_s:.3f}, graph 1 behind fc rgb '{colour}' "
            'fs transparent solid 0.15 noborder')


def stops(runs: Sequence[Tuple[str, Run]]) -> List[str]:
    """Shade the time for which the guest was stopped."""
    lines = []
    for (_, run), colour in zip(runs, COLOURS):
        if run.outcome != 'completed' or 'total-time' not in run.final:
            continue
        end = run.final['total-time'] / 1000
        start = end - run.final.get('downtime', 0) / 1000
        lines.append(shade(start, end, colour))
    return lines


def plot(path: str,
         guests: Sequence[Tuple[str, Sequence[Tuple[str, Run]]]]) -> None:
    """
    Draw runs [(guest, [(QEMU, run), ...]), ...] into path (.svg or .png), the
    time of the stop shaded. The data stay beside it, to be drawn again.
    """
    base = os.path.splitext(path)[0]
    script = [f'set multiplot layout {2 * len(guests)},1',
              'set grid', "set xlabel 'time (s)'", 'set lmargin 10',
              'set rmargin 3', 'set key bmargin right horizontal']
    for number, (title, runs) in enumerate(guests):
        curves = []
        for index, (name, run) in enumerate(runs):
            data = f'{base}-{number}-{index}.dat'
            _write_data(data, run)
            end = run.end - run.start
            curves.append((f'{name}: {run.outcome} after {end:.1f} s', data))
        end = max((run.end - run.start for _, run in runs), default=1)
        script.append(f'set xrange [0:{end * 1.02:.2f}]')
        script += stops(runs)
        script += _panel(f'{title}: remaining', 'MB', 2, '[0:*]', curves)
        script += _panel(f'{title}: throttle', '% of vCPU time', 3, '[0:105]',
                         curves)
        script.append('unset object')
    script.append('unset multiplot')
    run_gnuplot(path, PANEL_HEIGHT * 2 * len(guests), script)
