/*
 * Adaptive auto-converge: one window, as measured
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the parameters allow, and a sample in the terms of the law.
 */

#include "qemu/osdep.h"
#include <math.h>
#include "auto-converge-internal.h"

/*
 * The window aims at this part of the trigger threshold.  Work lost until
 * completion grows with (1 - target b) / (1 - target), b = B / r, so lower is
 * cheaper; below one half that gains little, and costs responsiveness.
 * Breaks: /auto-converge/law/engage-jumps
 */
#define TARGET_OF_THRESHOLD 0.5

#define PCT_MIN 1
#define PCT_MAX 99
#define THRESHOLD_PCT_MAX 100

double ac_clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

uint64_t ac_to_u64(double value)
{
    value = ceil(value);
    return value < (double)UINT64_MAX ? (uint64_t)value : UINT64_MAX - 1;
}

uint64_t ac_bps(uint64_t bytes, uint64_t elapsed_ns)
{
    return elapsed_ns ? ac_to_u64(bytes * NS_PER_S / elapsed_ns) : 0;
}

double ac_run_share(unsigned throttle_permille)
{
    return 1 - throttle_permille / PERMILLE;
}

unsigned ac_throttle(double run_share)
{
    return lround((1 - ac_clamp(run_share, 0, 1)) * PERMILLE);
}

static double pct_to_ratio(unsigned pct, unsigned max_pct)
{
    return ac_clamp(pct, PCT_MIN, max_pct) / 100.0;
}

Limits ac_limits(const AutoConvergeConfig *config)
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
    lim.ceiling_permille = ac_throttle(lim.ceiling_run_share);
    lim.downtime_s = config->downtime_limit_ms / MS_PER_S;
    lim.fallback_downtime_s = config->fallback_downtime_ms / MS_PER_S;
    lim.switchover_bps = config->switchover_bps;
    lim.deadline_s = config->deadline_s ? config->deadline_s : INFINITY;
    lim.fallback = config->fallback;
    lim.looks = config->looks;
    return lim;
}

bool ac_sample_is_usable(const AutoConvergeSample *sample)
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

Window ac_measure_window(const AutoConvergeState *state,
                         const Limits *lim,
                         const AutoConvergeSample *sample)
{
    double passes = count_passes(state, sample);
    double elapsed_s = sample->elapsed_ns / NS_PER_S;
    double run_s = fmin(sample->guest_run_ns / NS_PER_S, elapsed_s);
    double sent_bytes = sample->drained_bytes;
    double link_bytes = sent_bytes - fmin(sample->zero_bytes, sent_bytes);
    Window win;

    win.bulk = !state->has_point;
    if (win.bulk && link_bytes > 0) {
        sent_bytes = link_bytes; /* what is dirtied is not zero */
    }
    win.ratio = sample->dirty_bytes / sent_bytes;
    win.drain_bps = sent_bytes / elapsed_s;
    win.link_bps = link_bytes / elapsed_s;
    if (link_bytes <= 0) {
        /* Zero pages alone say nothing of the link. */
        win.link_bps = state->link_bps > 0 ? state->link_bps : win.drain_bps;
    }
    win.stop_bps = ac_stop_bps(lim, win.link_bps);
    win.remaining_bytes = sample->remaining_bytes;
    win.stop_bytes = win.remaining_bytes + (double)sample->other_bytes;
    win.elapsed_s = elapsed_s;
    win.pass_s = elapsed_s / passes;
    win.left_s = lim->deadline_s - sample->since_start_ns / NS_PER_S;
    win.drained_bytes = sample->drained_bytes;
    win.sunk_bytes = sent_bytes - sample->dirty_bytes;
    win.run_share = run_s / elapsed_s;
    win.pass_run_s = run_s / passes;
    win.pass_dirty_bytes = sample->dirty_bytes / passes;
    return win;
}

double ac_stop_bps(const Limits *lim, double link_bps)
{
    return lim->switchover_bps > 0 ? lim->switchover_bps : link_bps;
}

double ac_stop_length_s(const Window *win)
{
    return win->stop_bytes / win->stop_bps;
}

bool ac_fits_downtime(const Window *win, const Limits *lim)
{
    return win->stop_bytes <= win->stop_bps * lim->downtime_s;
}
