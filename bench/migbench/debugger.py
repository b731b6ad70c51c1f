# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Command the throttle of a running QEMU, without a migration.

No monitor command does that, so gdb calls QEMU's function: where the handler
of query-status begins, in the main loop with the BQL held, as the migration
would. It is attached for some hundredths of a second.
"""

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import List, Optional

from .errors import BenchError
from .machine import Machine

WHERE = 'qmp_query_status'      # runs in the main loop, has the BQL
WAITING = 'debugger waits'
ATTACH_TIMEOUT_S = 30
CALL_TIMEOUT_S = 30

# symbols of the program alone: what reads more, stops QEMU longer
GDB = ('gdb', '-batch', '-nx', '-readnever', '-iex', 'set auto-load off',
       '-iex', 'set auto-solib-add off')
FAILURES = ('ptrace: .*', '.*[Nn]o such process.*', 'No symbol .*',
            'Function ".*" not defined.*', 'The program is not being run.*',
            'Cannot access memory.*', 'Could not attach.*')


@dataclass(frozen=True)
class Throttle:
    """Functions of QEMU that drive the throttle, and the unit they take."""
    set_function: str
    get_function: str
    per_percent: int

    def knows(self, throttle_pct: float) -> bool:
        """Whether it can be commanded to this."""
        units = throttle_pct * self.per_percent
        return abs(units - round(units)) < 1e-6

    def set_commands(self, throttle_pct: float) -> List[str]:
        """gdb's, to set the throttle, and to print what it is then."""
        if not throttle_pct:        # cpu_throttle_set(0) means 1 %
            change = call_commands('cpu_throttle_stop')
        else:
            change = call_commands(self.set_function,
                                   round(throttle_pct * self.per_percent))
        return [*change, *call_commands(self.get_function)]


def call_commands(function: str, argument: int = 0) -> List[str]:
    """
    gdb's, to call a function of QEMU from the beginning of another one, and to
    print what it returns.
    """
    if platform.machine() != 'x86_64':
        return [f'print ((int (*)(int)) {function})({argument})']
    # gdb's own calls restore all registers, and gdb before 14 cannot write
    # those of AMX. So this takes the registers that a call is made with, and
    # returns to the breakpoint where it began; the stack stays aligned.
    return ['set $stack = $rsp', 'set $first = $rdi',
            'set var *(long *) ($rsp - 16) = (long) $pc',
            'set $rsp = $rsp - 16', f'set $rdi = {argument}',
            f'set $pc = (long) &{function}', 'continue', 'print (int) $rax',
            'set $rsp = $stack', 'set $rdi = $first']


STOCK = Throttle('cpu_throttle_set', 'cpu_throttle_get_percentage', 1)
FINE = Throttle('cpu_throttle_set_permille', 'cpu_throttle_get_permille', 10)


def failure_of(output: str) -> Optional[str]:
    """What gdb objects to; None: nothing."""
    match = re.search('^(' + '|'.join(FAILURES) + ')$', output, re.MULTILINE)
    return match[1] if match else None


def value_of(output: str) -> Optional[int]:
    """The last value that gdb printed."""
    values = re.findall(r'^\$\d+ = (-?\d+)$', output, re.MULTILINE)
    return int(values[-1]) if values else None


def find_throttle(binary: str) -> Throttle:
    """How this QEMU is commanded."""
    if not shutil.which('gdb'):
        raise BenchError('gdb is missing (Debian: gdb)')
    for throttle in (FINE, STOCK):
        done = subprocess.run(
            [*GDB, '-ex', f'info address {throttle.set_function}', binary],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False)
        if 'Symbol "' in done.stdout:
            return throttle
    raise BenchError(f'{binary} has no symbol {STOCK.set_function}: '
                     'stripped, or no QEMU')


def gdb_command(binary: str, pid: int, calls: List[str]) -> List[str]:
    """Attach, wait for the monitor command, call, go."""
    commands = ['set confirm off', 'set width 0',
                'handle all nostop noprint pass', f'attach {pid}',
                f'break *{WHERE}', f'echo {WAITING}\\n', 'continue',
                *calls,
                'detach']
    words = [*GDB]
    for command in commands:
        words += ['-ex', command]
    return [*words, binary]


def _wait_attached(gdb: 'subprocess.Popen[str]') -> str:
    """gdb's output until it waits; raises BenchError when it never will."""
    assert gdb.stdout
    output = ''
    for line in gdb.stdout:
        output += line
        if failure_of(output):
            break
        if line.strip() == WAITING:
            return output
    raise BenchError('gdb cannot attach to QEMU: '
                     f'{failure_of(output) or output.strip()} (it takes root, '
                     'or CAP_SYS_PTRACE and kernel.yama.ptrace_scope=0)')


def set_throttle(machine: Machine, binary: str, throttle: Throttle,
                 throttle_pct: float) -> None:
    """Set the throttle; 0 ends it. gdb is gone on return."""
    command = gdb_command(binary, machine.pid,
                          throttle.set_commands(throttle_pct))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as gdb:
        try:
            output = _wait_attached(gdb)
            machine.qmp('query-status')
            output += gdb.communicate(timeout=CALL_TIMEOUT_S)[0]
        except subprocess.TimeoutExpired as exc:
            raise BenchError('gdb does not come back from QEMU') from exc
        finally:
            gdb.kill()
    got = value_of(output)
    if got != round(throttle_pct * throttle.per_percent):
        raise BenchError(f'gdb could not set a throttle of {throttle_pct} %: '
                         f'{failure_of(output) or output.strip()}')
