# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
The guests, links and parameters that reach a phase within seconds.

A guest is calm when it dirties a fraction of what the link carries, busy when
it dirties its working set at any throttle, and slowable when it dirties more
than the link carries, but a throttle helps.
"""

import random
from dataclasses import dataclass, field
from typing import Any, Dict

from . import phases

# A bulk pass of one to three seconds is long enough to be struck, and short
# enough for a few hundred migrations an hour.
LINK_MBPS = (14, 24)            # 10^6 bytes/s; a relay in Python carries it
BULK_S = (1.2, 2.6)
SLOWABLE_BULK_S = (2.5, 3.5)    # so that windows are longer than a second
LET_GO_BULK_S = (1.0, 1.6)      # the ceiling is held for as long
CALM_PART = (0.1, 0.3)          # of what the link carries
SLOWABLE_TIMES = (3.0, 5.0)     # what the link carries; less on a busy host
SLOWABLE_CPU_PCT = (60, 85)     # what that costs: a throttle bites at once
LOW_CEILING_PCT = (25, 60)      # the busy guest saturates its set at that
HIGH_CEILING_PCT = 99
# A deadline that is further away than the bulk pass, one more, one at the
# ceiling and a stop: until it comes near a guest is left alone.
WATCHED_BULK_S = (0.8, 1.2)
WATCHED_S = (7, 9)
TINY_STOP_MS = (1, 50)          # no stop of a busy guest is that short
DOWNTIME_LIMIT_MS = (30, 150)
NO_BOUND = 0                    # cpu-throttle-fallback-downtime
UNIT = 10 ** 6
MIB = 2 ** 20

CALM, BUSY, SLOWABLE = 'calm', 'busy', 'slowable'

# How a migration ends when nothing else ends it.
BY_ITSELF = 'by itself'
CANCELLED = 'cancelled'         # the operator gives up
NUDGED = 'nudged'               # the operator allows a stop


@dataclass
class Draft:
    """What is drawn for a phase before the features are."""
    kind: str
    link_mbps: int
    ws_mib: int
    rate: str                       # key of the workload guest
    cpu_pct: int
    pattern: str
    ends: str
    parameters: Dict[str, Any] = field(default_factory=dict)


def _set_mib(rng: random.Random, link_mbps: int, bulk_s: Any) -> int:
    return int(rng.uniform(*bulk_s) * link_mbps * UNIT / MIB)


def _draft(rng: random.Random, kind: str, bulk_s: Any = BULK_S) -> Draft:
    link = rng.randint(*LINK_MBPS)
    ws_mib = _set_mib(rng, link, bulk_s)
    if kind == CALM:
        rate = str(max(1, int(link * rng.uniform(*CALM_PART))))
        return Draft(kind, link, ws_mib, rate, 0,
                     rng.choice(('sweep', 'random')), BY_ITSELF)
    if kind == SLOWABLE:
        rate = str(int(link * rng.uniform(*SLOWABLE_TIMES)))
        return Draft(kind, link, ws_mib, rate, rng.randint(*SLOWABLE_CPU_PCT),
                     'random', BY_ITSELF)
    return Draft(kind, link, ws_mib, 'max', 0,
                 rng.choice(('sweep', 'random')), BY_ITSELF)


def _law(rng: random.Random) -> Dict[str, Any]:
    """Parameters that matter little for which phase is reached."""
    return {'throttle-trigger-threshold': rng.randint(40, 60),
            'cpu-throttle-initial': rng.randint(5, 25),
            'cpu-throttle-increment': rng.randint(5, 20),
            'cpu-throttle-tailslow': rng.random() < 0.5,
            'downtime-limit': rng.randint(*DOWNTIME_LIMIT_MS)}


def _any(rng: random.Random) -> Draft:
    draft = _draft(rng, rng.choice((CALM, BUSY)))
    draft.parameters = {'cpu-throttle-fallback':
                        rng.choice(('auto', 'stop-and-copy')),
                        'max-cpu-throttle': rng.choice((40, 80, 99)),
                        'cpu-throttle-fallback-downtime': NO_BOUND}
    return draft


def _watch(rng: random.Random) -> Draft:
    draft = _draft(rng, BUSY, WATCHED_BULK_S)
    draft.parameters = {'cpu-throttle-deadline': rng.randint(*WATCHED_S),
                        'cpu-throttle-fallback': 'stop-and-copy',
                        'max-cpu-throttle': HIGH_CEILING_PCT,
                        'cpu-throttle-fallback-downtime': NO_BOUND}
    return draft


def _endless(rng: random.Random, draft: Draft, ceiling_pct: int) -> Draft:
    draft.parameters = {'cpu-throttle-fallback': 'none',
                        'max-cpu-throttle': ceiling_pct,
                        'cpu-throttle-fallback-downtime': NO_BOUND}
    draft.ends = rng.choice((CANCELLED, NUDGED))
    return draft


def _throttle(rng: random.Random) -> Draft:
    return _endless(rng, _draft(rng, SLOWABLE, SLOWABLE_BULK_S),
                    HIGH_CEILING_PCT)


def _ceiling(rng: random.Random) -> Draft:
    return _endless(rng, _draft(rng, BUSY), rng.randint(*LOW_CEILING_PCT))


def _let_go(rng: random.Random) -> Draft:
    draft = _endless(rng, _draft(rng, BUSY, LET_GO_BULK_S),
                     rng.randint(*LOW_CEILING_PCT))
    if rng.random() < 0.5:
        draft.parameters.update({
            'cpu-throttle-fallback': 'stop-and-copy',
            'cpu-throttle-fallback-downtime': rng.randint(*TINY_STOP_MS)})
    return draft


def _stop(rng: random.Random) -> Draft:
    draft = _draft(rng, BUSY)
    draft.parameters = {'cpu-throttle-fallback':
                        rng.choice(('auto', 'stop-and-copy')),
                        'max-cpu-throttle': rng.randint(20, 99),
                        'cpu-throttle-fallback-downtime':
                        rng.choice((NO_BOUND, 60000))}
    return draft


def _post_copy(rng: random.Random) -> Draft:
    draft = _draft(rng, BUSY)
    draft.parameters = {'cpu-throttle-fallback':
                        rng.choice(('auto', 'post-copy')),
                        'max-cpu-throttle': rng.randint(20, 99),
                        'cpu-throttle-fallback-downtime': NO_BOUND}
    return draft


_RECIPES = {phases.SETUP: _any, phases.BULK: _any, phases.WATCH: _watch,
            phases.THROTTLE: _throttle, phases.CEILING: _ceiling,
            phases.LET_GO: _let_go, phases.STOP: _stop,
            phases.PRE_SWITCHOVER: _any, phases.DEVICE: _any,
            phases.POST_COPY: _post_copy}


def draw_draft(rng: random.Random, target: str) -> Draft:
    """What reaches the phase."""
    draft = _RECIPES[target](rng)
    law = _law(rng)
    # QEMU asks for initial <= max
    law['cpu-throttle-initial'] = min(law['cpu-throttle-initial'],
                                      draft.parameters['max-cpu-throttle'])
    draft.parameters = {**law, **draft.parameters}
    return draft
