# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""TAP, the table of faults by phase, JSON."""

from dataclasses import asdict
from typing import Any, Dict, List, Sequence, Tuple

from . import phases, plan as plans, verdict
from .drive import Result
from .machines import FREE_SHARE

# A quiet host reaches nine in ten. On one that is busy guests dirty less.
REACHED_PART = 0.6
MISSED_PHASES_MAX = 1           # by seeds that are drawn for each phase


def to_json(result: Result) -> Dict[str, Any]:
    """One migration, for files."""
    return {'seed': result.plan.seed, 'plan': result.plan.to_json(),
            'name': result.plan.name(), 'struck': result.struck,
            'seen': result.seen.to_json(),
            'problems': [asdict(problem) for problem in result.problems],
            'took_s': round(result.took_s, 2)}


def broken(plan: plans.Plan, why: str, kind: str) -> Dict[str, Any]:
    """A migration of which the soak knows nothing more."""
    result = Result(plan, problems=[verdict.Problem(kind, why)])
    return to_json(result)


def tap_line(number: int, entry: Dict[str, Any]) -> str:
    """ok or not ok, and why."""
    missed = '' if entry['struck'] \
        or entry['plan']['fault'] == plans.NONE else ' (not reached)'
    mark = 'not ok' if entry['problems'] else 'ok'
    lines = [f"{mark} {number} - seed {entry['seed']}: {entry['name']}: "
             f"{entry['seen']['outcome']}{missed}"]
    lines += [f"# {problem['kind']}: {' '.join(problem['text'].split())}"
              for problem in entry['problems']]
    return '\n'.join(lines)


def count_strikes(entries: Sequence[Dict[str, Any]]
                  ) -> Dict[str, Dict[str, int]]:
    """Fault by phase: as it was seen, not as planned."""
    counts: Dict[str, Dict[str, int]] = {
        fault: {} for fault in plans.FAULTS if fault != plans.NONE}
    for entry in entries:
        fault = entry['plan']['fault']
        if fault != plans.NONE:
            where = entry['struck'] or 'not reached'
            counts[fault][where] = counts[fault].get(where, 0) + 1
    return counts


def reached(entries: Sequence[Dict[str, Any]]) -> Tuple[int, int]:
    """Strikes that met their phase, and all that were planned."""
    planned = [entry for entry in entries
               if entry['plan']['fault'] != plans.NONE]
    return sum(entry['struck'] is not None for entry in planned), len(planned)


def reached_line(number: int, entries: Sequence[Dict[str, Any]]) -> str:
    """A soak that hardly strikes finds nothing: that is no success."""
    met, planned = reached(entries)
    mark = 'ok' if met >= planned * REACHED_PART else 'not ok'
    return (f'{mark} {number} - {met} of {planned} strikes met their phase, '
            f'at least {REACHED_PART:.0%} have to')


def phases_line(number: int, entries: Sequence[Dict[str, Any]]) -> str:
    """Nor is one that leaves phases out."""
    struck = {entry['struck'] for entry in entries}
    missed = [phase for phase in phases.PHASES if phase not in struck]
    mark = 'ok' if len(missed) <= MISSED_PHASES_MAX else 'not ok'
    return (f'{mark} {number} - a strike at each phase; without one: '
            f'{", ".join(missed) or "none"}')


def count_problems(entries: Sequence[Dict[str, Any]]) -> Dict[str, int]:
    """Migrations with a problem of this kind."""
    return {kind: sum(any(problem['kind'] == kind
                          for problem in entry['problems'])
                      for entry in entries) for kind in verdict.KINDS}


def table(entries: Sequence[Dict[str, Any]]) -> List[str]:
    """Faults by phase; '-' is where none is drawn."""
    columns = (*phases.PHASES, 'not reached')
    names = ('setup', 'bulk', 'watch', 'thrtl', 'ceil', 'letgo', 'stop',
             'presw', 'device', 'postc', 'missed')
    lines = [f"{'':24}" + ''.join(f'{name:>7}' for name in names)]
    for fault, row in count_strikes(entries).items():
        cells = [str(row.get(column, 0)) if column not in plans.STRIKES
                 or fault in plans.STRIKES[column] else '-'
                 for column in columns]
        lines.append(f'{fault:24}' + ''.join(f'{cell:>7}' for cell in cells))
    calm = sum(entry['plan']['fault'] == plans.NONE for entry in entries)
    lines.append(f'without a fault: {calm}')
    return lines


def totals(entries: Sequence[Dict[str, Any]]) -> str:
    """One line."""
    counts = count_problems(entries)
    outcomes: Dict[str, int] = {}
    for entry in entries:
        outcome = entry['seen']['outcome']
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    unknown = sum(entry['seen']['share_before'] < FREE_SHARE
                  or entry['seen']['share_after'] is None
                  for entry in entries)
    return (f'{len(entries)} migrations ('
            + ', '.join(f'{count} {name}' for name, count
                        in sorted(outcomes.items())) + '): '
            + ', '.join(f'{count} {kind}' for kind, count in counts.items())
            + f'; of {unknown} the host did not tell whether they are held '
            'back')
