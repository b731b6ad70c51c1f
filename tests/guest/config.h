/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: what it is told to do
 *
 * Copyright (c) 2026 the auto-converge authors
 */

#ifndef WORKLOAD_CONFIG_H
#define WORKLOAD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "pages.h"

#define PHASES_MAX          16u
#define RATE_MAX            0u          /* as fast as it can */
#define RATE_IDLE           UINT32_MAX  /* write nothing */

typedef struct Phase {
    uint32_t at_ms;                     /* since the guest was ready */
    uint32_t rate_mbps;
} Phase;

typedef struct Config {
    /* memory: fixed at boot */
    uint32_t base_mib;
    uint32_t ws_mib;
    uint32_t ballast_mib;
    uint32_t fill;                      /* write every page once first */
    uint32_t seed;
    uint32_t cpus;                      /* the boot CPU included */
    uint32_t relay;                     /* the others take turns */
    Phase phases[PHASES_MAX];
    uint32_t phases_count;

    /* work: may change at any time */
    uint32_t rate_mbps;                 /* 10^6 bytes/s, or RATE_... */
    uint32_t cpu_pct;                   /* 0: what the writes cost */
    uint32_t closed;                    /* closed loop, else open loop */
    uint32_t backlog_ms;                /* open loop: work kept for later */
    uint32_t pattern;                   /* Pattern */
    uint32_t hot_pct;                   /* of the working set */
    uint32_t share_pct;                 /* of the writes that go there */
    uint32_t report_ms;
} Config;

void config_init(Config *config);

/*
 * Take one "key=value". The text is cut up. Returns NULL, or what is wrong;
 * then @config is as it was. @running: keys fixed at boot are refused.
 */
const char *config_set(Config *config, char *word, bool running);

#endif
