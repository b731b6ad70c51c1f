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

/* What is wrong with the ground under a vCPU */
typedef struct Ground {
    int64_t interrupt_late_ns; /* every tenth: ten times as late */
    int64_t wake_up_late_ns;   /* likewise */
    double stolen;             /* share of its slice that the host takes */
} Ground;

static int64_t late_ns(int64_t late_ns, int64_t interrupts)
{
    return late_ns * (interrupts % 10 == 9 ? 10 : 1);
}

/* A vCPU that wants @demand of the time, for 100 s. */
static Outcome run(unsigned permille, double demand, Ground ground)
{
    CpuThrottlePulse pulse = {};
    Outcome out = {};
    int64_t now_ns = 0, run_ns = 0, before_ns = 0, executed_ns = 0;

    while (now_ns < 100LL * NS_PER_S) {
        int64_t sleep_ns = cpu_throttle_pulse_sleep_ns(&pulse, permille,
                                                       executed_ns,
                                                       now_ns - before_ns);
        int64_t slice_ns = pulse.slice_ns + late_ns(ground.interrupt_late_ns,
                                                    out.interrupts);

        before_ns = now_ns;
        out.longest_sleep_ns = MAX(out.longest_sleep_ns, sleep_ns);
        if (sleep_ns) {
            now_ns += sleep_ns + late_ns(ground.wake_up_late_ns,
                                         out.interrupts);
        }
        /* It catches up with what it could not do while it slept */
        executed_ns = slice_ns * (1 - ground.stolen);
        executed_ns = MIN(executed_ns,
                          MAX((now_ns + slice_ns) * demand - run_ns, 0));
        now_ns += slice_ns;
        run_ns += executed_ns;
        out.interrupts++;
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
        Outcome out = run(permilles[i], 1, (Ground) {});

        assert_within(out.run_share, 1 - permilles[i] / 1000.0, 0.02);
    }
}

/*
 * Nor does it matter that interrupts are 50 us late, and sometimes 500 us: at
 * 99 % those cost 5 and 50 ms of sleep.
 */
static void test_late_interrupt(void)
{
    for (int i = 0; permilles[i] <= 990; i++) {
        Outcome out = run(permilles[i], 1, (Ground) {
            .interrupt_late_ns = NS_PER_MS / 20,
        });

        assert_within(out.run_share, 1 - permilles[i] / 1000.0, 0.05);
    }
}

/* What it overslept it may run. */
static void test_late_wake_up(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        Outcome out = run(permilles[i], 1, (Ground) {
            .wake_up_late_ns = NS_PER_MS / 10,
        });

        assert_within(out.run_share, 1 - permilles[i] / 1000.0, 0.05);
    }
}

/* The host gives it half of a CPU: that counts, the throttle takes the rest. */
static void test_busy_host(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        Outcome out = run(permilles[i], 1, (Ground) { .stolen = 0.5 });

        assert_within(out.run_share, MIN(0.5, 1 - permilles[i] / 1000.0),
                      0.05);
    }
}

static void test_sleep_bounded(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        for (int64_t late_ns = 0; late_ns <= 10 * NS_PER_MS;
             late_ns += NS_PER_MS) {
            Outcome out = run(permilles[i], 1, (Ground) {
                .interrupt_late_ns = late_ns,
            });

            g_assert_cmpint(out.longest_sleep_ns, <=,
                            CPU_THROTTLE_SLEEP_MAX_NS);
        }
    }
}

/* A vCPU that wants less than its share is not held back. */
static void test_modest(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        double demand = (1 - permilles[i] / 1000.0) * 0.9;
        Outcome out = run(permilles[i], demand, (Ground) {});

        assert_within(out.run_share, demand, 0.02);
        g_assert_cmpint(run(permilles[i], 0, (Ground) {}).longest_sleep_ns,
                        ==, 0);
    }
}

/*
 * An idle vCPU is interrupted seldom.  Its slice is what the longest debt, 200
 * ms, and its credit are worth, so that it repays all of it if it gets busy.
 */
static void test_idle(void)
{
    for (int i = 0; permilles[i] <= 990; i++) {
        int64_t slice_ns = MIN(10 * NS_PER_MS, 250LL * NS_PER_MS *
                               (1000 - permilles[i]) / permilles[i]);
        CpuThrottlePulse pulse = {};

        g_assert_cmpint(run(permilles[i], 0, (Ground) {}).interrupts, <,
                        100LL * NS_PER_S / slice_ns + 100);

        for (int j = 0; j < 3; j++) {
            cpu_throttle_pulse_sleep_ns(&pulse, permilles[i], 0, NS_PER_S);
        }
        g_assert_cmpint(pulse.slice_ns, ==, slice_ns);
        cpu_throttle_pulse_sleep_ns(&pulse, permilles[i], slice_ns, slice_ns);
        g_assert_cmpint(pulse.owed_ns, ==, slice_ns * 1000 /
                        (1000 - permilles[i]) - slice_ns -
                        CPU_THROTTLE_SLEEP_MAX_NS);
    }
}

/* After an idle second it may not run for longer than the credit is worth. */
static void test_credit_bounded(void)
{
    CpuThrottlePulse pulse = {};

    cpu_throttle_pulse_sleep_ns(&pulse, 990, 0, NS_PER_S);
    g_assert_cmpint(pulse.owed_ns, ==, -CPU_THROTTLE_SLEEP_MAX_NS);
    g_assert_cmpint(cpu_throttle_pulse_sleep_ns(&pulse, 990, NS_PER_MS / 2,
                                                NS_PER_MS / 2), ==, 0);
    g_assert_cmpint(cpu_throttle_pulse_sleep_ns(&pulse, 990, NS_PER_MS / 2,
                                                NS_PER_MS / 2), >,
                    40 * NS_PER_MS);
}

/* A changed throttle does not pay for the old one. */
static void test_forgive(void)
{
    CpuThrottlePulse pulse = {};

    cpu_throttle_pulse_sleep_ns(&pulse, 990, 100 * NS_PER_MS,
                                100 * NS_PER_MS);
    g_assert_cmpint(pulse.owed_ns, >, CPU_THROTTLE_SLEEP_MAX_NS);
    cpu_throttle_pulse_forgive(&pulse);
    g_assert_cmpint(cpu_throttle_pulse_sleep_ns(&pulse, 500, NS_PER_MS,
                                                NS_PER_MS), ==, NS_PER_MS);
}

static void check_total(unsigned permille, int64_t executed_ns,
                        int64_t elapsed_ns)
{
    CpuThrottlePulse pulse = {};
    int64_t sleep_ns = cpu_throttle_pulse_sleep_ns(&pulse, permille,
                                                   executed_ns, elapsed_ns);

    g_assert_cmpint(sleep_ns, >=, 0);
    g_assert_cmpint(sleep_ns, <=, CPU_THROTTLE_SLEEP_MAX_NS);
    g_assert_cmpint(pulse.slice_ns, >, 0);
    g_assert_cmpint(pulse.slice_ns, <=, 10 * NS_PER_MS);
}

/* Any clock: one that went back, stood still, or jumped. */
static void test_total(void)
{
    static const int64_t times[] = {
        INT64_MIN, -1, 0, 1, NS_PER_S, INT64_MAX
    };

    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(times); j++) {
            for (unsigned permille = 0; permille <= 1100; permille += 100) {
                check_total(permille, times[i], times[j]);
            }
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-throttle/pulse/exact", test_exact);
    g_test_add_func("/cpu-throttle/pulse/late-interrupt", test_late_interrupt);
    g_test_add_func("/cpu-throttle/pulse/late-wake-up", test_late_wake_up);
    g_test_add_func("/cpu-throttle/pulse/busy-host", test_busy_host);
    g_test_add_func("/cpu-throttle/pulse/sleep-bounded", test_sleep_bounded);
    g_test_add_func("/cpu-throttle/pulse/modest", test_modest);
    g_test_add_func("/cpu-throttle/pulse/idle", test_idle);
    g_test_add_func("/cpu-throttle/pulse/credit-bounded", test_credit_bounded);
    g_test_add_func("/cpu-throttle/pulse/forgive", test_forgive);
    g_test_add_func("/cpu-throttle/pulse/total", test_total);
    return g_test_run();
}
