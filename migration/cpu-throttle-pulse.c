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
#define SLEEP_AIM_NS (40 * NS_PER_MS)

/*
 * While something is left to be paid after the longest sleep, slices are so
 * much shorter.
 */
#define SLICE_IN_DEBT_DIVISOR 2

/*
 * More than this is not owed.  On a busy host an interrupt may come several ms
 * late, which at 99 % costs several 100 ms; to be made to pay all of that, in
 * slices too short to get anything done, would be a stall.
 */
#define OWED_MAX_NS (4 * CPU_THROTTLE_SLEEP_MAX_NS)

static int64_t price_ns(unsigned permille, int64_t executed_ns)
{
    return executed_ns * permille / (1000 - permille);
}

int64_t cpu_throttle_pulse_sleep_ns(CpuThrottlePulse *pulse, unsigned permille,
                                    int64_t executed_ns)
{
    int64_t slice_ns, sleep_ns;

    permille = MIN(MAX(permille, 1), PERMILLE_MAX);
    executed_ns = MIN(MAX(executed_ns, 0), OWED_MAX_NS);
    pulse->owed_ns = MIN(pulse->owed_ns + price_ns(permille, executed_ns),
                         OWED_MAX_NS);
    sleep_ns = MIN(MAX(pulse->owed_ns, 0), CPU_THROTTLE_SLEEP_MAX_NS);

    slice_ns = MIN(SLICE_MAX_NS, SLEEP_AIM_NS * (1000 - permille) / permille);
    if (pulse->owed_ns > sleep_ns) {
        slice_ns /= SLICE_IN_DEBT_DIVISOR;
    } else if (executed_ns < slice_ns / 2) {
        slice_ns = MIN(SLICE_MAX_NS, MAX(pulse->slice_ns, slice_ns) * 2);
    }
    pulse->slice_ns = MAX(slice_ns, SLICE_MIN_NS);
    return sleep_ns;
}

void cpu_throttle_pulse_slept(CpuThrottlePulse *pulse, int64_t slept_ns)
{
    pulse->owed_ns = MAX(pulse->owed_ns - slept_ns,
                         -(int64_t)CPU_THROTTLE_SLEEP_MAX_NS);
}

void cpu_throttle_pulse_forgive(CpuThrottlePulse *pulse)
{
    pulse->owed_ns = 0;
}
