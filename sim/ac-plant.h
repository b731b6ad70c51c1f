/*
 * A pre-copy migration, simulated
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is modelled
 * ----------------
 * A guest writes to regions.  A region of W bytes that gets v bytes of writes
 * between two syncs has
 *
 *     uniform  W (1 - exp(-v / W))        dirty bytes,
 *     swept    min(W, v)
 *
 * and v is proportional to what its vCPUs execute: each the smaller of the
 * run share that the throttle leaves and its own demand.  What share that is,
 * and in slices of what length, ac-actuator.h says.
 *
 * Each slice has a fixed cost, in which the guest executes but gets nothing
 * done.  And a part of the work may need all vCPUs at once, as one that holds a
 * lock that the others spin for: it goes on while all of them run.  Where their
 * slices begin together, that is as long as the least of them runs; where each
 * has a phase of its own, it is the product of their shares.
 *
 * A pass drains what is dirty until less than QEMU's threshold is left: bytes
 * of pages, against what the wire carries within the downtime limit.  Then
 * comes the sync, which costs time, during which the guest runs on.  A page
 * that was dirty anyway does not become dirty again.
 *
 * Which writes a sync finds depends on whose the log is.  QEMU's own (TCG) has
 * what was written since the last sync, also before the page was sent, and can
 * be counted at any time.  The kernel's (KVM, with manual protection) has what
 * was written since the page was sent, when it was protected, and cannot be
 * counted.  QEMU clears it by the GiB, so a real one is between the two.
 *
 * The link carries bytes; pages are turned into them by what they cost: a
 * zero page nothing, a compressible one a part.
 *
 * The actuator may let through more than it was asked to, and the CPU time may
 * be measured wrongly.
 *
 * Time and randomness are arguments: the same plant gives the same run.
 */

#ifndef AC_PLANT_H
#define AC_PLANT_H

#define AC_REGIONS_MAX 3
#define AC_VCPUS_MAX 8
#define AC_STEPS_MAX 4

#include "migration/auto-converge.h"
#include "ac-actuator.h"

typedef struct AcRegion {
    double bytes;
    double write_bps; /* bytes written per second when nothing holds it back */
    bool swept;
    bool dma;         /* by a device, whatever the vCPUs execute */
} AcRegion;

typedef struct AcVcpu {
    double demand;      /* share of a CPU that it wants, 0..1 */
    double write_share; /* share of the guest's writes and of its work */
} AcVcpu;

/* From this time on, the quantity is multiplied by this factor. */
typedef struct AcStep {
    double from_s;
    double factor;
} AcStep;

typedef struct AcGuest {
    double ram_bytes;
    double zero_share;    /* of the RAM: zero pages, free in the bulk pass */
    double page_cost;     /* wire bytes per byte of a page, 1: incompressible */
    AcRegion regions[AC_REGIONS_MAX];
    unsigned region_count;
    AcVcpu vcpus[AC_VCPUS_MAX];
    unsigned vcpu_count;
    double interlock;     /* share of the work that needs all vCPUs at once */
    double slice_cost_s;  /* of each run slice, nothing is done for so long */
    double late_s;        /* so late are the interrupts of a throttled one */
    double leak;          /* run share that it gets on top of all this */
    double clock_error;   /* its CPU time is wrong by up to +- this share */
    bool kernel_log;      /* a page is protected when it is sent */
    AcStep activity[AC_STEPS_MAX]; /* busy and calm phases, in this order */
    unsigned activity_count;
    double period_s;      /* busy for a part of each only; 0: always */
    double duty;          /* that part, 0..1 */
    double calm_activity; /* the factor of the rest */
    double phase_s;       /* how far into a period it is when all begins */
} AcGuest;

typedef struct AcLink {
    double bps;
    double jitter;          /* each second differs by up to +- this share */
    uint64_t seed;          /* of the jitter */
    AcStep steps[AC_STEPS_MAX];
    unsigned step_count;
    double share_period_s;  /* another user of the link, half of the time */
    double share_factor;    /* what it leaves */
    double sync_s_per_gib;  /* what a bitmap sync costs, by RAM size */
} AcLink;

typedef struct AcPlant {
    const AcGuest *guest;
    const AcLink *link;
    double downtime_s;      /* a sync comes when less than this is left */
    double now_s;
    double remaining_bytes;
    double written_bytes[AC_REGIONS_MAX]; /* since the last sync began */
    double clean_bytes[AC_REGIONS_MAX]; /* sent, and not written to since */
    double dirtied_bytes[AC_REGIONS_MAX]; /* ... and written to since */
    double lost_s;          /* guest work that the throttle took */
    bool bulk_done;
} AcPlant;

/* One pass and the sync at its end. */
typedef struct AcPass {
    double elapsed_s;
    double run_s;         /* of the busiest vCPU, as measured */
    double dirty_bytes;
    double drained_bytes;
    double wire_bytes;
    double zero_bytes;    /* drained, of zero pages */
    bool partial;         /* the sync came before the pass was over */
    unsigned count;       /* of the times that it was counted what is dirty */
    AutoConvergeCount counts[AUTO_CONVERGE_COUNTS_MAX];
} AcPass;

/* When does the sync come, if not at the end of the pass? */
typedef struct AcLook {
    double most_s;       /* at the latest then */
    double dirty_bytes;  /* and when so much was counted; 0: do not count */
} AcLook;

void ac_plant_init(AcPlant *plant, const AcGuest *guest, const AcLink *link,
                   double downtime_s);
/* @look may be NULL. */
AcPass ac_plant_pass(AcPlant *plant, const AcActuator *actuator,
                     const AcLook *look);

/* Bytes of guest pages per second that the link carries now. */
double ac_plant_drain_bps(const AcPlant *plant);

/* How long would a stop take that begins now? */
double ac_plant_stop_s(const AcPlant *plant);

/* Does QEMU switch over by itself, because less than its threshold is left? */
bool ac_plant_switches_over(const AcPlant *plant);

/* A guest of one vCPU and one uniform region, the rest as given. */
AcGuest ac_guest_uniform(double ram_bytes, double set_bytes, double write_bps,
                         double demand);
/* 90 % of the writes go to a tenth of the set. */
AcGuest ac_guest_hot_cold(double ram_bytes, double set_bytes,
                          double write_bps, double demand);
AcLink ac_link_steady(double bps);

#endif /* AC_PLANT_H */
