/*
 * CPU throttle: the end of a run slice
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "migration/cpu-throttle-vcpu.h"

/* ---- through the main loop, on any host ---- */

/*
 * An idle vCPU is checked so often where only the main loop can do it; each
 * time it takes the BQL.  512 vCPUs do that 4096 times a second.
 */
#define IDLE_LOOK_NS (125 * SCALE_MS)

/* Of this thread */
static __thread QEMUTimer *kick_timer;

/* In the main loop; who drops the timer has the BQL, so the vCPU exists. */
static void timer_kick(void *opaque)
{
    qemu_cpu_kick(opaque);
}

static int64_t timer_set_kick(CPUState *cpu, int64_t run_ns, bool idle)
{
    int64_t delay_ns = idle ? MAX(run_ns, IDLE_LOOK_NS) : run_ns;

    if (!kick_timer) {
        kick_timer = timer_new_ns(QEMU_CLOCK_REALTIME, timer_kick, cpu);
    }
    timer_mod(kick_timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + delay_ns);
    return delay_ns;
}

static void timer_drop_kick(void)
{
    timer_free(kick_timer);
    kick_timer = NULL;
}

/* ---- by a signal to the thread, on Linux ---- */

#ifdef CONFIG_LINUX

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/*
 * Of this thread.  The CPU clock's timer does not expire while the thread waits
 * for something, but the host looks at it only once in each of its ticks.
 */
static __thread CPUState *timer_cpu; /* NULL: there are no timers */
static __thread bool timer_exits;    /* slice_expired() handles their signal */
static __thread timer_t elapsed_timer;
static __thread timer_t executed_timer;

static void slice_expired(int signum)
{
    if (timer_cpu && cpu_throttle_vcpu_expired(timer_cpu)) {
        cpu_exit(timer_cpu);
    }
}

/* SIG_IPI is blocked, and has no handler, where the accelerator needs none. */
static bool install_handler(void)
{
    struct sigaction action = { .sa_handler = slice_expired,
                                .sa_flags = SA_RESTART };
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIG_IPI);
    return !sigaction(SIG_IPI, &action, NULL) &&
           !pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static bool timers_create(CPUState *cpu)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID,
                              .sigev_signo = SIG_IPI };
    CpuThrottleTimerKind kind = cpu_throttle_timer_kind(cpu);

    event.sigev_notify_thread_id = cpu->thread_id;
    if (kind == CPU_THROTTLE_TIMER_KICK ||
        (kind == CPU_THROTTLE_TIMER_EXIT && !install_handler()) ||
        timer_create(CLOCK_MONOTONIC, &event, &elapsed_timer)) {
        return false;
    }
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &executed_timer)) {
        timer_delete(elapsed_timer);
        return false;
    }
    timer_cpu = cpu;
    timer_exits = kind == CPU_THROTTLE_TIMER_EXIT;
    return true;
}

/* A delay of 0 stops it. */
static void timer_arm(timer_t timer, int64_t delay_ns)
{
    struct itimerspec when = {
        .it_value.tv_sec = delay_ns / NANOSECONDS_PER_SECOND,
        .it_value.tv_nsec = delay_ns % NANOSECONDS_PER_SECOND,
    };

    timer_settime(timer, 0, &when, NULL);
}

static bool timer_set_signal(CPUState *cpu, int64_t run_ns, bool idle)
{
    if (!timer_cpu && !timers_create(cpu)) {
        return false;
    }
    timer_arm(elapsed_timer, idle ? 0 : run_ns);
    timer_arm(executed_timer, idle ? run_ns : 0);
    return true;
}

static void timer_drop_signal(void)
{
    if (timer_cpu) {
        timer_delete(elapsed_timer);
        timer_delete(executed_timer);
        timer_cpu = NULL;
        timer_exits = false;
    }
}

bool cpu_throttle_timer_tells(void)
{
    return timer_exits;
}

#else

static bool timer_set_signal(CPUState *cpu, int64_t run_ns, bool idle)
{
    return false;
}

static void timer_drop_signal(void)
{
}

bool cpu_throttle_timer_tells(void)
{
    return false;
}

#endif

int64_t cpu_throttle_timer_set(CPUState *cpu, int64_t run_ns, bool idle)
{
    return timer_set_signal(cpu, run_ns, idle) ?
           run_ns : timer_set_kick(cpu, run_ns, idle);
}

void cpu_throttle_timer_drop(void)
{
    timer_drop_signal();
    timer_drop_kick();
}
