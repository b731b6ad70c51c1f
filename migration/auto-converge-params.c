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
#include "migration/auto-converge-params.h"
#include "migration.h"

void auto_converge_params_init(CpuThrottleFallbackParameters *params)
{
    params->has_cpu_throttle_fallback = true;
    params->has_cpu_throttle_fallback_downtime = true;
    params->has_cpu_throttle_deadline = true;
}

/* Post-copy is for a migration that has it. */
static bool check_fallback(CpuThrottleFallback fallback, Error **errp)
{
    if (fallback == CPU_THROTTLE_FALLBACK_POST_COPY &&
        migrate_auto_converge() && !migrate_postcopy_ram()) {
        error_setg(errp, "Parameter 'cpu-throttle-fallback' is 'post-copy', "
                   "which needs the migration capability 'postcopy-ram'");
        return false;
    }
    return true;
}

bool auto_converge_params_check_start(Error **errp)
{
    return check_fallback(
        migrate_get_current()->parameters.cpu_throttle_fallback, errp);
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
    if (params->has_cpu_throttle_deadline &&
        params->cpu_throttle_deadline > CPU_THROTTLE_DEADLINE_MAX_S) {
        error_setg(errp, "Parameter 'cpu-throttle-deadline' expects an "
                   "integer in the range of 0 to %d s",
                   CPU_THROTTLE_DEADLINE_MAX_S);
        return false;
    }
    switch (migrate_get_current()->state) {
    case MIGRATION_STATUS_SETUP:
    case MIGRATION_STATUS_ACTIVE:
        return !params->has_cpu_throttle_fallback ||
               check_fallback(params->cpu_throttle_fallback, errp);
    default:
        return true; /* The capability may still come. */
    }
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
    if (from->has_cpu_throttle_deadline) {
        to->has_cpu_throttle_deadline = true;
        to->cpu_throttle_deadline = from->cpu_throttle_deadline;
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
    monitor_printf(mon, "%s: %" PRIu64 " s\n",
        MigrationParameter_str(MIGRATION_PARAMETER_CPU_THROTTLE_DEADLINE),
        params->cpu_throttle_deadline);
}
