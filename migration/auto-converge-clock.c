/*
 * Adaptive auto-converge: what the vCPUs executed
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "migration/auto-converge-control.h"

/* At the start of the window: CPU time by cpu_index, and time held back, ns */
static GArray *window_cpu_ns;
static uint64_t window_held_ns;

/*
 * Executed since the last call by the busiest vCPU.  A vCPU that was plugged
 * in its place in the meantime shows as a clock that went back.
 */
static bool window_roll(int64_t *busiest_ns)
{
    CPUState *cpu;
    int64_t now_ns;
    bool any = false;

    if (!window_cpu_ns) {
        window_cpu_ns = g_array_new(false, true, sizeof(int64_t));
    }
    *busiest_ns = 0;
    CPU_FOREACH(cpu) {
        int64_t *then_ns;

        if (!cpu_throttle_vcpu_clock_ns(cpu, &now_ns)) {
            continue;
        }
        if (cpu->cpu_index >= window_cpu_ns->len) {
            g_array_set_size(window_cpu_ns, cpu->cpu_index + 1);
        }
        then_ns = &g_array_index(window_cpu_ns, int64_t, cpu->cpu_index);
        *busiest_ns = MAX(*busiest_ns,
                          now_ns - (now_ns < *then_ns ? 0 : *then_ns));
        *then_ns = now_ns;
        any = true;
    }
    return any;
}

void auto_converge_control_restart_window(void)
{
    int64_t ignored_ns;

    window_roll(&ignored_ns);
    window_held_ns = cpu_throttle_get_held_ns();
}

uint64_t auto_converge_control_guest_run_ns(uint64_t elapsed_ns)
{
    uint64_t held_ns = cpu_throttle_get_held_ns() - window_held_ns;
    int64_t run_ns;

    window_held_ns += held_ns;
    if (!window_roll(&run_ns)) {
        /* The time that the throttle allowed stands in. */
        run_ns = elapsed_ns - MIN(held_ns, elapsed_ns);
    }
    return run_ns;
}
