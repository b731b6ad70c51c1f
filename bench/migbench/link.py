# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
A migration link of a known rate.

As root it is real: two network namespaces, a veth pair between them, a token
bucket (tbf) at the sender. Everything that the source sends meets that limit,
also after the switchover, when QEMU lifts its own.

Without root it is QEMU's max-bandwidth on a unix socket, which holds for the
passes alone: the stop at the end is then shorter than on a link.
"""

import os
import re
import shutil
import subprocess
from types import TracebackType
from typing import List, Optional, Sequence, Type

from .errors import BenchError

NAME_PREFIX = 'acb'             # acb<pid>s, acb<pid>d: names of namespaces
SOURCE_ADDRESS = '192.0.2.1'    # TEST-NET-1: means nothing outside
DEST_ADDRESS = '192.0.2.2'
MIGRATION_PORT = 4444
VETH_MTU_BYTES = 65000          # headers are then 0.1 % of the traffic
BURST_BYTES = 256 * 1024        # more than a packet, 2.6 ms at 100 MB/s
QUEUE_LATENCY_MS = 20           # most that waits in the qdisc
UNLIMITED_BPS = 10 ** 12        # max-bandwidth when the link is the limit

_SEND = """
import socket, sys, time
address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chunk = bytes(1 << 16)
with socket.create_connection((address, port), 5) as s:
    left = size
    while left > 0:
        s.sendall(chunk[:min(left, len(chunk))])
        left -= len(chunk)
    s.shutdown(socket.SHUT_WR)
    s.recv(1)
"""

_RECEIVE = """
import socket, sys, time
address, port = sys.argv[1], int(sys.argv[2])
with socket.create_server((address, port)) as server:
    server.settimeout(5)
    print('listening', flush=True)
    s, _ = server.accept()
    with s:
        total, start = 0, None
        while True:
            data = s.recv(1 << 20)
            if not data:
                break
            if start is None:
                start = time.monotonic()
            else:
                total += len(data)
        took = time.monotonic() - start
print(total / took, flush=True)
"""


def _run(*command: str) -> None:
    """Run a command of iproute2; its words become the error."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False,
                          capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"'{' '.join(command)}' failed: "
                         f"{done.stderr.strip() or done.returncode}")


def _remove_stale() -> None:
    """Remove namespaces of runs whose process is gone."""
    try:
        names = os.listdir('/run/netns')
    except FileNotFoundError:
        return
    for name in names:
        match = re.fullmatch(NAME_PREFIX + r'(\d+)[sd]', name)
        if match and not os.path.exists(f'/proc/{match[1]}'):
            subprocess.run(('ip', 'netns', 'del', name), check=False,
                           capture_output=True)


class Link:
    """A link of rate_mbps (10^6 bytes/s); use as a context manager."""

    real = False
    limit = "max-bandwidth"

    def __init__(self, rate_mbps: int, reason: str):
        self.rate_mbps = rate_mbps
        self._reason = reason       # why it is not a real one

    def __enter__(self) -> 'Link':
        return self

    def __exit__(self, exc_type: Optional[Type[BaseException]],
                 exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        pass

    def source_wrapper(self) -> List[str]:
        """Command prefix that puts a program to the source's end."""
        return []

    def dest_wrapper(self) -> List[str]:
        """Command prefix that puts a program to the destination's end."""
        return []

    def uri(self, directory: str) -> str:
        """Where the destination listens; directory: for a socket."""
        return f'unix:{directory}/migration.sock'

    def max_bandwidth_bps(self) -> int:
        """QEMU's own limit for this link, bytes/s."""
        return self.rate_mbps * 10 ** 6

    def measure_mbps(self) -> Optional[float]:
        """What the link really carries, 10^6 bytes/s; None: not known."""
        return None

    def describe(self) -> str:
        """One line for the user."""
        return (f'{self.rate_mbps} MB/s by max-bandwidth, which does not limit '
                f'the final stop; no real link: {self._reason}')


class NamespaceLink(Link):
    """Two network namespaces, veth, tbf: needs root."""

    real = True
    limit = "namespaces"

    def __init__(self, rate_mbps: int):
        super().__init__(rate_mbps, '')
        self._source = f'{NAME_PREFIX}{os.getpid()}s'
        self._dest = f'{NAME_PREFIX}{os.getpid()}d'
        self._made: List[str] = []

    def __enter__(self) -> 'Link':
        _remove_stale()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, exc_type: Optional[Type[BaseException]],
                 exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self._remove()

    def _make(self) -> None:
        for name in (self._source, self._dest):
            self._made.append(name)
            _run('ip', 'netns', 'add', name)
        # born inside the namespaces: the host's own never sees them
        _run('ip', 'link', 'add', 'link0', 'netns', self._source,
             'mtu', str(VETH_MTU_BYTES), 'type', 'veth',
             'peer', 'name', 'link0', 'netns', self._dest,
             'mtu', str(VETH_MTU_BYTES))
        for name, address in ((self._source, SOURCE_ADDRESS),
                              (self._dest, DEST_ADDRESS)):
            _run('ip', '-n', name, 'addr', 'add', f'{address}/24',
                 'dev', 'link0')
            _run('ip', '-n', name, 'link', 'set', 'lo', 'up')
            _run('ip', '-n', name, 'link', 'set', 'link0', 'up')
        _run('tc', '-n', self._source, 'qdisc', 'add', 'dev', 'link0', 'root',
             'tbf', 'rate', f'{self.rate_mbps * 8}mbit',
             'burst', str(BURST_BYTES), 'latency', f'{QUEUE_LATENCY_MS}ms')

    def _remove(self) -> None:
        """Delete the namespaces; the veth pair goes with them."""
        while self._made:
            subprocess.run(('ip', 'netns', 'del', self._made.pop()),
                           check=False, capture_output=True)

    def source_wrapper(self) -> List[str]:
        return ['ip', 'netns', 'exec', self._source]

    def dest_wrapper(self) -> List[str]:
        return ['ip', 'netns', 'exec', self._dest]

    def uri(self, directory: str) -> str:
        return f'tcp:{DEST_ADDRESS}:{MIGRATION_PORT}'

    def max_bandwidth_bps(self) -> int:
        return UNLIMITED_BPS

    def measure_mbps(self) -> Optional[float]:
        size = self.rate_mbps * 10 ** 6 // 2
        where = (DEST_ADDRESS, str(MIGRATION_PORT))
        python: Sequence[str] = ('python3', '-I', '-c')
        receive = [*self.dest_wrapper(), *python, _RECEIVE, *where]
        with subprocess.Popen(receive, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True) as receiver:
            try:
                assert receiver.stdout
                receiver.stdout.readline()
                subprocess.run([*self.source_wrapper(), *python, _SEND, *where,
                                str(size)], check=True, timeout=30)
                return float(receiver.stdout.readline()) / 10 ** 6
            except (subprocess.SubprocessError, ValueError) as exc:
                raise BenchError(f'the link carries nothing: {exc}') from exc
            finally:
                receiver.kill()

    def describe(self) -> str:
        return f'{self.rate_mbps} MB/s (network namespaces, veth, tbf)'


def why_no_namespaces() -> str:
    """Why this user and machine cannot have a real link; empty: they can."""
    if os.geteuid():
        return 'not root'
    missing = [tool for tool in ('ip', 'tc') if not shutil.which(tool)]
    if missing:
        return f"{' and '.join(missing)} missing (Debian: iproute2)"
    try:
        with NamespaceLink(100):
            return ''
    except BenchError as exc:
        return str(exc)


def make_link(rate_mbps: int, reason: str) -> Link:
    """
    A link of 10^6 bytes/s: a real one, or, where there is a reason why not,
    max-bandwidth.
    """
    if not reason:
        return NamespaceLink(rate_mbps)
    return Link(rate_mbps, reason)
