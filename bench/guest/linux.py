# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""One QEMU with the Linux guest in it."""

import os
import shlex
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Deque, Optional, Sequence

from migbench.errors import BenchError
from migbench.link import UNLIMITED_BPS
from migbench.machine import Machine, MachineConfig
from migbench.console import SerialPort

from .shared import PAGE_AT, SHARED_BYTES, SharedPages

SHARED_MEMORY = '/dev/shm'      # a file on a disk would be written back
BOOT_TIMEOUT_S = 300.0          # some seconds on an idle host
STATE_TIMEOUT_S = 60.0          # to save or load a state
POLL_S = 0.05
LAST_WORDS = 5                  # lines of the console that an error shows


class Console(SerialPort):
    """What the guest prints."""

    def __init__(self, path: str):
        super().__init__(path)
        self.last: Deque[str] = deque(maxlen=LAST_WORDS)

    def _take(self, line: str, now: float) -> None:
        self.last.append(line.strip())


def pin(threads: Sequence[int]) -> None:
    """Each to a host CPU of its own, as libvirt's vcpupin does."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(threads) > len(cpus):
        raise BenchError(f'{len(threads)} vCPUs cannot be pinned to '
                         f'{len(cpus)} CPUs of the host')
    for thread, cpu in zip(threads, cpus):
        os.sched_setaffinity(thread, {cpu})


@dataclass
class GuestConfig:
    """A guest, whatever QEMU runs it."""
    image: str                      # directory with vmlinuz and initrd.img
    load: str                       # guest/probe.c
    vcpus: int
    keys: str = ''                  # more of the probe's
    memory_mib: int = 512
    pinned: bool = False            # each vCPU has a host CPU of its own

    def machine(self, binary: str, ram: str) -> MachineConfig:
        """The machine, its RAM in this file."""
        append = (f'console=ttyS0 quiet nokaslr panic=-1 tsc=reliable '
                  f'memmap={SHARED_BYTES // 1024}K${PAGE_AT:#x} '
                  f'probe.page={PAGE_AT:#x} probe.load={self.load} '
                  f'{self.keys}')
        size = f'{self.memory_mib}M'
        return MachineConfig(
            binary, os.path.join(self.image, 'vmlinuz'), self.memory_mib,
            append,
            ('-initrd', os.path.join(self.image, 'initrd.img'), '-no-reboot',
             '-smp', str(self.vcpus), '-object',
             f'memory-backend-file,id=ram,mem-path={ram},share=on,size={size}',
             '-machine', 'memory-backend=ram'))


class LinuxGuest:
    """
    A QEMU with the guest, and what it counts; a context manager. The directory
    has to be in memory, and holds the guest's RAM.
    """

    def __init__(self, binary: str, config: GuestConfig, directory: str,
                 name: str, wrapper: Sequence[str] = (),
                 incoming: bool = False):
        self.ram = os.path.join(directory, f'{name}.ram')
        self.console = Console(os.path.join(directory, f'{name}.serial'))
        self.machine = Machine(config.machine(binary, self.ram), directory,
                               name, wrapper, incoming, self.console)
        self._name = name
        self._pinned = config.pinned
        self._stack = ExitStack()

    def __enter__(self) -> 'LinuxGuest':
        try:
            self._stack.callback(self._remove_ram)
            self._stack.enter_context(self.machine)
            self.pages = self._stack.enter_context(SharedPages(self.ram))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        self._stack.close()

    def _remove_ram(self) -> None:
        if os.path.exists(self.ram):
            os.unlink(self.ram)

    def _fail(self, what: str) -> BenchError:
        said = '; '.join(self.console.last)
        return BenchError(f'{self._name}: {what}'
                          + (f'; it said: {said}' if said else ''))

    def check(self) -> None:
        """Raises BenchError when QEMU is gone, as after a guest's panic."""
        if not self.machine.running:
            raise self._fail('the guest has ended')

    def wait_ready(self) -> None:
        """Returns when the load has begun."""
        end = time.monotonic() + BOOT_TIMEOUT_S
        while not self.pages.ready:
            self.check()
            if time.monotonic() > end:
                raise self._fail('the load did not begin within '
                                 f'{BOOT_TIMEOUT_S:g} s')
            time.sleep(POLL_S)

    def _wait_migrated(self) -> None:
        end = time.monotonic() + STATE_TIMEOUT_S
        status: Optional[str] = None
        while status != 'completed':
            self.check()
            reply = self.machine.qmp('query-migrate')
            status = reply.get('status')
            if status == 'failed' or time.monotonic() > end:
                raise self._fail('its state cannot be saved or loaded: '
                                 f"{reply.get('error-desc', status)}")
            time.sleep(POLL_S)

    def save(self, path: str) -> None:
        """Stop, and write the whole state to a file."""
        self.machine.qmp('stop')
        self.machine.qmp('migrate-set-parameters',
                         max_bandwidth=UNLIMITED_BPS)
        self.machine.qmp('migrate', uri=f'exec:cat > {shlex.quote(path)}')
        self._wait_migrated()

    def load(self, path: str) -> None:
        """Go on with what was saved; of a QEMU that waits for it."""
        self.machine.qmp('migrate-incoming',
                         uri=f'exec:cat {shlex.quote(path)}')
        self._wait_migrated()
        if self._pinned:
            pin(self.machine.vcpu_threads())
        self.machine.qmp('cont')


class SavedGuests:
    """
    Guests that were booted once, and had their load begin: each measurement
    starts from this same state, on any QEMU of a release. A directory in
    memory holds the states.
    """

    def __init__(self, binary: str, directory: str):
        self._binary = binary           # which boots them
        self._directory = directory

    def path(self, config: GuestConfig) -> str:
        """The state, which is made when it is wanted first."""
        words = f'{config.load}-{config.vcpus}-{config.keys}'.split()
        path = os.path.join(self._directory, '-'.join(words) + '.state')
        if not os.path.exists(path):
            with LinuxGuest(self._binary, config, self._directory,
                            'boot') as guest:
                guest.wait_ready()
                guest.save(path)
        return path
