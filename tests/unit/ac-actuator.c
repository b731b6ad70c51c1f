/*
 * What a commanded throttle makes of a busy vCPU, simulated
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/cpu-throttle-pulse.h"
#include "ac-actuator.h"

#define NS_PER_S 1000000000LL

/* The first slice is free; from then on it is settled. */
#define SETTLED_NS (NS_PER_S / 10)

/* Long enough for what is left of the last pulse not to show */
#define END_NS (10 * NS_PER_S)

/* Stock lets a vCPU run for so long in each period, and sleeps the rest. */
#define STOCK_SLICE_S 0.01

AcActuator ac_actuator_pulsed(unsigned permille, double late_s)
{
    AcActuator settled = { .run_share = 1 };
    CpuThrottlePulse pulse = { 0 };
    int64_t late_ns = late_s * NS_PER_S;
    int64_t now_ns = 0, executed_ns = 0, elapsed_ns = 0;
    int64_t settled_run_ns = 0, settled_all_ns = 0;

    while (permille && now_ns < END_NS) {
        int64_t sleep_ns = cpu_throttle_pulse_sleep_ns(&pulse, permille,
                                                       executed_ns,
                                                       elapsed_ns);

        executed_ns = pulse.slice_ns + late_ns;
        elapsed_ns = sleep_ns + executed_ns;
        now_ns += elapsed_ns;
        if (now_ns > SETTLED_NS) {
            settled_run_ns += executed_ns;
            settled_all_ns += elapsed_ns;
            settled.run_share = (double)settled_run_ns / settled_all_ns;
        }
        settled.longest_sleep_s = MAX(settled.longest_sleep_s,
                                      (double)sleep_ns / NS_PER_S);
    }
    return settled;
}

AcActuator ac_actuator_stock(unsigned permille)
{
    double throttle = permille / 1000.0;

    return (AcActuator) {
        .run_share = 1 - throttle,
        .longest_sleep_s = STOCK_SLICE_S * throttle / (1 - throttle),
    };
}
