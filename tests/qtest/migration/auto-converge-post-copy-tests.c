/*
 * Adaptive auto-converge, end to end: post-copy as the fallback
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/auto-converge-relayed.h"
#include "migration/auto-converge-tests.h"

static bool has_post_copy(QTestState *qts)
{
    QDict *reply = qtest_qmp(qts, "{ 'execute': 'migrate-set-capabilities',"
                             " 'arguments': { 'capabilities': [ {"
                             " 'capability': 'postcopy-ram',"
                             " 'state': true } ] } }");
    bool has = qdict_haskey(reply, "return");

    qobject_unref(reply);
    return has;
}

/* @opaque: the fallback, which is post-copy whatever it is called */
static void test_post_copy(const void *opaque)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);
    QDict *info, *ram;

    relayed_start_destination(&t);
    if (!has_post_copy(t.to.qts)) {
        g_test_skip("no post-copy on this host");
        qtest_set_expected_status(t.to.qts, EXIT_SUCCESS);
        relayed_end(&t);
        return;
    }
    workload_set_capability(t.from.qts, "postcopy-ram", true);
    workload_set_str(t.from.qts, "cpu-throttle-fallback", opaque);
    /* It stands for stops only. */
    workload_set_int(t.from.qts, "cpu-throttle-fallback-downtime", 1);
    relayed_begin(&t, RELAYED_LINK_BYTES_PER_S);
    info = ac_wait_event(t.from.qts, "phase", "fallback");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "post-copy");
    g_assert_cmpstr(qdict_get_str(info, "fallback"), ==, "post-copy");
    qobject_unref(info);
    workload_assert_migrated(&t.from, &t.to);
    /* Nothing is copied during the stop but what post-copy needs. */
    info = workload_query(t.from.qts, "query-migrate");
    ram = qdict_get_qdict(info, "ram");
    g_test_message("%" PRId64 " bytes in the stop, %" PRId64 " after it",
                   qdict_get_int(ram, "downtime-bytes"),
                   qdict_get_int(ram, "postcopy-bytes"));
    g_assert_cmpint(qdict_get_int(ram, "postcopy-bytes"), >,
                    10 * qdict_get_int(ram, "downtime-bytes"));
    qobject_unref(info);
    relayed_end(&t);
}

/* In the middle of a stop the user would rather have post-copy. */
static void test_stop_to_post_copy(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);

    relayed_start_destination(&t);
    if (!has_post_copy(t.to.qts)) {
        g_test_skip("no post-copy on this host");
        relayed_end(&t);
        return;
    }
    workload_set_capability(t.from.qts, "postcopy-ram", true);
    workload_set_str(t.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    relayed_begin(&t, RELAYED_FAST_BYTES_PER_S);
    ac_pass_event(t.from.qts, "reason", "stop-and-copy");
    relay_set_rate(&t.relay, RELAYED_SLOW_BYTES_PER_S);
    relayed_wait_stopped(&t);
    workload_set_str(t.from.qts, "cpu-throttle-fallback", "post-copy");
    qtest_qmp_eventwait(t.to.qts, "RESUME");
    relayed_assert_reason(t.from.qts, "fallback", "post-copy");
    relay_set_rate(&t.relay, RELAYED_FAST_BYTES_PER_S);
    workload_wait_status(t.from.qts, "completed");
    g_assert_false(workload_is_running(t.from.qts));
    workload_verify_memory(&t.to);
    relayed_end(&t);
}

/* 'post-copy' needs the capability; the error comes as soon as it can. */
static void test_post_copy_refused(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);
    g_autofree char *uri = g_strdup_printf("unix:%s", t.from_path);
    QDict *reply;

    workload_set_str(t.from.qts, "cpu-throttle-fallback", "post-copy");
    reply = qtest_qmp(t.from.qts, "{ 'execute': 'migrate',"
                      " 'arguments': { 'uri': %s } }", uri);
    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(reply, "error"),
                                          "desc"), "'postcopy-ram'"));
    qobject_unref(reply);
    workload_set_str(t.from.qts, "cpu-throttle-fallback", "auto");
    relayed_begin(&t, RELAYED_LINK_BYTES_PER_S);
    workload_wait_status(t.from.qts, "active");
    reply = qtest_qmp(t.from.qts, "{ 'execute': 'migrate-set-parameters',"
                      " 'arguments': { 'cpu-throttle-fallback':"
                      " 'post-copy' } }");
    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(reply, "error"),
                                          "desc"), "'postcopy-ram'"));
    qobject_unref(reply);
    relayed_cancel_and_end(&t);
}

void auto_converge_add_post_copy_tests(void)
{
    qtest_add_data_func("/auto-converge/post-copy/named", "post-copy",
                        test_post_copy);
    qtest_add_data_func("/auto-converge/post-copy/auto", "auto",
                        test_post_copy);
    qtest_add_func("/auto-converge/post-copy/from-stop",
                   test_stop_to_post_copy);
    qtest_add_func("/auto-converge/post-copy/refused",
                   test_post_copy_refused);
}
