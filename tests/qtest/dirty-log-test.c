/*
 * Nothing of what a guest writes is lost: where migration-test is one file
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/dirty-log-tests.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    dirty_log_add_tests();
    return g_test_run();
}
