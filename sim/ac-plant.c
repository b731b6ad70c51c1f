/*
 * A pre-copy migration, simulated
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "ac-plant.h"

#define GIB 1073741824.0

/*
 * QEMU asks what is left after each burst of about 50 ms, so a pass is never
 * shorter, and a little less than the downtime limit is left at the sync.
 */
#define BURST_S 0.05

#define HOT_BYTES_SHARE 0.1
#define HOT_WRITES_SHARE 0.9

static double step_factor(const AcStep *steps, unsigned count, double now_s)
{
    double factor = 1;
    unsigned i;

    for (i = 0; i < count && steps[i].from_s <= now_s; i++) {
        factor = steps[i].factor;
    }
    return factor;
}

static double step_next(const AcStep *steps, unsigned count, double now_s)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        if (steps[i].from_s > now_s) {
            return steps[i].from_s;
        }
    }
    return INFINITY;
}

/* -1..1 from seed and time: a hash, so that time may be asked in any order */
static double jitter_at(uint64_t seed, double now)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15ULL + (uint64_t)now;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    x ^= x >> 31;
    return (x >> 11) / 4503599627370496.0 - 1;
}

static double wire_bps(const AcLink *link, double now_s)
{
    double bps = link->bps * step_factor(link->steps, link->step_count, now_s);

    if (link->jitter > 0) {
        bps *= 1 + link->jitter * jitter_at(link->seed, now_s);
    }
    if (link->share_period_s > 0 &&
        fmod(now_s, link->share_period_s) >= link->share_period_s / 2) {
        bps *= link->share_factor;
    }
    return bps;
}

/* Where in its period is the guest, 0..1? */
static double periodic_phase(const AcGuest *guest, double now_s)
{
    double periods = (now_s + guest->phase_s) / guest->period_s;

    return periods - floor(periods);
}

static double guest_activity(const AcGuest *guest, double now_s)
{
    double factor = step_factor(guest->activity, guest->activity_count, now_s);

    if (guest->period_s > 0 && periodic_phase(guest, now_s) >= guest->duty) {
        factor *= guest->calm_activity;
    }
    return factor;
}

/* The next time at which a period begins or becomes calm. */
static double periodic_next(const AcGuest *guest, double now_s)
{
    double phase;

    if (guest->period_s <= 0) {
        return INFINITY;
    }
    phase = periodic_phase(guest, now_s);
    phase = (phase < guest->duty ? guest->duty : 1) - phase;
    /* Never so close that the time would not change. */
    return now_s + fmax(phase * guest->period_s, 1e-6);
}

/* Until when does everything stay as it is? */
static double next_change(const AcPlant *plant)
{
    const AcLink *link = plant->link;
    double half_s = link->share_period_s / 2;
    double next = fmin(step_next(link->steps, link->step_count, plant->now_s),
                       step_next(plant->guest->activity,
                                 plant->guest->activity_count, plant->now_s));

    next = fmin(next, periodic_next(plant->guest, plant->now_s));
    if (link->jitter > 0) {
        next = fmin(next, floor(plant->now_s) + 1);
    }
    if (half_s > 0) {
        next = fmin(next, (floor(plant->now_s / half_s) + 1) * half_s);
    }
    return next;
}

static double page_cost(const AcPlant *plant)
{
    double cost = plant->guest->page_cost;

    if (!plant->bulk_done) {
        cost *= 1 - plant->guest->zero_share;
    }
    return fmax(cost, 0.01); /* the header of a zero page */
}

double ac_plant_drain_bps(const AcPlant *plant)
{
    return wire_bps(plant->link, plant->now_s) / page_cost(plant);
}

double ac_plant_stop_s(const AcPlant *plant)
{
    return plant->remaining_bytes / ac_plant_drain_bps(plant);
}

static double threshold_bytes(const AcPlant *plant)
{
    return wire_bps(plant->link, plant->now_s) * plant->downtime_s;
}

bool ac_plant_switches_over(const AcPlant *plant)
{
    return plant->remaining_bytes <= threshold_bytes(plant);
}

/* What a vCPU gets done of @run, of which each slice costs a part. */
static double useful_share(const AcGuest *guest, const AcActuator *actuator,
                           double run)
{
    bool held = run >= actuator->run_share && actuator->slice_s > 0;

    return held ? run * fmax(0, 1 - guest->slice_cost_s / actuator->slice_s) :
                  run;
}

/* Of what it wants to, the share that the guest gets done. */
static double done_share(const AcGuest *guest, const AcActuator *actuator,
                         double activity, double *busiest)
{
    double alone = 0, all = 0, least = 1, product = 1;
    unsigned i;

    *busiest = 0;
    for (i = 0; i < guest->vcpu_count; i++) {
        const AcVcpu *vcpu = &guest->vcpus[i];
        double demand = vcpu->demand * activity;
        double run = fmin(demand, actuator->run_share);
        double done = demand > 0 ?
                      useful_share(guest, actuator, run) / demand : 1;

        alone += vcpu->write_share * done;
        all += vcpu->write_share;
        least = fmin(least, done);
        product *= done;
        *busiest = fmax(*busiest, run);
    }
    alone = all > 0 ? alone / all : 1;
    return (1 - guest->interlock) * alone +
           guest->interlock * (actuator->own_phases ? product : least);
}

/*
 * A page that was sent is written to with @intensity while the part @sent of
 * what was left is, as steadily; of each region in proportion.
 */
static void dirty_since_sent(AcPlant *plant, unsigned i, double intensity,
                             double sent)
{
    double known = plant->clean_bytes[i] + plant->dirtied_bytes[i];
    double sent_bytes = (plant->guest->regions[i].bytes - known) * sent;
    double spared = intensity > 0 ? -expm1(-intensity) / intensity : 1;

    plant->clean_bytes[i] = plant->clean_bytes[i] * exp(-intensity) +
                            sent_bytes * spared;
    plant->dirtied_bytes[i] = known + sent_bytes - plant->clean_bytes[i];
}

/*
 * The guest executes for @slice_s in which nothing changes, and the part @sent
 * of what is left is sent.
 */
static void run_guest(AcPlant *plant, AcPass *pass, double slice_s,
                      const AcActuator *actuator, double sent)
{
    const AcGuest *guest = plant->guest;
    double activity = guest_activity(guest, plant->now_s);
    double busiest, done = done_share(guest, actuator, activity, &busiest);
    unsigned i;

    for (i = 0; i < guest->region_count; i++) {
        const AcRegion *region = &guest->regions[i];
        double bytes = region->write_bps * (region->dma ? 1 : done) *
                       activity * slice_s;

        plant->written_bytes[i] += bytes;
        if (guest->kernel_log) {
            dirty_since_sent(plant, i, bytes / region->bytes, sent);
        }
    }
    plant->lost_s += activity > 0 ? slice_s * (1 - done) : 0;
    plant->now_s += slice_s;
    pass->run_s += slice_s * busiest;
    pass->elapsed_s += slice_s;
}

static void drain(AcPlant *plant, AcPass *pass, double until_bytes,
                  double until_s, const AcActuator *actuator)
{
    while (plant->remaining_bytes > until_bytes && plant->now_s < until_s) {
        double bps = ac_plant_drain_bps(plant);
        double slice_s = (plant->remaining_bytes - until_bytes) / bps;
        double limit_s = fmin(next_change(plant), until_s) - plant->now_s;
        bool whole = slice_s <= limit_s;
        double bytes, sent;

        slice_s = whole ? slice_s : limit_s;
        bytes = whole ? plant->remaining_bytes - until_bytes : slice_s * bps;
        sent = bytes / plant->remaining_bytes;
        plant->remaining_bytes = whole ? until_bytes :
                                 plant->remaining_bytes - bytes;
        pass->drained_bytes += bytes;
        pass->zero_bytes += plant->bulk_done ? 0 :
                            bytes * plant->guest->zero_share;
        pass->wire_bytes += bytes * page_cost(plant);
        run_guest(plant, pass, slice_s, actuator, sent);
    }
}

/* What was written to since the last sync, each page once */
static double count_dirty(const AcPlant *plant)
{
    const AcGuest *guest = plant->guest;
    double dirty = 0;
    unsigned i;

    for (i = 0; i < guest->region_count; i++) {
        const AcRegion *region = &guest->regions[i];
        double written = plant->written_bytes[i];

        dirty += region->swept ? fmin(region->bytes, written) :
                 -region->bytes * expm1(-written / region->bytes);
    }
    return dirty;
}

/* What became dirty; pages that were left over were so already. */
static double collect_dirty(AcPlant *plant)
{
    double dirty = count_dirty(plant), since_sent = 0, set = 0;
    unsigned i;

    for (i = 0; i < plant->guest->region_count; i++) {
        set += plant->guest->regions[i].bytes;
        since_sent += plant->dirtied_bytes[i];
        plant->written_bytes[i] = 0;
        plant->dirtied_bytes[i] = 0;
    }
    if (plant->guest->kernel_log) {
        return since_sent;
    }
    return set > 0 ? dirty * fmax(0, 1 - plant->remaining_bytes / set) : 0;
}

/* What the clock of the vCPU shows, as a share of what it ran. */
static double measured_share(const AcPlant *plant)
{
    return 1 + plant->guest->clock_error *
           jitter_at(plant->link->seed, plant->now_s * 1000);
}

/* Counts at times that double, until it is enough or the pass is over. */
static void drain_and_count(AcPlant *plant, AcPass *pass, double until_bytes,
                            double until_s, double enough_bytes,
                            const AcActuator *actuator)
{
    double start_s = plant->now_s;
    double count_s = AUTO_CONVERGE_COUNT_FIRST_MS / 1e3;
    double dirty_bytes = 0;

    while (dirty_bytes < enough_bytes && start_s + count_s <= until_s &&
           pass->count < AUTO_CONVERGE_COUNTS_MAX) {
        drain(plant, pass, until_bytes, start_s + count_s, actuator);
        if (plant->remaining_bytes <= until_bytes) {
            return;
        }
        dirty_bytes = count_dirty(plant);
        pass->counts[pass->count++] = (AutoConvergeCount) {
            .guest_run_ns = pass->run_s * 1e9,
            .dirty_bytes = dirty_bytes,
        };
        count_s *= 2;
    }
    if (dirty_bytes < enough_bytes) {
        drain(plant, pass, until_bytes, until_s, actuator);
    }
}

AcPass ac_plant_pass(AcPlant *plant, const AcActuator *actuator,
                     const AcLook *look)
{
    AcPass pass = { 0 };
    double until_s = look ? plant->now_s + look->most_s : INFINITY;
    AcActuator leaky = *actuator;
    double drain_bps = ac_plant_drain_bps(plant);
    double left = fmin(plant->remaining_bytes,
                       threshold_bytes(plant)) - drain_bps * BURST_S;
    double sync_s;

    if (leaky.run_share < 1) {
        leaky.run_share = fmin(1, leaky.run_share + plant->guest->leak);
    }
    if (look && look->dirty_bytes > 0 && !plant->guest->kernel_log) {
        drain_and_count(plant, &pass, fmax(left, 0), until_s,
                        look->dirty_bytes, &leaky);
    } else {
        drain(plant, &pass, fmax(left, 0), until_s, &leaky);
    }
    pass.partial = plant->remaining_bytes > fmax(left, 0);
    plant->bulk_done = true;
    pass.dirty_bytes = collect_dirty(plant);
    plant->remaining_bytes += pass.dirty_bytes;
    sync_s = plant->link->sync_s_per_gib * plant->guest->ram_bytes / GIB;
    if (sync_s > 0) {
        run_guest(plant, &pass, sync_s, &leaky, 0);
    }
    pass.run_s = fmin(pass.run_s * measured_share(plant), pass.elapsed_s);
    return pass;
}

void ac_plant_init(AcPlant *plant, const AcGuest *guest, const AcLink *link,
                   double downtime_s)
{
    *plant = (AcPlant) {
        .guest = guest,
        .link = link,
        .downtime_s = downtime_s,
        .remaining_bytes = guest->ram_bytes,
    };
}

AcGuest ac_guest_uniform(double ram_bytes, double set_bytes, double write_bps,
                         double demand)
{
    return (AcGuest) {
        .ram_bytes = ram_bytes,
        .page_cost = 1,
        .regions = { { .bytes = set_bytes, .write_bps = write_bps } },
        .region_count = 1,
        .vcpus = { { .demand = demand, .write_share = 1 } },
        .vcpu_count = 1,
    };
}

AcGuest ac_guest_hot_cold(double ram_bytes, double set_bytes,
                          double write_bps, double demand)
{
    AcGuest guest = ac_guest_uniform(ram_bytes, set_bytes, write_bps, demand);

    guest.regions[0].bytes = set_bytes * HOT_BYTES_SHARE;
    guest.regions[0].write_bps = write_bps * HOT_WRITES_SHARE;
    guest.regions[1].bytes = set_bytes * (1 - HOT_BYTES_SHARE);
    guest.regions[1].write_bps = write_bps * (1 - HOT_WRITES_SHARE);
    guest.region_count = 2;
    return guest;
}

AcLink ac_link_steady(double bps)
{
    return (AcLink) { .bps = bps };
}
