/*
 * Adaptive auto-converge: the controller of the running migration
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "exec/target_page.h"
#include "migration/auto-converge-control.h"
#include "migration/auto-converge-params.h"
#include "migration/auto-converge-report.h"
#include "migration/auto-converge-stop.h"
#include "migration/cpu-throttle-vcpu.h"
#include "migration.h"
#include "ram.h"
#include "trace.h"

/*
 * A stop may outlast its bound by this part of it, and by this much at least:
 * the prediction is of one window, and links are shared.
 */
#define STOP_MARGIN_PART 4
#define STOP_MARGIN_MIN_MS 1000

/*
 * Nobody looks who would spend more than so small a part of the time on it: a
 * sync of a terabyte takes seconds.
 */
#define LOOK_COSTS_MAX 20

/* Shorter passes are gathered. */
#define WINDOW_MIN_MS 1000

/* There is at most one outgoing migration. */
static AutoConvergeControl control;

/* Pending and not RAM, as of the last iteration; of the migration thread */
static uint64_t other_bytes;

/* For the migration thread, which reads them without the BQL */
static bool stop_wanted;
static bool rest_fits;    /* ... as of the window that has just ended */
static unsigned look_ms;  /* after the last window or look; 0: after the pass */
static size_t look_pages; /* ... or when so many are dirty; 0: do not count */

static bool rate_changed; /* since the window began */

/* Of the migration thread: is a look taken; when was the last, or a window? */
static bool looking;
static int64_t looked_ms;

/* Of the migration thread: what was counted since then */
static unsigned count;
static AutoConvergeCount counts[AUTO_CONVERGE_COUNTS_MAX];

const AutoConvergeControl *auto_converge_control(void)
{
    return &control;
}

/* With what this migration has, what does the user want at the ceiling? */
static AutoConvergeFallback control_fallback(void)
{
    switch (migrate_get_current()->parameters.cpu_throttle_fallback) {
    case CPU_THROTTLE_FALLBACK_NONE:
        return AUTO_CONVERGE_FALLBACK_NONE;
    case CPU_THROTTLE_FALLBACK_STOP_AND_COPY:
        return AUTO_CONVERGE_FALLBACK_STOP_AND_COPY;
    case CPU_THROTTLE_FALLBACK_POST_COPY:
    case CPU_THROTTLE_FALLBACK_AUTO:
        return migrate_postcopy_ram() ? AUTO_CONVERGE_FALLBACK_POST_COPY :
                                        AUTO_CONVERGE_FALLBACK_STOP_AND_COPY;
    default:
        g_assert_not_reached();
    }
}

/* True, with a trace, when the parameters differ from those in use. */
static bool control_load_config(void)
{
    const MigrationParameters *p = &migrate_get_current()->parameters;
    AutoConvergeConfig config;

    /* With the padding, for memcmp() */
    memset(&config, 0, sizeof(config));
    config.trigger_threshold_pct = p->throttle_trigger_threshold;
    config.throttle_initial_pct = p->cpu_throttle_initial;
    config.throttle_increment_pct = p->cpu_throttle_increment;
    config.throttle_max_pct = p->max_cpu_throttle;
    config.fallback = control_fallback();
    config.fallback_downtime_ms = p->cpu_throttle_fallback_downtime;
    config.downtime_limit_ms = p->downtime_limit;
    config.switchover_bps = migrate_avail_switchover_bandwidth();
    config.deadline_s = p->cpu_throttle_deadline;
    config.looks = true;

    if (!memcmp(&config, &control.config, sizeof(config))) {
        return false;
    }
    control.config = config;
    trace_auto_converge_config(config.trigger_threshold_pct,
                               config.throttle_initial_pct,
                               config.throttle_increment_pct,
                               config.throttle_max_pct,
                               config.fallback,
                               config.fallback_downtime_ms,
                               config.downtime_limit_ms,
                               config.switchover_bps, config.deadline_s);
    return true;
}

bool auto_converge_control_start(Error **errp)
{
    if (!auto_converge_params_check_start(errp)) {
        return false;
    }
    memset(&control, 0, sizeof(control));
    qatomic_set(&stop_wanted, false);
    qatomic_set(&rest_fits, false);
    qatomic_set(&look_ms, 0);
    qatomic_set(&look_pages, 0);
    auto_converge_init(&control.state);
    control.enabled = migrate_auto_converge();
    control.max_bandwidth = migrate_get_current()->parameters.max_bandwidth;
    qatomic_set(&rate_changed, false);
    control.started_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    cpu_throttle_reset_held();
    if (control.enabled) {
        control_load_config();
        auto_converge_stop_start_timer();
    }
    return true;
}

void auto_converge_control_end(void)
{
    auto_converge_stop_reset();
    auto_converge_send_event();
}

/* A change of phase, or another reason why the guest is let go. */
static bool wants_event(const AutoConvergeDecision *before,
                        const AutoConvergeDecision *now)
{
    return now->phase != before->phase ||
           (now->reason != before->reason &&
            now->phase == AUTO_CONVERGE_PHASE_LET_GO);
}

/* Do what was decided, and tell of it. */
static void apply_decision(const AutoConvergeDecision *before,
                           const AutoConvergeDecision *now)
{
    control.highest_permille = MAX(control.highest_permille,
                                   now->throttle_permille);
    qatomic_set(&stop_wanted, now->switchover);
    qatomic_set(&rest_fits, now->complete);
    qatomic_set(&look_ms, now->look_ms);
    qatomic_set(&look_pages, now->look_bytes / qemu_target_page_size());
    if (now->post_copy && !before->post_copy) {
        /* It has the capability, see control_fallback() */
        qmp_migrate_start_postcopy(&error_abort);
    }
    if (auto_converge_stop_is_held()) {
        if (now->phase != AUTO_CONVERGE_PHASE_FALLBACK) {
            auto_converge_stop_give_back();
        }
    } else {
        cpu_throttle_set_permille(now->throttle_permille);
    }
    if (wants_event(before, now)) {
        auto_converge_send_event();
    }
}

/* Syncs of others: savevm, COLO, the setup, a guest that is stopped already */
static bool control_has_windows(void)
{
    return control.enabled && runstate_is_running() &&
           migrate_get_current()->state == MIGRATION_STATUS_ACTIVE;
}

/* As one string, because a trace event has ten arguments at most */
static void trace_decision(const AutoConvergeSample *sample,
                           const AutoConvergeDecision *now)
{
    g_autoptr(GString) rest = g_string_new(NULL);
    unsigned i;

    g_string_printf(rest, "zero_bytes=%" PRIu64 " since_start_ns=%" PRIu64
                    " partial=%d", sample->zero_bytes, sample->since_start_ns,
                    sample->partial);
    for (i = 0; i < sample->count; i++) {
        g_string_append_printf(rest, "%s%" PRIu64 ":%" PRIu64,
                               i == 0 ? " counts=" : ",",
                               sample->counts[i].guest_run_ns,
                               sample->counts[i].dirty_bytes);
    }
    g_string_append_printf(rest, " phase=%s reason=%s",
                           AutoConvergePhase_str(now->phase),
                           AutoConvergeReason_str(now->reason));
    trace_auto_converge_decision(sample->elapsed_ns, sample->guest_run_ns,
                                 sample->dirty_bytes, sample->drained_bytes,
                                 sample->remaining_bytes, sample->other_bytes,
                                 rest->str, now->throttle_permille,
                                 now->predicted_downtime_ms,
                                 now->predicted_time_ms);
}

void auto_converge_control_window(AutoConvergeSample *sample,
                                  uint64_t zero_bytes, bool disks_are_copied)
{
    AutoConvergeDecision before = control.state.last;
    AutoConvergeDecision now;
    /* Also where it does not count: it is looked at no second time for that. */
    bool anew = qatomic_xchg(&rate_changed, false);

    sample->zero_bytes = zero_bytes - control.zero_bytes;
    control.zero_bytes = zero_bytes;
    sample->count = looking ? count : 0;
    memcpy(sample->counts, counts, sizeof(counts));
    count = 0;

    if (!control_has_windows() || disks_are_copied) {
        auto_converge_control_restart_window();
        return;
    }
    control_load_config();
    looked_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    if (anew) {
        now = auto_converge_restart_window(&control.state, &control.config,
                                           sample->remaining_bytes);
        apply_decision(&before, &now);
        return;
    }
    sample->partial = looking;
    sample->other_bytes = other_bytes;
    sample->since_start_ns = (looked_ms - control.started_ms) * SCALE_MS;
    now = auto_converge_update(&control.state, &control.config, sample);
    control.windows += !looking;
    trace_decision(sample, &now);
    apply_decision(&before, &now);
}

/* The same, for what happens between two windows. */
static void apply_between(AutoConvergeDecision before,
                          AutoConvergeDecision now)
{
    if (now.phase != before.phase || now.reason != before.reason) {
        trace_auto_converge_between(AutoConvergePhase_str(now.phase),
                                    AutoConvergeReason_str(now.reason),
                                    now.throttle_permille);
    }
    apply_decision(&before, &now);
}

void auto_converge_control_reload(void)
{
    AutoConvergeDecision before = control.state.last;
    uint64_t max_bandwidth = migrate_get_current()->parameters.max_bandwidth;

    if (control.enabled && max_bandwidth != control.max_bandwidth) {
        control.max_bandwidth = max_bandwidth;
        qatomic_set(&rate_changed, true);
    }

    if (control.enabled &&
        migrate_get_current()->state == MIGRATION_STATUS_ACTIVE &&
        control_load_config()) {
        apply_between(before, auto_converge_reconfigure(&control.state,
                                                        &control.config));
    }
}

void auto_converge_control_lease_up(void)
{
    AutoConvergeDecision before = control.state.last;

    apply_between(before, auto_converge_lease_up(&control.state));
}

void auto_converge_control_stop_ended(AutoConvergeReason reason,
                                      int64_t stopped_ms)
{
    AutoConvergeDecision before = control.state.last;

    apply_between(before, auto_converge_stop_ended(&control.state, reason,
                                                   stopped_ms * SCALE_MS));
}

bool auto_converge_control_stop_fits(uint64_t bytes)
{
    uint64_t limit_ms = auto_converge_control_stop_limit_ms();
    uint64_t stop_ms = auto_converge_stop_length_ms(&control.state,
                                                    &control.config, bytes);

    control.state.last.predicted_downtime_ms = stop_ms;
    return !limit_ms || stop_ms <= limit_ms;
}

bool auto_converge_control_stop_wanted(void)
{
    return qatomic_read(&stop_wanted);
}

bool auto_converge_control_take_fits(uint64_t bytes)
{
    bool fits = qatomic_xchg(&rest_fits, false);

    if (fits) {
        bql_lock();
        fits = auto_converge_stop_length_ms(&control.state, &control.config,
                                            bytes) <=
               control.config.downtime_limit_ms;
        bql_unlock();
    }
    return fits;
}

int64_t auto_converge_control_window_min_ms(void)
{
    return looking ? 0 : WINDOW_MIN_MS;
}

/* True when as much became dirty as the law wants to know. */
static bool count_if_due(int64_t elapsed_ms)
{
    size_t pages = qatomic_read(&look_pages);
    uint64_t dirty_pages, run_ns;

    if (!pages || count == AUTO_CONVERGE_COUNTS_MAX ||
        elapsed_ms < AUTO_CONVERGE_COUNT_FIRST_MS << count) {
        return false;
    }
    dirty_pages = auto_converge_control_count_dirty();
    bql_lock();
    run_ns = auto_converge_control_peek_run_ns(elapsed_ms * SCALE_MS);
    bql_unlock();
    counts[count++] = (AutoConvergeCount) {
        .guest_run_ns = run_ns,
        .dirty_bytes = dirty_pages * qemu_target_page_size(),
    };
    return dirty_pages >= pages;
}

bool auto_converge_control_look_is_due(int64_t cost_ms)
{
    unsigned wait_ms = qatomic_read(&look_ms);
    int64_t elapsed_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) - looked_ms;

    return qatomic_read(&rate_changed) ||
           (wait_ms && cost_ms * LOOK_COSTS_MAX <= wait_ms &&
            (count_if_due(elapsed_ms) || elapsed_ms >= wait_ms));
}

void auto_converge_control_look(bool begins)
{
    looking = begins;
    looked_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

uint64_t auto_converge_control_stop_limit_ms(void)
{
    uint64_t bound_ms = control.config.fallback_downtime_ms;

    return bound_ms ? bound_ms + MAX(STOP_MARGIN_MIN_MS,
                                     bound_ms / STOP_MARGIN_PART) : 0;
}

void auto_converge_control_note_stop(int64_t stopped_ms)
{
    control.ended_stops_ms += stopped_ms;
}

void auto_converge_control_note_pending(uint64_t bytes)
{
    uint64_t ram_bytes = ram_bytes_remaining();

    other_bytes = bytes - MIN(bytes, ram_bytes);
}
