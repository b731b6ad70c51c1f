# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Bars, sparklines, times and sizes as text."""

from typing import List, Optional, Sequence

UNKNOWN = '-'
BLOCKS = '▁▂▃▄▅▆▇█'
PLAIN_BLOCKS = '_.-=+*%#'           # for terminals that have no other
MS_PER_S = 1000
S_PER_MIN = 60
MIN_PER_H = 60
SHORT_MS = 10 * MS_PER_S            # below it tenths of a second matter
SIZES = ((10 ** 12, 'TB'), (10 ** 9, 'GB'))
MB = 10 ** 6
FULL_PCT = 100


def bar(share: float, width: int) -> str:
    """A bar of width characters and two brackets, a share of it full."""
    full = round(max(0.0, min(1.0, share)) * width)
    return '[' + '#' * full + '.' * (width - full) + ']'


def buckets(values: Sequence[float], count: int) -> List[float]:
    """The means of count equal parts, or the values where they are fewer."""
    if len(values) <= count:
        return list(values)
    bounds = [index * len(values) // count for index in range(count + 1)]
    return [sum(values[start:end]) / (end - start)
            for start, end in zip(bounds, bounds[1:])]


def sparkline(values: Sequence[float], width: int, most: float = 0.0,
              blocks: str = BLOCKS) -> str:
    """At most width characters; the highest is most, or the highest value."""
    means = buckets(values, width)
    highest = max([most, *means])
    if highest <= 0:
        return blocks[0] * len(means)
    steps = len(blocks) - 1
    return ''.join(blocks[round(max(0.0, value) / highest * steps)]
                   for value in means)


def blocks_for(encoding: Optional[str]) -> str:
    """The characters of a sparkline that this encoding can write."""
    try:
        BLOCKS.encode(encoding or 'ascii')
    except (UnicodeEncodeError, LookupError):
        return PLAIN_BLOCKS
    return BLOCKS


def duration(value_ms: Optional[float]) -> str:
    """340 ms, 4.1 s, 41 s, 2 min 05 s, 3 h 20 min."""
    if value_ms is None:
        return UNKNOWN
    if abs(value_ms) < MS_PER_S:
        return f'{value_ms:.0f} ms'
    if abs(value_ms) < SHORT_MS:
        return f'{value_ms / MS_PER_S:.1f} s'
    sign = '-' if value_ms < 0 else ''
    minutes, seconds = divmod(round(abs(value_ms) / MS_PER_S), S_PER_MIN)
    hours, minutes = divmod(minutes, MIN_PER_H)
    if hours:
        return f'{sign}{hours} h {minutes:02d} min'
    if minutes:
        return f'{sign}{minutes} min {seconds:02d} s'
    return f'{sign}{seconds} s'


def size(value_bytes: Optional[float]) -> str:
    """312.1 MB, 4.29 GB."""
    if value_bytes is None:
        return UNKNOWN
    for unit, name in SIZES:
        if value_bytes >= unit:
            return f'{value_bytes / unit:.2f} {name}'
    return f'{value_bytes / MB:.1f} MB'


def rate(value_bps: Optional[float]) -> str:
    """35.0 MB/s."""
    return UNKNOWN if value_bps is None else f'{size(value_bps)}/s'


def percent(value_pct: Optional[float]) -> str:
    """98.9 %, and 80 %, whichever kind of number it came as."""
    if value_pct is None:
        return UNKNOWN
    return f'{value_pct:.1f}'.rstrip('0').rstrip('.') + ' %'


def megabytes(value_bytes: Optional[float], width: int) -> str:
    """A column of lines: MB, right-aligned, without the unit."""
    shown = UNKNOWN if value_bytes is None else f'{value_bytes / MB:.1f}'
    return shown.rjust(width)
