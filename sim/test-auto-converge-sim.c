/*
 * Adaptive auto-converge: laws of whole migrations, and scenarios
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "ac-actuator.h"
#include "ac-config.h"
#include "ac-random.h"
#include "ac-scenarios.h"

#define CASES 3000

/*
 * From the bulk pass to the end, for any guest on any link of ac-random; 60 of
 * them are the minute for which a link may be slow.
 */
#define WINDOWS_TO_END_MAX 100

/* Changes of the throttle's direction in one migration, the first included. */
#define TURNS_MAX 4

/* As bench/throttle finds it: what is commanded, whatever the sleeps. */
static void test_actuator_exact(void)
{
    static const unsigned permilles[] = {
        100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 990, 995
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(permilles); i++) {
        AcActuator ours = ac_actuator_sliced(permilles[i], 20e-6);
        double share = 1 - permilles[i] / 1e3;

        g_assert_cmpfloat(fabs(ours.run_share / share - 1), <, 0.01);
        g_assert_cmpfloat(ours.longest_sleep_s, <=,
                          permilles[i] <= 900 ? 0.05 : 0.4);
    }
    g_assert_cmpfloat(ac_actuator_sliced(0, 20e-6).run_share, ==, 1);
    g_assert_cmpfloat(ac_actuator_stock(990).longest_sleep_s, >, 0.98);
}

/* Interrupts of the main loop may be 1 ms late: later slices pay for that. */
static void test_actuator_late(void)
{
    g_assert_cmpfloat(fabs(ac_actuator_sliced(900, 1e-3).run_share - 0.1), <,
                      0.001);
    g_assert_cmpfloat(fabs(ac_actuator_sliced(990, 1e-3).run_share - 0.01), <,
                      0.0005);
}

/* One pass of a guest of 1000 s of link time; what it lost in it, by share. */
static double lost_share(AcGuest guest, AcActuator actuator)
{
    AcLink link = ac_link_steady(1e6);
    AcPlant plant;

    ac_plant_init(&plant, &guest, &link, 0.3);
    ac_plant_pass(&plant, &actuator, NULL);
    return plant.lost_s / plant.now_s;
}

/*
 * Four vCPUs that need one another get done what the throttle leaves when
 * they run together, 0.2; else 0.2^4.
 */
static void test_actuator_interlock(void)
{
    AcActuator together = ac_actuator_sliced(800, 0);
    AcActuator apart = together;
    AcGuest guest = ac_guest_uniform(1e9, 1e8, 1e6, 1);
    unsigned i;

    apart.own_phases = true;
    guest.vcpu_count = 4;
    for (i = 0; i < guest.vcpu_count; i++) {
        guest.vcpus[i] = (AcVcpu) { .demand = 1, .write_share = 0.25 };
    }
    g_assert_cmpfloat(fabs(lost_share(guest, apart) - 0.8), <, 0.01);
    guest.interlock = 1;
    g_assert_cmpfloat(fabs(lost_share(guest, together) - 0.8), <, 0.01);
    g_assert_cmpfloat(fabs(lost_share(guest, apart) - 0.9984), <, 0.001);
}

/* At 99 % a slice is of 2 ms: 0.3 ms of it are lost, 15 %; at 80 %, 3 %. */
static void test_actuator_slice_cost(void)
{
    AcGuest guest = ac_guest_uniform(1e9, 1e8, 1e6, 1);

    guest.slice_cost_s = 0.3e-3;
    g_assert_cmpfloat(fabs(1 - lost_share(guest, ac_actuator_sliced(990, 0)) -
                           0.0085), <, 0.0002);
    g_assert_cmpfloat(fabs(1 - lost_share(guest, ac_actuator_sliced(800, 0)) -
                           0.1945), <, 0.001);
    g_assert_cmpfloat(lost_share(guest, ac_actuator_none()), ==, 0);
}

/*
 * What one pass over all of a guest dirties, by whose log it is: of a page that
 * was written to with the intensity k since the sync, 1 - exp(-k); of one that
 * was sent at any time since then, 1 - (1 - exp(-k)) / k.
 */
static void test_plant_log(void)
{
    const double ram_bytes = 1e9, link_bps = 1e8;
    const AcActuator free_run = ac_actuator_none();
    AcLink link = ac_link_steady(link_bps);

    for (double k = 0.1; k < 20; k *= 3) {
        AcGuest guest = ac_guest_uniform(ram_bytes, ram_bytes, k * link_bps, 1);
        AcPlant plant;
        AcPass pass;

        ac_plant_init(&plant, &guest, &link, 0);
        pass = ac_plant_pass(&plant, &free_run, NULL);
        g_assert_cmpfloat_with_epsilon(pass.dirty_bytes / ram_bytes,
                                       1 - exp(-k), 0.001);
        guest.kernel_log = true;
        ac_plant_init(&plant, &guest, &link, 0);
        pass = ac_plant_pass(&plant, &free_run, NULL);
        g_assert_cmpfloat_with_epsilon(pass.dirty_bytes / ram_bytes,
                                       1 - (1 - exp(-k)) / k, 0.001);
    }
}

static void check(AcProperty *property, const AcGenes *limits)
{
    AutoConvergeConfig config = ac_config_unbounded();
    char *failure = ac_property_check(property, &config, 1, CASES, limits);

    if (failure) {
        g_test_message("%s", failure);
        g_test_fail();
    }
    g_free(failure);
}

static void check_bounded(const AcTrace *trace, void *opaque)
{
    bool *ok = opaque;

    *ok &= trace->decision.throttle_permille <= 700;
}

static bool bounded(const AutoConvergeConfig *config, const AcGuest *guest,
                    const AcLink *link)
{
    AutoConvergeConfig low = *config;
    bool ok = true;
    AcRun run = {
        .kind = AC_KIND_ADAPTIVE, .trace = check_bounded, .opaque = &ok,
    };

    low.throttle_max_pct = 70;
    ac_run(&run, &low, guest, link);
    return ok;
}

static void test_bounded(void)
{
    check(bounded, NULL);
}

static bool ends(const AutoConvergeConfig *config, const AcGuest *guest,
                 const AcLink *link)
{
    AcRun run = { .kind = AC_KIND_ADAPTIVE };
    AcResult result = ac_run(&run, config, guest, link);

    return result.outcome != AC_OUTCOME_ENDLESS &&
           result.windows <= WINDOWS_TO_END_MAX;
}

static void test_ends(void)
{
    check(ends, NULL);
}

static bool repeatable(const AutoConvergeConfig *config, const AcGuest *guest,
                       const AcLink *link)
{
    AcRun run = { .kind = AC_KIND_ADAPTIVE };
    AcResult a = ac_run(&run, config, guest, link);
    AcResult b = ac_run(&run, config, guest, link);

    return a.outcome == b.outcome && a.windows == b.windows &&
           a.lost_s == b.lost_s && a.after_bulk_s == b.after_bulk_s;
}

static void test_repeatable(void)
{
    check(repeatable, NULL);
}

/* What the counter would do with these windows, were each one bad. */
typedef struct Escalation {
    const AutoConvergeConfig *config;
    unsigned bad_windows; /* in a row, since it engaged */
    bool ok;
} Escalation;

static void check_escalation(const AcTrace *trace, void *opaque)
{
    Escalation *e = opaque;
    const AutoConvergeDecision *d = &trace->decision;
    unsigned counter_pct;

    switch (d->reason) {
    case AUTO_CONVERGE_REASON_ENGAGE:
    case AUTO_CONVERGE_REASON_RAISE:
    case AUTO_CONVERGE_REASON_CEILING:
    case AUTO_CONVERGE_REASON_FUTILE:
        e->bad_windows++;
        break;
    default:
        e->bad_windows = 0;
        return;
    }
    /* Its second bad window brings initial, each second one after it more. */
    if (e->bad_windows >= 2) {
        counter_pct = e->config->throttle_initial_pct +
                      (e->bad_windows / 2 - 1) *
                      e->config->throttle_increment_pct;
        counter_pct = MIN(counter_pct, e->config->throttle_max_pct);
        e->ok &= d->throttle_permille >= counter_pct * 10;
    }
}

static bool escalates(const AutoConvergeConfig *config, const AcGuest *guest,
                      const AcLink *link)
{
    Escalation e = { .config = config, .ok = true };
    AcRun run = {
        .kind = AC_KIND_ADAPTIVE, .trace = check_escalation, .opaque = &e,
    };

    ac_run(&run, config, guest, link);
    return e.ok;
}

static void test_escalates_like_the_counter(void)
{
    check(escalates, NULL);
}

/* Up and down again on a guest that does not change: does it swing? */
typedef struct Swing {
    unsigned before_permille;
    bool rising;
    unsigned turns;
} Swing;

static void count_turns(const AcTrace *trace, void *opaque)
{
    Swing *swing = opaque;
    unsigned now_permille = trace->decision.throttle_permille;

    if (now_permille != swing->before_permille) {
        bool rising = now_permille > swing->before_permille;

        swing->turns += rising != swing->rising;
        swing->rising = rising;
        swing->before_permille = now_permille;
    }
}

static bool settles(const AutoConvergeConfig *config, const AcGuest *guest,
                    const AcLink *link)
{
    Swing swing = { 0 };
    AcRun run = {
        .kind = AC_KIND_ADAPTIVE, .trace = count_turns, .opaque = &swing,
    };

    ac_run(&run, config, guest, link);
    return swing.turns <= TURNS_MAX;
}

/* R shrinks from pass to pass and with it the curve steepens: few turns. */
static void test_settles(void)
{
    check(settles, NULL);
}

static void check_untouched(const AcTrace *trace, void *opaque)
{
    bool *ok = opaque;

    *ok &= trace->decision.throttle_permille == 0;
}

static bool untouched(const AutoConvergeConfig *config, const AcGuest *guest,
                      const AcLink *link)
{
    bool ok = true;
    AcRun run = {
        .kind = AC_KIND_ADAPTIVE, .trace = check_untouched, .opaque = &ok,
    };

    ac_run(&run, config, guest, link);
    return ok;
}

/* Up to 0.7 times a steady link: never touched, whatever the pattern. */
static void test_calm_untouched(void)
{
    AcGenes limits = ac_genes_random(0);
    unsigned i;

    for (i = 0; i < AC_GENE__MAX; i++) {
        limits.value[i] = UINT_MAX;
    }
    limits.value[AC_GENE_RATE] = 3; /* 0.25 * 2^1.5 */
    limits.value[AC_GENE_JITTER] = 0;
    limits.value[AC_GENE_SHARE] = 0;
    limits.value[AC_GENE_SYNC] = 0;
    check(untouched, &limits);
}

/*
 * A stop takes what was predicted.  The rate of a shared or jittering link may
 * change between the last window and the stop; on a steady one only the sync
 * is counted in the window and not in the stop.
 */
static bool predicts(const AutoConvergeConfig *config, const AcGuest *guest,
                     const AcLink *link)
{
    AcRun run = { .kind = AC_KIND_ADAPTIVE };
    AcLink steady = ac_link_steady(link->bps);
    AcResult result = ac_run(&run, config, guest, &steady);

    return result.outcome != AC_OUTCOME_STOPPED ||
           fabs(result.predicted_downtime_s / result.downtime_s - 1) < 0.25;
}

static void test_predictions_honest(void)
{
    check(predicts, NULL);
}

/* Calms down at some second after the bulk pass: is it let go? */
typedef struct Release {
    double calm_s;
    unsigned calm_windows;
    unsigned throttle_permille;
} Release;

static void follow_release(const AcTrace *trace, void *opaque)
{
    Release *r = opaque;

    r->calm_windows += trace->now_s > r->calm_s;
    r->throttle_permille = trace->decision.throttle_permille;
}

/*
 * A phase change at every moment of the first four minutes.  The window in
 * which it falls is a mixture; then the run share doubles from 1 % to all in 7
 * windows.  Before that the migration has ended, mostly.
 */
static void test_lets_go(void)
{
    AutoConvergeConfig config = ac_config_default();
    AcScenario scenario = *ac_scenario_find("busy-then-calm");
    unsigned second;

    config.fallback = AUTO_CONVERGE_FALLBACK_NONE;
    for (second = 1; second < 240; second++) {
        Release r = { .calm_s = second };
        AcRun run = {
            .kind = AC_KIND_ADAPTIVE, .trace = follow_release, .opaque = &r,
        };
        AcResult result;

        scenario.guest.activity[0].from_s = second;
        result = ac_run(&run, &config, &scenario.guest, &scenario.link);
        g_assert_cmpint(result.outcome, ==, AC_OUTCOME_CONVERGED);
        g_assert_cmpuint(r.calm_windows, <=, 9);
    }
}

/* It becomes busy at every moment: it ends all the same. */
static void test_becomes_busy(void)
{
    AutoConvergeConfig config = ac_config_unbounded();
    AcScenario scenario = *ac_scenario_find("calm-then-busy");
    unsigned second;

    for (second = 1; second < 240; second++) {
        AcRun run = { .kind = AC_KIND_ADAPTIVE };
        AcResult result;

        scenario.guest.activity[1].from_s = second;
        result = ac_run(&run, &config, &scenario.guest, &scenario.link);
        g_assert_cmpint(result.outcome, !=, AC_OUTCOME_ENDLESS);
        g_assert_cmpuint(result.windows, <=, 12);
    }
}

/* A law that is false, to see that the minimal case is found and printed. */
static bool false_law(const AutoConvergeConfig *config, const AcGuest *guest,
                      const AcLink *link)
{
    return guest->regions[0].write_bps * guest->page_cost < 3 * link->bps ||
           !config;
}

static void test_shrinks(void)
{
    AutoConvergeConfig config = ac_config_unbounded();
    char *failure = ac_property_check(false_law, &config, 1, CASES, NULL);

    /* 0.25 * 2^(8 / 2) = 4 is the smallest rate on its grid beyond 3. */
    g_assert_nonnull(failure);
    g_assert_nonnull(strstr(failure, "minimal case: ram=0 link=0 set=0 rate=8 "
                            "demand=0 hot-cold=0 swept=0 vcpus=0 zero=0 "
                            "compress=0 jitter=0 share=0 sync=0 leak=0 "
                            "clock=0\n"));
    g_free(failure);
}

/*
 * The golden tables.  One that moves is rewritten, in the commit that says why
 * the curve moved, with
 *
 *     auto-converge-sim --scenario NAME > sim/auto-converge/NAME.txt
 */
static void test_scenario(const void *opaque)
{
    const AcScenario *scenario = opaque;
    AutoConvergeConfig config = ac_config_unbounded();
    char *name = g_strdup_printf("%s.txt", scenario->name);
    char *path = g_test_build_filename(G_TEST_DIST, "auto-converge", name,
                                       NULL);
    char *table = ac_scenario_table(scenario, AC_KIND_ADAPTIVE, &config);
    char *golden = NULL;

    g_assert_true(g_file_get_contents(path, &golden, NULL, NULL));
    g_assert_cmpstr(table, ==, golden);
    g_free(golden);
    g_free(table);
    g_free(path);
    g_free(name);
}

static void add_scenario_tests(void)
{
    unsigned i;

    for (i = 0; i < ac_scenario_count; i++) {
        char *path = g_strdup_printf("/auto-converge/scenario/%s",
                                     ac_scenarios[i].name);

        g_test_add_data_func(path, &ac_scenarios[i], test_scenario);
        g_free(path);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/auto-converge/migration/bounded", test_bounded);
    g_test_add_func("/auto-converge/migration/ends", test_ends);
    g_test_add_func("/auto-converge/migration/repeatable", test_repeatable);
    g_test_add_func("/auto-converge/migration/escalates-like-the-counter",
                    test_escalates_like_the_counter);
    g_test_add_func("/auto-converge/migration/settles", test_settles);
    g_test_add_func("/auto-converge/migration/calm-untouched",
                    test_calm_untouched);
    g_test_add_func("/auto-converge/migration/predictions-honest",
                    test_predictions_honest);
    g_test_add_func("/auto-converge/migration/lets-go", test_lets_go);
    g_test_add_func("/auto-converge/migration/becomes-busy",
                    test_becomes_busy);
    g_test_add_func("/auto-converge/migration/shrinks", test_shrinks);
    add_scenario_tests();
    g_test_add_func("/auto-converge/plant/log", test_plant_log);
    g_test_add_func("/auto-converge/actuator/exact", test_actuator_exact);
    g_test_add_func("/auto-converge/actuator/late", test_actuator_late);
    g_test_add_func("/auto-converge/actuator/interlock",
                    test_actuator_interlock);
    g_test_add_func("/auto-converge/actuator/slice-cost",
                    test_actuator_slice_cost);
    return g_test_run();
}
