/*
 * Adaptive auto-converge, end to end: stops, and guests that are let go
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The link is a relay in this process that forwards so many bytes per second,
 * or stalls, or is cut, so that QEMU blocks where it does on a real one.  Where
 * a time must not be exceeded, the test allows several times of it, because
 * the host may be busy, and tells what it was.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/un.h>
#include "qemu/atomic.h"
#include "migration/auto-converge-tests.h"

/* What the guest writes as fast as it goes, and throttles that hardly help */
#define GUEST_BUSY "ws=64 rate=max"
#define GUEST_SMALL "ws=16 rate=max"
#define CEILING 80

/* Half of what the link carries; next to nothing, with much to send first */
#define GUEST_CALM "ws=64 rate=6"
#define GUEST_BALLAST "ws=16 rate=2 ballast=100"

#define MIB (1024 * 1024)
#define FAST_BYTES_PER_S (64 * MIB)
#define LINK_BYTES_PER_S (16 * MIB)
/* A stop of GUEST_BUSY takes eight seconds over this. */
#define SLOW_BYTES_PER_S (8 * MIB)

/* A reply within 200 ms, a guest that runs within 1 s: times this */
#define NOISE 3
#define REPLY_MAX_MS (200 * NOISE)
#define RESUME_MAX_MS (1000 * NOISE)
/* A stalled stop ends after 3 s, a lease after 10 s; looked at each 250 ms. */
#define STALL_MAX_MS (3250 + RESUME_MAX_MS)
#define LEASE_MAX_MS 15000
#define FREEZE_MS 40000

#define CANCELS 50
/* Some 2 s of a stop of GUEST_SMALL, and some time beyond it */
#define CANCEL_WITHIN_MS 2200

/* Forwards what it is given in so short steps. */
#define RELAY_STEP_MS 5
/* Small, so that what it has not forwarded does not count as sent */
#define RELAY_BUFFER (64 * 1024)

typedef struct Relay {
    GThread *thread;
    int listener;
    char *to_path;
    int bytes_per_s; /* atomic; 0: stalled */
    int cut;         /* atomic; drop the connection, and end */
} Relay;

typedef struct StopTest {
    Guest from;
    Guest to;
    Relay relay;
    char *dir;
    char *from_path;
    char *to_path;
    char *pid_path;
    const char *to_extra;
} StopTest;

static int64_t clock_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

static void unix_address(struct sockaddr_un *address, const char *path)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    g_strlcpy(address->sun_path, path, sizeof(address->sun_path));
}

static int unix_connect(const char *path)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    unix_address(&address, path);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address,
                            sizeof(address)), ==, 0);
    return fd;
}

static bool send_all(int fd, const char *data, ssize_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);

        if (sent <= 0) {
            return false;
        }
        data += sent;
        length -= sent;
    }
    return true;
}

/* What is there now, up to @max bytes; false at the end of the connection */
static bool relay_forward(int from, int to, int max)
{
    char buffer[16384];

    while (max > 0) {
        ssize_t got = recv(from, buffer, MIN(max, sizeof(buffer)),
                           MSG_DONTWAIT);

        if (got < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        if (got == 0 || !send_all(to, buffer, got)) {
            return false;
        }
        max -= got;
    }
    return true;
}

static void relay_connection(Relay *relay, int from, int to)
{
    int64_t then_us = g_get_monotonic_time();
    int size = RELAY_BUFFER;
    double credit = 0;

    setsockopt(from, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(to, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    while (!qatomic_read(&relay->cut)) {
        int bytes_per_s = qatomic_read(&relay->bytes_per_s);
        int64_t now_us = g_get_monotonic_time();

        /* What was not used up is lost: the link was idle. */
        credit = MIN(credit + bytes_per_s / 1e6 * (now_us - then_us),
                     bytes_per_s / 1e3 * 4 * RELAY_STEP_MS);
        then_us = now_us;
        if (credit >= 1 && bytes_per_s) {
            int pending = 0;

            ioctl(from, FIONREAD, &pending);
            pending = MIN(pending, (int)credit);
            if (!relay_forward(from, to, pending ?: 1)) {
                break;
            }
            credit -= pending;
            if (pending && credit >= 1) {
                continue;
            }
        }
        if (!relay_forward(to, from, RELAY_BUFFER)) {
            break;
        }
        g_usleep(RELAY_STEP_MS * 1000);
    }
    shutdown(from, SHUT_RDWR);
    shutdown(to, SHUT_RDWR);
    close(from);
    close(to);
}

static void *relay_thread(void *opaque)
{
    Relay *relay = opaque;
    int from = accept(relay->listener, NULL, NULL);

    if (from >= 0) {
        relay_connection(relay, from, unix_connect(relay->to_path));
    }
    return NULL;
}

static void relay_start(Relay *relay, const char *from_path,
                        const char *to_path, int bytes_per_s)
{
    struct sockaddr_un address;

    unlink(from_path);
    unix_address(&address, from_path);
    relay->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(relay->listener, (struct sockaddr *)&address,
                         sizeof(address)), ==, 0);
    g_assert_cmpint(listen(relay->listener, 1), ==, 0);
    relay->to_path = g_strdup(to_path);
    relay->cut = false;
    relay->bytes_per_s = bytes_per_s;
    relay->thread = g_thread_new("relay", relay_thread, relay);
}

static void relay_set(Relay *relay, int bytes_per_s)
{
    qatomic_set(&relay->bytes_per_s, bytes_per_s);
}

static void relay_end(Relay *relay)
{
    qatomic_set(&relay->cut, true);
    shutdown(relay->listener, SHUT_RDWR); /* if nobody ever connected */
    g_thread_join(relay->thread);
    close(relay->listener);
    g_free(relay->to_path);
    memset(relay, 0, sizeof(*relay));
}

static StopTest prepare_with(const char *workload, const char *from_extra,
                             const char *to_extra)
{
    StopTest t = { .to_extra = to_extra };
    g_autofree char *ready = NULL;

    t.dir = g_dir_make_tmp("auto-converge-stop-XXXXXX", NULL);
    g_assert_nonnull(t.dir);
    t.from_path = g_strdup_printf("%s/relay", t.dir);
    t.to_path = g_strdup_printf("%s/to", t.dir);
    t.pid_path = g_strdup_printf("%s/pid", t.dir);
    t.from = guest_start(workload, from_extra);
    ready = guest_wait_line(&t.from, "ready ");
    set_capability(t.from.qts, "auto-converge", true);
    set_capability(t.from.qts, "events", true);
    set_int(t.from.qts, "max-bandwidth", 1024 * MIB);
    set_int(t.from.qts, "downtime-limit", 30);
    set_int(t.from.qts, "max-cpu-throttle", CEILING);
    set_int(t.from.qts, "cpu-throttle-fallback-downtime", 0);
    return t;
}

static StopTest prepare(const char *workload)
{
    return prepare_with(workload, "", "");
}

static void start_destination(StopTest *t)
{
    g_autofree char *incoming = g_strdup_printf(
        "%s -incoming unix:%s -pidfile %s", t->to_extra, t->to_path,
        t->pid_path);

    t->to = guest_start("", incoming);
}

static void begin(StopTest *t, int bytes_per_s)
{
    g_autofree char *uri = g_strdup_printf("unix:%s", t->from_path);

    if (!t->to.qts) {
        start_destination(t);
    }
    relay_start(&t->relay, t->from_path, t->to_path, bytes_per_s);
    qtest_qmp_assert_success(t->from.qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
}

/* It is held at the ceiling, which is in vain, and no stop is allowed. */
static void begin_held(StopTest *t, int bytes_per_s)
{
    set_str(t->from.qts, "cpu-throttle-fallback", "none");
    begin(t, bytes_per_s);
    pass_event(t->from.qts, "phase", "ceiling");
}

static void allow_stop(StopTest *t)
{
    set_str(t->from.qts, "cpu-throttle-fallback", "stop-and-copy");
}

/*
 * The guest is stopped, over a link of so many bytes per second from now.  That
 * is slow before already, so that a test that comes late still sees the stop.
 */
static void begin_stop(StopTest *t, const char *workload, int bytes_per_s)
{
    *t = prepare(workload);
    begin_held(t, FAST_BYTES_PER_S);
    pass_event(t->from.qts, "phase", "let-go");
    relay_set(&t->relay, SLOW_BYTES_PER_S);
    allow_stop(t);
    pass_event(t->from.qts, "phase", "fallback");
    while (is_running(t->from.qts)) {
        g_usleep(1000);
    }
    relay_set(&t->relay, bytes_per_s);
}

/* The destination notices that nothing more comes, and exits. */
static void end_destination(StopTest *t)
{
    relay_end(&t->relay);
    qtest_set_expected_status(t->to.qts, EXIT_FAILURE);
    while (qtest_probe_child(t->to.qts)) {
        g_usleep(1000);
    }
    guest_quit(&t->to);
    memset(&t->to, 0, sizeof(t->to));
}

static void end(StopTest *t)
{
    if (t->relay.thread) {
        relay_end(&t->relay);
    }
    guest_quit(&t->from);
    if (t->to.qts) {
        guest_quit(&t->to);
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

static void assert_arrived(StopTest *t)
{
    wait_status(t->from.qts, "completed");
    g_assert_false(is_running(t->from.qts));
    qtest_qmp_eventwait(t->to.qts, "RESUME");
    guest_verify(&t->to);
}

/* Cancel, see that the guest runs, and end. */
static void cancel_and_end(StopTest *t)
{
    expect_success(t->from.qts, "migrate_cancel");
    wait_status(t->from.qts, "cancelled");
    assert_survived(&t->from);
    end_destination(t);
    end(t);
}

static int64_t wait_running_ms(QTestState *qts)
{
    int64_t then_ms = clock_ms();

    while (!is_running(qts)) {
        g_usleep(5 * 1000);
    }
    return clock_ms() - then_ms;
}

static void assert_reason(QTestState *qts, const char *phase,
                          const char *reason)
{
    QDict *info = query_auto_converge(qts);

    g_assert_cmpstr(qdict_get_str(info, "phase"), ==, phase);
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, reason);
    qobject_unref(info);
}

/* query-migrate while the guest is stopped, with how long the reply took */
typedef struct Look {
    bool stopped;
    int64_t reply_ms;
    int64_t remaining_bytes;
    int64_t downtime_ms;
} Look;

static Look look(QTestState *qts)
{
    int64_t then_ms = clock_ms();
    QDict *migration = query(qts, "query-migrate");
    Look now = { .reply_ms = clock_ms() - then_ms };
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

/*
 * A stop of eight seconds: the monitor answers all the time, less and less is
 * left, the guest cannot be started, and all arrives.
 */
static void test_alive(void)
{
    StopTest t;
    Look now, before = { .remaining_bytes = INT64_MAX / 2 };
    int64_t longest_ms = 0, looks = 0, rises = 0;
    QDict *status, *reply;

    begin_stop(&t, GUEST_BUSY, SLOW_BYTES_PER_S);
    status = query(t.from.qts, "query-status");
    g_assert_cmpstr(qdict_get_str(status, "status"), ==, "finish-migrate");
    qobject_unref(status);
    reply = qtest_qmp(t.from.qts, "{ 'execute': 'cont' }");
    g_assert_true(qdict_haskey(reply, "error"));
    qobject_unref(reply);
    for (now = look(t.from.qts); now.stopped; now = look(t.from.qts)) {
        longest_ms = MAX(longest_ms, now.reply_ms);
        /* The sync after the stop finds what the guest wrote last. */
        rises += now.remaining_bytes > before.remaining_bytes + MIB;
        g_assert_cmpint(rises, <=, 1);
        g_assert_cmpint(now.downtime_ms, >=, before.downtime_ms);
        before = now;
        looks++;
        g_usleep(20 * 1000);
    }
    g_test_message("stopped for %" PRId64 " ms, %" PRId64
                   " replies, longest after %" PRId64 " ms",
                   before.downtime_ms, looks, longest_ms);
    g_assert_cmpint(before.downtime_ms, >, 5000);
    g_assert_cmpint(longest_ms, <, REPLY_MAX_MS);
    assert_arrived(&t);
    end(&t);
}

/*
 * What was predicted is what it takes: in 10 %, and 100 ms for the host.  The
 * link is so slow that also on a busy host it is what the bulk pass waits for.
 */
static void test_predicted(void)
{
    StopTest t = prepare(GUEST_BUSY);
    QDict *info;
    int64_t predicted_ms, real_ms;

    begin(&t, SLOW_BYTES_PER_S);
    pass_event(t.from.qts, "phase", "fallback");
    while (is_running(t.from.qts)) {
        g_usleep(1000);
    }
    info = query_auto_converge(t.from.qts);
    predicted_ms = qdict_get_int(info, "predicted-downtime");
    qobject_unref(info);
    assert_arrived(&t);
    info = query_auto_converge(t.from.qts);
    real_ms = qdict_get_int(info, "downtime");
    qobject_unref(info);
    g_test_message("predicted %" PRId64 " ms, was %" PRId64 " ms",
                   predicted_ms, real_ms);
    g_assert_cmpint(ABS(predicted_ms - real_ms), <, real_ms / 10 + 100);
    end(&t);
}

/* A cancel in the middle, also when the link takes nothing any more */
static void test_cancel(const void *opaque)
{
    int bytes_per_s = GPOINTER_TO_INT(opaque);
    StopTest t;
    int64_t took_ms;

    begin_stop(&t, GUEST_BUSY, bytes_per_s);
    g_usleep(1000 * 1000);
    g_assert_false(is_running(t.from.qts));
    expect_success(t.from.qts, "migrate_cancel");
    took_ms = wait_running_ms(t.from.qts);
    g_test_message("runs %" PRId64 " ms after the cancel", took_ms);
    g_assert_cmpint(took_ms, <, RESUME_MAX_MS);
    wait_status(t.from.qts, "cancelled");
    assert_survived(&t.from);
    end_destination(&t);
    end(&t);
}

/* The connection breaks in the middle. */
static void test_cut(void)
{
    StopTest t;
    int64_t took_ms;

    begin_stop(&t, GUEST_BUSY, SLOW_BYTES_PER_S);
    qatomic_set(&t.relay.cut, true);
    took_ms = wait_running_ms(t.from.qts);
    g_test_message("runs %" PRId64 " ms after the failure", took_ms);
    g_assert_cmpint(took_ms, <, RESUME_MAX_MS);
    wait_status(t.from.qts, "failed");
    assert_survived(&t.from);
    end_destination(&t);
    end(&t);
}

/* The link dies in the middle; when it is back, the migration goes on. */
static void test_stalled(void)
{
    StopTest t;
    int64_t took_ms;

    begin_stop(&t, GUEST_BUSY, 0);
    took_ms = wait_running_ms(t.from.qts);
    g_test_message("runs %" PRId64 " ms after the link died", took_ms);
    g_assert_cmpint(took_ms, <, STALL_MAX_MS);
    pass_event(t.from.qts, "reason", "stalled");
    assert_reason(t.from.qts, "let-go", "stalled");
    g_assert_true(status_is(t.from.qts, "active"));
    relay_set(&t.relay, FAST_BYTES_PER_S);
    /* Any parameter will do to try again at once. */
    set_int(t.from.qts, "cpu-throttle-fallback-downtime", 20000);
    assert_arrived(&t);
    end(&t);
}

/* A stop that was predicted to be shorter than its bound, and is not */
static void test_outlasts(void)
{
    StopTest t = prepare(GUEST_BUSY);
    int64_t bound_ms = 2000, margin_ms = 1000, took_ms;

    set_int(t.from.qts, "cpu-throttle-fallback-downtime", bound_ms);
    begin(&t, FAST_BYTES_PER_S);
    pass_event(t.from.qts, "phase", "fallback");
    relay_set(&t.relay, SLOW_BYTES_PER_S);
    while (is_running(t.from.qts)) {
        g_usleep(1000);
    }
    took_ms = wait_running_ms(t.from.qts);
    g_test_message("was stopped for %" PRId64 " ms", took_ms);
    g_assert_cmpint(took_ms, <, bound_ms + margin_ms + RESUME_MAX_MS);
    pass_event(t.from.qts, "reason", "outlasted");
    assert_reason(t.from.qts, "let-go", "outlasted");
    g_assert_true(status_is(t.from.qts, "active"));
    guest_verify(&t.from);
    set_int(t.from.qts, "cpu-throttle-fallback-downtime", 0);
    pass_event(t.from.qts, "phase", "fallback");
    assert_arrived(&t);
    end(&t);
}

/* What the user does not want any more ends at once; see the pairs below. */
static void test_unwanted(const void *opaque)
{
    const char *fallback = opaque;
    StopTest t;
    int64_t took_ms;

    begin_stop(&t, GUEST_BUSY, SLOW_BYTES_PER_S);
    if (!strcmp(fallback, "bound")) {
        set_int(t.from.qts, "cpu-throttle-fallback-downtime", 1);
    } else {
        set_str(t.from.qts, "cpu-throttle-fallback", fallback);
    }
    took_ms = wait_running_ms(t.from.qts);
    g_test_message("runs %" PRId64 " ms after the change", took_ms);
    g_assert_cmpint(took_ms, <, RESUME_MAX_MS);
    pass_event(t.from.qts, "phase", "let-go");
    assert_reason(t.from.qts, "let-go", strcmp(fallback, "bound") ?
                  "no-fallback" : "too-long");
    cancel_and_end(&t);
}

/* ... and not running meanwhile */
static void wait_paused(QTestState *qts)
{
    bool paused;

    do {
        QDict *status = query(qts, "query-status");

        paused = !strcmp(qdict_get_str(status, "status"), "paused");
        g_assert_false(qdict_get_bool(status, "running"));
        qobject_unref(status);
        g_usleep(10 * 1000);
    } while (!paused);
}

/* The user stops a guest that is stopped: it arrives, and stays, paused. */
static void test_user_stop(void)
{
    StopTest t;

    begin_stop(&t, GUEST_BUSY, SLOW_BYTES_PER_S);
    expect_success(t.from.qts, "stop");
    wait_paused(t.from.qts);
    relay_set(&t.relay, FAST_BYTES_PER_S);
    wait_status(t.from.qts, "completed");
    wait_paused(t.to.qts);
    expect_success(t.to.qts, "cont");
    guest_verify(&t.to);
    end(&t);
}

static const char *wait_end(QTestState *qts)
{
    for (;;) {
        if (status_is(qts, "completed")) {
            return "completed";
        }
        if (status_is(qts, "cancelled")) {
            return "cancelled";
        }
        g_assert_false(status_is(qts, "failed"));
        g_usleep(2000);
    }
}

/*
 * Cancels at random moments of a stop, and around its end: exactly one of the
 * two runs the guest.
 */
static void test_random_cancels(void)
{
    StopTest t = prepare(GUEST_SMALL);
    int completed = 0;

    for (int i = 0; i < CANCELS; i++) {
        const char *outcome;

        /* Not by an event, which may be the last of the migration before. */
        begin(&t, FAST_BYTES_PER_S);
        while (is_running(t.from.qts)) {
            g_usleep(1000);
        }
        relay_set(&t.relay, SLOW_BYTES_PER_S);
        g_usleep(g_test_rand_int_range(0, CANCEL_WITHIN_MS) * 1000);
        qobject_unref(qtest_qmp(t.from.qts, "{ 'execute': 'migrate_cancel' }"));
        outcome = wait_end(t.from.qts);
        if (!strcmp(outcome, "completed")) {
            g_assert_false(is_running(t.from.qts));
            qtest_qmp_eventwait(t.to.qts, "RESUME");
            guest_verify(&t.to);
            end(&t);
            t = prepare(GUEST_SMALL);
            completed++;
        } else {
            wait_running_ms(t.from.qts);
            assert_survived(&t.from);
            end_destination(&t);
        }
    }
    g_test_message("%d of %d came too late", completed, CANCELS);
    end(&t);
}

/*
 * Too long a stop: the guest is let go.  As soon as the link carries more, it
 * is stopped at once, without another throttle.
 */
static void test_let_go(void)
{
    StopTest t = prepare(GUEST_BUSY);
    QDict *info;
    int64_t held_ms;

    set_int(t.from.qts, "cpu-throttle-fallback-downtime", 1500);
    begin(&t, LINK_BYTES_PER_S);
    info = wait_event(t.from.qts, "phase", "let-go");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "too-long");
    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==, 0);
    held_ms = qdict_get_int(info, "throttled-time");
    qobject_unref(info);
    relay_set(&t.relay, 2 * FAST_BYTES_PER_S);
    info = wait_event(t.from.qts, "phase", "fallback");
    /* The last sleeps may not have been over. */
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), <, held_ms + 200);
    qobject_unref(info);
    assert_arrived(&t);
    end(&t);
}

/* The throttle goes within @max_ms; the monitor answers all the time. */
static void wait_let_go(QTestState *qts, int64_t max_ms)
{
    int64_t then_ms = clock_ms(), longest_ms = 0;
    bool held = true;

    while (held) {
        Look now = look(qts);
        QDict *info = query_auto_converge(qts);

        longest_ms = MAX(longest_ms, now.reply_ms);
        held = qdict_get_int(info, "throttle-permille") > 0;
        qobject_unref(info);
        g_assert_cmpint(clock_ms() - then_ms, <, max_ms);
        g_usleep(20 * 1000);
    }
    g_test_message("let go after %" PRId64 " ms, longest reply after %" PRId64
                   " ms", clock_ms() - then_ms, longest_ms);
    g_assert_cmpint(longest_ms, <, REPLY_MAX_MS);
}

static void signal_destination(StopTest *t, int signal)
{
    g_autofree char *pid = NULL;

    g_assert_true(g_file_get_contents(t->pid_path, &pid, NULL, NULL));
    g_assert_cmpint(kill(atoi(pid), signal), ==, 0);
}

/* The destination freezes while the guest is held at the ceiling. */
static void test_lease(void)
{
    StopTest t = prepare(GUEST_BUSY);
    int64_t then_ms, longest_ms = 0;

    begin_held(&t, LINK_BYTES_PER_S);
    then_ms = clock_ms();
    signal_destination(&t, SIGSTOP);
    wait_let_go(t.from.qts, LEASE_MAX_MS);
    assert_reason(t.from.qts, "let-go", "stalled");
    g_free(guest_wait_line(&t.from, "work="));
    while (clock_ms() < then_ms + FREEZE_MS) {
        longest_ms = MAX(longest_ms, look(t.from.qts).reply_ms);
        g_usleep(50 * 1000);
    }
    g_assert_cmpint(longest_ms, <, REPLY_MAX_MS);
    signal_destination(&t, SIGCONT);
    pass_event(t.from.qts, "reason", "resume");
    allow_stop(&t);
    pass_event(t.from.qts, "phase", "fallback");
    assert_arrived(&t);
    end(&t);
}

/*
 * At the ceiling it is in vain: that is seen in the pass, which takes 4 s, and
 * not after it.
 */
static void test_look(void)
{
    StopTest t = prepare(GUEST_BUSY);
    QDict *info;
    int64_t windows;

    set_str(t.from.qts, "cpu-throttle-fallback", "none");
    begin(&t, LINK_BYTES_PER_S);
    info = wait_event(t.from.qts, "phase", "ceiling");
    allow_stop(&t);
    windows = qdict_get_int(info, "windows");
    qobject_unref(info);
    info = wait_event(t.from.qts, "phase", "fallback");
    g_assert_cmpint(qdict_get_int(info, "windows"), ==, windows);
    qobject_unref(info);
    assert_arrived(&t);
    end(&t);
}

/*
 * A fifth of the time is enough for it to dirty everything again while that is
 * sent: no throttle is tried before the stop.
 */
static void test_at_once(void)
{
    StopTest t = prepare(GUEST_BUSY);
    QDict *info;

    begin(&t, LINK_BYTES_PER_S);
    info = wait_event(t.from.qts, "phase", "fallback");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "stop-and-copy");
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "throttled-time"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "predicted-downtime"), >, 2000);
    qobject_unref(info);
    assert_arrived(&t);
    end(&t);
}

static void wait_windows(QTestState *qts, int64_t windows)
{
    QDict *info = query_auto_converge(qts);

    while (qdict_get_int(info, "windows") < windows) {
        qobject_unref(info);
        g_usleep(10 * 1000);
        info = query_auto_converge(qts);
    }
    qobject_unref(info);
}

/* ... before it is throttled */
static void wait_reason(QTestState *qts, const char *reason)
{
    for (;;) {
        QDict *info = query_auto_converge(qts);
        bool found = !strcmp(qdict_get_str(info, "reason"), reason);

        g_assert_cmpstr(qdict_get_str(info, "phase"), ==, "watch");
        qobject_unref(info);
        if (found) {
            break;
        }
        g_usleep(10 * 1000);
    }
}

static void assert_never_throttled(StopTest *t)
{
    QDict *info;

    assert_arrived(t);
    info = query_auto_converge(t->from.qts);
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==, 0);
    qobject_unref(info);
}

/* After the bulk pass the link falls, and comes back. */
static void test_slow_link(void)
{
    StopTest t = prepare(GUEST_CALM);

    begin(&t, LINK_BYTES_PER_S);
    wait_windows(t.from.qts, 1);
    relay_set(&t.relay, LINK_BYTES_PER_S / 6);
    wait_reason(t.from.qts, "slow-link");
    relay_set(&t.relay, LINK_BYTES_PER_S);
    assert_never_throttled(&t);
    end(&t);
}

/* After a long bulk pass the guest is busy for some time. */
static void test_burst(void)
{
    StopTest t = prepare(GUEST_BALLAST);

    begin(&t, LINK_BYTES_PER_S);
    wait_windows(t.from.qts, 1);
    guest_command(&t.from, "rate=max");
    wait_reason(t.from.qts, "burst");
    guest_command(&t.from, "rate=2");
    assert_never_throttled(&t);
    end(&t);
}

/* While the deadline is far, a guest that nothing helps is left alone. */
static void test_deadline_far(void)
{
    StopTest t = prepare(GUEST_SMALL);

    set_int(t.from.qts, "cpu-throttle-deadline", 1000);
    begin(&t, LINK_BYTES_PER_S);
    wait_windows(t.from.qts, 6);
    wait_reason(t.from.qts, "deadline");
    set_int(t.from.qts, "cpu-throttle-deadline", 0);
    pass_event(t.from.qts, "phase", "fallback");
    assert_arrived(&t);
    end(&t);
}

/*
 * The bulk pass takes 8 s, or some more on a busy host, and so does what it
 * leaves: there is no time for another pass and a stop, nor for a throttle.
 */
static void test_deadline_near(void)
{
    StopTest t = prepare(GUEST_BUSY);
    QDict *info;

    set_int(t.from.qts, "cpu-throttle-deadline", 21);
    begin(&t, SLOW_BYTES_PER_S);
    info = wait_event(t.from.qts, "phase", "fallback");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "deadline");
    g_assert_cmpint(qdict_get_int(info, "highest-throttle-permille"), ==, 0);
    qobject_unref(info);
    assert_arrived(&t);
    end(&t);
}

/* The ceiling is lowered in the middle of a pass of a minute. */
static void test_live_ceiling(void)
{
    StopTest t = prepare(GUEST_BUSY);
    int64_t then_ms;

    begin_held(&t, LINK_BYTES_PER_S);
    relay_set(&t.relay, MIB);
    set_int(t.from.qts, "max-cpu-throttle", CEILING / 2);
    then_ms = clock_ms();
    for (;;) {
        QDict *info = query_auto_converge(t.from.qts);
        int64_t permille = qdict_get_int(info, "throttle-permille");

        qobject_unref(info);
        if (permille == CEILING / 2 * 10) {
            break;
        }
        g_assert_cmpint(clock_ms() - then_ms, <, RESUME_MAX_MS);
        g_usleep(1000);
    }
    cancel_and_end(&t);
}

/*
 * What is not RAM counts as well: here the dirty bitmap of a disk, which QEMU
 * says is a byte for each bit.  RAM alone would be a stop within the bound.
 */
static void test_other_state(void)
{
    int64_t disk_bytes = FAST_BYTES_PER_S * 4LL * 512;
    g_autofree char *disk = g_strdup_printf(
        "-blockdev driver=null-co,node-name=disk,size=%" PRId64, disk_bytes);
    StopTest t = prepare_with(GUEST_SMALL, disk, disk);
    int64_t bound_ms = 2000;
    QDict *info;

    qtest_qmp_assert_success(t.from.qts, "{ 'execute':"
                             " 'block-dirty-bitmap-add', 'arguments': {"
                             " 'node': 'disk', 'name': 'backup',"
                             " 'granularity': 512 } }");
    start_destination(&t);
    set_capability(t.from.qts, "dirty-bitmaps", true);
    set_capability(t.to.qts, "dirty-bitmaps", true);
    set_int(t.from.qts, "cpu-throttle-fallback-downtime", bound_ms);
    begin(&t, FAST_BYTES_PER_S);
    info = wait_event(t.from.qts, "phase", "let-go");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "too-long");
    g_assert_cmpint(qdict_get_int(info, "predicted-downtime"), >=, 4000);
    qobject_unref(info);
    set_int(t.from.qts, "cpu-throttle-fallback-downtime", 0);
    pass_event(t.from.qts, "phase", "fallback");
    assert_arrived(&t);
    end(&t);
}

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
    StopTest t = prepare(GUEST_BUSY);
    QDict *info, *ram;

    start_destination(&t);
    if (!has_post_copy(t.to.qts)) {
        g_test_skip("no post-copy on this host");
        qtest_set_expected_status(t.to.qts, EXIT_SUCCESS);
        end(&t);
        return;
    }
    set_capability(t.from.qts, "postcopy-ram", true);
    set_str(t.from.qts, "cpu-throttle-fallback", opaque);
    /* It stands for stops only. */
    set_int(t.from.qts, "cpu-throttle-fallback-downtime", 1);
    begin(&t, LINK_BYTES_PER_S);
    info = wait_event(t.from.qts, "phase", "fallback");
    g_assert_cmpstr(qdict_get_str(info, "reason"), ==, "post-copy");
    g_assert_cmpstr(qdict_get_str(info, "fallback"), ==, "post-copy");
    qobject_unref(info);
    assert_arrived(&t);
    /* Nothing is copied during the stop but what post-copy needs. */
    info = query(t.from.qts, "query-migrate");
    ram = qdict_get_qdict(info, "ram");
    g_test_message("%" PRId64 " bytes in the stop, %" PRId64 " after it",
                   qdict_get_int(ram, "downtime-bytes"),
                   qdict_get_int(ram, "postcopy-bytes"));
    g_assert_cmpint(qdict_get_int(ram, "postcopy-bytes"), >,
                    10 * qdict_get_int(ram, "downtime-bytes"));
    qobject_unref(info);
    end(&t);
}

/* In the middle of a stop the user would rather have post-copy. */
static void test_stop_to_post_copy(void)
{
    StopTest t = prepare(GUEST_BUSY);

    start_destination(&t);
    if (!has_post_copy(t.to.qts)) {
        g_test_skip("no post-copy on this host");
        end(&t);
        return;
    }
    set_capability(t.from.qts, "postcopy-ram", true);
    set_str(t.from.qts, "cpu-throttle-fallback", "stop-and-copy");
    begin(&t, FAST_BYTES_PER_S);
    pass_event(t.from.qts, "reason", "stop-and-copy");
    relay_set(&t.relay, SLOW_BYTES_PER_S);
    while (is_running(t.from.qts)) {
        g_usleep(1000);
    }
    set_str(t.from.qts, "cpu-throttle-fallback", "post-copy");
    qtest_qmp_eventwait(t.to.qts, "RESUME");
    assert_reason(t.from.qts, "fallback", "post-copy");
    relay_set(&t.relay, FAST_BYTES_PER_S);
    wait_status(t.from.qts, "completed");
    g_assert_false(is_running(t.from.qts));
    guest_verify(&t.to);
    end(&t);
}

/* 'post-copy' needs the capability; the error comes as soon as it can. */
static void test_post_copy_refused(void)
{
    StopTest t = prepare(GUEST_BUSY);
    g_autofree char *uri = g_strdup_printf("unix:%s", t.from_path);
    QDict *reply;

    set_str(t.from.qts, "cpu-throttle-fallback", "post-copy");
    reply = qtest_qmp(t.from.qts, "{ 'execute': 'migrate',"
                      " 'arguments': { 'uri': %s } }", uri);
    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(reply, "error"),
                                          "desc"), "'postcopy-ram'"));
    qobject_unref(reply);
    set_str(t.from.qts, "cpu-throttle-fallback", "auto");
    begin(&t, LINK_BYTES_PER_S);
    wait_status(t.from.qts, "active");
    reply = qtest_qmp(t.from.qts, "{ 'execute': 'migrate-set-parameters',"
                      " 'arguments': { 'cpu-throttle-fallback':"
                      " 'post-copy' } }");
    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(reply, "error"),
                                          "desc"), "'postcopy-ram'"));
    qobject_unref(reply);
    cancel_and_end(&t);
}

/* "migrate -t": what cannot be restored does not keep the others. */
static void test_override(void)
{
    StopTest t = prepare(GUEST_BUSY);
    g_autofree char *params = NULL;
    g_autofree char *capabilities = NULL;
    g_autofree char *answer = NULL;

    set_capability(t.from.qts, "auto-converge", false);
    set_int(t.from.qts, "max-cpu-throttle", 99);
    set_int(t.from.qts, "cpu-throttle-initial", 60);
    start_destination(&t);
    relay_start(&t.relay, t.from_path, t.to_path, LINK_BYTES_PER_S);
    g_free(qtest_hmp(t.from.qts, "migrate -d -t cpu-throttle-initial=10,"
                     "cpu-throttle-increment=20 unix:%s", t.from_path));
    wait_status(t.from.qts, "active");
    answer = qtest_hmp(t.from.qts, "migrate -d -t cpu-throttle-initial=20 "
                       "unix:%s", t.from_path);
    g_assert_nonnull(strstr(answer, "not restored yet"));
    set_int(t.from.qts, "max-cpu-throttle", 50);
    expect_success(t.from.qts, "migrate_cancel");
    wait_status(t.from.qts, "cancelled");
    do {
        g_free(capabilities);
        capabilities = qtest_hmp(t.from.qts, "info migrate_capabilities");
    } while (!strstr(capabilities, "auto-converge: off"));
    params = qtest_hmp(t.from.qts, "info migrate_parameters");
    g_assert_nonnull(strstr(params, "cpu-throttle-initial: 10"));
    g_assert_nonnull(strstr(params, "cpu-throttle-increment: 10"));
    g_assert_nonnull(strstr(params, "max-cpu-throttle: 50"));
    end_destination(&t);
    end(&t);
}

static void wait_job(QTestState *qts, const char *id)
{
    for (;;) {
        QDict *event = qtest_qmp_eventwait_ref(qts, "JOB_STATUS_CHANGE");
        QDict *data = qdict_get_qdict(event, "data");
        bool concluded = !strcmp(qdict_get_str(data, "id"), id) &&
                         !strcmp(qdict_get_str(data, "status"), "concluded");

        qobject_unref(event);
        if (concluded) {
            break;
        }
    }
    qtest_qmp_assert_success(qts, "{ 'execute': 'job-dismiss',"
                             " 'arguments': { 'id': %s } }", id);
}

static void create_disk(QTestState *qts, const char *path)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-create',"
                             " 'arguments': { 'job-id': 'file', 'options': {"
                             " 'driver': 'file', 'filename': %s,"
                             " 'size': 0 } } }", path);
    wait_job(qts, "file");
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-add',"
                             " 'arguments': { 'driver': 'file',"
                             " 'node-name': 'file', 'filename': %s } }", path);
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-create',"
                             " 'arguments': { 'job-id': 'disk', 'options': {"
                             " 'driver': 'qcow2', 'file': 'file',"
                             " 'size': 1048576 } } }");
    wait_job(qts, "disk");
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-add',"
                             " 'arguments': { 'driver': 'qcow2',"
                             " 'node-name': 'disk', 'file': 'file' } }");
}

/* A snapshot syncs dirty memory, too; it is none of the controller's. */
static void test_snapshot(void)
{
    StopTest t = prepare(GUEST_BUSY);
    g_autofree char *path = g_strdup_printf("%s/disk", t.dir);
    QDict *before, *after;
    int64_t held_ms;

    create_disk(t.from.qts, path);
    begin_held(&t, FAST_BYTES_PER_S);
    do {
        before = query_auto_converge(t.from.qts);
        held_ms = qdict_get_int(before, "throttled-time");
        qobject_unref(before);
    } while (!held_ms);
    expect_success(t.from.qts, "migrate_cancel");
    wait_status(t.from.qts, "cancelled");
    assert_survived(&t.from);
    before = query_auto_converge(t.from.qts);
    qtest_qmp_assert_success(t.from.qts, "{ 'execute': 'snapshot-save',"
                             " 'arguments': { 'job-id': 'snapshot',"
                             " 'tag': 'one', 'vmstate': 'disk',"
                             " 'devices': [ 'disk' ] } }");
    wait_job(t.from.qts, "snapshot");
    after = query_auto_converge(t.from.qts);
    g_assert_cmpint(qdict_get_int(after, "windows"), ==,
                    qdict_get_int(before, "windows"));
    g_assert_cmpint(qdict_get_int(after, "throttled-time"), ==,
                    qdict_get_int(before, "throttled-time"));
    g_assert_cmpint(qdict_get_int(after, "throttle-permille"), ==, 0);
    qobject_unref(before);
    qobject_unref(after);
    guest_verify(&t.from);
    end_destination(&t);
    unlink(path);
    end(&t);
}

/* With pause-before-switchover, the stop ends in a pause; then cancel. */
static void test_pause(void)
{
    StopTest t = prepare(GUEST_SMALL);

    set_capability(t.from.qts, "pause-before-switchover", true);
    begin(&t, FAST_BYTES_PER_S);
    pass_event(t.from.qts, "phase", "fallback");
    wait_status(t.from.qts, "pre-switchover");
    /* Longer than a stop may stall: here it is the user who waits. */
    g_usleep(4 * 1000 * 1000);
    g_assert_false(is_running(t.from.qts));
    g_assert_true(status_is(t.from.qts, "pre-switchover"));
    expect_success(t.from.qts, "migrate_cancel");
    wait_status(t.from.qts, "cancelled");
    assert_survived(&t.from);
    end_destination(&t);
    end(&t);
}

void auto_converge_add_stop_tests(void)
{
    qtest_add_func("/auto-converge/stop/alive", test_alive);
    qtest_add_func("/auto-converge/stop/predicted", test_predicted);
    qtest_add_data_func("/auto-converge/stop/cancel/slow",
                        GINT_TO_POINTER(SLOW_BYTES_PER_S), test_cancel);
    qtest_add_data_func("/auto-converge/stop/cancel/dead-link",
                        GINT_TO_POINTER(0), test_cancel);
    qtest_add_func("/auto-converge/stop/random-cancels", test_random_cancels);
    qtest_add_func("/auto-converge/stop/cut", test_cut);
    qtest_add_func("/auto-converge/stop/stalled", test_stalled);
    qtest_add_func("/auto-converge/stop/outlasts", test_outlasts);
    qtest_add_func("/auto-converge/stop/other-state", test_other_state);
    qtest_add_func("/auto-converge/stop/pause", test_pause);
    qtest_add_func("/auto-converge/stop/user-stop", test_user_stop);
    qtest_add_data_func("/auto-converge/stop/unwanted/fallback", "none",
                        test_unwanted);
    qtest_add_data_func("/auto-converge/stop/unwanted/bound", "bound",
                        test_unwanted);
    qtest_add_func("/auto-converge/stop/look", test_look);
    qtest_add_func("/auto-converge/stop/at-once", test_at_once);
    qtest_add_func("/auto-converge/watch/slow-link", test_slow_link);
    qtest_add_func("/auto-converge/watch/burst", test_burst);
    qtest_add_func("/auto-converge/deadline/far", test_deadline_far);
    qtest_add_func("/auto-converge/deadline/near", test_deadline_near);
    qtest_add_func("/auto-converge/let-go/too-long", test_let_go);
    qtest_add_func("/auto-converge/let-go/lease", test_lease);
    qtest_add_func("/auto-converge/live/ceiling", test_live_ceiling);
    qtest_add_func("/auto-converge/live/snapshot", test_snapshot);
    qtest_add_data_func("/auto-converge/post-copy/named", "post-copy",
                        test_post_copy);
    qtest_add_data_func("/auto-converge/post-copy/auto", "auto",
                        test_post_copy);
    qtest_add_func("/auto-converge/post-copy/from-stop",
                   test_stop_to_post_copy);
    qtest_add_func("/auto-converge/post-copy/refused",
                   test_post_copy_refused);
    qtest_add_func("/auto-converge/hmp/override", test_override);
}
