/*
 * Adaptive auto-converge: the controller of the running migration
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The law (auto-converge.h) knows no QEMU, and the throttle (cpu-throttle.c)
 * knows no migration.  This stands between them: it takes the parameters from
 * QAPI, keeps the state of the law for the one migration that can run, and
 * reports what was decided.
 *
 *     end of a window in ram.c
 *         -> auto_converge_control_window()      the law decides
 *     migrate-set-parameters
 *         -> auto_converge_control_reload()      it decides again
 *             -> cpu_throttle_set_permille()     the throttle obeys
 *     migration_iteration_run()
 *         -> auto_converge_stop_step()           the guest is stopped, see
 *                                                auto-converge-stop.h
 *
 * Everything needs the BQL, except what is said to be for the migration
 * thread, which does not hold it there.
 */

#ifndef MIGRATION_AUTO_CONVERGE_CONTROL_H
#define MIGRATION_AUTO_CONVERGE_CONTROL_H

#include "migration/auto-converge.h"

/* All there is to know about the running migration, or the last one. */
typedef struct AutoConvergeControl {
    bool enabled;              /* the migration has auto-converge */
    int64_t started_ms;        /* when, by QEMU_CLOCK_REALTIME */
    AutoConvergeConfig config;
    AutoConvergeState state;
    unsigned highest_permille; /* the highest throttle decided */
    uint64_t windows;          /* number of windows measured */
    uint64_t zero_bytes;       /* of zero pages, sent before the window */
    uint64_t max_bandwidth;    /* the parameter, since the window began */
    uint64_t ended_stops_ms;   /* length of the stops that were ended */
} AutoConvergeControl;

const AutoConvergeControl *auto_converge_control(void);

/*
 * A migration starts: forget the one before.  Fails, with nothing changed,
 * when the parameters contradict the capabilities.
 */
bool auto_converge_control_start(Error **errp);

/* It has ended, and the guest is where it belongs: tells the event. */
void auto_converge_control_end(void);

/* A window starts: the guest run time of the sample counts from here. */
void auto_converge_control_restart_window(void);

/* CPU time of the busiest vCPU since the last window, ns; starts the next. */
uint64_t auto_converge_control_guest_run_ns(uint64_t elapsed_ns);

/* The same so far, without an end of the window */
uint64_t auto_converge_control_peek_run_ns(uint64_t elapsed_ns);

/*
 * For the migration thread: pages in the dirty log, which are those that became
 * dirty since it was last cleared: by a sync, as far as the log is QEMU's, as
 * under TCG.  A few ms for a terabyte; nothing is cleared.
 */
uint64_t auto_converge_control_count_dirty(void);

/*
 * For the migration thread: a window is longer than this, ms, unless it is
 * looked at.
 */
int64_t auto_converge_control_window_min_ms(void);

/*
 * A window has ended; what there is beside RAM is filled in, and what was of
 * zero pages, of which @zero_bytes were sent since the migration began.  Those
 * that are not of a running guest, in the iteration of a migration, do not
 * count, nor do those in which its disks are copied.
 */
void auto_converge_control_window(AutoConvergeSample *sample,
                                  uint64_t zero_bytes, bool disks_are_copied);

/* The migration parameters may have changed. */
void auto_converge_control_reload(void);

/* For auto-converge-stop.c: no throttle without progress; how a stop ended. */
void auto_converge_control_lease_up(void);
void auto_converge_control_stop_ended(AutoConvergeReason reason,
                                      int64_t stopped_ms);
/* ... and what a stop that has just begun has to copy; false: too long. */
bool auto_converge_control_stop_fits(uint64_t bytes);

/* For the migration thread: does the law want the guest to be stopped? */
bool auto_converge_control_stop_wanted(void);

/*
 * For the migration thread: was it found since the last call that the rest fits
 * into the downtime limit?  That is true of the moment in which a window ends,
 * and told once.  It is @bytes now: some devices tell all that they have only
 * when asked for it exactly, which is after the window.
 */
bool auto_converge_control_take_fits(uint64_t bytes);

/*
 * For the migration thread: does the law want to look at the pass now, if that
 * costs so much?  A window that ends while a look is taken is a partial one.
 * Counts what became dirty, where the law wants that.  And true when the window
 * is to begin anew, because max-bandwidth is another now.
 */
bool auto_converge_control_look_is_due(int64_t cost_ms);
void auto_converge_control_look(bool begins);

/* A stop has ended without a result, and cost so much. */
void auto_converge_control_note_stop(int64_t stopped_ms);

/* For the migration thread: so much is pending, RAM and other. */
void auto_converge_control_note_pending(uint64_t bytes);

/* How long a stop may last, ms, a margin included; 0: any time. */
uint64_t auto_converge_control_stop_limit_ms(void);

#endif /* MIGRATION_AUTO_CONVERGE_CONTROL_H */
