# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Where the threads of a process that hangs stand."""

import os
import shutil
import subprocess

GDB_TIMEOUT_S = 60
COMMANDS = ('handle SIGUSR1 nostop noprint pass', 'thread apply all bt',
            'detach')


def _told(pid: int, task: int, name: str) -> str:
    """What the kernel says of a thread in the file of that name."""
    with open(f'/proc/{pid}/task/{task}/{name}', encoding='utf-8') as file:
        return file.read().strip()


def thread_state(pid: int, thread: int) -> str:
    """
    R: it runs, or waits for the host, which schedstat counts only when it is
    over; S: it sleeps; and so on. ?: it is gone.
    """
    try:
        return _told(pid, thread, 'stat').rpartition(')')[2].split()[0]
    except OSError:
        return '?'


def _of_kernel(pid: int) -> str:
    """What each thread does or waits for there."""
    lines = []
    for task in sorted(int(name) for name in os.listdir(f'/proc/{pid}/task')):
        lines.append(f'thread {task}')
        for name in ('comm', 'stat', 'schedstat', 'wchan', 'syscall', 'stack'):
            try:
                lines.append(f'  {name}: {_told(pid, task, name)}')
            except OSError as exc:
                lines.append(f'  {name}: {exc.strerror}')
    return '\n'.join(lines) + '\n'


def stacks_of(pid: int) -> str:
    """
    What the kernel says, and then gdb, which wakes who sleeps; the process goes
    on afterwards.
    """
    return _of_kernel(pid) + _of_gdb(pid)


def _of_gdb(pid: int) -> str:
    gdb = shutil.which('gdb')
    if not gdb:
        return 'There is no gdb.\n'
    command = [gdb, '-batch', '-p', str(pid)]
    for line in COMMANDS:
        command += ['-ex', line]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True,
                              timeout=GDB_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f'gdb did not end within {GDB_TIMEOUT_S} s.\n'
    return done.stdout
