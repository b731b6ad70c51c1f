# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The monitor of a domain, with a virsh that is made up here."""

import os
import stat
import tempfile
import unittest
from typing import Dict, List
from unittest import mock

from convergetop.errors import UserError, Vanished
from convergetop.virsh import VirshMonitor

TIMEOUT_S = 20                  # finds a hang
SHORT_S = 0.05

# Does what is written into the file 'say', and logs how it was called.
VIRSH = '''#!/bin/sh
printf '%s\\n' "$*" >>"$0.log"
. "$(dirname "$0")/say"
'''
ACTIVE = 'echo \'{"return": {"status": "active"}, "id": "libvirt-7"}\''
GONE = 'echo "error: Requested operation is not valid: ' \
       'domain is not running" >&2; exit 1'


class Virsh(unittest.TestCase):
    """VirshMonitor"""

    def setUp(self) -> None:
        # pylint: disable-next=consider-using-with
        directory = tempfile.TemporaryDirectory(prefix='top-test-')
        self.addCleanup(directory.cleanup)
        self.virsh = os.path.join(directory.name, 'virsh')
        with open(self.virsh, 'w', encoding='ascii') as script:
            script.write(VIRSH)
        os.chmod(self.virsh, stat.S_IRWXU)
        environment: Dict[str, str] = {
            'PATH': f'{directory.name}:/usr/bin:/bin'}
        patch = mock.patch.dict(os.environ, environment)
        patch.start()
        self.addCleanup(patch.stop)

    def says(self, script: str) -> None:
        """From now on."""
        with open(os.path.join(os.path.dirname(self.virsh), 'say'), 'w',
                  encoding='ascii') as say:
            say.write(script + '\n')

    def calls(self) -> List[str]:
        """The arguments of each."""
        with open(self.virsh + '.log', encoding='ascii') as log:
            return log.read().splitlines()

    def monitor(self) -> VirshMonitor:
        """One that has answered."""
        self.says(ACTIVE)
        monitor = VirshMonitor('guest', 'qemu:///system')
        self.addCleanup(monitor.close)
        self.assertEqual(monitor.ask('query-migrate', TIMEOUT_S),
                         {'status': 'active'})
        return monitor

    def test_reply(self) -> None:
        """One query for each, and nothing else."""
        self.monitor()
        self.assertEqual(self.calls(), [
            '-q -c qemu:///system qemu-monitor-command --domain guest '
            '--cmd {"execute": "query-migrate"}'])

    def test_errors_at_first_are_told(self) -> None:
        """Such a domain there is not, or it is not allowed."""
        self.says('echo "error: failed to get domain" >&2; exit 1')
        with self.assertRaisesRegex(UserError, "'guest': failed to get"):
            VirshMonitor('guest').ask('query-migrate', TIMEOUT_S)

    def test_a_domain_that_is_busy(self) -> None:
        """It is asked again, at first too."""
        self.says('echo "error: cannot acquire state change lock" >&2; exit 1')
        self.assertIsNone(VirshMonitor('guest').ask('query-migrate',
                                                    TIMEOUT_S))

    def test_errors_later_pass(self) -> None:
        """Whatever they are, while the domain is there."""
        monitor = self.monitor()
        self.says('echo "error: Cannot recv data" >&2; exit 1')
        self.assertIsNone(monitor.ask('query-migrate', TIMEOUT_S))
        self.says(ACTIVE)
        self.assertEqual(monitor.ask('query-migrate', TIMEOUT_S),
                         {'status': 'active'})

    def test_a_late_answer(self) -> None:
        """There is one virsh at a time."""
        monitor = self.monitor()
        fifo = os.path.join(os.path.dirname(self.virsh), 'fifo')
        os.mkfifo(fifo)
        self.says(f'read line <{fifo}; {ACTIVE}')
        self.assertIsNone(monitor.ask('query-migrate', SHORT_S))
        self.assertIsNone(monitor.ask('query-migrate', SHORT_S))
        with open(fifo, 'w', encoding='ascii') as go_on:
            go_on.write('\n')
        self.assertEqual(monitor.ask('query-migrate', TIMEOUT_S),
                         {'status': 'active'})
        self.assertEqual(len(self.calls()), 2)

    def gone(self, state: str) -> str:
        """What the domain's last state comes to."""
        monitor = self.monitor()
        self.says(f'case $* in *domstate*) {state};; *) {GONE};; esac')
        with self.assertRaises(Vanished) as caught:
            monitor.ask('query-migrate', TIMEOUT_S)
        return caught.exception.status

    def test_the_domain_has_left(self) -> None:
        """libvirt knows where to, if it knows the domain."""
        self.assertEqual(self.gone('echo "shut off (migrated)"'), 'completed')
        self.assertEqual(self.gone('echo "shut off (crashed)"'), '')
        self.assertEqual(self.gone('exit 1'), '')

    def test_qemu_refuses(self) -> None:
        """In its words."""
        self.says('echo \'{"error": {"desc": "not today"}}\'')
        with self.assertRaisesRegex(UserError, 'not today'):
            VirshMonitor('guest').ask('query-migrate', TIMEOUT_S)

    def test_no_virsh(self) -> None:
        """The package is named."""
        with mock.patch.dict(os.environ, {'PATH': '/nonexistent'}), \
                self.assertRaisesRegex(UserError, 'libvirt-clients'):
            VirshMonitor('guest')
