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

static const double ram_bytes[] = { 4 * GB, 16 * GB, 64 * GB };
static const double link_bps[] = { 100 * MB, 1000 * MB };
static const double set_shares[] = { 0.02, 0.1, 0.5 };
static const double rate_ratios[] = { 0.4, 1.2, 3.8, 12, 38, 120 };
static const double demands[] = { 0.2, 0.5, 1 };

AcPoint *ac_grid_points(unsigned *count)
{
    unsigned total = ARRAY_SIZE(ram_bytes) * ARRAY_SIZE(link_bps) *
                     ARRAY_SIZE(set_shares) * ARRAY_SIZE(rate_ratios) *
                     ARRAY_SIZE(demands) * 2;
    AcPoint *points = g_new0(AcPoint, total);
    unsigned i;

    for (i = 0; i < total; i++) {
        unsigned rest = i;

        points[i].hot_cold = rest % 2;
        rest /= 2;
        points[i].demand = demands[rest % ARRAY_SIZE(demands)];
        rest /= ARRAY_SIZE(demands);
        points[i].rate_ratio = rate_ratios[rest % ARRAY_SIZE(rate_ratios)];
        rest /= ARRAY_SIZE(rate_ratios);
        points[i].set_share = set_shares[rest % ARRAY_SIZE(set_shares)];
        rest /= ARRAY_SIZE(set_shares);
        points[i].link_bps = link_bps[rest % ARRAY_SIZE(link_bps)];
        rest /= ARRAY_SIZE(link_bps);
        points[i].ram_bytes = ram_bytes[rest];
        points[i].page_cost = 1;
    }
    *count = total;
    return points;
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
    guest.late_s = point->late_s;
    guest.leak = point->leak;
    guest.clock_error = point->clock_error;
    return guest;
}

void ac_case_run(AcCase *c, const AutoConvergeConfig *config)
{
    AcGuest guest = ac_guest_from_point(&c->point);
    AcLink link = ac_link_steady(c->point.link_bps);
    AcRun run = { .kind = AC_KIND_NONE };

    c->none = ac_run(&run, config, &guest, &link);
    run.kind = AC_KIND_COUNTER;
    c->counter = ac_run(&run, config, &guest, &link);
    run.kind = AC_KIND_ADAPTIVE;
    c->adaptive = ac_run(&run, config, &guest, &link);
    c->oracle = ac_run_oracle(config, &guest, &link);
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

typedef struct Ratios {
    double *time_to_counter, *lost_to_counter, *lost_to_oracle, *windows;
    unsigned helped, pathological;
} Ratios;

static void account(AcSummary *sum, Ratios *ratios, const AcCase *c)
{
    bool endless = c->counter.outcome == AC_OUTCOME_ENDLESS;

    sum->classes[c->class]++;
    sum->counter_endless += endless;
    sum->adaptive_endless += c->adaptive.outcome == AC_OUTCOME_ENDLESS;
    if (c->adaptive.outcome == AC_OUTCOME_STOPPED) {
        double error = fabs(c->adaptive.downtime_s /
                            c->adaptive.predicted_downtime_s - 1);

        sum->prediction_error_max = fmax(sum->prediction_error_max, error);
    }
    if (c->class == AC_CLASS_CALM) {
        sum->calm_touched += c->adaptive.lost_s > AC_CALM_LOST_S;
        return;
    }
    /* Against something without an end, everything is nothing. */
    ratios->time_to_counter[ratios->helped] =
        endless ? 0 : c->adaptive.after_bulk_s / c->counter.after_bulk_s;
    ratios->lost_to_counter[ratios->helped] =
        endless ? 0 : c->adaptive.lost_s / c->counter.lost_s;
    ratios->lost_to_oracle[ratios->helped] =
        c->adaptive.lost_s / c->oracle.lost_s;
    ratios->helped++;
    if (c->class == AC_CLASS_PATHOLOGICAL) {
        ratios->windows[ratios->pathological++] = c->adaptive.windows;
    }
}

AcSummary ac_summarise(const AcCase *cases, unsigned count)
{
    AcSummary sum = { .guests = count };
    Ratios ratios = {
        .time_to_counter = g_new0(double, count),
        .lost_to_counter = g_new0(double, count),
        .lost_to_oracle = g_new0(double, count),
        .windows = g_new0(double, count),
    };
    unsigned i;

    for (i = 0; i < count; i++) {
        account(&sum, &ratios, &cases[i]);
    }
    sum.time_to_counter = quantiles(ratios.time_to_counter, ratios.helped);
    sum.lost_to_counter = quantiles(ratios.lost_to_counter, ratios.helped);
    sum.lost_to_oracle = quantiles(ratios.lost_to_oracle, ratios.helped);
    sum.windows_to_stop = quantiles(ratios.windows, ratios.pathological);
    g_free(ratios.time_to_counter);
    g_free(ratios.lost_to_counter);
    g_free(ratios.lost_to_oracle);
    g_free(ratios.windows);
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
