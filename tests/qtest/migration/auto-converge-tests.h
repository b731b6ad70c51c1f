/*
 * Adaptive auto-converge, end to end
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TEST_AUTO_CONVERGE_TESTS_H
#define TEST_AUTO_CONVERGE_TESTS_H

/* For the binary that the release has for migration, or one of their own. */
void auto_converge_add_tests(void);

#endif /* TEST_AUTO_CONVERGE_TESTS_H */
