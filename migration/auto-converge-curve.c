/*
 * Adaptive auto-converge: what a run time dirties
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * U(w) by two windows, or by a look at one pass; and which run share follows
 * from it.
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-internal.h"

/*
 * Trust region of the local exponent.  Above 1 the curve would not be concave.
 * Below this, two points on a saturated curve would ask for a run share of
 * nothing at the least noise.  0.25 lets one saturated window cut the run time
 * by 4^4 = 256, enough to reach a ceiling of 99 % in one step.
 * Breaks: /auto-converge/law/saturated-goes-to-ceiling,
 *         /auto-converge/law/first-look
 */
#define EXPONENT_MIN 0.25
#define EXPONENT_MAX 1.0

/*
 * Two points tell the exponent only when their run times differ by this
 * factor; below it the noise of two samples is larger than the difference.
 * Breaks: /auto-converge/law/exponent-ignores-close-points
 */
#define POINTS_APART_FACTOR 1.25

void ac_learn_window(AutoConvergeState *state, const Window *win)
{
    double run_log, dirty_log;

    state->curve_points = 0;
    if (win->pass_run_s <= 0 || win->pass_dirty_bytes <= 0) {
        /* Not a point of a curve, but the bulk pass is over all the same. */
        state->has_point = true;
        return;
    }
    if (state->point_run_s > 0) {
        run_log = log(win->pass_run_s / state->point_run_s);
        dirty_log = log(win->pass_dirty_bytes / state->point_dirty_bytes);
        if (fabs(run_log) >= log(POINTS_APART_FACTOR)) {
            state->exponent = ac_clamp(dirty_log / run_log,
                                       EXPONENT_MIN, EXPONENT_MAX);
        }
    }
    state->has_point = true;
    state->point_run_s = win->pass_run_s;
    state->point_dirty_bytes = win->pass_dirty_bytes;
}

static void add_point(AutoConvergeState *state, double run_s,
                      double dirty_bytes)
{
    const AutoConvergePoint *last =
        state->curve + MAX(state->curve_points, 1) - 1;

    if (state->curve_points > 0 ? run_s > last->run_s &&
                                  dirty_bytes >= last->dirty_bytes :
                                  run_s > 0 && dirty_bytes > 0) {
        state->curve[state->curve_points++] = (AutoConvergePoint) {
            .run_s = run_s,
            .dirty_bytes = dirty_bytes,
        };
    }
}

/*
 * The curve, by a look at a pass: what was counted in it, and at last the pass
 * before, unless the guest has become calmer: the secant is not exceeded.
 * Where the log is not QEMU's, nothing is counted, or too little, and there is
 * only the look itself.  A page that has not been sent since the sync is not
 * seen to become dirty again; so it tells what was dirtied at least, and at
 * most as much more as has not been sent, but no more than the pass before.
 */
void ac_learn_look(AutoConvergeState *state, const Window *win,
                   const AutoConvergeSample *sample)
{
    unsigned count = MIN(sample->count, AUTO_CONVERGE_COUNTS_MAX);
    unsigned i;

    state->curve_points = 0;
    for (i = 0; i < count; i++) {
        add_point(state, sample->counts[i].guest_run_ns / NS_PER_S,
                  sample->counts[i].dirty_bytes);
    }
    if (count == 0 || sample->counts[count - 1].dirty_bytes <
                      sample->dirty_bytes) {
        state->curve_points = 0;
        add_point(state, win->pass_run_s,
                  fmin(win->pass_dirty_bytes * state->remaining_bytes /
                       win->drained_bytes, state->point_dirty_bytes));
    }
    if (state->curve_points > 0) {
        const AutoConvergePoint *last = &state->curve[state->curve_points - 1];

        add_point(state, state->point_run_s,
                  fmin(state->point_dirty_bytes, last->dirty_bytes *
                       state->point_run_s / last->run_s));
    }
}

/* The exponent between two points of the curve, and before the first of them */
static double local_exponent(const AutoConvergeState *state, unsigned i)
{
    const AutoConvergePoint *a = &state->curve[i], *b = a + 1;

    return i + 1 < state->curve_points ?
           ac_clamp(log(b->dirty_bytes / a->dirty_bytes) /
                    log(b->run_s / a->run_s), EXPONENT_MIN, EXPONENT_MAX) :
           EXPONENT_MAX;
}

double ac_curve_dirty(const AutoConvergeState *state, double run_s)
{
    const AutoConvergePoint *point = state->curve;
    unsigned i = 0;

    while (i + 1 < state->curve_points && state->curve[i + 1].run_s <= run_s) {
        i++;
    }
    point += i;
    return point->dirty_bytes * pow(run_s / point->run_s,
                                    local_exponent(state, i));
}

/* The inverse */
static double curve_run_s(const AutoConvergeState *state, double dirty_bytes)
{
    const AutoConvergePoint *point = state->curve;
    unsigned i = 0;

    while (i + 1 < state->curve_points &&
           state->curve[i + 1].dirty_bytes <= dirty_bytes) {
        i++;
    }
    point += i;
    return point->run_s * pow(dirty_bytes / point->dirty_bytes,
                              1 / local_exponent(state, i));
}

/*
 * The measured point is continued downwards with the local exponent, and
 * upwards along the secant, which a concave curve never exceeds.
 */
double ac_predict_dirty(const AutoConvergeState *state, const Window *win,
                        double bytes, double run_share)
{
    double step;

    if (win->pass_run_s <= 0) {
        return win->pass_dirty_bytes; /* dirtied without executing */
    }
    if (state->curve_points > 0) {
        return ac_curve_dirty(state, run_share * bytes / win->drain_bps);
    }
    step = run_share * bytes / win->drain_bps / win->pass_run_s;
    return win->pass_dirty_bytes *
           (step < 1 ? pow(step, state->exponent) : step);
}

/* The inverse of ac_predict_dirty(), by the last window and @exponent */
static double continued_run_share(const Window *win, const Limits *lim,
                                  double exponent)
{
    double step;

    if (win->pass_dirty_bytes <= 0) {
        return 1; /* no point was measured: there is no secant */
    }
    step = lim->target_ratio * win->remaining_bytes / win->pass_dirty_bytes;
    if (step < 1) {
        step = pow(step, 1 / exponent);
    }
    return win->pass_run_s * step * win->drain_bps / win->remaining_bytes;
}

double ac_needed_run_share(const AutoConvergeState *state, const Window *win,
                           const Limits *lim)
{
    if (state->curve_points > 0) {
        return curve_run_s(state, lim->target_ratio * win->remaining_bytes) *
               win->drain_bps / win->remaining_bytes;
    }
    return continued_run_share(win, lim, state->exponent);
}

double ac_secant_run_share(const Window *win, const Limits *lim)
{
    return continued_run_share(win, lim, EXPONENT_MAX);
}
