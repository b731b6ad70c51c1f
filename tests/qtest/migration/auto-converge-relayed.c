/*
 * Adaptive auto-converge, end to end: migrations over a relay
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/auto-converge-relayed.h"

/* The relay is what limits it. */
#define UNLIMITED_BYTES_PER_S (1024 * RELAYED_MIB)

int64_t relayed_clock_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

RelayedMigration relayed_prepare_with(const char *workload,
                                      const char *from_extra,
                                      const char *to_extra)
{
    RelayedMigration t = { .to_extra = to_extra };

    t.dir = g_dir_make_tmp("relayed-XXXXXX", NULL);
    g_assert_nonnull(t.dir);
    t.from_path = g_strdup_printf("%s/relay", t.dir);
    t.to_path = g_strdup_printf("%s/to", t.dir);
    t.pid_path = g_strdup_printf("%s/pid", t.dir);
    t.from = workload_start_source(workload, from_extra);
    ac_enable(t.from.qts);
    workload_set_int(t.from.qts, "max-bandwidth", UNLIMITED_BYTES_PER_S);
    workload_set_int(t.from.qts, "downtime-limit", WORKLOAD_DOWNTIME_LIMIT_MS);
    workload_set_int(t.from.qts, "max-cpu-throttle", RELAYED_CEILING);
    workload_set_int(t.from.qts, "cpu-throttle-fallback-downtime", 0);
    return t;
}

RelayedMigration relayed_prepare(const char *workload)
{
    return relayed_prepare_with(workload, "", "");
}

void relayed_start_destination(RelayedMigration *t)
{
    g_autofree char *incoming = g_strdup_printf(
        "%s -incoming unix:%s -pidfile %s", t->to_extra, t->to_path,
        t->pid_path);

    t->to = workload_start_guest("", incoming);
}

void relayed_begin(RelayedMigration *t, int bytes_per_s)
{
    g_autofree char *uri = g_strdup_printf("unix:%s", t->from_path);

    if (!t->to.qts) {
        relayed_start_destination(t);
    }
    relay_start(&t->relay, t->from_path, t->to_path, bytes_per_s);
    workload_start_migration(t->from.qts, uri);
}

void relayed_begin_held(RelayedMigration *t, int bytes_per_s)
{
    workload_set_str(t->from.qts, "cpu-throttle-fallback", "none");
    relayed_begin(t, bytes_per_s);
    ac_pass_event(t->from.qts, "phase", "ceiling");
}

void relayed_allow_stop(RelayedMigration *t)
{
    workload_set_str(t->from.qts, "cpu-throttle-fallback", "stop-and-copy");
}

void relayed_wait_stopped(RelayedMigration *t)
{
    while (workload_is_running(t->from.qts)) {
        g_usleep(1000);
    }
}

void relayed_begin_stop(RelayedMigration *t, const char *workload,
                        int bytes_per_s)
{
    *t = relayed_prepare(workload);
    relayed_begin_held(t, RELAYED_FAST_BYTES_PER_S);
    ac_pass_event(t->from.qts, "phase", "let-go");
    relay_set_rate(&t->relay, RELAYED_SLOW_BYTES_PER_S);
    relayed_allow_stop(t);
    ac_pass_event(t->from.qts, "phase", "fallback");
    relayed_wait_stopped(t);
    relay_set_rate(&t->relay, bytes_per_s);
}

void relayed_signal_destination(RelayedMigration *t, int signal)
{
    g_autofree char *pid = NULL;

    g_assert_true(g_file_get_contents(t->pid_path, &pid, NULL, NULL));
    g_assert_cmpint(kill(atoi(pid), signal), ==, 0);
}

void relayed_end_destination(RelayedMigration *t)
{
    relay_end(&t->relay);
    workload_wait_exit(&t->to);
    workload_quit_guest(&t->to);
    memset(&t->to, 0, sizeof(t->to));
}

void relayed_end(RelayedMigration *t)
{
    if (relay_is_started(&t->relay)) {
        relay_end(&t->relay);
    }
    workload_quit_guest(&t->from);
    if (t->to.qts) {
        workload_quit_guest(&t->to);
    }
    unlink(t->from_path);
    unlink(t->to_path);
    unlink(t->pid_path);
    rmdir(t->dir);
    g_free(t->pid_path);
    g_free(t->from_path);
    g_free(t->to_path);
    g_free(t->dir);
}

void relayed_cancel_and_end(RelayedMigration *t)
{
    workload_cancel_source(t->from.qts);
    ac_assert_survived(&t->from);
    relayed_end_destination(t);
    relayed_end(t);
}

int64_t relayed_wait_running_ms(QTestState *qts)
{
    int64_t then_ms = relayed_clock_ms();

    while (!workload_is_running(qts)) {
        g_usleep(5 * 1000);
    }
    return relayed_clock_ms() - then_ms;
}

void relayed_assert_reason(QTestState *qts, const char *phase,
                           const char *reason)
{
    QDict *info = ac_query(qts);

    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, phase);
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, reason);
    qobject_unref(info);
}

RelayedLook relayed_look(QTestState *qts)
{
    int64_t then_ms = relayed_clock_ms();
    QDict *migration = workload_query(qts, "query-migrate");
    RelayedLook now = { .reply_ms = relayed_clock_ms() - then_ms };
    QDict *info = qdict_get_qdict(migration, "auto-converge");

    now.stopped = !strcmp(qdict_get_str(migration, "status"), "active") &&
                  qdict_haskey(info, "downtime");
    if (now.stopped) {
        now.remaining_bytes = qdict_get_int(
            qdict_get_qdict(migration, "ram"), "remaining");
        now.downtime_ms = qdict_get_int(info, "downtime");
    }
    qobject_unref(migration);
    return now;
}
