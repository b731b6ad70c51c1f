# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The QMP monitor of a libvirt domain, by virsh."""

import json
import os
import shutil
import subprocess
from typing import Any, Dict, List, Optional

from .errors import UserError, Vanished
from .model import part, text

# what virsh says of a domain that has left this host
GONE = ('domain is not running', 'failed to get domain', 'Domain not found',
        'no domain with matching')
# ... and of one that has something else to do for a moment
BUSY = 'cannot acquire state change lock'
MIGRATED = 'shut off (migrated)'
STATE_TIMEOUT_S = 10            # for a daemon that does not answer
MISSING = 'virsh is missing (Debian: libvirt-clients)'


class VirshMonitor:
    """
    One virsh for each query. One that is slow goes on, and the next ask() waits
    for it.
    """

    def __init__(self, domain: str, connect: Optional[str] = None):
        if not shutil.which('virsh'):
            raise UserError(MISSING)
        self._domain = domain
        self._program = ['virsh', '-q']
        if connect:
            self._program += ['-c', connect]
        self._running: Optional[subprocess.Popen[str]] = None
        self._answered = False
        # virsh's words are looked at
        self._environment = {**os.environ, 'LC_ALL': 'C'}

    def _arguments(self, command: str) -> List[str]:
        query = json.dumps({'execute': command})
        return [*self._program, 'qemu-monitor-command', '--domain',
                self._domain, '--cmd', query]

    def ask(self, command: str, timeout_s: float) -> Optional[Dict[str, Any]]:
        """The reply to a query; None: not yet, ask for the same once more."""
        if self._running is None:
            self._running = subprocess.Popen(
                self._arguments(command), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env=self._environment)
        try:
            output, errors = self._running.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return None
        failed, self._running = self._running.returncode, None
        if failed:
            self._refuse(errors.strip().removeprefix('error: '))
            return None
        return self._understand(output)

    def _refuse(self, said: str) -> None:
        """Gone, wrong from the start, or busy: then it is asked again."""
        if not self._answered and BUSY not in said:
            raise UserError(f"domain '{self._domain}': {said}")
        if any(words in said for words in GONE):
            raise Vanished(f"domain '{self._domain}': {said}", self._ended_as())

    def _understand(self, output: str) -> Dict[str, Any]:
        try:
            reply = json.loads(output)
        except ValueError as exc:
            raise UserError(f"domain '{self._domain}': virsh says: "
                            f'{output.strip()}') from exc
        if 'error' in reply:
            raise UserError(f"domain '{self._domain}': "
                            f"{text(part(reply, 'error'), 'desc')}")
        self._answered = True
        return dict(part(reply, 'return'))

    def _ended_as(self) -> str:
        """libvirt remembers why a domain that it still knows was shut off."""
        try:
            done = subprocess.run(
                [*self._program, 'domstate', '--reason', '--domain',
                 self._domain], stdin=subprocess.DEVNULL, capture_output=True,
                text=True, check=False, timeout=STATE_TIMEOUT_S,
                env=self._environment)
        except subprocess.TimeoutExpired:
            return ''
        return 'completed' if done.stdout.strip() == MIGRATED else ''

    def close(self) -> None:
        """Leave no virsh behind."""
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
            self._running = None
