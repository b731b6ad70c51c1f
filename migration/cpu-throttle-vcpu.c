/*
 * CPU throttle: each vCPU looks after itself
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "migration/cpu-throttle-actuator.h"
#include "migration/cpu-throttle-pulse.h"

#define PERMILLE_MAX 999

/* Times are of QEMU_CLOCK_REALTIME. */
typedef struct VcpuAccount {
    CpuThrottlePulse pulse;
    CpuThrottleAlarm alarm;
    int thread_id;         /* of this vCPU, in this throttling; 0: nobody */
    int64_t looked_ns;     /* when it last came by with its slice over */
    int64_t clock_ns;      /* CPU clock then */
    int64_t due_ns;        /* when the present slice is over */
    int64_t slept_ns;      /* in all */
} VcpuAccount;

/* By cpu_index. */
static GArray *accounts;

static unsigned throttle_permille;

/* Sleep, mean over the vCPUs that there were at the time. */
static uint64_t held_ns;

static VcpuAccount *vcpu_account(CPUState *cpu)
{
    if (!accounts) {
        accounts = g_array_new(false, true, sizeof(VcpuAccount));
    }
    if (cpu->cpu_index >= accounts->len) {
        g_array_set_size(accounts, cpu->cpu_index + 1);
    }
    return &g_array_index(accounts, VcpuAccount, cpu->cpu_index);
}

/* Where one thread runs all vCPUs, the first of them stands for them all. */
static bool vcpu_is_represented(CPUState *cpu)
{
    return cpu != first_cpu && cpu->thread == first_cpu->thread;
}

static unsigned throttled_vcpus(void)
{
    unsigned vcpus = 0;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        vcpus += !vcpu_is_represented(cpu);
    }
    return vcpus;
}

bool cpu_throttle_vcpu_clock_ns(CPUState *cpu, int64_t *clock_ns)
{
#if defined(CONFIG_POSIX) && defined(_POSIX_THREAD_CPUTIME)
    clockid_t clock;
    struct timespec ts;

    if (cpu->created &&
        !pthread_getcpuclockid(cpu->thread->thread, &clock) &&
        !clock_gettime(clock, &ts)) {
        *clock_ns = ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
        return true;
    }
#endif
    return false;
}

/* Without a CPU clock, all the time that it did not sleep counts. */
static int64_t vcpu_clock_ns(CPUState *cpu, const VcpuAccount *account)
{
    int64_t clock_ns;

    return cpu_throttle_vcpu_clock_ns(cpu, &clock_ns) ? clock_ns :
           qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - account->slept_ns;
}

/* Also when it has had none: the account may be that of one unplugged. */
static bool vcpu_slice_is_over(CPUState *cpu, int64_t now_ns)
{
    VcpuAccount *account = vcpu_account(cpu);

    return account->thread_id != cpu->thread_id || now_ns >= account->due_ns;
}

/* Its slice is over: what does it owe? */
static int64_t vcpu_reckon_ns(CPUState *cpu, int64_t now_ns)
{
    VcpuAccount *account = vcpu_account(cpu);
    int64_t clock_ns = vcpu_clock_ns(cpu, account);
    bool begun = account->thread_id == cpu->thread_id;
    int64_t sleep_ns;

    if (!begun) {
        cpu_throttle_pulse_forgive(&account->pulse);
    }
    sleep_ns = cpu_throttle_pulse_sleep_ns(&account->pulse, throttle_permille,
        begun ? clock_ns - account->clock_ns : 0,
        begun ? now_ns - account->looked_ns : 0);
    account->thread_id = cpu->thread_id;
    account->looked_ns = now_ns;
    account->clock_ns = clock_ns;
    return sleep_ns;
}

/* Whoever asks a vCPU for something must not have to wait until it wakes. */
static void vcpu_do_work(CPUState *cpu)
{
    CPUState *other;

    process_queued_cpu_work(cpu);
    CPU_FOREACH(other) {
        if (vcpu_is_represented(other)) {
            process_queued_cpu_work(other);
        }
    }
}

static void vcpu_sleep(CPUState *cpu, int64_t sleep_ns)
{
    int64_t left_ms = sleep_ns / SCALE_MS;
    int64_t start_ns, slept_ns = 0;

    /* The kick that announced it may have been what ended the slice */
    vcpu_do_work(cpu);
    start_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    while (left_ms > 0 && throttle_permille && !cpu->stop) {
        cpu_throttle_wait(cpu, left_ms);
        vcpu_do_work(cpu);
        slept_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start_ns;
        left_ms = (sleep_ns - slept_ns) / SCALE_MS;
    }
    vcpu_account(cpu)->slept_ns += slept_ns;
    held_ns += slept_ns / MAX(throttled_vcpus(), 1);
}

static void vcpu_begin_slice(CPUState *cpu)
{
    VcpuAccount *account = vcpu_account(cpu);

    account->due_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                      account->pulse.slice_ns;
    cpu_throttle_alarm_set(&account->alarm, cpu, account->pulse.slice_ns);
}

void cpu_throttle_vcpu(CPUState *cpu)
{
    int64_t now_ns;

    if (!throttle_permille || cpu->stopped || vcpu_is_represented(cpu)) {
        return;
    }
    now_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    if (!vcpu_slice_is_over(cpu, now_ns)) {
        return;
    }
    vcpu_sleep(cpu, vcpu_reckon_ns(cpu, now_ns));
    if (throttle_permille) {
        vcpu_begin_slice(cpu);
    }
}

/* Get them out of the guest, or out of their sleep. */
static void kick_all(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        /* The thread of one that is being unplugged may be gone already */
        if (cpu->created) {
            qemu_cpu_kick(cpu);
        }
    }
}

/* Nobody owes anything, and everybody comes by. */
static void throttle_begin(void)
{
    for (int i = 0; accounts && i < accounts->len; i++) {
        g_array_index(accounts, VcpuAccount, i).thread_id = 0;
    }
    kick_all();
}

static void throttle_end(void)
{
    for (int i = 0; accounts && i < accounts->len; i++) {
        cpu_throttle_alarm_drop(&g_array_index(accounts, VcpuAccount, i).alarm);
    }
    kick_all();
}

static void throttle_change(void)
{
    for (int i = 0; accounts && i < accounts->len; i++) {
        cpu_throttle_pulse_forgive(
            &g_array_index(accounts, VcpuAccount, i).pulse);
    }
}

void cpu_throttle_set_permille(unsigned permille)
{
    unsigned before = throttle_permille;

    permille = MIN(permille, PERMILLE_MAX);
    qatomic_set(&throttle_permille, permille);
    if (permille && !before) {
        throttle_begin();
    } else if (before && !permille) {
        throttle_end();
    } else if (permille != before) {
        throttle_change();
    }
}

unsigned cpu_throttle_get_permille(void)
{
    return qatomic_read(&throttle_permille);
}

uint64_t cpu_throttle_get_held_ns(void)
{
    return held_ns;
}

void cpu_throttle_reset_held(void)
{
    held_ns = 0;
}
