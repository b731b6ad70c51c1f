/*
 * Windows made by hand, for the tests of the policy
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AUTO_CONVERGE_WINDOWS_H
#define AUTO_CONVERGE_WINDOWS_H

#include "migration/auto-converge.h"

#define MIB 1048576ULL
#define MS_TO_NS 1000000ULL
#define S_TO_NS 1000000000ULL

/* The parameters' own, see qapi/migration.json, but without looks */
extern const AutoConvergeConfig defaults;

/* What was in the memory before must not matter. */
void init_from_garbage(AutoConvergeState *state);

/* A window of @ms in which the guest ran @run_ms; the sizes are in MiB. */
AutoConvergeSample window(uint64_t ms, uint64_t run_ms, uint64_t dirty,
                          uint64_t drained, uint64_t remaining);

AutoConvergeDecision step(AutoConvergeState *state,
                          const AutoConvergeConfig *config,
                          AutoConvergeSample sample);

/* The same window twice, because a bad one is to be confirmed. */
AutoConvergeDecision step_twice(AutoConvergeState *state,
                                const AutoConvergeConfig *config,
                                AutoConvergeSample sample);

/*
 * A guest that writes uniformly over @set_bytes at @rate_bps bytes per second
 * of execution, needing @demand of a CPU, over a link of @drain_bps, in
 * windows of one pass.
 */
typedef struct Guest {
    double set_bytes;
    double rate_bps;
    double demand;
    double drain_bps;
    double remaining_bytes;
} Guest;

AutoConvergeSample guest_pass(Guest *guest, double run_share);

double run_share(AutoConvergeDecision decision);

/* A reproducible sequence; the constants are those of a 64 bit xorshift. */
uint64_t next_random(uint64_t *seed);

void assert_sane(const AutoConvergeState *state,
                 const AutoConvergeConfig *config,
                 AutoConvergeDecision decision);

/* After a bulk pass of 20 s, which drained 2000 MiB and left @left */
void begin(AutoConvergeState *state, uint64_t run_ms, uint64_t left);

/* Drives a guest on which nothing helps to its ceiling. */
AutoConvergeDecision reach_ceiling(AutoConvergeState *state,
                                   const AutoConvergeConfig *config);

/* The tests, by topic */
void add_watch_tests(void);
void add_throttle_tests(void);
void add_look_tests(void);
void add_ceiling_tests(void);

#endif /* AUTO_CONVERGE_WINDOWS_H */
