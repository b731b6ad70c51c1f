# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What the comments of constants say, on sources made up here.

    scripts/unittest-tap scripts/mutation/tests scripts
"""

import unittest
from typing import List
from unittest import mock

from mutation.notes import (EXCEPTIONS, Constant, find_constants, named_tests,
                            unnoted)

SOURCE = '''\
/* The file.  Breaks: nothing, it is prose. */

#ifndef GUARD_H
#define GUARD_H

/*
 * Why.
 * Breaks: /ac/law/burst,
 *         /ac/law/calm-guest
 */
#define BURST 1.5
#define BURST_OF_TWO \\
    (BURST / \\
     2) /* s */

/* Explained, but by no test */
#define WINDOW_S 1.0

#define PCT_MAX 99
#define SQUARE(x) ((x) * (x))

/* Breaks: /ac/law/twice. */
#define TIMES 2u

static int after_code;
#define PLAIN 3
'''


def named(name: str) -> Constant:
    """One of the source's."""
    return {constant.name: constant for constant in constants()}[name]


def constants() -> List[Constant]:
    """All of the source's."""
    return find_constants('a.c', SOURCE)


class Notes(unittest.TestCase):
    """What is found in a file."""

    def test_constants_are_macros_with_a_value(self) -> None:
        self.assertEqual([constant.name for constant in constants()],
                         ['BURST', 'BURST_OF_TWO', 'WINDOW_S', 'PCT_MAX',
                          'TIMES', 'PLAIN'])

    def test_a_note_may_name_several_tests(self) -> None:
        self.assertEqual(named('BURST').tests,
                         ('/ac/law/burst', '/ac/law/calm-guest'))

    def test_a_note_is_for_all_that_follow_without_a_gap(self) -> None:
        self.assertEqual(named('BURST_OF_TWO').tests, named('BURST').tests)
        self.assertEqual(named('PCT_MAX').tests, ())
        self.assertEqual(named('PLAIN').tests, ())

    def test_the_full_stop_is_not_part_of_a_test(self) -> None:
        self.assertEqual(named('TIMES').tests, ('/ac/law/twice',))

    def test_prose_is_no_note(self) -> None:
        self.assertEqual(named_tests('/* Breaks: whatever */'), ())
        self.assertEqual(named_tests('/* see /ac/law/burst */'), ())

    def test_a_value_is_whole_and_without_its_comment(self) -> None:
        self.assertEqual(named('BURST_OF_TWO').value, '(BURST / 2)')

    def test_what_is_explained_needs_a_note(self) -> None:
        self.assertEqual([constant.name for constant in unnoted(constants())],
                         ['WINDOW_S'])

    def test_a_guard_needs_none(self) -> None:
        with mock.patch.dict(EXCEPTIONS, {'WINDOW_S': ()}):
            self.assertEqual(unnoted(constants()), [])

    def test_a_file_without_any_note_needs_none(self) -> None:
        self.assertEqual(
            unnoted(find_constants('b.c', '/* Why */\n#define A 1\n')), [])


class Changes(unittest.TestCase):
    """What a constant becomes."""

    def test_a_count_changes_by_one(self) -> None:
        self.assertEqual(named('TIMES').changes(),
                         ('((2u) + 1)', '((2u) - 1)'))

    def test_a_quantity_changes_by_half(self) -> None:
        self.assertEqual(named('BURST').changes(),
                         ('((1.5) * 3 / 2)', '((1.5) * 2 / 3)'))
        self.assertEqual(named('PCT_MAX').changes(),
                         ('((99) * 3 / 2)', '((99) * 2 / 3)'))

    def test_an_exception_changes_as_it_says(self) -> None:
        with mock.patch.dict(EXCEPTIONS, {'BURST': ('{} * 9',)}):
            self.assertEqual(named('BURST').changes(), ('((1.5) * 9)',))

    def test_an_expression_changes_as_a_whole(self) -> None:
        self.assertEqual(named('BURST_OF_TWO').changes()[0],
                         '(((BURST / 2)) * 3 / 2)')

    def test_only_its_own_lines_change(self) -> None:
        changed = named('BURST_OF_TWO').changed(SOURCE, '7')
        self.assertEqual(changed, SOURCE.replace(
            '#define BURST_OF_TWO \\\n    (BURST / \\\n     2) /* s */',
            '#define BURST_OF_TWO 7'))


if __name__ == '__main__':
    unittest.main()
