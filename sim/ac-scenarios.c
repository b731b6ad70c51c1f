/*
 * Named migrations, each with a sentence
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "ac-scenarios.h"

#define MB 1e6
#define GB 1e9
#define GBIT_BPS 117e6 /* what 1 Gbit/s carries of pages */

#define ONE_VCPU .vcpus = { { 1, 1 } }, .vcpu_count = 1
#define ONE_REGION(...) .regions = { { __VA_ARGS__ } }, .region_count = 1

const AcScenario ac_scenarios[] = {
    {
        "thread-1g",
        "600 MB touched in 50 ms of execution over 1 Gbit/s: no allowed "
        "throttle helps.",
        { .ram_bytes = 8 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(600 * MB, 12 * GB, true) },
        { .bps = GBIT_BPS },
    }, {
        "thread-10g",
        "The same over 10 Gbit/s: a pass takes half a second, in which 1 % "
        "of run time touches a tenth of the set.",
        { .ram_bytes = 8 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(600 * MB, 12 * GB, true) },
        { .bps = 10 * GBIT_BPS },
    }, {
        "idle",
        "A guest that does next to nothing is left alone.",
        { .ram_bytes = 4 * GB, .page_cost = 1,
          .vcpus = { { 0.01, 1 } }, .vcpu_count = 1,
          ONE_REGION(20 * MB, 1 * MB, false) },
        { .bps = GBIT_BPS },
    }, {
        "growing",
        "Writes 1.7 times the link to ever new pages: the ratio does not "
        "depend on the window.",
        { .ram_bytes = 16 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(1000 * GB, 1.7 * GBIT_BPS, false) },
        { .bps = GBIT_BPS },
    }, {
        "hot-set",
        "A hot set of 128 MB, written over and over at 10 times the link.",
        { .ram_bytes = 4 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(128 * MB, 10 * GBIT_BPS, false) },
        { .bps = GBIT_BPS },
    }, {
        "sweep",
        "Sweeps over half of its memory at 3 times the link: no page twice "
        "before all were written once.",
        { .ram_bytes = 8 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(4 * GB, 3 * GBIT_BPS, true) },
        { .bps = GBIT_BPS },
    }, {
        "open-loop",
        "Needs 20 % of a CPU and dirties twice the link with it: a throttle "
        "below 80 % does nothing.",
        { .ram_bytes = 8 * GB, .page_cost = 1,
          .vcpus = { { 0.2, 1 } }, .vcpu_count = 1,
          ONE_REGION(6 * GB, 2 * GBIT_BPS, false) },
        { .bps = GBIT_BPS },
    }, {
        "database",
        "A hot log, a warm cache and a cold rest, written by four vCPUs of "
        "unequal load.",
        { .ram_bytes = 32 * GB, .page_cost = 0.7, .zero_share = 0.2,
          .regions = { { 64 * MB, 300 * MB, true },
                       { 2 * GB, 900 * MB, false },
                       { 20 * GB, 100 * MB, false } },
          .region_count = 3,
          .vcpus = { { 1, 0.5 }, { 0.6, 0.3 }, { 0.3, 0.15 }, { 0.1, 0.05 } },
          .vcpu_count = 4 },
        { .bps = 5 * GBIT_BPS, .sync_s_per_gib = 0.002 },
    }, {
        "terabyte",
        "1 TB over 25 Gbit/s, where a bitmap sync alone takes 3 s, in which "
        "1 % of run time already dirties more than the downtime limit.",
        { .ram_bytes = 1000 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(100 * GB, 50 * GBIT_BPS, false) },
        { .bps = 25 * GBIT_BPS, .sync_s_per_gib = 0.003 },
    }, {
        "compressible",
        "Pages that compress to a fifth, dirtied at half of what the link "
        "then carries: converges by itself, but wire bytes say otherwise.",
        { .ram_bytes = 8 * GB, .page_cost = 0.2, ONE_VCPU,
          ONE_REGION(4 * GB, 2.4 * GBIT_BPS, false) },
        { .bps = GBIT_BPS },
    }, {
        "busy-then-calm",
        "Busy until the third minute, then calm: the throttle lets go.",
        { .ram_bytes = 16 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(8 * GB, 3 * GBIT_BPS, false),
          .activity = { { 180, 0.05 } }, .activity_count = 1 },
        { .bps = GBIT_BPS },
    }, {
        "calm-then-busy",
        "Calm until the bulk pass is nearly over, then busy.",
        { .ram_bytes = 16 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(8 * GB, 3 * GBIT_BPS, false),
          .activity = { { 0, 0.05 }, { 130, 1 } }, .activity_count = 2 },
        { .bps = GBIT_BPS },
    }, {
        "link-halves",
        "Converges by itself until the link loses half of its rate.",
        { .ram_bytes = 16 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(12 * GB, 0.75 * GBIT_BPS, false) },
        { .bps = GBIT_BPS, .steps = { { 200, 0.5 } }, .step_count = 1 },
    }, {
        "shared-link",
        "Another user takes half of a jittering link every other ten seconds.",
        { .ram_bytes = 8 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(2 * GB, 1.5 * GBIT_BPS, false) },
        { .bps = GBIT_BPS, .jitter = 0.2, .seed = 1, .share_period_s = 20,
          .share_factor = 0.5 },
    }, {
        "four-at-once",
        "Four migrations on one link, of which one after the other ends: while "
        "they are four the guest does not converge, alone it would.",
        { .ram_bytes = 8 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(2 * GB, 0.5 * GBIT_BPS, false) },
        { .bps = GBIT_BPS, .steps = { { 0, 0.25 }, { 300, 0.33 },
                                      { 340, 0.5 }, { 380, 1 } },
          .step_count = 4 },
    }, {
        "brown-out",
        "The link falls to a tenth for a minute, after the bulk pass, under a "
        "calm guest.",
        { .ram_bytes = 8 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(2 * GB, 0.3 * GBIT_BPS, false) },
        { .bps = GBIT_BPS, .steps = { { 70, 0.1 }, { 130, 1 } },
          .step_count = 2 },
    }, {
        "slow-start",
        "A limit of 1 MB/s in the first minute, which is lifted then: the "
        "guest converges by itself.",
        { .ram_bytes = 8 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(2 * GB, 0.5 * GBIT_BPS, false) },
        { .bps = GBIT_BPS, .steps = { { 0, 0.0085 }, { 60, 1 } },
          .step_count = 2 },
    }, {
        "periodic",
        "Busy for 15 s of each minute, at three times the link.",
        { .ram_bytes = 8 * GB, .page_cost = 1, ONE_VCPU,
          ONE_REGION(1 * GB, 3 * GBIT_BPS, false),
          .period_s = 60, .duty = 0.25, .calm_activity = 0.05 },
        { .bps = GBIT_BPS },
    }, {
        "hot-as-ram",
        "A hot set that is nearly all of the RAM: the bulk pass and the first "
        "pass tell the same.",
        { .ram_bytes = 0.27 * GB, .page_cost = 1, .zero_share = 0.2, ONE_VCPU,
          ONE_REGION(210 * MB, 3.5 * GB, true) },
        { .bps = 40 * MB },
    }, {
        "interlocked",
        "Two vCPUs that need one another for nine tenths of what they do, with "
        "a fixed cost of each slice.",
        { .ram_bytes = 8 * GB, .page_cost = 1,
          .vcpus = { { 1, 0.5 }, { 1, 0.5 } }, .vcpu_count = 2,
          .interlock = 0.9, .slice_cost_s = 0.001,
          ONE_REGION(2 * GB, 8 * GBIT_BPS, false) },
        { .bps = GBIT_BPS },
    }, {
        "dma",
        "A device writes more than the link carries, whatever the vCPUs do: "
        "that no throttle helps is seen by trying.",
        { .ram_bytes = 8 * GB, .page_cost = 1, ONE_VCPU,
          .regions = { { 500 * MB, 1.5 * GBIT_BPS, false, true },
                       { 20 * MB, 0.1 * GBIT_BPS, false } },
          .region_count = 2 },
        { .bps = GBIT_BPS },
    },
};

const unsigned ac_scenario_count = ARRAY_SIZE(ac_scenarios);

const AcScenario *ac_scenario_find(const char *name)
{
    unsigned i;

    for (i = 0; i < ac_scenario_count; i++) {
        if (g_str_equal(ac_scenarios[i].name, name)) {
            return &ac_scenarios[i];
        }
    }
    return NULL;
}

typedef struct Table {
    GString *text;
    AcKind kind;
} Table;

static void add_row(const AcTrace *trace, void *opaque)
{
    Table *table = opaque;
    const AutoConvergeSample *s = &trace->sample;
    double ratio = (double)s->dirty_bytes / s->drained_bytes;
    bool adaptive = table->kind == AC_KIND_ADAPTIVE;

    g_string_append_printf(
        table->text, "%6u %8.0f %7.0f %6.0f %8.0f %9.0f %8u %-8s %s\n",
        trace->window, trace->now_s * 10, s->elapsed_ns / 1e8,
        s->guest_run_ns / 1e6 / (s->elapsed_ns / 1e9),
        s->remaining_bytes / MB, ratio * 1000,
        trace->decision.throttle_permille,
        adaptive ? AutoConvergePhase_str(trace->decision.phase) : "-",
        adaptive ? AutoConvergeReason_str(trace->decision.reason) : "-");
}

char *ac_run_table(AcKind kind, const AutoConvergeConfig *config,
                   const AcGuest *guest, const AcLink *link)
{
    Table table = { .text = g_string_new(NULL), .kind = kind };
    AcRun run = { .kind = kind, .trace = add_row, .opaque = &table };
    AcResult result;

    g_string_append_printf(
        table.text, "window  time_ds took_ds run_pm  left_MB  ratio_pm "
        "throt_pm phase    reason\n");
    result = ac_run(&run, config, guest, link);
    g_string_append_printf(
        table.text, "%s: after the bulk pass %.0f ds in %u windows, "
        "work lost %.0f ds, downtime %.0f ms, longest sleep %.0f ms\n",
        ac_outcome_name(result.outcome), result.after_bulk_s * 10,
        result.windows, result.lost_s * 10, result.downtime_s * 1000,
        result.longest_sleep_s * 1000);
    return g_string_free(table.text, FALSE);
}

char *ac_scenario_table(const AcScenario *scenario, AcKind kind,
                        const AutoConvergeConfig *config)
{
    char *table = ac_run_table(kind, config, &scenario->guest,
                               &scenario->link);
    char *text = g_strdup_printf("# %s: %s\n%s", scenario->name,
                                 scenario->sentence, table);

    g_free(table);
    return text;
}
