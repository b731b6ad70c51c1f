/*
 * A grid of guests, and what the controllers make of it
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "ac-grid.h"

#define GB 1e9
#define MB 1e6

/* What a busy guest does in the calm part of its period */
#define CALM_ACTIVITY 0.05

#define AXIS(...) (const double[]) { __VA_ARGS__ }, \
                  ARRAY_SIZE(((const double[]) { __VA_ARGS__ }))

/* The values that a member of AcPoint takes; the first axis changes slowest. */
typedef struct Axis {
    size_t offset;
    const double *values;
    unsigned count;
} Axis;

static const Axis standard[] = {
    { offsetof(AcPoint, ram_bytes), AXIS(4 * GB, 16 * GB, 64 * GB) },
    { offsetof(AcPoint, link_bps), AXIS(100 * MB, 1000 * MB) },
    { offsetof(AcPoint, set_share), AXIS(0.02, 0.1, 0.5) },
    { offsetof(AcPoint, rate_ratio), AXIS(0.4, 1.2, 3.8, 12, 38, 120) },
    { offsetof(AcPoint, demand), AXIS(0.2, 0.5, 1) },
    { offsetof(AcPoint, hot_cold), AXIS(0, 1) },
};

static const Axis periodic[] = {
    { offsetof(AcPoint, ram_bytes), AXIS(4 * GB, 16 * GB) },
    { offsetof(AcPoint, link_bps), AXIS(100 * MB, 1000 * MB) },
    { offsetof(AcPoint, set_share), AXIS(0.02, 0.1, 0.5) },
    { offsetof(AcPoint, rate_ratio), AXIS(1.2, 3.8, 12, 38) },
    { offsetof(AcPoint, period_s), AXIS(5, 15, 40, 120) },
    { offsetof(AcPoint, duty), AXIS(0.1, 0.25, 0.5) },
    { offsetof(AcPoint, phase), AXIS(0, 0.5) },
    { offsetof(AcPoint, hot_cold), AXIS(0, 1) },
};

static const Axis resonance[] = {
    { offsetof(AcPoint, ram_bytes), AXIS(4 * GB, 16 * GB) },
    { offsetof(AcPoint, link_bps), AXIS(100 * MB, 1000 * MB) },
    { offsetof(AcPoint, set_share), AXIS(0.02, 0.1, 0.5) },
    { offsetof(AcPoint, rate_ratio), AXIS(1.2, 3.8, 12, 38) },
    { offsetof(AcPoint, period_s), AXIS(1, 1.17, 1.37, 1.6, 1.87, 2.19, 2.57,
        3, 3.51, 4.11, 4.81, 5.62, 6.58, 7.7, 9.01, 10.5, 12.3, 14.4, 16.9,
        19.7, 23.1, 27, 31.6, 37, 43.3, 50.7, 59.3, 69.3, 81.1, 94.9, 111) },
    { offsetof(AcPoint, duty), AXIS(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7) },
    { offsetof(AcPoint, phase), AXIS(0.3) },
    { offsetof(AcPoint, hot_cold), AXIS(0, 1) },
};

static const Axis brown_outs[] = {
    { offsetof(AcPoint, ram_bytes), AXIS(4 * GB, 16 * GB) },
    { offsetof(AcPoint, link_bps), AXIS(100 * MB, 1000 * MB) },
    { offsetof(AcPoint, set_share), AXIS(0.02, 0.1, 0.5) },
    { offsetof(AcPoint, rate_ratio), AXIS(0.1, 0.3, 0.6) },
    { offsetof(AcPoint, fall), AXIS(0.02, 0.1, 0.3) },
    { offsetof(AcPoint, fall_s), AXIS(5, 20, 60) },
    { offsetof(AcPoint, fall_from), AXIS(0.5, 1.02) },
    { offsetof(AcPoint, hot_cold), AXIS(0, 1) },
};

static const Axis shared[] = {
    { offsetof(AcPoint, ram_bytes), AXIS(4 * GB, 16 * GB) },
    { offsetof(AcPoint, link_bps), AXIS(100 * MB, 1000 * MB) },
    { offsetof(AcPoint, set_share), AXIS(0.02, 0.1, 0.5) },
    { offsetof(AcPoint, rate_ratio), AXIS(0.3, 0.6, 0.9, 1.2, 3.8) },
    { offsetof(AcPoint, share_period_s), AXIS(4, 20, 60, 200, 600) },
    { offsetof(AcPoint, share_factor), AXIS(0.02, 0.1, 0.3, 0.6) },
    { offsetof(AcPoint, hot_cold), AXIS(0, 1) },
};

static AcPoint *grid_points(const Axis *axes, unsigned axis_count,
                            unsigned *count)
{
    AcPoint *points;
    unsigned i, axis;

    *count = 1;
    for (axis = 0; axis < axis_count; axis++) {
        *count *= axes[axis].count;
    }
    points = g_new0(AcPoint, *count);
    for (i = 0; i < *count; i++) {
        unsigned rest = i;

        points[i].demand = 1;
        points[i].page_cost = 1;
        for (axis = axis_count; axis-- > 0; ) {
            double *member = (double *)((char *)&points[i] +
                                        axes[axis].offset);

            *member = axes[axis].values[rest % axes[axis].count];
            rest /= axes[axis].count;
        }
    }
    return points;
}

AcPoint *ac_grid_points(unsigned *count)
{
    return grid_points(standard, ARRAY_SIZE(standard), count);
}

AcPoint *ac_grid_periodic(unsigned *count)
{
    return grid_points(periodic, ARRAY_SIZE(periodic), count);
}

AcPoint *ac_grid_resonance(unsigned *count)
{
    return grid_points(resonance, ARRAY_SIZE(resonance), count);
}

AcPoint *ac_grid_brown_outs(unsigned *count)
{
    return grid_points(brown_outs, ARRAY_SIZE(brown_outs), count);
}

AcPoint *ac_grid_shared(unsigned *count)
{
    return grid_points(shared, ARRAY_SIZE(shared), count);
}

AcGuest ac_guest_from_point(const AcPoint *point)
{
    double set_bytes = point->ram_bytes * point->set_share;
    double write_bps = point->link_bps / point->page_cost * point->rate_ratio;

    AcGuest guest = point->hot_cold ?
        ac_guest_hot_cold(point->ram_bytes, set_bytes, write_bps,
                          point->demand) :
        ac_guest_uniform(point->ram_bytes, set_bytes, write_bps,
                         point->demand);

    guest.page_cost = point->page_cost;
    guest.zero_share = fmin(point->zero_share, 1 - point->set_share);
    guest.period_s = point->period_s;
    guest.duty = point->duty;
    guest.calm_activity = CALM_ACTIVITY;
    guest.phase_s = point->phase * point->period_s;
    guest.late_s = point->late_s;
    guest.leak = point->leak;
    guest.clock_error = point->clock_error;
    guest.kernel_log = point->kernel_log;
    return guest;
}

AcLink ac_link_from_point(const AcPoint *point)
{
    AcLink link = ac_link_steady(point->link_bps);

    if (point->fall > 0) {
        link.steps[0].from_s = point->fall_from * point->ram_bytes /
                               point->link_bps;
        link.steps[0].factor = point->fall;
        link.steps[1].from_s = link.steps[0].from_s + point->fall_s;
        link.steps[1].factor = 1;
        link.step_count = 2;
    }
    link.share_period_s = point->share_period_s;
    link.share_factor = point->share_factor;
    return link;
}

void ac_case_run(AcCase *c, const AutoConvergeConfig *config)
{
    AcGuest guest = ac_guest_from_point(&c->point);
    AcLink link = ac_link_from_point(&c->point);
    AcRun run = { .kind = AC_KIND_NONE };

    c->none = ac_run(&run, config, &guest, &link);
    run.kind = AC_KIND_COUNTER;
    c->counter = ac_run(&run, config, &guest, &link);
    run.kind = AC_KIND_ADAPTIVE;
    c->adaptive = ac_run(&run, config, &guest, &link);
    c->oracle = ac_run_oracle(config, &guest, &link);
    c->stop = ac_run_stop(config, &guest, &link);
    c->class = c->none.outcome == AC_OUTCOME_CONVERGED ? AC_CLASS_CALM :
               c->oracle.outcome == AC_OUTCOME_CONVERGED ? AC_CLASS_MIDDLE :
               AC_CLASS_PATHOLOGICAL;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The value that the share @q of all does not exceed. */
static double quantile(const double *sorted, unsigned count, double q)
{
    unsigned rank = ceil(q * count);

    return count ? sorted[MAX(rank, 1) - 1] : 0;
}

static AcQuantiles quantiles(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), compare_doubles);
    return (AcQuantiles) {
        .count = count,
        .median = quantile(values, count, 0.5),
        .p90 = quantile(values, count, 0.9),
        .p95 = quantile(values, count, 0.95),
        .max = quantile(values, count, 1),
    };
}

typedef struct Values {
    double *values;
    unsigned count;
} Values;

static void add_value(Values *values, double value)
{
    values->values[values->count++] = value;
}

static AcQuantiles take_quantiles(Values *values)
{
    AcQuantiles result = quantiles(values->values, values->count);

    g_free(values->values);
    return result;
}

/* Of the guests that need help */
typedef struct Ratios {
    Values time_to_counter, lost_to_counter, lost_to_oracle, lost_to_least;
    Values lost_in_stops, deeper_pct, windows;
} Ratios;

static void account_for_help(Ratios *ratios, const AcCase *c)
{
    const AcResult *ours = &c->adaptive;
    bool endless = c->counter.outcome == AC_OUTCOME_ENDLESS;

    /* Against something without an end, everything is nothing. */
    add_value(&ratios->time_to_counter,
              endless ? 0 : ours->after_bulk_s / c->counter.after_bulk_s);
    add_value(&ratios->lost_to_counter,
              endless ? 0 : ours->lost_s / c->counter.lost_s);
    add_value(&ratios->lost_to_oracle, ours->lost_s / c->oracle.lost_s);
    add_value(&ratios->lost_to_least,
              ours->lost_s / fmin(c->oracle.lost_s, c->stop.lost_s));
    if (ours->outcome == AC_OUTCOME_STOPPED) {
        add_value(&ratios->lost_in_stops, ours->lost_s / c->stop.lost_s);
    }
    if (c->class == AC_CLASS_PATHOLOGICAL) {
        add_value(&ratios->windows, ours->windows);
    } else {
        add_value(&ratios->deeper_pct,
                  ((double)ours->throttle_max_permille -
                   c->oracle.throttle_max_permille) / 10);
    }
}

static void account(AcSummary *sum, Ratios *ratios, const AcCase *c)
{
    sum->classes[c->class]++;
    sum->counter_endless += c->counter.outcome == AC_OUTCOME_ENDLESS;
    sum->adaptive_endless += c->adaptive.outcome == AC_OUTCOME_ENDLESS;
    if (c->adaptive.outcome == AC_OUTCOME_STOPPED) {
        double error = fabs(c->adaptive.downtime_s /
                            c->adaptive.predicted_downtime_s - 1);

        sum->prediction_error_max = fmax(sum->prediction_error_max, error);
    }
    if (c->class == AC_CLASS_CALM) {
        sum->calm_touched += c->adaptive.lost_s > AC_CALM_LOST_S;
    } else {
        account_for_help(ratios, c);
    }
}

AcSummary ac_summarise(const AcCase *cases, unsigned count)
{
    AcSummary sum = { .guests = count };
    Ratios ratios = {
        .time_to_counter.values = g_new0(double, count),
        .lost_to_counter.values = g_new0(double, count),
        .lost_to_oracle.values = g_new0(double, count),
        .lost_to_least.values = g_new0(double, count),
        .lost_in_stops.values = g_new0(double, count),
        .deeper_pct.values = g_new0(double, count),
        .windows.values = g_new0(double, count),
    };
    unsigned i;

    for (i = 0; i < count; i++) {
        account(&sum, &ratios, &cases[i]);
    }
    sum.time_to_counter = take_quantiles(&ratios.time_to_counter);
    sum.lost_to_counter = take_quantiles(&ratios.lost_to_counter);
    sum.lost_to_oracle = take_quantiles(&ratios.lost_to_oracle);
    sum.lost_to_least = take_quantiles(&ratios.lost_to_least);
    sum.lost_in_stops = take_quantiles(&ratios.lost_in_stops);
    sum.deeper_pct = take_quantiles(&ratios.deeper_pct);
    sum.windows_to_stop = take_quantiles(&ratios.windows);
    return sum;
}

const char *ac_class_name(AcClass class)
{
    static const char *const names[AC_CLASS__MAX] = {
        [AC_CLASS_CALM] = "calm",
        [AC_CLASS_MIDDLE] = "middle",
        [AC_CLASS_PATHOLOGICAL] = "pathological",
    };

    g_assert(class < AC_CLASS__MAX);
    return names[class];
}
