/*
 * Adaptive auto-converge: what the vCPUs executed, and what they dirtied
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "exec/ramlist.h"
#include "exec/target_page.h"
#include "hw/core/cpu.h"
#include "qemu/bitmap.h"
#include "qemu/rcu.h"
#include "migration/auto-converge-control.h"
#include "migration/cpu-throttle-vcpu.h"
#include "migration.h"

/* At the start of the window: CPU time by cpu_index, and time held back, ns */
static GArray *window_cpu_ns;
static uint64_t window_held_ns;

/*
 * Executed in the window so far by the busiest vCPU, and a new window unless it
 * is only a @peek.  A vCPU that was plugged in its place in the meantime shows
 * as a clock that went back.
 */
static bool window_run(int64_t *busiest_ns, bool peek)
{
    CPUState *cpu;
    int64_t now_ns;
    bool any = false;

    if (!window_cpu_ns) {
        window_cpu_ns = g_array_new(false, true, sizeof(int64_t));
    }
    *busiest_ns = 0;
    CPU_FOREACH(cpu) {
        int64_t *then_ns;

        if (!cpu_throttle_vcpu_clock_ns(cpu, &now_ns)) {
            continue;
        }
        if (cpu->cpu_index >= window_cpu_ns->len) {
            g_array_set_size(window_cpu_ns, cpu->cpu_index + 1);
        }
        then_ns = &g_array_index(window_cpu_ns, int64_t, cpu->cpu_index);
        *busiest_ns = MAX(*busiest_ns,
                          now_ns - (now_ns < *then_ns ? 0 : *then_ns));
        *then_ns = peek ? *then_ns : now_ns;
        any = true;
    }
    return any;
}

void auto_converge_control_restart_window(void)
{
    int64_t ignored_ns;

    window_run(&ignored_ns, false);
    window_held_ns = cpu_throttle_get_held_ns();
}

/* Where there are no clocks, the time that the throttle allowed stands in. */
static uint64_t guest_run_ns(uint64_t elapsed_ns, bool peek)
{
    uint64_t held_ns = cpu_throttle_get_held_ns() - window_held_ns;
    int64_t run_ns;

    window_held_ns += peek ? 0 : held_ns;
    return window_run(&run_ns, peek) ? run_ns :
           elapsed_ns - MIN(held_ns, elapsed_ns);
}

uint64_t auto_converge_control_guest_run_ns(uint64_t elapsed_ns)
{
    return guest_run_ns(elapsed_ns, false);
}

uint64_t auto_converge_control_peek_run_ns(uint64_t elapsed_ns)
{
    return guest_run_ns(elapsed_ns, true);
}

/* Of the log's bits from @page on, in the block that @page is in */
static uint64_t count_dirty(unsigned long *const *log, uint64_t page,
                            uint64_t pages)
{
    uint64_t count = 0;

    while (pages > 0) {
        uint64_t offset = page % DIRTY_MEMORY_BLOCK_SIZE;
        uint64_t part = MIN(pages, DIRTY_MEMORY_BLOCK_SIZE - offset);

        count += bitmap_count_one_with_offset(
            log[page / DIRTY_MEMORY_BLOCK_SIZE], offset, part);
        page += part;
        pages -= part;
    }
    return count;
}

static int count_block(RAMBlock *block, void *opaque)
{
    DirtyMemoryBlocks *log =
        qatomic_rcu_read(&ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION]);
    unsigned bits = qemu_target_page_bits();
    uint64_t *count = opaque;

    *count += count_dirty(log->blocks, qemu_ram_get_offset(block) >> bits,
                          qemu_ram_get_used_length(block) >> bits);
    return 0;
}

uint64_t auto_converge_control_count_dirty(void)
{
    uint64_t count = 0;

    RCU_READ_LOCK_GUARD();
    foreach_not_ignored_block(count_block, &count);
    return count;
}
