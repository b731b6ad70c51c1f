/*
 * A migration that bytes make up: what the policy is told, one call at a time
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Most windows are those of a guest and a link that could be, each with another
 * rate: else nothing but the first branch of each decision would be reached.
 * The rest is of any numbers at all.
 */

#include "qemu/osdep.h"
#include <math.h>
#include "policy-laws.h"
#include "policy-steps.h"

#define NS_PER_S 1e9
#define ROUNDING_S 1e-6

/* RAM of 1 MiB << 0..23, 8 TiB */
#define RAM_LEAST_BYTES 1048576ULL
#define RAM_SHIFTS 24

/* A link of 1 MB/s << 0..15, 33 GB/s */
#define LINK_LEAST_BPS 1e6
#define LINK_SHIFTS 16

/* What a byte is, divided by this, is U / S: up to 4 and near to 0. */
#define RATIO_UNITS 64.0

/* A page more or less was dirtied than was sent for; so R is not always U. */
#define SLACK_PAGES 16
#define PAGE_BYTES 4096

#define CALL_KINDS 32

typedef struct Migration {
    AutoConvergeState state;
    AutoConvergeState twin; /* told the same */
    AutoConvergeConfig config;
    uint64_t remaining_bytes;
    uint64_t since_start_ns;
    double barred_s; /* what is left of the wait for another stop */
    PolicyTally *tally;
} Migration;

/* Within the ranges of the parameters, or, at times, outside of them */
static unsigned some_pct(FuzzInput *input)
{
    unsigned byte = fuzz_byte(input);

    return byte <= 100 ? byte : byte < 250 ? byte % 100 : fuzz_u64(input);
}

/* 0, which has a meaning of its own, as often as not */
static uint64_t some_ms(FuzzInput *input)
{
    unsigned byte = fuzz_byte(input);

    return byte < 128 ? 0 : byte < 224 ? (byte - 128) * 100 : fuzz_u64(input);
}

static AutoConvergeConfig some_config(FuzzInput *input)
{
    unsigned choices = fuzz_byte(input);
    AutoConvergeConfig config = {
        .trigger_threshold_pct = 50,
        .throttle_initial_pct = 20,
        .throttle_increment_pct = 10,
        .throttle_max_pct = 99,
        .fallback = choices % 3,
        .fallback_downtime_ms = some_ms(input),
        .downtime_limit_ms = 300,
        .looks = choices & 4,
    };

    if (choices & 8) {
        config.trigger_threshold_pct = some_pct(input);
        config.throttle_initial_pct = some_pct(input);
        config.throttle_increment_pct = some_pct(input);
    }
    if (choices & 16) {
        config.throttle_max_pct = some_pct(input);
    }
    if (choices & 32) {
        config.downtime_limit_ms = some_ms(input);
    }
    if (choices & 64) {
        config.switchover_bps = fuzz_u64(input);
    }
    if (choices & 128) {
        config.deadline_s = some_ms(input);
    }
    return config;
}

static uint64_t to_u64(double value)
{
    return value < (double)UINT64_MAX ? (uint64_t)value : UINT64_MAX;
}

static void some_counts(FuzzInput *input, AutoConvergeSample *sample)
{
    double run_ns = 0, dirty_bytes = 0;
    unsigned i;

    sample->count = fuzz_byte(input) % (AUTO_CONVERGE_COUNTS_MAX + 1);
    for (i = 0; i < sample->count; i++) {
        run_ns += fuzz_share(input) * sample->guest_run_ns;
        dirty_bytes += fuzz_share(input) * sample->dirty_bytes;
        sample->counts[i] = (AutoConvergeCount) {
            to_u64(run_ns), to_u64(dirty_bytes)
        };
    }
}

/* A window, or a look, of a guest and a link that could be */
static AutoConvergeSample likely_sample(FuzzInput *input, Migration *m,
                                        bool partial)
{
    double link_bps = LINK_LEAST_BPS *
                      (1 << fuzz_byte(input) % LINK_SHIFTS);
    double part = partial ? fuzz_share(input) : 1;
    AutoConvergeSample sample = { .partial = partial };
    unsigned extras = fuzz_byte(input);

    sample.drained_bytes = to_u64(part * m->remaining_bytes);
    sample.elapsed_ns = to_u64(sample.drained_bytes / link_bps * NS_PER_S);
    sample.guest_run_ns = to_u64(fuzz_share(input) * sample.elapsed_ns);
    sample.dirty_bytes = to_u64(sample.drained_bytes / RATIO_UNITS *
                                fuzz_byte(input));
    sample.remaining_bytes = m->remaining_bytes - sample.drained_bytes +
                             sample.dirty_bytes +
                             extras % SLACK_PAGES * PAGE_BYTES;
    if (extras & 64) {
        sample.other_bytes = fuzz_u64(input);
    }
    if (extras & 128) {
        sample.zero_bytes = to_u64(fuzz_share(input) * sample.drained_bytes);
    }
    if (partial) {
        some_counts(input, &sample);
    }
    m->since_start_ns += sample.elapsed_ns;
    sample.since_start_ns = m->since_start_ns;
    return sample;
}

static AutoConvergeSample any_sample(FuzzInput *input)
{
    AutoConvergeSample sample = {
        .since_start_ns = fuzz_u64(input),
        .elapsed_ns = fuzz_u64(input),
        .guest_run_ns = fuzz_u64(input),
        .dirty_bytes = fuzz_u64(input),
        .drained_bytes = fuzz_u64(input),
        .remaining_bytes = fuzz_u64(input),
        .other_bytes = fuzz_u64(input),
        .zero_bytes = fuzz_u64(input),
        .partial = fuzz_byte(input) & 1,
        .count = fuzz_byte(input),
    };
    unsigned i;

    for (i = 0; i < MIN(sample.count, AUTO_CONVERGE_COUNTS_MAX); i++) {
        sample.counts[i].guest_run_ns = fuzz_u64(input);
        sample.counts[i].dirty_bytes = fuzz_u64(input);
    }
    return sample;
}

/* What is common to all calls; the twin was told the same before. */
static void check(Migration *m, PolicyCall *call,
                  const AutoConvergeDecision *now,
                  const AutoConvergeDecision *twin)
{
    call->after = &m->state;
    call->config = &m->config;
    call->now = now;
    policy_laws_same(now, twin);
    policy_laws_always(call);
    m->tally->reasons[now->reason]++;
}

static void update(Migration *m, const AutoConvergeSample *sample)
{
    AutoConvergeState before = m->state;
    PolicyCall call = { .before = &before, .sample = sample };
    AutoConvergeDecision now, twin;

    now = auto_converge_update(&m->state, &m->config, sample);
    twin = auto_converge_update(&m->twin, &m->config, sample);
    check(m, &call, &now, &twin);
    policy_laws_update(&call);
    m->barred_s -= fmin(sample->elapsed_ns / NS_PER_S, m->barred_s);
    /* A stop that was ended is not made again so soon, deadline or not. */
    LAW(m->barred_s <= ROUNDING_S || !now.switchover ||
        now.reason != AUTO_CONVERGE_REASON_DEADLINE);
    m->remaining_bytes = sample->remaining_bytes;
    m->tally->updates++;
    m->tally->phases[now.phase]++;
}

static void reconfigure(FuzzInput *input, Migration *m)
{
    AutoConvergeState before = m->state;
    PolicyCall call = { .before = &before };
    AutoConvergeDecision now, twin;

    m->config = some_config(input);
    now = auto_converge_reconfigure(&m->state, &m->config);
    twin = auto_converge_reconfigure(&m->twin, &m->config);
    check(m, &call, &now, &twin);
    policy_laws_reconfigure(&call);
    m->barred_s = 0;
}

static void restart_window(FuzzInput *input, Migration *m)
{
    AutoConvergeState before = m->state;
    PolicyCall call = { .before = &before };
    uint64_t bytes = fuzz_byte(input) & 1 ? fuzz_u64(input) :
                                            m->remaining_bytes;
    AutoConvergeDecision now, twin;

    now = auto_converge_restart_window(&m->state, &m->config, bytes);
    twin = auto_converge_restart_window(&m->twin, &m->config, bytes);
    check(m, &call, &now, &twin);
    policy_laws_restart_window(&call);
}

static void lease_up(Migration *m)
{
    AutoConvergeState before = m->state;
    PolicyCall call = { .before = &before };
    AutoConvergeDecision now = auto_converge_lease_up(&m->state);
    AutoConvergeDecision twin = auto_converge_lease_up(&m->twin);

    check(m, &call, &now, &twin);
    policy_laws_lease_up(&call);
}

/* Of a stop that there is */
static void stop_ended(FuzzInput *input, Migration *m)
{
    static const AutoConvergeReason reasons[] = {
        AUTO_CONVERGE_REASON_OUTLASTED, AUTO_CONVERGE_REASON_STALLED,
        AUTO_CONVERGE_REASON_TOO_LONG,
    };
    AutoConvergeReason reason = reasons[fuzz_byte(input) %
                                        ARRAY_SIZE(reasons)];
    uint64_t stopped_ns = fuzz_u64(input);
    AutoConvergeState before = m->state;
    PolicyCall call = { .before = &before };
    AutoConvergeDecision now, twin;

    if (!m->state.last.switchover) {
        return;
    }
    now = auto_converge_stop_ended(&m->state, reason, stopped_ns);
    twin = auto_converge_stop_ended(&m->twin, reason, stopped_ns);
    check(m, &call, &now, &twin);
    policy_laws_stop_ended(&call, reason);
    m->barred_s = m->state.wait_s;
}

static void begin(FuzzInput *input, Migration *m)
{
    /* What was in the memory before must not matter. */
    memset(&m->state, 0xa5, sizeof(m->state));
    memset(&m->twin, 0x5a, sizeof(m->twin));
    auto_converge_init(&m->state);
    auto_converge_init(&m->twin);
    m->config = some_config(input);
    m->remaining_bytes = RAM_LEAST_BYTES << fuzz_byte(input) % RAM_SHIFTS;
    m->since_start_ns = 0;
    m->barred_s = 0;
}

/* Which call comes next, by a byte; most are windows that could be. */
static void step(FuzzInput *input, Migration *m)
{
    unsigned kind = fuzz_byte(input) % CALL_KINDS;
    uint64_t updates = m->tally->updates;
    AutoConvergeSample sample;

    if (kind < 18) {
        sample = likely_sample(input, m, false);
        update(m, &sample);
    } else if (kind < 24) {
        sample = likely_sample(input, m, true);
        update(m, &sample);
    } else if (kind < 26) {
        sample = any_sample(input);
        update(m, &sample);
    } else if (kind == 26) {
        reconfigure(input, m);
    } else if (kind == 27) {
        m->config = some_config(input); /* the next window is the first to know */
    } else if (kind == 28) {
        restart_window(input, m);
    } else if (kind == 29) {
        lease_up(m);
    } else if (kind == 30 && m->state.last.post_copy) {
        begin(input, m); /* that is final, so here is another one */
    } else if (kind == 30) {
        stop_ended(input, m);
    } else {
        policy_laws_stop_length(&m->state, &m->config, fuzz_u64(input),
                                fuzz_u64(input));
    }
    m->tally->other_calls += updates == m->tally->updates;
}

void policy_steps(FuzzInput *input, PolicyTally *tally)
{
    Migration m = { .tally = tally };

    begin(input, &m);
    while (input->size > 0) {
        step(input, &m);
    }
}
