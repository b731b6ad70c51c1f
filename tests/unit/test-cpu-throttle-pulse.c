/*
 * CPU throttle: laws of the pulses
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/cpu-throttle-pulse.h"

#define NS_PER_MS 1000000
#define NS_PER_S (1000 * NS_PER_MS)

static const unsigned permilles[] = {
    1, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 990, 995, 999
};

typedef struct Outcome {
    double run_share;
    int64_t longest_sleep_ns;
    int64_t interrupts;
} Outcome;

/*
 * A vCPU that wants @demand of the time, for 100 s.  Interrupts come @late_ns
 * late, and every tenth ten times as late.
 */
static Outcome run(unsigned permille, double demand, int64_t late_ns)
{
    CpuThrottlePulse pulse = {};
    Outcome out = {};
    int64_t now_ns = 0, run_ns = 0;

    while (now_ns < 100LL * NS_PER_S) {
        int64_t late = late_ns * (out.interrupts % 10 == 9 ? 10 : 1);
        int64_t wall_ns = pulse.slice_ns + late;
        int64_t executed_ns = wall_ns * demand;
        int64_t sleep_ns = cpu_throttle_pulse_sleep_ns(&pulse, permille,
                                                       executed_ns);

        cpu_throttle_pulse_slept(&pulse, sleep_ns);
        out.longest_sleep_ns = MAX(out.longest_sleep_ns, sleep_ns);
        out.interrupts++;
        run_ns += executed_ns;
        now_ns += wall_ns + sleep_ns;
    }
    out.run_share = (double)run_ns / now_ns;
    return out;
}

static void assert_within(double value, double wanted, double tolerance)
{
    g_assert_cmpfloat(value, >=, wanted * (1 - tolerance));
    g_assert_cmpfloat(value, <=, wanted * (1 + tolerance));
}

/* A busy vCPU gets what the throttle leaves. */
static void test_exact(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        Outcome out = run(permilles[i], 1, 0);

        assert_within(out.run_share, 1 - permilles[i] / 1000.0, 0.02);
    }
}

/*
 * Nor does it matter that interrupts are 50 us late, and sometimes 500 us: at
 * 99 % those cost 5 and 50 ms of sleep.
 */
static void test_late(void)
{
    for (int i = 0; permilles[i] <= 990; i++) {
        Outcome out = run(permilles[i], 1, NS_PER_MS / 20);

        assert_within(out.run_share, 1 - permilles[i] / 1000.0, 0.05);
    }
}

static void test_sleep_bounded(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        for (int64_t late_ns = 0; late_ns <= 10 * NS_PER_MS;
             late_ns += NS_PER_MS) {
            Outcome out = run(permilles[i], 1, late_ns);

            g_assert_cmpint(out.longest_sleep_ns, <=,
                            CPU_THROTTLE_SLEEP_MAX_NS);
        }
    }
}

/*
 * A vCPU that wants 10 % of the time in which it does not sleep owes, at 50 %,
 * only as much sleep as it ran.
 */
static void test_modest(void)
{
    assert_within(run(500, 0.1, 0).run_share, 0.1 / 1.1, 0.02);
}

/* An idle vCPU is left alone: at most one interrupt per 10 ms. */
static void test_idle(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        Outcome out = run(permilles[i], 0, 0);

        g_assert_cmpint(out.longest_sleep_ns, ==, 0);
        g_assert_cmpint(out.interrupts, <=, 100 * 100 + 20);
    }
}

/* A changed throttle does not pay for the old one. */
static void test_forgive(void)
{
    CpuThrottlePulse pulse = {};

    cpu_throttle_pulse_sleep_ns(&pulse, 990, 100 * NS_PER_MS);
    g_assert_cmpint(pulse.owed_ns, >, CPU_THROTTLE_SLEEP_MAX_NS);
    cpu_throttle_pulse_forgive(&pulse);
    g_assert_cmpint(cpu_throttle_pulse_sleep_ns(&pulse, 500, NS_PER_MS), ==,
                    NS_PER_MS);
}

/* Any clock: one that went back, stood still, or jumped. */
static void test_total(void)
{
    static const int64_t times[] = {
        INT64_MIN, -1, 0, 1, NS_PER_S, INT64_MAX
    };

    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        for (unsigned permille = 0; permille <= 1100; permille += 100) {
            CpuThrottlePulse pulse = {};
            int64_t sleep_ns = cpu_throttle_pulse_sleep_ns(&pulse, permille,
                                                           times[i]);

            g_assert_cmpint(sleep_ns, >=, 0);
            g_assert_cmpint(sleep_ns, <=, CPU_THROTTLE_SLEEP_MAX_NS);
            g_assert_cmpint(pulse.slice_ns, >, 0);
            g_assert_cmpint(pulse.slice_ns, <=, 10 * NS_PER_MS);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-throttle/pulse/exact", test_exact);
    g_test_add_func("/cpu-throttle/pulse/late", test_late);
    g_test_add_func("/cpu-throttle/pulse/sleep-bounded", test_sleep_bounded);
    g_test_add_func("/cpu-throttle/pulse/modest", test_modest);
    g_test_add_func("/cpu-throttle/pulse/idle", test_idle);
    g_test_add_func("/cpu-throttle/pulse/forgive", test_forgive);
    g_test_add_func("/cpu-throttle/pulse/total", test_total);
    return g_test_run();
}
