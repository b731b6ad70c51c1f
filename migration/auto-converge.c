/*
 * Adaptive auto-converge: the policy
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model, the law and the phases are explained in the header.  This is the
 * frame: a window comes in, a decision goes out.
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-internal.h"

/*
 * The guest dirties clearly less when it is half of the most that was seen
 * since it was let go; two windows of the same guest differ by less.
 * Breaks: /auto-converge/let-go/less-dirtying
 */
#define CLEARLY_LESS 0.5

static void decide_good(AutoConvergeDecision *next, const Window *win,
                        const Limits *lim)
{
    if (next->throttle_permille == 0) {
        ac_set_throttle(next, lim, 0, AUTO_CONVERGE_REASON_CONVERGES);
    } else {
        ac_relax(next, win, lim);
    }
}

/* Bad, and not throttled: a throttle can wait for as long as that may help. */
static void watch(AutoConvergeState *state, AutoConvergeDecision *next,
                  const Window *win, const Limits *lim)
{
    AutoConvergeReason reason = ac_reason_to_wait(state, win, lim);

    state->looks = reason == AUTO_CONVERGE_REASON_ENGAGE &&
                   ac_wants_look(state, win, lim);
    /* Later, one look that finds it calm is enough: it has to end. */
    state->looked = state->looks || (state->looked && !ac_may_wait(state));
    if (state->looks) {
        reason = AUTO_CONVERGE_REASON_UNCONFIRMED;
    }
    if (reason == AUTO_CONVERGE_REASON_ENGAGE) {
        ac_engage(state, next, win, lim);
    } else {
        ac_set_throttle(next, lim, 0, reason);
    }
}

static void decide_bad(AutoConvergeState *state, AutoConvergeDecision *next,
                       const Window *win, const Limits *lim)
{
    double run_share = ac_run_share(next->throttle_permille);

    if (next->throttle_permille == 0) {
        watch(state, next, win, lim);
    } else if (next->throttle_permille < lim->ceiling_permille) {
        ac_tighten(state, next, win, lim, run_share - lim->increment,
                   AUTO_CONVERGE_REASON_RAISE);
    } else if (ac_ends_soon(win, lim, CEILING_PATIENCE_WINDOWS) ||
               ac_stop_fits_soon(win, lim)) {
        ac_set_throttle(next, lim, lim->ceiling_permille,
                        AUTO_CONVERGE_REASON_HOLD);
    } else {
        ac_set_throttle(next, lim, lim->ceiling_permille,
                        AUTO_CONVERGE_REASON_HOLD);
        ac_give_up(state, next, lim);
    }
}

/* Let go, and bad as ever: is there a reason to try again? */
static void decide_let_go(AutoConvergeState *state, AutoConvergeDecision *next,
                          const Window *win, const Limits *lim)
{
    bool waited = state->let_go_s >= state->wait_s;
    bool less = win->ratio <= CLEARLY_LESS * state->peak_ratio ||
                win->pass_dirty_bytes <=
                CLEARLY_LESS * state->peak_dirty_bytes;
    bool another = ac_may_try_again(state);

    state->peak_ratio = fmax(state->peak_ratio, win->ratio);
    state->peak_dirty_bytes = fmax(state->peak_dirty_bytes,
                                   win->pass_dirty_bytes);
    if (ac_may_stop(state, lim)) {
        ac_fall_back(next, lim);
    } else if (another && (waited || less)) {
        ac_tighten(state, next, win, lim, lim->initial_run_share,
                   AUTO_CONVERGE_REASON_RETRY);
    }
}

static void decide(AutoConvergeState *state, AutoConvergeDecision *next,
                   const Window *win, const Limits *lim)
{
    bool fits = ac_fits_downtime(win, lim);
    bool bad = win->ratio > lim->threshold_ratio && !fits &&
               win->remaining_bytes > 0;

    if (next->phase == AUTO_CONVERGE_PHASE_FALLBACK) {
        return;
    }
    next->complete = fits && !win->bulk;
    if (!fits && ac_meet_deadline(state, next, win, lim)) {
        return;
    }
    if (bad && next->phase == AUTO_CONVERGE_PHASE_LET_GO) {
        decide_let_go(state, next, win, lim);
    } else if (bad) {
        decide_bad(state, next, win, lim);
    } else {
        state->slow_s = 0;
        if (ac_may_wait(state)) {
            state->looked = false;
            state->bad_windows = 0;
        }
        decide_good(next, win, lim);
    }
}

void auto_converge_init(AutoConvergeState *state)
{
    *state = (AutoConvergeState) {
        .last.phase = AUTO_CONVERGE_PHASE_WATCH,
        .last.reason = AUTO_CONVERGE_REASON_START,
        .last.predicted_downtime_ms = AUTO_CONVERGE_NEVER,
        .last.predicted_time_ms = AUTO_CONVERGE_NEVER,
        .last.predicted_loss_ms = AUTO_CONVERGE_NEVER,
        .exponent = 1, /* in proportion, until two windows tell */
    };
}

/*
 * The first window after a lease was up was sent in part only, and the guest
 * ran freely in the rest of it: it says that it goes on, and nothing else.
 */
static void resume(AutoConvergeState *state, AutoConvergeDecision *next,
                   const Limits *lim)
{
    ac_set_throttle(next, lim, state->leased_permille,
                    AUTO_CONVERGE_REASON_RESUME);
    state->leased_permille = 0;
}

/* Windows that follow one another are one. */
static AutoConvergeSample add_samples(const AutoConvergeSample *a,
                                      const AutoConvergeSample *b)
{
    AutoConvergeSample sum = *b;

    sum.elapsed_ns += a->elapsed_ns;
    sum.guest_run_ns += a->guest_run_ns;
    sum.dirty_bytes += a->dirty_bytes;
    sum.drained_bytes += a->drained_bytes;
    sum.zero_bytes += a->zero_bytes;
    return sum;
}

/* What was this window part of: a wait, an attempt, or neither? */
static void account_time(AutoConvergeState *state,
                         const AutoConvergeDecision *next, const Window *win)
{
    bool let_go = next->phase == AUTO_CONVERGE_PHASE_LET_GO;

    if (let_go || state->stop_barred) {
        state->let_go_s += win->elapsed_s;
        state->stop_barred = state->stop_barred &&
                             (state->let_go_s < state->wait_s ||
                              !ac_may_try_again(state));
    }
    if (!let_go && next->throttle_permille > 0) {
        state->attempt_s += win->elapsed_s;
    } else if (!let_go) {
        state->attempt_s = 0;
        state->free_s += win->elapsed_s;
        state->free_run_s += win->run_share * win->elapsed_s;
    }
}

void ac_take_window(AutoConvergeState *state, AutoConvergeDecision *next,
                    const Window *win, const Limits *lim)
{
    bool leased = state->leased_permille > 0;

    state->looks = false;
    if (win->bulk) {
        state->bulk_s = win->drained_bytes / win->drain_bps;
    }
    state->fastest_bps = fmax(state->fastest_bps, win->link_bps);
    if (!leased) {
        ac_learn_window(state, win);
    }
    state->remaining_bytes = win->remaining_bytes;
    state->stop_bytes = win->stop_bytes;
    state->drain_bps = win->drain_bps;
    state->link_bps = win->link_bps;
    account_time(state, next, win);
    if (leased) {
        resume(state, next, lim);
    } else {
        decide(state, next, win, lim);
    }
}

/* True when the sample is done with, false when it is to be added to. */
static bool take_sample(AutoConvergeState *state, AutoConvergeDecision *next,
                        const Limits *lim, const AutoConvergeSample *sample)
{
    Window win = ac_measure_window(state, lim, sample);
    bool goes_on = false;

    if (!sample->partial) {
        ac_take_window(state, next, &win, lim);
    } else if (state->looks) {
        /* B of such a short time says nothing. */
        win.drain_bps = state->drain_bps;
        win.link_bps = state->link_bps;
        win.stop_bps = ac_stop_bps(lim, win.link_bps);
        goes_on = !ac_take_first_look(state, next, &win, lim, sample);
    } else {
        goes_on = !ac_take_look(state, next, &win, lim);
    }
    next->look_ms = ac_plan_look_ms(state, next, lim, state->remaining_bytes -
                                    (goes_on ? win.drained_bytes : 0));
    next->look_bytes = state->looks ?
                       NO_HELP_RATIO * win.remaining_bytes : 0;
    next->predicted_downtime_ms = ac_to_u64(ac_stop_length_s(&win) * MS_PER_S);
    next->predicted_time_ms = ac_predict_time_ms(state, &win, lim, next);
    next->predicted_loss_ms = ac_predict_loss_ms(state, &win, lim, next);
    return !goes_on;
}

AutoConvergeDecision auto_converge_update(AutoConvergeState *state,
                                          const AutoConvergeConfig *config,
                                          const AutoConvergeSample *sample)
{
    const Limits lim = ac_limits(config);
    AutoConvergeDecision next = state->last;
    AutoConvergeSample sum = add_samples(&state->so_far, sample);
    bool done = true;

    state->config = *config;
    /* Where as much was drained as there was, the pass is over. */
    sum.partial = sum.partial && (ac_is_throttled(&next) || state->looks) &&
                  sum.drained_bytes < state->remaining_bytes;
    next.dirty_rate_bps = ac_bps(sum.dirty_bytes, sum.elapsed_ns);
    next.transfer_rate_bps = ac_bps(sum.drained_bytes, sum.elapsed_ns);
    next.predicted_downtime_ms = AUTO_CONVERGE_NEVER;
    next.predicted_time_ms = AUTO_CONVERGE_NEVER;
    next.predicted_loss_ms = AUTO_CONVERGE_NEVER;
    next.complete = false;
    if (next.phase == AUTO_CONVERGE_PHASE_FALLBACK) {
        next.throttle_permille = 0; /* something else delays it */
    }

    if (ac_sample_is_usable(&sum)) {
        done = take_sample(state, &next, &lim, &sum);
    } else if (next.phase != AUTO_CONVERGE_PHASE_FALLBACK &&
               next.phase != AUTO_CONVERGE_PHASE_LET_GO) {
        ac_set_throttle(&next, &lim, next.throttle_permille,
                        AUTO_CONVERGE_REASON_REJECTED);
    }
    state->so_far = done ? (AutoConvergeSample) { 0 } : sum;
    state->last = next;
    state->last.complete = false; /* what it is only now */
    return next;
}

/* Between two windows: what the looks told so far is not of this throttle. */
static AutoConvergeDecision decide_between(AutoConvergeState *state,
                                           AutoConvergeDecision next)
{
    state->so_far = (AutoConvergeSample) { 0 };
    state->looks = false;
    state->looked = false;
    next.look_bytes = 0;
    next.look_ms = 0;
    state->last = next;
    return next;
}

/* ... and goes on from here. */
static AutoConvergeDecision plan_anew(AutoConvergeState *state,
                                      AutoConvergeDecision next,
                                      const Limits *lim)
{
    next = decide_between(state, next);
    next.look_ms = ac_plan_look_ms(state, &next, lim, state->remaining_bytes);
    state->last.look_ms = next.look_ms;
    return next;
}

/* In the middle of a stop: is it still what the user wants? */
static void reconfigure_fallback(AutoConvergeState *state,
                                 AutoConvergeDecision *next, const Limits *lim)
{
    if (next->switchover && !ac_may_stop(state, lim)) {
        ac_give_up(state, next, lim);
    }
    next->throttle_permille = MIN(next->throttle_permille,
                                  lim->ceiling_permille);
}

/* What a stop was ended for may be otherwise with @config. */
static bool is_about_stops(const AutoConvergeState *state,
                           const AutoConvergeConfig *config)
{
    const AutoConvergeConfig *before = &state->config;

    return config->fallback != before->fallback ||
           config->fallback_downtime_ms != before->fallback_downtime_ms ||
           config->switchover_bps != before->switchover_bps ||
           config->deadline_s != before->deadline_s;
}

AutoConvergeDecision
auto_converge_reconfigure(AutoConvergeState *state,
                          const AutoConvergeConfig *config)
{
    const Limits lim = ac_limits(config);
    AutoConvergeDecision next = state->last;

    if (!state->stop_barred || is_about_stops(state, config)) {
        state->attempts = 0;
        state->wait_s = 0;
        state->stop_barred = false;
    }
    state->config = *config;
    switch (next.phase) {
    case AUTO_CONVERGE_PHASE_THROTTLE:
    case AUTO_CONVERGE_PHASE_CEILING:
        if (next.throttle_permille > lim.ceiling_permille) {
            ac_set_throttle(&next, &lim, lim.ceiling_permille,
                            AUTO_CONVERGE_REASON_CEILING);
        }
        break;
    case AUTO_CONVERGE_PHASE_FALLBACK:
        reconfigure_fallback(state, &next, &lim);
        break;
    case AUTO_CONVERGE_PHASE_LET_GO:
        if (state->leased_permille == 0 &&
            ac_can_fall_back(state, &lim)) {
            ac_fall_back(&next, &lim);
        }
        break;
    case AUTO_CONVERGE_PHASE_WATCH:
    default:
        break;
    }
    return plan_anew(state, next, &lim);
}

AutoConvergeDecision
auto_converge_restart_window(AutoConvergeState *state,
                             const AutoConvergeConfig *config,
                             uint64_t remaining_bytes)
{
    const Limits lim = ac_limits(config);

    state->remaining_bytes = remaining_bytes;
    return plan_anew(state, state->last, &lim);
}

AutoConvergeDecision auto_converge_lease_up(AutoConvergeState *state)
{
    AutoConvergeDecision next = state->last;

    if (next.phase == AUTO_CONVERGE_PHASE_FALLBACK) {
        next.throttle_permille = 0;
    } else if (next.throttle_permille > 0) {
        state->leased_permille = next.throttle_permille;
        next.phase = AUTO_CONVERGE_PHASE_LET_GO;
        next.reason = AUTO_CONVERGE_REASON_STALLED;
        next.throttle_permille = 0;
        next.predicted_downtime_ms = AUTO_CONVERGE_NEVER;
        next.predicted_time_ms = AUTO_CONVERGE_NEVER;
        next.predicted_loss_ms = AUTO_CONVERGE_NEVER;
    }
    return decide_between(state, next);
}

AutoConvergeDecision auto_converge_stop_ended(AutoConvergeState *state,
                                              AutoConvergeReason reason,
                                              uint64_t stopped_ns)
{
    AutoConvergeDecision next = state->last;

    state->attempt_s += stopped_ns / NS_PER_S;
    ac_let_go(state, &next, reason);
    state->stop_barred = true;
    next.predicted_time_ms = AUTO_CONVERGE_NEVER;
    next.predicted_loss_ms = AUTO_CONVERGE_NEVER;
    return decide_between(state, next);
}

uint64_t auto_converge_stop_length_ms(const AutoConvergeState *state,
                                      const AutoConvergeConfig *config,
                                      uint64_t bytes)
{
    const Limits lim = ac_limits(config);
    double stop_bps = ac_stop_bps(&lim, state->link_bps);

    return stop_bps > 0 ? ac_to_u64(bytes / stop_bps * MS_PER_S) :
           AUTO_CONVERGE_NEVER;
}
