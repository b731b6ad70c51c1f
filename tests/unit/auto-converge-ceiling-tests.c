/*
 * Adaptive auto-converge: the ceiling, what follows it, and stops
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-windows.h"

/* One whole window at the ceiling, then the stop of 640 / 100 s; final. */
static void test_ceiling_then_fallback(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    d = reach_ceiling(&state, &defaults);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_false(d.switchover);
    d = step(&state, &defaults, window(6400, 64, 640, 640, 640));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_FALLBACK);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_STOP_AND_COPY);
    g_assert_true(d.switchover);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 6400);
    g_assert_cmpuint(d.predicted_time_ms, ==, 6400);

    /* Neither a calm window nor a broken one takes it back. */
    d = step(&state, &defaults, window(6400, 64, 0, 640, 0));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_STOP_AND_COPY);
    g_assert_true(d.switchover);
    d = step(&state, &defaults, window(0, 0, 0, 0, 0));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_STOP_AND_COPY);
    g_assert_true(d.switchover);
    auto_converge_init(&state);
    g_assert_cmpint(state.last.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
}

/*
 * A stop that does not begin, as another has a say in when QEMU may switch
 * over: nobody is held back for that, and the stop comes when it may.
 */
static void test_fallback_delayed(void)
{
    AutoConvergeSample bad = window(6400, 64, 640, 640, 640);
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;

    reach_ceiling(&state, &config);
    d = step(&state, &config, bad);
    g_assert_true(d.switchover);
    g_assert_cmpuint(d.throttle_permille, ==, 990);
    config.throttle_max_pct = 50;
    d = auto_converge_reconfigure(&state, &config);
    g_assert_true(d.switchover);
    g_assert_cmpuint(d.throttle_permille, ==, 500);
    d = step(&state, &config, bad);
    g_assert_true(d.switchover);
    g_assert_cmpuint(d.throttle_permille, ==, 0);

    reach_ceiling(&state, &defaults);
    step(&state, &defaults, bad);
    d = auto_converge_lease_up(&state);
    g_assert_true(d.switchover);
    g_assert_cmpuint(d.throttle_permille, ==, 0);

    /* Nor does a lower ceiling begin with more than it allows. */
    reach_ceiling(&state, &defaults);
    d = step(&state, &config, bad);
    g_assert_cmpuint(d.throttle_permille, <=, 500);
}

/* A ceiling that was not held for a whole window is not judged. */
static void test_ceiling_whole_window(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    reach_ceiling(&state, &defaults);
    d = step(&state, &defaults, window(0, 0, 640, 0, 640));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_REJECTED);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpuint(d.throttle_permille, ==, 990);
    d = step(&state, &defaults, window(6400, 64, 640, 640, 640));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_FALLBACK);
}

/*
 * At the ceiling: of 640 MiB 384 are left, 30 fit, 354 <= 1.5 x 256, so it is
 * held, not stopped.  With 410 left, 380 > 1.5 x 230.
 */
static void test_ceiling_converges(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    reach_ceiling(&state, &defaults);
    d = step(&state, &defaults, window(6400, 64, 384, 640, 384));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_HOLD);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpuint(d.throttle_permille, ==, 990);

    reach_ceiling(&state, &defaults);
    d = step(&state, &defaults, window(6400, 64, 410, 640, 410));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_STOP_AND_COPY);
}

/* 6.4 s are too long for a bound of 6.3 s; the bound is raised live. */
static void test_fallback_bound(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeSample in_vain = window(6400, 64, 640, 640, 640);
    AutoConvergeDecision d;

    config.fallback_downtime_ms = 6300;
    reach_ceiling(&state, &config);
    d = step(&state, &config, in_vain);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_TOO_LONG);
    g_assert_cmpuint(d.throttle_permille, ==, 0);
    g_assert_false(d.switchover);
    d = step(&state, &config, in_vain);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_TOO_LONG);

    config.fallback_downtime_ms = 6400;
    d = step(&state, &config, in_vain);
    g_assert_true(d.switchover);

    /* 0 is no bound. */
    config.fallback_downtime_ms = 0;
    reach_ceiling(&state, &config);
    d = step(&state, &config, in_vain);
    g_assert_true(d.switchover);
}

/*
 * At the ceiling 640 MiB sink by 64, to 576: 320 fit into the bound of 3.2 s,
 * and 256 <= 4 x 64, so it is held.  By 63, to 577: 257 > 4 x 63.
 */
static void test_bound_soon(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;

    config.fallback_downtime_ms = 3200;
    reach_ceiling(&state, &config);
    d = step(&state, &config, window(6400, 64, 576, 640, 576));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_HOLD);

    reach_ceiling(&state, &config);
    d = step(&state, &config, window(6400, 64, 577, 640, 577));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_TOO_LONG);
}

/* R falls below the bound by itself: that is a chance, and it is taken. */
static void test_fallback_when_less_is_left(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;

    config.fallback_downtime_ms = 6300;
    reach_ceiling(&state, &config);
    step(&state, &config, window(6400, 64, 640, 640, 640));
    d = step(&state, &config, window(6400, 64, 620, 640, 620));
    g_assert_true(d.switchover);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 6200);
}

static void test_fallback_none(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeSample in_vain = window(6400, 64, 640, 640, 640);
    AutoConvergeDecision d;
    int i;

    config.fallback = AUTO_CONVERGE_FALLBACK_NONE;
    reach_ceiling(&state, &config);
    /* The wait is of 60 s, that is nine more windows. */
    for (i = 0; i < 10; i++) {
        d = step(&state, &config, in_vain);
        g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
        g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_NO_FALLBACK);
        g_assert_cmpuint(d.throttle_permille, ==, 0);
        g_assert_cmpuint(d.predicted_time_ms, ==, AUTO_CONVERGE_NEVER);
        g_assert_false(d.switchover);
    }
    /* Allowed live, it acts on the next window. */
    d = step(&state, &defaults, in_vain);
    g_assert_true(d.switchover);
}

/* A lowered ceiling holds at once, whatever the window says. */
static void test_max_lowered_live(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;

    config.throttle_max_pct = 40;
    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 10000, 2500, 1000, 2500));
    g_assert_cmpuint(d.throttle_permille, ==, 900);
    d = step(&state, &config, window(0, 0, 0, 0, 0));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_REJECTED);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpuint(d.throttle_permille, ==, 400);
}

/* A raised ceiling is used, and gets a whole window of its own. */
static void test_max_raised_live(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;

    config.throttle_max_pct = 50;
    config.fallback = AUTO_CONVERGE_FALLBACK_NONE;
    d = reach_ceiling(&state, &config);
    g_assert_cmpuint(d.throttle_permille, ==, 500);
    d = step(&state, &config, window(6400, 3200, 640, 640, 640));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_NO_FALLBACK);
    config.throttle_max_pct = 99;
    auto_converge_reconfigure(&state, &config);
    d = step(&state, &config, window(6400, 6400, 640, 640, 640));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpuint(d.throttle_permille, ==, 990);
    config.fallback = AUTO_CONVERGE_FALLBACK_STOP_AND_COPY;
    d = auto_converge_reconfigure(&state, &config);
    g_assert_false(d.switchover);
    d = step(&state, &config, window(6400, 64, 640, 640, 640));
    g_assert_true(d.switchover);
}

/* What is pending beside RAM is copied in the stop, too: 6.4 + 1 s. */
static void test_other_pending(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeSample in_vain = window(6400, 64, 640, 640, 640);
    AutoConvergeDecision d;

    in_vain.other_bytes = 100 * MIB;
    config.fallback_downtime_ms = 7399;
    reach_ceiling(&state, &config);
    d = step(&state, &config, in_vain);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_TOO_LONG);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 7400);
    config.fallback_downtime_ms = 7400;
    d = auto_converge_reconfigure(&state, &config);
    g_assert_true(d.switchover);
    g_assert_cmpuint(auto_converge_stop_length_ms(&state, &config, 50 * MIB),
                     ==, 500);
}

/* Post-copy is not a stop: no bound is asked. */
static void test_post_copy(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;

    config.fallback = AUTO_CONVERGE_FALLBACK_POST_COPY;
    config.fallback_downtime_ms = 1;
    reach_ceiling(&state, &config);
    d = step(&state, &config, window(6400, 64, 640, 640, 640));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_FALLBACK);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_POST_COPY);
    g_assert_true(d.post_copy);
    g_assert_false(d.switchover);
    g_assert_cmpuint(d.predicted_time_ms, ==, 6400);
}

/* 'none', and a guest that stays as busy as it is */
static AutoConvergeDecision let_go(AutoConvergeState *state,
                                   AutoConvergeConfig *config)
{
    AutoConvergeDecision d;

    *config = defaults;
    config->fallback = AUTO_CONVERGE_FALLBACK_NONE;
    reach_ceiling(state, config);
    d = step(state, config, window(6400, 64, 640, 640, 640));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
    return d;
}

/* What the guest would do, at 100 MiB/s */
static AutoConvergeSample busy(AutoConvergeDecision d)
{
    return window(6400, d.throttle_permille ? 64 : 6400, 640, 640, 640);
}

/*
 * The first attempt took one window of 6.4 s, and 4 x 6.4 < 60: ten windows.
 * The next waits are twice as long each.
 */
static void test_let_go_waits(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config;
    AutoConvergeDecision d = let_go(&state, &config);
    unsigned attempt, windows;

    for (attempt = 0; attempt < 3; attempt++) {
        for (windows = 0; d.phase == AUTO_CONVERGE_PHASE_LET_GO; windows++) {
            d = step(&state, &config, busy(d));
        }
        g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
        g_assert_cmpuint(windows, ==, ceil(60 * (1 << attempt) / 6.4));
        d = step(&state, &config, busy(d));
        g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_NO_FALLBACK);
    }
}

/* Eight attempts of a window each, and never one more. */
static void test_let_go_bounded(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config;
    AutoConvergeDecision d = let_go(&state, &config);
    unsigned throttled = 1, i;

    for (i = 0; i < 100000; i++) {
        d = step(&state, &config, busy(d));
        throttled += d.throttle_permille > 0;
    }
    g_assert_cmpuint(throttled, ==, 8);
    /* Not either when it becomes calm for a while. */
    for (i = 0; i < 100; i++) {
        d = step(&state, &config, window(6400, 6400, 64, 640, 64));
        g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
        d = step(&state, &config, busy(d));
        g_assert_cmpuint(d.throttle_permille, ==, 0);
    }
    /* A parameter is a reason. */
    auto_converge_reconfigure(&state, &config);
    d = step(&state, &config, busy(d));
    g_assert_cmpuint(d.throttle_permille, >, 0);
}

/* Half of what it was, by its ratio or by its set, is clearly less. */
static void test_let_go_less_dirtying(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config;
    AutoConvergeDecision d = let_go(&state, &config);

    d = step(&state, &config, busy(d));
    d = step(&state, &config, window(4000, 4000, 400, 400, 400));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
    d = step(&state, &config, window(3200, 3200, 320, 320, 320));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_THROTTLE);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_RETRY);
}

/* Calm: there is nothing to try. */
static void test_let_go_calm(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config;
    AutoConvergeDecision d;

    let_go(&state, &config);
    d = step(&state, &config, window(6400, 6400, 64, 640, 64));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
}

/* The throttle that the lease ended is back; then a whole window is judged. */
static void test_lease(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    reach_ceiling(&state, &defaults);
    d = auto_converge_lease_up(&state);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_STALLED);
    g_assert_cmpuint(d.throttle_permille, ==, 0);
    d = auto_converge_lease_up(&state);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_STALLED);
    d = step(&state, &defaults, window(40000, 0, 0, 0, 640));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
    d = step(&state, &defaults, window(46400, 46400, 640, 640, 640));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_RESUME);
    g_assert_cmpuint(d.throttle_permille, ==, 990);
    d = step(&state, &defaults, window(6400, 64, 640, 640, 640));
    g_assert_true(d.switchover);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, 6400);

    /* Unthrottled, there is nothing to let go. */
    init_from_garbage(&state);
    d = auto_converge_lease_up(&state);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
}

/*
 * A stop that was ended is not made again before its wait, of a minute, is
 * over, whatever the guest does in the meantime; and then it is.
 */
static void test_stop_barred(void)
{
    AutoConvergeSample bad = window(6400, 6400, 640, 640, 640);
    AutoConvergeState state;
    AutoConvergeDecision d;
    double waited_s = 0;

    begin(&state, 20000, 640);
    step_twice(&state, &defaults, bad);
    d = step(&state, &defaults, window(6400, 64, 640, 640, 640));
    g_assert_true(d.switchover);
    d = auto_converge_stop_ended(&state, AUTO_CONVERGE_REASON_STALLED,
                                 3 * S_TO_NS);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
    /* It calms down, so that it is watched as if nothing had been. */
    d = step(&state, &defaults, window(6400, 6400, 100, 640, 100));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
    waited_s += 6.4;
    step(&state, &defaults, window(1000, 1000, 640, 100, 640));
    waited_s += 1;
    while (state.stop_barred) {
        unsigned attempts = state.attempts;

        d = step(&state, &defaults, bad);
        waited_s += 6.4;
        if (state.attempts > attempts) {
            /* The ceiling did not help either: the wait begins again. */
            g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_OUTLASTED);
            waited_s = 0;
        }
        g_assert_cmpint(d.switchover, ==, !state.stop_barred);
        g_assert_cmpfloat(waited_s, <, 1000);
    }
    g_assert_cmpfloat(waited_s, >=, 60);
}

/*
 * After a stop that was ended: what is not about stops does not bring another,
 * and does not shorten the wait; what is does.
 */
static void test_stop_ended_reconfigured(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;
    unsigned windows;

    reach_ceiling(&state, &config);
    step(&state, &config, window(6400, 64, 640, 640, 640));
    auto_converge_stop_ended(&state, AUTO_CONVERGE_REASON_OUTLASTED,
                             40 * S_TO_NS);
    config.downtime_limit_ms++;
    d = auto_converge_reconfigure(&state, &config);
    for (windows = 0; windows < 20; windows++) {
        g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
        d = step(&state, &config, busy(d));
    }
    config.fallback_downtime_ms++;
    d = auto_converge_reconfigure(&state, &config);
    g_assert_true(d.switchover);
}

/*
 * A stop that was ended after 40 s is not made again before 4 x 46.4 s are
 * over: 29 windows.  Then it is, without a throttle.
 */
static void test_stop_ended(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;
    unsigned windows;

    reach_ceiling(&state, &defaults);
    step(&state, &defaults, window(6400, 64, 640, 640, 640));
    d = auto_converge_stop_ended(&state, AUTO_CONVERGE_REASON_OUTLASTED,
                                 40 * S_TO_NS);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_LET_GO);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_OUTLASTED);
    g_assert_false(d.switchover);
    for (windows = 0; !d.switchover; windows++) {
        d = step(&state, &defaults, busy(d));
        g_assert_cmpuint(d.throttle_permille, ==, 0);
    }
    g_assert_cmpuint(windows, ==, 29);
}

/* In the middle of a stop: what is unwanted ends, what is wanted stays. */
static void test_stop_reconfigured(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config;
    AutoConvergeDecision d;
    static const struct {
        AutoConvergeFallback fallback;
        uint64_t bound_ms;
        AutoConvergePhase phase;
        AutoConvergeReason reason;
    } change[] = {
        { AUTO_CONVERGE_FALLBACK_STOP_AND_COPY, 6400,
          AUTO_CONVERGE_PHASE_FALLBACK, AUTO_CONVERGE_REASON_STOP_AND_COPY },
        { AUTO_CONVERGE_FALLBACK_STOP_AND_COPY, 6399,
          AUTO_CONVERGE_PHASE_LET_GO, AUTO_CONVERGE_REASON_TOO_LONG },
        { AUTO_CONVERGE_FALLBACK_NONE, 0,
          AUTO_CONVERGE_PHASE_LET_GO, AUTO_CONVERGE_REASON_NO_FALLBACK },
        { AUTO_CONVERGE_FALLBACK_POST_COPY, 1,
          AUTO_CONVERGE_PHASE_FALLBACK, AUTO_CONVERGE_REASON_POST_COPY },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(change); i++) {
        config = defaults;
        reach_ceiling(&state, &config);
        d = step(&state, &config, window(6400, 64, 640, 640, 640));
        g_assert_true(d.switchover);
        config.fallback = change[i].fallback;
        config.fallback_downtime_ms = change[i].bound_ms;
        d = auto_converge_reconfigure(&state, &config);
        g_assert_cmpint(d.phase, ==, change[i].phase);
        g_assert_cmpint(d.reason, ==, change[i].reason);
        assert_sane(&state, &config, d);
    }
}

/* A lowered ceiling does not wait for the end of a window. */
static void test_ceiling_reconfigured(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;

    reach_ceiling(&state, &config);
    config.throttle_max_pct = 40;
    d = auto_converge_reconfigure(&state, &config);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpuint(d.throttle_permille, ==, 400);
    config.throttle_max_pct = 80;
    d = auto_converge_reconfigure(&state, &config);
    g_assert_cmpuint(d.throttle_permille, ==, 400);
}

void add_ceiling_tests(void)
{
    g_test_add_func("/auto-converge/ceiling/then-fallback",
                    test_ceiling_then_fallback);
    g_test_add_func("/auto-converge/ceiling/fallback-delayed",
                    test_fallback_delayed);
    g_test_add_func("/auto-converge/ceiling/whole-window",
                    test_ceiling_whole_window);
    g_test_add_func("/auto-converge/ceiling/converges",
                    test_ceiling_converges);
    g_test_add_func("/auto-converge/ceiling/fallback-bound",
                    test_fallback_bound);
    g_test_add_func("/auto-converge/ceiling/bound-soon", test_bound_soon);
    g_test_add_func("/auto-converge/ceiling/fallback-when-less-is-left",
                    test_fallback_when_less_is_left);
    g_test_add_func("/auto-converge/ceiling/fallback-none",
                    test_fallback_none);
    g_test_add_func("/auto-converge/ceiling/max-lowered-live",
                    test_max_lowered_live);
    g_test_add_func("/auto-converge/ceiling/max-raised-live",
                    test_max_raised_live);
    g_test_add_func("/auto-converge/stop/other-pending", test_other_pending);
    g_test_add_func("/auto-converge/ceiling/post-copy", test_post_copy);
    g_test_add_func("/auto-converge/let-go/waits", test_let_go_waits);
    g_test_add_func("/auto-converge/let-go/bounded", test_let_go_bounded);
    g_test_add_func("/auto-converge/let-go/less-dirtying",
                    test_let_go_less_dirtying);
    g_test_add_func("/auto-converge/let-go/calm", test_let_go_calm);
    g_test_add_func("/auto-converge/let-go/lease", test_lease);
    g_test_add_func("/auto-converge/stop/barred", test_stop_barred);
    g_test_add_func("/auto-converge/stop/ended-reconfigured",
                    test_stop_ended_reconfigured);
    g_test_add_func("/auto-converge/stop/ended", test_stop_ended);
    g_test_add_func("/auto-converge/stop/reconfigured",
                    test_stop_reconfigured);
    g_test_add_func("/auto-converge/ceiling/reconfigured",
                    test_ceiling_reconfigured);
}
