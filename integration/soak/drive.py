# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""One migration: both QEMUs, the strike, the end."""

import os
import secrets
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from migbench.errors import BenchError
from migbench.machine import MachineConfig
from migbench.migrate_info import END_STATUSES

from . import endgame, phases, plan as plans
from .faults import HOT_PLUGGED, STRIKES, Stage
from .machines import Crash, Hang, RecordedMachine
from .plan import Plan
from .recipes import BY_ITSELF, CANCELLED, UNIT
from .relay import Relay
from .stacks import stacks_of
from .verdict import RUNNING, Problem, Seen, judge

POLL_S = 0.02                   # until the phase is seen
REACH_S = 25                    # longest wait for the phase
END_POLL_S = 0.1
LINGER_S = 3                    # after the fault, before the operator helps
WAIT_S = 15                     # that long the law may wait for a slow link
HANG_S = 120                    # then, what has to end does not
RECOVER_S = 30
BEFORE_RECOVERY_S = 1
WAITING_REASONS = ('slow-link', 'burst', 'patience')
NUDGE: Dict[str, Any] = {'cpu-throttle-fallback': 'stop-and-copy',
                         'cpu-throttle-fallback-downtime': 100000}
NO_MORE_WAITING = {'cpu-throttle-deadline': 1}
VCPUS_MAX = 4
TLS_KEY_BYTES = 32
HMP_NAMES = ('throttle-trigger-threshold', 'cpu-throttle-initial',
             'cpu-throttle-increment', 'cpu-throttle-tailslow',
             'max-cpu-throttle', 'cpu-throttle-fallback',
             'cpu-throttle-fallback-downtime', 'cpu-throttle-deadline')


@dataclass
class Programs:
    """What is run."""
    qemu: str
    guest: str


@dataclass
class Result:
    """What came of one migration."""
    plan: Plan
    struck: Optional[str] = None            # the phase that was seen then
    seen: Seen = field(default_factory=Seen)
    problems: List[Problem] = field(default_factory=list)
    took_s: float = 0.0


def write_keys(directory: str) -> None:
    """What both ends know, for TLS."""
    with open(os.path.join(directory, 'keys.psk'), 'w',
              encoding='ascii') as keys:
        keys.write(f'qemu:{secrets.token_hex(TLS_KEY_BYTES)}\n')


def machine_config(plan: Plan, programs: Programs,
                   directory: str) -> MachineConfig:
    """The same at all ends; directory: has the keys for TLS."""
    thread = 'single' if plan.single_thread else 'multi'
    extra = ['-smp', f'1,sockets={VCPUS_MAX},cores=1,threads=1,'
             f'maxcpus={VCPUS_MAX}']
    for index in range(1, plan.vcpus):
        name = HOT_PLUGGED if index == 1 else f'vcpu{index}'
        extra += ['-device', f'qemu64-x86_64-cpu,id={name},socket-id={index},'
                  'core-id=0,thread-id=0']
    if plan.feature in plans.WITH_TLS:
        for end in (plans.TLS_CLIENT, plans.TLS_SERVER):
            extra += ['-object', f'tls-creds-psk,id={end},endpoint={end},'
                      f'dir={directory}']
    return MachineConfig(programs.qemu, programs.guest, plan.memory_mib,
                         plan.append, extra, f'tcg,thread={thread}')


class Drive:
    """Runs a plan in a directory of its own."""

    def __init__(self, plan: Plan, programs: Programs, directory: str,
                 keep_all: bool):
        self._plan = plan
        self._keep_all = keep_all
        self._directory = directory
        if plan.feature in plans.WITH_TLS:
            write_keys(directory)
        self._config = machine_config(plan, programs, directory)
        self.machines: List[RecordedMachine] = []
        self.result = Result(plan)

    def execute(self, keep: str) -> Result:
        """All of it. What went wrong is left in the directory keep."""
        began = time.monotonic()
        with ExitStack() as stack:
            try:
                self._run(stack)
            except Hang as exc:
                self.result.seen.hangs.append(str(exc))
            except Crash as exc:
                self.result.seen.crashes.append(str(exc))
            except (BenchError, OSError) as exc:
                self.result.seen.broken.append(f'{type(exc).__name__}: {exc}')
            self._note_deaths()
            self.result.problems = judge(self.result.seen)
            if self.result.problems or self._keep_all:
                self._keep(keep)
        self.result.took_s = time.monotonic() - began
        return self.result

    def start(self, stack: ExitStack, name: str,
              incoming: bool = False) -> RecordedMachine:
        """One more QEMU."""
        machine = RecordedMachine(self._config, self._directory, name,
                                  incoming)
        self.machines.append(machine)
        stack.enter_context(machine)
        return machine

    def _run(self, stack: ExitStack) -> None:
        plan, seen = self._plan, self.result.seen
        relay = stack.enter_context(Relay(
            f'{self._directory}/relay.sock', f'{self._directory}/dest.sock',
            plan.link_mbps * UNIT if plan.relay_limits else None))
        dest = self.start(stack, 'dest', incoming=True)
        source = self.start(stack, 'source')
        source.serial.wait_ready()
        seen.share_before = endgame.measure_share(source)
        endgame.set_rate(source, plan.rate, plan.cpu_pct)
        stage = Stage(plan, source, dest, relay, seen)
        before = self._set_up(stage)
        self._begin(stage)
        self._strike(stage)
        seen.harmless = plan.fault in plans.HARMLESS \
            or self.result.struck is None
        relay.accept()
        helped = self._wait_end(stage)
        if plan.feature == plans.MAPPED_RAM and seen.outcome == 'completed':
            dest.qmp('migrate-incoming', uri=self._file_uri())
        guest = endgame.look(stage)
        if plan.by_hmp and not helped and plan.fault != plans.CHANGE:
            self._check_returned(stage, before)
        if guest:
            endgame.examine(guest, source, seen)
            seen.sequel = endgame.migrate_again(
                guest, self.start(stack, 'sequel', incoming=True),
                f'unix:{self._directory}/sequel.sock')

    def _file_uri(self) -> str:
        return f'file:{self._directory}/guest.state'

    def _uri(self) -> str:
        return self._file_uri() if self._plan.feature == plans.MAPPED_RAM \
            else f'unix:{self._directory}/relay.sock'

    # ---- the beginning ----

    def _set_up(self, stage: Stage) -> Any:
        """What the settings are, for a start by HMP, which gives them back."""
        plan = self._plan
        capabilities = ['events', *plan.capabilities]
        if not plan.by_hmp:
            capabilities.append('auto-converge')
        parameters = {name: value for name, value in plan.parameters.items()
                      if not (plan.by_hmp and name in HMP_NAMES)}
        if plan.feature == plans.POST_COPY:
            parameters['max-postcopy-bandwidth'] = 0
        dest_parameters = dict(plans.PARAMETERS.get(plan.feature, {}))
        if plan.feature in plans.WITH_TLS:
            dest_parameters['tls-creds'] = plans.TLS_SERVER
        for machine, names, values in (
                (stage.source, capabilities, parameters),
                (stage.dest, plan.capabilities, dest_parameters)):
            machine.set_capabilities(dict.fromkeys(names, True))
            if values:
                machine.qmp('migrate-set-parameters', **values)
        if plan.feature != plans.MAPPED_RAM:
            stage.dest.qmp('migrate-incoming',
                           uri=f'unix:{self._directory}/dest.sock')
        return stage.settings()

    def _begin(self, stage: Stage) -> None:
        if self._plan.target == phases.SETUP:
            stage.relay.hold_connections()
        else:
            stage.relay.accept()
        if not self._plan.by_hmp:
            stage.source.qmp('migrate', uri=self._uri())
            return
        values = {name: {True: 'on', False: 'off'}.get(value, value)
                  if isinstance(value, bool) else value
                  for name, value in self._plan.parameters.items()
                  if name in HMP_NAMES}
        pairs = ','.join(f'{name}={value}' for name, value in values.items())
        said = stage.source.qmp('human-monitor-command', command_line=
                                f'migrate -d -t {pairs} {self._uri()}')
        if said:
            self.result.seen.answers.append(f'migrate -d -t: {said.strip()}')

    def _check_returned(self, stage: Stage, before: Any) -> None:
        after = stage.settings()
        for what in ('capabilities', 'parameters'):
            if after[what] != before[what]:
                stage.seen.answers.append(
                    f'migrate -t left other {what} than it found')

    # ---- the strike ----

    def _strike(self, stage: Stage) -> None:
        """
        As long after the phase has begun as was drawn. If another one has come
        by then, it is that one that is struck, and counted.
        """
        plan = self._plan
        if plan.fault == plans.NONE:
            return
        due: Optional[float] = None
        end = time.monotonic() + REACH_S
        while time.monotonic() < end:
            info = stage.source.qmp('query-migrate')
            if info.get('status') in END_STATUSES:
                return
            phase = phases.phase_of(info, stage.source.run_state)
            now = time.monotonic()
            if due is None and phase == plan.target:
                due = now + plan.delay_s
            if phase and due is not None and now >= due \
                    and self._may_strike(stage, phase):
                self.result.struck = phase
                STRIKES[plan.fault](stage)
                return
            if phase == phases.PRE_SWITCHOVER != plan.target:
                # the destination's last word is what the source waits for
                stage.relay.hold_reverse(plan.target == phases.DEVICE)
                self._go_on(stage)
            else:
                time.sleep(POLL_S)

    def _may_strike(self, stage: Stage, phase: str) -> bool:
        """
        Whether the guest can survive it. In post-copy it does not survive a
        lost link until the destination has what it needs to run, see
        docs/upstream-findings.md.
        """
        return self._plan.fault in plans.STRIKES[phase] and (
            phase != phases.POST_COPY or self._plan.fault != plans.CUT
            or stage.dest.run_state() == RUNNING)

    @staticmethod
    def _go_on(stage: Stage) -> None:
        stage.source.refuses('migrate-continue', state='pre-switchover')

    # ---- the end ----

    def _wait_end(self, stage: Stage) -> bool:
        """Wait for it; whether the operator changed parameters for that."""
        began = time.monotonic()
        helped = ''
        stage.relay.hold_reverse(False)
        while True:
            info = stage.source.qmp('query-migrate')
            stage.source.take_events()
            status = info.get('status')
            if status in END_STATUSES:
                break
            waited_s = time.monotonic() - began
            if waited_s > HANG_S:
                raise Hang(f"the migration stays '{status}'")
            if status == 'pre-switchover':
                self._go_on(stage)
            elif status == 'postcopy-paused':
                self._recover(stage)
            elif status == 'active' and not helped:
                helped = self._help(stage, info, waited_s)
            time.sleep(END_POLL_S)
        # 7.2 says so a little before all is done
        time.sleep(END_POLL_S)
        info = stage.source.qmp('query-migrate')
        stage.seen.outcome = info['status']
        stage.seen.error = info.get('error-desc', '')
        return helped == 'nudged'

    def _help(self, stage: Stage, info: Dict[str, Any],
              waited_s: float) -> str:
        """What the operator does about a migration that need not end."""
        auto = info.get('auto-converge', {})
        waits = auto.get('reason') in WAITING_REASONS
        if waited_s < (WAIT_S if waits else LINGER_S):
            return ''
        needs = auto.get('phase') == phases.LET_GO or waits \
            or self._plan.ends != BY_ITSELF \
            or self._plan.fault == plans.CHANGE
        if not needs:
            return ''
        if self._plan.ends == CANCELLED:
            # Once all is sent a cancel leaves two guests, see
            # docs/upstream-findings.md.
            if stage.source.run_state() == 'finish-migrate':
                return ''
            # With a return path it may end as failed, see
            # docs/upstream-findings.md.
            stage.seen.harmless = False
            stage.seen.cancelled = True
            stage.source.refuses('migrate_cancel')
            return 'cancelled'
        stage.source.qmp('migrate-set-parameters', **NUDGE,
                         **(NO_MORE_WAITING if waits else {}))
        return 'nudged'

    def _recover(self, stage: Stage) -> None:
        """Post-copy goes on through a new connection."""
        end = time.monotonic() + RECOVER_S
        while stage.dest.qmp('query-migrate').get('status') \
                != 'postcopy-paused':
            if time.monotonic() > end:
                raise Hang('the destination does not see a lost link')
            time.sleep(END_POLL_S)
        # 7.2 may not survive it at once, see docs/upstream-findings.md
        time.sleep(BEFORE_RECOVERY_S)
        path = f'{self._directory}/recover.sock'
        stage.dest.qmp('migrate-recover', uri=f'unix:{path}')
        stage.relay.dest_path = path
        stage.source.qmp('migrate', uri=self._uri(), resume=True)
        time.sleep(END_POLL_S)

    # ---- what is left behind ----

    def _note_deaths(self) -> None:
        for machine in self.machines:
            if machine.killed:
                self.result.seen.killed_with_guest = any(
                    event['event'] == 'RESUME'
                    for event in machine.take_events())
                continue
            if machine.running:
                continue
            # a destination may exit when its migration fails
            code = machine.exit_code()
            if code is not None and (code <= 0 or machine.name != 'dest'):
                self.result.seen.crashes.append(
                    f'{machine.name} ended with status {code}')

    def _keep(self, keep: str) -> None:
        os.makedirs(keep, exist_ok=True)

        def write(name: str, text: str) -> None:
            with open(os.path.join(keep, name), 'w', encoding='utf-8') as out:
                out.write(text)

        words = ''.join(f'{problem.kind}: {problem.text}\n'
                        for problem in self.result.problems)
        write('plan.txt', self._plan.describe())
        write('problems.txt', words)
        for machine in self.machines:
            machine.take_events()
            if self.result.seen.hangs and machine.running:
                write(f'{machine.name}.stacks', stacks_of(machine.pid))
            elif machine.held_stacks:
                write(f'{machine.name}.stacks', machine.held_stacks)
            write(f'{machine.name}.qmp', '\n'.join(machine.transcript) + '\n')
            write(f'{machine.name}.serial',
                  '\n'.join(machine.recorded.lines) + '\n')
            write(f'{machine.name}.log', machine.log_text())


def drive(plan: Plan, programs: Programs, out: str,
          keep_all: bool = False) -> Result:
    """One migration in a scratch directory with a short name, for sockets."""
    with tempfile.TemporaryDirectory(prefix='auto-converge-') as directory:
        return Drive(plan, programs, directory, keep_all).execute(
            os.path.join(out, str(plan.seed)))
