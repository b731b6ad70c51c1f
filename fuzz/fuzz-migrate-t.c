/*
 * Fuzzer of "migrate -t": what it reads, what it sets, what it gives back
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is a setting to begin with, what somebody else changes during the
 * migration, and the argument of -t.  Checks and settings are QEMU's own: its
 * migration/options.c is compiled with this, against a tree that was built, see
 * scripts/fuzz.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"
#include "exec/target_page.h"
#include "hw/qdev-properties.h"
#include "hw/qdev-properties-system.h"
#include "migration/auto-converge-control.h"
#include "migration/auto-converge-hmp.h"
#include "migration/auto-converge-params.h"
#include "migration/colo.h"
#include "migration/migration.h"
#include "migration/options.h"
#include "migration/postcopy-ram.h"
#include "system/kvm.h"
#include "fuzz-input.h"

#define PCT_MAX 99
#define THRESHOLD_MAX_PCT 100
#define PARAMS 8

/* ---- what options.c takes from the rest of QEMU ---- */

static MigrationState *state;
static bool is_running;
static unsigned warnings;

MigrationState *migrate_get_current(void)
{
    return state;
}

bool migration_is_running(void)
{
    return is_running;
}

bool migration_in_colo_state(void)
{
    return false;
}

bool migration_in_postcopy(void)
{
    return false;
}

MigrationIncomingState *migration_incoming_get_current(void)
{
    static MigrationIncomingState incoming;

    return &incoming;
}

bool postcopy_ram_supported_by_host(MigrationIncomingState *mis, Error **errp)
{
    return true;
}

/* What the capability dirty-limit takes */
bool kvm_allowed = true;

bool kvm_dirty_ring_enabled(void)
{
    return true;
}

const TargetPageBits target_page = { true, 12, -1ull << 12 };

void auto_converge_control_reload(void)
{
}

/* Of the table of options that the command line takes; nobody reads it. */
const PropertyInfo qdev_prop_bool, qdev_prop_cpu_throttle_fallback,
    qdev_prop_mig_mode, qdev_prop_multifd_compression, qdev_prop_size,
    qdev_prop_string, qdev_prop_uint32, qdev_prop_uint64, qdev_prop_uint8,
    qdev_prop_zero_page_detection;

/* By --wrap */
void __wrap_warn_reportf_err(Error *err, const char *format, ...);
void __wrap_warn_reportf_err(Error *err, const char *format, ...)
{
    warnings++;
    error_free(err);
}

/* ---- what "migrate -t" may change ---- */

typedef struct Settings {
    uint64_t params[PARAMS];
    bool auto_converge;
    bool other_capabilities[MIGRATION_CAPABILITY__MAX];
} Settings;

static const uint64_t least[PARAMS] = { 1, 1, 1, 0, 1, 0, 0, 0 };
static const uint64_t most[PARAMS] = {
    THRESHOLD_MAX_PCT, PCT_MAX, PCT_MAX, 1, PCT_MAX,
    CPU_THROTTLE_FALLBACK__MAX - 1, CPU_THROTTLE_FALLBACK_DOWNTIME_MAX_MS,
    CPU_THROTTLE_DEADLINE_MAX_S,
};

enum { THRESHOLD, INITIAL, INCREMENT, TAILSLOW, MAX_THROTTLE, FALLBACK,
       FALLBACK_DOWNTIME, DEADLINE };

static const char *const names[PARAMS] = {
    "throttle-trigger-threshold", "cpu-throttle-initial",
    "cpu-throttle-increment", "cpu-throttle-tailslow", "max-cpu-throttle",
    "cpu-throttle-fallback", "cpu-throttle-fallback-downtime",
    "cpu-throttle-deadline",
};

static Settings settings(void)
{
    const MigrationParameters *p = &state->parameters;
    Settings now = {
        .params = {
            p->throttle_trigger_threshold, p->cpu_throttle_initial,
            p->cpu_throttle_increment, p->cpu_throttle_tailslow,
            p->max_cpu_throttle, p->cpu_throttle_fallback,
            p->cpu_throttle_fallback_downtime, p->cpu_throttle_deadline,
        },
        .auto_converge =
            state->capabilities[MIGRATION_CAPABILITY_AUTO_CONVERGE],
    };

    for (int i = 0; i < MIGRATION_CAPABILITY__MAX; i++) {
        now.other_capabilities[i] = state->capabilities[i] &&
            i != MIGRATION_CAPABILITY_AUTO_CONVERGE;
    }
    return now;
}

static bool same_capabilities(const Settings *a, const Settings *b)
{
    return a->auto_converge == b->auto_converge &&
           !memcmp(a->other_capabilities, b->other_capabilities,
                   sizeof(a->other_capabilities));
}

static bool same(const Settings *a, const Settings *b)
{
    return same_capabilities(a, b) &&
           !memcmp(a->params, b->params, sizeof(a->params));
}

/* One setting, the way QMP changes it. */
static bool set_param(int i, uint64_t value)
{
    MigrateSetParameters params = {};
    Error *err = NULL;

#define SET(name) (params.has_##name = true, params.name = value)
    switch (i) {
    case THRESHOLD:
        SET(throttle_trigger_threshold);
        break;
    case INITIAL:
        SET(cpu_throttle_initial);
        break;
    case INCREMENT:
        SET(cpu_throttle_increment);
        break;
    case TAILSLOW:
        SET(cpu_throttle_tailslow);
        break;
    case MAX_THROTTLE:
        SET(max_cpu_throttle);
        break;
    case FALLBACK:
        SET(cpu_throttle_fallback);
        break;
    case FALLBACK_DOWNTIME:
        SET(cpu_throttle_fallback_downtime);
        break;
    case DEADLINE:
        SET(cpu_throttle_deadline);
        break;
    }
#undef SET
    qmp_migrate_set_parameters(&params, &err);
    error_free(err);
    return !err;
}

static void set_capability(MigrationCapability capability, bool on)
{
    MigrationCapabilityStatus status = { capability, on };
    MigrationCapabilityStatusList list = { .value = &status };

    qmp_migrate_set_capabilities(&list, NULL);
}

/* A setting of any kind, its value within what QEMU takes */
static void change_one(FuzzInput *input)
{
    int i = fuzz_byte(input) % PARAMS;
    uint64_t range = most[i] - least[i] + 1;
    uint64_t low = fuzz_byte(input), high = fuzz_byte(input);

    set_param(i, least[i] + (high << 8 | low) % range);
}

/* All that options.c checks, as a QEMU has it that was just begun */
static void reset(FuzzInput *input)
{
    MigrationParameters *p;

    if (state) {
        g_free(state->parameters.tls_creds);
        g_free(state->parameters.tls_hostname);
        g_free(state->parameters.tls_authz);
        g_free(state);
    }
    state = g_new0(MigrationState, 1);
    p = &state->parameters;
    migrate_params_init(p);
    p->throttle_trigger_threshold = 50;
    p->cpu_throttle_initial = 20;
    p->cpu_throttle_increment = 10;
    p->max_cpu_throttle = PCT_MAX;
    p->cpu_throttle_fallback = CPU_THROTTLE_FALLBACK_AUTO;
    p->multifd_channels = 2;
    p->multifd_zlib_level = 1;
    p->multifd_zstd_level = 1;
    p->multifd_qatzip_level = 1;
    p->xbzrle_cache_size = 64 * MiB;
    p->announce_initial = 50;
    p->announce_max = 550;
    p->announce_rounds = 5;
    p->announce_step = 100;
    p->x_vcpu_dirty_limit_period = 1000;
    p->vcpu_dirty_limit = 1;
    is_running = false;
    warnings = 0;
    LAW(set_param(INITIAL, 20));
    for (unsigned left = fuzz_byte(input) % (2 * PARAMS); left; left--) {
        change_one(input);
    }
}

/* ---- the laws ---- */

/* @pairs names the parameter, as name=value. */
static bool is_named(const char *pairs, const char *name)
{
    g_auto(GStrv) items = g_strsplit(pairs, ",", -1);
    size_t length = strlen(name);

    for (int i = 0; items[i]; i++) {
        if (g_str_has_prefix(items[i], name) && items[i][length] == '=') {
            return true;
        }
    }
    return false;
}

/* Each item is a name that is known, '=', and something. */
static bool is_well_formed(const char *pairs)
{
    g_auto(GStrv) items = g_strsplit(pairs, ",", -1);

    for (int i = 0; items[i]; i++) {
        const char *equals = strchr(items[i], '=');
        bool known = false;

        for (int j = 0; j < PARAMS && equals; j++) {
            known |= strlen(names[j]) == equals - items[i] &&
                     g_str_has_prefix(items[i], names[j]);
        }
        if (!known || !equals[1]) {
            return false;
        }
    }
    return items[0];
}

static void law_accepted(const char *pairs, const Settings *before,
                         const Settings *now)
{
    LAW(is_well_formed(pairs));
    LAW(now->auto_converge);
    LAW(!memcmp(now->other_capabilities, before->other_capabilities,
                sizeof(now->other_capabilities)));
    LAW(now->params[MAX_THROTTLE] >= now->params[INITIAL]);
    for (int i = 0; i < PARAMS; i++) {
        LAW(now->params[i] >= least[i] && now->params[i] <= most[i]);
        LAW(is_named(pairs, names[i]) || now->params[i] == before->params[i]);
    }
}

/* The parameters of one migration are those of one. */
static void law_once(const char *pairs)
{
    Settings before = settings(), after;
    Error *err = NULL;

    LAW(!auto_converge_override_params(pairs, &err));
    LAW(err);
    error_free(err);
    after = settings();
    LAW(same(&before, &after));
}

static void law_restored(const char *pairs, const Settings *before,
                         const Settings *set, const Settings *now,
                         const Settings *after)
{
    uint64_t wanted[PARAMS];
    bool fits;

    for (int i = 0; i < PARAMS; i++) {
        bool theirs = !is_named(pairs, names[i]) ||
                      now->params[i] != set->params[i];

        wanted[i] = theirs ? now->params[i] : before->params[i];
        LAW(!theirs || after->params[i] == now->params[i]);
        LAW(after->params[i] == now->params[i] ||
            after->params[i] == before->params[i]);
    }
    fits = wanted[MAX_THROTTLE] >= wanted[INITIAL];
    LAW(after->params[MAX_THROTTLE] >= after->params[INITIAL]);
    LAW(!fits || !memcmp(wanted, after->params, sizeof(wanted)));
    LAW(fits == (warnings == 0));
    LAW(same_capabilities(before, after));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = { data, size };
    Settings before, set, now, after;
    g_autofree char *pairs = NULL;
    unsigned flags, changes;
    Error *err = NULL;

    reset(&input);
    flags = fuzz_byte(&input);
    set_capability(MIGRATION_CAPABILITY_AUTO_CONVERGE, flags & 1);
    set_capability(MIGRATION_CAPABILITY_POSTCOPY_RAM, flags & 2);
    if (flags & 4) {
        /* Which auto-converge excludes */
        set_capability(MIGRATION_CAPABILITY_DIRTY_LIMIT, true);
    }
    is_running = flags & 8;
    changes = fuzz_byte(&input) % PARAMS;
    if (input.size < 3 * changes) {
        changes = 0;
    }
    pairs = g_strndup((const char *)input.data + 3 * changes,
                      input.size - 3 * changes);

    before = settings();
    if (!auto_converge_override_params(pairs, &err)) {
        LAW(err);
        LAW(*error_get_pretty(err));
        error_free(err);
        set = settings();
        LAW(same(&before, &set));
        auto_converge_restore_params();
        set = settings();
        LAW(same(&before, &set));
        return 0;
    }
    LAW(!err && !is_running);
    set = settings();
    law_accepted(pairs, &before, &set);
    is_running = true;
    law_once(pairs);
    while (changes--) {
        change_one(&input);
    }
    now = settings();
    is_running = false;
    auto_converge_restore_params();
    after = settings();
    law_restored(pairs, &before, &set, &now, &after);
    /* Once is enough. */
    auto_converge_restore_params();
    now = settings();
    LAW(same(&now, &after));
    return 0;
}
