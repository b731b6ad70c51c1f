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
 *         -> cpu_throttle_adapt(sample)          the throttle obeys
 *             -> auto_converge_control_step()    the law decides
 *     migration_iteration_run()
 *         -> auto_converge_switchover_wanted()
 *
 * Everything needs the BQL, except auto_converge_switchover_wanted(), which
 * is for the migration thread; an answer from just before the decision costs it
 * one more iteration.
 */

#ifndef MIGRATION_AUTO_CONVERGE_CONTROL_H
#define MIGRATION_AUTO_CONVERGE_CONTROL_H

#include "migration/auto-converge.h"
#include "migration/cpu-throttle-actuator.h"
#include "qapi/qapi-types-migration.h"

/* All there is to know about the running migration, or the last one. */
typedef struct AutoConvergeControl {
    bool enabled;              /* the migration has auto-converge */
    int64_t started_ms;        /* when, by QEMU_CLOCK_REALTIME */
    AutoConvergeConfig config; /* as of the last window */
    AutoConvergeState state;
    unsigned highest_permille; /* the highest throttle decided */
    uint64_t windows;          /* number of windows measured */
} AutoConvergeControl;

const AutoConvergeControl *auto_converge_control(void);

/* A migration starts: forget the one before. */
void auto_converge_control_start(void);

/* A window starts: the guest run time of the sample counts from here. */
void auto_converge_control_restart_window(void);

/* CPU time of the busiest vCPU since the last window, ns; starts the next. */
uint64_t auto_converge_control_guest_run_ns(uint64_t elapsed_ns);

/*
 * One window has ended.  Returns the throttle to obey, in permille; *@news
 * says whether management ought to hear of it.
 */
unsigned auto_converge_control_step(const AutoConvergeSample *sample,
                                    bool *news);

/* The guest must be stopped and the rest copied now. */
bool auto_converge_switchover_wanted(void);

/* What query-migrate shows; NULL when the migration has no auto-converge. */
AutoConvergeInfo *auto_converge_query(void);

/* Sends the event MIGRATION_AUTO_CONVERGE with the same contents. */
void auto_converge_send_event(void);

/* HMP "info migrate": prints the same. */
void auto_converge_print_info(Monitor *mon, const AutoConvergeInfo *info);

/* Of cpu-throttle-fallback-downtime, ms; the maximum is downtime-limit's. */
#define CPU_THROTTLE_FALLBACK_DOWNTIME_MAX_MS 2000000
#define CPU_THROTTLE_FALLBACK_DOWNTIME_DEFAULT_MS 30000

/* The parameters of our own, as migration.c does it for its others. */
void auto_converge_params_init(CpuThrottleFallbackParameters *params);
bool auto_converge_params_check(const CpuThrottleFallbackParameters *params,
                                Error **errp);
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
