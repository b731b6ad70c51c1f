# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""One QEMU with the workload guest in it."""

import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Type

from .errors import BenchError
from .console import SerialPort
from .migrate_info import END_STATUSES

POLL_PERIOD_S = 0.05


def use_qemu_python(directory: str) -> None:
    """Make QEMU's own Python package importable; directory: <tree>/python."""
    if not os.path.isfile(os.path.join(directory, 'qemu', 'qmp',
                                       '__init__.py')):
        raise BenchError(f"no 'qemu' package in {directory}: "
                         "expected <QEMU source tree>/python")
    sys.path.insert(0, os.path.abspath(directory))


@dataclass
class MachineConfig:
    """What source and destination have in common."""
    binary: str
    kernel: str
    memory_mib: int
    append: str                         # keys of the workload guest
    extra: Sequence[str] = field(default_factory=tuple)
    accel: str = 'tcg'                  # of several, QEMU takes the first

    def arguments(self) -> List[str]:
        """The command line without binary, monitor and serial port."""
        return ['-machine', 'pc', '-accel', self.accel, '-cpu', 'qemu64',
                '-m', str(self.memory_mib), '-nodefaults',
                '-kernel', self.kernel, '-append', self.append, *self.extra]


class Machine:
    """A running QEMU; a context manager that leaves no process behind."""

    def __init__(self, config: MachineConfig, directory: str, name: str,
                 wrapper: Sequence[str], incoming: bool = False,
                 serial: Optional[SerialPort] = None):
        # late, because use_qemu_python() says where it is
        # pylint: disable=import-outside-toplevel, import-error
        from qemu.machine import QEMUMachine

        self._log = os.path.join(directory, f'{name}.log')
        self.serial = serial or SerialPort(
            os.path.join(directory, f'{name}.serial'))
        arguments = [*config.arguments(), '-chardev',
                     f'socket,id=serial0,path={self.serial.path}',
                     '-serial', 'chardev:serial0']
        if incoming:
            arguments += ['-incoming', 'defer']
        # a killed bench must not leave QEMUs behind
        guard = ['setpriv', '--pdeathsig', 'KILL', '--']
        if not shutil.which(guard[0]):
            guard = []
        self._vm = QEMUMachine(config.binary, arguments,
                               wrapper=[*wrapper, *guard], name=name,
                               base_temp_dir=directory, log_dir=directory)

    def __enter__(self) -> 'Machine':
        try:
            self._vm.launch()
            self.serial.accept()
        except BaseException as exc:
            self._stop()
            if isinstance(exc, Exception):
                raise BenchError(f'QEMU does not start: {self._why(exc)}'
                                 ) from exc
            raise
        return self

    def __exit__(self, exc_type: Optional[Type[BaseException]],
                 exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self._stop()

    def _stop(self) -> None:
        try:
            self._vm.kill()
        finally:
            self.serial.close()

    def log_text(self) -> str:
        """What QEMU has said by itself so far."""
        try:
            with open(self._log, encoding='utf-8', errors='replace') as log:
                return log.read()
        except OSError:
            return ''

    def _why(self, exc: Exception) -> str:
        """QEMU's own last words, else the exception's."""
        return self.log_text().strip() or str(exc)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return bool(self._vm.is_running())

    @property
    def pid(self) -> int:
        """The process; wrappers become it."""
        pid = self._vm.get_pid()
        if pid is None:
            raise BenchError('QEMU is not running')
        return int(pid)

    def vcpu_threads(self) -> List[int]:
        """Thread ids by CPU index."""
        cpus = sorted(self.qmp('query-cpus-fast'),
                      key=lambda cpu: int(cpu['cpu-index']))
        return [int(cpu['thread-id']) for cpu in cpus]

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Run a QMP command ('_' in names means '-'); raises BenchError."""
        reply = self._vm.qmp(command, args_dict={
            name.replace('_', '-'): value
            for name, value in arguments.items()})
        if 'error' in reply:
            raise BenchError(f"QMP '{command}': {reply['error']['desc']}")
        return reply['return']

    def set_capabilities(self, states: Dict[str, bool]) -> None:
        """Of migration, by name."""
        self.qmp('migrate-set-capabilities', capabilities=[
            {'capability': name, 'state': state}
            for name, state in states.items()])

    def wait_migration_end(self) -> Dict[str, Any]:
        """query-migrate, as soon as that is at an end, whichever."""
        while True:
            info: Dict[str, Any] = self.qmp('query-migrate')
            if info.get('status') in END_STATUSES:
                return info
            time.sleep(POLL_PERIOD_S)

    def events(self) -> List[Dict[str, Any]]:
        """QMP events since the last call."""
        return list(self._vm.get_qmp_events(wait=False))
