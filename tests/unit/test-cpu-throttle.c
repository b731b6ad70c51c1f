/*
 * CPU throttle: vCPU threads that come and go under it
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Real threads, host timers and signals; what stands in for QEMU here is a
 * guest that counts, and a BQL.  A vCPU that is left behind, or that no alarm
 * gets out of the guest, shows as a test that does not end.
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "hw/core/cpu.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "migration/cpu-throttle-actuator.h"

#define VCPUS 3
#define CYCLES 5000
#define LONGEST_PAUSE_US 200

/* A guest, and the thread that runs it */
typedef struct Vcpu {
    CPUState *cpu;
    uint64_t work;
} Vcpu;

static Vcpu vcpus[VCPUS];
static QemuMutex bql;
static QemuCond news; /* a vCPU was created or has stopped */
static CpuThrottleAlarmKind alarm_kind;

/* ---- QEMU, as far as the throttle sees it ---- */

CpuThrottleAlarmKind cpu_throttle_alarm_kind(CPUState *cpu)
{
    return alarm_kind;
}

void cpu_throttle_wait(CPUState *cpu, int timeout_ms)
{
    /* Nobody waits for a vCPU that goes to sleep */
    g_assert_true(QSIMPLEQ_EMPTY(&cpu->work_list));
    qemu_cond_timedwait(cpu->halt_cond, &bql, timeout_ms);
}

void cpu_exit(CPUState *cpu)
{
    qatomic_set(&cpu->exit_request, 1);
}

void qemu_cpu_kick(CPUState *cpu)
{
    qemu_cond_broadcast(cpu->halt_cond);
    cpu_exit(cpu);
}

bool qemu_cpu_is_self(CPUState *cpu)
{
    return qemu_thread_is_self(cpu->thread);
}

static void run_guest(Vcpu *vcpu)
{
    qemu_mutex_unlock(&bql);
    while (!qatomic_read(&vcpu->cpu->exit_request)) {
        qatomic_set(&vcpu->work, vcpu->work + 1);
    }
    qemu_mutex_lock(&bql);
    qatomic_set(&vcpu->cpu->exit_request, 0);
}

static void *vcpu_thread(void *opaque)
{
    Vcpu *vcpu = opaque;
    CPUState *cpu = vcpu->cpu;

    qemu_mutex_lock(&bql);
    qemu_thread_get_self(cpu->thread);
    cpu->thread_id = qemu_get_thread_id();
    cpu->created = true;
    qemu_cond_broadcast(&news);
    while (!cpu->unplug) {
        if (!cpu->stopped) {
            run_guest(vcpu);
        }
        while (cpu->stopped && !cpu->unplug) {
            qemu_cond_wait(cpu->halt_cond, &bql);
        }
        cpu_throttle_vcpu(cpu);
        if (cpu->stop) {
            cpu->stop = false;
            cpu->stopped = true;
            qemu_cond_broadcast(&news);
        }
        process_queued_cpu_work(cpu);
    }
    qemu_mutex_unlock(&bql);
    return NULL;
}

/* ---- what a user does; all of it with the BQL ---- */

static void plug(int i)
{
    CPUState *cpu = g_new0(CPUState, 1);

    cpu->cpu_index = i;
    cpu->stopped = true;
    cpu->thread = g_new0(QemuThread, 1);
    cpu->halt_cond = g_new0(QemuCond, 1);
    qemu_cond_init(cpu->halt_cond);
    qemu_mutex_init(&cpu->work_mutex);
    QSIMPLEQ_INIT(&cpu->work_list);
    vcpus[i].cpu = cpu;
    cpu_list_add(cpu);
    qemu_thread_create(cpu->thread, "vcpu", vcpu_thread, &vcpus[i],
                       QEMU_THREAD_JOINABLE);
    while (!cpu->created) {
        qemu_cond_wait(&news, &bql);
    }
    cpu->stopped = false;
    qemu_cpu_kick(cpu);
}

static void count_work(CPUState *cpu, run_on_cpu_data data)
{
    ++*(int *)data.host_ptr;
}

/* Work that is queued for a vCPU is done, even if it is going away. */
static void unplug(int i)
{
    CPUState *cpu = vcpus[i].cpu;
    int done = 0;

    async_run_on_cpu(cpu, count_work, RUN_ON_CPU_HOST_PTR(&done));
    cpu->stop = true;
    cpu->unplug = true;
    qemu_cpu_kick(cpu);
    qemu_mutex_unlock(&bql);
    qemu_thread_join(cpu->thread);
    qemu_mutex_lock(&bql);
    g_assert_cmpint(done, ==, 1);
    cpu_list_remove(cpu);
    qemu_mutex_destroy(&cpu->work_mutex);
    qemu_cond_destroy(cpu->halt_cond);
    g_free(cpu->halt_cond);
    g_free(cpu->thread);
    g_free(cpu);
}

static void stop_all(void)
{
    for (int i = 0; i < VCPUS; i++) {
        vcpus[i].cpu->stop = true;
        qemu_cpu_kick(vcpus[i].cpu);
    }
    for (int i = 0; i < VCPUS; i++) {
        while (!vcpus[i].cpu->stopped) {
            qemu_cond_wait(&news, &bql);
        }
    }
}

static void cont_all(void)
{
    for (int i = 0; i < VCPUS; i++) {
        vcpus[i].cpu->stopped = false;
        qemu_cpu_kick(vcpus[i].cpu);
    }
}

/* Others have the BQL for a while, and what the main loop does is done. */
static void pause_us(int32_t us)
{
    qemu_mutex_unlock(&bql);
    g_usleep(us);
    qemu_mutex_lock(&bql);
    qemu_clock_run_all_timers();
}

/* Returns when each guest has worked. */
static void await_work(void)
{
    for (int i = 0; i < VCPUS; i++) {
        uint64_t before = qatomic_read(&vcpus[i].work);

        while (qatomic_read(&vcpus[i].work) == before) {
            pause_us(LONGEST_PAUSE_US);
        }
    }
}

static void await_held(void)
{
    cpu_throttle_reset_held();
    while (!cpu_throttle_get_held_ns()) {
        pause_us(LONGEST_PAUSE_US);
    }
}

/* ---- tests ---- */

static void begin(CpuThrottleAlarmKind kind)
{
    alarm_kind = kind;
    qemu_mutex_lock(&bql);
    for (int i = 0; i < VCPUS; i++) {
        plug(i);
    }
}

static void end(void)
{
    for (int i = 0; i < VCPUS; i++) {
        unplug(i);
    }
    qemu_mutex_unlock(&bql);
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
    if (cycle % 50 == 0) {
        stop_all();
        pause_us(g_test_rand_int_range(0, LONGEST_PAUSE_US));
        cont_all();
    }
    /* Not the first, as on real machines */
    if (cycle % 100 == 0) {
        int i = g_test_rand_int_range(1, VCPUS);

        unplug(i);
        pause_us(g_test_rand_int_range(0, LONGEST_PAUSE_US));
        plug(i);
    }
}

/*
 * Set, changed, stopped; machine stopped and started; vCPUs unplugged and
 * plugged: under the firmest throttle and none, every vCPU goes on.
 */
static void test_stress(const void *opaque)
{
    begin(GPOINTER_TO_INT(opaque));
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        do_something(cycle);
        pause_us(g_test_rand_int_range(0, LONGEST_PAUSE_US));
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
    end();
}

/* Time held back is counted while there is a throttle, and only then. */
static void test_held(const void *opaque)
{
    begin(GPOINTER_TO_INT(opaque));
    cpu_throttle_reset_held();
    await_work();
    g_assert_cmpint(cpu_throttle_get_held_ns(), ==, 0);

    cpu_throttle_set_permille(900);
    g_assert_cmpint(cpu_throttle_get_permille(), ==, 900);
    await_held();

    /* Also when there is no kick but the alarm to get a vCPU out */
    await_work();
    await_held();

    cpu_throttle_set_permille(0);
    g_assert_cmpint(cpu_throttle_get_permille(), ==, 0);
    await_work();
    cpu_throttle_reset_held();
    await_work();
    g_assert_cmpint(cpu_throttle_get_held_ns(), ==, 0);
    end();
}

/* A vCPU that is plugged while the throttle is on is throttled, too. */
static void test_plug(const void *opaque)
{
    begin(GPOINTER_TO_INT(opaque));
    cpu_throttle_set_permille(990);
    await_held();
    for (int i = 1; i < VCPUS; i++) {
        unplug(i);
        plug(i);
    }
    /* With the old one at rest, it must be the new ones that are held back */
    vcpus[0].cpu->stop = true;
    qemu_cpu_kick(vcpus[0].cpu);
    while (!vcpus[0].cpu->stopped) {
        qemu_cond_wait(&news, &bql);
    }
    await_held();
    cont_all();
    cpu_throttle_set_permille(0);
    await_work();
    end();
}

/* A vCPU does what it is asked to also while it sleeps. */
static void test_work(const void *opaque)
{
    int done = 0;

    begin(GPOINTER_TO_INT(opaque));
    cpu_throttle_set_permille(990);
    await_held();
    for (int i = 0; i < 100; i++) {
        run_on_cpu_data data = RUN_ON_CPU_HOST_PTR(&done);

        do_run_on_cpu(vcpus[i % VCPUS].cpu, count_work, data, &bql);
    }
    g_assert_cmpint(done, ==, 100);
    cpu_throttle_set_permille(0);
    end();
}

/* The clock is the thread's: it goes on with its work. */
static void test_clock(void)
{
    int64_t before_ns, after_ns;

    begin(CPU_THROTTLE_ALARM_KICK);
    await_work();
    if (cpu_throttle_vcpu_clock_ns(vcpus[0].cpu, &before_ns)) {
        await_work();
        g_assert(cpu_throttle_vcpu_clock_ns(vcpus[0].cpu, &after_ns));
        g_assert_cmpint(after_ns, >, before_ns);
    } else {
        g_test_skip("this host has no CPU clocks of threads");
    }
    end();
}

static void notify(void *opaque, QEMUClockType type)
{
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        CpuThrottleAlarmKind kind;
    } kinds[] = {
        { "kick", CPU_THROTTLE_ALARM_KICK },
        { "signal", CPU_THROTTLE_ALARM_EXIT },
    };

    g_test_init(&argc, &argv, NULL);
    init_clocks(notify);
    qemu_init_cpu_list();
    qemu_mutex_init(&bql);
    qemu_cond_init(&news);
    for (int i = 0; i < ARRAY_SIZE(kinds); i++) {
        void *kind = GINT_TO_POINTER(kinds[i].kind);
        g_autofree char *path = g_strconcat("/cpu-throttle/vcpu/",
                                            kinds[i].name, NULL);
        g_autofree char *held = g_strconcat(path, "/held", NULL);
        g_autofree char *plug = g_strconcat(path, "/plug", NULL);
        g_autofree char *work = g_strconcat(path, "/work", NULL);
        g_autofree char *stress = g_strconcat(path, "/stress", NULL);

        g_test_add_data_func(held, kind, test_held);
        g_test_add_data_func(plug, kind, test_plug);
        g_test_add_data_func(work, kind, test_work);
        g_test_add_data_func(stress, kind, test_stress);
    }
    g_test_add_func("/cpu-throttle/vcpu/clock", test_clock);
    return g_test_run();
}
