/*
 * A migration that bytes make up: what the policy is told, one call at a time
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POLICY_STEPS_H
#define POLICY_STEPS_H

#include "fuzz-input.h"
#include "migration/auto-converge.h"

/* What was seen in many migrations */
typedef struct PolicyTally {
    uint64_t updates;
    uint64_t other_calls;
    uint64_t phases[AUTO_CONVERGE_PHASE__MAX];   /* after an update */
    uint64_t reasons[AUTO_CONVERGE_REASON__MAX]; /* after any call */
} PolicyTally;

/* Calls the policy until the bytes are used up, and aborts at a broken law. */
void policy_steps(FuzzInput *input, PolicyTally *tally);

#endif /* POLICY_STEPS_H */
