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

/*
 * What an unsigned byte is taken for: up to the first of these it is within the
 * range that it is wanted in, most likely a common value; and above the second
 * one any number follows.
 */
#define PCT_AS_IS_MAX 100
#define PCT_LIKELY_MAX 249
#define MS_ZERO_MAX 127 /* 0 has a meaning of its own */
#define MS_LIKELY_MAX 223
#define MS_UNIT 100

/* What differs from the defaults of a configuration, each a bit of a byte */
enum {
    OTHER_LOOKS = 1 << 2, /* below it: the fallback */
    OTHER_PCT = 1 << 3,
    OTHER_MAX = 1 << 4,
    OTHER_DOWNTIME_LIMIT = 1 << 5,
    OTHER_SWITCHOVER_RATE = 1 << 6,
    OTHER_DEADLINE = 1 << 7,
};

/* ... and of a sample; below them: the slack */
enum {
    OTHER_BYTES = 1 << 6,
    ZERO_BYTES = 1 << 7,
};

typedef enum Call {
    CALL_WINDOW,
    CALL_LOOK,
    CALL_ANY_SAMPLE,
    CALL_RECONFIGURE,
    CALL_NEW_CONFIG, /* of which the next window is the first to know */
    CALL_RESTART_WINDOW,
    CALL_LEASE_UP,
    CALL_STOP_ENDED,
    CALL_STOP_LENGTH,
} Call;

/* Which is how likely */
static const Call calls[] = {
    [0 ... 17] = CALL_WINDOW,
    [18 ... 23] = CALL_LOOK,
    [24 ... 25] = CALL_ANY_SAMPLE,
    CALL_RECONFIGURE,
    CALL_NEW_CONFIG,
    CALL_RESTART_WINDOW,
    CALL_LEASE_UP,
    CALL_STOP_ENDED,
    CALL_STOP_LENGTH,
};

typedef struct Migration {
    AutoConvergeState state;
    AutoConvergeState twin; /* told the same */
    AutoConvergeConfig config;
    uint64_t remaining_bytes;
    uint64_t since_start_ns;
    double barred_s; /* what is left of the wait for another stop */
    PolicyTally *tally;
} Migration;

static unsigned some_pct(FuzzInput *input)
{
    unsigned byte = fuzz_byte(input);

    return byte <= PCT_AS_IS_MAX ? byte :
           byte <= PCT_LIKELY_MAX ? byte % PCT_AS_IS_MAX : fuzz_u64(input);
}

static uint64_t some_ms(FuzzInput *input)
{
    unsigned byte = fuzz_byte(input);

    return byte <= MS_ZERO_MAX ? 0 :
           byte <= MS_LIKELY_MAX ? (byte - MS_ZERO_MAX) * MS_UNIT :
           fuzz_u64(input);
}

static AutoConvergeConfig some_config(FuzzInput *input)
{
    unsigned choices = fuzz_byte(input);
    AutoConvergeConfig config = {
        .trigger_threshold_pct = 50,
        .throttle_initial_pct = 20,
        .throttle_increment_pct = 10,
        .throttle_max_pct = 99,
        .fallback = choices % (AUTO_CONVERGE_FALLBACK_POST_COPY + 1),
        .fallback_downtime_ms = some_ms(input),
        .downtime_limit_ms = 300,
        .looks = choices & OTHER_LOOKS,
    };

    if (choices & OTHER_PCT) {
        config.trigger_threshold_pct = some_pct(input);
        config.throttle_initial_pct = some_pct(input);
        config.throttle_increment_pct = some_pct(input);
    }
    if (choices & OTHER_MAX) {
        config.throttle_max_pct = some_pct(input);
    }
    if (choices & OTHER_DOWNTIME_LIMIT) {
        config.downtime_limit_ms = some_ms(input);
    }
    if (choices & OTHER_SWITCHOVER_RATE) {
        config.switchover_bps = fuzz_u64(input);
    }
    if (choices & OTHER_DEADLINE) {
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
    if (extras & OTHER_BYTES) {
        sample.other_bytes = fuzz_u64(input);
    }
    if (extras & ZERO_BYTES) {
        sample.zero_bytes = to_u64(fuzz_share(input) * sample.drained_bytes);
    }
    if (partial) {
        some_counts(input, &sample);
    }
    m->since_start_ns += sample.elapsed_ns;
    sample.since_start_ns = m->since_start_ns;
    return sample;
}

/* In statements of their own: an initializer may take them in any order. */
static AutoConvergeSample any_sample(FuzzInput *input)
{
    AutoConvergeSample sample = { 0 };
    unsigned i;

    sample.since_start_ns = fuzz_u64(input);
    sample.elapsed_ns = fuzz_u64(input);
    sample.guest_run_ns = fuzz_u64(input);
    sample.dirty_bytes = fuzz_u64(input);
    sample.drained_bytes = fuzz_u64(input);
    sample.remaining_bytes = fuzz_u64(input);
    sample.other_bytes = fuzz_u64(input);
    sample.zero_bytes = fuzz_u64(input);
    sample.partial = fuzz_byte(input) & 1;
    sample.count = fuzz_byte(input);
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
    if (m->state.stop_barred && now.phase == AUTO_CONVERGE_PHASE_LET_GO &&
        m->state.attempts != before.attempts) {
        m->barred_s = m->state.wait_s + sample->elapsed_ns / NS_PER_S;
    }
    m->barred_s -= fmin(sample->elapsed_ns / NS_PER_S, m->barred_s);
    /* A stop that was ended is not made again so soon, deadline or not. */
    LAW(m->barred_s <= ROUNDING_S + ROUNDING * m->state.wait_s ||
        !now.switchover);
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
    if (!m->state.stop_barred) {
        m->barred_s = 0;
    }
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

static void stop_length(FuzzInput *input, const Migration *m)
{
    uint64_t bytes = fuzz_u64(input);
    uint64_t more_bytes = fuzz_u64(input);

    policy_laws_stop_length(&m->state, &m->config, bytes, more_bytes);
}

static void window(FuzzInput *input, Migration *m, Call call)
{
    AutoConvergeSample sample =
        call == CALL_ANY_SAMPLE ? any_sample(input) :
        likely_sample(input, m, call == CALL_LOOK);

    update(m, &sample);
}

/* One call of the policy, of the kind that a byte says */
static void step(FuzzInput *input, Migration *m)
{
    Call call = calls[fuzz_byte(input) % ARRAY_SIZE(calls)];

    switch (call) {
    case CALL_WINDOW:
    case CALL_LOOK:
    case CALL_ANY_SAMPLE:
        window(input, m, call);
        return;
    case CALL_RECONFIGURE:
        reconfigure(input, m);
        break;
    case CALL_NEW_CONFIG:
        m->config = some_config(input);
        return;
    case CALL_RESTART_WINDOW:
        restart_window(input, m);
        break;
    case CALL_LEASE_UP:
        lease_up(m);
        break;
    case CALL_STOP_ENDED:
        if (m->state.last.post_copy) {
            begin(input, m); /* that is final, so here is another one */
            return;
        }
        stop_ended(input, m);
        break;
    case CALL_STOP_LENGTH:
        stop_length(input, m);
        break;
    }
    m->tally->other_calls++;
}

void policy_steps(FuzzInput *input, PolicyTally *tally)
{
    Migration m = { .tally = tally };

    begin(input, &m);
    while (input->size > 0) {
        step(input, &m);
    }
}
