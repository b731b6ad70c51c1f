/*
 * Adaptive auto-converge: from one phase to another
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One function for each transition of the figure in the header.
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-internal.h"

/*
 * Most that the run share grows per window.  One window may be an accident;
 * with 2 a wrong release costs at most one window of twice the ratio, and
 * from 1 % to all it takes seven.
 * Breaks: /auto-converge/law/release-at-most-doubles
 */
#define RELEASE_FACTOR_MAX 2.0

/*
 * A throttle that, by the curve of a look, costs more than so many stops is not
 * begun where a stop is allowed.  With 2 the guests of the grid lose 3 % more,
 * with 3 5 %; and a real one may lose half a stop before it is stopped, because
 * the first count comes when the migration thread does, 1/8 s after the sync.
 * Breaks: /auto-converge/law/first-look
 */
#define STOPS_MAX 1.5

/*
 * And one that takes more passes than this does not end.
 * Breaks: /auto-converge/law/first-look-passes
 */
#define PASSES_MAX 32

/*
 * The shortest wait between two attempts, and the wait in lengths of the
 * attempt that did not help: so the guest is held for at most a fifth of
 * the time, and less each time.  A minute is long against the pass of a small
 * guest, which may have an attempt over in five seconds.
 * Breaks: /auto-converge/let-go/waits, /auto-converge/stop/ended
 */
#define WAIT_MIN_S 60.0
#define WAIT_ATTEMPTS 4.0

/*
 * So often the ceiling is tried, or a stop that then is ended, until a
 * parameter changes.  The eighth attempt comes two hours after the first, at
 * the earliest; a guest that was as busy all that time will not change.
 * Breaks: /auto-converge/let-go/bounded
 */
#define ATTEMPTS_MAX 8

void ac_set_throttle(AutoConvergeDecision *next, const Limits *lim,
                     unsigned throttle_permille, AutoConvergeReason reason)
{
    next->reason = reason;
    next->throttle_permille = throttle_permille;
    if (throttle_permille >= lim->ceiling_permille) {
        next->throttle_permille = lim->ceiling_permille;
        next->phase = AUTO_CONVERGE_PHASE_CEILING;
    } else if (throttle_permille > 0) {
        next->phase = AUTO_CONVERGE_PHASE_THROTTLE;
    } else {
        next->phase = AUTO_CONVERGE_PHASE_WATCH;
    }
}

void ac_tighten(AutoConvergeState *state, AutoConvergeDecision *next,
                const Window *win, const Limits *lim,
                double run_share_max, AutoConvergeReason reason)
{
    double secant = ac_secant_run_share(win, lim);
    double needed = ac_needed_run_share(state, win, lim);

    if (fmin(secant, run_share_max) <= lim->ceiling_run_share) {
        reason = AUTO_CONVERGE_REASON_CEILING;
    } else if (needed <= lim->ceiling_run_share) {
        reason = AUTO_CONVERGE_REASON_FUTILE;
    }
    ac_set_throttle(next, lim, ac_throttle(fmin(needed, run_share_max)),
                    reason);
}

void ac_relax(AutoConvergeDecision *next, const Window *win,
              const Limits *lim)
{
    double run_share = ac_run_share(next->throttle_permille);
    double factor = RELEASE_FACTOR_MAX;
    unsigned throttle_permille;

    if (win->ratio > 0) {
        factor = ac_clamp(lim->target_ratio / win->ratio, 1,
                          RELEASE_FACTOR_MAX);
    }
    throttle_permille = ac_throttle(run_share * factor);
    ac_set_throttle(next, lim, throttle_permille,
                    throttle_permille == 0 ? AUTO_CONVERGE_REASON_CALM :
                    throttle_permille < next->throttle_permille ?
                    AUTO_CONVERGE_REASON_RELEASE : AUTO_CONVERGE_REASON_HOLD);
}

void ac_let_go(AutoConvergeState *state, AutoConvergeDecision *next,
               AutoConvergeReason reason)
{
    double wait_s = fmax(WAIT_MIN_S, WAIT_ATTEMPTS * state->attempt_s);

    next->phase = AUTO_CONVERGE_PHASE_LET_GO;
    next->reason = reason;
    next->throttle_permille = 0;
    next->switchover = false;
    next->post_copy = false;
    state->wait_s = ldexp(wait_s, state->attempts);
    state->attempts = fmin(state->attempts + 1, ATTEMPTS_MAX);
    state->attempt_s = 0;
    state->let_go_s = 0;
    state->peak_ratio = 0;
    state->peak_dirty_bytes = 0;
    state->leased_permille = 0;
}

bool ac_may_stop(const AutoConvergeState *state, const Limits *lim)
{
    return lim->fallback == AUTO_CONVERGE_FALLBACK_STOP_AND_COPY &&
           !state->stop_barred &&
           (lim->fallback_downtime_s <= 0 ||
            state->stop_bytes <= ac_stop_bps(lim, state->link_bps) *
                                 lim->fallback_downtime_s);
}

void ac_fall_back(AutoConvergeDecision *next, const Limits *lim)
{
    next->phase = AUTO_CONVERGE_PHASE_FALLBACK;
    next->throttle_permille = MIN(next->throttle_permille,
                                  lim->ceiling_permille);
    next->post_copy = lim->fallback == AUTO_CONVERGE_FALLBACK_POST_COPY;
    next->switchover = !next->post_copy;
    next->reason = next->post_copy ? AUTO_CONVERGE_REASON_POST_COPY :
                                     AUTO_CONVERGE_REASON_STOP_AND_COPY;
}

bool ac_can_fall_back(const AutoConvergeState *state, const Limits *lim)
{
    return lim->fallback == AUTO_CONVERGE_FALLBACK_POST_COPY ||
           ac_may_stop(state, lim);
}

void ac_give_up(AutoConvergeState *state, AutoConvergeDecision *next,
                const Limits *lim)
{
    if (ac_can_fall_back(state, lim)) {
        ac_fall_back(next, lim);
    } else {
        ac_let_go(state, next, lim->fallback == AUTO_CONVERGE_FALLBACK_NONE ?
                               AUTO_CONVERGE_REASON_NO_FALLBACK :
                               state->stop_barred ?
                               AUTO_CONVERGE_REASON_OUTLASTED :
                               AUTO_CONVERGE_REASON_TOO_LONG);
    }
}

/*
 * What does the guest lose when it runs @run_share until the rest fits, in
 * stops made now?  Each pass is as long as what the one before left.  A run
 * time below the shortest that was looked at was not measured: what is dirtied
 * in it is taken to be in proportion, which is the least that it can be.
 */
static double price_stops(const AutoConvergeState *state, const Window *win,
                          const Limits *lim, double run_share)
{
    const AutoConvergePoint *first = &state->curve[0];
    double bytes = win->remaining_bytes, sent_bytes = 0, run_s;
    unsigned i;

    for (i = 0; i < PASSES_MAX; i++) {
        if (bytes <= win->stop_bps * lim->downtime_s) {
            return ((1 - run_share) * sent_bytes + bytes) /
                   win->remaining_bytes;
        }
        sent_bytes += bytes;
        run_s = run_share * bytes / win->drain_bps;
        bytes = run_s < first->run_s ?
                first->dirty_bytes * run_s / first->run_s :
                ac_curve_dirty(state, run_s);
    }
    return INFINITY;
}

bool ac_may_try_again(const AutoConvergeState *state)
{
    return state->attempts < ATTEMPTS_MAX;
}

void ac_engage(AutoConvergeState *state, AutoConvergeDecision *next,
               const Window *win, const Limits *lim)
{
    if (!ac_may_try_again(state)) {
        ac_give_up(state, next, lim);
    } else if (state->curve_points > 0 && ac_can_fall_back(state, lim) &&
               price_stops(state, win, lim, lim->ceiling_run_share) >
               STOPS_MAX) {
        ac_fall_back(next, lim);
    } else {
        ac_tighten(state, next, win, lim, lim->initial_run_share,
                   AUTO_CONVERGE_REASON_ENGAGE);
    }
}

bool ac_meet_deadline(const AutoConvergeState *state,
                      AutoConvergeDecision *next, const Window *win,
                      const Limits *lim)
{
    if (!ac_deadline_is_now(win) || !ac_can_fall_back(state, lim)) {
        return false;
    }
    ac_fall_back(next, lim);
    next->reason = AUTO_CONVERGE_REASON_DEADLINE;
    return true;
}
