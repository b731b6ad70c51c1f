/*
 * CPU throttle: what it offers beyond whole percents
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each vCPU looks after itself: its thread comes by cpu_throttle_vcpu()
 * whenever it has left the guest for the loop of its accelerator.  There it
 * sleeps off what it owes (cpu-throttle-pulse.h), and before it goes on it sets
 * an alarm that gets it there again at the end of its run slice.
 *
 *     guest --- alarm, or any other exit ---> cpu_throttle_vcpu()
 *       ^                                       slice over? sleep as owed
 *       +------------ set the alarm ------------+
 *
 * An alarm is, wherever possible, a timer of the host that signals the vCPU's
 * thread.  If the main loop had to be scheduled first, the vCPU would run on
 * for as long as the host is busy with others.
 *
 *     cpu-throttle.c          the interface that QEMU has always had; wiring
 *     cpu-throttle-vcpu.c     the above, and each vCPU's account
 *     cpu-throttle-alarm.c    the alarms
 *     cpu-throttle-pulse.c    arithmetic
 *
 * All of this needs the BQL, except cpu_throttle_get_permille().
 */

#ifndef MIGRATION_CPU_THROTTLE_ACTUATOR_H
#define MIGRATION_CPU_THROTTLE_ACTUATOR_H

#include "migration/auto-converge.h"

/*
 * Hold the vCPUs back for @permille of the time, 1 to 999; more is clamped.
 * 0 lets them go, at once if they sleep.
 */
void cpu_throttle_set_permille(unsigned permille);

/* The throttle in force, 0 to 999. */
unsigned cpu_throttle_get_permille(void);

/* Time for which vCPUs were held back, ns, mean over the vCPUs. */
uint64_t cpu_throttle_get_held_ns(void);

/* Make cpu_throttle_get_held_ns() count from zero. */
void cpu_throttle_reset_held(void);

/*
 * One window of the running migration has ended: obey what the law makes of
 * it.  Returns true when management ought to hear of the decision.
 */
bool cpu_throttle_adapt(const AutoConvergeSample *sample);

/* For the vCPU's thread: it has left the guest. */
void cpu_throttle_vcpu(CPUState *cpu);

/* CPU time of the vCPU's thread, ns; false where the host cannot tell. */
bool cpu_throttle_vcpu_clock_ns(CPUState *cpu, int64_t *clock_ns);

/* How an alarm gets a vCPU's thread out of the guest */
typedef enum CpuThrottleAlarmKind {
    CPU_THROTTLE_ALARM_KICK,   /* the main loop kicks the vCPU */
    CPU_THROTTLE_ALARM_SIGNAL, /* SIG_IPI; the accelerator has a handler */
    CPU_THROTTLE_ALARM_EXIT,   /* SIG_IPI; its handler is cpu_exit() */
} CpuThrottleAlarmKind;

/* Of one vCPU; all zero at the start. */
typedef struct CpuThrottleAlarm {
    int thread_id;        /* whom @signal_timer signals; 0: nobody */
#ifdef CONFIG_LINUX
    timer_t signal_timer;
#endif
    QEMUTimer *kick_timer;
} CpuThrottleAlarm;

/* Let the calling thread, @cpu's, leave the guest in @delay_ns. */
void cpu_throttle_alarm_set(CpuThrottleAlarm *alarm, CPUState *cpu,
                            int64_t delay_ns);

/* Give back what it holds. */
void cpu_throttle_alarm_drop(CpuThrottleAlarm *alarm);

/*
 * cpu-throttle.c, for the files above: which alarm the accelerator needs, and
 * a wait of up to @timeout_ms which gives the BQL to others meanwhile and ends
 * early when the vCPU is kicked.
 */
CpuThrottleAlarmKind cpu_throttle_alarm_kind(CPUState *cpu);
void cpu_throttle_wait(CPUState *cpu, int timeout_ms);

#endif /* MIGRATION_CPU_THROTTLE_ACTUATOR_H */
