# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What the load says of its figures; its monitor, against one made up here."""

import json
import socket
import tempfile
import threading
import time
import unittest

from load.__main__ import Hop, growth, quantile
from load.poller import Poller


class FiguresTest(unittest.TestCase):
    """quantile() and growth()."""

    def test_quantile(self) -> None:
        """Of a hundred, the 99 % one is the last but one or later."""
        values = [float(i) for i in range(100, 0, -1)]
        self.assertEqual(quantile(values, 0.5), 51)
        self.assertEqual(quantile(values, 0.99), 100)
        self.assertEqual(quantile([7.0], 0.99), 7)

    def test_growth(self) -> None:
        """Noise is none, a slope is; what the first hops had does not count."""
        steady = [Hop(own_kib=50000 + i % 7 * 100) for i in range(100)]
        self.assertIsNone(growth(steady))
        self.assertIsNone(growth([Hop(own_kib=10000)] * 5 + steady[5:]))
        rising = [Hop(own_kib=50000 + i * 200) for i in range(100)]
        self.assertIn('grown from', str(growth(rising)))
        self.assertIsNone(growth([Hop(own_kib=1)]))


class PollerTest(unittest.TestCase):
    """Poller: asks as often as told, and takes no event for an answer."""

    def test_poll(self) -> None:
        """A slow answer is seen as one."""
        with tempfile.TemporaryDirectory() as directory:
            path = f'{directory}/qmp'
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen(1)
            asked = []

            def serve() -> None:
                sock, _ = listener.accept()
                with sock, sock.makefile('r', encoding='utf-8') as lines:
                    sock.sendall(b'{"QMP": {}}\n')
                    for line in lines:
                        asked.append(json.loads(line)['execute'])
                        if len(asked) == 3:
                            time.sleep(0.2)
                        sock.sendall(b'{"event": "X"}\n{"return": {}}\n')

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            with Poller(path, 200) as poller:
                while len(asked) < 9:
                    time.sleep(0.01)
            thread.join(timeout=5)
            listener.close()
        self.assertIsNone(poller.error)
        self.assertEqual(asked[0], 'qmp_capabilities')
        self.assertEqual(asked[1], asked[4])
        self.assertGreaterEqual(len(poller.latencies_ms), 7)
        self.assertGreaterEqual(max(poller.latencies_ms), 200)
