/*
 * Adaptive auto-converge: what a throttle can wait for
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-internal.h"

/*
 * Patience takes no longer, in all, than so many bulk passes: as long as
 * a guest takes that dirties 0.7 times what is sent, whatever it writes to.
 * With 1 the worst off loses 2.3 times what it loses under the counter; with
 * no such end it may take 2.3 times as long, with this 1.7 times.
 * Breaks: /auto-converge/law/patience-is-short,
 *         /auto-converge/migration/calm-untouched
 */
#define PATIENCE_BULKS 3.0

/*
 * So many bad windows begin a throttle, in a row as long as waiting is allowed:
 * one may be a burst, or a link that fell for a moment.  With 1, 2, 3 and
 * 6, 128, 101, 93 and 64 of 1740 periodic guests that converge unaided are
 * throttled; and the median guest that needs it takes 0.13, 0.19, 0.25 and 0.42
 * times as long as under the counter.
 * Breaks: /auto-converge/law/confirmed
 */
#define BAD_WINDOWS 2

/*
 * A guest that executes so many times what it did on the average before has a
 * burst, and it may be over before the throttle would have helped.  With 2, 141
 * of the 1740 are throttled, with 1.2 100, but the load of guests differs by
 * that much without being a burst.
 * Breaks: /auto-converge/law/burst
 */
#define BURST 1.5

/*
 * The link is slow while it carries less than this part of the most that it
 * did.  Jitter alone is taken for it with more.
 * Breaks: /auto-converge/law/slow-link
 */
#define SLOW_LINK 0.75

/*
 * What has not become faster for so long, or for as long as the bulk pass took,
 * is how the link is.  With half of it 37 of 1296 calm guests that suffer a
 * brown-out are throttled, with this none.
 * Breaks: /auto-converge/law/slow-link
 */
#define SLOW_LINK_S 60.0

/*
 * A link that falls again and again is waited for no longer, in all, than so
 * many times the longer of these.
 * Breaks: /auto-converge/law/slow-link-again
 */
#define SLOW_LINK_WAITS 3.0

/*
 * But no longer than the former with less than so many downtime limits left:
 * then it may be that the link idles while short passes are looked for.
 * Breaks: /auto-converge/migration/ends
 */
#define SLOW_LINK_LEFT 2.0

/*
 * With a deadline, a throttle begins when the time left is for so many times
 * what a stop then takes: a window at the ceiling, in case that does not help,
 * and the stop.
 * Breaks: /auto-converge/law/deadline
 */
#define DEADLINE_STOPS 2.0

/*
 * Short passes are gathered until so much time has passed.
 * Breaks: /auto-converge/law/deadline-short-pass
 */
#define WINDOW_MIN_S 1.0

/*
 * Where a stop would be too long, the ceiling is held while, at its pace, what
 * is left falls below the bound after so many more windows.  With less, guests
 * that would end are let go; with more, those that cannot converge lose more.
 * Breaks: /auto-converge/ceiling/bound-soon
 */
#define BOUND_PATIENCE_WINDOWS 4.0

bool ac_ends_soon(const Window *win, const Limits *lim,
                  double patience_windows)
{
    return win->stop_bytes - win->stop_bps * lim->downtime_s <=
           patience_windows * win->sunk_bytes;
}

bool ac_stop_fits_soon(const Window *win, const Limits *lim)
{
    return lim->fallback == AUTO_CONVERGE_FALLBACK_STOP_AND_COPY &&
           lim->fallback_downtime_s > 0 &&
           win->stop_bytes > win->stop_bps * lim->fallback_downtime_s &&
           win->stop_bytes - win->stop_bps * lim->fallback_downtime_s <=
           BOUND_PATIENCE_WINDOWS * win->sunk_bytes;
}

/*
 * Is it the link that fell, and not the guest that became busy?  In a pass at
 * the best rate that the link had, less would have been dirtied: not more than
 * in proportion, as long as U is a straight line, and that is what counts for
 * a guest that would converge then.  That is waited for the longer the clearer
 * it is.
 */
static bool link_is_slow(const AutoConvergeState *state, const Window *win,
                         const Limits *lim)
{
    double fits_bytes = state->fastest_bps * lim->downtime_s;
    double dirty_bps = win->ratio * win->link_bps;
    bool clear = win->remaining_bytes > SLOW_LINK_LEFT * fits_bytes &&
                 dirty_bps <= lim->threshold_ratio * state->fastest_bps;

    return dirty_bps <= THRESHOLD_RATIO_MAX * state->fastest_bps &&
           win->link_bps < SLOW_LINK * state->fastest_bps &&
           state->waited_s <
           SLOW_LINK_WAITS * fmax(state->bulk_s, SLOW_LINK_S) &&
           state->slow_s < fmax(clear ? state->bulk_s : 0, SLOW_LINK_S);
}

/* How long will it take, at its pace? */
static double time_left_s(const Window *win)
{
    return win->ratio < 1 ?
           win->remaining_bytes / win->drain_bps / (1 - win->ratio) : INFINITY;
}

/* Will it have ended by itself, at its pace, before waiting is too much? */
static bool may_be_patient(const AutoConvergeState *state, const Window *win,
                           const Limits *lim)
{
    return ac_ends_soon(win, lim, PATIENCE_WINDOWS) &&
           state->free_s - state->waited_s + time_left_s(win) <=
           (1 + PATIENCE_BULKS) * state->bulk_s;
}

/*
 * If nothing is done for one more window, and then there is a stop, or @stops
 * times as much to do: by when?  As U is concave, the window leaves no more
 * than this one did, or in proportion where it is longer.
 */
static double after_window_s(const Window *win, double stops)
{
    double pass_s = win->remaining_bytes / win->drain_bps;
    double window_s = pass_s < WINDOW_MIN_S ? WINDOW_MIN_S + pass_s : pass_s;

    return window_s +
           stops * ac_stop_length_s(win) * fmax(1, pass_s / win->pass_s);
}

/* Can the deadline still be met, if only by a stop? */
static bool deadline_is_real(const Window *win)
{
    return isfinite(win->left_s) && ac_stop_length_s(win) <= win->left_s;
}

bool ac_deadline_is_now(const Window *win)
{
    return deadline_is_real(win) && after_window_s(win, 1) > win->left_s;
}

/* Bad, and not throttled, with a deadline: is there time to look on? */
static bool deadline_is_far(const Window *win)
{
    return deadline_is_real(win) &&
           (time_left_s(win) <= win->left_s ||
            after_window_s(win, DEADLINE_STOPS) <= win->left_s);
}

bool ac_may_wait(const AutoConvergeState *state)
{
    return state->free_s < 2 * state->bulk_s;
}

/* Does it execute more than before, in what was no burst either? */
static bool is_burst(const AutoConvergeState *state, const Window *win,
                     double run_s)
{
    double before_s = state->free_s - state->burst_s - win->elapsed_s;
    double before_run_s = state->free_run_s - state->burst_run_s - run_s;

    return before_s > 0 && win->run_share * before_s > BURST * before_run_s;
}

AutoConvergeReason ac_reason_to_wait(AutoConvergeState *state,
                                     const Window *win, const Limits *lim)
{
    double run_s = win->run_share * win->elapsed_s;

    if (isfinite(win->left_s)) {
        return deadline_is_far(win) ? AUTO_CONVERGE_REASON_DEADLINE :
                                      AUTO_CONVERGE_REASON_ENGAGE;
    }
    if (link_is_slow(state, win, lim)) {
        state->slow_s += win->elapsed_s;
        state->waited_s += win->elapsed_s;
        return AUTO_CONVERGE_REASON_SLOW_LINK;
    }
    if (may_be_patient(state, win, lim)) {
        return AUTO_CONVERGE_REASON_PATIENCE;
    }
    if (is_burst(state, win, run_s) && ac_may_wait(state)) {
        state->burst_s += win->elapsed_s;
        state->burst_run_s += run_s;
        state->bad_windows = 0; /* the one in which it ends is bad, too */
        return AUTO_CONVERGE_REASON_BURST;
    }
    return ++state->bad_windows < BAD_WINDOWS && !win->bulk ?
           AUTO_CONVERGE_REASON_UNCONFIRMED : AUTO_CONVERGE_REASON_ENGAGE;
}
