/*
 * What the policy promises of a decision about a window
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where looks came before it, the decision is made of their sum, which is
 * private to the policy; most of these laws are about the others.
 */

#include "qemu/osdep.h"
#include <math.h>
#include "fuzz-input.h"
#include "policy-laws.h"

#define NS_PER_S 1e9

/* The run share at most doubles when a throttle is released. */
#define RELEASE_FACTOR_MAX 2

/* A window is bad above this ratio, whatever the threshold is. */
#define RATIO_MAX (8.0 / 9)

/* No looks before it: it is all that the decision is made of. */
static bool is_fresh(const PolicyCall *call)
{
    const AutoConvergeSample *so_far = &call->before->so_far;

    return so_far->elapsed_ns == 0 && so_far->drained_bytes == 0;
}

static bool is_usable(const AutoConvergeSample *sample)
{
    return sample->elapsed_ns > 0 && sample->drained_bytes > 0;
}

static void law_ceiling(const PolicyCall *call)
{
    const AutoConvergeDecision *now = call->now;
    unsigned ceiling = ceiling_permille(call->config);

    LAW(now->throttle_permille <= ceiling);
    if (is_throttled(now)) {
        LAW((now->phase == AUTO_CONVERGE_PHASE_CEILING) ==
            (now->throttle_permille == ceiling));
    }
}

/* A sample that says nothing changes nothing, but for a lower ceiling. */
static void law_rejected(const PolicyCall *call)
{
    const AutoConvergeDecision *before = &call->before->last;
    const AutoConvergeDecision *now = call->now;
    bool stays = before->phase == AUTO_CONVERGE_PHASE_FALLBACK ||
                 before->phase == AUTO_CONVERGE_PHASE_LET_GO;

    LAW(!now->complete);
    LAW(now->predicted_downtime_ms == AUTO_CONVERGE_NEVER);
    LAW(now->predicted_time_ms == AUTO_CONVERGE_NEVER);
    LAW(now->predicted_loss_ms == AUTO_CONVERGE_NEVER);
    if (stays) {
        LAW(now->phase == before->phase);
        LAW(now->reason == before->reason);
        LAW(now->throttle_permille == 0);
    } else {
        LAW(now->reason == AUTO_CONVERGE_REASON_REJECTED);
        LAW(now->throttle_permille == MIN(before->throttle_permille,
                                          ceiling_permille(call->config)));
    }
}

static void law_predictions(const AutoConvergeDecision *now)
{
    LAW(now->predicted_downtime_ms < AUTO_CONVERGE_NEVER);
    if (now->complete || now->switchover) {
        LAW(now->predicted_time_ms == now->predicted_downtime_ms);
    }
    if (now->switchover) {
        LAW(now->predicted_loss_ms == now->predicted_downtime_ms);
    } else if (now->post_copy) {
        LAW(now->predicted_time_ms < AUTO_CONVERGE_NEVER);
        LAW(now->predicted_loss_ms == 0);
    } else {
        LAW((now->predicted_time_ms == AUTO_CONVERGE_NEVER) ==
            (now->predicted_loss_ms == AUTO_CONVERGE_NEVER));
    }
}

/*
 * A fallback is final, and begins only where it is allowed.  One that has not
 * begun by the end of the next window holds nobody back.
 */
static void law_fallback(const PolicyCall *call)
{
    const AutoConvergeDecision *before = &call->before->last;
    const AutoConvergeConfig *config = call->config;
    const AutoConvergeDecision *now = call->now;

    if (before->phase == AUTO_CONVERGE_PHASE_FALLBACK) {
        LAW(now->phase == AUTO_CONVERGE_PHASE_FALLBACK);
        LAW(now->reason == before->reason);
        LAW(now->switchover == before->switchover);
        LAW(now->throttle_permille == 0);
        LAW(!now->complete);
    } else if (now->phase == AUTO_CONVERGE_PHASE_FALLBACK) {
        LAW(config->fallback != AUTO_CONVERGE_FALLBACK_NONE);
        LAW(now->post_copy ==
            (config->fallback == AUTO_CONVERGE_FALLBACK_POST_COPY));
        LAW(now->post_copy || config->fallback_downtime_ms == 0 ||
            within_ms(now->predicted_downtime_ms,
                      config->fallback_downtime_ms));
    }
}

/* U / T and S / T, per second */
static void law_rates(const PolicyCall *call)
{
    const AutoConvergeSample *sample = call->sample;
    const AutoConvergeDecision *now = call->now;
    double elapsed_s = sample->elapsed_ns / NS_PER_S;
    double most_bps = (double)UINT64_MAX;
    double dirty_bps = fmin(sample->dirty_bytes / elapsed_s, most_bps);
    double drain_bps = fmin(sample->drained_bytes / elapsed_s, most_bps);

    LAW(fabs(now->dirty_rate_bps - dirty_bps) <= 1 + ROUNDING * dirty_bps);
    LAW(fabs(now->transfer_rate_bps - drain_bps) <= 1 + ROUNDING * drain_bps);
}

/* QEMU may complete when the rest fits, by the rate of dirty pages. */
static void law_complete(const PolicyCall *call)
{
    const AutoConvergeDecision *now = call->now;
    uint64_t limit_ms = call->config->downtime_limit_ms;
    bool decided = call->before->leased_permille == 0 &&
                   call->before->last.phase != AUTO_CONVERGE_PHASE_FALLBACK;

    if (now->complete) {
        LAW(call->before->has_point);
        LAW(within_ms(now->predicted_downtime_ms, limit_ms));
    } else if (decided && call->before->has_point) {
        LAW(now->predicted_downtime_ms + 1 >= limit_ms * (1 - ROUNDING));
    }
}

/* A throttle becomes firmer only in a bad window, and then by enough. */
static void law_firmer(const PolicyCall *call)
{
    unsigned before = call->before->last.throttle_permille;
    unsigned now = call->now->throttle_permille;
    unsigned ceiling = ceiling_permille(call->config);
    unsigned initial = clamp_pct(call->config->throttle_initial_pct) *
                       PCT_TO_PERMILLE;
    unsigned increment = clamp_pct(call->config->throttle_increment_pct) *
                         PCT_TO_PERMILLE;

    if (call->now->reason == AUTO_CONVERGE_REASON_RESUME) {
        LAW(now == MIN(call->before->leased_permille, ceiling));
    } else if (before == 0) {
        LAW(now >= MIN(initial, ceiling));
    } else {
        LAW(now >= MIN(before + increment, ceiling));
    }
}

/* A good one: at most twice the run share, and never less. */
static void law_milder(const PolicyCall *call)
{
    unsigned before = call->before->last.throttle_permille;
    unsigned now = call->now->throttle_permille;

    LAW(now <= before);
    LAW(PERMILLE - now <= RELEASE_FACTOR_MAX * (PERMILLE - before) + 1 ||
        now == ceiling_permille(call->config));
}

/* U / S, where S of the bulk pass is without its zero pages */
static double ratio_of(const PolicyCall *call)
{
    const AutoConvergeSample *sample = call->sample;
    double sent_bytes = sample->drained_bytes;

    if (!call->before->has_point &&
        sample->zero_bytes < sample->drained_bytes) {
        sent_bytes -= sample->zero_bytes;
    }
    return sample->dirty_bytes / sent_bytes;
}

static void law_ratio(const PolicyCall *call)
{
    const AutoConvergeSample *sample = call->sample;
    const AutoConvergeDecision *before = &call->before->last;
    const AutoConvergeDecision *now = call->now;
    unsigned pct = MIN(MAX(call->config->trigger_threshold_pct, 1), 100);
    double threshold = fmin(pct / 100.0, RATIO_MAX);
    double ratio = ratio_of(call);

    if (now->throttle_permille > before->throttle_permille ||
        now->reason == AUTO_CONVERGE_REASON_RAISE) {
        LAW(now->reason == AUTO_CONVERGE_REASON_RESUME ||
            ratio > threshold * (1 - ROUNDING));
        law_firmer(call);
    } else if (ratio < threshold * (1 - ROUNDING) &&
               call->before->leased_permille == 0 &&
               now->phase != AUTO_CONVERGE_PHASE_FALLBACK) {
        LAW(now->phase != AUTO_CONVERGE_PHASE_LET_GO);
        LAW(before->throttle_permille > 0 ||
            now->reason == AUTO_CONVERGE_REASON_CONVERGES);
        law_milder(call);
    }
    /* Below the ceiling, no throttle is held that is in vain. */
    if (before->phase == AUTO_CONVERGE_PHASE_THROTTLE &&
        now->phase == AUTO_CONVERGE_PHASE_THROTTLE && !now->complete &&
        sample->remaining_bytes > 0 && ratio > threshold * (1 + ROUNDING)) {
        LAW(now->throttle_permille > before->throttle_permille);
    }
}

void policy_laws_update(const PolicyCall *call)
{
    const AutoConvergeSample *sample = call->sample;

    law_ceiling(call);
    law_fallback(call);
    /* Tried too often: until a parameter changes, there is no throttle. */
    LAW(call->before->attempts < ATTEMPTS_MAX || !is_throttled(call->now));
    if (!is_fresh(call)) {
        return;
    }
    if (!is_usable(sample)) {
        law_rejected(call);
        return;
    }
    law_rates(call);
    law_predictions(call->now);
    if (!sample->partial) {
        law_complete(call);
        law_ratio(call);
    }
}
