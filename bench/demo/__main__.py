#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
The demonstration: migrate the same guest over the same link, with stock QEMU
(plus the TCG dirty bitmap fix) and with the adaptive controller, and compare.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

from migbench.display import Progress, table
from migbench.metrics import Metrics, baseline_rate, metrics
from migbench.link import Link, make_link, why_no_namespaces
from migbench.throttle_loss import always_busy
from migbench.machine import use_qemu_python
from migbench.migrate import Migration, Plan, Run
from migbench.plot import plot
from migbench.program import add_needed, run_program

DOWNTIME_LIMIT_MS = 300
PAGE_BYTES = 4096


@dataclass(frozen=True)
class Scenario:
    """A guest, its link, and the time after which a run is given up."""
    name: str
    title: str
    memory_mib: int
    append: str
    link_mbps: int                      # 10^6 bytes/s
    time_limit_s: float
    calm: bool = False                  # must not be throttled; if asked for


SCENARIOS = (
    # 1 % of a vCPU under TCG dirties some 40 MB/s of pages that were clean
    # before: at the highest throttle as much as this link carries.
    Scenario('pathological',
             'rewrites 200 MiB as fast as it can; no throttle is enough',
             256, 'ws=200', 40, 40),
    # Converges when it runs a tenth of its time. The counter comes there by
    # eight steps, of two passes of some seconds each.
    Scenario('middle',
             'random pages of 200 MiB at 7 times the link, 80 % of a CPU',
             256, 'ws=200 rate=350 cpu=80 pattern=random', 50, 90),
    # Each pass leaves a third of the one before.
    Scenario('calm', 'a third of what the link carries: converges by itself',
             256, 'ws=100 rate=15 cpu=30', 50, 40, calm=True),
)
CALM = [s.name for s in SCENARIOS if s.calm]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog='demo', description=__doc__)
    parser.add_argument('--series', required=True,
                        help='release that both QEMUs are of, for titles')
    parser.add_argument('--stock', required=True, metavar='QEMU',
                        help='qemu-system-x86_64 without the controller')
    parser.add_argument('--patched', required=True, metavar='QEMU',
                        help='qemu-system-x86_64 with it')
    add_needed(parser, 'plot and data')
    parser.add_argument('--json', metavar='FILE',
                        help='write all results there')
    parser.add_argument('--only', action='append', metavar='NAME',
                        choices=[s.name for s in SCENARIOS],
                        help='only this guest (may be repeated): %(choices)s; '
                        'otherwise all but calm')
    parser.add_argument('--plot-format', choices=('svg', 'png'),
                        default='svg', help='default: svg')
    parser.add_argument('--no-namespaces', action='store_true',
                        help='limit by max-bandwidth also as root')
    arguments = parser.parse_args()
    for name in ('stock', 'patched'):
        path = getattr(arguments, name)
        if not os.access(path, os.X_OK):
            parser.error(f'--{name}: no program {path}')
    if not os.path.exists(arguments.guest):
        parser.error(f'--guest: no file {arguments.guest}')
    return arguments


def run_one(scenario: Scenario, name: str, binary: str, kernel: str,
            link: Link) -> Run:
    """One migration of a scenario by one QEMU."""
    plan = Plan(memory_mib=scenario.memory_mib, append=scenario.append,
                link=link, time_limit_s=scenario.time_limit_s,
                downtime_limit_ms=DOWNTIME_LIMIT_MS,
                busy=always_busy(scenario.append))
    progress = Progress(f'{scenario.name:12s} {name:7s}')
    with tempfile.TemporaryDirectory(prefix='migbench-') as directory:
        try:
            return Migration(binary, kernel, plan, directory,
                             progress).execute()
        except BaseException:
            progress.abandon()
            raise


def run_scenario(scenario: Scenario, arguments: argparse.Namespace,
                 no_link: str) -> List[Tuple[str, Run]]:
    """Stock, then patched, over one link; no_link: why it is not a real one."""
    runs = []
    with make_link(scenario.link_mbps, no_link) as link:
        measured = link.measure_mbps()
        print(f'\n{scenario.name}: {scenario.title}\n'
              f'  guest: {scenario.append}, {scenario.memory_mib} MiB\n'
              f'  downtime limit {DOWNTIME_LIMIT_MS} ms; '
              f'cancelled after {scenario.time_limit_s:.0f} s\n'
              f'  link: {link.describe()}'
              + (f', measured {measured:.1f} MB/s' if measured else ''),
              flush=True)
        for name in ('stock', 'patched'):
            run = run_one(scenario, name, getattr(arguments, name),
                          arguments.guest, link)
            if run.outcome != 'completed':
                print(f'{scenario.name:12s} {name:7s} {run.outcome} after '
                      f'{run.end - run.start:.0f} s'
                      + (f': {run.error}' if run.error else
                         ': the time limit'), flush=True)
            runs.append((name, run))
    return runs


def to_json(scenario: Scenario, name: str, run: Run,
            result: Metrics) -> Dict[str, Any]:
    """Everything about a run, for programs."""
    return {
        'guest': scenario.name, 'qemu': name, 'append': scenario.append,
        'memory_mib': scenario.memory_mib, 'link_mbps': scenario.link_mbps,
        'time_limit_s': scenario.time_limit_s,
        'downtime_limit_ms': DOWNTIME_LIMIT_MS,
        'guest_ready': run.ready,
        'baseline_bps': baseline_rate(run) * PAGE_BYTES,
        'metrics': result.to_json(),
        'passes': [{'time': e.time - run.start, 'number': e.number}
                   for e in run.events.passes],
        'samples': [{**s.to_json(), 'time': s.time - run.start}
                    for s in run.samples],
        'guest_reports': [{'time': r.time - run.start, 'work': r.work,
                           'idle_ms': r.idle_ms, 'guest_ms': r.guest_ms}
                          for r in run.reports],
        'final': run.final,
    }


def failures(columns: List[Tuple[str, str, Metrics]],
             runs: List[Run]) -> List[str]:
    """What must not be: in words."""
    result = []
    for (guest, name, shown), run in zip(columns, runs):
        if not run.verdict_before or not run.verdict_before.good:
            result.append(f'{guest}, {name}: memory bad before the migration')
        if not shown.memory_good:
            result.append(f'{guest}, {name}: memory: {shown.memory}')
        if name == 'patched' and not shown.completed:
            result.append(f'{guest}, {name}: {shown.outcome}')
        if name == 'patched' and shown.highest_throttle_pct and guest in CALM:
            result.append(f'{guest}, {name}: throttled')
    return result


def summary(columns: List[Tuple[str, str, Metrics]]) -> str:
    """Stock against patched in a sentence for each guest."""
    lines = []
    for (guest, _, stock), (_, _, patched) in zip(columns[::2], columns[1::2]):
        if not stock.completed:
            lines.append(f'{guest}, stock: not converged at its limit of '
                         f'{stock.total_s:.0f} s')
            lines.append(f'{guest}, patched: {patched.outcome} after '
                         f'{patched.total_s:.1f} s')
        elif stock.after_bulk_s and patched.after_bulk_s:
            ratio = stock.after_bulk_s / patched.after_bulk_s
            lines.append(f'{guest}: {ratio:.1f} times shorter after the bulk '
                         'pass')
    return '\n'.join([*lines, *accounts(columns)])


def accounts(columns: List[Tuple[str, str, Metrics]]) -> List[str]:
    """QEMU's account of the throttle beside the guest's own."""
    lines = []
    for guest, name, shown in columns:
        counted = shown.throttled_by_guest_s
        if counted is not None and shown.throttled_s:
            lines.append(f'{guest}, {name}: throttled {shown.throttled_s:.1f} '
                         f"s, by the guest's count {counted:.1f} s "
                         f'({counted / shown.throttled_s:.2f} times)')
    return lines


def demonstrate(arguments: argparse.Namespace) -> int:
    """Run all scenarios; the exit status."""
    use_qemu_python(arguments.qemu_python)
    os.makedirs(arguments.out, exist_ok=True)
    no_link = ('--no-namespaces' if arguments.no_namespaces
               else why_no_namespaces())
    chosen = [s for s in SCENARIOS
              if s.name in (arguments.only or [])
              or not (arguments.only or s.calm)]
    drawn: List[Tuple[str, List[Tuple[str, Run]]]] = []
    columns: List[Tuple[str, str, Metrics]] = []
    results: List[Dict[str, Any]] = []
    runs: List[Run] = []
    print(f'QEMU {arguments.series}: stock against patched')
    for scenario in chosen:
        pair = run_scenario(scenario, arguments, no_link)
        drawn.append((f'{scenario.name} ({scenario.link_mbps} MB/s)', pair))
        for name, run in pair:
            shown = metrics(run)
            columns.append((scenario.name, name, shown))
            results.append(to_json(scenario, name, run, shown))
            runs.append(run)
    print('\n' + table(columns) + '\n\n' + summary(columns))
    if arguments.json:
        with open(arguments.json, 'w', encoding='ascii') as output:
            json.dump({'series': arguments.series, 'real_link': not no_link,
                       'runs': results}, output, indent=1)
    path = os.path.join(arguments.out,
                        f'demo-{arguments.series}.{arguments.plot_format}')
    plot(path, drawn)
    print(f'plot: {path}')
    wrong = failures(columns, runs)
    for line in wrong:
        print(f'FAILED: {line}', file=sys.stderr)
    return 1 if wrong else 0


if __name__ == '__main__':
    given = parse_arguments()
    sys.exit(run_program('demo', lambda: demonstrate(given)))
