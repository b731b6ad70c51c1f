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

/* Called by that; each is in a file of its name. */
void auto_converge_add_hmp_tests(void);
void auto_converge_add_vcpu_tests(void);
void auto_converge_add_stop_tests(void);
void auto_converge_add_post_copy_tests(void);
void auto_converge_add_wait_tests(void);

#endif /* TEST_AUTO_CONVERGE_TESTS_H */
