# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""A second monitor that is asked all the time, and how long it takes."""

import itertools
import json
import socket
import threading
import time
from types import TracebackType
from typing import List, Optional, TextIO, Type

QUESTIONS = ('query-migrate', 'query-status', 'query-migrate-parameters')
ANSWER_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 30
CONNECT_POLL_S = 0.05


class Poller:
    """
    Asks so many times a second in a thread of its own; what is asked late is
    asked at once. latencies_ms: of each answer. It ends with its QEMU.
    """

    def __init__(self, path: str, per_second: float):
        self.latencies_ms: List[float] = []
        self.error: Optional[str] = None
        self._path = path
        self._period_s = 1 / per_second
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> 'Poller':
        self._thread.start()
        return self

    def __exit__(self, exc_type: Optional[Type[BaseException]],
                 exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self._over.set()
        self._thread.join()

    def _connect(self) -> socket.socket:
        end = time.monotonic() + CONNECT_TIMEOUT_S
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(self._path)
                sock.settimeout(ANSWER_TIMEOUT_S)
                return sock
            except OSError:
                sock.close()
                if time.monotonic() > end:
                    raise
                time.sleep(CONNECT_POLL_S)

    def _run(self) -> None:
        try:
            with self._connect() as sock, \
                    sock.makefile('r', encoding='utf-8') as answers:
                answers.readline()              # the greeting
                self._ask(sock, answers, 'qmp_capabilities')
                self.latencies_ms.clear()
                self._poll(sock, answers)
        except (OSError, EOFError) as exc:
            if not self._over.is_set():
                self.error = f'{type(exc).__name__}: {exc}'

    def _poll(self, sock: socket.socket, answers: TextIO) -> None:
        due = time.monotonic()
        for question in itertools.cycle(QUESTIONS):
            if self._over.wait(max(due - time.monotonic(), 0)):
                return
            self._ask(sock, answers, question)
            due = max(due + self._period_s, time.monotonic() - self._period_s)

    def _ask(self, sock: socket.socket, answers: TextIO,
             question: str) -> None:
        began = time.monotonic()
        sock.sendall(json.dumps({'execute': question}).encode() + b'\n')
        while True:
            line = answers.readline()
            if not line:
                raise EOFError('the monitor is closed')
            if 'event' not in json.loads(line):
                break
        self.latencies_ms.append((time.monotonic() - began) * 1000)
