/*
 * CPU throttle: when a vCPU runs and when it sleeps
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A leaky bucket for each vCPU, and one clock for all of them.
 *
 * Time is divided into periods.  At a throttle of p, a vCPU may execute its
 * share of each, (1 - p) x period: its run slice.  All vCPUs begin their
 * slices at the same instants, the beginnings of the periods, because a guest
 * is one program: a vCPU that holds a lock, or has to acknowledge another's
 * IPI, must not sleep while the others wait for it with what they have.
 *
 *      period               period               period
 *     |<------------------>|                    |
 *      run     sleep        run     sleep        run     sleep
 *     |----|               |---|                |----|
 *     |----|               |----|               |----|
 *     |---------| late, or too long: owed        |--|
 *
 * What counts is the time for which a vCPU executed, to the ns:
 *
 *     left  =  sum of shares  -  sum of what was executed
 *
 * All end their slices together, too, as long as that is less than a quarter
 * of a share, or a ms, away from what each has left.  A vCPU that ran for too
 * long, since the interrupt that ends a slice came late, owes that and has a
 * shorter slice in one of the next periods; it never moves to another phase.
 * One that ran for too short a time, since the host gave it no CPU or it had
 * nothing to do, runs for longer.  So a busy vCPU gets exactly its share, and
 * one that wants less than that is not held back.
 *
 * How long?  A sleep is a silence of the guest, so it ought to be short.  But
 * each slice has a fixed cost: what became due meanwhile in the guest is done
 * first, with cold caches.  That is some 0.1 to 0.3 ms of a guest that
 * computes, but 2 to 5 ms of one with a database, under TCG.  So a slice must
 * be long:
 *
 *     throttle    slice     sleep
 *        50 %     11 ms     11 ms    slices of 11 ms while that costs sleeps
 *        80 %     11 ms     44 ms    of 44 ms at most, shorter ones above that;
 *        90 %      5 ms     45 ms    from 90 % on, sleeps get longer,
 *        92 %      9 ms    103 ms
 *        95 %     10 ms    190 ms    to 194 ms, and slices shorter again,
 *        99 %      2 ms    198 ms    to 2 ms
 *
 * A slice of 5 ms in 100 ms leaves redis 1 % of its work, one of 10 ms in
 * 200 ms leaves 1.7 %; 2 ms in 200 ms leave it next to nothing, and so do
 * the old throttle's 10 ms in a second, measured with that database in a Linux
 * guest.
 *
 * Slices end at whole ms after the beginning of the period, because a sleep
 * ends at the beginning of the next, and can be cut short only in a wait of
 * whole ms.  What that rounds off is part of "left".
 *
 * Pure functions: times are arguments, in ns; the throttle is in permille,
 * 1 to 999.
 */

#ifndef MIGRATION_CPU_THROTTLE_SLICE_H
#define MIGRATION_CPU_THROTTLE_SLICE_H

/* No sleep is longer than this, up to a throttle of 90 %, and of 99 %. */
#define CPU_THROTTLE_SLEEP_MAX_NS (50 * 1000 * 1000)
#define CPU_THROTTLE_LONG_SLEEP_MAX_NS (200 * 1000 * 1000)

/* What a throttle means for all vCPUs. */
typedef struct CpuThrottleRhythm {
    int64_t epoch_ns;  /* when a period begins, by any clock */
    int64_t period_ns; /* whole ms */
    int64_t share_ns;  /* of each period, for each vCPU */
} CpuThrottleRhythm;

/* One vCPU. */
typedef struct CpuThrottleSlice {
    int64_t period;  /* the last one whose share was given out */
    int64_t left_ns; /* to be executed in this slice */
    int64_t owed_ns; /* to be left out of later slices */
} CpuThrottleSlice;

/* The first period begins at @epoch_ns. */
CpuThrottleRhythm cpu_throttle_rhythm(unsigned permille, int64_t epoch_ns);

/* A vCPU comes under the throttle: it has one share. */
void cpu_throttle_slice_start(CpuThrottleSlice *slice,
                              const CpuThrottleRhythm *rhythm, int64_t now_ns);

/*
 * Since it was charged last, or started, it executed for @executed_ns; it gets
 * the shares of the periods that have begun in the meantime.
 */
void cpu_throttle_slice_charge(CpuThrottleSlice *slice,
                               const CpuThrottleRhythm *rhythm,
                               int64_t executed_ns, int64_t now_ns);

/* Charged just now: how long must it sleep?  0: it may run. */
int64_t cpu_throttle_slice_sleep_ns(const CpuThrottleSlice *slice,
                                    const CpuThrottleRhythm *rhythm,
                                    int64_t now_ns);

/* Charged just now: if it runs all the time, when is its slice over? */
int64_t cpu_throttle_slice_run_ns(const CpuThrottleSlice *slice,
                                  const CpuThrottleRhythm *rhythm,
                                  int64_t now_ns);

#endif /* MIGRATION_CPU_THROTTLE_SLICE_H */
