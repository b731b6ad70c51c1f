/*
 * Adaptive auto-converge: its parameters
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "monitor/monitor.h"
#include "migration/auto-converge-control.h"

void auto_converge_params_init(CpuThrottleFallbackParameters *params)
{
    params->has_cpu_throttle_fallback = true;
    params->has_cpu_throttle_fallback_downtime = true;
}

bool auto_converge_params_check(const CpuThrottleFallbackParameters *params,
                                Error **errp)
{
    if (params->has_cpu_throttle_fallback_downtime &&
        params->cpu_throttle_fallback_downtime >
        CPU_THROTTLE_FALLBACK_DOWNTIME_MAX_MS) {
        error_setg(errp, "Parameter 'cpu-throttle-fallback-downtime' expects "
                   "an integer in the range of 0 to %d ms",
                   CPU_THROTTLE_FALLBACK_DOWNTIME_MAX_MS);
        return false;
    }
    return true;
}

void auto_converge_params_apply(CpuThrottleFallbackParameters *to,
                                const CpuThrottleFallbackParameters *from)
{
    if (from->has_cpu_throttle_fallback) {
        to->has_cpu_throttle_fallback = true;
        to->cpu_throttle_fallback = from->cpu_throttle_fallback;
    }
    if (from->has_cpu_throttle_fallback_downtime) {
        to->has_cpu_throttle_fallback_downtime = true;
        to->cpu_throttle_fallback_downtime =
            from->cpu_throttle_fallback_downtime;
    }
}

void auto_converge_print_params(Monitor *mon,
                                const CpuThrottleFallbackParameters *params)
{
    monitor_printf(mon, "%s: %s\n",
        MigrationParameter_str(MIGRATION_PARAMETER_CPU_THROTTLE_FALLBACK),
        CpuThrottleFallback_str(params->cpu_throttle_fallback));
    monitor_printf(mon, "%s: %" PRIu64 " ms\n",
        MigrationParameter_str(
            MIGRATION_PARAMETER_CPU_THROTTLE_FALLBACK_DOWNTIME),
        params->cpu_throttle_fallback_downtime);
}
