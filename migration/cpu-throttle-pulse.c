/*
 * CPU throttle: when a vCPU runs and when it sleeps
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/cpu-throttle-pulse.h"

#define NS_PER_MS 1000000

#define PERMILLE_MAX 999

/* The run slice wherever the sleep that it costs is short enough. */
#define SLICE_MAX_NS (10 * NS_PER_MS)

/* Shorter slices than this would be mostly overhead. */
#define SLICE_MIN_NS (NS_PER_MS / 20)

/* What a slice is cut to cost; the rest of SLEEP_MAX is for late interrupts. */
#define SLEEP_AIM_NS (45 * NS_PER_MS)

/* Sleeps are of whole ms, as QemuCond waits; the rest of the debt stays. */
#define SLEEP_UNIT_NS NS_PER_MS

/*
 * While something is left to be paid after the longest sleep, slices are so
 * much shorter.
 */
#define SLICE_IN_DEBT_DIVISOR 2

/*
 * More than this is not owed.  Where interrupts depend on the main loop, one
 * may come several ms late, which at 99 % costs several 100 ms; to be made to
 * pay all of that, in slices too short to get anything done, would be a stall.
 */
#define OWED_MAX_NS (4LL * CPU_THROTTLE_SLEEP_MAX_NS)

/*
 * Nor is more than this credited to a vCPU that was idle: at 50 % it is a
 * burst of 50 ms, at 99 % one of 0.5 ms.
 */
#define CREDIT_MAX_NS ((int64_t)CPU_THROTTLE_SLEEP_MAX_NS)

/*
 * A vCPU that executes less than this part of its slices is idle, and is left
 * alone for as long as it could repay if it became busy.
 */
#define IDLE_DIVISOR 8

/* Longer intervals say nothing more, and shorter ones cannot overflow. */
#define INTERVAL_MAX_NS (10000LL * NS_PER_MS)

static int64_t clamp_ns(int64_t value_ns, int64_t min_ns, int64_t max_ns)
{
    return MIN(MAX(value_ns, min_ns), max_ns);
}

/* How long a vCPU without debt may run until it owes @sleep_ns. */
static int64_t worth_ns(unsigned permille, int64_t sleep_ns)
{
    return sleep_ns * (1000 - permille) / permille;
}

int64_t cpu_throttle_pulse_sleep_ns(CpuThrottlePulse *pulse, unsigned permille,
                                    int64_t executed_ns, int64_t elapsed_ns)
{
    int64_t spread_ns, sleep_ns, slice_ns, reserve_ns = SLEEP_AIM_NS;

    permille = MIN(MAX(permille, 1), PERMILLE_MAX);
    executed_ns = clamp_ns(executed_ns, 0, INTERVAL_MAX_NS);
    elapsed_ns = clamp_ns(elapsed_ns, executed_ns, INTERVAL_MAX_NS);
    spread_ns = executed_ns * 1000 / (1000 - permille);
    pulse->owed_ns = clamp_ns(pulse->owed_ns + spread_ns - elapsed_ns,
                              -CREDIT_MAX_NS, OWED_MAX_NS);

    sleep_ns = clamp_ns(pulse->owed_ns, 0, CPU_THROTTLE_SLEEP_MAX_NS);
    sleep_ns -= sleep_ns % SLEEP_UNIT_NS;
    if (pulse->owed_ns == -CREDIT_MAX_NS &&
        executed_ns < pulse->slice_ns / IDLE_DIVISOR) {
        reserve_ns = OWED_MAX_NS;
    }
    slice_ns = worth_ns(permille, reserve_ns - MIN(pulse->owed_ns, 0));
    if (pulse->owed_ns >= sleep_ns + SLEEP_UNIT_NS) {
        slice_ns /= SLICE_IN_DEBT_DIVISOR;
    }
    pulse->slice_ns = clamp_ns(slice_ns, SLICE_MIN_NS, SLICE_MAX_NS);
    return sleep_ns;
}

void cpu_throttle_pulse_forgive(CpuThrottlePulse *pulse)
{
    pulse->owed_ns = 0;
}
