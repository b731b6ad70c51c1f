# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""One migration over time: what remains, the throttle, the rates."""

from typing import List, NamedTuple, Sequence, Tuple

from .errors import UserError
from .gnuplot import quote, run_gnuplot
from .model import Sample
from .text import MB
from .view import Change

PANEL_HEIGHT = 270              # pixels
MARGIN = 1.02                   # of the time shown, over that of the data
LABELS_MAX = 20                 # names of states that still can be read
THROTTLE_TOP_PCT = 105          # so that the line of 99 % is seen


class Panel(NamedTuple):
    """Curves in one frame: (member, title, colour)."""
    title: str
    unit: str
    scale: float
    y_range: str
    style: str
    curves: Sequence[Tuple[str, str, str]]


PANELS = (
    Panel('remaining', 'MB', MB, '[0:*]', 'lines',
          (('remaining_bytes', 'remaining', '#1f6fb4'),)),
    Panel('throttle', '% of vCPU time', 1, f'[0:{THROTTLE_TOP_PCT}]', 'steps',
          (('throttle_pct', 'throttle', '#c0392b'),
           ('ceiling_pct', 'ceiling', '#999999'))),
    Panel('rates', 'MB/s', MB, '[0:*]', 'lines',
          (('dirty_bps', 'dirtied', '#c0392b'),
           ('drain_bps', 'drained', '#2e8b57'))),
)


def _points(samples: Sequence[Sample], name: str, scale: float) -> List[str]:
    """Lines 'time value' of a member, for gnuplot."""
    start_s = samples[0].time_s
    return [f'{sample.time_s - start_s:.3f} {getattr(sample, name) / scale:.3f}'
            for sample in samples if getattr(sample, name) is not None]


def _panel(panel: Panel, samples: Sequence[Sample]) -> List[str]:
    """Its data in the script itself, and the command that draws them."""
    data: List[str] = []
    drawn = []
    for name, title, colour in panel.curves:
        points = _points(samples, name, panel.scale)
        if not points:
            continue
        data += [f'${name} << EOD', *points, 'EOD']
        drawn.append(f'${name} using 1:2 with {panel.style} lw 2 '
                     f"lc rgb '{colour}' title {quote(title)}")
    if not drawn:
        return []
    return [*data, f'set title {quote(panel.title)}',
            f'set ylabel {quote(panel.unit)}', f'set yrange {panel.y_range}',
            'plot ' + ', '.join(drawn)]


def _states(changes: Sequence[Change], start_s: float) -> List[str]:
    """A line and a name where the state changes."""
    lines = []
    for number, change in enumerate(changes[-LABELS_MAX:], 1):
        at_s = change.time_s - start_s
        lines.append(f'set arrow {number} from {at_s:.3f}, graph 0 '
                     f'to {at_s:.3f}, graph 1 nohead dt 3 '
                     "lc rgb '#aaaaaa'")
        lines.append(f'set label {number} {quote(change.state)} '
                     f'at {at_s:.3f}, graph 0.97 rotate by 270 offset 0.6,0 '
                     "font ',9' textcolor rgb '#666666' noenhanced")
    return lines


def plot(path: str, samples: Sequence[Sample],
         changes: Sequence[Change]) -> None:
    """Draw into path, .svg or .png."""
    if not samples:
        raise UserError('nothing to plot: no migration was seen')
    panels = [lines for lines in (_panel(panel, samples) for panel in PANELS)
              if lines]
    if not panels:
        raise UserError('nothing to plot: QEMU told no figures')
    start_s = samples[0].time_s
    # a run that was only looked at once has no length
    length_s = max(samples[-1].time_s - start_s, 1.0) * MARGIN
    script = [f'set multiplot layout {len(panels)},1', 'set grid',
              "set xlabel 'time (s)'", 'set lmargin 10', 'set rmargin 3',
              'set key tmargin right horizontal',
              f'set xrange [0:{length_s:.2f}]', *_states(changes, start_s)]
    for lines in panels:
        script += lines
    run_gnuplot(path, PANEL_HEIGHT * len(panels), [*script,
                                                   'unset multiplot'])
