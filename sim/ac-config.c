/*
 * name=value,... with the names that the parameters have in QAPI
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "ac-config.h"

#define DOWNTIME_LIMIT_MS_MAX 2000000 /* QEMU's: 2000 s */

typedef struct Parameter {
    const char *name;
    const char *range;
    const char *initial;
} Parameter;

static const Parameter parameters[] = {
    { "throttle-trigger-threshold", "1..100 (%)", "50" },
    { "cpu-throttle-initial", "1..99 (%)", "20" },
    { "cpu-throttle-increment", "1..99 (%)", "10" },
    { "cpu-throttle-tailslow", "on|off, without effect", "off" },
    { "max-cpu-throttle", "cpu-throttle-initial..99 (%)", "99" },
    { "cpu-throttle-fallback", "none|stop-and-copy|post-copy",
      "stop-and-copy" },
    { "cpu-throttle-fallback-downtime", "0..2^64-1 (ms), 0: no bound",
      "30000" },
    { "cpu-throttle-deadline", "0..2^32-1 (s), 0: none", "0" },
    { "looks", "on|off, within a pass, before a throttle", "on" },
    { "downtime-limit", "0..2000000 (ms)", "300" },
};

AutoConvergeConfig ac_config_default(void)
{
    return (AutoConvergeConfig) {
        .trigger_threshold_pct = 50,
        .throttle_initial_pct = 20,
        .throttle_increment_pct = 10,
        .throttle_max_pct = 99,
        .fallback = AUTO_CONVERGE_FALLBACK_STOP_AND_COPY,
        .fallback_downtime_ms = 30000,
        .downtime_limit_ms = 300,
        .looks = true,
    };
}

AutoConvergeConfig ac_config_unbounded(void)
{
    AutoConvergeConfig config = ac_config_default();

    config.fallback_downtime_ms = 0;
    return config;
}

bool ac_parse_u64(const char *text, uint64_t *value)
{
    char *end;

    if (!g_ascii_isdigit(*text)) {
        return false; /* g_ascii_strtoull() takes a sign or a space */
    }
    errno = 0;
    *value = g_ascii_strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool parse_pct(const char *text, unsigned max, unsigned *pct)
{
    uint64_t value;

    if (!ac_parse_u64(text, &value) || value < 1 || value > max) {
        return false;
    }
    *pct = value;
    return true;
}

static bool parse_fallback(const char *text, AutoConvergeFallback *fallback)
{
    if (g_str_equal(text, "none")) {
        *fallback = AUTO_CONVERGE_FALLBACK_NONE;
        return true;
    }
    if (g_str_equal(text, "post-copy")) {
        *fallback = AUTO_CONVERGE_FALLBACK_POST_COPY;
        return true;
    }
    *fallback = AUTO_CONVERGE_FALLBACK_STOP_AND_COPY;
    return g_str_equal(text, "stop-and-copy");
}

static bool set_parameter(AutoConvergeConfig *config, const char *name,
                          const char *value)
{
    if (g_str_equal(name, "throttle-trigger-threshold")) {
        return parse_pct(value, 100, &config->trigger_threshold_pct);
    } else if (g_str_equal(name, "cpu-throttle-initial")) {
        return parse_pct(value, 99, &config->throttle_initial_pct);
    } else if (g_str_equal(name, "cpu-throttle-increment")) {
        return parse_pct(value, 99, &config->throttle_increment_pct);
    } else if (g_str_equal(name, "cpu-throttle-tailslow")) {
        return g_str_equal(value, "on") || g_str_equal(value, "off");
    } else if (g_str_equal(name, "looks")) {
        config->looks = g_str_equal(value, "on");
        return config->looks || g_str_equal(value, "off");
    } else if (g_str_equal(name, "max-cpu-throttle")) {
        return parse_pct(value, 99, &config->throttle_max_pct);
    } else if (g_str_equal(name, "cpu-throttle-fallback")) {
        return parse_fallback(value, &config->fallback);
    } else if (g_str_equal(name, "cpu-throttle-fallback-downtime")) {
        return ac_parse_u64(value, &config->fallback_downtime_ms);
    } else if (g_str_equal(name, "cpu-throttle-deadline")) {
        return ac_parse_u64(value, &config->deadline_s) &&
               config->deadline_s <= UINT32_MAX;
    }
    return ac_parse_u64(value, &config->downtime_limit_ms) &&
           config->downtime_limit_ms <= DOWNTIME_LIMIT_MS_MAX;
}

static const Parameter *find_parameter(const char *name)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(parameters); i++) {
        if (g_str_equal(name, parameters[i].name)) {
            return &parameters[i];
        }
    }
    return NULL;
}

static bool parse_pair(AutoConvergeConfig *config, char *pair, char **error)
{
    char *value = strchr(pair, '=');
    const Parameter *parameter;

    if (!value) {
        *error = g_strdup_printf("'%s' is not name=value", pair);
        return false;
    }
    *value++ = '\0';
    parameter = find_parameter(pair);
    if (!parameter) {
        *error = g_strdup_printf("there is no parameter '%s'", pair);
        return false;
    }
    if (!set_parameter(config, pair, value)) {
        *error = g_strdup_printf("%s cannot be '%s', its range is %s",
                                 pair, value, parameter->range);
        return false;
    }
    return true;
}

bool ac_config_parse(AutoConvergeConfig *config, const char *text,
                     char **error)
{
    AutoConvergeConfig parsed = *config;
    char **pairs = g_strsplit(text, ",", -1);
    bool ok = true;
    unsigned i;

    for (i = 0; ok && pairs[i]; i++) {
        ok = parse_pair(&parsed, pairs[i], error);
    }
    g_strfreev(pairs);
    if (ok && parsed.throttle_max_pct < parsed.throttle_initial_pct) {
        *error = g_strdup_printf("max-cpu-throttle cannot be '%u', its range "
                                 "is cpu-throttle-initial..99 (%%)",
                                 parsed.throttle_max_pct);
        ok = false;
    }
    if (ok) {
        *config = parsed;
    }
    return ok;
}

void ac_config_print_help(FILE *out)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(parameters); i++) {
        fprintf(out, "  %-31s %s; default %s\n", parameters[i].name,
                parameters[i].range, parameters[i].initial);
    }
}
