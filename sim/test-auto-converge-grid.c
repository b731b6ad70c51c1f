/*
 * Adaptive auto-converge: grids of guests and links, and their bars
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "ac-config.h"
#include "ac-grid.h"
#include "ac-scenarios.h"

/*
 * The bars of the grid, in brackets what was measured when they were set.
 * What is left to the bar is slack for a change that is worth it elsewhere.
 */
static AcSummary run_grid(double kernel_log, double zero_share)
{
    AutoConvergeConfig config = ac_config_unbounded();
    unsigned count, i;
    AcPoint *points = ac_grid_points(&count);
    AcCase *cases = g_new0(AcCase, count);
    AcSummary sum;

    for (i = 0; i < count; i++) {
        cases[i].point = points[i];
        cases[i].point.kernel_log = kernel_log;
        cases[i].point.zero_share = zero_share;
        ac_case_run(&cases[i], &config);
    }
    sum = ac_summarise(cases, count);
    g_free(cases);
    g_free(points);
    return sum;
}

static void test_bars(void)
{
    AcSummary sum = run_grid(0, 0);

    g_assert_cmpuint(sum.guests, >=, 400);
    g_assert_cmpuint(sum.adaptive_endless, ==, 0);
    g_assert_cmpuint(sum.counter_endless * 10, >=, sum.guests);  /* [112] */
    g_assert_cmpfloat(sum.time_to_counter.median, <=, 0.25);     /* [0.18] */
    g_assert_cmpfloat(sum.lost_to_counter.median, <=, 0.40);     /* [0.24] */
    g_assert_cmpfloat(sum.lost_to_counter.p95, <=, 1.25);        /* [1.10] */
    g_assert_cmpfloat(sum.lost_to_counter.max, <=, 2.0);         /* [1.47] */
    g_assert_cmpfloat(sum.lost_to_oracle.median, <=, 1.0);       /* [0.92] */
    g_assert_cmpfloat(sum.lost_to_oracle.p90, <=, 1.3);          /* [1.08] */
    g_assert_cmpfloat(sum.lost_to_oracle.max, <=, 2.5);          /* [1.94] */
    g_assert_cmpfloat(sum.lost_in_stops.median, <=, 1.1);        /* [0.99] */
    g_assert_cmpfloat(sum.lost_in_stops.p90, <=, 1.8);           /* [1.43] */
    g_assert_cmpfloat(sum.deeper_pct.median, <=, 5);             /* [0] */
    g_assert_cmpfloat(sum.windows_to_stop.median, <=, 5);        /* [2] */
    g_assert_cmpfloat(sum.windows_to_stop.max, <=, 10);          /* [4] */
    g_assert_cmpuint(sum.calm_touched * 100, <=,
                     sum.classes[AC_CLASS_CALM]);                /* [0] */
    g_assert_cmpfloat(sum.prediction_error_max, <=, 0.25);       /* [0.003] */
}

/*
 * The same guests, with the kernel's log: nothing can be counted, and whether
 * the ceiling helps is seen by holding it.
 */
static void test_kernel_log(void)
{
    AcSummary sum = run_grid(1, 0);

    g_assert_cmpuint(sum.guests, >=, 400);
    g_assert_cmpuint(sum.adaptive_endless, ==, 0);
    g_assert_cmpuint(sum.counter_endless, >, 50);                /* [96] */
    g_assert_cmpfloat(sum.time_to_counter.median, <=, 0.3);      /* [0.25] */
    g_assert_cmpfloat(sum.lost_to_counter.p95, <=, 1.25);        /* [1.05] */
    g_assert_cmpfloat(sum.lost_to_oracle.median, <=, 1.0);       /* [0.80] */
    g_assert_cmpfloat(sum.lost_to_oracle.p90, <=, 1.55);         /* [1.39] */
    g_assert_cmpfloat(sum.lost_to_oracle.max, <=, 2.5);          /* [1.81] */
    g_assert_cmpfloat(sum.lost_in_stops.median, <=, 1.5);        /* [1.37] */
    g_assert_cmpfloat(sum.lost_in_stops.p90, <=, 1.8);           /* [1.60] */
    g_assert_cmpfloat(sum.deeper_pct.median, <=, 5);             /* [0] */
    g_assert_cmpuint(sum.calm_touched, ==, 0);
    g_assert_cmpfloat(sum.prediction_error_max, <=, 0.25);       /* [0.002] */
}

/*
 * The same guests, with memory that was never written to: the bulk pass is
 * short, and what is dirty after it little of all, but not of what was sent.
 */
static void test_zero_pages(void)
{
    AcSummary sum = run_grid(0, 0.9);

    g_assert_cmpuint(sum.guests, >=, 400);
    g_assert_cmpuint(sum.adaptive_endless, ==, 0);
    g_assert_cmpfloat(sum.time_to_counter.median, <=, 0.16);     /* [0.12] */
    g_assert_cmpfloat(sum.lost_to_counter.median, <=, 0.40);     /* [0.24] */
    g_assert_cmpfloat(sum.lost_to_counter.p95, <=, 1.25);        /* [1.08] */
    g_assert_cmpfloat(sum.lost_to_oracle.p90, <=, 1.3);          /* [1.12] */
    g_assert_cmpfloat(sum.lost_in_stops.median, <=, 1.1);        /* [0.99] */
    g_assert_cmpfloat(sum.windows_to_stop.median, <=, 1);        /* [0] */
    g_assert_cmpuint(sum.calm_touched, ==, 0);
}

/*
 * Pages that cost a part of their size on the wire, or next to nothing, as with
 * xbzrle.  QEMU counts what is left in pages and its threshold on the wire, so
 * some of these would go on for ever.  Here all end, the ordinary ones within
 * the downtime limit, and not a bulk pass later than under the counter.
 */
static void test_compressible(void)
{
    static const double costs[] = { 0.02, 0.05, 0.2, 0.5 };
    AutoConvergeConfig config = ac_config_unbounded();
    double limit_s = config.downtime_limit_ms / 1e3;
    unsigned count, i, later = 0;
    AcPoint *points = ac_grid_points(&count);

    for (i = 0; i < count * ARRAY_SIZE(costs); i++) {
        AcPoint *point = &points[i % count];
        AcRun run = { .kind = AC_KIND_COUNTER };
        AcResult counter, ours;
        AcLink link = ac_link_steady(point->link_bps);
        AcGuest guest;

        point->page_cost = costs[i / count];
        guest = ac_guest_from_point(point);
        counter = ac_run(&run, &config, &guest, &link);
        run.kind = AC_KIND_ADAPTIVE;
        ours = ac_run(&run, &config, &guest, &link);
        g_assert_cmpint(ours.outcome, !=, AC_OUTCOME_ENDLESS);
        if (ours.outcome == AC_OUTCOME_CONVERGED) {
            g_assert_cmpfloat(ours.downtime_s, <, 1.05 * limit_s);
        }
        later += counter.outcome != AC_OUTCOME_ENDLESS &&
                 ours.after_bulk_s > counter.after_bulk_s + ours.bulk_s;
    }
    g_assert_cmpuint(later, ==, 0);
    g_free(points);
}

/* Of guests that converge unaided, what was done to them all the same. */
typedef struct Unaided {
    unsigned guests;
    unsigned throttled, stopped;
    unsigned calm_guests; /* of them, those that the bulk pass saw calm */
    unsigned calm_throttled, calm_stopped;
    unsigned like_endless; /* until a bulk pass after the bulk pass */
    unsigned like_endless_throttled;
    double lost_s, counter_lost_s; /* without the final, ordinary stop */
} Unaided;

/* For how long it is busy from the start, before it is so no more */
static double first_busy_s(const AcPoint *point)
{
    return fmax(point->duty - point->phase, 0) * point->period_s;
}

/*
 * Is it busy for so long, and would never end if it stayed so?  Then it cannot
 * be told from one that does by who waits no longer than one more bulk pass.
 */
static bool is_like_endless(const AutoConvergeConfig *config,
                            const AcPoint *point, double bulk_s)
{
    AcRun run = { .kind = AC_KIND_NONE };
    AcGuest guest = ac_guest_from_point(point);
    AcLink link = ac_link_from_point(point);

    guest.period_s = 0;
    return first_busy_s(point) > 2 * bulk_s &&
           ac_run(&run, config, &guest, &link).outcome != AC_OUTCOME_CONVERGED;
}

static Unaided run_unaided(const AutoConvergeConfig *config,
                           const AcPoint *points, unsigned count)
{
    Unaided sum = { 0 };
    unsigned i;

    for (i = 0; i < count; i++) {
        AcGuest guest = ac_guest_from_point(&points[i]);
        AcLink link = ac_link_from_point(&points[i]);
        AcRun run = { .kind = AC_KIND_ADAPTIVE };
        AcResult ours = ac_run(&run, config, &guest, &link), counter;
        bool calm = first_busy_s(&points[i]) < ours.bulk_s;
        bool like_endless = is_like_endless(config, &points[i], ours.bulk_s);

        g_assert_cmpint(ours.outcome, !=, AC_OUTCOME_ENDLESS);
        run.kind = AC_KIND_NONE;
        if (ac_run(&run, config, &guest, &link).outcome !=
            AC_OUTCOME_CONVERGED) {
            continue;
        }
        run.kind = AC_KIND_COUNTER;
        counter = ac_run(&run, config, &guest, &link);
        sum.guests++;
        sum.throttled += ours.throttle_max_permille > 0;
        sum.stopped += ours.outcome == AC_OUTCOME_STOPPED;
        sum.calm_guests += calm;
        sum.calm_throttled += calm && ours.throttle_max_permille > 0;
        sum.calm_stopped += calm && ours.outcome == AC_OUTCOME_STOPPED;
        sum.like_endless += like_endless;
        sum.like_endless_throttled += like_endless &&
                                      ours.throttle_max_permille > 0;
        sum.lost_s += ours.lost_s - ours.downtime_s;
        sum.counter_lost_s += counter.lost_s - counter.downtime_s;
    }
    g_test_message("%u converge unaided: %u throttled, %u stopped, lost "
                   "%.0f s, counter %.0f s; %u were calm in the bulk pass, "
                   "for a time: %u throttled, %u stopped; %u were like endless "
                   "ones: %u throttled",
                   sum.guests, sum.throttled, sum.stopped, sum.lost_s,
                   sum.counter_lost_s, sum.calm_guests, sum.calm_throttled,
                   sum.calm_stopped, sum.like_endless,
                   sum.like_endless_throttled);
    return sum;
}

/*
 * Busy for a part of each period only.  Nobody can tell a guest that is busy
 * from before the bulk pass till after it from one that stays busy; the others
 * are left alone, mostly.
 */
static void test_periodic(void)
{
    AutoConvergeConfig config = ac_config_unbounded();
    unsigned count;
    AcPoint *points = ac_grid_periodic(&count);
    Unaided sum = run_unaided(&config, points, count);

    g_assert_cmpuint(sum.guests, >=, 1500);                      /* [1740] */
    g_assert_cmpuint(sum.throttled * 100, <=, 8 * sum.guests);   /* [5.8] */
    g_assert_cmpuint(sum.calm_guests, >=, 1000);
    g_assert_cmpuint(sum.calm_throttled * 100, <=, 3 * sum.calm_guests);
    g_assert_cmpuint(sum.throttled - sum.like_endless_throttled, <=,
                     3 * sum.guests / 100);                      /* [2.6 %] */
    g_assert_cmpuint(sum.stopped, ==, 0);
    g_assert_cmpfloat(sum.lost_s, <=, 0.6 * sum.counter_lost_s); /* [0.34] */

    config.throttle_max_pct = 80;
    sum = run_unaided(&config, points, count);
    g_assert_cmpuint(sum.stopped * 100, <=, 5 * sum.guests);     /* [4.4] */
    g_free(points);
}

static void assert_all_end(const AutoConvergeConfig *config,
                           const AcPoint *points, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        AcGuest guest = ac_guest_from_point(&points[i]);
        AcLink link = ac_link_from_point(&points[i]);
        AcRun run = { .kind = AC_KIND_ADAPTIVE };
        AcResult ours = ac_run(&run, config, &guest, &link);

        g_assert_cmpint(ours.outcome, !=, AC_OUTCOME_ENDLESS);
    }
}

/*
 * Guests whose periods fit to their passes: busy in every second of them, and
 * calm when they are looked at.  All end.
 */
static void test_resonance(void)
{
    AutoConvergeConfig config = ac_config_unbounded();
    unsigned count;
    AcPoint *points = ac_grid_resonance(&count);

    assert_all_end(&config, points, count);
    g_free(points);
}

/* The link falls to as little as 2 % for a time, and recovers. */
static void test_brown_outs(void)
{
    AutoConvergeConfig config = ac_config_unbounded();
    unsigned count;
    AcPoint *points = ac_grid_brown_outs(&count);
    Unaided sum = run_unaided(&config, points, count);

    g_assert_cmpuint(sum.guests, ==, count);
    g_assert_cmpuint(sum.throttled, ==, 0);
    g_assert_cmpuint(sum.stopped, ==, 0);
    g_assert_cmpfloat(sum.lost_s, <, 0.01);
    g_free(points);
}

/*
 * The link falls in every period: all end, and those that converge unaided are
 * left alone, mostly.
 */
static void test_shared(void)
{
    AutoConvergeConfig config = ac_config_unbounded();
    unsigned count;
    AcPoint *points = ac_grid_shared(&count);
    Unaided sum = run_unaided(&config, points, count);

    g_assert_cmpuint(sum.guests, >=, 1600);                      /* [1652] */
    g_assert_cmpuint(sum.throttled * 100, <=, 2 * sum.guests);   /* [1.1] */
    g_assert_cmpuint(sum.stopped, ==, 0);
    g_assert_cmpfloat(sum.lost_s, <=, 0.3 * sum.counter_lost_s); /* [0.19] */
    assert_all_end(&config, points, count);
    g_free(points);
}

/*
 * The time that a stop right after the bulk pass takes is the least that
 * anybody can do, the oracle included.  With so many times that, the deadline
 * is met; and the more time there is, the fewer guests are throttled or
 * stopped at all.
 */
static void test_deadline(void)
{
    static const double times[] = { 1, 1.5, 3, 10 };
    AutoConvergeConfig config = ac_config_unbounded();
    unsigned count, i, touched[ARRAY_SIZE(times)] = { 0 };
    AcPoint *points = ac_grid_points(&count);

    for (i = 0; i < count * ARRAY_SIZE(times); i++) {
        AcGuest guest = ac_guest_from_point(&points[i % count]);
        AcLink link = ac_link_from_point(&points[i % count]);
        AcRun run = { .kind = AC_KIND_ADAPTIVE };
        AcResult stop = ac_run_stop(&config, &guest, &link), ours;

        config.deadline_s = ceil(stop.bulk_s +
                                 times[i / count] * stop.downtime_s);
        ours = ac_run(&run, &config, &guest, &link);
        g_assert_cmpint(ours.outcome, !=, AC_OUTCOME_ENDLESS);
        if (ours.bulk_s + ours.after_bulk_s > config.deadline_s) {
            char *table = ac_run_table(AC_KIND_ADAPTIVE, &config, &guest,
                                       &link);

            g_test_message("deadline %" PRIu64 " s, missed:\n%s",
                           config.deadline_s, table);
            g_test_fail();
            g_free(table);
        }
        touched[i / count] += ours.outcome == AC_OUTCOME_STOPPED ||
                              ours.throttle_max_permille > 0;
    }
    for (i = 0; i < ARRAY_SIZE(times); i++) {
        g_test_message("%.1f times the least: %u of %u throttled or stopped",
                       times[i], touched[i], count);
        g_assert_true(i == 0 || touched[i] <= touched[i - 1]);
    }
    g_free(points);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/auto-converge/grid/bars", test_bars);
    g_test_add_func("/auto-converge/grid/kernel-log", test_kernel_log);
    g_test_add_func("/auto-converge/grid/zero-pages", test_zero_pages);
    g_test_add_func("/auto-converge/grid/compressible", test_compressible);
    g_test_add_func("/auto-converge/grid/periodic", test_periodic);
    g_test_add_func("/auto-converge/grid/resonance", test_resonance);
    g_test_add_func("/auto-converge/grid/brown-outs", test_brown_outs);
    g_test_add_func("/auto-converge/grid/shared", test_shared);
    g_test_add_func("/auto-converge/grid/deadline", test_deadline);
    return g_test_run();
}
