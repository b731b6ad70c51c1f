/*
 * CPU throttle: when a vCPU runs and when it sleeps
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/cpu-throttle-slice.h"

#define NS_PER_MS 1000000LL

#define PERMILLE 1000
#define PERMILLE_MAX 999

/*
 * QemuCond waits for whole ms; slices end so that sleeps are nearly such.
 * Breaks: /cpu-throttle/slice/debt
 */
#define UNIT_NS NS_PER_MS

/*
 * Less than this is not worth another slice, nor another sleep.
 * Breaks: /cpu-throttle/slice/worth
 */
#define WORTH_NS (UNIT_NS / 2)

/*
 * The run slice wherever the sleep that it costs is short enough.  A little
 * more than the 10 ms of old, so that no vCPU takes the BQL more often.
 * Breaks: /cpu-throttle/slice/trade
 */
#define SLICE_AIM_NS (11 * NS_PER_MS)

/*
 * A sleep that is short enough; the rest is for slices that debts shorten.
 * Breaks: /cpu-throttle/slice/sleep-bounded
 */
#define SLEEP_AIM_NS (44 * NS_PER_MS)

/*
 * From 90 % on, slices would be so short that their fixed cost is most of
 * them; so sleeps get longer, by so much per permille.
 * Breaks: /cpu-throttle/slice/trade
 */
#define LONG_SLEEP_PERMILLE 900
#define LONG_SLEEP_LEAST_NS (45 * NS_PER_MS)
#define LONG_SLEEP_STEP_NS (29 * NS_PER_MS / 10)

/*
 * But not longer than this: past 95 %, slices shrink again.
 * Breaks: /cpu-throttle/slice/trade
 */
#define LONG_SLEEP_AIM_NS (194 * NS_PER_MS)

/*
 * Down to this, which is 99 %.  Users cannot ask for more than that.
 * Breaks: /cpu-throttle/slice/slice-worth
 */
#define SLICE_MIN_NS (2 * NS_PER_MS)

/*
 * A debt takes no more than this part of a slice: no period is without one.
 * Breaks: /cpu-throttle/slice/debt-bounded
 */
#define DEBT_PART_DIVISOR 2

/*
 * As long as it owes, or is owed, less than this part of a share, or than a
 * ms, a vCPU ends its slice when the others do: what it does alone is often
 * of no use.
 * Breaks: /cpu-throttle/slice/together
 */
#define APART_DIVISOR 4

/*
 * More than so many shares are not owed.  Where interrupts depend on the main
 * loop, one may come tens of ms late, which at 99 % costs seconds; to be made
 * to pay all of that would be a stall.
 * Breaks: /cpu-throttle/slice/debt-bounded
 */
#define OWED_MAX_SHARES 4

/*
 * Nor is more than this credited to a vCPU that had nothing to do, or that the
 * host did not let run: this slice, and one that was saved.
 * Breaks: /cpu-throttle/slice/credit-bounded
 */
#define LEFT_MAX_SHARES 2

/* Longer times say nothing more, and shorter ones cannot overflow. */
#define EXECUTED_MAX_NS (10000 * NS_PER_MS)
#define PERIODS_MAX 1000

static int64_t clamp_ns(int64_t value_ns, int64_t min_ns, int64_t max_ns)
{
    return MIN(MAX(value_ns, min_ns), max_ns);
}

static int64_t to_units_ns(int64_t value_ns)
{
    return (value_ns + UNIT_NS / 2) / UNIT_NS * UNIT_NS;
}

static int64_t sleep_aim_ns(unsigned permille)
{
    if (permille < LONG_SLEEP_PERMILLE) {
        return SLEEP_AIM_NS;
    }
    return MIN(LONG_SLEEP_LEAST_NS +
               (permille - LONG_SLEEP_PERMILLE) * LONG_SLEEP_STEP_NS,
               LONG_SLEEP_AIM_NS);
}

CpuThrottleRhythm cpu_throttle_rhythm(unsigned permille, int64_t epoch_ns)
{
    int64_t slice_ns;
    CpuThrottleRhythm rhythm = { .epoch_ns = epoch_ns };

    permille = MIN(MAX(permille, 1), PERMILLE_MAX);
    slice_ns = sleep_aim_ns(permille) * (PERMILLE - permille) / permille;
    slice_ns = clamp_ns(slice_ns, SLICE_MIN_NS, SLICE_AIM_NS);
    rhythm.period_ns = to_units_ns(slice_ns * PERMILLE / (PERMILLE - permille));
    rhythm.share_ns = rhythm.period_ns * (PERMILLE - permille) / PERMILLE;
    return rhythm;
}

/* A clock that went back stands still. */
static int64_t since_epoch_ns(const CpuThrottleRhythm *rhythm, int64_t now_ns)
{
    return MAX(now_ns, rhythm->epoch_ns) - rhythm->epoch_ns;
}

static int64_t period_at(const CpuThrottleRhythm *rhythm, int64_t now_ns)
{
    return since_epoch_ns(rhythm, now_ns) / rhythm->period_ns;
}

static int64_t phase_ns(const CpuThrottleRhythm *rhythm, int64_t now_ns)
{
    return since_epoch_ns(rhythm, now_ns) % rhythm->period_ns;
}

void cpu_throttle_slice_start(CpuThrottleSlice *slice,
                              const CpuThrottleRhythm *rhythm, int64_t now_ns)
{
    *slice = (CpuThrottleSlice) {
        .period = period_at(rhythm, now_ns),
        .left_ns = rhythm->share_ns,
    };
}

/* Shares of new periods, of which what is owed is held back in part. */
static void slice_refill(CpuThrottleSlice *slice,
                         const CpuThrottleRhythm *rhythm, int64_t periods)
{
    int64_t share_ns = rhythm->share_ns;
    int64_t balance_ns = slice->left_ns - slice->owed_ns + periods * share_ns;

    balance_ns = clamp_ns(balance_ns, -OWED_MAX_SHARES * share_ns,
                          LEFT_MAX_SHARES * share_ns);
    slice->left_ns = MAX(balance_ns,
                         MAX(share_ns / DEBT_PART_DIVISOR, UNIT_NS));
    slice->owed_ns = slice->left_ns - balance_ns;
}

void cpu_throttle_slice_charge(CpuThrottleSlice *slice,
                               const CpuThrottleRhythm *rhythm,
                               int64_t executed_ns, int64_t now_ns)
{
    int64_t period = period_at(rhythm, now_ns);

    slice->left_ns -= clamp_ns(executed_ns, 0, EXECUTED_MAX_NS);
    if (period > slice->period) {
        slice_refill(slice, rhythm, MIN(period - slice->period, PERIODS_MAX));
        slice->period = period;
    }
}

/*
 * Where in the period does the slice end, for all vCPUs alike?  At whole ms,
 * and so that in the long run it is their share.
 */
static int64_t common_end_ns(const CpuThrottleRhythm *rhythm, int64_t period)
{
    int64_t before_ns = period % PERIODS_MAX * rhythm->share_ns;

    return (before_ns + rhythm->share_ns) / UNIT_NS * UNIT_NS -
           before_ns / UNIT_NS * UNIT_NS;
}

/*
 * How long until it ends, if the vCPU executes all the time?  Together with the
 * others, unless it would be given or spared too much by that.
 */
static int64_t to_end_ns(const CpuThrottleSlice *slice,
                         const CpuThrottleRhythm *rhythm, int64_t now_ns)
{
    int64_t phase = phase_ns(rhythm, now_ns);
    int64_t end_ns = common_end_ns(rhythm, period_at(rhythm, now_ns)) - phase;
    int64_t apart_ns = MAX(rhythm->share_ns / APART_DIVISOR, UNIT_NS);

    if (slice->owed_ns || ABS(slice->left_ns - end_ns) >= apart_ns) {
        end_ns = to_units_ns(phase + slice->left_ns) - phase;
    }
    return end_ns;
}

int64_t cpu_throttle_slice_sleep_ns(const CpuThrottleSlice *slice,
                                    const CpuThrottleRhythm *rhythm,
                                    int64_t now_ns)
{
    int64_t sleep_ns = rhythm->period_ns - phase_ns(rhythm, now_ns);

    return to_end_ns(slice, rhythm, now_ns) < WORTH_NS &&
           sleep_ns >= WORTH_NS ? sleep_ns : 0;
}

int64_t cpu_throttle_slice_run_ns(const CpuThrottleSlice *slice,
                                  const CpuThrottleRhythm *rhythm,
                                  int64_t now_ns)
{
    return MAX(to_end_ns(slice, rhythm, now_ns), WORTH_NS);
}
