/*
 * Adaptive auto-converge: a look at a pass before it is over
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-internal.h"

/*
 * A look at a throttle comes when such a part of what was left has been sent,
 * and again after as much more: each costs a sync.  With 0.125 the guests of
 * the grid lose 2 % more, with 0.5 1 %; with 1, which is none, 6 %.
 * Breaks: /auto-converge/ceiling/look
 */
#define LOOK_PART 0.2

/*
 * Before a throttle begins, the guest is looked at, so that the throttle is the
 * right one; in passes that last so long.
 * Breaks: /auto-converge/law/look-long-passes
 */
#define LOOK_PASS_MIN_S (AUTO_CONVERGE_COUNT_FIRST_MS / MS_PER_S / LOOK_PART)

/*
 * The longest period of the throttle fits in twice.
 * Breaks: /auto-converge/ceiling/look
 */
#define LOOK_MIN_MS 420

bool ac_is_throttled(const AutoConvergeDecision *decision)
{
    return decision->phase == AUTO_CONVERGE_PHASE_THROTTLE ||
           decision->phase == AUTO_CONVERGE_PHASE_CEILING;
}

/* The whole window, when it goes on as it began: its ratio is the least. */
static Window extrapolate(const AutoConvergeState *state, const Window *part)
{
    double factor = state->remaining_bytes / part->drained_bytes;
    Window win = *part;

    win.drained_bytes *= factor;
    win.sunk_bytes *= factor;
    win.pass_s *= factor;
    win.pass_run_s *= factor;
    win.pass_dirty_bytes *= factor;
    return win;
}

bool ac_take_look(AutoConvergeState *state, AutoConvergeDecision *next,
                  const Window *win, const Limits *lim)
{
    bool enough = win->drained_bytes >= LOOK_PART * state->remaining_bytes;
    bool helps = win->ratio <= NO_HELP_RATIO;
    Window whole;

    state->stop_bytes = win->stop_bytes;
    state->drain_bps = win->drain_bps;
    state->link_bps = win->link_bps;
    ac_set_throttle(next, lim, next->throttle_permille, next->reason);
    next->complete = ac_fits_downtime(win, lim);
    if (next->complete) {
        return false;
    }
    if (ac_meet_deadline(state, next, win, lim)) {
        return true;
    }
    if (!enough || helps) {
        return false;
    }
    if (next->phase == AUTO_CONVERGE_PHASE_THROTTLE) {
        whole = extrapolate(state, win);
        ac_take_window(state, next, &whole, lim);
        return true;
    }
    if (ac_can_fall_back(state, lim)) {
        ac_fall_back(next, lim);
        return true;
    }
    return false;
}

bool ac_wants_look(const AutoConvergeState *state, const Window *win,
                   const Limits *lim)
{
    return lim->looks && !state->looked && !isfinite(win->left_s) &&
           win->remaining_bytes / win->drain_bps >= LOOK_PASS_MIN_S;
}

bool ac_take_first_look(AutoConvergeState *state,
                        AutoConvergeDecision *next, const Window *part,
                        const Limits *lim, const AutoConvergeSample *sample)
{
    Window win = *part;
    double pass_run_s;

    state->looks = false;
    ac_learn_look(state, part, sample);
    win.pass_run_s = state->point_run_s;
    win.pass_dirty_bytes = state->point_dirty_bytes;
    pass_run_s = part->run_share * win.remaining_bytes / win.drain_bps;
    next->complete = ac_fits_downtime(&win, lim);
    if (next->complete || win.remaining_bytes <= 0 ||
        (state->curve_points > 0 ? ac_curve_dirty(state, pass_run_s) : 0) <=
        lim->threshold_ratio * win.remaining_bytes) {
        return false;
    }
    state->free_s += win.elapsed_s;
    state->free_run_s += win.run_share * win.elapsed_s;
    state->remaining_bytes = win.remaining_bytes;
    state->stop_bytes = win.stop_bytes;
    ac_engage(state, next, &win, lim);
    return true;
}

/*
 * When to look next?  After a part of the pass, and at last when it is over:
 * @left_bytes of it are.
 */
unsigned ac_plan_look_ms(const AutoConvergeState *state,
                         const AutoConvergeDecision *next,
                         const Limits *lim, double left_bytes)
{
    double bytes = fmin(LOOK_PART * state->remaining_bytes, left_bytes);

    if (state->looks) {
        return ac_clamp(ceil(bytes / state->drain_bps * MS_PER_S),
                        AUTO_CONVERGE_COUNT_FIRST_MS, INT_MAX);
    }
    if (!ac_is_throttled(next) || (next->phase == AUTO_CONVERGE_PHASE_CEILING &&
                                   !ac_can_fall_back(state, lim))) {
        return 0;
    }
    return ac_clamp(ceil(bytes / state->drain_bps * MS_PER_S) + 1, LOOK_MIN_MS,
                    INT_MAX);
}
