/*
 * Adaptive auto-converge: what the decision leads to
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-internal.h"

/*
 * What will the ratio be?  As it was when the throttle stays.  Else the curve
 * tells: with less allowed the guest executes at most that, with more it may
 * use all of it.
 */
static double predict_ratio(const AutoConvergeState *state, const Window *win,
                            double before, double after)
{
    double run_share = after < before ? fmin(win->run_share, after) :
                       win->run_share * after / before;

    return after == before || win->remaining_bytes <= 0 ? win->ratio :
           ac_predict_dirty(state, win, win->remaining_bytes, run_share) /
           win->remaining_bytes;
}

uint64_t ac_predict_time_ms(const AutoConvergeState *state,
                            const Window *win, const Limits *lim,
                            const AutoConvergeDecision *next)
{
    double pass_s = win->remaining_bytes / win->drain_bps;
    double ratio;

    if (next->switchover || ac_fits_downtime(win, lim)) {
        return ac_to_u64(ac_stop_length_s(win) * MS_PER_S);
    }
    if (next->post_copy) {
        return ac_to_u64(pass_s * MS_PER_S);
    }
    ratio = predict_ratio(state, win,
                          ac_run_share(state->last.throttle_permille),
                          ac_run_share(next->throttle_permille));
    if (ratio >= 1) {
        return AUTO_CONVERGE_NEVER;
    }
    /* What is beside RAM does not get less by the passes. */
    return ac_to_u64(fmax(pass_s / (1 - ratio), ac_stop_length_s(win)) *
                     MS_PER_S);
}

/*
 * What does the guest lose until then, in time that its work takes when nothing
 * holds it back?  Of what it executed freely, the part that it may not execute
 * now; and the final stop.
 */
uint64_t ac_predict_loss_ms(const AutoConvergeState *state,
                            const Window *win, const Limits *lim,
                            const AutoConvergeDecision *next)
{
    double demand = state->free_s > 0 ? state->free_run_s / state->free_s : 1;
    double run_share = ac_run_share(next->throttle_permille);
    double lost_share = demand > run_share ? 1 - run_share / demand : 0;

    if (next->switchover || next->post_copy ||
        next->predicted_time_ms == AUTO_CONVERGE_NEVER) {
        return next->switchover ? next->predicted_downtime_ms :
               next->post_copy ? 0 : AUTO_CONVERGE_NEVER;
    }
    return ac_to_u64(lost_share * next->predicted_time_ms +
                     fmin(ac_stop_length_s(win), lim->downtime_s) * MS_PER_S);
}
