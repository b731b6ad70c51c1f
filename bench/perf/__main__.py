# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
QEMU's own benchmark of migration, guestperf, with its own comparisons, on
several QEMUs in turn. The reports are guestperf's: guestperf-plot.py reads
them; the first run of each is drawn into perf.svg. Where KVM is there,
guestperf-batch.py with --filter does the same for one QEMU; here TCG stands in
for it elsewhere.
"""

import argparse
import glob
import json
import os
import sys
from dataclasses import asdict
from fnmatch import fnmatch
from math import isnan
from typing import Any, Dict, List, Tuple

from migbench.errors import BenchError
from migbench.program import run_program

from .chart import Shown, plot
from .report import Row, make_row, table, usual_s

FILTER = ','.join(f'auto-converge-bandwidth/*-{rate}'
                  for rate in ('300mbs', '1gbs', '10gbs'))
MEMORY_GIB = 1
SLEEP_S = 25                    # to boot and work undisturbed; and after


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog='perf', description=__doc__)
    parser.add_argument('--qemu', action='append', required=True,
                        metavar='NAME=PATH', help='one or more')
    parser.add_argument('--guestperf', required=True, metavar='DIR',
                        help="the directory in QEMU's tests/ that has it")
    for name in ('kernel', 'initrd', 'out'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--filter', default=FILTER, metavar='PATTERN,...',
                        help='of COMPARISON/SCENARIO; default: %(default)s')
    parser.add_argument('--runs', type=int, default=1)
    parser.add_argument('--sleep', type=int, default=SLEEP_S, metavar='S',
                        help='before and after a migration; the guest boots '
                        'in it, and works undisturbed; default: %(default)s')
    parser.add_argument('--max-time', type=int, default=180,
                        help='s; a migration is cancelled then; default: 180')
    parser.add_argument('--max-iters', type=int, default=1000,
                        help='passes, likewise; default: 1000')
    arguments = parser.parse_args()
    if not all('=' in qemu for qemu in arguments.qemu):
        parser.error('--qemu: NAME=PATH')
    return arguments


def hardware_kvm() -> bool:
    """A KVM that interprets instructions boots no Linux in useful time."""
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as info:
        text = info.read()
    return os.access('/dev/kvm', os.W_OK) and (' vmx' in text or ' svm' in text)


def allow_cancel() -> None:
    """
    guestperf takes the end of a destination for an error, also where it has
    cancelled the migration itself.
    """
    # late, because --guestperf says where it is
    # pylint: disable=import-outside-toplevel, import-error
    import guestperf.engine
    from qemu.machine.machine import AbnormalShutdown

    class Machine(guestperf.engine.QEMUMachine):    # type: ignore[misc]
        """One that may have ended by itself."""

        def shutdown(self, *args: Any, **options: Any) -> None:
            try:
                super().shutdown(*args, **options)
            except AbnormalShutdown:
                if self.exitcode() is None:
                    raise

    guestperf.engine.QEMUMachine = Machine


def make_engine(arguments: argparse.Namespace, binary: str) -> Any:
    """guestperf's, but for the accelerator."""
    # pylint: disable=import-outside-toplevel, import-error
    from guestperf.engine import Engine

    class TcgEngine(Engine):        # type: ignore[misc]
        """The same guest without KVM."""

        def _get_common_args(self, hardware: Any,
                             tunnelled: bool = False) -> List[str]:
            words = super()._get_common_args(hardware, tunnelled)
            for old, new in (('kvm', 'tcg'), ('host', 'max')):
                words[words.index(old)] = new
            return list(words)

    kind = Engine if hardware_kvm() else TcgEngine
    return kind(binary, 'localhost', arguments.kernel, arguments.initrd,
                transport='unix', sleep=arguments.sleep)


def scenarios(arguments: argparse.Namespace) -> List[Tuple[str, Any]]:
    """Those of guestperf that the filter names."""
    # pylint: disable=import-outside-toplevel, import-error
    from guestperf.comparison import COMPARISONS

    # pylint: disable=protected-access
    found = [(f'{comparison._name}/{scenario._name}', scenario)
             for comparison in COMPARISONS
             for scenario in comparison._scenarios]
    patterns = arguments.filter.split(',')
    chosen = [(name, scenario) for name, scenario in found
              if any(fnmatch(name, pattern) for pattern in patterns)]
    if not chosen:
        raise BenchError(f"--filter '{arguments.filter}' names no scenario; "
                         f"there is: {' '.join(name for name, _ in found)}")
    for _, scenario in chosen:
        scenario._max_time = arguments.max_time
        scenario._max_iters = arguments.max_iters
    return chosen


def main() -> int:
    """Run; the exit status."""
    arguments = parse_arguments()
    sys.path.insert(0, os.path.abspath(arguments.guestperf))
    os.makedirs(arguments.out, exist_ok=True)
    for old in glob.glob(f'{arguments.out}/*.json'):
        os.unlink(old)
    # pylint: disable=import-outside-toplevel, import-error
    from guestperf.hardware import Hardware
    allow_cancel()
    # its default for these, None, is not what it takes
    hardware = Hardware(cpus=1, mem=MEMORY_GIB, src_cpu_bind=[],
                        src_mem_bind=[], dst_cpu_bind=[], dst_mem_bind=[])
    rows: List[Row] = []
    shown: Dict[str, Shown] = {}
    for run in range(1, arguments.runs + 1):
        for name, scenario in scenarios(arguments):
            for qemu in arguments.qemu:
                label, binary = qemu.split('=', 1)
                text = make_engine(arguments, binary).run(hardware,
                                                          scenario).to_json()
                file = f"{name.split('/')[-1]}-{label}-{run}.json"
                with open(os.path.join(arguments.out, file), 'w',
                          encoding='utf-8') as out:
                    out.write(text)
                report = json.loads(text)
                if isnan(usual_s(report)):
                    raise BenchError('before the migration the guest told '
                                     'nothing: it boots in more than --sleep '
                                     f'{arguments.sleep} s')
                rows.append(make_row(name, label, run, report))
                if run == 1:
                    shown.setdefault(name, []).append((label, report))
                print(table(rows[-1:]).split('\n')[1], flush=True)
    with open(os.path.join(arguments.out, 'rows.json'), 'w',
              encoding='utf-8') as out:
        json.dump([asdict(row) for row in rows], out, indent=1)
    plot(os.path.join(arguments.out, 'perf.svg'), shown)
    print(f'\n{table(rows)}')
    return 0


if __name__ == '__main__':
    sys.exit(run_program('perf', main))
