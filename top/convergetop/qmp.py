# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
A QMP monitor on a socket: lines of JSON, a greeting first, then a reply to each
command, and events in between. No library of Debian's speaks it, and QEMU's own
package is not on a host that only runs QEMU.
"""

import json
import os
import socket
import time
from typing import Any, Dict, Optional, Tuple, Union

from .errors import UserError, Vanished
from .model import END_STATUSES, part, text

CONNECT_TIMEOUT_S = 5
GREETING_TIMEOUT_S = 5          # a monitor that is free greets at once
CHUNK_BYTES = 1 << 16
LINE_MAX_BYTES = 1 << 24        # far longer than any reply
PORT_MAX = 65535
SECOND_MONITOR = (
    'A monitor serves one client at a time: start QEMU with one more for this '
    'program, -qmp unix:PATH,server=on,wait=off, or, where libvirt runs the '
    'guest, use --domain NAME.')

Address = Union[str, Tuple[str, int]]


def parse_address(where: str) -> Address:
    """The path of a unix socket, or HOST:PORT."""
    host, colon, port = where.rpartition(':')
    if '/' in where or os.path.exists(where) or not colon:
        return where
    if not port.isdecimal() or not 1 <= int(port) <= PORT_MAX or not host:
        raise UserError(f"--qmp: '{where}' is neither the path of a socket nor "
                        f'HOST:PORT with a port of 1 to {PORT_MAX}')
    return host.strip('[]'), int(port)


class QmpMonitor:
    """
    A client that waits for nothing longer than it was told to. A command whose
    reply did not come in time is still asked: the next ask() waits for it.
    """

    def __init__(self, where: str):
        self._where = where
        self._buffer = b''
        self._pending: Optional[Dict[str, Any]] = None
        self._number = 0
        self._ended_as = ''
        self._socket = self._connect(parse_address(where))
        try:
            self._greet()
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, address: Address) -> socket.socket:
        try:
            if isinstance(address, tuple):
                return socket.create_connection(address, CONNECT_TIMEOUT_S)
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(CONNECT_TIMEOUT_S)
            try:
                connection.connect(address)
            except BaseException:
                connection.close()
                raise
            return connection
        except (socket.timeout, BlockingIOError) as exc:
            raise UserError(f'{self._where}: the monitor takes no further '
                            f'client. {SECOND_MONITOR}') from exc
        except PermissionError as exc:
            raise UserError(f'{self._where}: permission denied. Run this as '
                            'root, or as the user that QEMU runs as.') from exc
        except ConnectionRefusedError as exc:
            raise UserError(f'{self._where}: connection refused. That QEMU has '
                            'ended, or serves another client at a monitor '
                            f'that listens no more. {SECOND_MONITOR}'
                            ) from exc
        except OSError as exc:
            raise UserError(f'{self._where}: {exc.strerror or exc}. It has to '
                            "be the socket of QEMU's option -qmp.") from exc

    def _greet(self) -> None:
        """Until commands are taken."""
        try:
            self._negotiate()
        except Vanished as exc:
            raise UserError(f'{self._where}: the monitor hung up. '
                            f'{SECOND_MONITOR}') from exc

    def _negotiate(self) -> None:
        line = self._line(time.monotonic() + GREETING_TIMEOUT_S)
        if line is None:
            raise UserError(
                f'{self._where}: no greeting within {GREETING_TIMEOUT_S} s, so '
                'another client has this monitor, or QEMU is busy. '
                f'{SECOND_MONITOR}')
        if 'QMP' not in line:
            raise UserError(f'{self._where}: this is no QMP monitor')
        reply = self.ask('qmp_capabilities', GREETING_TIMEOUT_S)
        if reply is None:
            raise UserError(f'{self._where}: the monitor does not answer')

    def ask(self, command: str, timeout_s: float) -> Optional[Dict[str, Any]]:
        """The reply to a query; None: not yet, ask for the same once more."""
        if self._pending is None:
            self._number += 1
            self._pending = {'execute': command, 'id': self._number}
            try:
                self._socket.settimeout(CONNECT_TIMEOUT_S)
                self._socket.sendall(json.dumps(self._pending).encode()
                                     + b'\n')
            except OSError as exc:
                self._drain()
                raise Vanished(f'{self._where}: {exc}', self._ended_as
                               ) from exc
        deadline = time.monotonic() + timeout_s
        while True:
            line = self._line(deadline)
            if line is None:
                return None
            if line.get('id') == self._number and \
                    ('return' in line or 'error' in line):
                break
            self._event(line)
        self._pending = None
        if 'error' in line:
            said = text(part(line, 'error'), 'desc')
            raise UserError(f"{self._where}: '{command}': {said}")
        return dict(part(line, 'return'))

    def _event(self, line: Dict[str, Any]) -> None:
        """With the capability 'events' QEMU tells the end before it goes."""
        status = text(part(line, 'data'), 'status')
        if line.get('event') == 'MIGRATION' and status:
            self._ended_as = status if status in END_STATUSES else ''

    def _drain(self) -> None:
        """Take what QEMU said before it went."""
        try:
            while True:
                line = self._line(time.monotonic())
                if line is None:
                    return
                self._event(line)
        except (Vanished, UserError):
            return

    def _line(self, deadline: float) -> Optional[Dict[str, Any]]:
        """The next line; None: not in time."""
        while b'\n' not in self._buffer:
            # never 0, which would be another kind of socket
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                chunk = self._socket.recv(CHUNK_BYTES)
            except socket.timeout:
                return None
            except OSError as exc:
                raise Vanished(f'{self._where}: {exc}', self._ended_as
                               ) from exc
            if not chunk:
                raise Vanished(f'{self._where}: QEMU closed the monitor',
                               self._ended_as)
            self._buffer += chunk
            if len(self._buffer) > LINE_MAX_BYTES:
                raise UserError(f'{self._where}: this is no QMP monitor')
        line, self._buffer = self._buffer.split(b'\n', 1)
        return self._parse(line)

    def _parse(self, line: bytes) -> Dict[str, Any]:
        try:
            value = json.loads(line)
        except ValueError as exc:
            kind = 'the human monitor: name that of -qmp' \
                if line.startswith(b'QEMU ') else 'no QMP monitor'
            raise UserError(f'{self._where}: this is {kind}') from exc
        if not isinstance(value, dict):
            raise UserError(f'{self._where}: this is no QMP monitor')
        return value

    def close(self) -> None:
        """Leave the monitor to the next client."""
        self._socket.close()
