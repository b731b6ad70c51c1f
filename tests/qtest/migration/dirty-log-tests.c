/*
 * Nothing of what a guest writes is lost while it migrates
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A sync of the dirty log takes the dirty bits away, and the next write to a
 * page must set its bit again.  Under TCG that is QEMU's own work.
 */

#include "qemu/osdep.h"
#include "migration/workload.h"
#include "migration/dirty-log-tests.h"

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

/*
 * A throttle, so that a release that looks for dirty pages in the middle of a
 * pass does; it must not end the migration by a stop, where that may happen.
 */
#define THROTTLE_PCT 20

/* A pass of some seconds; 23 MiB take 18 seconds over the slow link. */
#define PASS_BYTES_PER_S (WORKLOAD_LINK_BYTES_PER_S / 4)

/* Enough for all that is left after so many passes */
#define DOWNTIME_LIMIT_END_MS 10000

static WorkloadMigration prepare(const char *workload)
{
    WorkloadMigration m = workload_prepare_migration(workload, TWO_BLOCKS);

    workload_set_capability(m.from.qts, "auto-converge", true);
    return m;
}

/* Memory of all RAM blocks arrives, not only that of the first. */
static void test_second_block(void)
{
    WorkloadMigration m = prepare(GUEST_HIGH);

    workload_begin_migration(&m);
    workload_assert_migrated(&m.from, &m.to);
    workload_end_migration(&m);
}

/*
 * So does what is written after a sync that found no page that was not
 * pending already: when the second pass is long, a release may look for dirty
 * pages while it sends the larger block, and the guest writes the other one.
 */
static void test_sync_in_pass(void)
{
    WorkloadMigration m = prepare(GUEST_BOTH);

    workload_set_int(m.from.qts, "max-cpu-throttle", THROTTLE_PCT);
    if (workload_has_parameter(m.from.qts, "cpu-throttle-fallback")) {
        workload_set_str(m.from.qts, "cpu-throttle-fallback", "none");
    }
    workload_set_int(m.from.qts, "max-bandwidth", PASS_BYTES_PER_S);
    workload_begin_migration(&m);
    workload_wait_syncs(m.from.qts, 2);
    workload_set_int(m.from.qts, "max-bandwidth",
                     WORKLOAD_SLOW_LINK_BYTES_PER_S);
    workload_send_command(&m.from, GUEST_BOTH_LAST_SENT);
    workload_wait_syncs(m.from.qts, 3);
    workload_set_int(m.from.qts, "max-bandwidth", PASS_BYTES_PER_S);
    workload_wait_syncs(m.from.qts, 4);
    workload_set_int(m.from.qts, "max-bandwidth", WORKLOAD_LINK_BYTES_PER_S);
    workload_set_int(m.from.qts, "downtime-limit", DOWNTIME_LIMIT_END_MS);
    workload_assert_migrated(&m.from, &m.to);
    workload_end_migration(&m);
}

void dirty_log_add_tests(void)
{
    if (!workload_is_available()) {
        return;
    }
    qtest_add_func("/dirty-log/second-block", test_second_block);
    qtest_add_func("/dirty-log/sync-in-pass", test_sync_in_pass);
}
