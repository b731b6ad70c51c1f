/*
 * Adaptive auto-converge: a stop that can be watched, and the lease
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a stop is, and its phases, are explained in auto-converge-stop.h.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "migration/auto-converge-control.h"
#include "migration/auto-converge-stop.h"
#include "migration/cpu-throttle-vcpu.h"
#include "migration/global_state.h"
#include "migration/misc.h"
#include "migration.h"
#include "ram.h"
#include "trace.h"

/*
 * How often the timer checks.  It is late by that much at most, and four
 * wakeups a second are nothing beside a migration.
 */
#define TIMER_PERIOD_MS 250

/*
 * A stop that does not progress for so long is ended.  A TCP connection that
 * lost packets recovers within a second or two; what takes longer is a link or
 * a destination that is dead for a guest that waits.
 */
#define STOP_STALL_MS 3000

/*
 * A throttle that nothing was sent under for so long is no use to anybody.
 * Longer than for a stop, because a throttled guest still runs.
 */
#define LEASE_MS 10000

/*
 * How long after the last time dirty pages are looked for, where QEMU itself
 * does not: the link may be idle until then, and the rate is taken for lower
 * than it is.  That costs no more than this part of the time, as a sync of much
 * memory takes long, and the BQL is held.
 */
#define SYNC_PERIOD_MIN_MS 20
#define SYNC_COSTS_MAX 20

typedef enum StopPhase {
    STOP_NONE,
    STOP_BEGINNING,
    STOP_HELD,
    STOP_COMPLETING,
    STOP_FINAL,
} StopPhase;

/* All of it is changed with the BQL held; the migration thread reads @phase. */
static struct {
    StopPhase phase;
    bool yields;             /* the user stopped the guest as it began */
    int64_t began_ms;        /* by QEMU_CLOCK_REALTIME */
    int ret;                 /* of stopping the vCPUs */
    QEMUTimer *timer;
    uint64_t sent_bytes;     /* what showed progress the last time ... */
    uint64_t remaining_bytes;
    int64_t progress_ms;     /* ... and when */
} stop;

/* Of the migration thread: what was pending in the iteration before ... */
static uint64_t pending_before_bytes;

/* ... and when it looked for dirty pages last, and how long that took */
static int64_t synced_ms, sync_took_ms;

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

static void set_phase(StopPhase phase)
{
    trace_auto_converge_stop(stop.phase, phase, ram_bytes_remaining());
    qatomic_set(&stop.phase, phase);
}

bool auto_converge_stop_is_held(void)
{
    return qatomic_read(&stop.phase) == STOP_HELD;
}

/* As if it had never been.  How long it was is for the account. */
static int64_t forget_stop(void)
{
    MigrationState *s = migrate_get_current();
    int64_t stopped_ms = now_ms() - stop.began_ms;

    set_phase(STOP_NONE);
    s->downtime_start = 0;
    auto_converge_control_note_stop(stopped_ms);
    migration_forget_stop(s);
    return stopped_ms;
}

/* The guest runs on. */
static int64_t give_back(void)
{
    int64_t stopped_ms = forget_stop();

    vm_start();
    return stopped_ms;
}

void auto_converge_stop_give_back(void)
{
    if (auto_converge_stop_is_held()) {
        give_back();
    }
    cpu_throttle_set_permille(0);
}

void auto_converge_stop_yield(void)
{
    if (stop.phase == STOP_BEGINNING) {
        stop.yields = true;
    } else if (auto_converge_stop_is_held()) {
        forget_stop();
        runstate_set(RUN_STATE_PAUSED);
    }
}

static void end_stop(AutoConvergeReason reason)
{
    auto_converge_control_stop_ended(reason, give_back());
}

/* Bytes on the wire, or pages: a slow link shows in one of them first. */
static bool has_progressed(const MigrationState *s)
{
    uint64_t sent_bytes = qatomic_read_u64(&s->iteration_initial_bytes);
    uint64_t remaining_bytes = ram_bytes_remaining();
    bool progress = sent_bytes != stop.sent_bytes ||
                    remaining_bytes != stop.remaining_bytes;

    stop.sent_bytes = sent_bytes;
    stop.remaining_bytes = remaining_bytes;
    return progress;
}

static void check_progress(int64_t stalled_ms)
{
    uint64_t limit_ms = auto_converge_control_stop_limit_ms();

    if (stalled_ms >= STOP_STALL_MS) {
        end_stop(AUTO_CONVERGE_REASON_STALLED);
    } else if (limit_ms && now_ms() - stop.began_ms > limit_ms) {
        end_stop(AUTO_CONVERGE_REASON_OUTLASTED);
    }
}

static void timer_tick(void *opaque)
{
    const MigrationState *s = migrate_get_current();

    switch (s->state) {
    case MIGRATION_STATUS_NONE:
    case MIGRATION_STATUS_COMPLETED:
    case MIGRATION_STATUS_CANCELLED:
        return; /* such as one that never got a connection */
    case MIGRATION_STATUS_CANCELLING:
    case MIGRATION_STATUS_FAILED:
        /* A connection may keep its thread for a long time. */
        auto_converge_stop_give_back();
        return;
    default:
        break;
    }
    if (has_progressed(s) || s->state != MIGRATION_STATUS_ACTIVE) {
        stop.progress_ms = now_ms();
    }
    if (auto_converge_stop_is_held()) {
        check_progress(now_ms() - stop.progress_ms);
    } else if (cpu_throttle_get_permille() &&
               now_ms() - stop.progress_ms >= LEASE_MS) {
        auto_converge_control_lease_up();
    }
    timer_mod(stop.timer, now_ms() + TIMER_PERIOD_MS);
}

void auto_converge_stop_start_timer(void)
{
    sync_took_ms = 0;
    if (!stop.timer) {
        stop.timer = timer_new_ms(QEMU_CLOCK_REALTIME, timer_tick, NULL);
    }
    stop.progress_ms = now_ms();
    timer_mod(stop.timer, now_ms() + TIMER_PERIOD_MS);
}

void auto_converge_stop_reset(void)
{
    MigrationState *s = migrate_get_current();

    if (migration_has_failed(s) &&
        s->downtime_start >= auto_converge_control()->started_ms) {
        /* Stopped for the switchover, the guest has been started again. */
        auto_converge_control_note_stop(now_ms() - s->downtime_start -
                                        s->downtime);
    }
    if (stop.phase != STOP_NONE) {
        set_phase(STOP_NONE);
    }
    if (stop.timer) {
        timer_del(stop.timer);
    }
}

/*
 * Stop the guest.  To stop the vCPUs is to wait for them, without the BQL: the
 * migration may have been cancelled meanwhile, or the stop be unwanted, or the
 * user have stopped the guest.
 */
static void begin_stop(MigrationState *s)
{
    bql_lock();
    if (s->state == MIGRATION_STATUS_ACTIVE && runstate_is_running() &&
        auto_converge_control_stop_wanted()) {
        stop.began_ms = now_ms();
        stop.yields = false;
        set_phase(STOP_BEGINNING);
        stop.ret = migration_stop_vm(s, RUN_STATE_FINISH_MIGRATE);
        cpu_throttle_set_permille(0);
        pending_before_bytes = UINT64_MAX;
        stop.progress_ms = now_ms(); /* to flush the disks may take long */
        set_phase(STOP_HELD);
        if (stop.yields) {
            auto_converge_stop_yield();
        } else if (s->state != MIGRATION_STATUS_ACTIVE ||
                   !auto_converge_control_stop_wanted()) {
            give_back();
        }
    }
    bql_unlock();
}

/*
 * What the guest wrote after the last sync has to be copied as well, and some
 * devices tell only now how much state they have.
 */
static void check_stop(MigrationState *s)
{
    uint64_t bytes = migration_pending_exact(s);

    bql_lock();
    if (auto_converge_stop_is_held() &&
        !auto_converge_control_stop_fits(bytes)) {
        end_stop(AUTO_CONVERGE_REASON_TOO_LONG);
    }
    bql_unlock();
}

/* Before QEMU would */
static void sync_early(MigrationState *s)
{
    int64_t began_ms = now_ms();

    migration_pending_exact(s);
    synced_ms = now_ms();
    sync_took_ms = synced_ms - began_ms;
}

/* As little is left as QEMU asks for, which may be nothing, or nothing is. */
static bool ram_is_through(const MigrationState *s)
{
    uint64_t bytes = ram_bytes_remaining();

    return bytes == 0 || bytes < s->threshold_size;
}

/*
 * RAM is through, but not what others have pending: as QEMU syncs RAM only when
 * both are, and iterations may not send the latter, there would never be a
 * window again.
 */
static void sync_if_missed(MigrationState *s, uint64_t pending_bytes)
{
    int64_t period_ms = MAX(SYNC_PERIOD_MIN_MS, sync_took_ms * SYNC_COSTS_MAX);

    if (auto_converge_control()->enabled && !auto_converge_stop_is_held() &&
        pending_bytes >= s->threshold_size && ram_is_through(s) &&
        now_ms() - synced_ms >= period_ms) {
        sync_early(s);
    }
}

/* To see before the end of the pass that a throttle does not help */
static void look_if_due(MigrationState *s, uint64_t pending_bytes)
{
    if (pending_bytes >= s->threshold_size && !auto_converge_stop_is_held() &&
        auto_converge_control_look_is_due(sync_took_ms)) {
        auto_converge_control_look(true);
        sync_early(s);
        auto_converge_control_look(false);
    }
}

/* A post-copy that was requested goes first, where it takes the RAM. */
static bool post_copy_is_due(const MigrationState *s)
{
    return migrate_postcopy_ram() && qatomic_read(&s->start_postcopy);
}

void auto_converge_stop_step(uint64_t pending_bytes, bool may_switch)
{
    MigrationState *s = migrate_get_current();

    if (s->state != MIGRATION_STATUS_ACTIVE) {
        return;
    }
    sync_if_missed(s, pending_bytes);
    look_if_due(s, pending_bytes);
    auto_converge_control_note_pending(pending_bytes);
    if (may_switch && qatomic_read(&stop.phase) == STOP_NONE &&
        auto_converge_control_stop_wanted() && !post_copy_is_due(s)) {
        begin_stop(s);
        if (auto_converge_stop_is_held()) {
            check_stop(s);
        }
    }
}

/*
 * Nothing dirties any more: as long as it gets less, it costs nothing.  What
 * does not get less, such as dirty bitmaps of disks, is for the completion; and
 * a stop that failed, as when a disk could not be flushed, is so that it fails.
 */
bool auto_converge_stop_iterates(uint64_t pending_bytes)
{
    const MigrationState *s = migrate_get_current();
    bool less = pending_bytes < pending_before_bytes;
    bool fits = auto_converge_control_take_fits(pending_bytes);

    pending_before_bytes = pending_bytes;
    if (auto_converge_stop_is_held()) {
        return stop.ret >= 0 && (less || !ram_is_through(s));
    }
    return pending_bytes >= s->threshold_size && !fits;
}

bool auto_converge_stop_hand_over(int *ret)
{
    /* Whoever stops the guest, there is nothing left to throttle. */
    cpu_throttle_set_permille(0);
    if (auto_converge_stop_is_held() && runstate_is_running()) {
        forget_stop(); /* somebody started it, as the gdbstub may */
    }
    if (!auto_converge_stop_is_held()) {
        return false;
    }
    global_state_store_running(); /* a snapshot meanwhile stored another */
    set_phase(STOP_COMPLETING);
    *ret = stop.ret;
    return true;
}

void auto_converge_stop_set_final(void)
{
    if (stop.phase == STOP_COMPLETING) {
        set_phase(STOP_FINAL);
    }
}

bool auto_converge_stop_is_final(Error **errp)
{
    if (stop.phase != STOP_FINAL ||
        migrate_get_current()->state == MIGRATION_STATUS_COLO) {
        return false;
    }
    error_setg(errp, "Too late to cancel: the destination has got everything "
               "and may run the guest");
    return true;
}
