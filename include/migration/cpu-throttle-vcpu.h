/*
 * CPU throttle: the vCPUs under it
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread of each vCPU calls cpu_throttle_vcpu() whenever it has left the
 * guest for the loop of its accelerator.  When its run slice is over
 * (cpu-throttle-slice.h), it sleeps there until the next period begins; before
 * it goes on, it sets a timer that gets it there again at the end of the slice.
 *
 *     guest --- timer, or any other exit ---> cpu_throttle_vcpu()
 *       ^                                       slice over? sleep
 *       +------------ set the timer ------------+
 *
 * Nothing here knows of a migration, nor of what decides on the throttle.  A
 * thread needs to know only its own account and the rhythm that all have in
 * common, so nothing here walks over the vCPUs but a change of the throttle.
 *
 *     cpu-throttle.c          the interface that QEMU has always had; wiring
 *     cpu-throttle-vcpu.c     the above, and each vCPU's account
 *     cpu-throttle-timer.c    the timers
 *     cpu-throttle-slice.c    arithmetic
 *
 * All of this needs the BQL, except cpu_throttle_get_permille(),
 * cpu_throttle_vcpu_expired(), cpu_throttle_sleep() and cpu_throttle_kick().
 */

#ifndef MIGRATION_CPU_THROTTLE_VCPU_H
#define MIGRATION_CPU_THROTTLE_VCPU_H

/*
 * Hold the vCPUs back for @permille of the time, 1 to 999; more is clamped.
 * 0 lets them go, at once if they sleep.
 */
void cpu_throttle_set_permille(unsigned permille);

/* The throttle in force, 0 to 999. */
unsigned cpu_throttle_get_permille(void);

/*
 * Time for which vCPUs were held back, ns: mean over the vCPUs that there were
 * when the throttle was set.  A sleep counts when it is over.
 */
uint64_t cpu_throttle_get_held_ns(void);

/* Make cpu_throttle_get_held_ns() count from zero. */
void cpu_throttle_reset_held(void);

/* For the vCPU's thread: it has left the guest. */
void cpu_throttle_vcpu(CPUState *cpu);

/* For the vCPU's thread: no signal of the throttle comes after this. */
void cpu_throttle_vcpu_gone(void);

/*
 * For who kicks a vCPU: does it sleep here?  Work and stops wake it; what is
 * for the guest, an interrupt, can wait.  If each tick of the guest's clock
 * woke it, it would take the BQL as often, and the host would move it to the
 * CPU of the main loop, and all the others as well.
 */
bool cpu_throttle_kick(CPUState *cpu);

/* CPU time of the vCPU's thread, ns; false where the host cannot tell. */
bool cpu_throttle_vcpu_clock_ns(CPUState *cpu, int64_t *clock_ns);

/*
 * How the end of a slice gets a vCPU's thread out of the guest.  The main loop
 * would have to be scheduled first, and on a busy host the vCPU would run on
 * until then, so that it is the last resort.
 */
typedef enum CpuThrottleTimerKind {
    CPU_THROTTLE_TIMER_KICK,   /* the main loop kicks the vCPU */
    CPU_THROTTLE_TIMER_SIGNAL, /* SIG_IPI; the accelerator has a handler */
    CPU_THROTTLE_TIMER_EXIT,   /* SIG_IPI; its handler calls cpu_exit() */
} CpuThrottleTimerKind;

/*
 * Let the calling thread, @cpu's, leave the guest: after @run_ns; or, where it
 * is @idle, once it has executed for that long, so that nothing wakes it while
 * it does not.  Hosts that cannot tell look again after an eighth of a second.
 * It replaces the timer that was set before.  Returns after how long, in ns, it
 * gets a vCPU out that executes all the time.
 */
int64_t cpu_throttle_timer_set(CPUState *cpu, int64_t run_ns, bool idle);

/* Does what was set last end in cpu_throttle_vcpu_expired()? */
bool cpu_throttle_timer_tells(void);

/* Give back what the calling thread's timers hold. */
void cpu_throttle_timer_drop(void);

/*
 * Signal handler of CPU_THROTTLE_TIMER_EXIT: has the vCPU to leave the guest?
 * If there is something left of its slice, the timer is set again.
 */
bool cpu_throttle_vcpu_expired(CPUState *cpu);

/*
 * cpu-throttle.c, for the files above: which timer the accelerator needs, and
 * cpu_throttle_sleep() without the BQL.
 */
CpuThrottleTimerKind cpu_throttle_timer_kind(CPUState *cpu);
void cpu_throttle_wait(CPUState *cpu, int64_t until_ns);

/*
 * Sleep until @until_ns of QEMU_CLOCK_REALTIME; ends early when the vCPU is to
 * stop, or has work.
 */
void cpu_throttle_sleep(CPUState *cpu, int64_t until_ns);

#endif /* MIGRATION_CPU_THROTTLE_VCPU_H */
