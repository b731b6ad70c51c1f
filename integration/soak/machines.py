# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""A QEMU whose monitor and serial port are written down."""

import json
import os
import signal
import threading
import time
from typing import Any, Dict, List, Optional

from migbench.console import SerialPort
from migbench.errors import BenchError
from migbench.machine import Machine, MachineConfig
from migbench.migrate import deadline
from migbench.vcpu_monitor import NS, read_schedstats

from .stacks import thread_state

ANSWER_TIMEOUT_S = 30           # a monitor that is silent for longer hangs
EXIT_TIMEOUT_S = 30
POLL_S = 0.05
SHARE_S = 0.5                   # long enough for several periods of a throttle
SHARE_TRIES = 8
FREE_SHARE = 0.9                # what a vCPU that nothing holds back reaches


class Hang(Exception):
    """Something that has to happen does not."""


class Crash(Exception):
    """A QEMU that nobody killed is gone."""


class RecordedSerial(SerialPort):
    """Keeps every line."""

    def __init__(self, path: str):
        self.lines: List[str] = []
        super().__init__(path)

    def _take(self, line: str, now: float) -> None:
        self.lines.append(f'{now:.3f} {line}')
        super()._take(line, now)


class RecordedMachine(Machine):
    """Keeps every command and reply; silence is a Hang, death a Crash."""

    def __init__(self, config: MachineConfig, directory: str, name: str,
                 incoming: bool = False):
        self.name = name
        self.killed = False
        self.transcript: List[str] = []
        self.held_stacks = ''       # when a vCPU did not get what it wanted
        self.looks: List[str] = []  # what busy_share() saw, for people
        self.recorded = RecordedSerial(os.path.join(directory,
                                                    f'{name}.serial'))
        super().__init__(config, directory, name, (), incoming, self.recorded)

    def _note(self, mark: str, what: Any) -> None:
        self.transcript.append(f'{time.time():.3f} {mark} {json.dumps(what)}')

    def qmp(self, command: str, **arguments: Any) -> Any:
        """As in Machine."""
        self._note('>', {command: arguments} if arguments else command)
        try:
            with deadline(ANSWER_TIMEOUT_S,
                          f"{self.name}, '{command}': no answer", Hang):
                reply = super().qmp(command, **arguments)
        except BenchError as exc:
            self._note('<', {'error': str(exc)})
            raise
        except Hang:
            self._note('<', 'no answer')
            raise
        except Exception as exc:        # of QEMU's package: it has many
            self._note('<', {'gone': repr(exc)})
            raise Crash(f"{self.name}, '{command}': {exc!r}") from exc
        self._note('<', reply)
        return reply

    def refuses(self, command: str, **arguments: Any) -> bool:
        """Whether a command is answered by an error."""
        try:
            self.qmp(command, **arguments)
        except BenchError:
            return True
        return False

    def take_events(self) -> List[Dict[str, Any]]:
        """Events since the last call, noted down."""
        try:
            events = self.events()
        # pylint: disable-next=broad-exception-caught
        except Exception as exc:        # the connection is gone, and they
            self._note('!', repr(exc))
            return []
        for event in events:
            self._note('!', event)
        return events

    def run_state(self) -> str:
        """query-status, in a word."""
        return str(self.qmp('query-status')['status'])

    def run_state_or_gone(self) -> Optional[str]:
        """None: the process is gone, or is going."""
        if not self.running:
            return None
        try:
            return self.run_state()
        except Crash:
            end = time.monotonic() + EXIT_TIMEOUT_S
            while self.running:
                if time.monotonic() > end:
                    raise Hang(f'{self.name} closed its monitor, and stays') \
                        from None
                time.sleep(POLL_S)
            return None

    def exit_code(self) -> Optional[int]:
        """Of the process; below 0 the signal that ended it."""
        code: Optional[int] = self._vm.exitcode()
        return code

    def freeze(self, seconds: float) -> None:
        """Stop the process, and let it go on by itself after a time."""
        os.kill(self.pid, signal.SIGSTOP)
        timer = threading.Timer(seconds, self._thaw)
        timer.daemon = True
        timer.start()

    def _thaw(self) -> None:
        try:
            os.kill(self.pid, signal.SIGCONT)
        except (BenchError, ProcessLookupError):
            pass                        # it was killed meanwhile

    def kill_now(self) -> None:
        """Take it away."""
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)
        end = time.monotonic() + EXIT_TIMEOUT_S
        while self.running and time.monotonic() < end:
            time.sleep(POLL_S)

    def busy_share(self) -> float:
        """
        What each vCPU executes of the time that the host leaves to it, at its
        best of a few looks: the least of these. The guest has to have work
        without end.
        """
        threads = sorted(set(self.vcpu_threads()))
        best = [0.0] * len(threads)
        self.looks.clear()
        for _ in range(SHARE_TRIES):
            before = read_schedstats(self.pid, threads)
            time.sleep(SHARE_S)
            after = read_schedstats(self.pid, threads)
            for i, (old, new) in enumerate(zip(before, after)):
                run_s = (new.run_ns - old.run_ns) / NS
                wait_s = (new.wait_ns - old.wait_ns) / NS
                mine_s = max(new.time - old.time - wait_s, run_s)
                self.looks.append(
                    f'vCPU thread {threads[i]}: ran {run_s * 1000:.0f} and '
                    f'waited {wait_s * 1000:.0f} of '
                    f'{(new.time - old.time) * 1000:.0f} ms, now '
                    f'{thread_state(self.pid, threads[i])}')
                if mine_s > 0:          # else all that it did was to wait
                    best[i] = max(best[i], run_s / mine_s)
            if min(best) >= FREE_SHARE:
                break
        return min(best)
