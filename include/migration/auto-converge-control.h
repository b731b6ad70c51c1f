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
 *         -> auto_converge_stop_step()           the guest is stopped
 *
 * A stop
 * ------
 * The vCPUs are stopped as for a switchover, and the migration thread goes on
 * as before, without the BQL: monitor, devices and clients are served, and the
 * migration can be cancelled.  When little is left, the ordinary completion
 * does the rest.
 *
 *              the migration thread stops the guest
 *     NONE ------------------------------------------> HELD
 *      ^ ^                                              |  little is left
 *      | +-- cancelled; too long; link dead; unwanted --+  v
 *      |                                            COMPLETING
 *      |                                                |  device state is
 *      |                                                v  about to be sent
 *      +--------- the migration has ended ----------- FINAL
 *
 * All transitions are made with the BQL held.  On the way to HELD the vCPUs are
 * waited for without it: that is BEGINNING, and who cancels or stops the guest
 * then gets his way as soon as it is HELD.  Only in HELD is the guest given
 * back by what is here; from COMPLETING on, migration.c does it when it fails.
 * In FINAL a cancel is refused: the destination may run the guest as soon as
 * it has got the last byte, and does not ask.
 *
 * The migration thread may be blocked in a write while the link is dead.  So a
 * timer of the main loop watches the stop, and the throttle.
 *
 * Everything needs the BQL, except what is said to be for the migration
 * thread, which must not hold it there.
 */

#ifndef MIGRATION_AUTO_CONVERGE_CONTROL_H
#define MIGRATION_AUTO_CONVERGE_CONTROL_H

#include "migration/auto-converge.h"
#include "migration/cpu-throttle-actuator.h"
#include "qapi/qapi-types-migration.h"
#include "qapi/qapi-types-run-state.h"

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
 * Pages in the dirty log, which are those that became dirty since it was last
 * cleared: by a sync, as far as the log is QEMU's, as under TCG.  A few ms for
 * a terabyte; nothing is cleared.
 */
uint64_t auto_converge_control_count_dirty(void);

/* A window is longer than this, ms, unless it is looked at. */
int64_t auto_converge_control_window_min_ms(void);

/*
 * A window has ended; what there is beside RAM is filled in, and what was of
 * zero pages, of which @zero_bytes were sent since the migration began.  Those
 * that are not of a running guest, in the iteration of a migration, do not
 * count.
 */
void auto_converge_control_window(AutoConvergeSample *sample,
                                  uint64_t zero_bytes);

/* The migration parameters may have changed. */
void auto_converge_control_reload(void);

/* For auto-converge-stop.c: no throttle without progress; how a stop ended. */
void auto_converge_control_lease_up(void);
void auto_converge_control_stop_ended(AutoConvergeReason reason,
                                      int64_t stopped_ms);
/* ... and what a stop that has just begun has to copy; false: too long. */
bool auto_converge_control_stop_fits(uint64_t bytes);

/* Is the guest to be stopped, as far as the law is concerned? */
bool auto_converge_control_stop_wanted(void);

/*
 * Was it found since the last call that the rest fits into the downtime limit?
 * That is true of the moment in which a window ends, and told once.
 */
bool auto_converge_control_take_fits(void);

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

/* The watch over throttle and stop, from the start of a migration to its end */
void auto_converge_stop_watch(void);
void auto_converge_stop_reset(void);

/*
 * For the migration thread, before each iteration, in which @pending_bytes are
 * pending: stops the guest if it is time to, and if it @may_switch.
 */
void auto_converge_stop_step(uint64_t pending_bytes, bool may_switch);

/*
 * For the migration thread: true when this much is worth another iteration.
 * During a stop that is all that iterations can send, because the completion
 * holds the BQL; else what exceeds the threshold of the migration, which is in
 * bytes on the wire, and does not fit by the law's account, which is in pages.
 */
bool auto_converge_stop_iterates(uint64_t pending_bytes);

/* Does a stop hold the guest?  Then its pass is the last. */
bool auto_converge_stop_is_held(void);

/*
 * The guest is being stopped for the switchover.  True, with the result in
 * @ret, when a stop has done that already; from now on the completion is in
 * charge of the guest.
 */
bool auto_converge_stop_hand_over(int *ret);

/* The last bytes are about to be sent. */
void auto_converge_stop_set_final(void);

/* True, with an error, when a cancel comes too late. */
bool auto_converge_stop_is_final(Error **errp);

/* The migration was cancelled, or the stop is unwanted: the guest runs on. */
void auto_converge_stop_give_back(void);

/* The user stops the guest: it stays paused, whatever becomes of the stop. */
void auto_converge_stop_yield(void);

/*
 * migration.c, for auto-converge-stop.c: stop the guest and remember how it
 * was; forget that; what is pending, after a sync.
 */
int migration_stop_vm(MigrationState *s, RunState state);
void migration_forget_stop(MigrationState *s);
uint64_t migration_pending_exact(MigrationState *s);

/* What query-migrate shows; NULL when the migration has no auto-converge. */
AutoConvergeInfo *auto_converge_query(void);

/* Sends the event MIGRATION_AUTO_CONVERGE with the same contents, if wanted. */
void auto_converge_send_event(void);

/* HMP "info migrate": prints the same. */
void auto_converge_print_info(Monitor *mon, const AutoConvergeInfo *info);

/* Of cpu-throttle-fallback-downtime, ms; the maximum is downtime-limit's. */
#define CPU_THROTTLE_FALLBACK_DOWNTIME_MAX_MS 2000000
#define CPU_THROTTLE_FALLBACK_DOWNTIME_DEFAULT_MS 30000

/* Of cpu-throttle-deadline, s: a month, more or less */
#define CPU_THROTTLE_DEADLINE_MAX_S 2000000

/* The parameters of our own, as migration.c does it for its others. */
void auto_converge_params_init(CpuThrottleFallbackParameters *params);
bool auto_converge_params_check(const CpuThrottleFallbackParameters *params,
                                Error **errp);
/* ... and whether a migration can start with what they are now */
bool auto_converge_params_check_start(Error **errp);
void auto_converge_params_apply(CpuThrottleFallbackParameters *to,
                                const CpuThrottleFallbackParameters *from);

/* HMP "info migrate_parameters". */
void auto_converge_print_params(Monitor *mon,
                                const CpuThrottleFallbackParameters *params);

/*
 * "migrate -t": turns auto-converge on with the throttle parameters in
 * @pairs, "name=value[,name=value...]", for the next migration.  On error
 * nothing is changed.
 */
bool auto_converge_borrow_params(const char *pairs, Error **errp);

/* The migration has ended, or did not start: undo the above. */
void auto_converge_return_params(void);

#endif /* MIGRATION_AUTO_CONVERGE_CONTROL_H */
