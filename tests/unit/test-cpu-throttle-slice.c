/*
 * CPU throttle: laws of the run slices
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/cpu-throttle-slice.h"

#define NS_PER_MS 1000000LL
#define NS_PER_S (1000 * NS_PER_MS)

/* Any; so that nothing depends on its being 0 */
#define EPOCH_NS (12345 * NS_PER_MS + 678901)

static const unsigned permilles[] = {
    1, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 990, 995, 999
};

typedef struct Outcome {
    double run_share;
    int64_t longest_sleep_ns;
    int64_t shortest_slice_ns;
    int64_t sleeps;
} Outcome;

/* What is wrong with the ground under a vCPU */
typedef struct Ground {
    int64_t interrupt_late_ns; /* every tenth: ten times as late */
    int64_t wake_up_late_ns;   /* likewise */
    double stolen;             /* share of its slice that the host takes */
} Ground;

static int64_t late_ns(int64_t late_ns, int64_t count)
{
    return late_ns * (count % 10 == 9 ? 10 : 1);
}

/* Sleeps are of whole ms, as QemuCond waits. */
static int64_t whole_ms_ns(int64_t ns)
{
    return (ns + NS_PER_MS - 1) / NS_PER_MS * NS_PER_MS;
}

/* A vCPU that wants @demand of the time, for 200 s. */
static Outcome run(unsigned permille, double demand, Ground ground)
{
    CpuThrottleRhythm rhythm = cpu_throttle_rhythm(permille, EPOCH_NS);
    Outcome out = { .shortest_slice_ns = INT64_MAX };
    int64_t now_ns = EPOCH_NS, run_ns = 0, looks = 0;
    CpuThrottleSlice slice;

    cpu_throttle_slice_start(&slice, &rhythm, now_ns);
    while (now_ns - EPOCH_NS < 200 * NS_PER_S) {
        int64_t slice_ns = cpu_throttle_slice_run_ns(&slice, &rhythm, now_ns) +
                           late_ns(ground.interrupt_late_ns, looks++);
        int64_t executed_ns = slice_ns * (1 - ground.stolen);
        int64_t sleep_ns;

        /* It catches up with what it could not do while it slept */
        executed_ns = MIN(executed_ns, MAX((now_ns - EPOCH_NS + slice_ns) *
                                           demand - run_ns, 0));
        now_ns += slice_ns;
        run_ns += executed_ns;
        cpu_throttle_slice_charge(&slice, &rhythm, executed_ns, now_ns);
        sleep_ns = cpu_throttle_slice_sleep_ns(&slice, &rhythm, now_ns);
        if (sleep_ns) {
            out.shortest_slice_ns = MIN(out.shortest_slice_ns, slice_ns);
            out.longest_sleep_ns = MAX(out.longest_sleep_ns, sleep_ns);
            out.sleeps++;
            now_ns += whole_ms_ns(sleep_ns) +
                      late_ns(ground.wake_up_late_ns, out.sleeps);
            cpu_throttle_slice_charge(&slice, &rhythm, 0, now_ns);
        }
    }
    out.run_share = (double)run_ns / (now_ns - EPOCH_NS);
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

        assert_within(out.run_share, 1 - permilles[i] / 1000.0, 0.01);
    }
}

/*
 * Nor does it matter that interrupts are 100 us late, and sometimes 1 ms: what
 * a slice had too much, later ones leave out.
 */
static void test_late_interrupt(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        Outcome out = run(permilles[i], 1, (Ground) {
            .interrupt_late_ns = NS_PER_MS / 10,
        });

        assert_within(out.run_share, 1 - permilles[i] / 1000.0, 0.02);
    }
}

/* What it overslept it may run. */
static void test_late_wake_up(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        Outcome out = run(permilles[i], 1, (Ground) {
            .wake_up_late_ns = NS_PER_MS / 10,
        });

        assert_within(out.run_share, 1 - permilles[i] / 1000.0, 0.02);
    }
}

/* The host gives it half of a CPU: that counts, the throttle takes the rest. */
static void test_busy_host(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        Outcome out = run(permilles[i], 1, (Ground) { .stolen = 0.5 });

        assert_within(out.run_share, MIN(0.5, 1 - permilles[i] / 1000.0),
                      0.02);
    }
}

/* Half a ms is not worth another sleep: at 80 % a share is 11 ms. */
static void test_worth(void)
{
    CpuThrottleRhythm rhythm = cpu_throttle_rhythm(800, EPOCH_NS);

    for (int rest_us = 400; rest_us <= 600; rest_us += 200) {
        int64_t executed_ns = rhythm.share_ns - rest_us * 1000;
        int64_t now_ns = EPOCH_NS + executed_ns;
        CpuThrottleSlice slice;

        cpu_throttle_slice_start(&slice, &rhythm, EPOCH_NS);
        cpu_throttle_slice_charge(&slice, &rhythm, executed_ns, now_ns);
        g_assert_cmpint(cpu_throttle_slice_sleep_ns(&slice, &rhythm,
                                                    now_ns) > 0, ==,
                        rest_us == 400);
    }
}

/* The guest is silent for 50 ms up to 90 %, for 200 ms up to 99 %. */
static void test_sleep_bounded(void)
{
    for (unsigned permille = 1; permille <= 990; permille++) {
        int64_t max_ns = permille <= 900 ? CPU_THROTTLE_SLEEP_MAX_NS :
                                           CPU_THROTTLE_LONG_SLEEP_MAX_NS;

        for (int64_t late = 0; late <= 8 * NS_PER_MS; late += 4 * NS_PER_MS) {
            Outcome out = run(permille, 1, (Ground) {
                .interrupt_late_ns = late / 10,
            });

            g_assert_cmpint(out.longest_sleep_ns, <=, max_ns);
        }
    }
}

/*
 * A slice is worth having: 5 ms up to 97 %, 2 ms at 99 %; where debts are to
 * be paid, half of that.
 */
static void test_slice_worth(void)
{
    for (unsigned permille = 300; permille <= 970; permille++) {
        Outcome calm = run(permille, 1, (Ground) {});
        Outcome late = run(permille, 1, (Ground) {
            .interrupt_late_ns = NS_PER_MS,
        });

        g_assert_cmpint(calm.shortest_slice_ns, >=, 4 * NS_PER_MS);
        g_assert_cmpint(late.shortest_slice_ns, >=, 2 * NS_PER_MS);
    }
    g_assert_cmpint(run(990, 1, (Ground) {}).shortest_slice_ns, >=,
                    2 * NS_PER_MS);
    g_assert_cmpint(run(990, 1, (Ground) {
                        .interrupt_late_ns = NS_PER_MS,
                    }).shortest_slice_ns, >=, NS_PER_MS);
}

/* The trade between silence and slices, as the header states it */
static void test_trade(void)
{
    static const struct {
        unsigned permille;
        int64_t slice_ms;
        int64_t sleep_ms;
    } trades[] = {
        { 500, 11, 11 },
        { 800, 11, 44 },
        { 900, 5, 45 },
        { 950, 10, 190 },
        { 990, 2, 198 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(trades); i++) {
        Outcome out = run(trades[i].permille, 1, (Ground) {});

        g_assert_cmpint(out.shortest_slice_ns, ==,
                        trades[i].slice_ms * NS_PER_MS);
        g_assert_cmpint(out.longest_sleep_ns, ==,
                        trades[i].sleep_ms * NS_PER_MS);
    }
    /* In between, neither changes by leaps. */
    for (unsigned permille = 10; permille < 990; permille++) {
        CpuThrottleRhythm one = cpu_throttle_rhythm(permille, EPOCH_NS);
        CpuThrottleRhythm next = cpu_throttle_rhythm(permille + 1, EPOCH_NS);

        g_assert_cmpint(ABS(next.period_ns - one.period_ns), <=,
                        5 * NS_PER_MS);
        g_assert_cmpint(ABS(next.share_ns - one.share_ns), <=, NS_PER_MS);
    }
}

/*
 * Slices end together, however late the interrupt was or the wake-up, as long
 * as a vCPU is not a quarter of a share away from what it has.
 */
static void test_together(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        CpuThrottleRhythm rhythm = cpu_throttle_rhythm(permilles[i], EPOCH_NS);
        int64_t apart_ns = MAX(rhythm.share_ns / 4, NS_PER_MS);
        CpuThrottleSlice exact;

        cpu_throttle_slice_start(&exact, &rhythm, EPOCH_NS);
        for (int64_t early_ns = -apart_ns / 2; early_ns < apart_ns / 2;
             early_ns += NS_PER_MS / 7) {
            CpuThrottleSlice slice = exact;

            slice.left_ns += early_ns;
            g_assert_cmpint(
                cpu_throttle_slice_run_ns(&slice, &rhythm, EPOCH_NS), ==,
                cpu_throttle_slice_run_ns(&exact, &rhythm, EPOCH_NS));
        }
    }
}

/* A vCPU that wants less than its share is not held back. */
static void test_modest(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        double demand = (1 - permilles[i] / 1000.0) * 0.9;

        assert_within(run(permilles[i], demand, (Ground) {}).run_share,
                      demand, 0.01);
        g_assert_cmpint(run(permilles[i], 0, (Ground) {}).sleeps, ==, 0);
    }
}

/*
 * All begin together: whatever a vCPU did before, and whenever its slice ended,
 * it wakes at the beginning of a period of the common clock.
 */
static void test_rhythm(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        CpuThrottleRhythm rhythm = cpu_throttle_rhythm(permilles[i], EPOCH_NS);

        for (int64_t now_ns = EPOCH_NS; now_ns < EPOCH_NS + NS_PER_S;
             now_ns += NS_PER_MS / 3) {
            CpuThrottleSlice slice;
            int64_t sleep_ns;

            cpu_throttle_slice_start(&slice, &rhythm, now_ns);
            cpu_throttle_slice_charge(&slice, &rhythm, 2 * slice.left_ns,
                                      now_ns);
            sleep_ns = cpu_throttle_slice_sleep_ns(&slice, &rhythm, now_ns);
            if (sleep_ns) {
                g_assert_cmpint((now_ns + sleep_ns - EPOCH_NS) %
                                rhythm.period_ns, ==, 0);
            }
        }
    }
}

/*
 * 99 %: period 200 ms, share 2 ms.  A slice of 5 ms owes 3 ms, of which
 * the next ones leave out half a share each, until it is paid.
 */
static void test_debt(void)
{
    CpuThrottleRhythm rhythm = cpu_throttle_rhythm(990, EPOCH_NS);
    int64_t executed_ns = 5 * NS_PER_MS, now_ns = EPOCH_NS;
    static const int64_t left_us[] = { 1000, 1000, 1000, 2000 };
    CpuThrottleSlice slice;

    g_assert_cmpint(rhythm.period_ns, ==, 200 * NS_PER_MS);
    g_assert_cmpint(rhythm.share_ns, ==, 2 * NS_PER_MS);
    cpu_throttle_slice_start(&slice, &rhythm, now_ns);
    for (size_t i = 0; i < ARRAY_SIZE(left_us); i++) {
        now_ns += rhythm.period_ns;
        cpu_throttle_slice_charge(&slice, &rhythm, executed_ns, now_ns);
        g_assert_cmpint(slice.left_ns, ==, left_us[i] * 1000);
        executed_ns = slice.left_ns;
    }
}

/* However long it overran, every period has a slice, and it ends. */
static void test_debt_bounded(void)
{
    CpuThrottleRhythm rhythm = cpu_throttle_rhythm(900, EPOCH_NS);
    int64_t now_ns = EPOCH_NS;
    CpuThrottleSlice slice;

    cpu_throttle_slice_start(&slice, &rhythm, now_ns);
    cpu_throttle_slice_charge(&slice, &rhythm, 100 * NS_PER_S, now_ns);
    for (int i = 0; i < 10; i++) {
        now_ns += rhythm.period_ns;
        cpu_throttle_slice_charge(&slice, &rhythm,
                                  i ? slice.left_ns : 0, now_ns);
        g_assert_cmpint(slice.left_ns, >=, rhythm.share_ns / 2);
        g_assert_cmpint(slice.owed_ns, <=, 5 * rhythm.share_ns);
    }
    g_assert_cmpint(slice.owed_ns, ==, 0);
}

/* After an idle minute it may not run for longer than two slices. */
static void test_credit_bounded(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        CpuThrottleRhythm rhythm = cpu_throttle_rhythm(permilles[i], EPOCH_NS);
        CpuThrottleSlice slice;

        cpu_throttle_slice_start(&slice, &rhythm, EPOCH_NS);
        cpu_throttle_slice_charge(&slice, &rhythm, 0,
                                  EPOCH_NS + 60 * NS_PER_S);
        g_assert_cmpint(slice.left_ns, >=, rhythm.share_ns);
        g_assert_cmpint(slice.left_ns, <=,
                        MAX(2 * rhythm.share_ns, NS_PER_MS));
    }
}

static void check_total(unsigned permille, int64_t executed_ns, int64_t now_ns)
{
    CpuThrottleRhythm rhythm = cpu_throttle_rhythm(permille, EPOCH_NS);
    CpuThrottleSlice slice;
    int64_t sleep_ns, run_ns;

    cpu_throttle_slice_start(&slice, &rhythm, EPOCH_NS + NS_PER_S);
    for (int i = 0; i < 10; i++) {
        cpu_throttle_slice_charge(&slice, &rhythm, executed_ns, now_ns);
        sleep_ns = cpu_throttle_slice_sleep_ns(&slice, &rhythm, now_ns);
        run_ns = cpu_throttle_slice_run_ns(&slice, &rhythm, now_ns);
        g_assert_cmpint(sleep_ns, >=, 0);
        g_assert_cmpint(sleep_ns, <=, rhythm.period_ns);
        g_assert_cmpint(run_ns, >, 0);
        g_assert_cmpint(run_ns, <=, 3 * rhythm.period_ns);
    }
}

/* Any clock: one that went back, stood still, or jumped. */
static void test_total(void)
{
    static const int64_t executed[] = {
        INT64_MIN, -1, 0, 1, NS_PER_S, INT64_MAX
    };
    static const int64_t now[] = {
        0, EPOCH_NS, EPOCH_NS + NS_PER_S, EPOCH_NS + 60 * NS_PER_S, INT64_MAX
    };

    for (size_t i = 0; i < ARRAY_SIZE(executed); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(now); j++) {
            for (unsigned permille = 0; permille <= 1100; permille += 100) {
                check_total(permille, executed[i], now[j]);
            }
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-throttle/slice/exact", test_exact);
    g_test_add_func("/cpu-throttle/slice/late-interrupt", test_late_interrupt);
    g_test_add_func("/cpu-throttle/slice/late-wake-up", test_late_wake_up);
    g_test_add_func("/cpu-throttle/slice/busy-host", test_busy_host);
    g_test_add_func("/cpu-throttle/slice/sleep-bounded", test_sleep_bounded);
    g_test_add_func("/cpu-throttle/slice/worth", test_worth);
    g_test_add_func("/cpu-throttle/slice/slice-worth", test_slice_worth);
    g_test_add_func("/cpu-throttle/slice/trade", test_trade);
    g_test_add_func("/cpu-throttle/slice/together", test_together);
    g_test_add_func("/cpu-throttle/slice/modest", test_modest);
    g_test_add_func("/cpu-throttle/slice/rhythm", test_rhythm);
    g_test_add_func("/cpu-throttle/slice/debt", test_debt);
    g_test_add_func("/cpu-throttle/slice/debt-bounded", test_debt_bounded);
    g_test_add_func("/cpu-throttle/slice/credit-bounded", test_credit_bounded);
    g_test_add_func("/cpu-throttle/slice/total", test_total);
    return g_test_run();
}
