# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""When the migration is over: where the guest is, and how it is."""

import time
from typing import Optional

from migbench.errors import BenchError
from migbench.migrate_info import END_STATUSES, percent

from .faults import Stage
from .machines import Hang, RecordedMachine
from .recipes import MIB
from .stacks import stacks_of
from .verdict import RUNNING, Seen

SETTLE_S = 30                   # until exactly one guest runs
AGAIN_S = 0.5                   # and it has to stay so
POLL_S = 0.1
REPORT_S = 30
VERIFY_S = 20
VERIFY_TRIES = 3                # what is said while it was stopped may be lost
SEQUEL_S = 120
SEQUEL_BPS = 4096 * MIB
SEQUEL_STOP_MS = 10000


def set_rate(machine: RecordedMachine, rate: str, cpu_pct: int) -> None:
    """Change what the guest does."""
    machine.serial.command(f'cpu={cpu_pct}')
    machine.serial.command(f'rate={rate}')


def measure_share(machine: RecordedMachine) -> float:
    """What a guest with work without end executes; see busy_share()."""
    set_rate(machine, 'max', 0)
    return machine.busy_share()


def _run_on(stage: Stage) -> None:
    """The operator who stopped the guest lets it go on where it is now."""
    at_dest = stage.seen.outcome == 'completed'
    machine = stage.dest if at_dest else stage.source
    if machine.run_state_or_gone() == 'paused':
        machine.refuses('cont')


def look(stage: Stage) -> Optional[RecordedMachine]:
    """Where the guest runs; None: nowhere, or more than once."""
    seen = stage.seen
    end = time.monotonic() + SETTLE_S
    while True:
        if seen.operator_stopped and seen.source_state != RUNNING:
            _run_on(stage)
        seen.source_state = stage.source.run_state_or_gone()
        seen.dest_state = stage.dest.run_state_or_gone()
        if RUNNING in (seen.source_state, seen.dest_state) \
                or time.monotonic() > end:
            break
        time.sleep(POLL_S)
    # the other one may yet begin to run
    time.sleep(AGAIN_S)
    seen.source_state = stage.source.run_state_or_gone()
    seen.dest_state = stage.dest.run_state_or_gone()
    running = [machine for machine, state in
               ((stage.source, seen.source_state),
                (stage.dest, seen.dest_state)) if state == RUNNING]
    return running[0] if len(running) == 1 else None


def _verify(machine: RecordedMachine, seen: Seen) -> None:
    for _ in range(VERIFY_TRIES):
        verdict = machine.serial.verify(VERIFY_S)
        if verdict:
            seen.memory = verdict.describe()
            seen.memory_good = verdict.good
            return


def examine(machine: RecordedMachine, source: RecordedMachine,
            seen: Seen) -> None:
    """It works, its memory is what it wrote, nothing holds it back."""
    seen.reports = machine.serial.wait_report(time.time(), REPORT_S) \
        is not None
    if not seen.reports:
        return
    _verify(machine, seen)
    info = source.qmp('query-migrate') if source.running else {}
    seen.throttle_pct = max(
        percent(info.get('auto-converge', {}), 'throttle-permille') or 0,
        float(info.get('cpu-throttle-percentage', 0)))
    if seen.memory_good:
        seen.share_after = measure_share(machine)
    if seen.held_back:
        machine.held_stacks = '\n'.join(machine.looks) + '\n' + \
            stacks_of(machine.pid)


def _set_up_again(machine: RecordedMachine) -> None:
    """All that the migration before had set is off."""
    is_on = [item['capability'] for item in
             machine.qmp('query-migrate-capabilities') if item['state']]
    machine.set_capabilities({**dict.fromkeys(is_on, False),
                              'auto-converge': True})
    machine.qmp('migrate-set-parameters', **{
        'max-bandwidth': SEQUEL_BPS, 'downtime-limit': SEQUEL_STOP_MS,
        'cpu-throttle-fallback': 'stop-and-copy',
        'cpu-throttle-fallback-downtime': 0, 'cpu-throttle-deadline': 0,
        'multifd-compression': 'none', 'tls-creds': ''})


def _migrate_again(machine: RecordedMachine, dest: RecordedMachine,
                   uri: str) -> Optional[str]:
    _set_up_again(machine)
    dest.qmp('migrate-incoming', uri=uri)
    machine.qmp('migrate', uri=uri)
    end = time.monotonic() + SEQUEL_S
    while True:
        info = machine.qmp('query-migrate')
        if info.get('status') in END_STATUSES:
            break
        if time.monotonic() > end:
            raise Hang(f"the sequel stays '{info.get('status')}'")
        time.sleep(POLL_S)
    if info['status'] != 'completed':
        return f"{info['status']}: {info.get('error-desc', 'no reason given')}"
    if not dest.serial.wait_report(time.time(), REPORT_S):
        return 'the guest is silent at the next destination'
    if machine.run_state() == RUNNING:
        return 'the guest runs on where it came from'
    seen = Seen()
    _verify(dest, seen)
    return None if seen.memory_good else f'memory: {seen.memory}'


def migrate_again(machine: RecordedMachine, dest: RecordedMachine,
                  uri: str) -> Optional[str]:
    """One clean migration of the same guest; None: all is well."""
    try:
        return _migrate_again(machine, dest, uri)
    except BenchError as exc:
        return str(exc)
