/*
 * Adaptive auto-converge: what it looks for within a pass
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "auto-converge-windows.h"

/*
 * A look at the ceiling: a fifth of the 640 MiB was sent, and what of it is
 * dirty again only gets more.  Above 0.6, which the whole pass would be judged
 * by, that is enough; what is less is told by the next look, or the whole pass.
 */
static void test_ceiling_look(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeSample part = window(1500, 15, 100, 150, 600);
    AutoConvergeDecision d;
    int i;

    part.partial = true;
    d = reach_ceiling(&state, &defaults);
    g_assert_cmpuint(d.look_ms, ==, 1281);
    d = step(&state, &defaults, part);
    g_assert_true(d.switchover);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 6000);
    g_assert_cmpuint(d.look_ms, ==, 0);

    /* 85 of 150, four times, and the rest: as one window */
    reach_ceiling(&state, &defaults);
    part.dirty_bytes = 85 * MIB;
    for (i = 0; i < 4; i++) {
        d = step(&state, &defaults, part);
        g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
        g_assert_cmpuint(d.look_ms, ==, i < 3 ? 1281 : 420);
    }
    d = step(&state, &defaults, window(1400, 14, 20, 140, 360));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_HOLD);
    g_assert_cmpuint(d.transfer_rate_bps, ==, 100 * MIB);
    g_assert_cmpuint(d.dirty_rate_bps, ==, 360 * MIB * 10 / 74 + 1);

    /* Too little was sent: 127 of 128 MiB */
    reach_ceiling(&state, &defaults);
    part = window(1270, 12, 127, 127, 600);
    part.partial = true;
    d = step(&state, &defaults, part);
    g_assert_false(d.switchover);

    /* Where there is nothing to fall back to, nobody looks. */
    config.fallback = AUTO_CONVERGE_FALLBACK_NONE;
    d = reach_ceiling(&state, &config);
    g_assert_cmpuint(d.look_ms, ==, 0);
    part.drained_bytes = 150 * MIB;
    part.dirty_bytes = 150 * MIB;
    d = step(&state, &config, part);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);

    /* ... until there is. */
    d = auto_converge_reconfigure(&state, &defaults);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpuint(d.look_ms, ==, 1085);
    d = step(&state, &defaults, part);
    g_assert_true(d.switchover);

    /* What fits by then is completed. */
    reach_ceiling(&state, &defaults);
    part.remaining_bytes = 20 * MIB;
    part.drained_bytes = 630 * MIB;
    d = step(&state, &defaults, part);
    g_assert_true(d.complete);
    g_assert_false(d.switchover);
}

/*
 * A throttle that is not enough is seen in the first fifth of its window: of
 * 500 MiB 400 are dirty again.  It becomes firmer as if that was the whole:
 * U was 2500 and is 2000 for a quarter of the run time.
 */
static void test_throttle_look(void)
{
    AutoConvergeState state;
    AutoConvergeSample part = window(5000, 500, 400, 500, 2400);
    AutoConvergeDecision d;

    part.partial = true;
    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 10000, 2500, 1000, 2500));
    g_assert_cmpuint(d.throttle_permille, ==, 900);
    g_assert_cmpuint(d.look_ms, ==, 5001);
    d = step(&state, &defaults, part);
    g_assert_cmpuint(d.throttle_permille, >, 900);

    /* At half of it, nothing can be said yet. */
    init_from_garbage(&state);
    step(&state, &defaults, window(10000, 10000, 2500, 1000, 2500));
    part.dirty_bytes = 250 * MIB;
    d = step(&state, &defaults, part);
    g_assert_cmpuint(d.throttle_permille, ==, 900);
    g_assert_cmpuint(d.look_ms, ==, 5001);
}

/*
 * 1000 MiB at 100 MiB/s are written over and over.  The bulk pass has told
 * that, so the next is looked at, for a fifth of its 10 s or until 600 MiB are
 * dirty.
 */
static AutoConvergeDecision begin_first_look(AutoConvergeState *state,
                                             const AutoConvergeConfig *config)
{
    AutoConvergeDecision d;

    init_from_garbage(state);
    d = step(state, config, window(10000, 10000, 1000, 1000, 1000));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_UNCONFIRMED);
    g_assert_cmpuint(d.throttle_permille, ==, 0);
    g_assert_cmpuint(d.look_ms, ==, 2000);
    g_assert_cmpuint(d.look_bytes, ==, 600 * MIB);
    return d;
}

/* So much was dirty after 1/16, 1/8, 1/4 ... s, and less of it was new. */
static AutoConvergeSample look(uint64_t ms, const unsigned *dirty,
                               unsigned count)
{
    AutoConvergeSample sample = window(ms, ms, ms / 100, ms / 10,
                                       1000 - ms / 10 + ms / 100);
    unsigned i;

    sample.partial = true;
    sample.count = count;
    for (i = 0; i < count; i++) {
        sample.counts[i].guest_run_ns = (63 << i) * MS_TO_NS;
        sample.counts[i].dirty_bytes = dirty[i] * MIB;
    }
    return sample;
}

/*
 * The throttle is read off the curve.  With 800 MiB/s a quarter of the 955 MiB
 * that are left are dirty after 298 ms, which is 3.1 % of 9.55 s.  The bulk
 * pass alone would have asked for 75 %.
 */
static void test_first_look(void)
{
    static const unsigned linear[] = { 50, 101, 202, 403 };
    static const unsigned saturated[] = { 600 };
    static const unsigned steep[] = { 550, 700 };
    static const unsigned calm[] = { 1, 2, 4, 8, 16 };
    AutoConvergeConfig config = defaults;
    AutoConvergeState state;
    AutoConvergeDecision d;

    config.looks = true;
    begin_first_look(&state, &config);
    d = step(&state, &config, look(504, linear, ARRAY_SIZE(linear)));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_ENGAGE);
    g_assert_cmpuint(d.throttle_permille, ==, 969);
    g_assert_cmpuint(d.look_bytes, ==, 0);

    /* At the ceiling, 67 % would be dirty again: it is stopped at once. */
    begin_first_look(&state, &config);
    d = step(&state, &config, look(63, saturated, ARRAY_SIZE(saturated)));
    g_assert_true(d.switchover);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_STOP_AND_COPY);
    g_assert_cmpuint(d.throttle_permille, ==, 0);
    g_assert_cmpuint(d.predicted_downtime_ms, <, 10001);
    g_assert_cmpuint(d.look_ms, ==, 0);

    /* ... unless that is too long, or nobody wants it. */
    config.fallback_downtime_ms = 9000;
    begin_first_look(&state, &config);
    d = step(&state, &config, look(63, saturated, ARRAY_SIZE(saturated)));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    config.fallback_downtime_ms = 0;
    config.fallback = AUTO_CONVERGE_FALLBACK_NONE;
    begin_first_look(&state, &config);
    d = step(&state, &config, look(63, saturated, ARRAY_SIZE(saturated)));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    config.fallback = AUTO_CONVERGE_FALLBACK_STOP_AND_COPY;

    /*
     * At the ceiling the guest executes 99 ms of a pass, in which it dirties
     * between 550 and 700 MiB, by interpolation 645.
     */
    begin_first_look(&state, &config);
    d = step(&state, &config, look(126, steep, ARRAY_SIZE(steep)));
    g_assert_true(d.switchover);

    /* What was in vain too often is not tried once more. */
    config.fallback = AUTO_CONVERGE_FALLBACK_NONE;
    begin_first_look(&state, &config);
    state.attempts = 8;
    d = step(&state, &config, look(504, linear, ARRAY_SIZE(linear)));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
    config.fallback = AUTO_CONVERGE_FALLBACK_STOP_AND_COPY;

    /* It has become calm: nothing happens, and the window goes on. */
    begin_first_look(&state, &config);
    d = step(&state, &config, look(2000, calm, ARRAY_SIZE(calm)));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
    g_assert_cmpuint(d.throttle_permille, ==, 0);
    g_assert_cmpuint(d.look_ms, ==, 0);
    d = step(&state, &config, window(8000, 8000, 70, 800, 90));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    g_assert_cmpuint(d.transfer_rate_bps, ==, 100 * MIB);
}

/*
 * At the ceiling, of 10 %, a guest that writes as fast as is sent leaves 90 % a
 * pass.  From 600 MiB it comes to the 30 MiB that fit after 29 passes, at a
 * cost of less than one stop; from 1200 MiB after 36, which are too many.
 */
static void test_first_look_passes(void)
{
    AutoConvergeConfig config = defaults;

    config.looks = true;
    config.throttle_max_pct = 10;
    for (unsigned left = 600; left <= 1200; left += 600) {
        AutoConvergeSample part = window(left * 5 / 2, left * 5 / 2, left / 4,
                                         left / 4, left);
        AutoConvergeState state;

        part.partial = true;
        part.count = 2;
        part.counts[0] = (AutoConvergeCount) { left * MS_TO_NS,
                                               left * MIB / 10 };
        part.counts[1] = (AutoConvergeCount) { left * 5 / 2 * MS_TO_NS,
                                               left * MIB / 4 };
        begin(&state, 20000, left);
        step_twice(&state, &config, window(left * 10, left * 10, left, left,
                                           left));
        g_assert_true(state.looks);
        g_assert_cmpint(step(&state, &config, part).switchover, ==,
                        left == 1200);
    }
}

/* A pass is looked at when a fifth of it is as long as the first count. */
static void test_look_long_passes(void)
{
    AutoConvergeConfig config = defaults;

    config.looks = true;
    config.downtime_limit_ms = 100;
    for (unsigned left = 25; left <= 40; left += 15) {
        AutoConvergeState state;

        begin(&state, 20000, left);
        step_twice(&state, &config, window(left * 10, left * 10, left, left,
                                           left));
        g_assert_cmpint(state.looks, ==, left == 40);
        g_assert_cmpint(state.last.throttle_permille > 0, ==, left == 25);
    }
}

/*
 * Busy in every other window, and always found calm when it is looked at: it is
 * throttled all the same when it could have waited for long enough.
 */
static void test_looks_end(void)
{
    static const unsigned calm[] = { 1, 2, 3, 4 };
    AutoConvergeSample idle = look(504, calm, ARRAY_SIZE(calm));
    AutoConvergeConfig config = defaults;
    AutoConvergeState state;
    AutoConvergeDecision d;
    unsigned looks = 0, i;

    config.looks = true;
    idle.guest_run_ns /= 20;
    for (i = 0; i < ARRAY_SIZE(calm); i++) {
        idle.counts[i].guest_run_ns /= 20;
    }
    begin(&state, 20000, 640);
    for (i = 0; i < 1000; i++) {
        d = step(&state, &config, window(6400, 6400, 640, 640, 640));
        if (d.throttle_permille > 0) {
            break;
        }
        if (state.looks) {
            looks++;
            d = step(&state, &config, idle);
            g_assert_cmpuint(d.throttle_permille, ==, 0);
        }
        d = step(&state, &config, window(6400, 6400, 200, 640, 640));
        g_assert_cmpuint(d.throttle_permille, ==, 0);
    }
    g_assert_cmpuint(i, <, 1000);
    g_assert_cmpuint(looks, ==, 1);
}

/*
 * A log that is not QEMU's cannot be counted, or hardly.  All that is known
 * then is that 160 of the 200 MiB that were sent are dirty again, so not more
 * than 800 of all after 2 s, and 1000 after 10 s.  So flat a curve asks for the
 * ceiling; that it is in vain was not measured.
 */
static void test_first_look_uncounted(void)
{
    static const unsigned few[] = { 1, 2 };
    AutoConvergeConfig config = defaults;
    AutoConvergeState state;
    AutoConvergeSample part = look(2000, few, ARRAY_SIZE(few));
    AutoConvergeDecision d[2];
    unsigned i;

    config.looks = true;
    part.dirty_bytes = 160 * MIB;
    part.remaining_bytes = 960 * MIB;
    for (i = 0; i < ARRAY_SIZE(d); i++) {
        begin_first_look(&state, &config);
        d[i] = step(&state, &config, part);
        g_assert_cmpint(d[i].phase, ==, AUTO_CONVERGE_PHASE_CEILING);
        part.count = 0;
    }
    g_assert_cmpint(d[0].reason, ==, d[1].reason);
}

/* No look: the pass is too short; or there is a deadline. */
static void test_no_first_look(void)
{
    AutoConvergeConfig config = defaults;
    AutoConvergeState state;
    AutoConvergeDecision d;

    config.looks = true;
    init_from_garbage(&state);
    d = step(&state, &config, window(10000, 10000, 31, 31, 31));
    g_assert_cmpuint(d.throttle_permille, ==, 0);
    g_assert_cmpuint(d.look_ms, >, 0);
    d = step(&state, &config, window(10000, 10000, 31, 31, 31));
    g_assert_cmpuint(d.throttle_permille, >, 0); /* no look came */

    config.deadline_s = 25;
    init_from_garbage(&state);
    d = step(&state, &config, window(10000, 10000, 1000, 1000, 1000));
    g_assert_cmpuint(d.throttle_permille, >, 0);
}

void add_look_tests(void)
{
    g_test_add_func("/auto-converge/ceiling/look", test_ceiling_look);
    g_test_add_func("/auto-converge/law/look", test_throttle_look);
    g_test_add_func("/auto-converge/law/first-look", test_first_look);
    g_test_add_func("/auto-converge/law/first-look-passes",
                    test_first_look_passes);
    g_test_add_func("/auto-converge/law/look-long-passes",
                    test_look_long_passes);
    g_test_add_func("/auto-converge/law/looks-end", test_looks_end);
    g_test_add_func("/auto-converge/law/first-look-uncounted",
                    test_first_look_uncounted);
    g_test_add_func("/auto-converge/law/no-first-look", test_no_first_look);
}
