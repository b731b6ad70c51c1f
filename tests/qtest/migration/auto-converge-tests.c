/*
 * Adaptive auto-converge, end to end
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
#ifdef CONFIG_LINUX
#include <linux/kvm.h>
#include <sys/ioctl.h>
#endif
#include "migration/auto-converge-tests.h"

/*
 * 64 MiB are written as fast as it goes: over 32 MiB/s a pass takes two
 * seconds, and at a fifth of the run time the guest still writes all of it.
 */
#define GUEST_PATHOLOGICAL "ws=64 rate=max"
#define CEILING_PATHOLOGICAL 80

#define GUEST_TWO_VCPUS GUEST_PATHOLOGICAL " cpus=2"

/* Twice the link, for which the guest needs nearly a whole CPU. */
#define GUEST_MIDDLE "ws=128 rate=67 cpu=90"

/* The same at a fifth of a CPU: no throttle below 80 % changes anything. */
#define GUEST_OPEN_LOOP "ws=128 rate=67 cpu=20"
#define THROTTLE_OPEN_LOOP 80

/* Of vCPUs that take turns; tests/guest/progress.h, the second CPU's count */
#define THROTTLE_INTERLOCK 90
#define INTERLOCK_HELD_MS 500
#define INTERLOCK_SLICES_PER_S 20
#define INTERLOCK_ATTEMPTS 20
#define PROGRESS_SECOND_CPU (0x200000 + 64)

#define LINK_BYTES_PER_S (32 * 1024 * 1024)
/* QEMU makes at least some 1.2 MB/s of it: 23 MiB take 18 seconds. */
#define SLOW_LINK_BYTES_PER_S (512 * 1024)

/* More than the guest writes to; and a throttle that changes nothing */
#define THROTTLE_XBZRLE 20
#define XBZRLE_CACHE_BYTES (256 * 1024 * 1024)

/* Two RAM blocks, the second one larger. */
#define TWO_BLOCKS \
    "-object memory-backend-ram,id=low,size=64M " \
    "-object memory-backend-ram,id=high,size=128M " \
    "-numa node,memdev=low -numa node,memdev=high "

/*
 * Few pages, so that they stay in the TLB of a TCG vCPU; in the second block,
 * with a ballast to send that gives the guest time to write.
 */
#define GUEST_HIGH "base=72 ws=2 rate=10 ballast=56"

/*
 * The last MiB of the first block, which is sent last because it is smaller,
 * and 23 MiB of the second.
 */
#define GUEST_BOTH "base=63 ws=24 rate=60 pattern=hotcold hot=4 share=20"
#define GUEST_BOTH_LAST_SENT "share=100"

/* The second vCPU as a device, and how a guest ejects it. */
#define HOTPLUG_VCPU \
    "-smp 1,sockets=2,cores=1,threads=1,maxcpus=2 " \
    "-device qemu64-x86_64-cpu,id=second,socket-id=1,core-id=0,thread-id=0 "
#define ACPI_CPU_SELECT_PORT 0xaf00 /* the first 0 leaves the legacy mode */
#define ACPI_CPU_FLAGS_PORT 0xaf04
#define ACPI_CPU_FLAG_EJECT 0x08

typedef struct Migration {
    Guest from;
    Guest to;
    const char *extra;
    char *dir;
    char *uri;
} Migration;

Guest guest_start(const char *workload, const char *extra)
{
    g_autofree char *args = g_strdup_printf(
        "%s -machine pc -nodefaults -m 192 "
        "-kernel %s -append \"%s report=50\" %s",
        strstr(extra, "-accel ") ? "" : "-accel tcg",
        getenv("QTEST_WORKLOAD"), workload, extra);
    Guest guest;

    guest.qts = qtest_init_with_serial(args, &guest.serial);
    return guest;
}

void guest_quit(Guest *guest)
{
    qtest_quit(guest->qts);
    close(guest->serial);
}

char *guest_wait_line(Guest *guest, const char *text)
{
    for (;;) {
        g_autoptr(GString) line = g_string_new("");
        const char *found;
        char c;

        while (read(guest->serial, &c, 1) == 1 && c != '\n') {
            g_string_append_c(line, c);
        }
        g_assert_cmpuint(line->len, >, 0);
        if (g_str_has_prefix(line->str, "error ")) {
            g_error("the guest says: %s", line->str);
        }
        found = strstr(line->str, text);
        if (found) {
            return g_strdup(found);
        }
    }
}

void guest_command(Guest *guest, const char *command)
{
    g_autofree char *line = g_strdup_printf("%s\n", command);

    g_assert_cmpint(write(guest->serial, line, strlen(line)), ==,
                    strlen(line));
}

void guest_verify(Guest *guest)
{
    g_autofree char *line = NULL;

    guest_command(guest, "verify");
    line = guest_wait_line(guest, "verify ");
    g_test_message("%s", line);
    g_assert_nonnull(strstr(line, " bad=0 stale=0 table=ok seal=ok "));
}

void expect_success(QTestState *qts, const char *command)
{
    qtest_qmp_assert_success(qts, "{ 'execute': %s }", command);
}

void set_capability(QTestState *qts, const char *name, bool state)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-capabilities',"
                             " 'arguments': { 'capabilities': ["
                             " { 'capability': %s, 'state': %i } ] } }",
                             name, state);
}

void set_int(QTestState *qts, const char *name, int64_t value)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-parameters',"
                             " 'arguments': { %s: %" PRId64 " } }",
                             name, value);
}

void set_str(QTestState *qts, const char *name, const char *value)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-parameters',"
                             " 'arguments': { %s: %s } }", name, value);
}

QDict *query(QTestState *qts, const char *command)
{
    QDict *reply = qtest_qmp(qts, "{ 'execute': %s }", command);
    QDict *result = qdict_get_qdict(reply, "return");

    g_assert_nonnull(result);
    qobject_ref(result);
    qobject_unref(reply);
    return result;
}

QDict *query_auto_converge(QTestState *qts)
{
    QDict *migration = query(qts, "query-migrate");
    QDict *info = qdict_get_qdict(migration, "auto-converge");

    g_assert_nonnull(info);
    qobject_ref(info);
    qobject_unref(migration);
    return info;
}

bool status_is(QTestState *qts, const char *status)
{
    QDict *migration = query(qts, "query-migrate");
    bool is = !strcmp(qdict_get_try_str(migration, "status") ?: "", status);

    qobject_unref(migration);
    return is;
}

void wait_status(QTestState *qts, const char *status)
{
    while (!status_is(qts, status)) {
        g_assert_false(strcmp(status, "failed") &&
                       status_is(qts, "failed"));
        g_usleep(10 * 1000);
    }
}

bool is_running(QTestState *qts)
{
    QDict *status = query(qts, "query-status");
    bool running = qdict_get_bool(status, "running");

    qobject_unref(status);
    return running;
}

/* The same with options for both QEMUs; see migration_prepare(). */
static Migration migration_prepare_with(const char *workload,
                                        const char *extra)
{
    Migration m = { .extra = extra };
    g_autofree char *ready = NULL;

    m.dir = g_dir_make_tmp("auto-converge-test-XXXXXX", NULL);
    g_assert_nonnull(m.dir);
    m.uri = g_strdup_printf("unix:%s/socket", m.dir);
    m.from = guest_start(workload, extra);
    ready = guest_wait_line(&m.from, "ready ");
    set_capability(m.from.qts, "auto-converge", true);
    set_capability(m.from.qts, "events", true);
    set_int(m.from.qts, "max-bandwidth", LINK_BYTES_PER_S);
    set_int(m.from.qts, "downtime-limit", 30);
    return m;
}

/* Source with @workload, ready to migrate; see migration_begin(). */
static Migration migration_prepare(const char *workload)
{
    return migration_prepare_with(workload, "");
}

/* The destination listens. */
static void migration_start(Migration *m)
{
    qtest_qmp_assert_success(m->from.qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", m->uri);
}

static void migration_begin(Migration *m)
{
    g_autofree char *incoming = g_strdup_printf("%s-incoming %s", m->extra,
                                                m->uri);

    m->to = guest_start("", incoming);
    migration_start(m);
}

static void migration_end(Migration *m)
{
    g_autofree char *path = g_strdup_printf("%s/socket", m->dir);

    guest_quit(&m->from);
    if (m->to.qts) {
        guest_quit(&m->to);
    }
    unlink(path);
    rmdir(m->dir);
    g_free(m->dir);
    g_free(m->uri);
}

static void migration_begin_pathological(Migration *m, const char *fallback)
{
    *m = migration_prepare(GUEST_PATHOLOGICAL);
    set_int(m->from.qts, "max-cpu-throttle", CEILING_PATHOLOGICAL);
    set_str(m->from.qts, "cpu-throttle-fallback", fallback);
    migration_begin(m);
}

QDict *next_event(QTestState *qts)
{
    QDict *event = qtest_qmp_eventwait_ref(qts, "MIGRATION_AUTO_CONVERGE");
    QDict *data = qdict_get_qdict(event, "data");

    qobject_ref(data);
    qobject_unref(event);
    return data;
}

QDict *wait_event(QTestState *qts, const char *key, const char *value)
{
    for (;;) {
        QDict *data = next_event(qts);

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

void pass_event(QTestState *qts, const char *key, const char *value)
{
    qobject_unref(wait_event(qts, key, value));
}

/* Migrated: the destination runs with the memory as it was. */
static void assert_migrated(Migration *m)
{
    wait_status(m->from.qts, "completed");
    g_assert_false(is_running(m->from.qts));
    qtest_qmp_eventwait(m->to.qts, "RESUME");
    guest_verify(&m->to);
}

void assert_survived(Guest *from)
{
    QDict *migration, *info;

    while (!is_running(from->qts)) {
        g_usleep(10 * 1000);
    }
    migration = query(from->qts, "query-migrate");
    info = query_auto_converge(from->qts);
    g_assert_false(qdict_haskey(migration, "cpu-throttle-percentage"));
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    qobject_unref(migration);
    qobject_unref(info);
    guest_verify(from);
}

/* Cancel; the destination notices that nothing more comes, and exits. */
static void migration_cancel(Migration *m)
{
    expect_success(m->from.qts, "migrate_cancel");
    wait_status(m->from.qts, "cancelled");
    qtest_set_expected_status(m->to.qts, EXIT_FAILURE);
    while (qtest_probe_child(m->to.qts)) {
        g_usleep(10 * 1000);
    }
}

static void test_calm(void)
{
    Migration m = migration_prepare("ws=64 rate=calm");
    QDict *info;

    migration_begin(&m);
    assert_migrated(&m);
    info = query_auto_converge(m.from.qts);
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), ==, 0);
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "watch");
    qobject_unref(info);
    /* There is nothing to tell but the end. */
    info = next_event(m.from.qts);
    g_assert_true(qdict_haskey(info, "downtime"));
    g_assert_null(qtest_qmp_event_ref(m.from.qts, "MIGRATION_AUTO_CONVERGE"));
    qobject_unref(info);
    migration_end(&m);
}

/*
 * With steps of 1 % the counter would still be at 2 %.  A stop is allowed after
 * that only: on a busy host the guest may look as if no throttle helped.
 */
static void test_jump(void)
{
    Migration m = migration_prepare(GUEST_MIDDLE);
    QDict *info;

    set_int(m.from.qts, "cpu-throttle-initial", 1);
    set_int(m.from.qts, "cpu-throttle-increment", 1);
    set_str(m.from.qts, "cpu-throttle-fallback", "none");
    migration_begin(&m);
    info = next_event(m.from.qts);
    set_str(m.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), >, 200);
    qobject_unref(info);
    assert_migrated(&m);
    info = query_auto_converge(m.from.qts);
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), >, 0);
    qobject_unref(info);
    migration_end(&m);
}

/*
 * Pages that cost next to nothing on the wire: what is left is sent in 50 ms,
 * but by the bytes on the wire QEMU takes the link for a slow one, and waits.
 */
static void test_xbzrle(void)
{
    Migration m = migration_prepare(GUEST_PATHOLOGICAL);

    set_capability(m.from.qts, "xbzrle", true);
    set_int(m.from.qts, "xbzrle-cache-size", XBZRLE_CACHE_BYTES);
    set_int(m.from.qts, "downtime-limit", 300);
    set_int(m.from.qts, "max-cpu-throttle", THROTTLE_XBZRLE);
    set_str(m.from.qts, "cpu-throttle-fallback", "none");
    migration_begin(&m);
    assert_migrated(&m);
    migration_end(&m);
}

/*
 * Pages in several connections, compressed: neither their bytes nor their order
 * are those of the law, whose pages count when they are handed over.
 */
static void test_multifd(const void *compression)
{
    Migration m = migration_prepare(GUEST_PATHOLOGICAL);

    m.to = guest_start("", "-incoming defer");
    set_capability(m.from.qts, "multifd", true);
    set_capability(m.to.qts, "multifd", true);
    set_str(m.from.qts, "multifd-compression", compression);
    set_str(m.to.qts, "multifd-compression", compression);
    qtest_qmp_assert_success(m.to.qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s } }", m.uri);
    set_int(m.from.qts, "downtime-limit", 300);
    migration_start(&m);
    assert_migrated(&m);
    migration_end(&m);
}

/* As much is dirtied as is sent: no threshold calls that good. */
static void test_threshold_of_100(void)
{
    Migration m = migration_prepare(GUEST_PATHOLOGICAL);

    set_int(m.from.qts, "throttle-trigger-threshold", 100);
    migration_begin(&m);
    assert_migrated(&m);
    migration_end(&m);
}

/* What the guest executes is measured, not what it is allowed to. */
static void test_open_loop(void)
{
    Migration m = migration_prepare(GUEST_OPEN_LOOP);
    QDict *info;

    set_str(m.from.qts, "cpu-throttle-fallback", "none");
    migration_begin(&m);
    info = next_event(m.from.qts);
    set_str(m.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), >,
                    THROTTLE_OPEN_LOOP * 10);
    qobject_unref(info);
    assert_migrated(&m);
    migration_end(&m);
}

/* 'none' lets the guest go after the ceiling, and never stops it. */
static void test_ceiling(void)
{
    Migration m;
    QDict *info, *migration;
    int64_t windows, held_ms;

    migration_begin_pathological(&m, "none");
    info = wait_event(m.from.qts, "phase", "ceiling");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==,
                    CEILING_PATHOLOGICAL * 10);
    qobject_unref(info);
    info = wait_event(m.from.qts, "reason", "no-fallback");
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "let-go");
    g_assert_cmpstr(qdict_get_str(info, "fallback"), ==, "none");
    windows = qdict_get_int(info, "windows");
    held_ms = qdict_get_int(info, "throttled-time");
    g_assert_cmpint(held_ms, >, 0);
    do {
        qobject_unref(info);
        g_assert_true(is_running(m.from.qts));
        g_assert_true(status_is(m.from.qts, "active"));
        g_usleep(10 * 1000);
        info = query_auto_converge(m.from.qts);
        g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    } while (qdict_get_int(info, "windows") < windows + 3);
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "let-go");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "no-fallback");
    qobject_unref(info);
    migration = query(m.from.qts, "query-migrate");
    g_assert_false(qdict_haskey(migration, "cpu-throttle-percentage"));
    qobject_unref(migration);
    /* Allowed to stop it after all, it does. */
    set_str(m.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    assert_migrated(&m);
    migration_end(&m);
}

static void test_fallback(void)
{
    Migration m;
    QDict *info;

    migration_begin_pathological(&m, "none");
    info = wait_event(m.from.qts, "phase", "ceiling");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==,
                    CEILING_PATHOLOGICAL * 10);
    qobject_unref(info);
    set_str(m.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    info = wait_event(m.from.qts, "phase", "fallback");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "stop-and-copy");
    qobject_unref(info);
    assert_migrated(&m);

    /* It is all still there. */
    info = query_auto_converge(m.from.qts);
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "fallback");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==,
                    CEILING_PATHOLOGICAL * 10);
    g_assert_cmpint(qdict_get_int(info, "predicted-downtime"), >, 0);
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), >, 0);
    qobject_unref(info);
    migration_end(&m);
}

/* A stop beyond its bound is refused, until the bound is raised. */
static void test_bound(void)
{
    Migration m;

    migration_begin_pathological(&m, "none");
    set_int(m.from.qts, "cpu-throttle-fallback-downtime", 1);
    set_str(m.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    pass_event(m.from.qts, "reason", "too-long");
    g_assert_true(is_running(m.from.qts));
    g_assert_true(status_is(m.from.qts, "active"));
    set_int(m.from.qts, "cpu-throttle-fallback-downtime", 0);
    pass_event(m.from.qts, "phase", "fallback");
    assert_migrated(&m);
    migration_end(&m);
}

/*
 * Where the release lets the user say how fast a stop is, that is believed.
 * Of the ceiling's windows the first may have been measured before.
 */
static void test_switchover_bandwidth(void)
{
    Migration m = migration_prepare(GUEST_PATHOLOGICAL);
    QDict *params = query(m.from.qts, "query-migrate-parameters");
    bool known = qdict_haskey(params, "avail-switchover-bandwidth");
    QDict *info;
    int64_t windows;

    qobject_unref(params);
    if (!known) {
        g_test_skip("no avail-switchover-bandwidth");
        migration_end(&m);
        return;
    }
    set_int(m.from.qts, "max-cpu-throttle", CEILING_PATHOLOGICAL);
    set_str(m.from.qts, "cpu-throttle-fallback", "none");
    migration_begin(&m);
    info = wait_event(m.from.qts, "reason", "no-fallback");
    windows = qdict_get_int(info, "windows");
    /* 64 MiB at the rate of the link */
    g_assert_cmpint(qdict_get_int(info, "predicted-downtime"), >, 1000);
    /* With this it must not end; 64 MiB in 125 ms */
    set_int(m.from.qts, "downtime-limit", 10);
    set_int(m.from.qts, "avail-switchover-bandwidth", 16 * LINK_BYTES_PER_S);
    do {
        qobject_unref(info);
        g_usleep(10 * 1000);
        info = query_auto_converge(m.from.qts);
    } while (qdict_get_int(info, "windows") < windows + 2);
    g_assert_cmpint(qdict_get_int(info, "predicted-downtime"), <, 200);
    qobject_unref(info);
    migration_cancel(&m);
    assert_survived(&m.from);
    migration_end(&m);
}

/* A guest that calms down is let go before the migration ends. */
static void test_release(void)
{
    Migration m;
    QDict *info;

    migration_begin_pathological(&m, "none");
    pass_event(m.from.qts, "reason", "no-fallback");
    guest_command(&m.from, "rate=4");
    info = next_event(m.from.qts);
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), <,
                    CEILING_PATHOLOGICAL * 10);
    qobject_unref(info);
    assert_migrated(&m);
    migration_end(&m);
}

/* Brings a new migration to the phase that the test path ends with. */
static void begin_until(Migration *m, const char *phase)
{
    if (!strcmp(phase, "throttle")) {
        *m = migration_prepare(GUEST_MIDDLE);
        set_str(m->from.qts, "cpu-throttle-fallback", "none");
        migration_begin(m);
        /* The first; on a busy host the guest may look as if it was futile */
        qobject_unref(next_event(m->from.qts));
        return;
    }
    *m = migration_prepare(GUEST_PATHOLOGICAL);
    set_int(m->from.qts, "max-cpu-throttle", CEILING_PATHOLOGICAL);
    set_str(m->from.qts, "cpu-throttle-fallback", "none");
    set_capability(m->from.qts, "pause-before-switchover", true);
    migration_begin(m);
    if (!strcmp(phase, "watch")) {
        wait_status(m->from.qts, "active");
    } else {
        pass_event(m->from.qts, "phase", "ceiling");
    }
    if (!strcmp(phase, "fallback")) {
        set_str(m->from.qts, "cpu-throttle-fallback", "stop-and-copy");
        pass_event(m->from.qts, "phase", phase);
        wait_status(m->from.qts, "pre-switchover");
        g_assert_false(is_running(m->from.qts));
    }
}

/* What the guest lost is told while it happens, and after the end. */
static void test_account(void)
{
    Migration m;
    QDict *info, *migration;
    int64_t stopped_ms;
    g_autofree char *text = NULL;
    g_autofree char *held = NULL;
    g_autofree char *stop = NULL;

    begin_until(&m, "fallback");
    info = query_auto_converge(m.from.qts);
    stopped_ms = qdict_get_int(info, "downtime");
    qobject_unref(info);
    qtest_qmp_assert_success(m.from.qts, "{ 'execute': 'migrate-continue',"
                             " 'arguments': { 'state': 'pre-switchover' } }");
    assert_migrated(&m);

    info = next_event(m.from.qts);
    migration = query(m.from.qts, "query-migrate");
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
    migration_end(&m);
}

/*
 * Two busy vCPUs that are held at the ceiling, for whatever happens to them: a
 * slow link makes the window long in which they are.
 */
static void begin_held(Migration *m)
{
    set_int(m->from.qts, "max-cpu-throttle", CEILING_PATHOLOGICAL);
    set_str(m->from.qts, "cpu-throttle-fallback", "none");
    migration_begin(m);
    pass_event(m->from.qts, "phase", "ceiling");
    set_int(m->from.qts, "max-bandwidth", SLOW_LINK_BYTES_PER_S);
}

static Migration prepare_held(const char *extra)
{
    Migration m = migration_prepare_with(GUEST_TWO_VCPUS, extra);

    begin_held(&m);
    return m;
}

static int64_t query_int(QTestState *qts, const char *key)
{
    QDict *info = query_auto_converge(qts);
    int64_t value = qdict_get_int(info, key);

    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==,
                    CEILING_PATHOLOGICAL * 10);
    qobject_unref(info);
    return value;
}

/* Still throttled; @key goes on counting, and so does the guest. */
static void assert_held(Migration *m, const char *key)
{
    int64_t before = query_int(m->from.qts, key);

    do {
        g_free(guest_wait_line(&m->from, "work="));
    } while (query_int(m->from.qts, key) == before);
}

static int64_t query_throttled_ms(QTestState *qts)
{
    QDict *info = query_auto_converge(qts);
    int64_t value = qdict_get_int(info, "throttled-time");

    qobject_unref(info);
    return value;
}

static void assert_released(Migration *m)
{
    migration_cancel(m);
    assert_survived(&m->from);
    migration_end(m);
}

/* In a thread each, or all in one */
static void test_vcpus(const void *accel)
{
    g_autofree char *extra = g_strdup_printf("-accel %s -smp 2 ",
                                             (const char *)accel);
    Migration m = prepare_held(extra);

    assert_held(&m, "throttled-time");
    assert_released(&m);
}

static void test_stop_cont(void)
{
    Migration m = prepare_held("-smp 2 ");

    for (int i = 0; i < 20; i++) {
        expect_success(m.from.qts, "stop");
        g_assert_false(is_running(m.from.qts));
        expect_success(m.from.qts, "cont");
        g_assert_true(is_running(m.from.qts));
    }
    assert_held(&m, "throttled-time");
    assert_released(&m);
}

static void test_reset(void)
{
    Migration m = prepare_held("-smp 2 ");

    expect_success(m.from.qts, "system_reset");
    g_free(guest_wait_line(&m.from, "ready "));
    assert_held(&m, "throttled-time");
    assert_released(&m);
}

static bool has_kvm(void)
{
    bool has = false;
#ifdef CONFIG_LINUX
    int fd = open("/dev/kvm", O_RDWR);

    has = fd >= 0 && ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION;
    if (fd >= 0) {
        close(fd);
    }
#endif
    return has && qtest_has_accel("kvm");
}

/*
 * The guest ejects a vCPU, as it was asked to before it was throttled.  No
 * window may end after that: under TCG, a sync waits for all vCPUs that ever
 * were.
 */
static void test_unplug(const void *accel)
{
    g_autofree char *extra = g_strdup_printf("-accel %s " HOTPLUG_VCPU,
                                             (const char *)accel);
    Migration m;

    if (!strcmp(accel, "kvm") && !has_kvm()) {
        g_test_skip("no KVM here");
        return;
    }
    m = migration_prepare_with(GUEST_TWO_VCPUS, extra);
    qtest_outb(m.from.qts, ACPI_CPU_SELECT_PORT, 0);
    qtest_qmp_assert_success(m.from.qts, "{ 'execute': 'device_del',"
                             " 'arguments': { 'id': 'second' } }");
    begin_held(&m);
    qtest_outl(m.from.qts, ACPI_CPU_SELECT_PORT, 1);
    qtest_outb(m.from.qts, ACPI_CPU_FLAGS_PORT, ACPI_CPU_FLAG_EJECT);
    qtest_qmp_eventwait(m.from.qts, "DEVICE_DELETED");
    assert_held(&m, "throttled-time");
    assert_released(&m);
}

/*
 * Two vCPUs that take turns, spinning for them, as for a lock.  If each had to
 * wait for the other's next slice, a slice would be worth a turn at most.  On a
 * busy host the two are seldom on CPUs together, so that they may try for long.
 */
static void test_interlock(void)
{
    Migration m = migration_prepare_with("ws=64 rate=max cpus=3 relay=1",
                                         "-smp 3 ");
    uint32_t turns, slices;

    set_int(m.from.qts, "cpu-throttle-initial", THROTTLE_INTERLOCK);
    set_int(m.from.qts, "max-cpu-throttle", THROTTLE_INTERLOCK);
    set_str(m.from.qts, "cpu-throttle-fallback", "none");
    migration_begin(&m);
    pass_event(m.from.qts, "phase", "ceiling");
    set_int(m.from.qts, "max-bandwidth", SLOW_LINK_BYTES_PER_S);
    for (int attempt = 0;; attempt++) {
        int64_t held_ms = query_throttled_ms(m.from.qts), until_ms;

        turns = qtest_readl(m.from.qts, PROGRESS_SECOND_CPU);
        do {
            g_usleep(50 * 1000);
            until_ms = query_throttled_ms(m.from.qts);
        } while (until_ms < held_ms + INTERLOCK_HELD_MS);
        turns = qtest_readl(m.from.qts, PROGRESS_SECOND_CPU) - turns;
        slices = (until_ms - held_ms) * INTERLOCK_SLICES_PER_S / 1000;
        g_test_message("%u turns in %u slices", turns, slices);
        if (turns > 3 * slices) {
            break;
        }
        g_assert_cmpint(attempt, <, INTERLOCK_ATTEMPTS);
    }
    assert_released(&m);
}

/* QEMU ends while vCPUs sleep. */
static void test_quit(void)
{
    Migration m = prepare_held("-smp 2 ");

    qtest_set_expected_status(m.to.qts, EXIT_FAILURE);
    migration_end(&m);
}

static void test_cancel(const void *phase)
{
    Migration m;

    begin_until(&m, phase);
    migration_cancel(&m);
    assert_survived(&m.from);
    migration_end(&m);
}

/* The destination dies; the next migration knows nothing of this one. */
static void test_dead_destination(const void *phase)
{
    Migration m;
    QDict *info;

    begin_until(&m, phase);
    qtest_kill_qemu(m.to.qts);
    guest_quit(&m.to);
    if (!strcmp(phase, "fallback")) {
        qtest_qmp_assert_success(m.from.qts, "{ 'execute': 'migrate-continue',"
                                 " 'arguments':"
                                 " { 'state': 'pre-switchover' } }");
    }
    wait_status(m.from.qts, "failed");
    assert_survived(&m.from);

    guest_command(&m.from, "rate=calm");
    set_capability(m.from.qts, "pause-before-switchover", false);
    migration_begin(&m);
    info = query_auto_converge(m.from.qts);
    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "watch");
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), ==, 0);
    qobject_unref(info);
    assert_migrated(&m);
    migration_end(&m);
}

/* How often dirty memory was looked for. */
static int64_t sync_count(QTestState *qts)
{
    QDict *migration = query(qts, "query-migrate");
    QDict *ram = qdict_get_qdict(migration, "ram");
    int64_t count = ram ? qdict_get_int(ram, "dirty-sync-count") : 0;

    qobject_unref(migration);
    return count;
}

static void wait_sync(QTestState *qts, int64_t count)
{
    while (sync_count(qts) < count) {
        g_usleep(1000);
    }
}

/* Memory of all RAM blocks arrives, not only that of the first. */
static void test_second_block(void)
{
    Migration m = migration_prepare_with(GUEST_HIGH, TWO_BLOCKS);

    migration_begin(&m);
    assert_migrated(&m);
    migration_end(&m);
}

/*
 * So does what is written after a sync that found no page that was not
 * pending already: when the second pass is long, a release may look for dirty
 * pages while it sends the larger block, and the guest writes the other one.
 */
static void test_sync_in_pass(void)
{
    Migration m = migration_prepare_with(GUEST_BOTH, TWO_BLOCKS);

    set_int(m.from.qts, "max-cpu-throttle", 20);
    set_str(m.from.qts, "cpu-throttle-fallback", "none");
    set_int(m.from.qts, "max-bandwidth", LINK_BYTES_PER_S / 4);
    migration_begin(&m);
    wait_sync(m.from.qts, 2);
    set_int(m.from.qts, "max-bandwidth", SLOW_LINK_BYTES_PER_S);
    guest_command(&m.from, GUEST_BOTH_LAST_SENT);
    wait_sync(m.from.qts, 3);
    set_int(m.from.qts, "max-bandwidth", LINK_BYTES_PER_S / 4);
    wait_sync(m.from.qts, 4);
    set_int(m.from.qts, "max-bandwidth", LINK_BYTES_PER_S);
    set_int(m.from.qts, "downtime-limit", 10000);
    assert_migrated(&m);
    migration_end(&m);
}

/*
 * Another max-bandwidth begins the window anew, by one look at most: without
 * auto-converge, and of a paused guest, there is no window.
 */
static void test_new_rate(const void *capability)
{
    Migration m = migration_prepare(GUEST_PATHOLOGICAL);
    bool enabled = !strcmp(capability, "paused");
    int64_t count;

    set_capability(m.from.qts, "auto-converge", enabled);
    set_int(m.from.qts, "max-bandwidth", SLOW_LINK_BYTES_PER_S);
    migration_begin(&m);
    wait_sync(m.from.qts, 1);
    if (enabled) {
        expect_success(m.from.qts, "stop");
    }
    count = sync_count(m.from.qts);
    set_int(m.from.qts, "max-bandwidth", 2 * SLOW_LINK_BYTES_PER_S);
    g_usleep(2 * 1000 * 1000);
    g_assert_cmpint(sync_count(m.from.qts), <=, count + 1);
    migration_cancel(&m);
    if (enabled) {
        expect_success(m.from.qts, "cont");
    }
    guest_verify(&m.from);
    migration_end(&m);
}

/* HMP says @expected, and everything is as before. */
static void assert_refused(QTestState *qts, const char *command,
                           const char *expected)
{
    g_autofree char *before = qtest_hmp(qts, "info migrate_parameters");
    g_autofree char *answer = qtest_hmp(qts, "%s", command);
    g_autofree char *after = qtest_hmp(qts, "info migrate_parameters");
    g_autofree char *capabilities = qtest_hmp(qts, "info migrate_capabilities");
    QDict *migration = query(qts, "query-migrate");

    g_test_message("%s: %s", command, answer);
    g_assert_nonnull(strstr(answer, expected));
    g_assert_cmpstr(before, ==, after);
    g_assert_nonnull(strstr(capabilities, "auto-converge: off"));
    g_assert_false(qdict_haskey(migration, "status"));
    qobject_unref(migration);
}

static void test_params(void)
{
    Guest guest = guest_start("", "-global migration.x-cpu-throttle-fallback="
                              "none -global migration."
                              "x-cpu-throttle-fallback-downtime=7 "
                              "-global migration.x-cpu-throttle-deadline=8");
    QDict *params = query(guest.qts, "query-migrate-parameters");
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
    guest_quit(&guest);
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
    Guest guest = guest_start("", "");

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *command = g_strdup_printf(
            "migrate -d -t %s unix:/nonexistent/socket", bad[i].pairs);

        assert_refused(guest.qts, command, bad[i].expected);
    }
    guest_quit(&guest);
}

/* The parameters of "migrate -t" hold for that migration only. */
static void test_hmp_migrate(void)
{
    Migration m = migration_prepare(GUEST_PATHOLOGICAL);
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    g_autofree char *refused = NULL;
    g_autofree char *info = NULL;
    g_autofree char *incoming = g_strdup_printf("-incoming %s", m.uri);
    g_autofree char *capabilities = NULL;
    QDict *data;

    set_capability(m.from.qts, "auto-converge", false);
    before = qtest_hmp(m.from.qts, "info migrate_parameters");
    m.to = guest_start("", incoming);
    g_free(qtest_hmp(m.from.qts, "migrate -d -t max-cpu-throttle=70,"
                     "cpu-throttle-fallback=none %s", m.uri));
    data = wait_event(m.from.qts, "phase", "ceiling");
    set_int(m.from.qts, "max-bandwidth", SLOW_LINK_BYTES_PER_S);
    g_assert_cmpint(qdict_get_int(data, "throttle-permille"), ==, 700);
    qobject_unref(data);
    refused = qtest_hmp(m.from.qts, "migrate -d -t max-cpu-throttle=50 %s",
                        m.uri);
    g_assert_nonnull(strstr(refused, "not restored yet"));
    info = qtest_hmp(m.from.qts, "info migrate");
    g_assert_nonnull(strstr(info, "auto-converge phase: ceiling"));
    g_assert_nonnull(strstr(info, "auto-converge throttle: 70.0 %"));
    migration_cancel(&m);
    set_int(m.from.qts, "max-bandwidth", LINK_BYTES_PER_S);
    do {
        g_free(after);
        after = qtest_hmp(m.from.qts, "info migrate_parameters");
    } while (!strstr(after, "max-cpu-throttle: 99"));
    g_assert_cmpstr(before, ==, after);
    capabilities = qtest_hmp(m.from.qts, "info migrate_capabilities");
    g_assert_nonnull(strstr(capabilities, "auto-converge: off"));
    migration_end(&m);
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
    if (!qtest_has_accel("tcg") || !*(getenv("QTEST_WORKLOAD") ?: "")) {
        g_test_message("Needs TCG, and QTEST_WORKLOAD: the guest to run");
        return;
    }
    qtest_add_func("/auto-converge/params", test_params);
    qtest_add_func("/auto-converge/hmp/refused", test_hmp_refused);
    qtest_add_func("/auto-converge/hmp/migrate", test_hmp_migrate);
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
    qtest_add_func("/auto-converge/release", test_release);
    qtest_add_func("/auto-converge/account", test_account);
    qtest_add_data_func("/auto-converge/vcpu/threads", "tcg,thread=multi",
                        test_vcpus);
    qtest_add_data_func("/auto-converge/vcpu/one-thread", "tcg,thread=single",
                        test_vcpus);
    qtest_add_func("/auto-converge/vcpu/stop-cont", test_stop_cont);
    qtest_add_func("/auto-converge/vcpu/reset", test_reset);
    qtest_add_func("/auto-converge/vcpu/interlock", test_interlock);
    qtest_add_data_func("/auto-converge/vcpu/unplug/tcg", "tcg", test_unplug);
    qtest_add_data_func("/auto-converge/vcpu/unplug/kvm", "kvm", test_unplug);
    qtest_add_func("/auto-converge/vcpu/quit", test_quit);
    qtest_add_func("/auto-converge/memory/second-block", test_second_block);
    qtest_add_func("/auto-converge/memory/sync-in-pass", test_sync_in_pass);
    qtest_add_data_func("/auto-converge/new-rate/off", "off", test_new_rate);
    qtest_add_data_func("/auto-converge/new-rate/paused", "paused",
                        test_new_rate);
    add_for_phases("cancel", test_cancel);
    add_for_phases("dead-destination", test_dead_destination);
    auto_converge_add_stop_tests();
}
