/*
 * Adaptive auto-converge, end to end: its parameters, and HMP
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/auto-converge-relayed.h"
#include "migration/auto-converge-tests.h"

/* HMP says @expected, and everything is as before. */
static void assert_refused(QTestState *qts, const char *command,
                           const char *expected)
{
    g_autofree char *before = qtest_hmp(qts, "info migrate_parameters");
    g_autofree char *answer = qtest_hmp(qts, "%s", command);
    g_autofree char *after = qtest_hmp(qts, "info migrate_parameters");
    g_autofree char *capabilities = qtest_hmp(qts, "info migrate_capabilities");
    QDict *migration = workload_query(qts, "query-migrate");

    g_test_message("%s: %s", command, answer);
    g_assert_nonnull(strstr(answer, expected));
    g_assert_cmpstr(before, ==, after);
    g_assert_nonnull(strstr(capabilities, "auto-converge: off"));
    g_assert_false(qdict_haskey(migration, "status"));
    qobject_unref(migration);
}

static void test_params(void)
{
    WorkloadGuest guest = workload_start_guest(
        "", "-global migration.x-cpu-throttle-fallback=none "
        "-global migration.x-cpu-throttle-fallback-downtime=7 "
        "-global migration.x-cpu-throttle-deadline=8");
    QDict *params = workload_query(guest.qts, "query-migrate-parameters");
    g_autofree char *info = NULL;

    g_assert_cmpstr(qdict_get_str(params, "cpu-throttle-fallback"), ==,
                    "none");
    g_assert_cmpint(qdict_get_int(params, "cpu-throttle-fallback-downtime"),
                    ==, 7);
    g_assert_cmpint(qdict_get_int(params, "cpu-throttle-deadline"), ==, 8);
    qobject_unref(params);

    assert_refused(guest.qts, "migrate_set_parameter cpu-throttle-fallback "
                   "postcopy", "cpu-throttle-fallback");
    assert_refused(guest.qts, "migrate_set_parameter "
                   "cpu-throttle-fallback-downtime 2000001", "0 to 2000000");
    assert_refused(guest.qts, "migrate_set_parameter cpu-throttle-deadline "
                   "2000001", "'cpu-throttle-deadline' expects an integer "
                   "in the range of 0 to 2000000 s");
    assert_refused(guest.qts, "migrate_set_parameter max-cpu-throttle 19",
                   "cpu_throttle_initial to 99");
    g_free(qtest_hmp(guest.qts, "migrate_set_parameter "
                     "cpu-throttle-fallback stop-and-copy"));
    g_free(qtest_hmp(guest.qts, "migrate_set_parameter "
                     "cpu-throttle-fallback-downtime 1500"));
    g_free(qtest_hmp(guest.qts, "migrate_set_parameter "
                     "cpu-throttle-deadline 600"));
    info = qtest_hmp(guest.qts, "info migrate_parameters");
    g_assert_nonnull(strstr(info, "cpu-throttle-fallback: stop-and-copy"));
    g_assert_nonnull(strstr(info, "cpu-throttle-fallback-downtime: 1500 ms"));
    g_assert_nonnull(strstr(info, "cpu-throttle-deadline: 600 s"));
    workload_quit_guest(&guest);
}

static void test_hmp_refused(void)
{
    static const struct {
        const char *pairs;
        const char *expected;
    } bad[] = {
        { "cpu-throttle-initial", "name=value" },
        { "=5", "name=value" },
        { "cpu-throttle-initial=5,", "name=value" },
        { "max-bandwidth=5", "'max-bandwidth' is not one of" },
        { "cpu-throttle-initial=0", "'cpu-throttle-initial' expects an "
          "integer in the range of 1 to 99" },
        { "cpu-throttle-initial=1e1", "1 to 99" },
        { "cpu-throttle-increment=100", "1 to 99" },
        { "throttle-trigger-threshold=101", "1 to 100" },
        { "cpu-throttle-tailslow=maybe", "'cpu-throttle-tailslow' expects" },
        { "cpu-throttle-fallback=panic", "'none', 'stop-and-copy', " },
        { "cpu-throttle-fallback-downtime=-1", "0 to 2000000" },
        { "cpu-throttle-deadline=soon", "0 to 2000000" },
        /* One good pair does not survive a bad one. */
        { "cpu-throttle-initial=30,max-cpu-throttle=29", "max_cpu_throttle" },
    };
    WorkloadGuest guest = workload_start_guest("", "");

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *command = g_strdup_printf(
            "migrate -d -t %s unix:/nonexistent/socket", bad[i].pairs);

        assert_refused(guest.qts, command, bad[i].expected);
    }
    workload_quit_guest(&guest);
}

/* The parameters of "migrate -t" hold for that migration only. */
static void test_hmp_migrate(void)
{
    WorkloadMigration m = ac_prepare(AC_GUEST_PATHOLOGICAL);
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    g_autofree char *refused = NULL;
    g_autofree char *info = NULL;
    g_autofree char *incoming = g_strdup_printf("-incoming %s", m.uri);
    g_autofree char *capabilities = NULL;
    QDict *data;

    workload_set_capability(m.from.qts, "auto-converge", false);
    before = qtest_hmp(m.from.qts, "info migrate_parameters");
    m.to = workload_start_guest("", incoming);
    g_free(qtest_hmp(m.from.qts, "migrate -d -t max-cpu-throttle=70,"
                     "cpu-throttle-fallback=none %s", m.uri));
    data = ac_wait_event(m.from.qts, "phase", "ceiling");
    workload_set_int(m.from.qts, "max-bandwidth",
                     WORKLOAD_SLOW_LINK_BYTES_PER_S);
    g_assert_cmpint(qdict_get_int(data, "throttle-permille"), ==, 700);
    qobject_unref(data);
    refused = qtest_hmp(m.from.qts, "migrate -d -t max-cpu-throttle=50 %s",
                        m.uri);
    g_assert_nonnull(strstr(refused, "not restored yet"));
    info = qtest_hmp(m.from.qts, "info migrate");
    g_assert_nonnull(strstr(info, "auto-converge phase: ceiling"));
    g_assert_nonnull(strstr(info, "auto-converge throttle: 70.0 %"));
    workload_cancel_migration(&m);
    workload_set_int(m.from.qts, "max-bandwidth", WORKLOAD_LINK_BYTES_PER_S);
    do {
        g_free(after);
        after = qtest_hmp(m.from.qts, "info migrate_parameters");
    } while (!strstr(after, "max-cpu-throttle: 99"));
    g_assert_cmpstr(before, ==, after);
    capabilities = qtest_hmp(m.from.qts, "info migrate_capabilities");
    g_assert_nonnull(strstr(capabilities, "auto-converge: off"));
    workload_end_migration(&m);
}

/* "migrate -t": what cannot be restored does not keep the others. */
static void test_override(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);
    g_autofree char *params = NULL;
    g_autofree char *capabilities = NULL;
    g_autofree char *answer = NULL;

    workload_set_capability(t.from.qts, "auto-converge", false);
    workload_set_int(t.from.qts, "max-cpu-throttle", 99);
    workload_set_int(t.from.qts, "cpu-throttle-initial", 60);
    relayed_start_destination(&t);
    relay_start(&t.relay, t.from_path, t.to_path, RELAYED_LINK_BYTES_PER_S);
    g_free(qtest_hmp(t.from.qts, "migrate -d -t cpu-throttle-initial=10,"
                     "cpu-throttle-increment=20 unix:%s", t.from_path));
    workload_wait_status(t.from.qts, "active");
    answer = qtest_hmp(t.from.qts, "migrate -d -t cpu-throttle-initial=20 "
                       "unix:%s", t.from_path);
    g_assert_nonnull(strstr(answer, "not restored yet"));
    workload_set_int(t.from.qts, "max-cpu-throttle", 50);
    workload_cancel_source(t.from.qts);
    do {
        g_free(capabilities);
        capabilities = qtest_hmp(t.from.qts, "info migrate_capabilities");
    } while (!strstr(capabilities, "auto-converge: off"));
    params = qtest_hmp(t.from.qts, "info migrate_parameters");
    g_assert_nonnull(strstr(params, "cpu-throttle-initial: 10"));
    g_assert_nonnull(strstr(params, "cpu-throttle-increment: 10"));
    g_assert_nonnull(strstr(params, "max-cpu-throttle: 50"));
    relayed_end_destination(&t);
    relayed_end(&t);
}

void auto_converge_add_hmp_tests(void)
{
    qtest_add_func("/auto-converge/params", test_params);
    qtest_add_func("/auto-converge/hmp/refused", test_hmp_refused);
    qtest_add_func("/auto-converge/hmp/migrate", test_hmp_migrate);
    qtest_add_func("/auto-converge/hmp/override", test_override);
}
