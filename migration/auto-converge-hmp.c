/*
 * Adaptive auto-converge: throttle parameters for one migration
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"
#include "qapi/qapi-visit-migration.h"
#include "qapi/qobject-input-visitor.h"
#include "qapi/util.h"
#include "qemu/cutils.h"
#include "migration/auto-converge-hmp.h"
#include "migration/auto-converge-params.h"
#include "migration.h"

/* The parameters that "migrate -t" takes. */
typedef struct ThrottleParam {
    MigrationParameter parameter;
    enum { PARAM_INT, PARAM_BOOL, PARAM_FALLBACK } type;
    int64_t min;
    int64_t max;
} ThrottleParam;

static const ThrottleParam throttle_params[] = {
    { MIGRATION_PARAMETER_THROTTLE_TRIGGER_THRESHOLD, PARAM_INT, 1, 100 },
    { MIGRATION_PARAMETER_CPU_THROTTLE_INITIAL, PARAM_INT, 1, 99 },
    { MIGRATION_PARAMETER_CPU_THROTTLE_INCREMENT, PARAM_INT, 1, 99 },
    { MIGRATION_PARAMETER_CPU_THROTTLE_TAILSLOW, PARAM_BOOL },
    { MIGRATION_PARAMETER_MAX_CPU_THROTTLE, PARAM_INT, 1, 99 },
    { MIGRATION_PARAMETER_CPU_THROTTLE_FALLBACK, PARAM_FALLBACK },
    { MIGRATION_PARAMETER_CPU_THROTTLE_FALLBACK_DOWNTIME, PARAM_INT,
      0, CPU_THROTTLE_FALLBACK_DOWNTIME_MAX_MS },
    { MIGRATION_PARAMETER_CPU_THROTTLE_DEADLINE, PARAM_INT,
      0, CPU_THROTTLE_DEADLINE_MAX_S },
};

/* A value of each, whatever its type; those with a bit in @given count. */
typedef struct ThrottleValues {
    unsigned given;
    int64_t value[ARRAY_SIZE(throttle_params)];
} ThrottleValues;

/* What "migrate -t" changed, to be undone; nothing when to.given is 0. */
static struct {
    ThrottleValues from;
    ThrottleValues to;
    bool capability;
} overridden;

static int find_throttle_param(const char *name)
{
    for (int i = 0; i < ARRAY_SIZE(throttle_params); i++) {
        if (!strcmp(name,
                    MigrationParameter_str(throttle_params[i].parameter))) {
            return i;
        }
    }
    return -1;
}

static void error_unknown_param(Error **errp, const char *name)
{
    g_autoptr(GString) known = g_string_new("");

    for (int i = 0; i < ARRAY_SIZE(throttle_params); i++) {
        g_string_append_printf(known, "%s%s", i ? ", " : "",
            MigrationParameter_str(throttle_params[i].parameter));
    }
    error_setg(errp, "migrate -t: '%s' is not one of the throttle parameters "
               "%s", name, known->str);
}

static bool parse_throttle_param(const char *name, const char *text,
                                 ThrottleValues *values, Error **errp)
{
    int i = find_throttle_param(name);
    const ThrottleParam *param;
    int64_t value = 0;
    bool on;

    if (i < 0) {
        error_unknown_param(errp, name);
        return false;
    }
    param = &throttle_params[i];
    switch (param->type) {
    case PARAM_INT:
        if (qemu_strtoi64(text, NULL, 10, &value) ||
            value < param->min || value > param->max) {
            error_setg(errp, "Parameter '%s' expects an integer in the range "
                       "of %" PRId64 " to %" PRId64,
                       name, param->min, param->max);
            return false;
        }
        break;
    case PARAM_BOOL:
        if (!qapi_bool_parse(name, text, &on, errp)) {
            return false;
        }
        value = on;
        break;
    case PARAM_FALLBACK:
        value = qapi_enum_parse(&CpuThrottleFallback_lookup, text, -1, NULL);
        if (value < 0) {
            error_setg(errp, "Parameter '%s' expects 'none', "
                       "'stop-and-copy', 'post-copy' or 'auto'", name);
            return false;
        }
        break;
    }
    values->value[i] = value;
    values->given |= 1u << i;
    return true;
}

static bool parse_throttle_params(const char *pairs, ThrottleValues *values,
                                  Error **errp)
{
    g_auto(GStrv) items = g_strsplit(pairs, ",", -1);

    for (int i = 0; items[i]; i++) {
        char *equals = strchr(items[i], '=');

        if (!equals || equals == items[i]) {
            error_setg(errp, "migrate -t: '%s' is not of the form name=value",
                       items[i]);
            return false;
        }
        *equals = '\0';
        if (!parse_throttle_param(items[i], equals + 1, values, errp)) {
            return false;
        }
    }
    if (!values->given) {
        error_setg(errp, "migrate -t: expects name=value[,name=value...]");
        return false;
    }
    return true;
}

static int64_t get_throttle_param(MigrationParameter parameter)
{
    const MigrationParameters *p = &migrate_get_current()->parameters;

    switch (parameter) {
    case MIGRATION_PARAMETER_THROTTLE_TRIGGER_THRESHOLD:
        return p->throttle_trigger_threshold;
    case MIGRATION_PARAMETER_CPU_THROTTLE_INITIAL:
        return p->cpu_throttle_initial;
    case MIGRATION_PARAMETER_CPU_THROTTLE_INCREMENT:
        return p->cpu_throttle_increment;
    case MIGRATION_PARAMETER_CPU_THROTTLE_TAILSLOW:
        return p->cpu_throttle_tailslow;
    case MIGRATION_PARAMETER_MAX_CPU_THROTTLE:
        return p->max_cpu_throttle;
    case MIGRATION_PARAMETER_CPU_THROTTLE_FALLBACK:
        return p->cpu_throttle_fallback;
    case MIGRATION_PARAMETER_CPU_THROTTLE_FALLBACK_DOWNTIME:
        return p->cpu_throttle_fallback_downtime;
    case MIGRATION_PARAMETER_CPU_THROTTLE_DEADLINE:
        return p->cpu_throttle_deadline;
    default:
        g_assert_not_reached();
    }
}

static ThrottleValues get_throttle_params(void)
{
    ThrottleValues values = {};

    for (int i = 0; i < ARRAY_SIZE(throttle_params); i++) {
        values.value[i] = get_throttle_param(throttle_params[i].parameter);
    }
    return values;
}

/* Through QMP, so that the checks are those of migrate-set-parameters. */
static bool set_throttle_params(const ThrottleValues *values, Error **errp)
{
    g_autoptr(MigrateSetParameters) params = NULL;
    g_autoptr(GString) text = g_string_new("");
    Error *err = NULL;
    Visitor *v;

    for (int i = 0; i < ARRAY_SIZE(throttle_params); i++) {
        const ThrottleParam *param = &throttle_params[i];
        int64_t value = values->value[i];

        if (!(values->given & 1u << i)) {
            continue;
        }
        g_string_append_printf(text, "%s%s=", text->len ? "," : "",
                               MigrationParameter_str(param->parameter));
        if (param->type == PARAM_INT) {
            g_string_append_printf(text, "%" PRId64, value);
        } else if (param->type == PARAM_BOOL) {
            g_string_append(text, value ? "on" : "off");
        } else {
            g_string_append(text, CpuThrottleFallback_str(value));
        }
    }
    v = qobject_input_visitor_new_str(text->str, NULL, &error_abort);
    visit_type_MigrateSetParameters(v, NULL, &params, &error_abort);
    visit_free(v);
    qmp_migrate_set_parameters(params, &err);
    error_propagate(errp, err);
    return !err;
}

static bool set_auto_converge(bool on, Error **errp)
{
    MigrationCapabilityStatus status = {
        .capability = MIGRATION_CAPABILITY_AUTO_CONVERGE,
        .state = on,
    };
    MigrationCapabilityStatusList list = { .value = &status };
    Error *err = NULL;

    qmp_migrate_set_capabilities(&list, &err);
    error_propagate(errp, err);
    return !err;
}

bool auto_converge_override_params(const char *pairs, Error **errp)
{
    ThrottleValues from = get_throttle_params();
    ThrottleValues to = {};
    bool capability = migrate_auto_converge();

    if (overridden.to.given) {
        error_setg(errp, "migrate -t: the parameters of the migration before "
                   "are not restored yet");
        return false;
    }
    if (!parse_throttle_params(pairs, &to, errp)) {
        return false;
    }
    /* This is also what refuses to touch a migration that runs. */
    if (!set_auto_converge(true, errp)) {
        return false;
    }
    if (!set_throttle_params(&to, errp)) {
        set_auto_converge(capability, &error_abort);
        return false;
    }
    overridden.from = from;
    overridden.to = to;
    overridden.capability = capability;
    return true;
}

/*
 * Set what can be set: all together, because they may depend on each other;
 * else each by itself, as often as one more fits.
 */
static void restore_throttle_params(ThrottleValues values)
{
    unsigned left = values.given;
    unsigned before;

    if (set_throttle_params(&values, NULL)) {
        return;
    }
    do {
        before = left;
        for (int i = 0; i < ARRAY_SIZE(throttle_params); i++) {
            values.given = left & 1u << i;
            if (values.given && set_throttle_params(&values, NULL)) {
                left &= ~(1u << i);
            }
        }
    } while (left && left != before);
    for (int i = 0; i < ARRAY_SIZE(throttle_params); i++) {
        Error *err = NULL;

        values.given = left & 1u << i;
        if (values.given && !set_throttle_params(&values, &err)) {
            warn_reportf_err(err, "migrate -t: cannot restore %s: ",
                MigrationParameter_str(throttle_params[i].parameter));
        }
    }
}

void auto_converge_restore_params(void)
{
    ThrottleValues now = get_throttle_params();
    Error *err = NULL;

    if (!overridden.to.given) {
        return;
    }
    /* What was changed in the meantime was changed to stay. */
    for (int i = 0; i < ARRAY_SIZE(throttle_params); i++) {
        if (overridden.to.given & 1u << i &&
            overridden.to.value[i] == now.value[i]) {
            overridden.from.given |= 1u << i;
        }
    }
    if (overridden.from.given) {
        restore_throttle_params(overridden.from);
    }
    if (!set_auto_converge(overridden.capability, &err)) {
        warn_reportf_err(err, "migrate -t: cannot restore auto-converge: ");
    }
    memset(&overridden, 0, sizeof(overridden));
}
