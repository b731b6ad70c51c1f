/*
 * Whole simulated migrations: the controllers, the oracle, the account
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AC_RUN_H
#define AC_RUN_H

#include "migration/auto-converge.h"
#include "ac-plant.h"

typedef enum AcKind {
    AC_KIND_NONE,     /* never throttles: does it converge unaided? */
    AC_KIND_CONSTANT, /* one throttle after the bulk pass, as the oracle's */
    AC_KIND_COUNTER,  /* QEMU 7.2 .. 10.2 */
    AC_KIND_TAILSLOW, /* the same with cpu-throttle-tailslow */
    AC_KIND_ADAPTIVE, /* the policy */
    AC_KIND__MAX,
} AcKind;

typedef enum AcOutcome {
    AC_OUTCOME_CONVERGED, /* what was left fitted into the downtime limit */
    AC_OUTCOME_STOPPED,   /* by the fallback */
    AC_OUTCOME_ENDLESS,   /* cut off after AC_WINDOWS_MAX windows */
} AcOutcome;

#define AC_WINDOWS_MAX 400

typedef struct AcResult {
    AcOutcome outcome;
    double bulk_s;
    double after_bulk_s;
    double lost_s;          /* guest work lost, the final stop included */
    double downtime_s;
    double predicted_downtime_s; /* by the last decision; adaptive only */
    unsigned windows;       /* after the bulk pass */
    unsigned throttle_max_permille;
    double longest_sleep_s; /* in one piece, by the actuator */
} AcResult;

/* One window as the controller saw it and what it decided. */
typedef struct AcTrace {
    unsigned window;
    double now_s;
    AutoConvergeSample sample;
    AutoConvergeDecision decision; /* the counter fills in the throttle only */
} AcTrace;

typedef void AcTraceFunc(const AcTrace *trace, void *opaque);

typedef struct AcRun {
    AcKind kind;
    unsigned constant_permille;
    double give_up_lost_s; /* endless when more work is lost; 0: no such end */
    AcTraceFunc *trace;
    void *opaque;
} AcRun;

AcResult ac_run(const AcRun *run, const AutoConvergeConfig *config,
                const AcGuest *guest, const AcLink *link);

/* Stops right after the bulk pass. */
AcResult ac_run_stop(const AutoConvergeConfig *config, const AcGuest *guest,
                     const AcLink *link);

/*
 * Knows the guest, tries every allowed throttle and takes the one that costs
 * the least work; when none converges it stops right after the bulk pass.
 */
AcResult ac_run_oracle(const AutoConvergeConfig *config, const AcGuest *guest,
                       const AcLink *link);

const char *ac_kind_name(AcKind kind);
const char *ac_outcome_name(AcOutcome outcome);

#endif /* AC_RUN_H */
