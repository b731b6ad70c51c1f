# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What is refused, and what is noted when it is not, on a QEMU made up here.

    PYTHONPATH=integration:bench \\
        python3 -m unittest discover -s integration/tests
"""

import unittest
from typing import Any, Dict, List, cast

from soak import faults, plan as plans
from soak.faults import STRIKES, Stage
from soak.machines import RecordedMachine
from soak.plan import draw_plan
from soak.relay import Relay
from soak.verdict import Seen


class FakeQemu:
    """Answers queries; refuses all else, or takes it."""

    def __init__(self, takes: bool, status: str = 'active'):
        self.takes = takes
        self.status = status
        self.parameters: Dict[str, Any] = {}
        self.commands: List[str] = []

    def qmp(self, command: str, **arguments: Any) -> Any:
        """A reply, as RecordedMachine.qmp() has it."""
        self.commands.append(command)
        if command == 'query-migrate':
            return {'status': self.status}
        if command == 'query-migrate-parameters':
            return dict(self.parameters)
        if command == 'human-monitor-command':
            return '' if self.takes else 'Error: no'
        return {}

    def refuses(self, command: str, **arguments: Any) -> bool:
        """As it was made."""
        self.commands.append(command)
        if self.takes and command == 'migrate-set-parameters':
            self.parameters.update(arguments)
        return not self.takes


def strike(fault: str, qemu: FakeQemu) -> Seen:
    """Do it to the source; what was noted."""
    seen = Seen()
    machine = cast(RecordedMachine, qemu)
    STRIKES[fault](Stage(draw_plan(1, '7.2'), machine, machine,
                         cast(Relay, None), seen))
    return seen


class RefusalTest(unittest.TestCase):
    """Faults that have to be refused."""

    REFUSED = (plans.REFUSED, plans.SECOND, plans.HMP, plans.CAPABILITY,
               plans.UNPLUG)

    def test_refused(self) -> None:
        """Nothing is noted, and it was really asked for."""
        for fault in self.REFUSED:
            qemu = FakeQemu(takes=False)
            self.assertEqual(strike(fault, qemu).answers, [])
            self.assertTrue(any(not command.startswith('query')
                                for command in qemu.commands))

    def test_taken(self) -> None:
        """It is noted that it was taken."""
        for fault in self.REFUSED:
            self.assertNotEqual(strike(fault, FakeQemu(True)).answers, [])

    def test_each_bad_parameter_is_noted(self) -> None:
        """All of them, and that settings have changed."""
        noted = strike(plans.REFUSED, FakeQemu(True)).answers
        self.assertEqual(len(noted), len(faults.BAD_PARAMETERS) + 1)

    def test_taken_after_the_end(self) -> None:
        """A migration that has ended by then forbids nothing."""
        for status in ('completed', 'failed', 'cancelled'):
            for fault in self.REFUSED:
                seen = strike(fault, FakeQemu(True, status))
                self.assertEqual(seen.answers, [])

    def test_bad_parameters_are_bad(self) -> None:
        """None is in the range that changes are drawn from."""
        for name, value in faults.BAD_PARAMETERS:
            if name in plans.LIVE_RANGES:
                least, most = plans.LIVE_RANGES[name]
                self.assertFalse(least <= value <= most, name)


if __name__ == '__main__':
    unittest.main()
