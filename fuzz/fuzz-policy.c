/*
 * Fuzzer of the policy: any configuration, any samples, any order of calls
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "policy-steps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = { data, size };
    PolicyTally tally = { 0 };

    policy_steps(&input, &tally);
    return 0;
}
