/*
 * Adaptive auto-converge: what it tells
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-events-auto-converge.h"
#include "qemu/timer.h"
#include "monitor/monitor.h"
#include "migration/auto-converge-control.h"
#include "migration/auto-converge-report.h"
#include "migration/cpu-throttle-vcpu.h"
#include "migration.h"

/*
 * What migration.c has counted, at the end or since the stop until now; and
 * the stops that were ended before.
 */
static bool query_downtime_ms(const AutoConvergeControl *control,
                              uint64_t *downtime_ms)
{
    const MigrationState *s = migrate_get_current();
    bool stopped;

    *downtime_ms = control->ended_stops_ms;
    switch (s->state) {
    case MIGRATION_STATUS_ACTIVE:
    case MIGRATION_STATUS_PRE_SWITCHOVER:
    case MIGRATION_STATUS_DEVICE:
        /* It may be that of an earlier migration */
        stopped = s->downtime_start >= control->started_ms;
        if (stopped) {
            *downtime_ms += qemu_clock_get_ms(QEMU_CLOCK_REALTIME) -
                            s->downtime_start;
        }
        break;
    default:
        stopped = s->downtime || s->state == MIGRATION_STATUS_COMPLETED;
        *downtime_ms += s->downtime;
    }
    return stopped || *downtime_ms;
}

static CpuThrottleFallback query_fallback(const AutoConvergeControl *control)
{
    switch (control->config.fallback) {
    case AUTO_CONVERGE_FALLBACK_NONE:
        return CPU_THROTTLE_FALLBACK_NONE;
    case AUTO_CONVERGE_FALLBACK_STOP_AND_COPY:
        return CPU_THROTTLE_FALLBACK_STOP_AND_COPY;
    case AUTO_CONVERGE_FALLBACK_POST_COPY:
        return CPU_THROTTLE_FALLBACK_POST_COPY;
    default:
        g_assert_not_reached();
    }
}

AutoConvergeInfo *auto_converge_query(void)
{
    const AutoConvergeControl *control = auto_converge_control();
    const AutoConvergeDecision *last = &control->state.last;
    AutoConvergeInfo *info;

    if (!control->enabled) {
        return NULL;
    }
    info = g_new0(AutoConvergeInfo, 1);
    info->phase = last->phase;
    info->reason = last->reason;
    info->throttle_permille = cpu_throttle_get_permille();
    info->highest_throttle_permille = control->highest_permille;
    info->windows = control->windows;
    info->dirty_rate = last->dirty_rate_bps;
    info->transfer_rate = last->transfer_rate_bps;
    info->has_predicted_downtime =
        last->predicted_downtime_ms != AUTO_CONVERGE_NEVER;
    if (info->has_predicted_downtime) {
        info->predicted_downtime = last->predicted_downtime_ms;
    }
    info->has_predicted_time = last->predicted_time_ms != AUTO_CONVERGE_NEVER;
    if (info->has_predicted_time) {
        info->predicted_time = last->predicted_time_ms;
    }
    info->has_predicted_loss = last->predicted_loss_ms != AUTO_CONVERGE_NEVER;
    if (info->has_predicted_loss) {
        info->predicted_loss = last->predicted_loss_ms;
    }
    info->throttled_time = cpu_throttle_get_held_ns() / SCALE_MS;
    info->has_downtime = query_downtime_ms(control, &info->downtime);
    info->fallback = query_fallback(control);
    return info;
}

void auto_converge_send_event(void)
{
    g_autoptr(AutoConvergeInfo) info = NULL;

    if (migrate_events()) {
        info = auto_converge_query();
    }
    if (info) {
        qapi_event_send_migration_auto_converge(info);
    }
}

void auto_converge_print_info(Monitor *mon, const AutoConvergeInfo *info)
{
    monitor_printf(mon, "auto-converge phase: %s (%s)\n",
                   AutoConvergePhase_str(info->phase),
                   AutoConvergeReason_str(info->reason));
    monitor_printf(mon, "auto-converge throttle: %u.%u %% (highest %u.%u %%)\n",
                   info->throttle_permille / 10, info->throttle_permille % 10,
                   info->highest_throttle_permille / 10,
                   info->highest_throttle_permille % 10);
    monitor_printf(mon, "auto-converge windows: %" PRIu64 "\n", info->windows);
    monitor_printf(mon, "auto-converge dirty rate: %" PRIu64 " kbytes/s\n",
                   info->dirty_rate >> 10);
    monitor_printf(mon, "auto-converge transfer rate: %" PRIu64 " kbytes/s\n",
                   info->transfer_rate >> 10);
    if (info->has_predicted_downtime) {
        monitor_printf(mon, "auto-converge predicted downtime: %" PRIu64
                       " ms\n", info->predicted_downtime);
    }
    if (info->has_predicted_time) {
        monitor_printf(mon, "auto-converge predicted time: %" PRIu64 " ms\n",
                       info->predicted_time);
    }
    if (info->has_predicted_loss) {
        monitor_printf(mon, "auto-converge predicted loss: %" PRIu64 " ms\n",
                       info->predicted_loss);
    }
    monitor_printf(mon, "auto-converge throttled time: %" PRIu64 " ms\n",
                   info->throttled_time);
    if (info->has_downtime) {
        monitor_printf(mon, "auto-converge downtime: %" PRIu64 " ms\n",
                       info->downtime);
    }
    monitor_printf(mon, "auto-converge fallback: %s\n",
                   CpuThrottleFallback_str(info->fallback));
}
