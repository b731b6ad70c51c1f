/*
 * Adaptive auto-converge: what the files of the policy share
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * In the order in which a window goes through them:
 *
 *     auto-converge.c             a window comes in, a decision goes out
 *     auto-converge-window.c      the sample in the terms of the law
 *     auto-converge-curve.c       what a run time dirties, and its inverse
 *     auto-converge-wait.c        bad: what a throttle can wait for
 *     auto-converge-look.c        a look at a pass before it is over
 *     auto-converge-transition.c  from one phase to another
 *     auto-converge-predict.c     what the decision leads to
 *
 * The arithmetic is in doubles.  Nothing can become a NaN: every division is by
 * a value that was checked to be above zero, and pow() and log() only see
 * values above zero.
 */

#ifndef MIGRATION_AUTO_CONVERGE_INTERNAL_H
#define MIGRATION_AUTO_CONVERGE_INTERNAL_H

#include "migration/auto-converge.h"

#define PERMILLE 1000.0
#define NS_PER_S 1e9
#define MS_PER_S 1e3

/*
 * A bad window is left alone while, at its pace, R fits into the downtime
 * limit after so many more.  With 8 a constant ratio of 8/9 is waited for:
 * while R sinks, waiting costs no work, and each window makes the throttle
 * that may be needed in the end shorter.  With 5 the guest of the grid that is
 * worst off loses 1.5 times what it loses under the counter, with 8 1.4 times;
 * with 15 no less, and one in ten takes 0.7 times as long as the counter, 0.6.
 * Breaks: /auto-converge/law/patience
 */
#define PATIENCE_WINDOWS 8.0

/*
 * Whatever the threshold, a window is bad above this ratio, the one that
 * patience waits for: with more, R hardly sinks or does not sink at all, and a
 * guest whose hot set is saturated is as often measured just below 1 as above.
 * Breaks: /auto-converge/law/threshold-of-100
 */
#define THRESHOLD_RATIO_MAX (PATIENCE_WINDOWS / (PATIENCE_WINDOWS + 1))

/*
 * As PATIENCE_WINDOWS, at the ceiling, where every window is lost.  With 1.5 a
 * constant ratio of 0.6 is waited for; it then takes 2.5 times as long as the
 * stop.
 * Breaks: /auto-converge/ceiling/converges, /auto-converge/ceiling/look
 */
#define CEILING_PATIENCE_WINDOWS 1.5
#define NO_HELP_RATIO \
    (CEILING_PATIENCE_WINDOWS / (1 + CEILING_PATIENCE_WINDOWS))

/* The configuration, clamped, as fractions of one. */
typedef struct Limits {
    double threshold_ratio;
    double target_ratio;
    double initial_run_share; /* most run share on engaging */
    double increment;         /* least fall of the run share */
    unsigned ceiling_permille;
    double ceiling_run_share; /* run share at the ceiling */
    double downtime_s;
    double fallback_downtime_s; /* 0: any */
    double switchover_bps;      /* 0: that of the window */
    double deadline_s;          /* since the start; INFINITY: none */
    AutoConvergeFallback fallback;
    bool looks;
} Limits;

/* One sample in the terms of the law. */
typedef struct Window {
    double ratio;            /* U / S */
    double drain_bps;        /* B */
    double link_bps;         /* B, without zero pages in any pass */
    double stop_bps;         /* the same, unless the rate of a stop is known */
    double remaining_bytes;  /* R */
    double drained_bytes;    /* S; of the bulk pass with its zero pages */
    double sunk_bytes;       /* S - U: by how much R fell */
    double run_share;        /* w / T */
    double stop_bytes;       /* R, and what is pending beside RAM */
    double elapsed_s;        /* T */
    double pass_s;           /* T of one pass */
    double left_s;           /* until the deadline; INFINITY: there is none */
    double pass_run_s;       /* w of one pass */
    double pass_dirty_bytes; /* U of one pass */
    bool bulk;               /* the first: B is not that of dirty pages */
} Window;

/* ---- auto-converge-window.c ---- */

double ac_clamp(double value, double low, double high);

/* Rounded up, saturating below AUTO_CONVERGE_NEVER. */
uint64_t ac_to_u64(double value);
uint64_t ac_bps(uint64_t bytes, uint64_t elapsed_ns);

/* The throttle, permille, and the run share that it leaves */
double ac_run_share(unsigned throttle_permille);
unsigned ac_throttle(double run_share);

Limits ac_limits(const AutoConvergeConfig *config);

/*
 * Which samples say nothing?  Where time stood still or nothing was drained,
 * there is neither a drain rate nor a ratio: a stalled link is not the guest's
 * fault, and no throttle mends it.
 */
bool ac_sample_is_usable(const AutoConvergeSample *sample);

Window ac_measure_window(const AutoConvergeState *state, const Limits *lim,
                         const AutoConvergeSample *sample);

/* The rate of a stop: what the user has said, or else @link_bps */
double ac_stop_bps(const Limits *lim, double link_bps);

/* How long is a stop made now? */
double ac_stop_length_s(const Window *win);

/* Does the rest fit into an ordinary switchover? */
bool ac_fits_downtime(const Window *win, const Limits *lim);

/* ---- auto-converge-curve.c ---- */

/* A window has ended: one more point, and the exponent between the two */
void ac_learn_window(AutoConvergeState *state, const Window *win);

/* A look has: the points of one pass */
void ac_learn_look(AutoConvergeState *state, const Window *win,
                   const AutoConvergeSample *sample);

/* U(w), bytes, by the last look; there must have been one. */
double ac_curve_dirty(const AutoConvergeState *state, double run_s);

/* What does a pass dirty that drains @bytes, the guest running @run_share? */
double ac_predict_dirty(const AutoConvergeState *state, const Window *win,
                        double bytes, double run_share);

/* Which run share leaves target x R?  By the curve; and, at most, the secant */
double ac_needed_run_share(const AutoConvergeState *state, const Window *win,
                           const Limits *lim);
double ac_secant_run_share(const Window *win, const Limits *lim);

/* ---- auto-converge-wait.c ---- */

/* Does it end by itself, soon, at the pace at which R sinks now? */
bool ac_ends_soon(const Window *win, const Limits *lim,
                  double patience_windows);

/* Does what is left fall below the bound of a stop soon? */
bool ac_stop_fits_soon(const Window *win, const Limits *lim);

/* Is this the last window after which a stop meets the deadline? */
bool ac_deadline_is_now(const Window *win);

/* Was WATCH shorter than a bulk pass, since the first? */
bool ac_may_wait(const AutoConvergeState *state);

/*
 * Bad, and not throttled: why not wait?  _REASON_ENGAGE when there is no
 * reason to.
 */
AutoConvergeReason ac_reason_to_wait(AutoConvergeState *state,
                                     const Window *win, const Limits *lim);

/* ---- auto-converge-look.c ---- */

/* Is there a throttle to look at?  A fallback has none, whatever it had. */
bool ac_is_throttled(const AutoConvergeDecision *decision);

/* Is the guest to be looked at before a throttle begins? */
bool ac_wants_look(const AutoConvergeState *state, const Window *win,
                   const Limits *lim);

/*
 * A look at a guest that runs freely, and was too busy in the window before: is
 * it still, and which throttle does it need?  False when it is to go on.
 */
bool ac_take_first_look(AutoConvergeState *state, AutoConvergeDecision *next,
                        const Window *part, const Limits *lim,
                        const AutoConvergeSample *sample);

/*
 * A look at a pass of a throttled guest.  The longer ago a page was sent, the
 * likelier it is dirty again, so the ratio only grows until the pass is over:
 * what would not help then does not help now.  The rest the whole pass tells.
 * False when it is to go on.
 */
bool ac_take_look(AutoConvergeState *state, AutoConvergeDecision *next,
                  const Window *win, const Limits *lim);

/*
 * When to look next, in ms; 0: when the pass is over, of which @left_bytes
 * are left.
 */
unsigned ac_plan_look_ms(const AutoConvergeState *state,
                         const AutoConvergeDecision *next, const Limits *lim,
                         double left_bytes);

/* ---- auto-converge-transition.c ---- */

/* The throttle in force decides which phase it is. */
void ac_set_throttle(AutoConvergeDecision *next, const Limits *lim,
                     unsigned throttle_permille, AutoConvergeReason reason);

/*
 * The throttle begins, unless it was tried too often; or the curve tells that
 * it costs too much, where there is something else.
 */
void ac_engage(AutoConvergeState *state, AutoConvergeDecision *next,
               const Window *win, const Limits *lim);

/* Bad, and more throttle is allowed: jump to the needed run share. */
void ac_tighten(AutoConvergeState *state, AutoConvergeDecision *next,
                const Window *win, const Limits *lim, double run_share_max,
                AutoConvergeReason reason);

/* Good, and throttled: can the guest have some of its time back? */
void ac_relax(AutoConvergeDecision *next, const Window *win,
              const Limits *lim);

/* Is there something else than a throttle?  Is it a stop, of what is left? */
bool ac_can_fall_back(const AutoConvergeState *state, const Limits *lim);
bool ac_may_stop(const AutoConvergeState *state, const Limits *lim);
void ac_fall_back(AutoConvergeDecision *next, const Limits *lim);

/* Nothing helps: the fallback, or else let the guest go. */
void ac_give_up(AutoConvergeState *state, AutoConvergeDecision *next,
                const Limits *lim);

/* Nothing that is allowed helps: let the guest go, for longer each time. */
void ac_let_go(AutoConvergeState *state, AutoConvergeDecision *next,
               AutoConvergeReason reason);

/* Let go: may the throttle be tried once more, some time? */
bool ac_may_try_again(const AutoConvergeState *state);

/*
 * Now or never: true, and a fallback, unless none is allowed.  A stop that was
 * ended is not made again before its wait is over, deadline or not.
 */
bool ac_meet_deadline(const AutoConvergeState *state,
                      AutoConvergeDecision *next, const Window *win,
                      const Limits *lim);

/* ---- auto-converge-predict.c ---- */

/*
 * With the throttle just decided: when will it have completed, and what does
 * the guest lose until then, in time that its work takes when nothing holds it
 * back?  ms, or _NEVER.
 */
uint64_t ac_predict_time_ms(const AutoConvergeState *state, const Window *win,
                            const Limits *lim,
                            const AutoConvergeDecision *next);
uint64_t ac_predict_loss_ms(const AutoConvergeState *state, const Window *win,
                            const Limits *lim,
                            const AutoConvergeDecision *next);

/* ---- auto-converge.c ---- */

/* A window has ended: decide. */
void ac_take_window(AutoConvergeState *state, AutoConvergeDecision *next,
                    const Window *win, const Limits *lim);

#endif /* MIGRATION_AUTO_CONVERGE_INTERNAL_H */
