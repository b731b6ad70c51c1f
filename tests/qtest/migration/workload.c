/*
 * A QEMU with a guest that dirties memory, and its migration
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/workload.h"

bool workload_is_available(void)
{
    if (!qtest_has_accel("tcg") || !*(getenv("QTEST_WORKLOAD") ?: "")) {
        g_test_message("Needs TCG, and QTEST_WORKLOAD: the guest to run");
        return false;
    }
    return true;
}

WorkloadGuest workload_start_guest(const char *workload, const char *extra)
{
    g_autofree char *args = g_strdup_printf(
        "%s -machine pc -nodefaults -m 192 "
        "-kernel %s -append \"%s report=50\" %s",
        strstr(extra, "-accel ") ? "" : "-accel tcg",
        getenv("QTEST_WORKLOAD"), workload, extra);
    WorkloadGuest guest;

    guest.qts = qtest_init_with_serial(args, &guest.serial);
    return guest;
}

WorkloadGuest workload_start_source(const char *workload, const char *extra)
{
    WorkloadGuest guest = workload_start_guest(workload, extra);

    g_free(workload_wait_line(&guest, "ready "));
    return guest;
}

void workload_quit_guest(WorkloadGuest *guest)
{
    qtest_quit(guest->qts);
    close(guest->serial);
}

void workload_wait_exit(WorkloadGuest *to)
{
    qtest_set_expected_status(to->qts, EXIT_FAILURE);
    while (qtest_probe_child(to->qts)) {
        g_usleep(1000);
    }
}

/* The first line of a destination may have begun at the source. */
char *workload_wait_line(WorkloadGuest *guest, const char *text)
{
    for (;;) {
        g_autoptr(GString) line = g_string_new("");
        const char *found;
        char c;

        for (;;) {
            g_assert_cmpint(read(guest->serial, &c, 1), ==, 1);
            if (c == '\n') {
                break;
            }
            g_string_append_c(line, c);
        }
        if (g_str_has_prefix(line->str, "error ")) {
            g_error("the guest says: %s", line->str);
        }
        found = strstr(line->str, text);
        if (found) {
            return g_strdup(found);
        }
    }
}

void workload_send_command(WorkloadGuest *guest, const char *command)
{
    g_autofree char *line = g_strdup_printf("%s\n", command);

    g_assert_cmpint(write(guest->serial, line, strlen(line)), ==,
                    strlen(line));
}

void workload_verify_memory(WorkloadGuest *guest)
{
    g_autofree char *line = NULL;

    workload_send_command(guest, "verify");
    line = workload_wait_line(guest, "verify ");
    g_test_message("%s", line);
    g_assert_nonnull(strstr(line, " bad=0 stale=0 table=ok seal=ok "));
}

void workload_expect_success(QTestState *qts, const char *command)
{
    qtest_qmp_assert_success(qts, "{ 'execute': %s }", command);
}

void workload_set_capability(QTestState *qts, const char *name, bool state)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-capabilities',"
                             " 'arguments': { 'capabilities': ["
                             " { 'capability': %s, 'state': %i } ] } }",
                             name, state);
}

void workload_set_int(QTestState *qts, const char *name, int64_t value)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-parameters',"
                             " 'arguments': { %s: %" PRId64 " } }",
                             name, value);
}

void workload_set_str(QTestState *qts, const char *name, const char *value)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-parameters',"
                             " 'arguments': { %s: %s } }", name, value);
}

bool workload_has_parameter(QTestState *qts, const char *name)
{
    QDict *params = workload_query(qts, "query-migrate-parameters");
    bool has = qdict_haskey(params, name);

    qobject_unref(params);
    return has;
}

QDict *workload_query(QTestState *qts, const char *command)
{
    QDict *reply = qtest_qmp(qts, "{ 'execute': %s }", command);
    QDict *result = qdict_get_qdict(reply, "return");

    g_assert_nonnull(result);
    qobject_ref(result);
    qobject_unref(reply);
    return result;
}

bool workload_has_status(QTestState *qts, const char *status)
{
    QDict *migration = workload_query(qts, "query-migrate");
    bool is = !strcmp(qdict_get_try_str(migration, "status") ?: "", status);

    qobject_unref(migration);
    return is;
}

bool workload_has_ended(QTestState *qts)
{
    return workload_has_status(qts, "completed") ||
           workload_has_status(qts, "failed") ||
           workload_has_status(qts, "cancelled");
}

void workload_wait_status(QTestState *qts, const char *status)
{
    while (!workload_has_status(qts, status)) {
        /* Nothing follows an end; it may have come just now. */
        g_assert_true(!workload_has_ended(qts) ||
                      workload_has_status(qts, status));
        g_usleep(10 * 1000);
    }
}

bool workload_is_running(QTestState *qts)
{
    QDict *status = workload_query(qts, "query-status");
    bool running = qdict_get_bool(status, "running");

    qobject_unref(status);
    return running;
}

/* Of RAM, and 0 while nothing is said of it */
static int64_t query_ram_int(QTestState *qts, const char *key)
{
    QDict *migration = workload_query(qts, "query-migrate");
    QDict *ram = qdict_get_qdict(migration, "ram");
    int64_t value = ram ? qdict_get_int(ram, key) : 0;

    qobject_unref(migration);
    return value;
}

int64_t workload_count_syncs(QTestState *qts)
{
    return query_ram_int(qts, "dirty-sync-count");
}

int64_t workload_sent_bytes(QTestState *qts)
{
    return query_ram_int(qts, "transferred");
}

void workload_wait_syncs(QTestState *qts, int64_t count)
{
    while (workload_count_syncs(qts) < count) {
        g_assert_true(!workload_has_ended(qts) ||
                      workload_count_syncs(qts) >= count);
        g_usleep(1000);
    }
}

WorkloadMigration workload_prepare_migration(const char *workload,
                                             const char *extra)
{
    WorkloadMigration m = { .extra = extra };

    m.dir = g_dir_make_tmp("workload-XXXXXX", NULL);
    g_assert_nonnull(m.dir);
    m.uri = g_strdup_printf("unix:%s/socket", m.dir);
    m.from = workload_start_source(workload, extra);
    workload_set_int(m.from.qts, "max-bandwidth", WORKLOAD_LINK_BYTES_PER_S);
    workload_set_int(m.from.qts, "downtime-limit", WORKLOAD_DOWNTIME_LIMIT_MS);
    return m;
}

void workload_start_migration(QTestState *from, const char *uri)
{
    qtest_qmp_assert_success(from, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
}

void workload_begin_migration(WorkloadMigration *m)
{
    g_autofree char *incoming = g_strdup_printf("%s-incoming %s", m->extra,
                                                m->uri);

    m->to = workload_start_guest("", incoming);
    workload_start_migration(m->from.qts, m->uri);
}

void workload_cancel_source(QTestState *from)
{
    workload_expect_success(from, "migrate_cancel");
    workload_wait_status(from, "cancelled");
}

void workload_cancel_migration(WorkloadMigration *m)
{
    workload_cancel_source(m->from.qts);
    workload_wait_exit(&m->to);
}

void workload_end_migration(WorkloadMigration *m)
{
    g_autofree char *path = g_strdup_printf("%s/socket", m->dir);

    workload_quit_guest(&m->from);
    if (m->to.qts) {
        workload_quit_guest(&m->to);
    }
    unlink(path);
    rmdir(m->dir);
    g_free(m->dir);
    g_free(m->uri);
}

void workload_assert_migrated(WorkloadGuest *from, WorkloadGuest *to)
{
    workload_wait_status(from->qts, "completed");
    g_assert_false(workload_is_running(from->qts));
    qtest_qmp_eventwait(to->qts, "RESUME");
    workload_verify_memory(to);
}
