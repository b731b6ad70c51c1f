# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Work kept against throttle, and migrations over time, drawn by gnuplot."""

import os
from typing import Dict, List, Sequence, Tuple

from migbench.plot import COLOURS, quote, run_gnuplot, stops
from migbench.tables import run_share

from .kept import KeptPoint
from .migration import Served
from .shared import quantile_s

KEPT_COLUMNS = 3
KEPT_HEIGHT = 330               # pixels of a panel
TIME_HEIGHT = 310
LEAST_KEPT_PCT = 0.01           # less is drawn there
LEAST_MS = 0.1

Guest = Tuple[str, int]         # load, vCPUs


def _write(path: str, rows: Sequence[Sequence[float]]) -> str:
    with open(path, 'w', encoding='ascii') as data:
        for row in rows:
            data.write(' '.join(f'{value:.6g}' for value in row) + '\n')
    return path


def _kept_curves(base: str, number: int,
                 points: Sequence[KeptPoint]) -> List[str]:
    """Each QEMU: run share, and the median, least and most that was kept."""
    curves = ["x with lines dt 2 lc rgb '#888888' title 'run share'"]
    qemus = list(dict.fromkeys(point.qemu for point in points))
    for index, (qemu, colour) in enumerate(zip(qemus, COLOURS)):
        data = _write(f'{base}-{number}-{index}.dat', [
            [run_share(point.throttle_pct) * 100,
             *(max(share * 100, LEAST_KEPT_PCT)
               for share in (point.share, point.least, point.most))]
            for point in points if point.qemu == qemu])
        curves.append(f'{quote(data)} using 1:2:3:4 with yerrorlines lw 2 '
                      f"pt 7 ps 0.6 lc rgb '{colour}' title {quote(qemu)}")
    return curves


def plot_kept(path: str, points: Sequence[KeptPoint]) -> None:
    """
    Both axes logarithmic, so that an throttle which costs nothing is a
    straight line. The data stay beside it, to be drawn again.
    """
    base = os.path.splitext(path)[0]
    guests: Dict[Guest, List[KeptPoint]] = {}
    for point in points:
        guests.setdefault((point.load, point.vcpus), []).append(point)
    lines = -(-len(guests) // KEPT_COLUMNS)
    throttles = sorted({point.throttle_pct for point in points})
    tics = ', '.join(f"'{pct:g}' {run_share(pct) * 100:g}"
                     for pct in throttles)
    script = [f'set multiplot layout {lines},{KEPT_COLUMNS}',
              'set grid', 'set logscale xy', f'set xtics ({tics})',
              f'set xrange [{run_share(throttles[0]) * 120:g}:'
              f'{run_share(throttles[-1]) * 80:g}]',
              f'set yrange [{LEAST_KEPT_PCT}:150]',
              "set xlabel 'throttle (%)'", "set ylabel 'work kept (%)'",
              'set key top right samplen 2']
    for number, ((load, vcpus), shown) in enumerate(guests.items()):
        script += [f"set title {quote(f'{load}, {vcpus} vCPUs')}",
                   'plot ' + ', '.join(_kept_curves(base, number, shown))]
    run_gnuplot(path, KEPT_HEIGHT * lines, [*script, 'unset multiplot'])


def _write_time_line(path: str, served: Served) -> str:
    """
    Columns: start of the interval (s), transactions per second, and in ms
    median, 99th percentile, longest silence.
    """
    return _write(path, [
        [part.start - served.run.start, part.rate,
         *(max(value * 1000, LEAST_MS) if part.transactions else float('nan')
           for value in (quantile_s(part.latency, 0.5),
                         quantile_s(part.latency, 0.99))),
         max(part.silence_s * 1000, LEAST_MS)]
        for part in served.intervals])


def _write_throttle(path: str, served: Served) -> str:
    """Columns: time (s), throttle (%)."""
    run = served.run
    return _write(path, [[sample.time - run.start, sample.throttle_pct]
                         for sample in run.samples])


def _time_panels(base: str, number: int,
                 shown: Sequence[Served]) -> List[str]:
    rates, waits, throttles = [], [], []
    for index, (one, colour) in enumerate(zip(shown, COLOURS)):
        data = quote(_write_time_line(f'{base}-{number}-{index}.dat', one))
        throttle = quote(_write_throttle(
            f'{base}-{number}-{index}-throttle.dat', one))
        style = f"lc rgb '{colour}'"
        end = f'{one.run.outcome} after {one.run.end - one.run.start:.1f} s'
        rates.append(f'{data} using 1:2 with steps lw 2 {style} title '
                     f"{quote(f'{one.qemu}: {end}')}")
        waits += [f'{data} using 1:{column} with {kind} {style} title '
                  f"{quote(f'{one.qemu}: {name}')}"
                  for column, kind, name in
                  ((3, 'steps lw 2', 'median'), (4, 'steps lw 1', 'p99'),
                   (5, 'points pt 7 ps 0.4', 'longest silence'))]
        throttles.append(f'{throttle} using 1:2 with steps lw 2 {style} title '
                         f'{quote(one.qemu)}')
    title = f'{shown[0].vcpus} vCPUs'
    return [f"set title {quote(f'redis, {title}: transactions per second')}",
            "set ylabel '1/s'", 'set yrange [0:*]',
            'plot ' + ', '.join(rates),
            f"set title {quote(f'{title}: latency')}", "set ylabel 'ms'",
            'set logscale y', f'set yrange [{LEAST_MS}:*]',
            'plot ' + ', '.join(waits), 'unset logscale y',
            f"set title {quote(f'{title}: throttle')}",
            "set ylabel '% of vCPU time'", 'set yrange [0:105]',
            'plot ' + ', '.join(throttles)]


def plot_migrations(path: str, served: Sequence[Served]) -> None:
    """
    Time lines of the same guest one above the other, the time of the stop
    shaded. The data stay beside it, to be drawn again.
    """
    base = os.path.splitext(path)[0]
    guests: Dict[int, List[Served]] = {}
    for one in served:
        guests.setdefault(one.vcpus, []).append(one)
    panels = 3 * len(guests)
    script = [f'set multiplot layout {panels},1', 'set grid',
              "set xlabel 's since the migration began'", 'set lmargin 10',
              'set rmargin 3', 'set tmargin 5',
              'set key tmargin right horizontal']
    for number, shown in enumerate(guests.values()):
        start = min(one.intervals[0].start - one.run.start for one in shown)
        end = max(one.intervals[-1].end - one.run.start for one in shown)
        script += [f'set xrange [{start:.2f}:{end:.2f}]',
                   *stops([(one.qemu, one.run) for one in shown]),
                   *_time_panels(base, number, shown), 'unset object']
    run_gnuplot(path, TIME_HEIGHT * panels, [*script, 'unset multiplot'])
