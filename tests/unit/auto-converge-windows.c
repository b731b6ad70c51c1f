/*
 * Windows made by hand, for the tests of the policy
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-windows.h"

const AutoConvergeConfig defaults = {
    .trigger_threshold_pct = 50,
    .throttle_initial_pct = 20,
    .throttle_increment_pct = 10,
    .throttle_max_pct = 99,
    .fallback = AUTO_CONVERGE_FALLBACK_STOP_AND_COPY,
    .fallback_downtime_ms = 30000,
    .downtime_limit_ms = 300,
};

void init_from_garbage(AutoConvergeState *state)
{
    memset(state, 0xa5, sizeof(*state));
    auto_converge_init(state);
}

AutoConvergeSample window(uint64_t ms, uint64_t run_ms, uint64_t dirty,
                          uint64_t drained, uint64_t remaining)
{
    return (AutoConvergeSample) {
        .elapsed_ns = ms * MS_TO_NS,
        .guest_run_ns = run_ms * MS_TO_NS,
        .dirty_bytes = dirty * MIB,
        .drained_bytes = drained * MIB,
        .remaining_bytes = remaining * MIB,
    };
}

AutoConvergeDecision step(AutoConvergeState *state,
                          const AutoConvergeConfig *config,
                          AutoConvergeSample sample)
{
    return auto_converge_update(state, config, &sample);
}

AutoConvergeDecision step_twice(AutoConvergeState *state,
                                const AutoConvergeConfig *config,
                                AutoConvergeSample sample)
{
    step(state, config, sample);
    return step(state, config, sample);
}

AutoConvergeSample guest_pass(Guest *guest, double run_share)
{
    double elapsed_s = guest->remaining_bytes / guest->drain_bps;
    double run_s = elapsed_s * fmin(run_share, guest->demand);
    double dirty_bytes = guest->set_bytes *
        -expm1(-guest->rate_bps * run_s / guest->set_bytes);
    AutoConvergeSample sample = {
        .elapsed_ns = elapsed_s * 1e9,
        .guest_run_ns = run_s * 1e9,
        .dirty_bytes = dirty_bytes,
        .drained_bytes = guest->remaining_bytes,
        .remaining_bytes = dirty_bytes,
    };

    guest->remaining_bytes = dirty_bytes;
    return sample;
}

double run_share(AutoConvergeDecision decision)
{
    return 1 - decision.throttle_permille / 1000.0;
}

uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

void assert_sane(const AutoConvergeState *state,
                 const AutoConvergeConfig *config,
                 AutoConvergeDecision decision)
{
    unsigned max_pct = config->throttle_max_pct;
    bool final = decision.phase == AUTO_CONVERGE_PHASE_FALLBACK;

    max_pct = max_pct < 1 ? 1 : max_pct > 99 ? 99 : max_pct;
    g_assert_cmpuint(decision.phase, <, AUTO_CONVERGE_PHASE__MAX);
    g_assert_cmpuint(decision.reason, <, AUTO_CONVERGE_REASON__MAX);
    g_assert_cmpint(decision.switchover != decision.post_copy, ==, final);
    g_assert_false(decision.switchover && decision.post_copy);
    g_assert_cmpuint(decision.throttle_permille, <=, max_pct * 10);
    if (!final) {
        g_assert_cmpint(decision.phase == AUTO_CONVERGE_PHASE_WATCH ||
                        decision.phase == AUTO_CONVERGE_PHASE_LET_GO, ==,
                        decision.throttle_permille == 0);
    }
    g_assert_true(isfinite(state->remaining_bytes));
    g_assert_true(isfinite(state->point_run_s));
    g_assert_true(isfinite(state->point_dirty_bytes));
    g_assert_true(isfinite(state->wait_s));
    g_assert_true(isfinite(state->stop_bytes));
    g_assert_true(state->exponent >= 0.25 && state->exponent <= 1);
    g_assert_cmpint(state->last.phase, ==, decision.phase);
    g_assert_cmpuint(state->last.throttle_permille, ==,
                     decision.throttle_permille);
}

void begin(AutoConvergeState *state, uint64_t run_ms, uint64_t left)
{
    init_from_garbage(state);
    step(state, &defaults, window(20000, run_ms, left, 2000, left));
}

AutoConvergeDecision reach_ceiling(AutoConvergeState *state,
                                   const AutoConvergeConfig *config)
{
    init_from_garbage(state);
    step(state, config, window(20000, 20000, 640, 2000, 640));
    return step_twice(state, config, window(6400, 6400, 640, 640, 640));
}
