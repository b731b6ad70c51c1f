/*
 * Adaptive auto-converge, end to end: where migration-test is one file
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/auto-converge-tests.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    auto_converge_add_tests();
    return g_test_run();
}
