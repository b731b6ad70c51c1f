/*
 * Adaptive auto-converge: the laws of the policy, each on its own
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whole migrations are in test-auto-converge-sim.c.  Here one window follows
 * another with hand-made values, so that every expectation can be derived in
 * a comment.
 */

#include "qemu/osdep.h"
#include "auto-converge-windows.h"

/* Values that break arithmetic, and some that do not. */
static uint64_t random_value(uint64_t *seed)
{
    static const uint64_t edges[] = {
        0, 1, 2, 1000, S_TO_NS, INT64_MAX, UINT64_MAX - 1, UINT64_MAX,
        1ULL << 53, (1ULL << 53) + 1,
    };
    uint64_t pick = next_random(seed) % (2 * ARRAY_SIZE(edges));

    return pick < ARRAY_SIZE(edges) ? edges[pick] :
           next_random(seed) >> next_random(seed) % 64;
}

static void test_init(void)
{
    AutoConvergeState state;

    init_from_garbage(&state);
    g_assert_cmpint(state.last.phase, ==, AUTO_CONVERGE_PHASE_WATCH);
    g_assert_cmpint(state.last.reason, ==, AUTO_CONVERGE_REASON_START);
    g_assert_cmpuint(state.last.throttle_permille, ==, 0);
    g_assert_false(state.last.switchover);
    g_assert_cmpuint(state.last.predicted_time_ms, ==, AUTO_CONVERGE_NEVER);
}

static void test_total(void)
{
    AutoConvergeState state;
    uint64_t seed = 1;
    int run, window_nr;

    for (run = 0; run < 20000; run++) {
        init_from_garbage(&state);
        for (window_nr = 0; window_nr < 8; window_nr++) {
            AutoConvergeConfig config = {
                .trigger_threshold_pct = random_value(&seed),
                .throttle_initial_pct = random_value(&seed),
                .throttle_increment_pct = random_value(&seed),
                .throttle_max_pct = random_value(&seed),
                .fallback = next_random(&seed) % 3,
                .fallback_downtime_ms = random_value(&seed),
                .downtime_limit_ms = random_value(&seed),
                .switchover_bps = random_value(&seed),
                .deadline_s = next_random(&seed) % 2 * random_value(&seed),
                .looks = next_random(&seed) % 2,
            };
            AutoConvergeSample sample = {
                .since_start_ns = random_value(&seed),
                .elapsed_ns = random_value(&seed),
                .guest_run_ns = random_value(&seed),
                .dirty_bytes = random_value(&seed),
                .drained_bytes = random_value(&seed),
                .remaining_bytes = random_value(&seed),
                .other_bytes = random_value(&seed),
                .zero_bytes = random_value(&seed),
                .partial = next_random(&seed) % 2,
                .count = next_random(&seed) % (AUTO_CONVERGE_COUNTS_MAX + 2),
            };
            unsigned i;

            for (i = 0; i < AUTO_CONVERGE_COUNTS_MAX; i++) {
                sample.counts[i].guest_run_ns = random_value(&seed);
                sample.counts[i].dirty_bytes = random_value(&seed);
            }
            assert_sane(&state, &config,
                        auto_converge_update(&state, &config, &sample));
            switch (next_random(&seed) % 8) {
            case 3:
                auto_converge_restart_window(&state, &config,
                                             random_value(&seed));
                break;
            case 0:
                auto_converge_reconfigure(&state, &config);
                break;
            case 1:
                auto_converge_lease_up(&state);
                break;
            case 2:
                auto_converge_stop_ended(&state,
                                         AUTO_CONVERGE_REASON_OUTLASTED,
                                         random_value(&seed));
                break;
            default:
                continue;
            }
            assert_sane(&state, &config, state.last);
        }
    }
}

/* Two states fed the same give the same, whatever they held before. */
static void test_deterministic(void)
{
    AutoConvergeState a, b;
    Guest guest = { 800e6, 2e9, 1, 100e6, 800e6 };
    AutoConvergeDecision da, db;
    AutoConvergeSample sample;
    int i;

    init_from_garbage(&a);
    memset(&b, 0x5a, sizeof(b));
    auto_converge_init(&b);
    for (i = 0; i < 10; i++) {
        sample = guest_pass(&guest, run_share(a.last));
        da = auto_converge_update(&a, &defaults, &sample);
        db = auto_converge_update(&b, &defaults, &sample);
        g_assert_cmpint(da.phase, ==, db.phase);
        g_assert_cmpint(da.reason, ==, db.reason);
        g_assert_cmpuint(da.throttle_permille, ==, db.throttle_permille);
        g_assert_cmpuint(da.predicted_downtime_ms, ==,
                         db.predicted_downtime_ms);
        g_assert_cmpuint(da.predicted_time_ms, ==, db.predicted_time_ms);
    }
}

/* Each of these leaves phase and throttle of a throttled guest alone. */
static void test_rejects(const AutoConvergeSample *sample)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    step(&state, &defaults, window(10000, 10000, 2500, 1000, 2500));
    d = auto_converge_update(&state, &defaults, sample);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_REJECTED);
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_THROTTLE);
    g_assert_cmpuint(d.throttle_permille, ==, 900);
    g_assert_false(d.switchover);
    g_assert_cmpuint(d.predicted_downtime_ms, ==, AUTO_CONVERGE_NEVER);
    g_assert_cmpuint(d.predicted_time_ms, ==, AUTO_CONVERGE_NEVER);
}

static void test_rejects_time_standing_still(void)
{
    AutoConvergeSample sample = window(0, 10, 100, 100, 100);

    test_rejects(&sample);
}

static void test_rejects_nothing_drained(void)
{
    AutoConvergeSample sample = window(1000, 1000, 100, 0, 100);

    test_rejects(&sample);
}

/* More execution than time: as much as there was time. */
static void test_run_time_beyond_elapsed(void)
{
    AutoConvergeState a, b;
    AutoConvergeDecision da, db;

    init_from_garbage(&a);
    init_from_garbage(&b);
    da = step(&a, &defaults, window(10000, 99999, 2500, 1000, 2500));
    db = step(&b, &defaults, window(10000, 10000, 2500, 1000, 2500));
    g_assert_cmpuint(da.throttle_permille, ==, db.throttle_permille);
}

/* Dirtied without executing (by a device): no run share helps. */
static void test_no_run_time(void)
{
    AutoConvergeState state;
    AutoConvergeDecision d;

    init_from_garbage(&state);
    d = step(&state, &defaults, window(10000, 0, 2500, 1000, 2500));
    g_assert_cmpint(d.phase, ==, AUTO_CONVERGE_PHASE_CEILING);
    g_assert_cmpint(d.reason, ==, AUTO_CONVERGE_REASON_CEILING);
}

static void add_input_tests(void)
{
    g_test_add_func("/auto-converge/input/init", test_init);
    g_test_add_func("/auto-converge/input/total", test_total);
    g_test_add_func("/auto-converge/input/deterministic", test_deterministic);
    g_test_add_func("/auto-converge/input/rejects-time-standing-still",
                    test_rejects_time_standing_still);
    g_test_add_func("/auto-converge/input/rejects-nothing-drained",
                    test_rejects_nothing_drained);
    g_test_add_func("/auto-converge/input/run-time-beyond-elapsed",
                    test_run_time_beyond_elapsed);
    g_test_add_func("/auto-converge/input/no-run-time", test_no_run_time);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_input_tests();
    add_watch_tests();
    add_throttle_tests();
    add_look_tests();
    add_ceiling_tests();
    return g_test_run();
}
