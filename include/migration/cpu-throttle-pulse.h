/*
 * CPU throttle: when a vCPU runs and when it sleeps
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A throttled vCPU is interrupted again and again, and at each interrupt it
 * sleeps off what it owes.  What it executed since the last one, e, costs it
 *
 *     e x throttle / (1 - throttle)
 *
 * of sleep, so that a busy vCPU gets exactly the rest of the time, however
 * late the interrupts come; what one slice had too much, the next sleeps make
 * up for.  A vCPU that wants less than its share is not held back at all.
 *
 *      run           sleep          run           sleep
 *     <---> <----------------------> <---> <---------------------->
 *     10 ms  as owed, 50 ms at most
 *
 * The throttle alone decides neither length: above 80 % the sleep would be
 * longer than 40 ms, and the run slice is cut so that it is not.  The 10 ms in
 * reserve are for interrupts that come late.
 *
 * Pure functions: times are arguments, in ns; the throttle is in permille,
 * 1 to 999.
 */

#ifndef MIGRATION_CPU_THROTTLE_PULSE_H
#define MIGRATION_CPU_THROTTLE_PULSE_H

/* No sleep is longer than this. */
#define CPU_THROTTLE_SLEEP_MAX_NS (50 * 1000 * 1000)

/* One vCPU; all zero at the start. */
typedef struct CpuThrottlePulse {
    int64_t owed_ns;  /* sleep that is still to come; below 0: overslept */
    int64_t slice_ns; /* the run slice after the sleep */
} CpuThrottlePulse;

/*
 * Interrupted after having executed @executed_ns: how long to sleep.  The
 * slice after it, until the next interrupt, is in @pulse->slice_ns then; a
 * vCPU that hardly runs is interrupted less often.
 */
int64_t cpu_throttle_pulse_sleep_ns(CpuThrottlePulse *pulse, unsigned permille,
                                    int64_t executed_ns);

/* So long did it sleep in fact. */
void cpu_throttle_pulse_slept(CpuThrottlePulse *pulse, int64_t slept_ns);

/* The throttle has changed: what was owed under the old one is forgotten. */
void cpu_throttle_pulse_forgive(CpuThrottlePulse *pulse);

#endif /* MIGRATION_CPU_THROTTLE_PULSE_H */
