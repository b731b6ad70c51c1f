# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Replies of QEMU and monitors that are made up here, for the tests."""

import os
from typing import Any, Dict, List, Optional, Union

from convergetop.model import Sample, make_sample

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
START_S = 1000.0
PAGE_BYTES = 4096
GB = 10 ** 9
MB = 10 ** 6

PARAMETERS: Dict[str, Any] = {
    'max-cpu-throttle': 99, 'downtime-limit': 300,
    'cpu-throttle-fallback-downtime': 30000, 'cpu-throttle-deadline': 0}


def reply(elapsed_s: float = 10, remaining_mb: float = 400, passes: int = 3,
          pages: int = 100000, status: str = 'active',
          **members: Any) -> Dict[str, Any]:
    """query-migrate's of stock QEMU; '_' for '-' in further members."""
    result: Dict[str, Any] = {
        'status': status, 'total-time': int(elapsed_s * 1000),
        'expected-downtime': 700, 'ram': {
            'total': GB, 'remaining': int(remaining_mb * MB), 'mbps': 400.0,
            'dirty-sync-count': passes, 'dirty-pages-rate': 5000,
            'normal': pages, 'duplicate': 1000, 'page-size': PAGE_BYTES}}
    result.update({name.replace('_', '-'): value
                   for name, value in members.items()})
    return result


def controller(phase: str = 'throttle', reason: str = 'raise',
               **members: Any) -> Dict[str, Any]:
    """The member auto-converge; '_' for '-', and None leaves one out."""
    result: Dict[str, Any] = {
        'phase': phase, 'reason': reason, 'throttle-permille': 725,
        'highest-throttle-permille': 800, 'windows': 3, 'dirty-rate': 30 * MB,
        'transfer-rate': 49 * MB, 'predicted-downtime': 8000,
        'predicted-time': 20000, 'predicted-loss': 12000,
        'throttled-time': 1500, 'fallback': 'stop-and-copy'}
    result.update({name.replace('_', '-'): value
                   for name, value in members.items()})
    return {name: value for name, value in result.items() if value is not None}


def patched_reply(phase: str = 'throttle', reason: str = 'raise',
                  elapsed_s: float = 10, status: str = 'active',
                  **members: Any) -> Dict[str, Any]:
    """query-migrate's with the controller."""
    return reply(elapsed_s, status=status,
                 auto_converge=controller(phase, reason, **members))


def sample(of: Optional[Dict[str, Any]] = None, at_s: float = 10,
           before: Optional[Sample] = None, **parameters: Any) -> Sample:
    """A reply understood, at_s after START_S."""
    named = {name.replace('_', '-'): value
             for name, value in parameters.items()}
    return make_sample(patched_reply() if of is None else of,
                       {**PARAMETERS, **named}, START_S + at_s, before)


Answer = Union[Dict[str, Any], None, Exception]


class FakeMonitor:
    """Says what it was given, one after the other, to query-migrate."""

    def __init__(self, answers: List[Answer]):
        self.asked: List[str] = []
        self._answers = list(answers)

    def ask(self, command: str, timeout_s: float) -> Optional[Dict[str, Any]]:
        """None is 'not yet'; an exception is raised."""
        self.asked.append(command)
        if command == 'query-migrate-parameters':
            return dict(PARAMETERS)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """There is nothing to be closed."""


class FakeClock:
    """Time passes by sleep() alone."""

    def __init__(self) -> None:
        self.time_s = START_S

    def now(self) -> float:
        """As time.time()."""
        return self.time_s

    def sleep(self, seconds: float) -> None:
        """As time.sleep()."""
        self.time_s += seconds
