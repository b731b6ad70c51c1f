# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The guest's speed and the throttle over time, drawn by gnuplot."""

import os
from math import isnan
from typing import Dict, List, Sequence, Tuple

from migbench.plot import COLOURS, PANEL_HEIGHT, quote, run_gnuplot, shade

from .report import Report, length_s, speeds, start_of, stop_of

__all__ = ['Shown', 'plot']

Shown = List[Tuple[str, Report]]        # of each QEMU


def _write(path: str, rows: Sequence[Tuple[float, float]]) -> str:
    """Where the time is not a number, the line is interrupted."""
    with open(path, 'w', encoding='ascii') as data:
        for time, value in rows:
            data.write('\n' if isnan(time) else f'{time:.3f} {value:.3f}\n')
    return quote(path)


def _speed_rows(report: Report) -> List[Tuple[float, float]]:
    """Time (s), speed (%): both ends of each GB; none in the stop."""
    rows = []
    stop, end = stop_of(report), length_s(report)
    stopped = False
    for stretch in speeds(report):
        times = [stretch.start_s, stretch.end_s]
        if stretch.end_s > end and not stopped:
            stopped = True
            began = stretch.start_s - (end - stop)
            times[:1] = [began, stop, float('nan'), end] if began < stop \
                else [float('nan'), stretch.start_s]
        rows += [(time, stretch.speed * 100) for time in times]
    return rows


def _throttle_rows(report: Report) -> List[Tuple[float, float]]:
    """Time (s), throttle (%), as each pass began with it, and the end."""
    start = start_of(report)
    return [(step['now'] - start, step['throttle_pcent'])
            for step in report['progress_history']]


def _panels(base: str, name: str, shown: Shown) -> List[str]:
    fast, throttles, shades = [], [], []
    for (qemu, report), colour in zip(shown, COLOURS):
        last = report['progress_history'][-1]
        took = f"{last['status']} after {length_s(report):.1f} s"
        speed = _write(f'{base}-{qemu}-speed.dat', _speed_rows(report))
        throttle = _write(f'{base}-{qemu}-throttle.dat', _throttle_rows(report))
        style = f"lw 2 lc rgb '{colour}' title"
        fast.append(f'{speed} using 1:2 with lines {style} '
                    f"{quote(f'{qemu}: {took}')}")
        throttles.append(f'{throttle} using 1:2 with steps {style} '
                         f'{quote(qemu)}')
        shades.append(shade(stop_of(report), length_s(report), colour))
    return [f"set title {quote(f'{name}: speed of the guest')}",
            "set ylabel '% of before'", 'set yrange [0:*]',
            'unset xlabel', *shades,
            'plot ' + ', '.join(fast),
            f"set title {quote(f'{name}: throttle')}",
            "set ylabel '% of vCPU time'", 'set yrange [0:105]',
            "set xlabel 's since the migration began'",
            'plot ' + ', '.join(throttles), 'unset object']


def plot(path: str, scenarios: Dict[str, Shown]) -> None:
    """
    Draw the reports of each scenario into path (.svg or .png), the time of the
    stop shaded. The data stay beside it, to be drawn again.
    """
    base = os.path.splitext(path)[0]
    panels = 2 * len(scenarios)
    script = [f'set multiplot layout {panels},1', 'set grid',
              'set lmargin 10', 'set rmargin 3', 'set key bmargin right horizontal']
    for name, shown in scenarios.items():
        short = name.rsplit('/', maxsplit=1)[-1]
        end = max(length_s(report) for _, report in shown)
        script += [f'set xrange [-5:{end + 5:.1f}]',
                   *_panels(f'{base}-{short}', short, shown)]
    run_gnuplot(path, PANEL_HEIGHT * panels, [*script, 'unset multiplot'])
