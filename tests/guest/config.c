/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: what it is told to do
 *
 * Copyright (c) 2026 the auto-converge authors
 */

#include "config.h"
#include "smp.h"
#include "text.h"

#define BASE_MIN_MIB        8u          /* below lie program and table */
#define MEMORY_MAX_MIB      3072u       /* below lies RAM on every machine */
#define RATE_LIMIT_MBPS     1000000u
#define RATE_CALM_MBPS      1u
#define BACKLOG_MAX_MS      60000u
#define REPORT_MIN_MS       10u
#define REPORT_MAX_MS       10000u
#define PHASE_MAX_S         3600u

typedef struct Name {
    const char *name;
    uint32_t value;
} Name;

typedef struct Key {
    const char *name;
    uint32_t offset;                    /* of the member of Config */
    uint32_t min, max;
    const Name *names;                  /* instead of, or beside numbers */
    bool live;
} Key;

static const Name rate_names[] = {
    { "max", RATE_MAX },
    { "calm", RATE_CALM_MBPS },
    { "idle", RATE_IDLE },
    { NULL, 0 },
};

static const Name mode_names[] = {
    { "open", 0 },
    { "closed", 1 },
    { NULL, 0 },
};

static const Name pattern_names[] = {
    { "sweep", PATTERN_SWEEP },
    { "random", PATTERN_RANDOM },
    { "hotcold", PATTERN_HOTCOLD },
    { NULL, 0 },
};

#define MEMBER(member) offsetof(Config, member)

/* max below min: the key takes names alone */
static const Key keys[] = {
    { "base", MEMBER(base_mib), BASE_MIN_MIB, MEMORY_MAX_MIB, NULL, false },
    { "ws", MEMBER(ws_mib), 1, MEMORY_MAX_MIB, NULL, false },
    { "ballast", MEMBER(ballast_mib), 0, MEMORY_MAX_MIB, NULL, false },
    { "fill", MEMBER(fill), 0, 1, NULL, false },
    { "seed", MEMBER(seed), 1, UINT32_MAX, NULL, false },
    { "cpus", MEMBER(cpus), 1, SMP_CPUS_MAX, NULL, false },
    { "relay", MEMBER(relay), 0, 1, NULL, false },
    { "rate", MEMBER(rate_mbps), 0, RATE_LIMIT_MBPS, rate_names, true },
    { "cpu", MEMBER(cpu_pct), 0, 100, NULL, true },
    { "mode", MEMBER(closed), 1, 0, mode_names, true },
    { "backlog", MEMBER(backlog_ms), 0, BACKLOG_MAX_MS, NULL, true },
    { "pattern", MEMBER(pattern), 1, 0, pattern_names, true },
    { "hot", MEMBER(hot_pct), 1, 99, NULL, true },
    { "share", MEMBER(share_pct), 0, 100, NULL, true },
    { "report", MEMBER(report_ms), REPORT_MIN_MS, REPORT_MAX_MS, NULL, true },
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

void config_init(Config *config)
{
    *config = (Config) {
        .base_mib = 16,
        .ws_mib = 64,
        .fill = 1,
        .seed = 1,
        .cpus = 1,
        .rate_mbps = RATE_MAX,
        .backlog_ms = 1000,
        .pattern = PATTERN_SWEEP,
        .hot_pct = 10,
        .share_pct = 90,
        .report_ms = 100,
    };
}

static bool value_of(const Key *key, const char *string, uint32_t *value)
{
    for (const Name *name = key->names; name && name->name; name++) {
        if (text_equal(string, name->name)) {
            *value = name->value;
            return true;
        }
    }
    return text_to_number(string, key->max, value) && *value >= key->min;
}

/* "seconds:rate,seconds:rate", times rising */
static const char *set_phases(Config *config, char *string)
{
    static const Key rate = {
        "rate", 0, 0, RATE_LIMIT_MBPS, rate_names, true
    };
    Phase phases[PHASES_MAX];
    uint32_t count = 0, last_s = 0;
    char *part;

    while ((part = text_next_part(&string, ','))) {
        char *at = text_next_part(&part, ':');
        uint32_t at_s;

        if (count == PHASES_MAX) {
            return "too many phases";
        }
        if (!at || !text_to_number(at, PHASE_MAX_S, &at_s) || at_s < last_s
            || !value_of(&rate, part, &phases[count].rate_mbps)) {
            return "bad value";
        }
        phases[count++].at_ms = at_s * 1000;
        last_s = at_s;
    }
    for (uint32_t i = 0; i < count; i++) {
        config->phases[i] = phases[i];
    }
    config->phases_count = count;
    return NULL;
}

const char *config_set(Config *config, char *word, bool running)
{
    char *name = text_next_part(&word, '=');
    uint32_t value;

    if (text_equal(name, "phases")) {
        return running ? "fixed at boot" : set_phases(config, word);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        if (!text_equal(name, keys[i].name)) {
            continue;
        }
        if (running && !keys[i].live) {
            return "fixed at boot";
        }
        if (!value_of(&keys[i], word, &value)) {
            return "bad value";
        }
        *(uint32_t *)((char *)config + keys[i].offset) = value;
        return NULL;
    }
    return "unknown key";
}
