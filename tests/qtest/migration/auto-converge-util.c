/*
 * Adaptive auto-converge, end to end: what its tests share
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/auto-converge-util.h"

void ac_enable(QTestState *qts)
{
    workload_set_capability(qts, "auto-converge", true);
    workload_set_capability(qts, "events", true);
}

WorkloadMigration ac_prepare_with(const char *workload, const char *extra)
{
    WorkloadMigration m = workload_prepare_migration(workload, extra);

    ac_enable(m.from.qts);
    return m;
}

WorkloadMigration ac_prepare(const char *workload)
{
    return ac_prepare_with(workload, "");
}

QDict *ac_query(QTestState *qts)
{
    QDict *migration = workload_query(qts, "query-migrate");
    QDict *info = qdict_get_qdict(migration, "auto-converge");

    g_assert_nonnull(info);
    qobject_ref(info);
    qobject_unref(migration);
    return info;
}

int64_t ac_query_int(QTestState *qts, const char *key)
{
    QDict *info = ac_query(qts);
    int64_t value = qdict_get_int(info, key);

    qobject_unref(info);
    return value;
}

/* The last event of a migration may come a little after its end. */
#define END_POLLS 500

/* Every answer brings what events there are. */
QDict *ac_next_event(QTestState *qts)
{
    unsigned polls = 0;
    QDict *event, *data;

    while (!(event = qtest_qmp_event_ref(qts, "MIGRATION_AUTO_CONVERGE"))) {
        if (workload_has_ended(qts) && ++polls > END_POLLS) {
            g_error("the migration has ended, and there is no such event");
        }
        g_usleep(10 * 1000);
    }
    data = qdict_get_qdict(event, "data");
    qobject_ref(data);
    qobject_unref(event);
    return data;
}

QDict *ac_wait_event(QTestState *qts, const char *key, const char *value)
{
    for (;;) {
        QDict *data = ac_next_event(qts);

        g_test_message("%s: %s, throttle %" PRId64 " permille",
                       qdict_get_str(data, "phase"),
                       qdict_get_str(data, "reason"),
                       qdict_get_int(data, "throttle-permille"));
        if (!strcmp(qdict_get_str(data, key), value)) {
            return data;
        }
        qobject_unref(data);
    }
}

void ac_pass_event(QTestState *qts, const char *key, const char *value)
{
    qobject_unref(ac_wait_event(qts, key, value));
}

void ac_assert_survived(WorkloadGuest *from)
{
    QDict *migration, *info;

    while (!workload_is_running(from->qts)) {
        g_usleep(10 * 1000);
    }
    migration = workload_query(from->qts, "query-migrate");
    info = ac_query(from->qts);
    g_assert_false(qdict_haskey(migration, "cpu-throttle-percentage"));
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    qobject_unref(migration);
    qobject_unref(info);
    workload_verify_memory(from);
}
