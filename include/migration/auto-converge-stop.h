/*
 * Adaptive auto-converge: a stop that can be watched, and the lease
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
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

#ifndef MIGRATION_AUTO_CONVERGE_STOP_H
#define MIGRATION_AUTO_CONVERGE_STOP_H

#include "qapi/qapi-types-run-state.h"

/*
 * A migration starts: a timer of the main loop checks from now on whether
 * throttle and stop progress.  It has ended: no more.
 */
void auto_converge_stop_start_timer(void);
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

/*
 * The migration was cancelled, or the stop is unwanted: the guest runs on, and
 * is not throttled.  Not everything that blocks a migration's thread ends with
 * that: a pipe does not.
 */
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

#endif /* MIGRATION_AUTO_CONVERGE_STOP_H */
