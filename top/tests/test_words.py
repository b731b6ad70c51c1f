# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""There are words for everything that QEMU may say."""

import ast
import os
import re
import unittest
from typing import Any, Dict, List, Tuple

from convergetop import words

from .made_up import TOP, patched_reply, reply, sample

QAPI = [os.path.join(TOP, 'qapi', name) for name in
        ('auto-converge-policy.json', 'auto-converge.json')]
DOCUMENT = os.path.join(TOP, 'docs', 'auto-converge-top.md')


def schema() -> Dict[str, Any]:
    """The data of each enum and struct of the QAPI files by name."""
    text = ''
    for path in QAPI:
        with open(path, encoding='utf-8') as file:
            text += re.sub(r'^\s*#.*$', '', file.read(), flags=re.MULTILINE)
    result = {}
    for block in text.split('\n\n'):
        if block.strip():
            entry = ast.literal_eval(re.sub(r'\btrue\b', 'True',
                                            block.strip()))
            kinds = [kind for kind in ('enum', 'struct') if kind in entry]
            result.update({entry[kind]: entry['data'] for kind in kinds})
    return result


class Completeness(unittest.TestCase):
    """The tables against the QAPI file and the documentation."""

    def same(self, table: Dict[str, Any], names: List[str]) -> None:
        """Nothing is missing, and nothing is left over."""
        self.assertTrue(names)
        self.assertEqual(sorted(table), sorted(names))

    def test_phases(self) -> None:
        """Each has words."""
        self.same(words.PHASES, schema()['AutoConvergePhase'])

    def test_reasons(self) -> None:
        """Each has words."""
        self.same(words.REASONS, schema()['AutoConvergeReason'])

    def test_they_are_sentences(self) -> None:
        """Each is a whole one."""
        said = list(words.PHASES.values())
        for entry in (*words.REASONS.values(), *words.STATUSES.values(),
                      *words.IN_PHASE.values()):
            said += entry
        for one in said:
            self.assertRegex(one, r'^[A-Z][^|]*\.$')

    def test_members_of_the_controller(self) -> None:
        """Those made up for these tests are those of the QAPI file."""
        declared = {name.lstrip('*')
                    for name in schema()['AutoConvergeInfo']}
        made_up = patched_reply(downtime=1)['auto-converge']
        self.assertEqual(set(made_up), declared)

    def test_the_documentation_has_the_tables(self) -> None:
        """As --explain prints them, and no row that it does not."""
        with open(DOCUMENT, encoding='utf-8') as file:
            rows = [line for line in file.read().splitlines()
                    if line.startswith('|')]
        told = [line for line in words.tables() if line.startswith('|')]
        self.assertEqual(rows[rows.index(told[0]):], told)


class Choice(unittest.TestCase):
    """why(), state() and command()"""

    def test_reason_of_an_active_migration(self) -> None:
        """Else the state of the migration is what counts."""
        self.assertEqual(words.why(sample()), words.REASONS['raise'])
        done = sample(patched_reply(status='completed'))
        self.assertEqual(words.why(done), words.STATUSES['completed'])

    def test_a_deadline_that_is_near(self) -> None:
        """In the fallback it means another thing."""
        near = words.why(sample(patched_reply('fallback', 'deadline')))
        self.assertIn('so near', near.meaning)
        far = words.why(sample(patched_reply('watch', 'deadline')))
        self.assertIn('so far', far.meaning)

    def test_names_that_are_not_known(self) -> None:
        """It says so."""
        self.assertEqual(words.why(sample(patched_reply(reason='whim'))),
                         words.UNKNOWN)
        self.assertEqual(words.why(sample(reply(status='warp'))),
                         words.UNKNOWN)

    def test_stock(self) -> None:
        """As far as its figures tell."""
        cases: List[Tuple[Dict[str, Any], words.Words]] = [
            ({'cpu_throttle_percentage': 20}, words.STOCK_THROTTLED),
            ({'passes': 1}, words.STOCK_BULK),
            ({'ram': {}}, words.NO_MEMORY),
            ({}, words.STOCK_CALM)]
        for members, expected in cases:
            self.assertEqual(words.why(sample(reply(**members))), expected)
        busy = reply()
        busy['ram']['dirty-pages-rate'] = 20000
        self.assertEqual(words.why(sample(busy)), words.STOCK_BUSY)

    def test_state(self) -> None:
        """Not the same word twice."""
        self.assertEqual(words.state(sample()), 'throttle, raise')
        self.assertEqual(words.state(sample(patched_reply(
            'ceiling', 'ceiling'))), 'ceiling')
        self.assertEqual(words.state(sample(reply())), 'active')
        self.assertEqual(words.state(sample(reply(passes=1))),
                         'active, first pass')
        self.assertEqual(words.state(sample(
            reply(cpu_throttle_percentage=20))), 'active, throttled')

    def test_the_bound_that_would_do(self) -> None:
        """Longer than the prediction, which is not exact; and a round one."""
        too_long = sample(patched_reply('let-go', 'too-long',
                                        predicted_downtime=8000))
        self.assertEqual(words.command(too_long), 'migrate_set_parameter '
                         'cpu-throttle-fallback-downtime 10500')
        for reason, predicted in (('raise', 8000), ('too-long', None),
                                  ('too-long', 1999999)):
            one = patched_reply('let-go', reason, predicted_downtime=predicted)
            self.assertIsNone(words.command(sample(one)), reason)
