/*
 * CPU throttle: vCPU threads that come and go under it
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vCPU that is left behind, or that no timer gets out of the guest, shows as
 * a test that does not end.
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "cpu-throttle-vcpus.h"

#define VCPUS 3
#define CYCLES 5000
#define LONGEST_PAUSE_US 200

/* Returns when each guest has worked. */
static void await_work(void)
{
    for (int i = 0; i < VCPUS; i++) {
        uint64_t before = qatomic_read(&vcpus[i].work);

        while (qatomic_read(&vcpus[i].work) == before) {
            vcpus_pause_us(LONGEST_PAUSE_US);
        }
    }
}

static void await_held(void)
{
    cpu_throttle_reset_held();
    while (!cpu_throttle_get_held_ns()) {
        vcpus_pause_us(LONGEST_PAUSE_US);
    }
}

static void begin(const void *opaque)
{
    vcpus_timer_kind = GPOINTER_TO_INT(opaque);
    vcpus_plug_all(VCPUS, false);
}

static void do_something(int cycle)
{
    switch (g_test_rand_int_range(0, 8)) {
    case 0:
    case 1:
    case 2:
        cpu_throttle_set_permille(0);
        break;
    default:
        cpu_throttle_set_permille(g_test_rand_int_range(1, 1000));
        break;
    }
    qatomic_set(&vcpus[g_test_rand_int_range(0, VCPUS)].leaves,
                g_test_rand_bit());
    if (cycle % 50 == 0) {
        vcpus_stop_all();
        vcpus_pause_us(g_test_rand_int_range(0, LONGEST_PAUSE_US));
        vcpus_cont_all();
    }
    /* Not the first, as on real machines */
    if (cycle % 100 == 0) {
        int i = g_test_rand_int_range(1, VCPUS);

        vcpus_unplug(i);
        vcpus_pause_us(g_test_rand_int_range(0, LONGEST_PAUSE_US));
        vcpus_plug(i);
    }
}

/*
 * Set, changed, stopped; machine stopped and started; vCPUs unplugged and
 * plugged: under the firmest throttle and none, every vCPU goes on.
 */
static void test_stress(const void *opaque)
{
    begin(opaque);
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        do_something(cycle);
        vcpus_pause_us(g_test_rand_int_range(0, LONGEST_PAUSE_US));
        if (cycle % 500 == 0) {
            await_work();
            cpu_throttle_set_permille(0);
            await_work();
        }
    }
    cpu_throttle_set_permille(999);
    await_work();
    cpu_throttle_set_permille(0);
    await_work();
    vcpus_unplug_all();
}

/* Time held back is counted while there is a throttle, and only then. */
static void test_held(const void *opaque)
{
    begin(opaque);
    cpu_throttle_reset_held();
    await_work();
    g_assert_cmpint(cpu_throttle_get_held_ns(), ==, 0);

    cpu_throttle_set_permille(900);
    g_assert_cmpint(cpu_throttle_get_permille(), ==, 900);
    await_held();

    /* Also when there is no kick but the timer to get a vCPU out */
    await_work();
    await_held();

    cpu_throttle_set_permille(0);
    g_assert_cmpint(cpu_throttle_get_permille(), ==, 0);
    await_work();
    cpu_throttle_reset_held();
    await_work();
    g_assert_cmpint(cpu_throttle_get_held_ns(), ==, 0);
    vcpus_unplug_all();
}

/*
 * One that leaves the guest all the time sleeps in each period, too, where the
 * host gives it more than the throttle does.
 */
static void test_leaves(const void *opaque)
{
    begin(opaque);
    for (int i = 0; i < VCPUS; i++) {
        qatomic_set(&vcpus[i].leaves, true);
    }
    for (int cycle = 0; cycle < CYCLES / 250; cycle++) {
        cpu_throttle_set_permille(g_test_rand_int_range(900, 990));
        await_held();
        await_held();
        await_work();
    }
    vcpus_unplug_all();
}

/* A slice that is over as soon as it begins ends nonetheless. */
static void test_lag(const void *opaque)
{
    begin(opaque);
    cpu_throttle_set_permille(900);
    await_held();
    for (int cycle = 0; cycle < CYCLES / 500; cycle++) {
        qatomic_set(&vcpus_lag, true);
        await_held();
        qatomic_set(&vcpus_lag, false);
        await_held();
        await_held();
    }
    vcpus_unplug_all();
}

/* A vCPU that is plugged while the throttle is on is throttled, too. */
static void test_plug(const void *opaque)
{
    begin(opaque);
    cpu_throttle_set_permille(990);
    await_held();
    for (int i = 1; i < VCPUS; i++) {
        vcpus_unplug(i);
        vcpus_plug(i);
    }
    /* With the old one at rest, it must be the new ones that are held back */
    vcpus_stop(0);
    await_held();
    vcpus_cont_all();
    cpu_throttle_set_permille(0);
    await_work();
    vcpus_unplug_all();
}

static void count_work(CPUState *cpu, run_on_cpu_data data)
{
    ++*(int *)data.host_ptr;
}

/* A vCPU does what it is asked to also while it sleeps. */
static void test_work(const void *opaque)
{
    int done = 0;

    begin(opaque);
    cpu_throttle_set_permille(990);
    await_held();
    for (int i = 0; i < 100; i++) {
        run_on_cpu_data data = RUN_ON_CPU_HOST_PTR(&done);

        do_run_on_cpu(vcpus[i % VCPUS].cpu, count_work, data, &vcpus_bql);
    }
    g_assert_cmpint(done, ==, 100);
    vcpus_unplug_all();
}

/*
 * A vCPU that waits for an event inside of the guest is woken 10 times a second
 * at most, while a busy one leaves the guest in each period of 50 ms, unless
 * the host gives it less than its tenth anyway.
 */
static void test_idle(const void *opaque)
{
    uint64_t busy, idle;
    int64_t start_ns;

    begin(opaque);
    qatomic_set(&vcpus[1].waits, true);
    cpu_throttle_set_permille(900);
    await_held();
    start_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    busy = qatomic_read(&vcpus[0].exits);
    idle = qatomic_read(&vcpus[1].exits);
    while (qatomic_read(&vcpus[0].exits) < busy + 40) {
        vcpus_pause_us(LONGEST_PAUSE_US);
    }
    /* Some more: what the first slices took to find out */
    g_assert_cmpint(qatomic_read(&vcpus[1].exits) - idle, <=, 5 +
                    (qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start_ns) /
                    (100 * SCALE_MS));
    vcpus_unplug_all();
}

static void await_sleep(CPUState *cpu)
{
    while (!qatomic_read(&cpu->throttle_sleeps)) {
        vcpus_pause_us(LONGEST_PAUSE_US);
    }
}

/*
 * A sleeping vCPU does not wake for an interrupt, but for all else.  While this
 * has the lock, it may wake, but cannot go on, nor go to sleep.
 */
static void test_kick(const void *opaque)
{
    CPUState *cpu;
    int done = 0;

    begin(opaque);
    cpu = vcpus[0].cpu;
    g_assert_false(cpu_throttle_kick(cpu));
    cpu_throttle_set_permille(990);
    await_sleep(cpu);
    g_assert_true(cpu_throttle_kick(cpu));
    g_assert_true(qatomic_read(&cpu->throttle_sleeps));

    async_run_on_cpu(cpu, count_work, RUN_ON_CPU_HOST_PTR(&done));
    g_assert_false(qatomic_read(&cpu->throttle_sleeps));
    while (!done) {
        vcpus_pause_us(LONGEST_PAUSE_US);
    }
    await_sleep(cpu);
    qatomic_set(&cpu->stop, true);
    g_assert_true(cpu_throttle_kick(cpu));
    g_assert_false(qatomic_read(&cpu->throttle_sleeps));
    vcpus_stop(0);
    vcpus_cont_all();

    await_sleep(cpu);
    cpu_throttle_set_permille(980);
    g_assert_false(qatomic_read(&cpu->throttle_sleeps));
    vcpus_unplug_all();
}

/* A sleep ends no earlier than it ought to, unless it has to end. */
static void test_sleep(void)
{
    static const int64_t lengths_ns[] = {
        0, 300000, 1000000, 1700000, 2999999
    };
    QemuCond cond;
    CPUState *cpu = g_new0(CPUState, 1);
    int64_t until_ns;

    qemu_cond_init(&cond);
    qemu_mutex_init(&cpu->work_mutex);
    QSIMPLEQ_INIT(&cpu->work_list);
    cpu->halt_cond = &cond;
    cpu->throttle_sleeps = true;
    for (int i = 0; i < ARRAY_SIZE(lengths_ns); i++) {
        until_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + lengths_ns[i];
        cpu_throttle_sleep(cpu, until_ns);
        g_assert_cmpint(qemu_clock_get_ns(QEMU_CLOCK_REALTIME), >=, until_ns);
    }
    /* This would not end while anybody watches. */
    cpu->throttle_sleeps = false;
    cpu_throttle_sleep(cpu, INT64_MAX);

    qemu_mutex_destroy(&cpu->work_mutex);
    qemu_cond_destroy(&cond);
    g_free(cpu);
}

/* The clock is the thread's: it goes on with its work. */
static void test_clock(void)
{
    int64_t before_ns, after_ns;

    begin(GINT_TO_POINTER(CPU_THROTTLE_TIMER_KICK));
    await_work();
    if (cpu_throttle_vcpu_clock_ns(vcpus[0].cpu, &before_ns)) {
        await_work();
        g_assert(cpu_throttle_vcpu_clock_ns(vcpus[0].cpu, &after_ns));
        g_assert_cmpint(after_ns, >, before_ns);
    } else {
        g_test_skip("this host has no CPU clocks of threads");
    }
    vcpus_unplug_all();
}

static void add_tests(const char *kind_name, CpuThrottleTimerKind kind)
{
    static const struct {
        const char *name;
        void (*test)(const void *opaque);
    } tests[] = {
        { "held", test_held },
        { "leaves", test_leaves },
        { "lag", test_lag },
        { "plug", test_plug },
        { "work", test_work },
        { "idle", test_idle },
        { "kick", test_kick },
        { "stress", test_stress },
    };

    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path = g_strdup_printf("/cpu-throttle/vcpu/%s/%s",
                                                kind_name, tests[i].name);

        g_test_add_data_func(path, GINT_TO_POINTER(kind), tests[i].test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vcpus_init();
    add_tests("kick", CPU_THROTTLE_TIMER_KICK);
    add_tests("signal", CPU_THROTTLE_TIMER_EXIT);
    g_test_add_func("/cpu-throttle/vcpu/sleep", test_sleep);
    g_test_add_func("/cpu-throttle/vcpu/clock", test_clock);
    return g_test_run();
}
