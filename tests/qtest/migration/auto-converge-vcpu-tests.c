/*
 * Adaptive auto-converge, end to end: what may happen to a throttled vCPU
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#ifdef CONFIG_LINUX
#include <linux/kvm.h>
#include <sys/ioctl.h>
#endif
#include "migration/auto-converge-util.h"
#include "migration/auto-converge-tests.h"

#define GUEST_TWO_VCPUS AC_GUEST_PATHOLOGICAL " cpus=2"

/* Of vCPUs that take turns; tests/guest/progress.h, the second CPU's count */
#define THROTTLE_INTERLOCK 90
#define INTERLOCK_HELD_MS 500
#define INTERLOCK_SLICES_PER_S 20
#define INTERLOCK_ATTEMPTS 20
#define PROGRESS_SECOND_CPU (0x200000 + 64)

/* The second vCPU as a device, and how a guest ejects it. */
#define HOTPLUG_VCPU \
    "-smp 1,sockets=2,cores=1,threads=1,maxcpus=2 " \
    "-device qemu64-x86_64-cpu,id=second,socket-id=1,core-id=0,thread-id=0 "
#define ACPI_CPU_SELECT_PORT 0xaf00 /* the first 0 leaves the legacy mode */
#define ACPI_CPU_FLAGS_PORT 0xaf04
#define ACPI_CPU_FLAG_EJECT 0x08

/*
 * Two busy vCPUs that are held at the ceiling, for whatever happens to them: a
 * slow link makes the window long in which they are.  It begins with a sync, as
 * the link's rate has changed; that is over when something has been sent.
 */
static void begin_held(WorkloadMigration *m)
{
    int64_t syncs, sent_bytes;

    workload_set_int(m->from.qts, "max-cpu-throttle", AC_CEILING_PATHOLOGICAL);
    workload_set_str(m->from.qts, "cpu-throttle-fallback", "none");
    workload_begin_migration(m);
    ac_pass_event(m->from.qts, "phase", "ceiling");
    syncs = workload_count_syncs(m->from.qts);
    workload_set_int(m->from.qts, "max-bandwidth",
                     WORKLOAD_SLOW_LINK_BYTES_PER_S);
    workload_wait_syncs(m->from.qts, syncs + 1);
    sent_bytes = workload_sent_bytes(m->from.qts);
    while (workload_sent_bytes(m->from.qts) == sent_bytes) {
        g_usleep(1000);
    }
}

static WorkloadMigration prepare_held(const char *extra)
{
    WorkloadMigration m = ac_prepare_with(GUEST_TWO_VCPUS, extra);

    begin_held(&m);
    return m;
}

static int64_t query_int(QTestState *qts, const char *key)
{
    QDict *info = ac_query(qts);
    int64_t value = qdict_get_int(info, key);

    g_assert_cmpint(qdict_get_int(info, "throttle-permille"), ==,
                    AC_CEILING_PATHOLOGICAL * 10);
    qobject_unref(info);
    return value;
}

/* Still throttled; @key goes on counting, and so does the guest. */
static void assert_held(WorkloadMigration *m, const char *key)
{
    int64_t before = query_int(m->from.qts, key);

    do {
        g_free(workload_wait_line(&m->from, "work="));
    } while (query_int(m->from.qts, key) == before);
}

static void assert_released(WorkloadMigration *m)
{
    workload_cancel_migration(m);
    ac_assert_survived(&m->from);
    workload_end_migration(m);
}

/* In a thread each, or all in one */
static void test_vcpus(const void *accel)
{
    g_autofree char *extra = g_strdup_printf("-accel %s -smp 2 ",
                                             (const char *)accel);
    WorkloadMigration m = prepare_held(extra);

    assert_held(&m, "throttled-time");
    assert_released(&m);
}

static void test_stop_cont(void)
{
    WorkloadMigration m = prepare_held("-smp 2 ");

    for (int i = 0; i < 20; i++) {
        workload_expect_success(m.from.qts, "stop");
        g_assert_false(workload_is_running(m.from.qts));
        workload_expect_success(m.from.qts, "cont");
        g_assert_true(workload_is_running(m.from.qts));
    }
    assert_held(&m, "throttled-time");
    assert_released(&m);
}

static void test_reset(void)
{
    WorkloadMigration m = prepare_held("-smp 2 ");

    workload_expect_success(m.from.qts, "system_reset");
    g_free(workload_wait_line(&m.from, "ready "));
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
    WorkloadMigration m;

    if (!strcmp(accel, "kvm") && !has_kvm()) {
        g_test_skip("no KVM here");
        return;
    }
    m = ac_prepare_with(GUEST_TWO_VCPUS, extra);
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
    WorkloadMigration m = ac_prepare_with("ws=64 rate=max cpus=3 relay=1",
                                          "-smp 3 ");
    uint32_t turns, slices;

    workload_set_int(m.from.qts, "cpu-throttle-initial", THROTTLE_INTERLOCK);
    workload_set_int(m.from.qts, "max-cpu-throttle", THROTTLE_INTERLOCK);
    workload_set_str(m.from.qts, "cpu-throttle-fallback", "none");
    workload_begin_migration(&m);
    ac_pass_event(m.from.qts, "phase", "ceiling");
    workload_set_int(m.from.qts, "max-bandwidth",
                     WORKLOAD_SLOW_LINK_BYTES_PER_S);
    for (int attempt = 0;; attempt++) {
        int64_t held_ms = ac_query_int(m.from.qts, "throttled-time");
        int64_t until_ms;

        turns = qtest_readl(m.from.qts, PROGRESS_SECOND_CPU);
        do {
            g_usleep(50 * 1000);
            until_ms = ac_query_int(m.from.qts, "throttled-time");
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
    WorkloadMigration m = prepare_held("-smp 2 ");

    qtest_set_expected_status(m.to.qts, EXIT_FAILURE);
    workload_end_migration(&m);
}

void auto_converge_add_vcpu_tests(void)
{
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
}
