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
#include "migration/cpu-throttle-actuator.h"

/* ---- through the main loop, on any host ---- */

static void alarm_kick(void *opaque)
{
    CPUState *cpu = qemu_get_cpu(GPOINTER_TO_INT(opaque));

    /* It may have been unplugged */
    if (cpu) {
        qemu_cpu_kick(cpu);
    }
}

static void alarm_set_kick(CpuThrottleAlarm *alarm, CPUState *cpu,
                           int64_t delay_ns)
{
    if (!alarm->kick_timer) {
        alarm->kick_timer = timer_new_ns(QEMU_CLOCK_REALTIME, alarm_kick,
                                         GINT_TO_POINTER(cpu->cpu_index));
    }
    timer_mod(alarm->kick_timer,
              qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + delay_ns);
}

/* ---- by a signal to the thread, on Linux ---- */

#ifdef CONFIG_LINUX

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* Of this thread, for the handler */
static __thread CPUState *alarm_cpu;

static void alarm_exit(int signum)
{
    if (alarm_cpu) {
        cpu_exit(alarm_cpu);
    }
}

/* SIG_IPI is blocked, and has no handler, where the accelerator needs none. */
static bool alarm_install_exit(CPUState *cpu)
{
    struct sigaction action = { .sa_handler = alarm_exit,
                                .sa_flags = SA_RESTART };
    sigset_t set;

    alarm_cpu = cpu;
    sigemptyset(&set);
    sigaddset(&set, SIG_IPI);
    return !sigaction(SIG_IPI, &action, NULL) &&
           !pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void alarm_drop_signal(CpuThrottleAlarm *alarm)
{
    if (alarm->thread_id) {
        timer_delete(alarm->signal_timer);
        alarm->thread_id = 0;
    }
}

static bool alarm_new_signal(CpuThrottleAlarm *alarm, CPUState *cpu,
                             CpuThrottleAlarmKind kind)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID,
                              .sigev_signo = SIG_IPI };

    event.sigev_notify_thread_id = cpu->thread_id;
    if ((kind == CPU_THROTTLE_ALARM_EXIT && !alarm_install_exit(cpu)) ||
        timer_create(CLOCK_MONOTONIC, &event, &alarm->signal_timer)) {
        return false;
    }
    alarm->thread_id = cpu->thread_id;
    return true;
}

static bool alarm_set_signal(CpuThrottleAlarm *alarm, CPUState *cpu,
                             int64_t delay_ns)
{
    CpuThrottleAlarmKind kind = cpu_throttle_alarm_kind(cpu);
    struct itimerspec when = {
        .it_value.tv_sec = delay_ns / NANOSECONDS_PER_SECOND,
        .it_value.tv_nsec = delay_ns % NANOSECONDS_PER_SECOND,
    };

    if (kind == CPU_THROTTLE_ALARM_KICK) {
        return false;
    }
    /* Another vCPU was plugged in the place of the one that it was for */
    if (alarm->thread_id != cpu->thread_id) {
        alarm_drop_signal(alarm);
    }
    return (alarm->thread_id || alarm_new_signal(alarm, cpu, kind)) &&
           !timer_settime(alarm->signal_timer, 0, &when, NULL);
}

#else

static void alarm_drop_signal(CpuThrottleAlarm *alarm)
{
}

static bool alarm_set_signal(CpuThrottleAlarm *alarm, CPUState *cpu,
                             int64_t delay_ns)
{
    return false;
}

#endif

void cpu_throttle_alarm_set(CpuThrottleAlarm *alarm, CPUState *cpu,
                            int64_t delay_ns)
{
    if (!alarm_set_signal(alarm, cpu, delay_ns)) {
        alarm_set_kick(alarm, cpu, delay_ns);
    }
}

void cpu_throttle_alarm_drop(CpuThrottleAlarm *alarm)
{
    alarm_drop_signal(alarm);
    timer_free(alarm->kick_timer);
    alarm->kick_timer = NULL;
}
