# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Random migrations with faults. Prints TAP, a table, totals.

    python3 -m soak --qemu QEMU --guest ELF --qemu-python DIR --series 7.2
        --out DIR [--count N] [--seed S | --seeds S,S,... | --fixed]
        [--minutes M]
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Optional

from migbench.machine import use_qemu_python
from migbench.program import run_program

from . import report, verdict
from .drive import Programs, drive
from .fixed import FIXED_SEEDS
from .plan import draw_plan

REACHED_LEAST = 20              # fewer do not tell how many meet their phase
ONE_MAX_S = 600                 # whatever is bounded in it takes less
# a soak that is ended takes its migrations with it, which clean up
GUARD = ('setpriv', '--pdeathsig', 'TERM', '--') \
    if shutil.which('setpriv') else ()
WRITE_EVERY = 20                # so that a soak that is ended tells, too
SEEDS = 10 ** 6                 # of a seed that the time chose


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog='soak', description=__doc__,
                                     formatter_class=
                                     argparse.RawDescriptionHelpFormatter)
    for name in ('qemu', 'guest', 'qemu-python', 'series', 'out'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--count', type=int, default=100,
                        help='number of migrations')
    parser.add_argument('--seed', type=int, help='of the first one')
    parser.add_argument('--seeds', help='these, separated by commas')
    parser.add_argument('--fixed', action='store_true',
                        help='those of the tests')
    parser.add_argument('--minutes', type=float,
                        help='begin none after this time')
    parser.add_argument('--jobs', type=int, default=2,
                        help='migrations at once')
    parser.add_argument('--keep', action='store_true',
                        help='what was seen of good ones, too')
    parser.add_argument('--one', type=int, metavar='SEED',
                        help='this one, in this process; prints JSON')
    return parser.parse_args()


def run_one(arguments: argparse.Namespace) -> int:
    """A migration in this process, because alarms are for main threads."""
    use_qemu_python(arguments.qemu_python)
    plan = draw_plan(arguments.one, arguments.series)
    result = drive(plan, Programs(arguments.qemu, arguments.guest),
                   arguments.out, arguments.keep)
    json.dump(report.to_json(result), sys.stdout)
    return 0


def _run_child(arguments: argparse.Namespace, seed: int) -> Dict[str, Any]:
    """The same in a process of its own; it takes its QEMUs with it."""
    plan = draw_plan(seed, arguments.series)
    command = [*GUARD, sys.executable, '-m', 'soak', '--one', str(seed)]
    for name in ('qemu', 'guest', 'qemu_python', 'series', 'out'):
        command += [f"--{name.replace('_', '-')}", getattr(arguments, name)]
    if arguments.keep:
        command.append('--keep')
    with subprocess.Popen(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          start_new_session=True) as child:
        try:
            text, errors = child.communicate(timeout=ONE_MAX_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return report.broken(plan, f'not over after {ONE_MAX_S} s',
                                 verdict.HUNG)
    try:
        entry: Dict[str, Any] = json.loads(text)
        return entry
    except ValueError:
        words = errors.decode(errors='replace').strip()
        return report.broken(plan, words or 'it said nothing', verdict.BROKEN)


def _seeds(arguments: argparse.Namespace) -> List[int]:
    if arguments.fixed:
        return list(FIXED_SEEDS)
    if arguments.seeds:
        return [int(word) for word in arguments.seeds.split(',')]
    first = arguments.seed
    if first is None:
        first = int(time.time()) % SEEDS * arguments.count
    return list(range(first, first + arguments.count))


def _write_json(arguments: argparse.Namespace,
                entries: List[Dict[str, Any]]) -> None:
    os.makedirs(arguments.out, exist_ok=True)
    with open(os.path.join(arguments.out, 'soak.json'), 'w',
              encoding='utf-8') as out:
        json.dump({'series': arguments.series, 'migrations': entries,
                   'strikes': report.count_strikes(entries),
                   'problems': report.count_problems(entries)}, out, indent=1)


def _tell_sums(entries: List[Dict[str, Any]], fixed: bool) -> int:
    """The plan of TAP, table and totals; the exit status."""
    cases = len(entries)
    good = cases > 0 and not any(entry['problems'] for entry in entries)
    checks = [report.reached_line] if cases >= REACHED_LEAST else []
    checks += [report.phases_line] if fixed else []
    for check in checks:
        cases += 1
        said = check(cases, entries)
        print(said)
        good = good and said.startswith('ok')
    print(f'1..{cases}')
    for line in [*report.table(entries), report.totals(entries)]:
        print(f'# {line}')
    return 0 if good else 1


def run_many(arguments: argparse.Namespace) -> int:
    """Several at once; they are told in the order of the seeds."""
    seeds = _seeds(arguments)
    end: Optional[float] = None
    if arguments.minutes:
        end = time.monotonic() + arguments.minutes * 60
    print(f'# QEMU {arguments.series}, seeds {seeds[0]} to {seeds[-1]}',
          flush=True)

    def one(seed: int) -> Optional[Dict[str, Any]]:
        if end is not None and time.monotonic() > end:
            return None
        return _run_child(arguments, seed)

    entries: List[Dict[str, Any]] = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for entry in pool.map(one, seeds):
            if entry is not None:
                entries.append(entry)
                if len(entries) % WRITE_EVERY == 0:
                    _write_json(arguments, entries)
                print(report.tap_line(len(entries), entry), flush=True)
    _write_json(arguments, entries)
    return _tell_sums(entries, arguments.fixed)


def main() -> int:
    """Run; the exit status."""
    arguments = parse_arguments()
    return run_many(arguments) if arguments.one is None \
        else run_one(arguments)


if __name__ == '__main__':
    sys.exit(run_program('soak', main))
