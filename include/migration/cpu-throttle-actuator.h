/*
 * CPU throttle: what it offers beyond whole percents
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * cpu-throttle.c interrupts the vCPUs and makes them sleep; what each of them
 * owes is kept by cpu-throttle-vcpu.c, and reckoned by cpu-throttle-pulse.c.
 *
 *     timer -> due_ns()? -> the vCPU's thread: sleep_ns(), sleep, slept()
 *       ^                                         |
 *       +---------- the next interrupt -----------+
 *
 * All of this needs the BQL, except cpu_throttle_get_permille().
 */

#ifndef MIGRATION_CPU_THROTTLE_ACTUATOR_H
#define MIGRATION_CPU_THROTTLE_ACTUATOR_H

#include "migration/auto-converge.h"

/*
 * Hold the vCPUs back for @permille of the time, 1 to 999; more is clamped,
 * and 0 lets them go.
 */
void cpu_throttle_set_permille(unsigned permille);

/* The throttle in force, 0 to 999. */
unsigned cpu_throttle_get_permille(void);

/* Time for which vCPUs were held back, ns, mean over the vCPUs there are. */
uint64_t cpu_throttle_get_held_ns(void);

/* Make cpu_throttle_get_held_ns() count from zero. */
void cpu_throttle_reset_held(void);

/*
 * One window of the running migration has ended: obey what the law makes of
 * it.  Returns true when management ought to hear of the decision.
 */
bool cpu_throttle_adapt(const AutoConvergeSample *sample);

/* CPU time of the vCPU's thread, ns; false where the host cannot tell. */
bool cpu_throttle_vcpu_clock_ns(CPUState *cpu, int64_t *clock_ns);

/* Throttling begins: no vCPU owes anything. */
void cpu_throttle_vcpu_begin_all(void);

/* The throttle has changed: nor does any now. */
void cpu_throttle_vcpu_forgive_all(void);

/* When to interrupt it next, ns of QEMU_CLOCK_VIRTUAL_RT. */
int64_t cpu_throttle_vcpu_due_ns(CPUState *cpu);

/* Interrupted: how long to sleep, ns; due_ns() is the next interrupt then. */
int64_t cpu_throttle_vcpu_sleep_ns(CPUState *cpu);

/* So long did it sleep in fact, ns. */
void cpu_throttle_vcpu_slept(CPUState *cpu, int64_t slept_ns);

#endif /* MIGRATION_CPU_THROTTLE_ACTUATOR_H */
