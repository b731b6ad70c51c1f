/*
 * Adaptive auto-converge: the controller of the running migration
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "migration/auto-converge-control.h"
#include "migration.h"
#include "trace.h"

/* There is at most one outgoing migration. */
static AutoConvergeControl control;

const AutoConvergeControl *auto_converge_control(void)
{
    return &control;
}

/* Parameters may change between any two windows; a change leaves a trace. */
static void control_load_config(void)
{
    const MigrationParameters *p = &migrate_get_current()->parameters;
    AutoConvergeConfig config;

    /* With the padding, for memcmp() */
    memset(&config, 0, sizeof(config));
    config.trigger_threshold_pct = p->throttle_trigger_threshold;
    config.throttle_initial_pct = p->cpu_throttle_initial;
    config.throttle_increment_pct = p->cpu_throttle_increment;
    config.throttle_max_pct = p->max_cpu_throttle;
    config.fallback = p->cpu_throttle_fallback == CPU_THROTTLE_FALLBACK_NONE
                      ? AUTO_CONVERGE_FALLBACK_NONE
                      : AUTO_CONVERGE_FALLBACK_STOP_AND_COPY;
    config.fallback_downtime_ms = p->cpu_throttle_fallback_downtime;
    config.downtime_limit_ms = p->downtime_limit;
    config.switchover_bps = migrate_avail_switchover_bandwidth();

    if (memcmp(&config, &control.config, sizeof(config))) {
        control.config = config;
        trace_auto_converge_config(config.trigger_threshold_pct,
                                   config.throttle_initial_pct,
                                   config.throttle_increment_pct,
                                   config.throttle_max_pct,
                                   config.fallback,
                                   config.fallback_downtime_ms,
                                   config.downtime_limit_ms,
                                   config.switchover_bps);
    }
}

void auto_converge_control_start(void)
{
    memset(&control, 0, sizeof(control));
    auto_converge_init(&control.state);
    control.enabled = migrate_auto_converge();
    control.started_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    if (control.enabled) {
        control_load_config();
    }
    cpu_throttle_reset_held();
}

/* A change of phase, or a ceiling that turned out to be in vain. */
static bool decision_is_news(const AutoConvergeDecision *before,
                             const AutoConvergeDecision *now)
{
    return now->phase != before->phase ||
           (now->reason != before->reason &&
            (now->reason == AUTO_CONVERGE_REASON_NO_FALLBACK ||
             now->reason == AUTO_CONVERGE_REASON_TOO_LONG));
}

unsigned auto_converge_control_step(const AutoConvergeSample *sample,
                                    bool *news)
{
    AutoConvergeDecision before = control.state.last;
    AutoConvergeDecision now;

    control_load_config();
    now = auto_converge_update(&control.state, &control.config, sample);
    control.windows++;
    control.highest_permille = MAX(control.highest_permille,
                                   now.throttle_permille);
    trace_auto_converge_decision(sample->elapsed_ns, sample->guest_run_ns,
                                 sample->dirty_bytes, sample->drained_bytes,
                                 sample->remaining_bytes,
                                 auto_converge_phase_name(now.phase),
                                 auto_converge_reason_name(now.reason),
                                 now.throttle_permille,
                                 now.predicted_downtime_ms,
                                 now.predicted_time_ms);
    *news = decision_is_news(&before, &now);
    return now.throttle_permille;
}

bool auto_converge_switchover_wanted(void)
{
    return control.state.last.switchover;
}
