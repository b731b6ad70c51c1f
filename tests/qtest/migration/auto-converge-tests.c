/*
 * Adaptive auto-converge, end to end: what it decides, and how it ends
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A busy guest (tests/guest) migrates over a link that max-bandwidth limits.
 * These tests prove the wiring; the law has its own, in tests/unit.  They
 * wait for what must happen and never for a time to pass.
 */

#include "qemu/osdep.h"
#include "migration/auto-converge-util.h"
#include "migration/auto-converge-tests.h"

/*
 * Six times the link, for which the guest needs nearly a whole CPU.  On a busy
 * host it gets a part of one, and still writes more than the link carries.
 */
#define GUEST_MIDDLE "ws=32 rate=67 cpu=90"
#define LINK_MIDDLE (WORKLOAD_LINK_BYTES_PER_S / 3)

/*
 * Twice the link at a fifth of a CPU: less than 90 % does not help, though by
 * the time that it may execute it would seem so.
 */
#define GUEST_OPEN_LOOP "ws=128 rate=67 cpu=20"
#define THROTTLE_OPEN_LOOP 90

/*
 * It converges by itself.  Compressed, a page is a hundredth of itself; 7.2
 * takes it for a whole one, where it limits the bandwidth.
 */
#define GUEST_COMPRESSIBLE "ws=64 rate=10"
#define LINK_COMPRESSIBLE (WORKLOAD_LINK_BYTES_PER_S / 128)

/* More than the guest writes to; and a throttle that changes nothing */
#define THROTTLE_XBZRLE 20
#define XBZRLE_CACHE_BYTES (256 * 1024 * 1024)

/* It goes to the ceiling, and no stop is allowed yet. */
static WorkloadMigration prepare_pathological(void)
{
    WorkloadMigration m = ac_prepare(AC_GUEST_PATHOLOGICAL);

    workload_set_int(m.from.qts, "max-cpu-throttle", AC_CEILING_PATHOLOGICAL);
    workload_set_str(m.from.qts, "cpu-throttle-fallback", "none");
    return m;
}

/* A throttle helps it. */
static WorkloadMigration prepare_middle(void)
{
    WorkloadMigration m = ac_prepare(GUEST_MIDDLE);

    workload_set_int(m.from.qts, "max-bandwidth", LINK_MIDDLE);
    workload_set_str(m.from.qts, "cpu-throttle-fallback", "none");
    return m;
}

static void test_calm(void)
{
    WorkloadMigration m = ac_prepare("ws=64 rate=calm");
    QDict *info;

    workload_begin_migration(&m);
    workload_assert_migrated(&m.from, &m.to);
    info = ac_query(m.from.qts);
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), ==, 0);
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "watch");
    qobject_unref(info);
    /* There is nothing to tell but the end. */
    info = ac_next_event(m.from.qts);
    g_assert_true(qdict_haskey(info, "downtime"));
    g_assert_null(qtest_qmp_event_ref(m.from.qts, "MIGRATION_AUTO_CONVERGE"));
    qobject_unref(info);
    workload_end_migration(&m);
}

/*
 * With steps of 1 % the counter would still be at 2 %.  A stop is allowed after
 * that only: on a busy host the guest may look as if no throttle helped.
 */
static void test_jump(void)
{
    WorkloadMigration m = prepare_middle();
    QDict *info;

    workload_set_int(m.from.qts, "cpu-throttle-initial", 1);
    workload_set_int(m.from.qts, "cpu-throttle-increment", 1);
    workload_begin_migration(&m);
    info = ac_next_event(m.from.qts);
    workload_set_str(m.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), >, 200);
    qobject_unref(info);
    workload_assert_migrated(&m.from, &m.to);
    g_assert_cmpint(ac_query_int(m.from.qts, "throttled-time"), >, 0);
    workload_end_migration(&m);
}

/*
 * Pages that cost next to nothing on the wire: what is left is sent in 50 ms,
 * but by the bytes on the wire QEMU takes the link for a slow one, and waits.
 */
static void test_xbzrle(void)
{
    WorkloadMigration m = ac_prepare(AC_GUEST_PATHOLOGICAL);

    workload_set_capability(m.from.qts, "xbzrle", true);
    workload_set_int(m.from.qts, "xbzrle-cache-size", XBZRLE_CACHE_BYTES);
    workload_set_int(m.from.qts, "downtime-limit", 300);
    workload_set_int(m.from.qts, "max-cpu-throttle", THROTTLE_XBZRLE);
    workload_set_str(m.from.qts, "cpu-throttle-fallback", "none");
    workload_begin_migration(&m);
    workload_assert_migrated(&m.from, &m.to);
    workload_end_migration(&m);
}

/*
 * Pages in several connections, compressed: neither their bytes nor their order
 * are those of the law, whose pages count when they are handed over.  By the
 * bytes on the wire the guest would dirty far more than is sent.
 */
static void test_multifd(const void *compression)
{
    WorkloadMigration m = ac_prepare(GUEST_COMPRESSIBLE);
    QDict *info;

    m.to = workload_start_guest("", "-incoming defer");
    workload_set_capability(m.from.qts, "multifd", true);
    workload_set_capability(m.to.qts, "multifd", true);
    workload_set_str(m.from.qts, "multifd-compression", compression);
    workload_set_str(m.to.qts, "multifd-compression", compression);
    qtest_qmp_assert_success(m.to.qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s } }", m.uri);
    workload_set_int(m.from.qts, "downtime-limit", 300);
    if (workload_has_parameter(m.from.qts, "avail-switchover-bandwidth")) {
        workload_set_int(m.from.qts, "max-bandwidth", LINK_COMPRESSIBLE);
    }
    workload_start_migration(m.from.qts, m.uri);
    workload_assert_migrated(&m.from, &m.to);
    info = ac_query(m.from.qts);
    g_assert_cmpint(qdict_get_int(info, "windows"), >, 0);
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==, 0);
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "watch");
    qobject_unref(info);
    workload_end_migration(&m);
}

/* As much is dirtied as is sent: no threshold calls that good. */
static void test_threshold_of_100(void)
{
    WorkloadMigration m = ac_prepare(AC_GUEST_PATHOLOGICAL);

    workload_set_int(m.from.qts, "throttle-trigger-threshold", 100);
    workload_begin_migration(&m);
    workload_assert_migrated(&m.from, &m.to);
    workload_end_migration(&m);
}

/* What the guest executes is measured, not what it is allowed to. */
static void test_open_loop(void)
{
    WorkloadMigration m = ac_prepare(GUEST_OPEN_LOOP);
    QDict *info;

    workload_set_str(m.from.qts, "cpu-throttle-fallback", "none");
    workload_begin_migration(&m);
    info = ac_next_event(m.from.qts);
    workload_set_str(m.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), >,
                    THROTTLE_OPEN_LOOP * 10);
    qobject_unref(info);
    workload_assert_migrated(&m.from, &m.to);
    workload_end_migration(&m);
}

/*
 * Of a guest that has been held back.  A crowded host may at first give it no
 * more than the throttle does.
 */
static void allow_stop(QTestState *qts)
{
    while (!ac_query_int(qts, "throttled-time")) {
        g_usleep(1000);
    }
    workload_set_str(qts, "cpu-throttle-fallback", "stop-and-copy");
}

/* 'none' lets the guest go after the ceiling, and never stops it. */
static void test_ceiling(void)
{
    WorkloadMigration m = prepare_pathological();
    QDict *info, *migration;
    int64_t windows;

    workload_begin_migration(&m);
    info = ac_wait_event(m.from.qts, "phase", "ceiling");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==,
                    AC_CEILING_PATHOLOGICAL * 10);
    qobject_unref(info);
    info = ac_wait_event(m.from.qts, "reason", "no-fallback");
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "let-go");
    g_assert_cmpstr(qdict_get_str(info, "fallback"), ==, "none");
    windows = qdict_get_int(info, "windows");
    do {
        qobject_unref(info);
        g_assert_true(workload_is_running(m.from.qts));
        g_assert_true(workload_has_status(m.from.qts, "active"));
        g_usleep(10 * 1000);
        info = ac_query(m.from.qts);
        g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    } while (qdict_get_int(info, "windows") < windows + 3);
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "let-go");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "no-fallback");
    qobject_unref(info);
    migration = workload_query(m.from.qts, "query-migrate");
    g_assert_false(qdict_haskey(migration, "cpu-throttle-percentage"));
    qobject_unref(migration);
    /* Allowed to stop it after all, it does. */
    allow_stop(m.from.qts);
    workload_assert_migrated(&m.from, &m.to);
    workload_end_migration(&m);
}

static void test_fallback(void)
{
    WorkloadMigration m = prepare_pathological();
    QDict *info;

    workload_begin_migration(&m);
    info = ac_wait_event(m.from.qts, "phase", "ceiling");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==,
                    AC_CEILING_PATHOLOGICAL * 10);
    qobject_unref(info);
    allow_stop(m.from.qts);
    info = ac_wait_event(m.from.qts, "phase", "fallback");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "stop-and-copy");
    qobject_unref(info);
    workload_assert_migrated(&m.from, &m.to);

    /* It is all still there. */
    info = ac_query(m.from.qts);
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "fallback");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==,
                    AC_CEILING_PATHOLOGICAL * 10);
    g_assert_cmpint(qdict_get_int(info, "predicted-downtime"), >, 0);
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), >, 0);
    qobject_unref(info);
    workload_end_migration(&m);
}

/* A stop beyond its bound is refused, until the bound is raised. */
static void test_bound(void)
{
    WorkloadMigration m = prepare_pathological();

    workload_begin_migration(&m);
    workload_set_int(m.from.qts, "cpu-throttle-fallback-downtime", 1);
    workload_set_str(m.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    ac_pass_event(m.from.qts, "reason", "too-long");
    g_assert_true(workload_is_running(m.from.qts));
    g_assert_true(workload_has_status(m.from.qts, "active"));
    workload_set_int(m.from.qts, "cpu-throttle-fallback-downtime", 0);
    ac_pass_event(m.from.qts, "phase", "fallback");
    workload_assert_migrated(&m.from, &m.to);
    workload_end_migration(&m);
}

/*
 * Where the release lets the user say how fast a stop is, that is believed.
 * Of the ceiling's windows the first may have been measured before.
 */
static void test_switchover_bandwidth(void)
{
    WorkloadMigration m = prepare_pathological();
    QDict *info;
    int64_t windows;

    if (!workload_has_parameter(m.from.qts, "avail-switchover-bandwidth")) {
        g_test_skip("no avail-switchover-bandwidth");
        workload_end_migration(&m);
        return;
    }
    workload_begin_migration(&m);
    info = ac_wait_event(m.from.qts, "reason", "no-fallback");
    windows = qdict_get_int(info, "windows");
    /* 64 MiB at the rate of the link */
    g_assert_cmpint(qdict_get_int(info, "predicted-downtime"), >, 1000);
    /* With this it must not end; 64 MiB in 125 ms */
    workload_set_int(m.from.qts, "downtime-limit", 10);
    workload_set_int(m.from.qts, "avail-switchover-bandwidth",
                     16 * WORKLOAD_LINK_BYTES_PER_S);
    do {
        qobject_unref(info);
        g_usleep(10 * 1000);
        info = ac_query(m.from.qts);
    } while (qdict_get_int(info, "windows") < windows + 2);
    g_assert_cmpint(qdict_get_int(info, "predicted-downtime"), <, 200);
    qobject_unref(info);
    workload_cancel_migration(&m);
    ac_assert_survived(&m.from);
    workload_end_migration(&m);
}

/* Brings a new migration to the phase that the test path ends with. */
static void begin_until(WorkloadMigration *m, const char *phase)
{
    if (!strcmp(phase, "throttle")) {
        *m = prepare_middle();
        workload_begin_migration(m);
        /* The first; on a busy host the guest may look as if it was futile */
        qobject_unref(ac_next_event(m->from.qts));
        return;
    }
    *m = prepare_pathological();
    workload_set_capability(m->from.qts, "pause-before-switchover", true);
    workload_begin_migration(m);
    if (!strcmp(phase, "watch")) {
        workload_wait_status(m->from.qts, "active");
    } else {
        ac_pass_event(m->from.qts, "phase", "ceiling");
    }
    if (!strcmp(phase, "fallback")) {
        allow_stop(m->from.qts);
        ac_pass_event(m->from.qts, "phase", phase);
        workload_wait_status(m->from.qts, "pre-switchover");
        g_assert_false(workload_is_running(m->from.qts));
    }
}

/* A guest that was let go and calms down: no throttle is needed any more. */
static void test_calms_down(void)
{
    WorkloadMigration m = prepare_pathological();
    QDict *info;
    int64_t held_ms;

    workload_begin_migration(&m);
    info = ac_wait_event(m.from.qts, "reason", "no-fallback");
    held_ms = qdict_get_int(info, "throttled-time");
    qobject_unref(info);
    workload_send_command(&m.from, "rate=4");
    workload_assert_migrated(&m.from, &m.to);
    info = ac_query(m.from.qts);
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    /* The last sleeps may not have been over. */
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), <, held_ms + 200);
    qobject_unref(info);
    workload_end_migration(&m);
}

/* What the guest lost is told while it happens, and after the end. */
static void test_account(void)
{
    WorkloadMigration m;
    QDict *info, *migration;
    int64_t stopped_ms;
    g_autofree char *text = NULL;
    g_autofree char *held = NULL;
    g_autofree char *stop = NULL;

    begin_until(&m, "fallback");
    stopped_ms = ac_query_int(m.from.qts, "downtime");
    qtest_qmp_assert_success(m.from.qts, "{ 'execute': 'migrate-continue',"
                             " 'arguments': { 'state': 'pre-switchover' } }");
    workload_assert_migrated(&m.from, &m.to);

    info = ac_next_event(m.from.qts);
    migration = workload_query(m.from.qts, "query-migrate");
    g_assert_cmpint(qdict_get_int(info, "downtime"), >=, stopped_ms);
    g_assert_cmpint(qdict_get_int(info, "downtime"), ==,
                    qdict_get_int(migration, "downtime"));
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), >, 0);
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    text = qtest_hmp(m.from.qts, "info migrate");
    held = g_strdup_printf("auto-converge throttled time: %" PRId64 " ms",
                           qdict_get_int(info, "throttled-time"));
    stop = g_strdup_printf("auto-converge downtime: %" PRId64 " ms",
                           qdict_get_int(info, "downtime"));
    g_assert_nonnull(strstr(text, held));
    g_assert_nonnull(strstr(text, stop));
    qobject_unref(info);
    qobject_unref(migration);
    workload_end_migration(&m);
}

static void test_cancel(const void *phase)
{
    WorkloadMigration m;

    begin_until(&m, phase);
    workload_cancel_migration(&m);
    ac_assert_survived(&m.from);
    workload_end_migration(&m);
}

/* The destination dies; the next migration knows nothing of this one. */
static void test_dead_destination(const void *phase)
{
    WorkloadMigration m;
    int64_t stopped_ms = 0;
    QDict *info;

    begin_until(&m, phase);
    if (!strcmp(phase, "fallback")) {
        stopped_ms = ac_query_int(m.from.qts, "downtime");
    }
    qtest_kill_qemu(m.to.qts);
    workload_quit_guest(&m.to);
    if (!strcmp(phase, "fallback")) {
        qtest_qmp_assert_success(m.from.qts, "{ 'execute': 'migrate-continue',"
                                 " 'arguments':"
                                 " { 'state': 'pre-switchover' } }");
    }
    workload_wait_status(m.from.qts, "failed");
    ac_assert_survived(&m.from);
    if (!strcmp(phase, "fallback")) {
        g_assert_cmpint(ac_query_int(m.from.qts, "downtime"), >=, stopped_ms);
    }

    workload_send_command(&m.from, "rate=calm");
    workload_set_capability(m.from.qts, "pause-before-switchover", false);
    workload_begin_migration(&m);
    info = ac_query(m.from.qts);
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "watch");
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), ==, 0);
    qobject_unref(info);
    workload_assert_migrated(&m.from, &m.to);
    workload_end_migration(&m);
}

static void add_for_phases(const char *name, void (*test)(const void *))
{
    static const char *const phases[] = {
        "watch", "throttle", "ceiling", "fallback"
    };

    for (int i = 0; i < ARRAY_SIZE(phases); i++) {
        g_autofree char *path = g_strdup_printf("/auto-converge/%s/%s", name,
                                                phases[i]);
        qtest_add_data_func(path, phases[i], test);
    }
}

void auto_converge_add_tests(void)
{
    if (!workload_is_available()) {
        return;
    }
    qtest_add_func("/auto-converge/calm", test_calm);
    qtest_add_func("/auto-converge/jump", test_jump);
    qtest_add_func("/auto-converge/open-loop", test_open_loop);
    qtest_add_func("/auto-converge/xbzrle", test_xbzrle);
    qtest_add_data_func("/auto-converge/multifd/zlib", "zlib", test_multifd);
#ifdef CONFIG_ZSTD
    qtest_add_data_func("/auto-converge/multifd/zstd", "zstd", test_multifd);
#endif
    qtest_add_func("/auto-converge/threshold-of-100", test_threshold_of_100);
    qtest_add_func("/auto-converge/ceiling", test_ceiling);
    qtest_add_func("/auto-converge/fallback", test_fallback);
    qtest_add_func("/auto-converge/bound", test_bound);
    qtest_add_func("/auto-converge/switchover-bandwidth",
                   test_switchover_bandwidth);
    qtest_add_func("/auto-converge/calms-down", test_calms_down);
    qtest_add_func("/auto-converge/account", test_account);
    add_for_phases("cancel", test_cancel);
    add_for_phases("dead-destination", test_dead_destination);
    auto_converge_add_hmp_tests();
    auto_converge_add_vcpu_tests();
    auto_converge_add_stop_tests();
    auto_converge_add_post_copy_tests();
    auto_converge_add_wait_tests();
}
