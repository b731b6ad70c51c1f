/*
 * Nothing of what a guest writes is lost while it migrates
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TEST_DIRTY_LOG_TESTS_H
#define TEST_DIRTY_LOG_TESTS_H

/* For the binary that the release has for migration, or one of their own. */
void dirty_log_add_tests(void);

#endif /* TEST_DIRTY_LOG_TESTS_H */
