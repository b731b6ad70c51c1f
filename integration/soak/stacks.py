# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Where the threads of a process that hangs stand."""

import shutil
import subprocess

GDB_TIMEOUT_S = 60
COMMANDS = ('handle SIGUSR1 nostop noprint pass', 'thread apply all bt',
            'detach')


def stacks_of(pid: int) -> str:
    """What gdb says; the process goes on afterwards."""
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
