/*
 * What a commanded throttle makes of a busy vCPU, simulated
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/cpu-throttle-slice.h"
#include "ac-actuator.h"

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL

/* Long enough for what is left of the last slice not to show */
#define END_NS (20 * NS_PER_S)

/* Stock lets a vCPU run for so long in each period, and sleeps the rest. */
#define STOCK_SLICE_S 0.01

AcActuator ac_actuator_none(void)
{
    return (AcActuator) { .run_share = 1 };
}

/* Sleeps are of whole ms, as QemuCond waits. */
static int64_t whole_ms_ns(int64_t ns)
{
    return (ns + NS_PER_MS - 1) / NS_PER_MS * NS_PER_MS;
}

AcActuator ac_actuator_sliced(unsigned permille, double late_s)
{
    CpuThrottleRhythm rhythm = cpu_throttle_rhythm(permille, 0);
    int64_t late_ns = late_s * NS_PER_S;
    int64_t now_ns = 0, executed_ns = 0, longest_ns = 0, sleeps = 0;
    CpuThrottleSlice slice;

    if (!permille) {
        return ac_actuator_none();
    }
    cpu_throttle_slice_start(&slice, &rhythm, now_ns);
    while (now_ns < END_NS) {
        int64_t run_ns = cpu_throttle_slice_run_ns(&slice, &rhythm, now_ns) +
                         late_ns;
        int64_t sleep_ns;

        now_ns += run_ns;
        executed_ns += run_ns;
        cpu_throttle_slice_charge(&slice, &rhythm, run_ns, now_ns);
        sleep_ns = whole_ms_ns(cpu_throttle_slice_sleep_ns(&slice, &rhythm,
                                                           now_ns));
        now_ns += sleep_ns;
        sleeps += sleep_ns > 0;
        longest_ns = MAX(longest_ns, sleep_ns);
        cpu_throttle_slice_charge(&slice, &rhythm, 0, now_ns);
    }
    return (AcActuator) {
        .run_share = (double)executed_ns / now_ns,
        .slice_s = (double)executed_ns / MAX(sleeps, 1) / NS_PER_S,
        .longest_sleep_s = (double)longest_ns / NS_PER_S,
    };
}

AcActuator ac_actuator_stock(unsigned permille)
{
    double throttle = permille / 1000.0;

    if (!permille) {
        return ac_actuator_none();
    }
    return (AcActuator) {
        .run_share = 1 - throttle,
        .slice_s = STOCK_SLICE_S,
        .longest_sleep_s = STOCK_SLICE_S * throttle / (1 - throttle),
    };
}
