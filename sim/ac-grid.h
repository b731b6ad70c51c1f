/*
 * A grid of guests, and what the controllers make of it
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AC_GRID_H
#define AC_GRID_H

#include "ac-run.h"

/* What kind of guest is it, by what the oracle can do for it? */
typedef enum AcClass {
    AC_CLASS_CALM,         /* converges unaided */
    AC_CLASS_MIDDLE,       /* some allowed throttle makes it converge */
    AC_CLASS_PATHOLOGICAL, /* none does */
    AC_CLASS__MAX,
} AcClass;

typedef struct AcPoint {
    double ram_bytes;
    double link_bps;
    double set_share;  /* working set / RAM */
    double rate_ratio; /* written bytes / link */
    double demand;     /* share of a CPU */
    double hot_cold;   /* 0: uniform, 1: 90 % of the writes to a tenth */
    double page_cost;  /* see AcGuest; 1 on the standard grid */
    double zero_share; /* of the RAM, where the set leaves as much */
    double period_s;
    double duty;
    double phase;      /* how far into a period it begins, 0..1 */
    double fall;       /* what a brown-out leaves of the link; 0: none */
    double fall_from;  /* in bulk passes */
    double fall_s;     /* and how long it is */
    double share_period_s; /* of another user of the link, see AcLink */
    double share_factor;
    double late_s;       /* see AcGuest; 0 on the standard grid */
    double leak;
    double clock_error;
    double kernel_log;   /* 0 or 1 */
} AcPoint;

typedef struct AcCase {
    AcPoint point;
    AcClass class;
    AcResult none;
    AcResult counter;
    AcResult adaptive;
    AcResult oracle;
    AcResult stop;                 /* right after the bulk pass */
} AcCase;

typedef struct AcQuantiles {
    unsigned count;
    double median, p90, p95, max;
} AcQuantiles;

typedef struct AcSummary {
    unsigned guests;
    unsigned classes[AC_CLASS__MAX];
    unsigned counter_endless;
    unsigned adaptive_endless;
    unsigned calm_touched;         /* calm, but lost more than CALM_LOST_S */
    AcQuantiles time_to_counter;   /* ratios, over the guests needing help */
    AcQuantiles lost_to_counter;
    AcQuantiles lost_to_oracle;
    AcQuantiles lost_to_least;     /* as an oracle would that may stop, too */
    AcQuantiles lost_in_stops;     /* the stopped ones */
    AcQuantiles deeper_pct;        /* than the oracle; the middle ones */
    AcQuantiles windows_to_stop;   /* the pathological ones */
    double prediction_error_max;   /* of the executed stops, as a share */
} AcSummary;

#define AC_CALM_LOST_S 0.35

/* The standard grid, 648 guests; the caller frees these. */
AcPoint *ac_grid_points(unsigned *count);
/* 2304 guests that are busy for a part of each period only */
AcPoint *ac_grid_periodic(unsigned *count);

/* ... and with many periods, of which some fit to the passes */
AcPoint *ac_grid_resonance(unsigned *count);
/* 1296 guests that would converge, and a link that falls and recovers */
AcPoint *ac_grid_brown_outs(unsigned *count);
/* 2400 guests, and a link that falls in every period */
AcPoint *ac_grid_shared(unsigned *count);

AcGuest ac_guest_from_point(const AcPoint *point);
AcLink ac_link_from_point(const AcPoint *point);
void ac_case_run(AcCase *c, const AutoConvergeConfig *config);
AcSummary ac_summarise(const AcCase *cases, unsigned count);
const char *ac_class_name(AcClass class);

#endif /* AC_GRID_H */
