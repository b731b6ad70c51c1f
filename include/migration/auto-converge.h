/*
 * Adaptive auto-converge: the policy
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The problem
 * -----------
 * Pre-copy migration sends guest RAM in passes.  A pass sends what is dirty,
 * and while it runs the guest dirties memory again.  It ends when what is
 * left can be sent within the downtime limit; it never ends when each pass
 * leaves as much as the one before.  The only handle is the time for which
 * the vCPUs may execute.
 *
 * One window (a pass, or several short ones that together take at least a
 * second) gives one sample:
 *
 *     T  elapsed time               S  guest bytes drained; of the bulk pass
 *     w  guest run time                without its zero pages
 *     U  bytes newly dirtied        R  bytes left after the sync
 *                                   B = S / T, the drain rate
 *
 * Terms
 * -----
 *     bulk pass   the first one: all of RAM
 *     run share   the part of the time in which the vCPUs may execute; what is
 *                 missing to 1 is the throttle
 *     sync        QEMU collects what has become dirty; a pass ends with one
 *     look        a sync within a pass: a sample of a part of it
 *     stop        the vCPUs are stopped, and all that is left is copied; it
 *                 takes R / B, and the guest loses as much
 *     ceiling     max-cpu-throttle
 *     fallback    what is done when the ceiling does not help: a stop, or
 *                 post-copy; or, where that is not allowed, the guest is let go
 *     attempt     from the first throttle to that
 *     lease       the time for which a throttle holds while nothing is sent
 *     law         the formulas of this comment
 *     policy      the code that applies them
 *
 * The law
 * -------
 *     ratio = U / S        below 1 the passes shrink
 *
 * U counts each page once, so as a function of w it is concave and passes
 * through the origin.  The next pass takes R / B and ought to leave no more
 * than target x R.  With the run share x the guest executes at most x R / B
 * in it; the needed run share is the largest x that leaves that little:
 *
 *     U(x R / B) <= target x R
 *
 * One measured point (w, U) bounds that curve from below by its secant.  Two
 * points with different w give its local exponent
 *
 *     a = ln(U2 / U1) / ln(w2 / w1)
 *
 * which is 1 where dirtying is proportional to run time and 0 where a hot set
 * is saturated.  Kept within the trust region [0.25, 1], it continues the
 * curve downwards as U ~ w^a; upwards the secant is used, which a concave
 * curve never exceeds.  Short passes that share a window are told apart by
 * S / R, so that the point is that of one pass.
 *
 * A window is bad when ratio > threshold, or > 8/9, and R does not fit into the
 * downtime limit.  target = threshold / 2.  Where the user says at
 * which rate the rest is copied once the guest is stopped, that rate stands for
 * B wherever the length of a stop is meant: in the downtime limit, the bound,
 * the prediction.
 *
 * QEMU by itself completes when R is below what the wire carries within the
 * downtime limit.  Where pages cost less than that on the wire (xbzrle,
 * compression), R may fit and QEMU wait for ever.  So R that fits is a reason
 * to complete; but not after the bulk pass, where B is that of zero pages and
 * of pages that were never sent before.
 *
 *     bad, unthrottled    nothing, as long as waiting may help; else the run
 *                         share falls to the needed one in one step, to
 *                         1 - initial at most
 *     bad, throttled      it falls to the needed one, by increment at least
 *     bad, at the ceiling nothing, when R fits within 1.5 such windows, or a
 *                         stop that would be too long does within 4; else
 *                         the fallback: post-copy; or stop and copy, unless
 *                         R / B exceeds its bound; else let the guest go
 *     good, throttled     it rises by target / ratio, at most by 2
 *
 * Before a throttle begins, the guest is looked at while it still runs freely:
 * what is dirty 1/16 s after the sync, 1/8 s, and so on, are points of the
 * curve for run times as short as those that a throttle allows.  That ends when
 * 0.6 R is dirty, or a fifth of the pass is over.  The needed run share is then
 * read off the curve; between two points U is a power of w.  Where even at the
 * ceiling the passes to come would cost more than 1.5 stops, or would not end,
 * the fallback comes at once.  And a guest that is calm by then is left alone.
 *
 * Every second of a throttle that does not help is lost.  So the window of a
 * throttled guest is looked at before it is over, each time that a fifth of it
 * was drained; at the ceiling, where there is a fallback.  The longer ago a
 * page was sent, the likelier it is dirty again: the ratio so far is the least
 * that the whole window can have, and what does not help by then will not.
 * Looks that say nothing add up to the window.
 *
 * What a stop has to copy is R and what is pending beside RAM, so wherever the
 * length of a stop is meant, R is the sum of both.
 *
 * To wait costs time, and no work.  So an unthrottled guest is left alone
 *
 *     while R sinks fast enough to fit within 8 such windows, if all the
 *     waiting takes no longer than 3 bulk passes, that for a link not counted;
 *     when the link had more than 4/3 of its rate before, at which R would have
 *     shrunk, for a minute or as long as the bulk pass;
 *     when it executes 1.5 times the mean since the start, for as long as the
 *     bulk pass: that is a burst;
 *     after one bad window, unless that is the bulk pass, until there is a
 *     second one; and then for a look.
 *
 * With a deadline these do not count.  It is left alone while there is time for
 * one more such window, one at the ceiling, and then a stop; and it is stopped,
 * throttled or not, when after one more window a stop would be too late.  A
 * window dirties no more than the one before, or in proportion where it is
 * longer.  A deadline that a stop cannot meet only ends the waiting.
 *
 * A throttle that was shown not to help only costs the guest.  So it is let
 * go, and held again only with a reason: a parameter changed; the guest
 * dirties clearly less; or a wait is over, which is longer than the attempt
 * was and doubles with each.  After a stated number of attempts only a
 * parameter or a calm guest helps, so that what they cost is bounded.  A stop
 * needs no throttle: it is made as soon as R / B falls below the bound.
 *
 * From which follow, and are tested:
 *
 *   - U(f w) <= f U(w) for f > 1, so a release by f = target / ratio leaves
 *     the ratio at or below target as long as R stays: no limit cycle;
 *   - where a = 1 the run share is never below the needed one, except for
 *     initial and increment;
 *   - once throttled, bad windows reach the ceiling no later than adding
 *     increment would, and the verdict falls one window after that;
 *   - the throttle is at most max-cpu-throttle after any decision.
 *
 * The phases
 * ----------
 *
 *            ratio bad, and it will not end by itself
 *     WATCH ------------------------------------------> THROTTLE <--+
 *      ^ ^  ^                                            |  |       | needs
 *      | |  +---------------- calm again ----------------+  |       | less
 *      | |                                                  v       |
 *      | +------------------- calm again --------------- CEILING ---+
 *      |                                                  ^ |  |
 *      |   the wait is over, or the guest dirties less    | |  | a whole
 *      |  +-----------------------------------------------+ |  | window did
 *      |  |  no stop is allowed, or it was ended            |  | not help
 *     LET GO <----------------------------------------------+  |
 *         |  ^                                                 v
 *         |  +--------------------------------------------- FALLBACK
 *         +--------- R / B is within the bound -------------^
 *
 * WATCH leaves the guest alone.  THROTTLE jumps to the needed run share in
 * one step and follows it: down at once, up by at most a factor of two per
 * window.  CEILING holds max-cpu-throttle for one whole window, or until a look
 * at it says that it does not help.  FALLBACK stops the vCPUs and copies the
 * rest, or starts post-copy; it is final unless the stop is ended.  Where that
 * has not begun when a window ends, or the lease of a throttle, there is no
 * throttle until it does.  LET GO leaves the guest alone after all that was
 * allowed has not helped.
 *
 * Three things happen between two windows.  A parameter changes: what it
 * forbids ends at once, what it allows begins at once.  Nothing is sent any
 * more, and the throttle's lease is up: the guest is let go until the next
 * window, which takes the throttle up again.  A stop ends without a result,
 * because it outlasts its bound or the link is dead.
 *
 * Everything here is a function of its arguments.  There is no clock, no
 * lock, no allocation and no global.
 */

#ifndef MIGRATION_AUTO_CONVERGE_H
#define MIGRATION_AUTO_CONVERGE_H

/* AutoConvergePhase and AutoConvergeReason, with what each of them means */
#include "qapi/qapi-types-auto-converge-policy.h"

/* What happens when the highest allowed throttle does not help. */
typedef enum AutoConvergeFallback {
    AUTO_CONVERGE_FALLBACK_NONE,          /* let the guest go */
    AUTO_CONVERGE_FALLBACK_STOP_AND_COPY, /* switch over, whatever is left */
    AUTO_CONVERGE_FALLBACK_POST_COPY,     /* start post-copy */
} AutoConvergeFallback;

/*
 * The parameters, with the meaning of the migration parameters of the same
 * name.  They may change from one window to the next.  Values outside of the
 * stated ranges are clamped to them.
 */
typedef struct AutoConvergeConfig {
    unsigned trigger_threshold_pct;  /* a window is bad above it, 1..100 */
    unsigned throttle_initial_pct;   /* least throttle on engaging, 1..99 */
    unsigned throttle_increment_pct; /* least raise when bad, 1..99 */
    unsigned throttle_max_pct;       /* the ceiling, 1..99 */
    AutoConvergeFallback fallback;
    uint64_t fallback_downtime_ms;  /* longest stop of the fallback, 0: any */
    uint64_t downtime_limit_ms;     /* longest stop of an ordinary switchover */
    uint64_t switchover_bps;        /* rate of a stop, where known; 0: B */
    uint64_t deadline_s;            /* for the end, since the start; 0: none */
    bool looks;             /* a pass can be looked at before it is throttled */
} AutoConvergeConfig;

/* What was executed since the last sync, and what became dirty by that */
typedef struct AutoConvergeCount {
    uint64_t guest_run_ns;
    uint64_t dirty_bytes;
} AutoConvergeCount;

/* The first 1/16 s after the sync, then each time that the time has doubled */
#define AUTO_CONVERGE_COUNT_FIRST_MS 63
#define AUTO_CONVERGE_COUNTS_MAX 8

/* One window, as measured.  Any values are allowed; see _REASON_REJECTED. */
typedef struct AutoConvergeSample {
    uint64_t since_start_ns;  /* of the migration, at the window's end */
    uint64_t elapsed_ns;      /* T: wall clock */
    uint64_t guest_run_ns;    /* w: executed by the busiest vCPU */
    uint64_t dirty_bytes;     /* U: pages that became dirty x page size */
    uint64_t drained_bytes;   /* S: pages that ceased to be dirty x page size */
    uint64_t remaining_bytes; /* R: pages dirty at the end x page size */
    uint64_t other_bytes;     /* pending at the end, and not RAM */
    uint64_t zero_bytes;      /* of S, those of zero pages */
    bool partial;             /* a look: the pass was not over yet */
    unsigned count;           /* of what follows; of a look only */
    AutoConvergeCount counts[AUTO_CONVERGE_COUNTS_MAX];
} AutoConvergeSample;

#define AUTO_CONVERGE_NEVER UINT64_MAX

typedef struct AutoConvergeDecision {
    AutoConvergePhase phase;
    AutoConvergeReason reason;
    unsigned throttle_permille;    /* 0: run freely; 990: run 1 % of the time */
    bool complete;                 /* the rest fits: switch over as usual */
    bool switchover;               /* stop the guest and complete now */
    bool post_copy;                /* start post-copy now */
    uint64_t dirty_rate_bps;       /* U / T, bytes per second */
    uint64_t transfer_rate_bps;    /* S / T, bytes per second */
    unsigned look_ms;              /* look at the next pass then; 0: do not */
    uint64_t look_bytes;           /* or when as much became dirty; 0: do not */
    uint64_t predicted_downtime_ms; /* a stop made now, R / B; or _NEVER */
    uint64_t predicted_time_ms;    /* until completion, or _NEVER */
    uint64_t predicted_loss_ms;    /* what that costs the guest, or _NEVER */
} AutoConvergeDecision;

/* A pass with so much run time w dirties that much, U. */
typedef struct AutoConvergePoint {
    double run_s;
    double dirty_bytes;
} AutoConvergePoint;

/*
 * What is remembered from window to window.  The members are private to
 * auto-converge.c.
 */
typedef struct AutoConvergeState {
    AutoConvergeDecision last;
    AutoConvergeConfig config; /* as of the last window or change */
    bool has_point;           /* the bulk pass is over */
    double remaining_bytes;   /* R at the end of the window before */
    double point_run_s;       /* w and U of one of its passes */
    double point_dirty_bytes;
    double exponent;          /* a: the curve is continued as U ~ w^a */
    AutoConvergePoint curve[AUTO_CONVERGE_COUNTS_MAX + 1];
    unsigned curve_points;    /* of a look since the last window */
    double stop_bytes;        /* what a stop made now would have to copy */
    double drain_bps;         /* B of the last window; 0: none yet */
    double link_bps;          /* ... without zero pages */
    unsigned leased_permille; /* in force when the lease was up; 0: it is not */
    unsigned attempts;        /* without success, since a parameter changed */
    double attempt_s;         /* how long this one takes, or the last took */
    double let_go_s;          /* since the guest was let go */
    double wait_s;            /* of these until the next attempt */
    bool stop_barred;         /* a stop was ended: none before the wait is up */
    double peak_ratio;        /* the highest while let go */
    double peak_dirty_bytes;
    double bulk_s;            /* the bulk pass, had no page been zero */
    double free_s;            /* in WATCH so far, the bulk pass included */
    double free_run_s;        /* and what the guest executed in it */
    double burst_s;           /* of both, what was waited for a burst */
    double burst_run_s;
    double slow_s;            /* of that, with a slow link, without a break */
    double waited_s;          /* in all for a slow link */
    double fastest_bps;       /* the highest B so far, without zero pages */
    unsigned bad_windows;     /* in WATCH, in a row */
    bool looks;               /* a look is wanted before a throttle begins */
    bool looked;              /* ... or was, since the guest was calm */
    AutoConvergeSample so_far; /* the sum of the looks at this pass */
} AutoConvergeState;

/* Start of a migration: WATCH, unthrottled, nothing measured. */
void auto_converge_init(AutoConvergeState *state);

/*
 * Take one window into account.  Never fails: a sample that makes no sense
 * leaves phase and throttle as they are, with the reason REJECTED.
 */
AutoConvergeDecision auto_converge_update(AutoConvergeState *state,
                                          const AutoConvergeConfig *config,
                                          const AutoConvergeSample *sample);

/*
 * The parameters are @config now: what it forbids ends, what it allows after a
 * ceiling that did not help begins.  After a stop that was ended only what is
 * about stops allows another.  For between two windows.
 */
AutoConvergeDecision
auto_converge_reconfigure(AutoConvergeState *state,
                          const AutoConvergeConfig *config);

/*
 * What is sent from now on is sent at another rate, for a reason that is not
 * the guest's: the window begins anew, with @remaining_bytes left.
 */
AutoConvergeDecision
auto_converge_restart_window(AutoConvergeState *state,
                             const AutoConvergeConfig *config,
                             uint64_t remaining_bytes);

/* Nothing was sent for as long as a throttle may last without a window. */
AutoConvergeDecision auto_converge_lease_up(AutoConvergeState *state);

/*
 * The stop was ended after @stopped_ns, and the guest runs again: @reason is
 * OUTLASTED, STALLED, or TOO_LONG, when more was left than had been predicted.
 */
AutoConvergeDecision auto_converge_stop_ended(AutoConvergeState *state,
                                              AutoConvergeReason reason,
                                              uint64_t stopped_ns);

/* How long does a stop take that has @bytes to copy?  ms, or _NEVER. */
uint64_t auto_converge_stop_length_ms(const AutoConvergeState *state,
                                      const AutoConvergeConfig *config,
                                      uint64_t bytes);

#endif /* MIGRATION_AUTO_CONVERGE_H */
