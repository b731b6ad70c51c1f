/*
 * Whole simulated migrations: the controllers, the oracle, the account
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "ac-actuator.h"
#include "ac-run.h"

/* QEMU samples at the first sync after so long. */
#define WINDOW_S 1.0

/* What the counter remembers. */
typedef struct Counter {
    unsigned bad_windows;
    unsigned throttle_pct;
} Counter;

/* The sums since the last window ended. */
typedef struct Window {
    AcPass sum;
    unsigned number;
} Window;

/*
 * The counter, from its behaviour: each second bad window, in a row or not,
 * raises by the increment; tailslow raises by less where less would do.  It
 * compares dirty pages with wire bytes, and never lowers the throttle.
 */
static void update_counter(Counter *counter, const AcPass *sum,
                           const AutoConvergeConfig *config, bool tailslow)
{
    double allowed = sum->wire_bytes * config->trigger_threshold_pct / 100;
    unsigned raise = config->throttle_increment_pct;

    if (sum->dirty_bytes <= allowed || ++counter->bad_windows < 2) {
        return;
    }
    counter->bad_windows = 0;
    if (counter->throttle_pct == 0) {
        counter->throttle_pct = config->throttle_initial_pct;
        return;
    }
    if (tailslow) {
        unsigned now = 100 - counter->throttle_pct;
        unsigned ideal = now * (allowed / sum->dirty_bytes);

        raise = MIN(now - ideal, raise);
    }
    counter->throttle_pct = MIN(counter->throttle_pct + raise,
                                config->throttle_max_pct);
}

static AutoConvergeSample sample_from_window(const AcPass *sum,
                                             const AcPlant *plant)
{
    AutoConvergeSample sample = {
        .since_start_ns = plant->now_s * 1e9,
        .elapsed_ns = sum->elapsed_s * 1e9,
        .guest_run_ns = sum->run_s * 1e9,
        .dirty_bytes = sum->dirty_bytes,
        .drained_bytes = sum->drained_bytes,
        .remaining_bytes = plant->remaining_bytes,
        .zero_bytes = sum->zero_bytes,
        .partial = sum->partial,
        .count = sum->partial ? sum->count : 0,
    };

    memcpy(sample.counts, sum->counts, sizeof(sample.counts));
    return sample;
}

static void add_pass(AcPass *sum, const AcPass *pass)
{
    sum->elapsed_s += pass->elapsed_s;
    sum->run_s += pass->run_s;
    sum->dirty_bytes += pass->dirty_bytes;
    sum->drained_bytes += pass->drained_bytes;
    sum->wire_bytes += pass->wire_bytes;
    sum->zero_bytes += pass->zero_bytes;
    sum->partial = pass->partial;
    sum->count = pass->count;
    memcpy(sum->counts, pass->counts, sizeof(sum->counts));
}

/* The counter has the actuator that it had in QEMU. */
static AcActuator actuator_of(AcKind kind, unsigned throttle_permille,
                              const AcGuest *guest)
{
    return kind == AC_KIND_COUNTER || kind == AC_KIND_TAILSLOW ?
           ac_actuator_stock(throttle_permille) :
           ac_actuator_sliced(throttle_permille, guest->late_s);
}

static void set_throttle(AcActuator *actuator, AcResult *result, AcKind kind,
                         unsigned throttle_permille, const AcGuest *guest)
{
    *actuator = actuator_of(kind, throttle_permille, guest);
    result->throttle_max_permille = MAX(result->throttle_max_permille,
                                        throttle_permille);
    result->longest_sleep_s = fmax(result->longest_sleep_s,
                                   actuator->longest_sleep_s);
}

static void finish(AcResult *result, AcPlant *plant, AcOutcome outcome)
{
    result->outcome = outcome;
    if (outcome != AC_OUTCOME_ENDLESS) {
        result->downtime_s = ac_plant_stop_s(plant);
    }
    result->after_bulk_s = plant->now_s - result->bulk_s + result->downtime_s;
    result->lost_s = plant->lost_s + result->downtime_s;
}

/* So soon does the controller want to look at what a pass does. */
static AcLook plan_look(const AutoConvergeDecision *decision, const AcPass *sum)
{
    return (AcLook) {
        .most_s = decision->look_ms ?
                  decision->look_ms / 1e3 - sum->elapsed_s : INFINITY,
        .dirty_bytes = decision->look_bytes,
    };
}

static void decide(const AcRun *run, const AutoConvergeConfig *config,
                   Counter *counter, AutoConvergeState *policy,
                   const AcPass *sum, AcTrace *trace)
{
    switch (run->kind) {
    case AC_KIND_NONE:
        break;
    case AC_KIND_CONSTANT:
        trace->decision.throttle_permille = run->constant_permille;
        break;
    case AC_KIND_COUNTER:
    case AC_KIND_TAILSLOW:
        update_counter(counter, sum, config, run->kind == AC_KIND_TAILSLOW);
        trace->decision.throttle_permille = counter->throttle_pct * 10;
        break;
    case AC_KIND_ADAPTIVE:
        trace->decision = auto_converge_update(policy, config, &trace->sample);
        break;
    default:
        g_assert_not_reached();
    }
}

AcResult ac_run(const AcRun *run, const AutoConvergeConfig *config,
                const AcGuest *guest, const AcLink *link)
{
    AcResult result = { 0 };
    AcPlant plant;
    Counter counter = { 0 };
    AutoConvergeState policy;
    AcTrace trace = { 0 };
    AcPass sum = { 0 };
    AcActuator actuator = ac_actuator_none();
    unsigned throttle_permille = 0;

    auto_converge_init(&policy);
    ac_plant_init(&plant, guest, link, config->downtime_limit_ms / 1e3);
    while (trace.window <= AC_WINDOWS_MAX) {
        AcLook look = plan_look(&trace.decision, &sum);
        AcPass pass = ac_plant_pass(&plant, &actuator, &look);

        add_pass(&sum, &pass);
        result.bulk_s = result.bulk_s > 0 ? result.bulk_s : plant.now_s;
        if (sum.partial || sum.elapsed_s >= WINDOW_S) {
            trace.now_s = plant.now_s;
            trace.sample = sample_from_window(&sum, &plant);
            decide(run, config, &counter, &policy, &sum, &trace);
            if (run->trace) {
                run->trace(&trace, run->opaque);
            }
            sum = (AcPass) { 0 };
            result.windows += !trace.sample.partial && trace.window > 0;
            trace.window++;
        } else if (run->kind == AC_KIND_CONSTANT) {
            trace.decision.throttle_permille = run->constant_permille;
        }
        if (trace.decision.complete || ac_plant_switches_over(&plant)) {
            finish(&result, &plant, AC_OUTCOME_CONVERGED);
            return result;
        }
        if (trace.decision.switchover || trace.decision.post_copy) {
            result.predicted_downtime_s =
                trace.decision.predicted_downtime_ms / 1e3;
            finish(&result, &plant, AC_OUTCOME_STOPPED);
            return result;
        }
        if (trace.decision.throttle_permille != throttle_permille) {
            throttle_permille = trace.decision.throttle_permille;
            set_throttle(&actuator, &result, run->kind, throttle_permille,
                         guest);
        }
        if (run->give_up_lost_s > 0 && plant.lost_s > run->give_up_lost_s) {
            break;
        }
    }
    finish(&result, &plant, AC_OUTCOME_ENDLESS);
    return result;
}

AcResult ac_run_stop(const AutoConvergeConfig *config, const AcGuest *guest,
                     const AcLink *link)
{
    AcActuator none = ac_actuator_none();
    AcResult result = { 0 };
    AcPlant plant;

    ac_plant_init(&plant, guest, link, config->downtime_limit_ms / 1e3);
    ac_plant_pass(&plant, &none, NULL);
    result.bulk_s = plant.now_s;
    finish(&result, &plant, AC_OUTCOME_STOPPED);
    return result;
}

AcResult ac_run_oracle(const AutoConvergeConfig *config, const AcGuest *guest,
                       const AcLink *link)
{
    AcResult best = ac_run_stop(config, guest, link);
    unsigned pct;

    for (pct = 0; pct <= config->throttle_max_pct; pct++) {
        AcRun run = {
            .kind = AC_KIND_CONSTANT,
            .constant_permille = pct * 10,
            .give_up_lost_s = best.outcome == AC_OUTCOME_CONVERGED ?
                              best.lost_s : 0,
        };
        AcResult result = ac_run(&run, config, guest, link);

        if (result.outcome == AC_OUTCOME_CONVERGED &&
            (best.outcome == AC_OUTCOME_STOPPED ||
             result.lost_s < best.lost_s)) {
            best = result;
        }
    }
    return best;
}

const char *ac_kind_name(AcKind kind)
{
    static const char *const names[AC_KIND__MAX] = {
        [AC_KIND_NONE] = "none",
        [AC_KIND_CONSTANT] = "constant",
        [AC_KIND_COUNTER] = "counter",
        [AC_KIND_TAILSLOW] = "tailslow",
        [AC_KIND_ADAPTIVE] = "adaptive",
    };

    g_assert(kind < AC_KIND__MAX);
    return names[kind];
}

const char *ac_outcome_name(AcOutcome outcome)
{
    switch (outcome) {
    case AC_OUTCOME_CONVERGED:
        return "converged";
    case AC_OUTCOME_STOPPED:
        return "stopped";
    case AC_OUTCOME_ENDLESS:
        return "endless";
    default:
        g_assert_not_reached();
    }
}
