/*
 * CPU throttle: when a vCPU runs and when it sleeps
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A throttled vCPU is interrupted again and again, and at each interrupt it
 * sleeps off what it owes.  At a throttle p, what it executes, e, has to be
 * spread over e / (1 - p) of time; the part of that which has not gone by yet
 * is owed:
 *
 *     owed = sum of e / (1 - p)  -  time gone by
 *
 * So a busy vCPU gets exactly the rest of the time, however late interrupts
 * and wake-ups come: what one slice had too much, the next sleeps make up for.
 * Time in which it waits for the host or for an event counts as time gone by.
 * A vCPU that wants less than its share is therefore not held back at all.
 *
 *      run           sleep          run           sleep
 *     <---> <----------------------> <---> <---------------------->
 *     10 ms  as owed, 50 ms at most
 *
 * The throttle alone decides neither length: above 82 % the sleep would be
 * longer than 45 ms, and the run slice is cut so that it is not.  The 5 ms in
 * reserve are for interrupts that come late.  Sleeps are of whole ms; what is
 * less than that stays owed.
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
    int64_t owed_ns;  /* sleep that is still to come; below 0: credit */
    int64_t slice_ns; /* the run slice after the sleep */
} CpuThrottlePulse;

/*
 * Interrupted: since the last interrupt, or the start, @elapsed_ns went by, in
 * which the vCPU executed for @executed_ns.  Returns how long to sleep; the
 * slice after it, until the next interrupt, is in @pulse->slice_ns then.
 */
int64_t cpu_throttle_pulse_sleep_ns(CpuThrottlePulse *pulse, unsigned permille,
                                    int64_t executed_ns, int64_t elapsed_ns);

/* The throttle has changed: what was owed under the old one is forgotten. */
void cpu_throttle_pulse_forgive(CpuThrottlePulse *pulse);

#endif /* MIGRATION_CPU_THROTTLE_PULSE_H */
