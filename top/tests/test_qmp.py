# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The QMP client, against a monitor made up here."""

import json
import os
import socket
import tempfile
import threading
import unittest
from typing import Any, Callable, Dict, List, Optional
from unittest import mock

from convergetop import qmp
from convergetop.errors import UserError, Vanished
from convergetop.qmp import QmpMonitor, parse_address

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
TIMEOUT_S = 20                  # finds a hang
SHORT_S = 0.05                  # an answer that is not in time


class Peer:
    """The far end of one connection."""

    def __init__(self, connection: socket.socket, heard: List[Dict[str, Any]]):
        self._connection = connection
        self._lines = connection.makefile('rb')
        self._heard = heard

    def say(self, text: bytes) -> None:
        """Raw."""
        self._connection.sendall(text)

    def tell(self, **members: Any) -> None:
        """A line of JSON."""
        self.say(json.dumps(members).encode() + b'\r\n')

    def hear(self) -> Dict[str, Any]:
        """The next command; {} when there is none any more."""
        line = self._lines.readline()
        if not line:
            return {}
        command: Dict[str, Any] = json.loads(line)
        self._heard.append(command)
        return command

    def answer(self, value: Dict[str, Any]) -> None:
        """To the next command."""
        command = self.hear()
        self.tell(**{'return': value, 'id': command.get('id')})

    def greet(self) -> None:
        """As QEMU does."""
        self.say(GREETING)
        self.answer({})

    def close(self) -> None:
        """QEMU goes."""
        self._lines.close()
        self._connection.close()


class Server:
    """Listens on a unix socket and plays one client's script."""

    def __init__(self, script: Callable[[Peer], None]):
        # pylint: disable-next=consider-using-with
        self._directory = tempfile.TemporaryDirectory(prefix='top-test-')
        self.path = os.path.join(self._directory.name, 'monitor')
        self.heard: List[Dict[str, Any]] = []
        self._script = script
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen(1)
        self._socket.settimeout(TIMEOUT_S)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        connection.settimeout(TIMEOUT_S)
        peer = Peer(connection, self.heard)
        try:
            self._script(peer)
        finally:
            peer.close()

    def __enter__(self) -> 'Server':
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.join(TIMEOUT_S)
        self._socket.close()
        self._directory.cleanup()


class Talk(unittest.TestCase):
    """ask()"""

    def ask(self, script: Callable[[Peer], None]) -> Dict[str, Any]:
        """Its reply to query-migrate; what was said is in self.heard."""
        with Server(script) as server:
            monitor = QmpMonitor(server.path)
            try:
                reply = monitor.ask('query-migrate', TIMEOUT_S)
            finally:
                monitor.close()
                self.heard = server.heard
        assert reply is not None
        return reply

    def test_reply(self) -> None:
        """Greeting, capabilities, a query."""
        def script(peer: Peer) -> None:
            peer.greet()
            peer.answer({'status': 'active'})
        self.assertEqual(self.ask(script), {'status': 'active'})
        self.assertEqual([one['execute'] for one in self.heard],
                         ['qmp_capabilities', 'query-migrate'])

    def test_events_and_other_replies_in_between(self) -> None:
        """Only the reply with the right number is one."""
        def script(peer: Peer) -> None:
            peer.greet()
            command = peer.hear()
            peer.tell(event='STOP', data={})
            peer.tell(**{'return': {'status': 'other'}, 'id': 'mine'})
            peer.tell(**{'return': {'status': 'active'}, 'id': command['id']})
        self.assertEqual(self.ask(script), {'status': 'active'})

    def test_a_reply_in_pieces(self) -> None:
        """A line ends where it ends."""
        def script(peer: Peer) -> None:
            peer.greet()
            number = peer.hear()['id']
            whole = json.dumps({'return': {'status': 'none'}, 'id': number})
            for letter in whole + '\r\n':
                peer.say(letter.encode())
        self.assertEqual(self.ask(script), {'status': 'none'})

    def test_an_error_is_told(self) -> None:
        """In QEMU's words."""
        def script(peer: Peer) -> None:
            peer.greet()
            peer.tell(error={'desc': 'not today'}, id=peer.hear()['id'])
        with self.assertRaisesRegex(UserError, 'query-migrate.*not today'):
            self.ask(script)

    def test_a_late_answer(self) -> None:
        """It is waited for, and the command is not said again."""
        late = threading.Event()

        def script(peer: Peer) -> None:
            peer.greet()
            number = peer.hear()['id']
            late.wait(TIMEOUT_S)
            peer.tell(**{'return': {'status': 'active'}, 'id': number})

        with Server(script) as server:
            monitor = QmpMonitor(server.path)
            self.assertIsNone(monitor.ask('query-migrate', SHORT_S))
            self.assertIsNone(monitor.ask('query-migrate', SHORT_S))
            late.set()
            self.assertEqual(monitor.ask('query-migrate', TIMEOUT_S),
                             {'status': 'active'})
            monitor.close()
        self.assertEqual(len(server.heard), 2)

    def vanish(self, *statuses: str) -> Vanished:
        """QEMU says these in events, and goes."""
        def script(peer: Peer) -> None:
            peer.greet()
            peer.hear()
            for status in statuses:
                peer.tell(event='MIGRATION', data={'status': status})
        with self.assertRaises(Vanished) as caught:
            self.ask(script)
        return caught.exception

    def test_qemu_goes(self) -> None:
        """Its last events tell how the migration ended."""
        self.assertEqual(self.vanish('active', 'completed').status,
                         'completed')
        self.assertEqual(self.vanish('failed').status, 'failed')
        self.assertEqual(self.vanish('active').status, '')
        self.assertEqual(self.vanish().status, '')

    def test_qemu_is_gone_before_the_next_command(self) -> None:
        """What it said before is read all the same."""
        def script(peer: Peer) -> None:
            peer.greet()
            peer.tell(event='MIGRATION', data={'status': 'completed'})
        with Server(script) as server:
            monitor = QmpMonitor(server.path)
        with self.assertRaises(Vanished) as caught:
            monitor.ask('query-migrate', TIMEOUT_S)
        monitor.close()
        self.assertEqual(caught.exception.status, 'completed')


class Refusals(unittest.TestCase):
    """What is said when there is no monitor."""

    def refused(self, pattern: str,
                script: Optional[Callable[[Peer], None]]) -> None:
        """The words for a peer that does not greet as QMP does."""
        if script is None:
            with self.assertRaisesRegex(UserError, pattern):
                QmpMonitor('/nonexistent/monitor')
            return
        with Server(script) as server, \
                self.assertRaisesRegex(UserError, pattern):
            QmpMonitor(server.path)

    def test_no_socket(self) -> None:
        """The path is wrong."""
        self.refused('No such file.*-qmp', None)

    def test_nobody_listens(self) -> None:
        """QEMU has ended and left its socket behind."""
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, 'monitor')
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(path)
            with self.assertRaisesRegex(UserError, 'refused.*--domain'):
                QmpMonitor(path)

    def test_no_greeting(self) -> None:
        """Another client has it; the error says what to do."""
        done = threading.Event()

        def script(_: Peer) -> None:
            done.wait(TIMEOUT_S)

        with mock.patch.object(qmp, 'GREETING_TIMEOUT_S', SHORT_S):
            with Server(script) as server:
                with self.assertRaisesRegex(UserError,
                                            'another client.*-qmp unix:'):
                    QmpMonitor(server.path)
                done.set()

    def test_other_services(self) -> None:
        """The human monitor, and what is no monitor at all."""
        self.refused('human monitor', lambda peer: peer.say(
            b"QEMU 7.2.22 monitor - type 'help' for more information\r\n"))
        self.refused('no QMP', lambda peer: peer.say(b'220 ready\r\n'))
        self.refused('no QMP', lambda peer: peer.say(b'{"hello": 1}\r\n'))
        self.refused('no QMP', lambda peer: peer.say(b'[]\r\n'))
        self.refused('hung up', lambda peer: None)
        self.refused('hung up', lambda peer: peer.say(GREETING))

    def test_an_endless_line(self) -> None:
        """It is not kept for ever."""
        with mock.patch.object(qmp, 'LINE_MAX_BYTES', 10):
            self.refused('no QMP', lambda peer: peer.say(b'x' * 100))


class Addresses(unittest.TestCase):
    """parse_address()"""

    def test_paths_and_ports(self) -> None:
        """A path wins where it is one."""
        self.assertEqual(parse_address('/run/qmp:1'), '/run/qmp:1')
        self.assertEqual(parse_address('monitor'), 'monitor')
        self.assertEqual(parse_address('localhost:4444'), ('localhost', 4444))
        self.assertEqual(parse_address('[::1]:4444'), ('::1', 4444))

    def test_ports_that_are_none(self) -> None:
        """The range is told."""
        for where in ('host:0', 'host:65536', 'host:x', ':4444', 'host:'):
            with self.assertRaisesRegex(UserError, '1 to 65535'):
                parse_address(where)
