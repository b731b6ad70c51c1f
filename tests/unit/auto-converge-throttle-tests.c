/*
 * Adaptive auto-converge: how much it throttles, and how it lets go
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-windows.h"

/*
 * One point only: the secant.  Ratio 2.5 to be brought to 0.25 needs a run
 * share of 0.1.  In the next pass the ratio is then 0.25, and it ends after
 * R / B / (1 - 0.25) = 25 s / 0.75.
 */
static void test_engage_jumps(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 10000, 2500, 1000, 2500));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_THROTTLE);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_ENGAGE);
    g_assert_cmpuint(d.throttle_permille, ==, 900);
    g_assert_cmpuint(d.predicted_time_ms, ==, 33334);
}

/* A guest with 20 % of a CPU dirties at that: the share needed is 0.02. */
static void test_engage_by_cpu_time(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 2000, 2500, 1000, 2500));
    g_assert_cmpuint(d.throttle_permille, ==, 980);
}

/* A run share of 1.5 % is not 2 %: 2.5 * 1.5 % / 0.15 brings 0.25. */
static void test_permille(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 1500, 2500, 1000, 2500));
    g_assert_cmpuint(d.throttle_permille, ==, 985);
}

/*
 * The secant asks for a run share of 0.25 / 0.9 = 0.28 and initial for 0.2:
 * whichever throttles more.
 */
static void test_initial_is_least(void)
{
    AutoConvergeState state;
    AutoConvergeConfig config = defaults;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    config.throttle_initial_pct = 80;
    d = step(&state, &config, window(100000, 100000, 9000, 10000, 9000));
    g_assert_cmpuint(d.throttle_permille, ==, 800);

    init_from_garbage(&state);
    config.throttle_initial_pct = 20;
    d = step(&state, &config, window(100000, 100000, 9000, 10000, 9000));
    g_assert_cmpuint(d.throttle_permille, ==, 722);

    /* The ceiling is above both. */
    init_from_garbage(&state);
    config.throttle_initial_pct = 80;
    config.throttle_max_pct = 30;
    d = step(&state, &config, window(100000, 100000, 9000, 10000, 9000));
    g_assert_cmpuint(d.throttle_permille, ==, 300);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
}

/*
 * Proportional dirtying (r = 1.5 B, no saturation): after the first jump to
 * 0.25 / 1.5 = 0.167 every window has just the target ratio and is held.
 */
static void test_proportional_holds(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;
    Guest guest = { 1e15, 150e6, 1, 100e6, 16e9 };
    int i;

    init_from_garbage(&state);
    d = step(&state, &defaults, guest_pass(&guest, 1));
    g_assert_cmpuint(d.throttle_permille, ==, 833);
    for (i = 0; i < 4; i++) {
        d = step(&state, &defaults, guest_pass(&guest, run_share(d)));
        g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_HOLD);
        g_assert_cmpuint(d.throttle_permille, ==, 833);
    }
}

/*
 * A saturated set: 640 MiB however long the guest runs.  From 10 s to 6.4 s
 * of execution U does not fall, a = 0 is kept at 0.25, and the next run share
 * is 0.25^4 = 0.004: beyond 99 %.
 */
static void test_saturated_goes_to_ceiling(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(20000, 20000, 640, 2000, 640));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
    d = step_twice(&state, &defaults, window(6400, 6400, 640, 640, 640));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_FUTILE);
    g_assert_cmpuint(d.throttle_permille, ==, 990);
}

/*
 * Two points 10 % apart with 1 % of noise would give an exponent of 0.1; they
 * are too close to say anything, and the secant stays: 0.25 / 1.01 = 0.248.
 */
static void test_exponent_ignores_close_points(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    step(&state, &defaults, window(11000, 11000, 500, 700, 500));
    d = step_twice(&state, &defaults, window(10000, 10000, 505, 500, 505));
    g_assert_cmpuint(d.throttle_permille, ==, 752);
}

/* The run share that the secant law asks for is never below the needed one. */
static void test_never_over_throttles(void)
{
    AutoConvergeConfig config = defaults;
    uint64_t seed = 2;
    int run, checked = 0;

    config.throttle_initial_pct = 1;
    for (run = 0; run < 5000; run++) {
        AutoConvergeState state;
        AutoConvergeDecision d;
        Guest guest = {
            .set_bytes = 1e9 + next_random(&seed) % 1000 * 1e8,
            .rate_bps = 60e6 + next_random(&seed) % 1000 * 2e6,
            .demand = 0.2 + next_random(&seed) % 9 * 0.1,
            .drain_bps = 100e6,
        };
        double pass_s, kept_bytes;

        guest.remaining_bytes = guest.set_bytes;
        init_from_garbage(&state);
        d = step(&state, &config, guest_pass(&guest, 1));
        if (d.phase != AUTO_CONVERGE_PHASE_THROTTLE ||
            d.throttle_permille == 10) {
            continue; /* not the secant: calm, patient, ceiling, initial */
        }
        /* What the next pass leaves: not less than target x R. */
        pass_s = guest.remaining_bytes / guest.drain_bps;
        kept_bytes = guest.set_bytes *
            -expm1(-guest.rate_bps * fmin(run_share(d) + 0.001, guest.demand) *
                   pass_s / guest.set_bytes);
        g_assert_cmpfloat(kept_bytes, >=, 0.25 * guest.remaining_bytes * 0.999);
        checked++;
    }
    g_assert_cmpint(checked, >, 1000);
}

/* As long as windows are bad the throttle rises by increment or more. */
static void test_progress(void)
{
    uint64_t seed = 3;
    int run, i;

    for (run = 0; run < 2000; run++) {
        AutoConvergeState state;
        AutoConvergeConfig config = defaults;
        AutoConvergeDecision d;
        unsigned before = 0;

        config.throttle_increment_pct = 1 + next_random(&seed) % 99;
        config.throttle_max_pct = 1 + next_random(&seed) % 99;
        init_from_garbage(&state);
        for (i = 0; i < 110; i++) {
            uint64_t drained = 100 + next_random(&seed) % 10000;
            uint64_t dirty = drained * (100 + next_random(&seed) % 900) / 100;

            d = step(&state, &config,
                     window(1000 + next_random(&seed) % 9000,
                            next_random(&seed) % 10000, dirty, drained,
                            10000000));
            if (d.phase == AUTO_CONVERGE_PHASE_CEILING) {
                break;
            }
            g_assert_cmpuint(d.throttle_permille, >=,
                             before ? before +
                             config.throttle_increment_pct * 10 : 200);
            before = d.throttle_permille;
        }
        g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    }
}

/*
 * What going on costs: of the 33.3 s that are predicted nine tenths, and the
 * stop at the end.  A guest that needs a fifth of a CPU loses half of its work
 * when it gets a tenth.
 */
static void test_loss(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 10000, 2500, 1000, 2500));
    g_assert_cmpuint(d.throttle_permille, ==, 900);
    g_assert_cmpuint(d.predicted_time_ms, ==, 33334);
    g_assert_cmpuint(d.predicted_loss_ms, ==, 30301);

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 2000, 1250, 1000, 1250));
    g_assert_cmpuint(d.throttle_permille, ==, 960);
    g_assert_cmpuint(d.predicted_time_ms, ==, 16667);
    g_assert_cmpuint(d.predicted_loss_ms, ==, 13634);

    /* A stop costs what it takes; what does not end has no price. */
    d = reach_ceiling(&state, &defaults);
    d = step(&state, &defaults, window(6400, 64, 640, 640, 640));
    g_assert_true(d.switchover);
    g_assert_cmpuint(d.predicted_loss_ms, ==, d.predicted_downtime_ms);
    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 10000, 100, 1000, 100));
    g_assert_cmpuint(d.predicted_loss_ms, ==, 300);
    d = step(&state, &defaults, window(1000, 1000, 100, 100, 100));
    g_assert_cmpuint(d.predicted_loss_ms, ==, AUTO_CONVERGE_NEVER);
}

/* What was sent at another rate is forgotten, and not what was decided. */
static void test_restart(void)
{
    AutoConvergeState state;
    AutoConvergeSample part = window(1500, 15, 0, 150, 490);
    AutoConvergeDecision d;

    part.partial = true;
    reach_ceiling(&state, &defaults);
    step(&state, &defaults, part);
    d = auto_converge_restart_window(&state, &defaults, 490 * MIB);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpuint(d.throttle_permille, ==, 990);
    g_assert_cmpuint(d.look_ms, ==, 980 + 1);
    /* A fifth of the 490 MiB, and all of it dirty again */
    part = window(1000, 10, 100, 100, 490);
    part.partial = true;
    d = step(&state, &defaults, part);
    g_assert_true(d.switchover);

    /* The bulk pass is what comes after it. */
    init_from_garbage(&state);
    d = auto_converge_restart_window(&state, &defaults, 2000 * MIB);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_START);
    d = step(&state, &defaults, window(20000, 20000, 640, 2000, 640));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
}

/*
 * Whatever a window says, the run share grows by a factor of 2 at most, unless
 * the throttle is over: it is in vain, or the fallback has been decided.
 */
static void test_release_at_most_doubles(void)
{
    uint64_t seed = 4;
    int run, i;

    for (run = 0; run < 5000; run++) {
        AutoConvergeState state;
        AutoConvergeDecision d;
        unsigned before = 1000;

        init_from_garbage(&state);
        for (i = 0; i < 20; i++) {
            d = step(&state, &defaults,
                     window(1000 + next_random(&seed) % 9000,
                            next_random(&seed) % 10000,
                            next_random(&seed) % 2000,
                            next_random(&seed) % 2000,
                            next_random(&seed) % 2000));
            if (d.phase != AUTO_CONVERGE_PHASE_LET_GO &&
                d.phase != AUTO_CONVERGE_PHASE_FALLBACK) {
                g_assert_cmpuint(1000 - d.throttle_permille, <=, 2 * before);
            }
            before = 1000 - d.throttle_permille;
        }
    }
}

/* The guest calms down: 100, 200, 400, 800 permille of run share, all. */
static void test_lets_go(void)
{
    static const unsigned throttle[] = { 900, 800, 600, 200, 0 };
    AutoConvergeState state;
    AutoConvergeDecision d;
    unsigned i;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 10000, 2500, 1000, 2500));
    g_assert_cmpuint(d.throttle_permille, ==, throttle[0]);
    for (i = 1; i < ARRAY_SIZE(throttle); i++) {
        d = step(&state, &defaults, window(10000, 10, 50, 1000, 1500));
        g_assert_cmpuint(d.throttle_permille, ==, throttle[i]);
        g_assert_cmpint(d.reason, ==, throttle[i] ?
                        AUTO_CONVERGE_REASON_RELEASE :
                        AUTO_CONVERGE_REASON_CALM);
    }
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
    d = step(&state, &defaults, window(10000, 10, 50, 1000, 1500));
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CONVERGES);
}

/*
 * On one concave curve with R held, a release is never followed by a bad
 * window, so the throttle cannot swing.
 */
static void test_no_limit_cycle(void)
{
    uint64_t seed = 5;
    int run, i;

    for (run = 0; run < 2000; run++) {
        AutoConvergeState state;
        AutoConvergeDecision d = { 0 };
        bool released = false;
        Guest guest = {
            .set_bytes = 1e9 + next_random(&seed) % 1000 * 1e8,
            .rate_bps = 60e6 + next_random(&seed) % 1000 * 2e6,
            .demand = 0.2 + next_random(&seed) % 9 * 0.1,
            .drain_bps = 100e6,
        };

        init_from_garbage(&state);
        for (i = 0; i < 30; i++) {
            guest.remaining_bytes = 10e9;
            d = step(&state, &defaults, guest_pass(&guest, run_share(d)));
            g_assert_false(released &&
                           d.reason == AUTO_CONVERGE_REASON_RAISE);
            released |= d.reason == AUTO_CONVERGE_REASON_RELEASE ||
                        d.reason == AUTO_CONVERGE_REASON_CALM;
        }
    }
}

void add_throttle_tests(void)
{
    g_test_add_func("/auto-converge/law/engage-jumps", test_engage_jumps);
    g_test_add_func("/auto-converge/law/engage-by-cpu-time",
                    test_engage_by_cpu_time);
    g_test_add_func("/auto-converge/law/permille", test_permille);
    g_test_add_func("/auto-converge/law/initial-is-least",
                    test_initial_is_least);
    g_test_add_func("/auto-converge/law/proportional-holds",
                    test_proportional_holds);
    g_test_add_func("/auto-converge/law/saturated-goes-to-ceiling",
                    test_saturated_goes_to_ceiling);
    g_test_add_func("/auto-converge/law/exponent-ignores-close-points",
                    test_exponent_ignores_close_points);
    g_test_add_func("/auto-converge/law/never-over-throttles",
                    test_never_over_throttles);
    g_test_add_func("/auto-converge/law/progress", test_progress);
    g_test_add_func("/auto-converge/law/loss", test_loss);
    g_test_add_func("/auto-converge/law/restart", test_restart);
    g_test_add_func("/auto-converge/law/release-at-most-doubles",
                    test_release_at_most_doubles);
    g_test_add_func("/auto-converge/law/lets-go", test_lets_go);
    g_test_add_func("/auto-converge/law/no-limit-cycle", test_no_limit_cycle);
}
