/*
 * Adaptive auto-converge, end to end: guests that are left alone, or let go
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * And what else counts while the migration runs: another ceiling, a snapshot.
 */

#include "qemu/osdep.h"
#include "migration/auto-converge-relayed.h"
#include "migration/auto-converge-tests.h"

/* Half of what the link carries; next to nothing, with much to send first */
#define GUEST_CALM "ws=64 rate=6"
#define GUEST_BALLAST "ws=16 rate=2 ballast=100"

/* A pass of two seconds; where the rest may be sent at the end of a calm one */
#define GUEST_RHYTHM "ws=32 rate=6"
#define RHYTHM_WINDOWS 60

/* A lease ends after 10 s. */
#define LEASE_MAX_MS 15000
#define FREEZE_MS 40000

static void wait_windows(QTestState *qts, int64_t windows)
{
    while (ac_query_int(qts, "windows") < windows) {
        g_usleep(10 * 1000);
    }
}

/* ... before it is throttled */
static void wait_reason(QTestState *qts, const char *reason)
{
    for (;;) {
        QDict *info = ac_query(qts);
        bool found = !strcmp(qdict_get_str(info, "reason"), reason);

        g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "watch");
        qobject_unref(info);
        if (found) {
            break;
        }
        g_usleep(10 * 1000);
    }
}

static void assert_never_throttled(RelayedMigration *t)
{
    workload_assert_migrated(&t->from, &t->to);
    g_assert_cmpint(ac_query_int(t->from.qts, "highest-throttle-permille"),
                    ==, 0);
}

/* After the bulk pass the link falls, and comes back. */
static void test_slow_link(void)
{
    RelayedMigration t = relayed_prepare(GUEST_CALM);

    relayed_begin(&t, RELAYED_LINK_BYTES_PER_S);
    wait_windows(t.from.qts, 1);
    relay_set_rate(&t.relay, RELAYED_LINK_BYTES_PER_S / 6);
    wait_reason(t.from.qts, "slow-link");
    relay_set_rate(&t.relay, RELAYED_LINK_BYTES_PER_S);
    assert_never_throttled(&t);
    relayed_end(&t);
}

/* After a long bulk pass the guest is busy for some time. */
static void test_burst(void)
{
    RelayedMigration t = relayed_prepare(GUEST_BALLAST);

    relayed_begin(&t, RELAYED_LINK_BYTES_PER_S);
    wait_windows(t.from.qts, 1);
    workload_send_command(&t.from, "rate=max");
    wait_reason(t.from.qts, "burst");
    workload_send_command(&t.from, "rate=2");
    assert_never_throttled(&t);
    relayed_end(&t);
}

/*
 * Busy in every other window, and calmer after each: such a guest is not waited
 * for without end.
 */
static void test_rhythm(void)
{
    RelayedMigration t = relayed_prepare(GUEST_RHYTHM);
    int64_t windows, seen = 0;
    bool watched = true;
    QDict *info;

    relayed_begin(&t, RELAYED_LINK_BYTES_PER_S);
    while (watched) {
        info = ac_query(t.from.qts);
        windows = qdict_get_int(info, "windows");
        watched = !strcmp(qdict_get_str(info, "phase"), "watch");
        qobject_unref(info);
        if (windows != seen) {
            workload_send_command(&t.from,
                                  windows % 2 ? "rate=max" : "rate=6");
            seen = windows;
        }
        g_assert_cmpint(windows, <, RHYTHM_WINDOWS);
        g_assert_true(!watched || !workload_has_ended(t.from.qts));
        g_usleep(10 * 1000);
    }
    g_test_message("waited for %" PRId64 " windows", seen);
    workload_assert_migrated(&t.from, &t.to);
    relayed_end(&t);
}

/* While the deadline is far, a guest that nothing helps is left alone. */
static void test_deadline_far(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_SMALL);

    workload_set_int(t.from.qts, "cpu-throttle-deadline", 1000);
    relayed_begin(&t, RELAYED_LINK_BYTES_PER_S);
    wait_windows(t.from.qts, 6);
    wait_reason(t.from.qts, "deadline");
    workload_set_int(t.from.qts, "cpu-throttle-deadline", 0);
    ac_pass_event(t.from.qts, "phase", "fallback");
    workload_assert_migrated(&t.from, &t.to);
    relayed_end(&t);
}

/*
 * After the bulk pass, which takes 8 s or so, there is time for 1.6 times what
 * it leaves: for a stop, but for no pass before that, nor for a throttle.
 */
static void test_deadline_near(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);
    int64_t sent_bytes, half_ms;
    QDict *info;

    relayed_begin(&t, RELAYED_SLOW_BYTES_PER_S);
    workload_wait_syncs(t.from.qts, 1);
    do {
        g_usleep(1000);
        info = workload_query(t.from.qts, "query-migrate");
        sent_bytes = qdict_get_int(qdict_get_qdict(info, "ram"), "transferred");
        half_ms = qdict_get_int(info, "total-time");
        qobject_unref(info);
    } while (sent_bytes < 32 * RELAYED_MIB);
    workload_set_int(t.from.qts, "cpu-throttle-deadline",
                     half_ms * 2 * 2.6 / 1000);
    info = ac_wait_event(t.from.qts, "phase", "fallback");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "deadline");
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==, 0);
    qobject_unref(info);
    workload_assert_migrated(&t.from, &t.to);
    relayed_end(&t);
}

/*
 * Too long a stop: the guest is let go.  As soon as the link carries more, it
 * is stopped at once, without another throttle.
 */
static void test_let_go(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);
    QDict *info;
    int64_t held_ms;

    workload_set_int(t.from.qts, "cpu-throttle-fallback-downtime", 1500);
    relayed_begin(&t, RELAYED_LINK_BYTES_PER_S);
    info = ac_wait_event(t.from.qts, "phase", "let-go");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "too-long");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    held_ms = qdict_get_int(info, "throttled-time");
    qobject_unref(info);
    relay_set_rate(&t.relay, 2 * RELAYED_FAST_BYTES_PER_S);
    info = ac_wait_event(t.from.qts, "phase", "fallback");
    /* The last sleeps may not have been over. */
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), <, held_ms + 200);
    qobject_unref(info);
    workload_assert_migrated(&t.from, &t.to);
    relayed_end(&t);
}

/* The throttle goes within @max_ms; the monitor answers all the time. */
static void wait_let_go(QTestState *qts, int64_t max_ms)
{
    int64_t then_ms = relayed_clock_ms(), longest_ms = 0;
    bool held = true;

    while (held) {
        longest_ms = MAX(longest_ms, relayed_look(qts).reply_ms);
        held = ac_query_int(qts, "throttle-permille") > 0;
        g_assert_cmpint(relayed_clock_ms() - then_ms, <, max_ms);
        g_usleep(20 * 1000);
    }
    g_test_message("let go after %" PRId64 " ms, longest reply after %" PRId64
                   " ms", relayed_clock_ms() - then_ms, longest_ms);
    g_assert_cmpint(longest_ms, <, RELAYED_REPLY_MAX_MS);
}

/* The destination freezes while the guest is held at the ceiling. */
static void test_lease(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);
    int64_t then_ms, longest_ms = 0;

    relayed_begin_held(&t, RELAYED_LINK_BYTES_PER_S);
    then_ms = relayed_clock_ms();
    relayed_signal_destination(&t, SIGSTOP);
    wait_let_go(t.from.qts, LEASE_MAX_MS);
    relayed_assert_reason(t.from.qts, "let-go", "stalled");
    g_free(workload_wait_line(&t.from, "work="));
    while (relayed_clock_ms() < then_ms + FREEZE_MS) {
        longest_ms = MAX(longest_ms, relayed_look(t.from.qts).reply_ms);
        g_usleep(50 * 1000);
    }
    g_assert_cmpint(longest_ms, <, RELAYED_REPLY_MAX_MS);
    relayed_signal_destination(&t, SIGCONT);
    ac_pass_event(t.from.qts, "reason", "resume");
    relayed_allow_stop(&t);
    ac_pass_event(t.from.qts, "phase", "fallback");
    workload_assert_migrated(&t.from, &t.to);
    relayed_end(&t);
}

/* Nothing was sent for a second. */
static void wait_blocked(QTestState *qts)
{
    int64_t bytes, before_bytes;

    do {
        before_bytes = workload_sent_bytes(qts);
        g_usleep(G_USEC_PER_SEC);
        bytes = workload_sent_bytes(qts);
    } while (bytes != before_bytes);
}

/*
 * Cancelled at the ceiling, as it is sent to a pipe that nobody reads any more:
 * a pipe cannot be shut down, so the thread that sends stays where it is.
 */
static void test_cancel_blocked(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);
    QTestState *qts = t.from.qts;
    g_autofree char *uri = g_strdup_printf(
        "exec:echo $$ > %s; exec cat > /dev/null", t.pid_path);

    workload_set_int(qts, "max-bandwidth", WORKLOAD_LINK_BYTES_PER_S);
    workload_set_str(qts, "cpu-throttle-fallback", "none");
    workload_start_migration(qts, uri);
    ac_pass_event(qts, "phase", "ceiling");
    relayed_signal_destination(&t, SIGSTOP);
    wait_blocked(qts);
    g_assert_cmpint(ac_query_int(qts, "throttle-permille"), >, 0);
    workload_expect_success(qts, "migrate_cancel");
    wait_let_go(qts, RELAYED_RESUME_MAX_MS);
    g_free(workload_wait_line(&t.from, "work="));
    g_assert_true(workload_has_status(qts, "cancelling"));
    relayed_signal_destination(&t, SIGCONT);
    workload_wait_status(qts, "cancelled");
    ac_assert_survived(&t.from);
    relayed_end(&t);
}

/* The ceiling is lowered in the middle of a pass of a minute. */
static void test_live_ceiling(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);
    int64_t then_ms;

    relayed_begin_held(&t, RELAYED_LINK_BYTES_PER_S);
    relay_set_rate(&t.relay, RELAYED_MIB);
    workload_set_int(t.from.qts, "max-cpu-throttle", RELAYED_CEILING / 2);
    then_ms = relayed_clock_ms();
    while (ac_query_int(t.from.qts, "throttle-permille") !=
           RELAYED_CEILING / 2 * 10) {
        g_assert_cmpint(relayed_clock_ms() - then_ms, <, RELAYED_RESUME_MAX_MS);
        g_usleep(1000);
    }
    relayed_cancel_and_end(&t);
}

/* It has ended; did it go well? */
static bool wait_job(QTestState *qts, const char *id)
{
    bool failed = false, concluded = false;

    while (!concluded) {
        QDict *event = qtest_qmp_eventwait_ref(qts, "JOB_STATUS_CHANGE");
        QDict *data = qdict_get_qdict(event, "data");
        const char *status = qdict_get_str(data, "status");

        if (!strcmp(qdict_get_str(data, "id"), id)) {
            failed |= !strcmp(status, "aborting");
            concluded = !strcmp(status, "concluded");
        }
        qobject_unref(event);
    }
    qtest_qmp_assert_success(qts, "{ 'execute': 'job-dismiss',"
                             " 'arguments': { 'id': %s } }", id);
    return !failed;
}

static void create_disk(QTestState *qts, const char *path)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-create',"
                             " 'arguments': { 'job-id': 'file', 'options': {"
                             " 'driver': 'file', 'filename': %s,"
                             " 'size': 0 } } }", path);
    g_assert_true(wait_job(qts, "file"));
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-add',"
                             " 'arguments': { 'driver': 'file',"
                             " 'node-name': 'file', 'filename': %s } }", path);
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-create',"
                             " 'arguments': { 'job-id': 'disk', 'options': {"
                             " 'driver': 'qcow2', 'file': 'file',"
                             " 'size': 1048576 } } }");
    g_assert_true(wait_job(qts, "disk"));
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-add',"
                             " 'arguments': { 'driver': 'qcow2',"
                             " 'node-name': 'disk', 'file': 'file' } }");
}

/* A snapshot syncs dirty memory, too; it is none of the controller's. */
static void test_snapshot(void)
{
    RelayedMigration t = relayed_prepare(RELAYED_GUEST_BUSY);
    g_autofree char *path = g_strdup_printf("%s/disk", t.dir);
    QDict *before, *after;

    create_disk(t.from.qts, path);
    relayed_begin_held(&t, RELAYED_FAST_BYTES_PER_S);
    while (!ac_query_int(t.from.qts, "throttled-time")) {
        g_usleep(1000);
    }
    workload_cancel_source(t.from.qts);
    ac_assert_survived(&t.from);
    before = ac_query(t.from.qts);
    qtest_qmp_assert_success(t.from.qts, "{ 'execute': 'snapshot-save',"
                             " 'arguments': { 'job-id': 'snapshot',"
                             " 'tag': 'one', 'vmstate': 'disk',"
                             " 'devices': [ 'disk' ] } }");
    g_assert_true(wait_job(t.from.qts, "snapshot"));
    after = ac_query(t.from.qts);
    g_assert_cmpint(qdict_get_int(after, "windows"), ==,
                    qdict_get_int(before, "windows"));
    g_assert_cmpint(qdict_get_int(after, "throttled-time"), ==,
                    qdict_get_int(before, "throttled-time"));
    g_assert_cmpint(qdict_get_int(after, "throttle-permille"), ==, 0);
    qobject_unref(before);
    qobject_unref(after);
    workload_verify_memory(&t.from);
    relayed_end_destination(&t);
    unlink(path);
    relayed_end(&t);
}

/* Asked for during the stop it is refused, and does the stop no harm. */
static void test_snapshot_in_stop(void)
{
    RelayedMigration t;
    g_autofree char *path = NULL;

    relayed_begin_stop(&t, RELAYED_GUEST_BUSY, RELAYED_SLOW_BYTES_PER_S);
    path = g_strdup_printf("%s/disk", t.dir);
    create_disk(t.from.qts, path);
    qtest_qmp_assert_success(t.from.qts, "{ 'execute': 'snapshot-save',"
                             " 'arguments': { 'job-id': 'snapshot',"
                             " 'tag': 'one', 'vmstate': 'disk',"
                             " 'devices': [ 'disk' ] } }");
    g_assert_false(wait_job(t.from.qts, "snapshot"));
    g_assert_false(workload_has_ended(t.from.qts));
    relay_set_rate(&t.relay, RELAYED_FAST_BYTES_PER_S);
    workload_assert_migrated(&t.from, &t.to);
    unlink(path);
    relayed_end(&t);
}

/*
 * Another max-bandwidth begins the window anew, by one look.  Without
 * auto-converge, and of a paused guest, there is no window: one look at most.
 */
static void test_new_rate(const void *how)
{
    WorkloadMigration m = ac_prepare(AC_GUEST_PATHOLOGICAL);
    bool running = !strcmp(how, "running"), paused = !strcmp(how, "paused");
    int64_t count;

    workload_set_capability(m.from.qts, "auto-converge", running || paused);
    workload_set_int(m.from.qts, "max-bandwidth",
                     WORKLOAD_SLOW_LINK_BYTES_PER_S);
    workload_begin_migration(&m);
    workload_wait_syncs(m.from.qts, 1);
    if (paused) {
        workload_expect_success(m.from.qts, "stop");
    }
    count = workload_count_syncs(m.from.qts);
    workload_set_int(m.from.qts, "max-bandwidth",
                     2 * WORKLOAD_SLOW_LINK_BYTES_PER_S);
    if (running) {
        workload_wait_syncs(m.from.qts, count + 1);
        g_assert_cmpint(ac_query_int(m.from.qts, "windows"), ==, 0);
    } else {
        g_usleep(2 * 1000 * 1000);
        g_assert_cmpint(workload_count_syncs(m.from.qts), <=, count + 1);
    }
    workload_cancel_migration(&m);
    if (paused) {
        workload_expect_success(m.from.qts, "cont");
    }
    workload_verify_memory(&m.from);
    workload_end_migration(&m);
}

void auto_converge_add_wait_tests(void)
{
    qtest_add_data_func("/auto-converge/new-rate/running", "running",
                        test_new_rate);
    qtest_add_data_func("/auto-converge/new-rate/off", "off", test_new_rate);
    qtest_add_data_func("/auto-converge/new-rate/paused", "paused",
                        test_new_rate);
    qtest_add_func("/auto-converge/watch/slow-link", test_slow_link);
    qtest_add_func("/auto-converge/watch/burst", test_burst);
    qtest_add_func("/auto-converge/watch/rhythm", test_rhythm);
    qtest_add_func("/auto-converge/deadline/far", test_deadline_far);
    qtest_add_func("/auto-converge/deadline/near", test_deadline_near);
    qtest_add_func("/auto-converge/let-go/too-long", test_let_go);
    qtest_add_func("/auto-converge/let-go/lease", test_lease);
    qtest_add_func("/auto-converge/let-go/cancel-blocked", test_cancel_blocked);
    qtest_add_func("/auto-converge/live/ceiling", test_live_ceiling);
    qtest_add_func("/auto-converge/live/snapshot", test_snapshot);
    qtest_add_func("/auto-converge/stop/snapshot", test_snapshot_in_stop);
}
