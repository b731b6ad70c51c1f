/*
 * What the policy promises, whatever it is told
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "fuzz-input.h"
#include "policy-laws.h"

/* The ranges that the header and the comments of the policy state */
#define EXPONENT_MIN 0.25
#define EXPONENT_MAX 1.0
#define LOOK_MIN_MS 420

#define BIT(number) (1ULL << (number))
#define REASON(name) BIT(AUTO_CONVERGE_REASON_##name)

/*
 * Which reasons a phase may have.  A look leaves the reason of the window
 * before, and max-cpu-throttle may have changed since, which makes a throttle a
 * ceiling and the other way round; so these two share theirs.
 */
#define THROTTLED_REASONS \
    (REASON(REJECTED) | REASON(ENGAGE) | REASON(RAISE) | REASON(HOLD) | \
     REASON(RELEASE) | REASON(CEILING) | REASON(FUTILE) | REASON(RESUME) | \
     REASON(RETRY))

static const uint64_t reasons[AUTO_CONVERGE_PHASE__MAX] = {
    [AUTO_CONVERGE_PHASE_WATCH] =
        REASON(START) | REASON(REJECTED) | REASON(CONVERGES) |
        REASON(PATIENCE) | REASON(UNCONFIRMED) | REASON(BURST) |
        REASON(SLOW_LINK) | REASON(DEADLINE) | REASON(CALM),
    [AUTO_CONVERGE_PHASE_THROTTLE] = THROTTLED_REASONS,
    [AUTO_CONVERGE_PHASE_CEILING] = THROTTLED_REASONS,
    [AUTO_CONVERGE_PHASE_FALLBACK] =
        REASON(DEADLINE) | REASON(STOP_AND_COPY) | REASON(POST_COPY),
    [AUTO_CONVERGE_PHASE_LET_GO] =
        REASON(NO_FALLBACK) | REASON(TOO_LONG) | REASON(OUTLASTED) |
        REASON(STALLED),
};

/* All that a state holds of doubles */
#define MEMBER(name) offsetof(AutoConvergeState, name)
static const size_t doubles[] = {
    MEMBER(remaining_bytes), MEMBER(point_run_s), MEMBER(point_dirty_bytes),
    MEMBER(exponent), MEMBER(stop_bytes), MEMBER(drain_bps), MEMBER(link_bps),
    MEMBER(attempt_s), MEMBER(let_go_s), MEMBER(wait_s), MEMBER(peak_ratio),
    MEMBER(peak_dirty_bytes), MEMBER(bulk_s), MEMBER(free_s),
    MEMBER(free_run_s), MEMBER(burst_s), MEMBER(burst_run_s), MEMBER(slow_s),
    MEMBER(waited_s), MEMBER(fastest_bps),
};

static void law_numbers(const AutoConvergeState *state)
{
    double value;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(doubles); i++) {
        memcpy(&value, (const char *)state + doubles[i], sizeof(value));
        LAW(isfinite(value));
        LAW(value >= 0);
    }
    LAW(state->exponent >= EXPONENT_MIN && state->exponent <= EXPONENT_MAX);
    LAW(state->attempts <= ATTEMPTS_MAX);
    LAW(state->leased_permille < PERMILLE);
}

/* U grows with w, and so does each point of a look. */
static void law_curve(const AutoConvergeState *state)
{
    const AutoConvergePoint *point = state->curve;
    unsigned i;

    LAW(state->curve_points <= ARRAY_SIZE(state->curve));
    for (i = 0; i < state->curve_points; i++) {
        LAW(isfinite(point[i].run_s) && point[i].run_s > 0);
        LAW(isfinite(point[i].dirty_bytes) && point[i].dirty_bytes > 0);
        LAW(i == 0 || point[i].run_s > point[i - 1].run_s);
        LAW(i == 0 || point[i].dirty_bytes >= point[i - 1].dirty_bytes);
    }
}

static void law_phase(const AutoConvergeDecision *now)
{
    LAW((unsigned)now->phase < AUTO_CONVERGE_PHASE__MAX);
    LAW((unsigned)now->reason < AUTO_CONVERGE_REASON__MAX);
    LAW(reasons[now->phase] & BIT(now->reason));
    LAW((now->phase == AUTO_CONVERGE_PHASE_FALLBACK) ==
        (now->switchover || now->post_copy));
    LAW(!now->switchover || !now->post_copy);
    LAW(now->reason != AUTO_CONVERGE_REASON_STOP_AND_COPY || now->switchover);
    LAW(now->reason != AUTO_CONVERGE_REASON_POST_COPY || now->post_copy);
}

/* The fallback begins with the throttle that there was, or a lower ceiling. */
static void law_throttle(const PolicyCall *call)
{
    const AutoConvergeDecision *now = call->now;

    LAW(now->throttle_permille < PERMILLE);
    if (is_throttled(now)) {
        LAW(now->throttle_permille > 0);
    } else if (now->phase == AUTO_CONVERGE_PHASE_FALLBACK) {
        LAW(now->throttle_permille <= call->before->last.throttle_permille);
    } else {
        LAW(now->throttle_permille == 0);
    }
}

static void law_look(const AutoConvergeDecision *now)
{
    LAW(now->look_ms <= INT_MAX);
    LAW(now->look_ms == 0 || now->phase == AUTO_CONVERGE_PHASE_WATCH ||
        is_throttled(now));
    LAW(now->look_ms == 0 || !is_throttled(now) ||
        now->look_ms >= LOOK_MIN_MS);
    LAW(now->look_ms == 0 || now->look_ms >= AUTO_CONVERGE_COUNT_FIRST_MS);
    LAW(now->look_bytes == 0 ||
        (now->look_ms > 0 && now->phase == AUTO_CONVERGE_PHASE_WATCH));
}

void policy_laws_always(const PolicyCall *call)
{
    law_numbers(call->after);
    law_curve(call->after);
    law_phase(call->now);
    law_throttle(call);
    law_look(call->now);
    /* What is remembered is what was said, without "now". */
    LAW(!call->after->last.complete);
    LAW(call->after->last.phase == call->now->phase);
    LAW(call->after->last.reason == call->now->reason);
    LAW(call->after->last.throttle_permille == call->now->throttle_permille);
    LAW(call->after->last.switchover == call->now->switchover);
    LAW(call->after->last.post_copy == call->now->post_copy);
}

/* As far as it is about stops, @a is @b. */
static bool same_about_stops(const AutoConvergeConfig *a,
                             const AutoConvergeConfig *b)
{
    return a->fallback == b->fallback && a->deadline_s == b->deadline_s &&
           a->fallback_downtime_ms == b->fallback_downtime_ms &&
           a->switchover_bps == b->switchover_bps;
}

/* What it forbids ends at once, what it allows begins at once. */
void policy_laws_reconfigure(const PolicyCall *call)
{
    const AutoConvergeDecision *before = &call->before->last;
    const AutoConvergeConfig *config = call->config;
    const AutoConvergeDecision *now = call->now;

    if (call->before->stop_barred &&
        same_about_stops(&call->before->config, config)) {
        LAW(call->after->attempts == call->before->attempts);
        LAW(call->after->stop_barred && !now->switchover);
    } else {
        LAW(call->after->attempts <= 1 && !call->after->stop_barred);
    }
    LAW(before->phase != AUTO_CONVERGE_PHASE_WATCH ||
        now->phase == AUTO_CONVERGE_PHASE_WATCH);
    if (is_throttled(before)) {
        LAW(is_throttled(now));
        LAW(now->throttle_permille == MIN(before->throttle_permille,
                                          ceiling_permille(config)));
    }
    LAW(now->throttle_permille <= ceiling_permille(config));
    LAW(!before->post_copy || now->post_copy);
    LAW(!now->switchover ||
        config->fallback == AUTO_CONVERGE_FALLBACK_STOP_AND_COPY);
    if (before->phase == AUTO_CONVERGE_PHASE_LET_GO &&
        config->fallback == AUTO_CONVERGE_FALLBACK_POST_COPY) {
        LAW(now->post_copy == (call->before->leased_permille == 0));
    }
    if (now->switchover && config->fallback_downtime_ms > 0 &&
        call->after->stop_bytes < (double)UINT64_MAX) {
        LAW(within_ms(auto_converge_stop_length_ms(call->after, config,
                                                   call->after->stop_bytes),
                      config->fallback_downtime_ms));
    }
}

/* The rate changed, not the guest: nothing is decided. */
void policy_laws_restart_window(const PolicyCall *call)
{
    LAW(call->now->phase == call->before->last.phase);
    LAW(call->now->reason == call->before->last.reason);
    LAW(call->now->throttle_permille == call->before->last.throttle_permille);
    LAW(!call->now->complete);
}

/* A throttle is a lease: not renewed, it ends. */
void policy_laws_lease_up(const PolicyCall *call)
{
    const AutoConvergeDecision *before = &call->before->last;
    const AutoConvergeDecision *now = call->now;

    LAW(now->look_ms == 0 && !now->complete);
    LAW(now->throttle_permille == 0);
    if (is_throttled(before)) {
        LAW(now->phase == AUTO_CONVERGE_PHASE_LET_GO);
        LAW(now->reason == AUTO_CONVERGE_REASON_STALLED);
        LAW(call->after->leased_permille == before->throttle_permille);
    } else {
        LAW(now->phase == before->phase);
        LAW(now->reason == before->reason);
    }
}

void policy_laws_stop_ended(const PolicyCall *call, AutoConvergeReason reason)
{
    LAW(call->now->phase == AUTO_CONVERGE_PHASE_LET_GO);
    LAW(call->now->reason == reason);
    LAW(call->now->look_ms == 0 && !call->now->complete);
    LAW(call->after->wait_s > 0);
}

void policy_laws_same(const AutoConvergeDecision *a,
                      const AutoConvergeDecision *b)
{
    LAW(a->phase == b->phase);
    LAW(a->reason == b->reason);
    LAW(a->throttle_permille == b->throttle_permille);
    LAW(a->complete == b->complete);
    LAW(a->switchover == b->switchover);
    LAW(a->post_copy == b->post_copy);
    LAW(a->dirty_rate_bps == b->dirty_rate_bps);
    LAW(a->transfer_rate_bps == b->transfer_rate_bps);
    LAW(a->look_ms == b->look_ms);
    LAW(a->look_bytes == b->look_bytes);
    LAW(a->predicted_downtime_ms == b->predicted_downtime_ms);
    LAW(a->predicted_time_ms == b->predicted_time_ms);
    LAW(a->predicted_loss_ms == b->predicted_loss_ms);
}

void policy_laws_stop_length(const AutoConvergeState *state,
                             const AutoConvergeConfig *config,
                             uint64_t bytes, uint64_t more_bytes)
{
    uint64_t ms = auto_converge_stop_length_ms(state, config, bytes);
    uint64_t more_ms = auto_converge_stop_length_ms(state, config, more_bytes);

    LAW(bytes > more_bytes || ms <= more_ms);
    LAW((ms == AUTO_CONVERGE_NEVER) ==
        (config->switchover_bps == 0 && state->link_bps <= 0));
}
