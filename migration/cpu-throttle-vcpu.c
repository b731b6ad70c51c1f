/*
 * CPU throttle: the account of each vCPU
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

typedef struct VcpuAccount {
    CpuThrottlePulse pulse;
    bool begun;       /* the times below are of this throttling */
    int64_t clock_ns; /* CPU clock at the last interrupt */
    int64_t slept_ns; /* in all */
    int64_t due_ns;   /* the next interrupt, QEMU_CLOCK_VIRTUAL_RT */
} VcpuAccount;

/* By cpu_index; all of it under the BQL. */
static GArray *accounts;

/* Sleep of all vCPUs together. */
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

void cpu_throttle_vcpu_begin_all(void)
{
    if (accounts) {
        memset(accounts->data, 0, accounts->len * sizeof(VcpuAccount));
    }
}

void cpu_throttle_vcpu_forgive_all(void)
{
    for (int i = 0; accounts && i < accounts->len; i++) {
        cpu_throttle_pulse_forgive(
            &g_array_index(accounts, VcpuAccount, i).pulse);
    }
}

int64_t cpu_throttle_vcpu_due_ns(CPUState *cpu)
{
    return vcpu_account(cpu)->due_ns;
}

int64_t cpu_throttle_vcpu_sleep_ns(CPUState *cpu)
{
    VcpuAccount *account = vcpu_account(cpu);
    int64_t now_ns = vcpu_clock_ns(cpu, account);
    int64_t sleep_ns;

    /* From interrupt to interrupt, so that what they cost counts, too */
    sleep_ns = cpu_throttle_pulse_sleep_ns(&account->pulse,
        cpu_throttle_get_permille(),
        account->begun ? now_ns - account->clock_ns : 0);
    account->begun = true;
    account->clock_ns = now_ns;
    account->due_ns = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL_RT) + sleep_ns +
                      account->pulse.slice_ns;
    return sleep_ns;
}

void cpu_throttle_vcpu_slept(CPUState *cpu, int64_t slept_ns)
{
    VcpuAccount *account = vcpu_account(cpu);

    cpu_throttle_pulse_slept(&account->pulse, slept_ns);
    account->slept_ns += slept_ns;
    held_ns += slept_ns;
}

uint64_t cpu_throttle_get_held_ns(void)
{
    unsigned vcpus = 0;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        vcpus++;
    }
    return held_ns / MAX(vcpus, 1);
}

void cpu_throttle_reset_held(void)
{
    held_ns = 0;
}
