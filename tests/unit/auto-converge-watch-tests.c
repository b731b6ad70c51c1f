/*
 * Adaptive auto-converge: how long the policy watches, and what completes
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "auto-converge-windows.h"

/*
 * 1000 MiB in 10 s with 250 MiB dirtied: ratio 0.25.  The rates are per
 * second, the stop takes 250 / 100 s, the rest 2.5 / (1 - 0.25) s.
 */
static void test_calm(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 10000, 250, 1000, 250));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    g_assert_cmpuint(d.throttle_permille, ==, 0);
    g_assert_cmpuint(d.dirty_rate_bps, ==, 25 * MIB);
    g_assert_cmpuint(d.transfer_rate_bps, ==, 100 * MIB);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 2500);
    g_assert_cmpuint(d.predicted_time_ms, ==, 3334); /* rounded up */
}

/* A guest that dirties nothing at all is calm, and no reason to divide. */
static void test_idle(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 0, 0, 1000, 0));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 0);
    g_assert_cmpuint(d.predicted_time_ms, ==, 0);
}

/* Ratio 2, but what is left, 20 MiB, takes 200 ms: it completes now. */
static void test_fits_downtime(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    step(&state, &defaults, window(10000, 10000, 20, 1000, 20));
    d = step(&state, &defaults, window(1000, 1000, 200, 100, 20));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    g_assert_cmpuint(d.throttle_permille, ==, 0);
    g_assert_cmpuint(d.predicted_time_ms, ==, 200);
    g_assert_true(d.complete);
}

/*
 * A pass of 10000 MiB that are zero and 1000 MiB that are not, in 10 s: 300 MiB
 * are no 0.3 s of the link, but 3 s.
 */
static void test_complete_zero_pages(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    for (int throttled = 0; throttled < 2; throttled++) {
        AutoConvergeSample pass = window(10000, 10000, 300, 11000, 300);

        init_from_garbage(&state);
        step(&state, &defaults, window(100000, 100000, 11000, 10000, 11000));
        if (throttled) {
            d = step_twice(&state, &defaults,
                           window(110000, 110000, 11000, 11000, 11000));
            g_assert_cmpuint(d.throttle_permille, >, 0);
        }
        pass.partial = throttled;
        pass.zero_bytes = 10000 * MIB;
        d = step(&state, &defaults, pass);
        g_assert_false(d.complete);
        g_assert_cmpuint(d.predicted_downtime_ms, ==, 3000);
        g_assert_cmpuint(auto_converge_stop_length_ms(&state, &defaults,
                                                      600 * MIB), ==, 6000);
        /* Nothing but zero pages: the link is what it was. */
        pass.zero_bytes = pass.drained_bytes;
        pass.remaining_bytes = 20 * MIB;
        d = step(&state, &defaults, pass);
        g_assert_cmpuint(d.predicted_downtime_ms, ==, 200);
    }
}

/*
 * What fits is a reason to complete, throttled or not, once for each window;
 * but not by the rate of the bulk pass.
 */
static void test_complete(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;
    AutoConvergeSample fits = window(1000, 1000, 20, 100, 20);

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 10000, 20, 1000, 20));
    g_assert_false(d.complete);
    d = step_twice(&state, &defaults, window(1000, 1000, 400, 100, 320));
    g_assert_cmpuint(d.throttle_permille, >, 0);
    g_assert_false(d.complete);
    d = step(&state, &defaults, fits);
    g_assert_cmpuint(d.throttle_permille, >, 0);
    g_assert_true(d.complete);
    g_assert_false(d.switchover);
    /* It was so when the window ended. */
    g_assert_false(auto_converge_reconfigure(&state, &defaults).complete);
    d = step(&state, &defaults, window(0, 0, 0, 0, 0));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_REJECTED);
    g_assert_false(d.complete);
    /* 20 MiB take 200 ms, and what others have pending 150. */
    fits.other_bytes = 15 * MIB;
    d = step(&state, &defaults, fits);
    g_assert_false(d.complete);
}

/*
 * A saturated hot set: as much is dirtied as was sent, give or take the noise.
 * The counter's threshold would call half of these windows good.
 */
static void test_threshold_of_100(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;

    config.trigger_threshold_pct = 100;
    init_from_garbage(&state);
    step(&state, &config, window(10000, 10000, 300, 1000, 300));
    d = step_twice(&state, &config, window(3000, 3000, 299, 300, 299));
    g_assert_cmpuint(d.throttle_permille, >, 0);
    /* At 0.8 it sinks by a fifth in each: let it. */
    init_from_garbage(&state);
    step(&state, &config, window(10000, 10000, 300, 1000, 300));
    d = step(&state, &config, window(3000, 3000, 240, 300, 240));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
}

/*
 * 20 MiB at 100 MiB/s take 200 ms.  Where the stop is known to have 40 MiB/s
 * they take 500 ms, which is beyond the limit; with 80 MiB/s 250 ms.
 */
static void test_switchover_rate(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeSample sample = window(1000, 1000, 200, 100, 20);
    AutoConvergeDecision d;

    config.switchover_bps = 40 * MIB;
    init_from_garbage(&state);
    step(&state, &config, window(10000, 10000, 20, 1000, 20));
    d = step_twice(&state, &config, sample);
    g_assert_cmpuint(d.throttle_permille, >, 0);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 500);
    g_assert_cmpuint(d.transfer_rate_bps, ==, 100 * MIB);

    config.switchover_bps = 80 * MIB;
    init_from_garbage(&state);
    step(&state, &config, window(10000, 10000, 20, 1000, 20));
    d = step(&state, &config, sample);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 250);
    g_assert_cmpuint(d.predicted_time_ms, ==, 250);
}

/*
 * Of 1000 MiB 880 are left, 30 fit: 850 <= 8 x 120.  With 900 left the pace is
 * 100, and 870 > 8 x 100.
 */
static void test_patience(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    step(&state, &defaults, window(100000, 100000, 1000, 10000, 1000));
    d = step(&state, &defaults, window(10000, 10000, 880, 1000, 880));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_PATIENCE);
    g_assert_cmpuint(d.throttle_permille, ==, 0);

    init_from_garbage(&state);
    step(&state, &defaults, window(100000, 100000, 1000, 10000, 1000));
    d = step_twice(&state, &defaults, window(10000, 10000, 900, 1000, 900));
    g_assert_cmpuint(d.throttle_permille, >, 0);
}

/*
 * At a ratio of 0.75 the rest, 75 s, takes 75 / 0.25 s, three bulk passes; at
 * 0.76 it is 317 s.  Where half of the pages were zero, the bulk pass would
 * have taken twice as long, and the other half is what the ratio is of.
 */
static void test_patience_is_short(void)
{
    AutoConvergeState state;
    AutoConvergeSample bulk = window(100000, 100000, 7600, 10000, 7600);
    AutoConvergeSample half = window(100000, 100000, 3800, 10000, 3800);
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(100000, 100000, 7500, 10000, 7500));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_PATIENCE);
    init_from_garbage(&state);
    d = step(&state, &defaults, bulk);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_ENGAGE);
    half.zero_bytes = 5000 * MIB;
    init_from_garbage(&state);
    d = step(&state, &defaults, half);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_PATIENCE);
}

/*
 * 600 of the 1000 MiB that were not zero are dirty again, of 10000 in all: the
 * next pass leaves at least 0.6 of the 600, as U is concave.  But zero pages
 * alone are calm, whatever becomes of them; and in a later pass S is S.
 */
static void test_zero_pages(void)
{
    AutoConvergeState state;
    AutoConvergeSample bulk = window(100000, 100000, 600, 10000, 600);
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, bulk);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);

    bulk.zero_bytes = 9000 * MIB;
    init_from_garbage(&state);
    d = step(&state, &defaults, bulk);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_PATIENCE);
    bulk.dirty_bytes = bulk.remaining_bytes = 950 * MIB;
    init_from_garbage(&state);
    d = step(&state, &defaults, bulk);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_ENGAGE);

    bulk.zero_bytes = 10000 * MIB;
    init_from_garbage(&state);
    d = step(&state, &defaults, bulk);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    bulk = window(10000, 10000, 100, 950, 300);
    bulk.zero_bytes = 900 * MIB;
    d = step(&state, &defaults, bulk);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
}

/*
 * A hot set of 640 MiB, 6.4 s, after 26.4 s: one window, one at the ceiling and
 * a stop are over after 45.6 s, one window and a stop after 39.2 s, a stop made
 * now after 32.8 s.
 */
static void test_deadline(void)
{
    static const struct {
        uint64_t deadline_s;
        AutoConvergePhase phase;
        AutoConvergeReason reason;
    } cases[] = {
        { 46, AUTO_CONVERGE_PHASE_WATCH, AUTO_CONVERGE_REASON_DEADLINE },
        { 45, AUTO_CONVERGE_PHASE_CEILING, AUTO_CONVERGE_REASON_FUTILE },
        { 40, AUTO_CONVERGE_PHASE_CEILING, AUTO_CONVERGE_REASON_FUTILE },
        { 39, AUTO_CONVERGE_PHASE_FALLBACK, AUTO_CONVERGE_REASON_DEADLINE },
        { 33, AUTO_CONVERGE_PHASE_FALLBACK, AUTO_CONVERGE_REASON_DEADLINE },
        /* Too late: as if there was none, but for the waiting */
        { 32, AUTO_CONVERGE_PHASE_CEILING, AUTO_CONVERGE_REASON_FUTILE },
    };
    AutoConvergeSample bad = window(6400, 6400, 640, 640, 640);

    bad.since_start_ns = 26400 * MS_TO_NS;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        AutoConvergeState state;
        AutoConvergeConfig config = defaults;
        AutoConvergeDecision d;

        config.deadline_s = cases[i].deadline_s;
        begin(&state, 20000, 640);
        d = step(&state, &config, bad);
        g_assert_cmpint(d.phase, ==, cases[i].phase);
        g_assert_cmpint(d.reason, ==, cases[i].reason);
        assert_sane(&state, &config, d);
    }
}

/* A stop for the deadline that was ended is not made again at once. */
static void test_deadline_stop_ended(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeSample bad = window(6400, 6400, 640, 640, 640);
    AutoConvergeDecision d;

    config.deadline_s = 39;
    bad.since_start_ns = 26400 * MS_TO_NS;
    begin(&state, 20000, 640);
    d = step(&state, &config, bad);
    g_assert_true(d.switchover);
    auto_converge_stop_ended(&state, AUTO_CONVERGE_REASON_STALLED, S_TO_NS);
    d = step(&state, &config, bad);
    g_assert_false(d.switchover);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
}

/*
 * A pass of 0.1 s ends in a window of 1.1 s, and then there is a stop of 0.1 s:
 * with 1.1 s left this is the last moment for one, with 1.3 s it is not.
 */
static void test_deadline_short_pass(void)
{
    for (unsigned left_ms = 1100; left_ms <= 1300; left_ms += 200) {
        AutoConvergeState state;
        AutoConvergeConfig config = defaults;
        AutoConvergeSample bad = window(1000, 1000, 100, 100, 10);

        config.downtime_limit_ms = 50;
        config.deadline_s = 100;
        init_from_garbage(&state);
        step(&state, &config, window(10000, 10000, 10, 1000, 10));
        bad.since_start_ns = (100000 - left_ms) * MS_TO_NS;
        g_assert_cmpint(step(&state, &config, bad).switchover, ==,
                        left_ms == 1100);
    }
}

/*
 * Nothing of RAM is left, but more of a device than fits.  No throttle makes
 * that less, and the end takes at least the stop, of 1 s.
 */
static void test_no_ram_left(void)
{
    AutoConvergeSample rest = window(10000, 0, 0, 1000, 0);
    AutoConvergeState state;
    AutoConvergeDecision d;

    rest.other_bytes = 100 * MIB;
    begin(&state, 20000, 640);
    step_twice(&state, &defaults, window(6400, 6400, 600, 640, 600));
    g_assert_cmpuint(state.last.throttle_permille, >, 0);
    d = step(&state, &defaults, rest);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_RELEASE);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 1000);
    g_assert_cmpuint(d.predicted_time_ms, ==, 1000);

    begin(&state, 20000, 640);
    rest.dirty_bytes = rest.drained_bytes;
    d = step_twice(&state, &defaults, rest);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    g_assert_cmpuint(d.throttle_permille, ==, 0);
}

/* One bad window is none, unless it is the bulk pass; two in a row are. */
static void test_confirmed(void)
{
    AutoConvergeState state;
    AutoConvergeSample bad = window(6400, 6400, 640, 640, 640);
    AutoConvergeDecision d;

    begin(&state, 20000, 640);
    d = step(&state, &defaults, bad);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_UNCONFIRMED);
    g_assert_cmpuint(d.throttle_permille, ==, 0);
    d = step(&state, &defaults, window(6400, 6400, 200, 640, 640));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    d = step(&state, &defaults, bad);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_UNCONFIRMED);
    d = step(&state, &defaults, bad);
    g_assert_cmpuint(d.throttle_permille, >, 0);

    init_from_garbage(&state);
    d = step(&state, &defaults, window(20000, 20000, 3000, 2000, 3000));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_ENGAGE);
}

/*
 * Less than a CPU in the bulk pass, all of one now, which is that many times as
 * much however long it lasts; and then the wait was as long as the bulk pass.
 */
static void test_burst(void)
{
    AutoConvergeState state;
    AutoConvergeSample bad = window(6400, 6400, 640, 640, 640);
    AutoConvergeDecision d;
    unsigned i;

    for (unsigned share_pct = 20; share_pct <= 60; share_pct += 40) {
        begin(&state, share_pct * 200, 640);
        for (i = 0; i < 3; i++) {
            d = step(&state, &defaults, bad);
            g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_BURST);
            g_assert_cmpuint(d.throttle_permille, ==, 0);
        }
        d = step_twice(&state, &defaults, bad);
        g_assert_cmpuint(d.throttle_permille, >, 0);
    }

    /* The window in which it ends is bad, and not that busy any more. */
    begin(&state, 4000, 640);
    step_twice(&state, &defaults, bad);
    d = step(&state, &defaults, window(6400, 1000, 640, 640, 640));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_UNCONFIRMED);

    /* As busy as ever */
    begin(&state, 20000, 640);
    d = step(&state, &defaults, bad);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_UNCONFIRMED);
}

/*
 * The link falls to a tenth: in a pass as fast as before, as much would have
 * been dirtied as was sent in a tenth.  After 60 s that is how the link is.
 */
static void test_slow_link(void)
{
    AutoConvergeState state;
    AutoConvergeSample slow = window(25000, 25000, 250, 250, 640);
    AutoConvergeDecision d;
    unsigned i;

    begin(&state, 20000, 640);
    for (i = 0; i < 3; i++) {
        d = step(&state, &defaults, slow);
        g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_SLOW_LINK);
        g_assert_cmpuint(d.throttle_permille, ==, 0);
    }
    d = step(&state, &defaults, slow);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_UNCONFIRMED);
    d = step(&state, &defaults, slow);
    g_assert_cmpuint(d.throttle_permille, >, 0);

    /* 70 of the 100 MiB/s that it had is slow, 80 is not. */
    begin(&state, 20000, 640);
    d = step(&state, &defaults, window(10000, 10000, 700, 700, 640));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_SLOW_LINK);
    begin(&state, 20000, 640);
    d = step(&state, &defaults, window(10000, 10000, 800, 800, 640));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_UNCONFIRMED);

    /* Nine times what was sent would be too much at any rate that it had. */
    begin(&state, 20000, 640);
    slow.dirty_bytes *= 9;
    d = step(&state, &defaults, slow);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_UNCONFIRMED);
    /* The bulk pass was as slow, but for its zero pages. */
    init_from_garbage(&state);
    slow.dirty_bytes /= 9;
    step(&state, &defaults, (AutoConvergeSample) {
        .elapsed_ns = 200 * S_TO_NS,
        .guest_run_ns = 200 * S_TO_NS,
        .dirty_bytes = 640 * MIB,
        .drained_bytes = 20000 * MIB,
        .remaining_bytes = 640 * MIB,
        .zero_bytes = 18000 * MIB,
    });
    d = step(&state, &defaults, slow);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_UNCONFIRMED);
}

/*
 * A link that falls for 25 s, over and over: it was waited for 175 s, which is
 * less than three minutes, and then once more.
 */
static void test_slow_link_again(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;
    unsigned waits;

    begin(&state, 20000, 640);
    for (waits = 0; waits < 100; waits++) {
        d = step(&state, &defaults, window(25000, 25000, 250, 250, 640));
        if (d.reason != AUTO_CONVERGE_REASON_SLOW_LINK) {
            break;
        }
        d = step(&state, &defaults, window(6400, 6400, 200, 640, 640));
        g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    }
    g_assert_cmpuint(waits, ==, 8);
}

/*
 * Two passes a window, of which the curve makes nothing: what is predicted
 * while the throttle stays is what was measured.  47 MiB sank to 40 with ratio
 * 93 / 100, the rest takes 0.4 / 0.07 s.
 */
static void test_predicts_what_was_measured(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    step(&state, &defaults, window(10000, 10000, 47, 1000, 47));
    d = step(&state, &defaults, window(1000, 1000, 93, 100, 40));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_PATIENCE);
    g_assert_cmpuint(d.predicted_time_ms, ==, 5715);
}

/* Waiting ends when R stops sinking, however long it was patient. */
static void test_patience_ends(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(100000, 100000, 7000, 10000, 7000));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_PATIENCE);
    d = step_twice(&state, &defaults, window(75000, 75000, 6900, 7000, 6900));
    g_assert_cmpuint(d.throttle_permille, >, 0);
}

void add_watch_tests(void)
{
    g_test_add_func("/auto-converge/law/calm", test_calm);
    g_test_add_func("/auto-converge/law/idle", test_idle);
    g_test_add_func("/auto-converge/law/fits-downtime", test_fits_downtime);
    g_test_add_func("/auto-converge/law/complete-zero-pages",
                    test_complete_zero_pages);
    g_test_add_func("/auto-converge/law/complete", test_complete);
    g_test_add_func("/auto-converge/law/threshold-of-100",
                    test_threshold_of_100);
    g_test_add_func("/auto-converge/law/switchover-rate",
                    test_switchover_rate);
    g_test_add_func("/auto-converge/law/patience", test_patience);
    g_test_add_func("/auto-converge/law/patience-is-short",
                    test_patience_is_short);
    g_test_add_func("/auto-converge/law/zero-pages", test_zero_pages);
    g_test_add_func("/auto-converge/law/deadline", test_deadline);
    g_test_add_func("/auto-converge/law/deadline-stop-ended",
                    test_deadline_stop_ended);
    g_test_add_func("/auto-converge/law/deadline-short-pass",
                    test_deadline_short_pass);
    g_test_add_func("/auto-converge/law/no-ram-left", test_no_ram_left);
    g_test_add_func("/auto-converge/law/confirmed", test_confirmed);
    g_test_add_func("/auto-converge/law/burst", test_burst);
    g_test_add_func("/auto-converge/law/slow-link", test_slow_link);
    g_test_add_func("/auto-converge/law/slow-link-again",
                    test_slow_link_again);
    g_test_add_func("/auto-converge/law/predicts-what-was-measured",
                    test_predicts_what_was_measured);
    g_test_add_func("/auto-converge/law/patience-ends", test_patience_ends);
}
