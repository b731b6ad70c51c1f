# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What is done to a migration. Each is called when its phase has been seen."""

import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Tuple

from migbench.errors import BenchError

from . import phases, plan as plans
from .machines import RecordedMachine
from .plan import Plan
from .recipes import UNIT
from .relay import Relay
from .verdict import Seen

FLOOD_PERIOD_S = 0.005          # 200 queries a second
SLOW_PART = 0.1                 # of what the link carried
PARAMETER_MAX = 2000000         # of what counts ms or s

# One below and one above what each may be.
BAD_PARAMETERS: Tuple[Tuple[str, Any], ...] = (
    ('throttle-trigger-threshold', 0), ('throttle-trigger-threshold', 101),
    ('cpu-throttle-initial', 0), ('cpu-throttle-initial', 100),
    ('cpu-throttle-increment', 0), ('cpu-throttle-increment', 100),
    ('max-cpu-throttle', 0), ('max-cpu-throttle', 100),
    ('cpu-throttle-fallback', 'sometimes'),
    ('cpu-throttle-fallback-downtime', PARAMETER_MAX + 1),
    ('cpu-throttle-deadline', PARAMETER_MAX + 1),
    ('cpu-throttle-deadline', -1), ('downtime-limit', PARAMETER_MAX + 1))
NOWHERE = 'unix:/nonexistent/auto-converge'
HOT_PLUGGED = 'vcpu1'


@dataclass
class Stage:
    """What there is to do something to."""
    plan: Plan
    source: RecordedMachine
    dest: RecordedMachine
    relay: Relay
    seen: Seen

    def still_migrates(self) -> bool:
        """Whether nothing that was refused would be allowed by now."""
        status = self.source.qmp('query-migrate').get('status', 'none')
        return status not in phases.IDLE_STATES

    def must_refuse(self, command: str, **arguments: Any) -> None:
        """Note it when the source does not."""
        if not self.source.refuses(command, **arguments) \
                and self.still_migrates():
            self.seen.answers.append(f'{command} {arguments} was taken')

    def settings(self) -> Mapping[str, Any]:
        """All that may be set."""
        return {'parameters': self.source.qmp('query-migrate-parameters'),
                'capabilities': self.source.qmp('query-migrate-capabilities')}

    def guest_machine(self) -> RecordedMachine:
        """Where the guest is at present."""
        status = self.source.qmp('query-migrate').get('status')
        return self.dest if str(status).startswith('postcopy') \
            or status == 'completed' else self.source


def _unchanged(strike: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """A strike that has to be refused, and to change nothing."""
    def checked(stage: Stage) -> None:
        before = stage.settings()
        strike(stage)
        if stage.settings() != before and stage.still_migrates():
            stage.seen.answers.append('what was refused has changed settings')
    return checked


def _cancel(stage: Stage) -> None:
    stage.seen.cancelled = True
    try:
        stage.source.qmp('migrate_cancel')
    except BenchError:
        pass                            # too late, which it may say


def _stop_cont(stage: Stage) -> None:
    stage.seen.operator_stopped = True
    stage.source.qmp('stop')
    time.sleep(stage.plan.fault_s / 2)
    if stage.source.run_state() == 'paused':
        stage.source.refuses('cont')    # it may be switching over by now


def _reset(stage: Stage) -> None:
    stage.guest_machine().qmp('system_reset')


def _change(stage: Stage) -> None:
    """Each parameter once; then what was planned, so that it can end."""
    names = [name for name, _ in stage.plan.changes]
    before = stage.source.qmp('query-migrate-parameters')
    for name, value in stage.plan.changes:
        if stage.source.refuses('migrate-set-parameters', **{name: value}):
            stage.seen.answers.append(f'{name}={value} was refused')
        time.sleep(stage.plan.fault_s / len(names) / 2)
    # the ceiling first: initial may not be above it
    names.sort(key='max-cpu-throttle'.__ne__)
    for name in names:
        stage.source.qmp('migrate-set-parameters', **{name: before[name]})


@_unchanged
def _bad_parameters(stage: Stage) -> None:
    for name, value in BAD_PARAMETERS:
        stage.must_refuse('migrate-set-parameters', **{name: value})


def _flood(stage: Stage) -> None:
    end = time.monotonic() + plans.FLOOD_S
    while time.monotonic() < end:
        stage.source.qmp('query-migrate')
        time.sleep(FLOOD_PERIOD_S)


@_unchanged
def _second(stage: Stage) -> None:
    stage.must_refuse('migrate', uri=NOWHERE)


@_unchanged
def _hmp(stage: Stage) -> None:
    said = stage.source.qmp(
        'human-monitor-command',
        command_line=f'migrate -d -t max-cpu-throttle=33 {NOWHERE}')
    if not said and stage.still_migrates():
        stage.seen.answers.append('a second migrate -t was taken')


@_unchanged
def _capability(stage: Stage) -> None:
    for name, state in (('auto-converge', False), ('xbzrle', True)):
        stage.must_refuse('migrate-set-capabilities', capabilities=[
            {'capability': name, 'state': state}])


@_unchanged
def _unplug(stage: Stage) -> None:
    stage.must_refuse('device_del', id=HOT_PLUGGED)


def _cut(stage: Stage) -> None:
    if stage.source.qmp('query-migrate').get('status') == 'setup':
        stage.relay.refuse()
    stage.relay.cut()


def _stall(stage: Stage) -> None:
    if stage.source.qmp('query-migrate').get('status') == 'setup':
        time.sleep(stage.plan.fault_s)  # the connection has to wait
    else:
        stage.relay.stall(stage.plan.fault_s)


def _slow(stage: Stage) -> None:
    stage.relay.slow(stage.plan.fault_s,
                     stage.plan.link_mbps * UNIT * SLOW_PART)


STRIKES: Dict[str, Callable[[Stage], None]] = {
    plans.CANCEL: _cancel, plans.STOP_CONT: _stop_cont, plans.RESET: _reset,
    plans.CHANGE: _change, plans.REFUSED: _bad_parameters,
    plans.FLOOD: _flood, plans.SECOND: _second, plans.HMP: _hmp,
    plans.CAPABILITY: _capability, plans.UNPLUG: _unplug,
    plans.KILL: lambda stage: stage.dest.kill_now(),
    plans.FREEZE: lambda stage: stage.dest.freeze(stage.plan.fault_s),
    plans.CUT: _cut, plans.HALF_CLOSE: lambda stage: stage.relay.half_close(),
    plans.SLOW: _slow, plans.STALL: _stall}


def names_without_a_strike() -> List[str]:
    """Faults of the plan that nothing does; for the tests."""
    return [name for name in plans.WHILE_IT_RUNS if name not in STRIKES]
