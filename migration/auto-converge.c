/*
 * Adaptive auto-converge: the policy
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model, the law and the phases are explained in the header; this file
 * follows its order: measure the window, learn the curve, decide, predict.
 *
 * The arithmetic is in doubles.  Nothing here can become a NaN: every division
 * is by a value that was checked to be above zero, and pow() and log() only
 * see values above zero.
 */

#include "qemu/osdep.h"
#include <math.h>
#include "migration/auto-converge.h"

/*
 * Trust region of the local exponent.  Above 1 the curve would not be concave.
 * Below this, two points on a saturated curve would ask for a run share of
 * nothing at the least noise.  0.25 lets one saturated window cut the run time
 * by 4^4 = 256, enough to reach a ceiling of 99 % in one step.
 * Breaks: /auto-converge/law/saturated-goes-to-ceiling
 */
#define EXPONENT_MIN 0.25
#define EXPONENT_MAX 1.0

/*
 * Two points tell the exponent only when their run times differ by this
 * factor; below it the noise of two samples is larger than the difference.
 * Breaks: /auto-converge/law/exponent-ignores-close-points
 */
#define POINTS_APART_FACTOR 1.25

/*
 * The window aims at this part of the trigger threshold.  Work lost until
 * completion grows with (1 - target b) / (1 - target), b = B / r, so lower is
 * cheaper; below one half that gains little, and costs responsiveness.
 * Breaks: /auto-converge/law/engage-jumps
 */
#define TARGET_OF_THRESHOLD 0.5

/*
 * Most that the run share grows per window.  One window may be an accident;
 * with 2 a wrong release costs at most one window of twice the ratio, and
 * from 1 % to all it takes seven.
 * Breaks: /auto-converge/law/release-at-most-doubles
 */
#define RELEASE_FACTOR_MAX 2.0

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
 * And if all the waiting takes no longer than so many bulk passes: as long as
 * a guest takes that dirties 0.7 times what is sent, whatever it writes to.
 * With 1 the worst off loses 2.3 times what it loses under the counter; with
 * no such end it may take 2.3 times as long, with this 1.7 times.
 * Breaks: /auto-converge/law/patience-is-short,
 *         /auto-converge/migration/calm-untouched
 */
#define PATIENCE_BULKS 3.0

/*
 * The same at the ceiling, where every window is lost.  With 1.5 a constant
 * ratio of 0.6 is waited for; it then takes 2.5 times as long as the stop.
 * Breaks: /auto-converge/ceiling/converges
 */
#define CEILING_PATIENCE_WINDOWS 1.5
#define IN_VAIN_RATIO \
    (CEILING_PATIENCE_WINDOWS / (1 + CEILING_PATIENCE_WINDOWS))

/*
 * Whatever the threshold, a window is bad above this ratio, the one that
 * patience waits for: with more, R hardly sinks or does not sink at all, and a
 * guest whose hot set is saturated is as often measured just below 1 as above.
 * Breaks: /auto-converge/law/threshold-of-100
 */
#define THRESHOLD_RATIO_MAX (PATIENCE_WINDOWS / (PATIENCE_WINDOWS + 1))

/*
 * So many bad windows begin a throttle, in a row as long as waiting is allowed:
 * one may be a burst, or a link that fell for a moment.  With 1, 2, 3 and
 * 6, 154, 114, 103 and 69 of 1740 periodic guests that converge unaided are
 * throttled; and the median guest that needs it takes 0.14, 0.19, 0.25 and 0.42
 * times as long as under the counter.
 * Breaks: /auto-converge/law/confirmed
 */
#define BAD_WINDOWS 2

/*
 * A guest that executes so many times what it did on the average has a burst,
 * and it may be over before the throttle would have helped.  With 2, 146 of
 * the 1740 are throttled, with 1.2 100, but the load of guests differs by that
 * much without being a burst.
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
 * But no longer than the former with less than so many downtime limits left:
 * then it may be that the link idles while short passes are looked for.
 * Breaks: /auto-converge/migration/ends
 */
#define SLOW_LINK_LEFT 2.0

/*
 * With a deadline, a throttle begins when the time left is for so many times
 * what a stop then takes: a window at the ceiling, in case that is in vain, and
 * the stop.
 * Breaks: /auto-converge/law/deadline
 */
#define DEADLINE_STOPS 2.0

/* Short passes are gathered until so much time has passed. */
#define WINDOW_MIN_S 1.0

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
 */
#define LOOK_PASS_MIN_S (AUTO_CONVERGE_COUNT_FIRST_MS / MS_PER_S / LOOK_PART)

/*
 * A throttle that, by the curve of a look, costs more than so many stops is not
 * begun where a stop is allowed.  With 2 the guests of the grid lose 3 % more,
 * with 3 5 %; and a real one may lose half a stop before it is stopped, because
 * the first count comes when the migration thread does, 1/8 s after the sync.
 * Breaks: /auto-converge/law/first-look
 */
#define STOPS_MAX 1.5

/* And one that takes more passes than this does not end. */
#define PASSES_MAX 32

/* The longest period of the throttle fits in twice. */
#define LOOK_MIN_MS 420

/*
 * Where a stop would be too long, the ceiling is held while, at its pace, what
 * is left falls below the bound after so many more windows.  With less, guests
 * that would end are let go; more only makes the hopeless ones lose more.
 * Breaks: /auto-converge/ceiling/bound-soon
 */
#define BOUND_PATIENCE_WINDOWS 4.0

/*
 * The shortest wait between two attempts, and the wait in lengths of the
 * attempt that was in vain: so the guest is held for at most a fifth of
 * the time, and less each time.  A minute is long against the pass of a small
 * guest, which may have an attempt over in five seconds.
 * Breaks: /auto-converge/let-go/waits
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

/*
 * The guest dirties clearly less when it is half of the most that was seen
 * since it was let go; two windows of the same guest differ by less.
 * Breaks: /auto-converge/let-go/less-dirtying
 */
#define CLEARLY_LESS 0.5

#define PCT_MIN 1
#define PCT_MAX 99
#define THRESHOLD_PCT_MAX 100
#define PERMILLE 1000.0
#define NS_PER_S 1e9
#define MS_PER_S 1e3

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
    double drain_bps;        /* B; of the bulk pass, without zero pages */
    double link_bps;         /* B, without zero pages */
    double stop_bps;         /* B, unless the rate of a stop is known */
    double remaining_bytes;  /* R */
    double drained_bytes;    /* S */
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

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

static double pct_to_ratio(unsigned pct, unsigned max_pct)
{
    return clamp(pct, PCT_MIN, max_pct) / 100.0;
}

/* Rounded up, saturating below AUTO_CONVERGE_NEVER. */
static uint64_t double_to_u64(double value)
{
    value = ceil(value);
    return value < (double)UINT64_MAX ? (uint64_t)value : UINT64_MAX - 1;
}

static uint64_t bytes_to_bps(uint64_t bytes, uint64_t elapsed_ns)
{
    return elapsed_ns ? double_to_u64(bytes * NS_PER_S / elapsed_ns) : 0;
}

static double throttle_to_run_share(unsigned throttle_permille)
{
    return 1 - throttle_permille / PERMILLE;
}

static unsigned run_share_to_throttle(double run_share)
{
    return lround((1 - clamp(run_share, 0, 1)) * PERMILLE);
}

static Limits limits_from_config(const AutoConvergeConfig *config)
{
    Limits lim;

    lim.threshold_ratio = fmin(pct_to_ratio(config->trigger_threshold_pct,
                                            THRESHOLD_PCT_MAX),
                               THRESHOLD_RATIO_MAX);
    lim.target_ratio = lim.threshold_ratio * TARGET_OF_THRESHOLD;
    lim.initial_run_share = 1 - pct_to_ratio(config->throttle_initial_pct,
                                             PCT_MAX);
    lim.increment = pct_to_ratio(config->throttle_increment_pct, PCT_MAX);
    lim.ceiling_run_share = 1 - pct_to_ratio(config->throttle_max_pct,
                                             PCT_MAX);
    lim.ceiling_permille = run_share_to_throttle(lim.ceiling_run_share);
    lim.downtime_s = config->downtime_limit_ms / MS_PER_S;
    lim.fallback_downtime_s = config->fallback_downtime_ms / MS_PER_S;
    lim.switchover_bps = config->switchover_bps;
    lim.deadline_s = config->deadline_s ? config->deadline_s : INFINITY;
    lim.fallback = config->fallback;
    lim.looks = config->looks;
    return lim;
}

/*
 * Which samples say nothing?  Where time stood still or nothing was drained,
 * there is neither a drain rate nor a ratio: a stalled link is not the guest's
 * fault, and no throttle mends it.
 */
static bool sample_is_usable(const AutoConvergeSample *sample)
{
    return sample->elapsed_ns > 0 && sample->drained_bytes > 0;
}

/*
 * How many passes made this window?  Short passes are gathered until a second
 * has passed; each drained about what was left at its beginning.  Within the
 * window that went from the previous R to this one.
 */
static double count_passes(const AutoConvergeState *state,
                           const AutoConvergeSample *sample)
{
    double pass_bytes;

    if (!state->has_point) {
        return 1; /* the bulk pass */
    }
    pass_bytes = (state->remaining_bytes + (double)sample->remaining_bytes) / 2;
    return pass_bytes < 1 ? 1 : fmax(1, sample->drained_bytes / pass_bytes);
}

static Window measure_window(const AutoConvergeState *state,
                             const Limits *lim,
                             const AutoConvergeSample *sample)
{
    double passes = count_passes(state, sample);
    double elapsed_s = sample->elapsed_ns / NS_PER_S;
    double run_s = fmin(sample->guest_run_ns / NS_PER_S, elapsed_s);
    Window win;

    win.bulk = !state->has_point;
    win.ratio = (double)sample->dirty_bytes / sample->drained_bytes;
    win.drain_bps = sample->drained_bytes / elapsed_s;
    win.link_bps = (sample->drained_bytes -
                    fmin(sample->zero_bytes, sample->drained_bytes)) /
                   elapsed_s;
    if (win.bulk && win.link_bps > 0) {
        win.drain_bps = win.link_bps; /* what is dirtied is not zero */
    }
    win.stop_bps = lim->switchover_bps > 0 ? lim->switchover_bps :
                                             win.drain_bps;
    win.remaining_bytes = sample->remaining_bytes;
    win.stop_bytes = win.remaining_bytes + (double)sample->other_bytes;
    win.elapsed_s = elapsed_s;
    win.pass_s = elapsed_s / passes;
    win.left_s = lim->deadline_s - sample->since_start_ns / NS_PER_S;
    win.drained_bytes = sample->drained_bytes;
    win.sunk_bytes = (double)sample->drained_bytes - sample->dirty_bytes;
    win.run_share = run_s / elapsed_s;
    win.pass_run_s = run_s / passes;
    win.pass_dirty_bytes = sample->dirty_bytes / passes;
    return win;
}

/* The local exponent between the point before and this one. */
static void learn_curve(AutoConvergeState *state, const Window *win)
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
            state->exponent = clamp(dirty_log / run_log,
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
static void learn_look(AutoConvergeState *state, const Window *win,
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
           clamp(log(b->dirty_bytes / a->dirty_bytes) /
                 log(b->run_s / a->run_s), EXPONENT_MIN, EXPONENT_MAX) :
           EXPONENT_MAX;
}

/* U(w), by a look */
static double curve_dirty(const AutoConvergeState *state, double run_s)
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

/* ... and its inverse */
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

/* How long is a stop made now? */
static double stop_length_s(const Window *win)
{
    return win->stop_bytes / win->stop_bps;
}

/* Does the rest fit into an ordinary switchover? */
static bool fits_downtime(const Window *win, const Limits *lim)
{
    return win->stop_bytes <= win->stop_bps * lim->downtime_s;
}

/*
 * What a pass dirties that drains @bytes with the guest running @run_share.
 * The measured point is continued downwards with the local exponent, and
 * upwards along the secant, which a concave curve never exceeds.
 */
static double predict_dirty(const AutoConvergeState *state, const Window *win,
                            double bytes, double run_share)
{
    double step;

    if (win->pass_run_s <= 0) {
        return win->pass_dirty_bytes; /* dirtied without executing */
    }
    if (state->curve_points > 0) {
        return curve_dirty(state, run_share * bytes / win->drain_bps);
    }
    step = run_share * bytes / win->drain_bps / win->pass_run_s;
    return win->pass_dirty_bytes *
           (step < 1 ? pow(step, state->exponent) : step);
}

/*
 * The largest run share that leaves target x R after the next pass: the
 * inverse of predict_dirty().
 */
static double needed_run_share(const Window *win, const Limits *lim,
                               double exponent)
{
    double step = lim->target_ratio * win->remaining_bytes /
                  win->pass_dirty_bytes;

    if (step < 1) {
        step = pow(step, 1 / exponent);
    }
    return win->pass_run_s * step * win->drain_bps / win->remaining_bytes;
}

/* Does it end by itself, soon, at the pace at which R sinks now? */
static bool ends_soon(const Window *win, const Limits *lim,
                      double patience_windows)
{
    return win->stop_bytes - win->stop_bps * lim->downtime_s <=
           patience_windows * win->sunk_bytes;
}

/* The throttle in force decides which phase it is. */
static void set_throttle(AutoConvergeDecision *next, const Limits *lim,
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

/* Does what is left fall below the bound of a stop that soon? */
static bool stop_fits_soon(const Window *win, const Limits *lim)
{
    return lim->fallback == AUTO_CONVERGE_FALLBACK_STOP_AND_COPY &&
           lim->fallback_downtime_s > 0 &&
           win->stop_bytes > win->stop_bps * lim->fallback_downtime_s &&
           win->stop_bytes - win->stop_bps * lim->fallback_downtime_s <=
           BOUND_PATIENCE_WINDOWS * win->sunk_bytes;
}

/* Bad, and more throttle is allowed: jump to the needed run share. */
static void tighten(AutoConvergeState *state, AutoConvergeDecision *next,
                    const Window *win, const Limits *lim,
                    double run_share_max, AutoConvergeReason reason)
{
    double secant = needed_run_share(win, lim, EXPONENT_MAX);
    double needed = state->curve_points > 0 ?
                    curve_run_s(state,
                                lim->target_ratio * win->remaining_bytes) *
                    win->drain_bps / win->remaining_bytes :
                    needed_run_share(win, lim, state->exponent);

    if (fmin(secant, run_share_max) <= lim->ceiling_run_share) {
        reason = AUTO_CONVERGE_REASON_CEILING;
    } else if (needed <= lim->ceiling_run_share) {
        reason = AUTO_CONVERGE_REASON_FUTILE;
    }
    set_throttle(next, lim, run_share_to_throttle(fmin(needed, run_share_max)),
                 reason);
}

/* All that is allowed was in vain: let the guest go, for longer each time. */
static void let_go(AutoConvergeState *state, AutoConvergeDecision *next,
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

/* Is a stop allowed that copies what is left now? */
static bool may_stop(const AutoConvergeState *state, const Limits *lim)
{
    double stop_bps = lim->switchover_bps > 0 ? lim->switchover_bps :
                                                state->drain_bps;

    return lim->fallback == AUTO_CONVERGE_FALLBACK_STOP_AND_COPY &&
           (lim->fallback_downtime_s <= 0 ||
            state->stop_bytes <= stop_bps * lim->fallback_downtime_s);
}

static void fall_back(AutoConvergeDecision *next, const Limits *lim)
{
    next->phase = AUTO_CONVERGE_PHASE_FALLBACK;
    next->post_copy = lim->fallback == AUTO_CONVERGE_FALLBACK_POST_COPY;
    next->switchover = !next->post_copy;
    next->reason = next->post_copy ? AUTO_CONVERGE_REASON_POST_COPY :
                                     AUTO_CONVERGE_REASON_STOP_AND_COPY;
}

static bool can_fall_back(const AutoConvergeState *state, const Limits *lim)
{
    return lim->fallback == AUTO_CONVERGE_FALLBACK_POST_COPY ||
           may_stop(state, lim);
}

/* Nothing helps: what does the user want then? */
static void give_up(AutoConvergeState *state, AutoConvergeDecision *next,
                    const Limits *lim)
{
    if (can_fall_back(state, lim)) {
        fall_back(next, lim);
    } else {
        let_go(state, next, lim->fallback == AUTO_CONVERGE_FALLBACK_NONE ?
                            AUTO_CONVERGE_REASON_NO_FALLBACK :
                            AUTO_CONVERGE_REASON_TOO_LONG);
    }
}

/* Good, and throttled: can the guest have some of its time back? */
static void relax(AutoConvergeDecision *next, const Window *win,
                  const Limits *lim)
{
    double run_share = throttle_to_run_share(next->throttle_permille);
    double factor = RELEASE_FACTOR_MAX;
    unsigned throttle_permille;

    if (win->ratio > 0) {
        factor = clamp(lim->target_ratio / win->ratio, 1, RELEASE_FACTOR_MAX);
    }
    throttle_permille = run_share_to_throttle(run_share * factor);
    set_throttle(next, lim, throttle_permille,
                 throttle_permille == 0 ? AUTO_CONVERGE_REASON_CALM :
                 throttle_permille < next->throttle_permille ?
                 AUTO_CONVERGE_REASON_RELEASE : AUTO_CONVERGE_REASON_HOLD);
}

static void decide_good(AutoConvergeDecision *next, const Window *win,
                        const Limits *lim)
{
    if (next->throttle_permille == 0) {
        set_throttle(next, lim, 0, AUTO_CONVERGE_REASON_CONVERGES);
    } else {
        relax(next, win, lim);
    }
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
    return ends_soon(win, lim, PATIENCE_WINDOWS) &&
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
           stops * stop_length_s(win) * fmax(1, pass_s / win->pass_s);
}

/* Can the deadline still be met, if only by a stop? */
static bool deadline_is_real(const Window *win)
{
    return isfinite(win->left_s) && stop_length_s(win) <= win->left_s;
}

/* Is this the last window after which a stop meets the deadline? */
static bool deadline_is_now(const Window *win)
{
    return deadline_is_real(win) && after_window_s(win, 1) > win->left_s;
}

/*
 * Now or never: true, and a fallback, unless none is allowed.  A stop that was
 * ended is not made again before its wait is over, deadline or not.
 */
static bool meet_deadline(const AutoConvergeState *state,
                          AutoConvergeDecision *next, const Window *win,
                          const Limits *lim)
{
    if (!deadline_is_now(win) || state->stop_barred ||
        !can_fall_back(state, lim)) {
        return false;
    }
    fall_back(next, lim);
    next->reason = AUTO_CONVERGE_REASON_DEADLINE;
    return true;
}

/* Bad, and not throttled, with a deadline: is there time to look on? */
static bool deadline_is_far(const Window *win)
{
    return deadline_is_real(win) &&
           (time_left_s(win) <= win->left_s ||
            after_window_s(win, DEADLINE_STOPS) <= win->left_s);
}

/* Was WATCH shorter than a bulk pass, since the first? */
static bool may_wait(const AutoConvergeState *state)
{
    return state->free_s < 2 * state->bulk_s;
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
                curve_dirty(state, run_s);
    }
    return INFINITY;
}

/*
 * The throttle begins, unless it was tried too often; or the curve tells that
 * it costs too much, where there is something else.
 */
static void engage(AutoConvergeState *state, AutoConvergeDecision *next,
                   const Window *win, const Limits *lim)
{
    if (state->attempts >= ATTEMPTS_MAX) {
        give_up(state, next, lim);
    } else if (state->curve_points > 0 && can_fall_back(state, lim) &&
               price_stops(state, win, lim, lim->ceiling_run_share) >
               STOPS_MAX) {
        fall_back(next, lim);
    } else {
        tighten(state, next, win, lim, lim->initial_run_share,
                AUTO_CONVERGE_REASON_ENGAGE);
    }
}

/* Bad, and not throttled: a throttle can wait for as long as that may help. */
static void watch(AutoConvergeState *state, AutoConvergeDecision *next,
                  const Window *win, const Limits *lim)
{
    bool burst = win->run_share * state->free_s > BURST * state->free_run_s;
    AutoConvergeReason reason = AUTO_CONVERGE_REASON_ENGAGE;

    if (isfinite(win->left_s)) {
        reason = deadline_is_far(win) ? AUTO_CONVERGE_REASON_DEADLINE :
                                        AUTO_CONVERGE_REASON_ENGAGE;
    } else if (link_is_slow(state, win, lim)) {
        reason = AUTO_CONVERGE_REASON_SLOW_LINK;
        state->slow_s += win->elapsed_s;
        state->waited_s += win->elapsed_s;
    } else if (may_be_patient(state, win, lim)) {
        reason = AUTO_CONVERGE_REASON_PATIENCE;
    } else if (burst && may_wait(state)) {
        reason = AUTO_CONVERGE_REASON_BURST;
        state->bad_windows = 0; /* the one in which it ends is bad, too */
    } else if (++state->bad_windows < BAD_WINDOWS && !win->bulk) {
        reason = AUTO_CONVERGE_REASON_UNCONFIRMED;
    }
    if (reason == AUTO_CONVERGE_REASON_ENGAGE && lim->looks &&
        !state->looked && !isfinite(win->left_s) &&
        win->remaining_bytes / win->drain_bps >= LOOK_PASS_MIN_S) {
        reason = AUTO_CONVERGE_REASON_UNCONFIRMED;
        state->looks = true;
        state->looked = true;
    } else {
        state->looked = false;
    }
    if (reason != AUTO_CONVERGE_REASON_ENGAGE) {
        set_throttle(next, lim, 0, reason);
    } else {
        engage(state, next, win, lim);
    }
}

static void decide_bad(AutoConvergeState *state, AutoConvergeDecision *next,
                       const Window *win, const Limits *lim)
{
    double run_share = throttle_to_run_share(next->throttle_permille);

    if (next->throttle_permille == 0) {
        watch(state, next, win, lim);
    } else if (next->throttle_permille < lim->ceiling_permille) {
        tighten(state, next, win, lim, run_share - lim->increment,
                AUTO_CONVERGE_REASON_RAISE);
    } else if (ends_soon(win, lim, CEILING_PATIENCE_WINDOWS) ||
               stop_fits_soon(win, lim)) {
        set_throttle(next, lim, lim->ceiling_permille,
                     AUTO_CONVERGE_REASON_HOLD);
    } else {
        set_throttle(next, lim, lim->ceiling_permille,
                     AUTO_CONVERGE_REASON_HOLD);
        give_up(state, next, lim);
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
    bool another = state->attempts < ATTEMPTS_MAX;

    state->peak_ratio = fmax(state->peak_ratio, win->ratio);
    state->peak_dirty_bytes = fmax(state->peak_dirty_bytes,
                                   win->pass_dirty_bytes);
    if (may_stop(state, lim) && (!state->stop_barred || (waited && another))) {
        state->stop_barred = false;
        fall_back(next, lim);
    } else if (another && (waited || less)) {
        tighten(state, next, win, lim, lim->initial_run_share,
                AUTO_CONVERGE_REASON_RETRY);
    }
}

static void decide(AutoConvergeState *state, AutoConvergeDecision *next,
                   const Window *win, const Limits *lim)
{
    bool fits = fits_downtime(win, lim);
    bool bad = win->ratio > lim->threshold_ratio && !fits;

    if (next->phase == AUTO_CONVERGE_PHASE_FALLBACK) {
        return;
    }
    next->complete = fits && !win->bulk;
    if (!fits && meet_deadline(state, next, win, lim)) {
        return;
    }
    if (bad && next->phase == AUTO_CONVERGE_PHASE_LET_GO) {
        decide_let_go(state, next, win, lim);
    } else if (bad) {
        decide_bad(state, next, win, lim);
    } else {
        state->slow_s = 0;
        state->looked = false;
        if (may_wait(state)) {
            state->bad_windows = 0;
        }
        decide_good(next, win, lim);
    }
}

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

    return after == before ? win->ratio :
           predict_dirty(state, win, win->remaining_bytes, run_share) /
           win->remaining_bytes;
}

/* When will it have completed, with the throttle just decided? */
static uint64_t predict_time_ms(const AutoConvergeState *state,
                                const Window *win, const Limits *lim,
                                const AutoConvergeDecision *next)
{
    double pass_s = win->remaining_bytes / win->drain_bps;
    double ratio;

    if (next->switchover || fits_downtime(win, lim)) {
        return double_to_u64(stop_length_s(win) * MS_PER_S);
    }
    if (next->post_copy) {
        return double_to_u64(pass_s * MS_PER_S);
    }
    ratio = predict_ratio(state, win,
                          throttle_to_run_share(state->last.throttle_permille),
                          throttle_to_run_share(next->throttle_permille));
    return ratio < 1 ? double_to_u64(pass_s / (1 - ratio) * MS_PER_S) :
           AUTO_CONVERGE_NEVER;
}

/*
 * What does the guest lose until then, in time that its work takes when nothing
 * holds it back?  Of what it executed freely, the part that it may not execute
 * now; and the final stop.
 */
static uint64_t predict_loss_ms(const AutoConvergeState *state,
                                const Window *win, const Limits *lim,
                                const AutoConvergeDecision *next)
{
    double demand = state->free_s > 0 ? state->free_run_s / state->free_s : 1;
    double run_share = throttle_to_run_share(next->throttle_permille);
    double lost_share = demand > run_share ? 1 - run_share / demand : 0;

    if (next->switchover || next->post_copy ||
        next->predicted_time_ms == AUTO_CONVERGE_NEVER) {
        return next->switchover ? next->predicted_downtime_ms :
               next->post_copy ? 0 : AUTO_CONVERGE_NEVER;
    }
    return double_to_u64(lost_share * next->predicted_time_ms +
                         fmin(stop_length_s(win), lim->downtime_s) * MS_PER_S);
}

void auto_converge_init(AutoConvergeState *state)
{
    *state = (AutoConvergeState) {
        .last.phase = AUTO_CONVERGE_PHASE_WATCH,
        .last.reason = AUTO_CONVERGE_REASON_START,
        .last.predicted_downtime_ms = AUTO_CONVERGE_NEVER,
        .last.predicted_time_ms = AUTO_CONVERGE_NEVER,
        .last.predicted_loss_ms = AUTO_CONVERGE_NEVER,
        .exponent = EXPONENT_MAX,
    };
}

/*
 * The first window after a lease was up was sent in part only, and the guest
 * ran freely in the rest of it: it says that it goes on, and nothing else.
 */
static void resume(AutoConvergeState *state, AutoConvergeDecision *next,
                   const Limits *lim)
{
    set_throttle(next, lim, state->leased_permille,
                 AUTO_CONVERGE_REASON_RESUME);
    state->leased_permille = 0;
}

/* Is there a throttle to look at?  A fallback has none, whatever it had. */
static bool is_throttled(const AutoConvergeDecision *decision)
{
    return decision->phase == AUTO_CONVERGE_PHASE_THROTTLE ||
           decision->phase == AUTO_CONVERGE_PHASE_CEILING;
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

static void take_window(AutoConvergeState *state, AutoConvergeDecision *next,
                        const Window *win, const Limits *lim)
{
    bool leased = state->leased_permille > 0;

    state->looks = false;
    if (win->bulk) {
        state->bulk_s = win->drained_bytes / win->drain_bps;
    }
    state->fastest_bps = fmax(state->fastest_bps, win->link_bps);
    if (!leased) {
        learn_curve(state, win);
    }
    state->remaining_bytes = win->remaining_bytes;
    state->stop_bytes = win->stop_bytes;
    state->drain_bps = win->drain_bps;
    if (next->phase == AUTO_CONVERGE_PHASE_LET_GO) {
        state->let_go_s += win->elapsed_s;
    } else if (next->throttle_permille > 0) {
        state->attempt_s += win->elapsed_s;
    } else {
        state->attempt_s = 0;
        state->free_s += win->elapsed_s;
        state->free_run_s += win->run_share * win->elapsed_s;
    }
    if (leased) {
        resume(state, next, lim);
    } else {
        decide(state, next, win, lim);
    }
}

/* The whole window, when it goes on as it began: its ratio is the least. */
static Window extrapolate(const AutoConvergeState *state, const Window *part)
{
    double factor = state->remaining_bytes / part->drained_bytes;
    Window win = *part;

    win.elapsed_s *= factor;
    win.drained_bytes *= factor;
    win.sunk_bytes *= factor;
    win.pass_s *= factor;
    win.pass_run_s *= factor;
    win.pass_dirty_bytes *= factor;
    return win;
}

/*
 * A look at a pass of a throttled guest.  The longer ago a page was sent, the
 * likelier it is dirty again, so the ratio only grows until the pass is over:
 * what would be in vain then is in vain now.  The rest the whole pass tells.
 * False when it is to go on.
 */
static bool take_look(AutoConvergeState *state, AutoConvergeDecision *next,
                      const Window *win, const Limits *lim)
{
    bool enough = win->drained_bytes >= LOOK_PART * state->remaining_bytes;
    bool in_vain = win->ratio > IN_VAIN_RATIO;
    Window whole;

    state->stop_bytes = win->stop_bytes;
    state->drain_bps = win->drain_bps;
    set_throttle(next, lim, next->throttle_permille, next->reason);
    next->complete = fits_downtime(win, lim);
    if (next->complete) {
        return false;
    }
    if (meet_deadline(state, next, win, lim)) {
        return true;
    }
    if (!enough || !in_vain) {
        return false;
    }
    if (next->phase == AUTO_CONVERGE_PHASE_THROTTLE) {
        whole = extrapolate(state, win);
        take_window(state, next, &whole, lim);
        return true;
    }
    if (can_fall_back(state, lim)) {
        fall_back(next, lim);
        return true;
    }
    return false;
}

/*
 * A look at a guest that runs freely, and was too busy in the window before: is
 * it still, and which throttle does it need?  False when it is to go on.
 */
static bool take_first_look(AutoConvergeState *state,
                            AutoConvergeDecision *next, const Window *part,
                            const Limits *lim, const AutoConvergeSample *sample)
{
    Window win = *part;
    double pass_run_s;

    state->looks = false;
    learn_look(state, part, sample);
    win.pass_run_s = state->point_run_s;
    win.pass_dirty_bytes = state->point_dirty_bytes;
    pass_run_s = part->run_share * win.remaining_bytes / win.drain_bps;
    next->complete = fits_downtime(&win, lim);
    if (next->complete ||
        (state->curve_points > 0 ? curve_dirty(state, pass_run_s) : 0) <=
        lim->threshold_ratio * win.remaining_bytes) {
        return false;
    }
    state->free_s += win.elapsed_s;
    state->free_run_s += win.run_share * win.elapsed_s;
    state->remaining_bytes = win.remaining_bytes;
    state->stop_bytes = win.stop_bytes;
    engage(state, next, &win, lim);
    return true;
}

/*
 * When to look next?  After a part of the pass, and at last when it is over:
 * @left_bytes of it are.
 */
static unsigned plan_look_ms(const AutoConvergeState *state,
                             const AutoConvergeDecision *next,
                             const Limits *lim, double left_bytes)
{
    double bytes = fmin(LOOK_PART * state->remaining_bytes, left_bytes);

    if (state->looks) {
        return clamp(ceil(bytes / state->drain_bps * MS_PER_S),
                     AUTO_CONVERGE_COUNT_FIRST_MS, INT_MAX);
    }
    if (!is_throttled(next) || (next->phase == AUTO_CONVERGE_PHASE_CEILING &&
                                !can_fall_back(state, lim))) {
        return 0;
    }
    return clamp(ceil(bytes / state->drain_bps * MS_PER_S) + 1, LOOK_MIN_MS,
                 INT_MAX);
}

/* True when the sample is done with, false when it is to be added to. */
static bool take_sample(AutoConvergeState *state, AutoConvergeDecision *next,
                        const Limits *lim, const AutoConvergeSample *sample)
{
    Window win = measure_window(state, lim, sample);
    bool goes_on = false;

    if (!sample->partial) {
        take_window(state, next, &win, lim);
    } else if (state->looks) {
        /* B of such a short time says nothing. */
        win.drain_bps = state->drain_bps;
        win.stop_bps = lim->switchover_bps > 0 ? lim->switchover_bps :
                                                 win.drain_bps;
        goes_on = !take_first_look(state, next, &win, lim, sample);
    } else {
        goes_on = !take_look(state, next, &win, lim);
    }
    next->look_ms = plan_look_ms(state, next, lim, state->remaining_bytes -
                                 (goes_on ? win.drained_bytes : 0));
    next->look_bytes = state->looks ?
                       IN_VAIN_RATIO * win.remaining_bytes : 0;
    next->predicted_downtime_ms = double_to_u64(stop_length_s(&win) * MS_PER_S);
    next->predicted_time_ms = predict_time_ms(state, &win, lim, next);
    next->predicted_loss_ms = predict_loss_ms(state, &win, lim, next);
    return !goes_on;
}

AutoConvergeDecision auto_converge_update(AutoConvergeState *state,
                                          const AutoConvergeConfig *config,
                                          const AutoConvergeSample *sample)
{
    const Limits lim = limits_from_config(config);
    AutoConvergeDecision next = state->last;
    AutoConvergeSample sum = add_samples(&state->so_far, sample);
    bool done = true;

    /* Where as much was drained as there was, the pass is over. */
    sum.partial = sum.partial && (is_throttled(&next) || state->looks) &&
                  sum.drained_bytes < state->remaining_bytes;
    next.dirty_rate_bps = bytes_to_bps(sum.dirty_bytes, sum.elapsed_ns);
    next.transfer_rate_bps = bytes_to_bps(sum.drained_bytes, sum.elapsed_ns);
    next.predicted_downtime_ms = AUTO_CONVERGE_NEVER;
    next.predicted_time_ms = AUTO_CONVERGE_NEVER;
    next.predicted_loss_ms = AUTO_CONVERGE_NEVER;
    next.complete = false;

    if (sample_is_usable(&sum)) {
        done = take_sample(state, &next, &lim, &sum);
    } else if (next.phase != AUTO_CONVERGE_PHASE_FALLBACK &&
               next.phase != AUTO_CONVERGE_PHASE_LET_GO) {
        set_throttle(&next, &lim, next.throttle_permille,
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
    next.look_ms = plan_look_ms(state, &next, lim, state->remaining_bytes);
    state->last.look_ms = next.look_ms;
    return next;
}

/* In the middle of a stop: is it still what the user wants? */
static void reconfigure_fallback(AutoConvergeState *state,
                                 AutoConvergeDecision *next, const Limits *lim)
{
    if (next->switchover && !may_stop(state, lim)) {
        give_up(state, next, lim);
    }
}

AutoConvergeDecision
auto_converge_reconfigure(AutoConvergeState *state,
                          const AutoConvergeConfig *config)
{
    const Limits lim = limits_from_config(config);
    AutoConvergeDecision next = state->last;

    state->attempts = 0;
    state->wait_s = 0;
    state->stop_barred = false;
    switch (next.phase) {
    case AUTO_CONVERGE_PHASE_THROTTLE:
    case AUTO_CONVERGE_PHASE_CEILING:
        if (next.throttle_permille > lim.ceiling_permille) {
            set_throttle(&next, &lim, lim.ceiling_permille,
                         AUTO_CONVERGE_REASON_CEILING);
        }
        break;
    case AUTO_CONVERGE_PHASE_FALLBACK:
        reconfigure_fallback(state, &next, &lim);
        break;
    case AUTO_CONVERGE_PHASE_LET_GO:
        if (state->leased_permille == 0 &&
            can_fall_back(state, &lim)) {
            fall_back(&next, &lim);
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
    const Limits lim = limits_from_config(config);

    state->remaining_bytes = remaining_bytes;
    return plan_anew(state, state->last, &lim);
}

AutoConvergeDecision auto_converge_lease_up(AutoConvergeState *state)
{
    AutoConvergeDecision next = state->last;

    if (next.throttle_permille > 0 &&
        next.phase != AUTO_CONVERGE_PHASE_FALLBACK) {
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
    let_go(state, &next, reason);
    state->stop_barred = true;
    next.predicted_time_ms = AUTO_CONVERGE_NEVER;
    next.predicted_loss_ms = AUTO_CONVERGE_NEVER;
    return decide_between(state, next);
}

uint64_t auto_converge_stop_length_ms(const AutoConvergeState *state,
                                      const AutoConvergeConfig *config,
                                      uint64_t bytes)
{
    double stop_bps = config->switchover_bps > 0 ? config->switchover_bps :
                                                   state->drain_bps;

    return stop_bps > 0 ? double_to_u64(bytes / stop_bps * MS_PER_S) :
           AUTO_CONVERGE_NEVER;
}

const char *auto_converge_phase_name(AutoConvergePhase phase)
{
    static const char *const names[AUTO_CONVERGE_PHASE__MAX] = {
        [AUTO_CONVERGE_PHASE_WATCH] = "watch",
        [AUTO_CONVERGE_PHASE_THROTTLE] = "throttle",
        [AUTO_CONVERGE_PHASE_CEILING] = "ceiling",
        [AUTO_CONVERGE_PHASE_FALLBACK] = "fallback",
        [AUTO_CONVERGE_PHASE_LET_GO] = "let-go",
    };

    assert((unsigned)phase < AUTO_CONVERGE_PHASE__MAX);
    return names[phase];
}

const char *auto_converge_reason_name(AutoConvergeReason reason)
{
    static const char *const names[AUTO_CONVERGE_REASON__MAX] = {
        [AUTO_CONVERGE_REASON_START] = "start",
        [AUTO_CONVERGE_REASON_REJECTED] = "rejected",
        [AUTO_CONVERGE_REASON_CONVERGES] = "converges",
        [AUTO_CONVERGE_REASON_PATIENCE] = "patience",
        [AUTO_CONVERGE_REASON_UNCONFIRMED] = "unconfirmed",
        [AUTO_CONVERGE_REASON_BURST] = "burst",
        [AUTO_CONVERGE_REASON_SLOW_LINK] = "slow-link",
        [AUTO_CONVERGE_REASON_DEADLINE] = "deadline",
        [AUTO_CONVERGE_REASON_ENGAGE] = "engage",
        [AUTO_CONVERGE_REASON_RAISE] = "raise",
        [AUTO_CONVERGE_REASON_HOLD] = "hold",
        [AUTO_CONVERGE_REASON_RELEASE] = "release",
        [AUTO_CONVERGE_REASON_CALM] = "calm",
        [AUTO_CONVERGE_REASON_CEILING] = "ceiling",
        [AUTO_CONVERGE_REASON_FUTILE] = "futile",
        [AUTO_CONVERGE_REASON_NO_FALLBACK] = "no-fallback",
        [AUTO_CONVERGE_REASON_TOO_LONG] = "too-long",
        [AUTO_CONVERGE_REASON_STOP_AND_COPY] = "stop-and-copy",
        [AUTO_CONVERGE_REASON_POST_COPY] = "post-copy",
        [AUTO_CONVERGE_REASON_OUTLASTED] = "outlasted",
        [AUTO_CONVERGE_REASON_STALLED] = "stalled",
        [AUTO_CONVERGE_REASON_RESUME] = "resume",
        [AUTO_CONVERGE_REASON_RETRY] = "retry",
    };

    assert((unsigned)reason < AUTO_CONVERGE_REASON__MAX);
    return names[reason];
}
