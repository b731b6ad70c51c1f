/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: further CPUs
 *
 * Copyright (c) 2026 the auto-converge authors
 */

#include "pages.h"
#include "platform.h"
#include "progress.h"
#include "smp.h"

#define LAPIC_ADDRESS       0xfee00000u
#define LAPIC_SPURIOUS      0x0f0u
#define LAPIC_ICR_LOW       0x300u
#define LAPIC_ICR_HIGH      0x310u
#define LAPIC_ENABLE        0x1ffu      /* software enable, vector 0xff */
#define ICR_INIT            0x00004500u /* assert, edge */
#define ICR_STARTUP         0x00004600u /* the page of the code is added */
#define ICR_PENDING         0x00001000u

#define TRAMPOLINE_ADDRESS  0x8000u     /* boot information begins at 0x9000 */

#define START_DELAY_MS      10u         /* from INIT to start-up */
#define START_TIMEOUT_MS    2000u

/* What a further CPU dirties: pages of its own, below the table at 4 MiB */
#define SMP_ADDRESS         0x210000u
#define SMP_PAGES           16u
#define SMP_WORDS           (PAGE_BYTES / sizeof(uint32_t))
#define SMP_BURN            100u        /* loops for each page */

/* volatile: a device register, or a page to be dirtied by each store */
typedef volatile uint32_t SmpWord;

/* Of CPUs 1 to @relay_cpus - 1, whose turn it is; 0 CPUs: they do not wait */
static volatile uint32_t relay_cpus, relay_turn;

static SmpWord *lapic(uint32_t offset)
{
    return (SmpWord *)(LAPIC_ADDRESS + offset);
}

static void send(uint32_t cpu, uint32_t command)
{
    *lapic(LAPIC_ICR_HIGH) = cpu << 24;
    *lapic(LAPIC_ICR_LOW) = command;
    while (*lapic(LAPIC_ICR_LOW) & ICR_PENDING) {
        asm volatile("pause");
    }
}

/* True as soon as @cpu makes progress. */
static bool wait_progress(uint32_t cpu, uint32_t ms)
{
    uint64_t end = clock_now() + clock_from_ms(ms);

    while (!*progress_of(cpu)) {
        if (clock_now() >= end) {
            return false;
        }
    }
    return true;
}

void smp_init(void)
{
    for (uint32_t cpu = 0; cpu < SMP_CPUS_MAX; cpu++) {
        *progress_of(cpu) = 0;
    }
}

bool smp_start(uint32_t cpus, bool relay)
{
    uint8_t *trampoline = (uint8_t *)TRAMPOLINE_ADDRESS;
    uint32_t size = smp_trampoline_end - smp_trampoline;

    for (uint32_t i = 0; i < size; i++) {
        trampoline[i] = smp_trampoline[i];
    }
    relay_cpus = relay ? cpus : 0;
    relay_turn = 1;
    asm volatile("" : : : "memory");    /* before the others are started */
    *lapic(LAPIC_SPURIOUS) = LAPIC_ENABLE;
    for (uint32_t cpu = 1; cpu < cpus; cpu++) {
        send(cpu, ICR_INIT);
        wait_progress(cpu, START_DELAY_MS);
        send(cpu, ICR_STARTUP | TRAMPOLINE_ADDRESS / PAGE_BYTES);
        if (wait_progress(cpu, START_DELAY_MS)) {
            continue;
        }
        send(cpu, ICR_STARTUP | TRAMPOLINE_ADDRESS / PAGE_BYTES);
        if (!wait_progress(cpu, START_TIMEOUT_MS)) {
            return false;
        }
    }
    return true;
}

/* Its turn, for whoever has done something and hands over */
static void relay_wait(uint32_t cpu)
{
    while (relay_cpus && relay_turn != cpu) {
        /* spin */
    }
}

static void relay_hand_over(uint32_t cpu)
{
    if (relay_cpus) {
        relay_turn = cpu + 1 < relay_cpus ? cpu + 1 : 1;
    }
}

void smp_cpu_main(uint32_t cpu)
{
    SmpWord *words = (SmpWord *)SMP_ADDRESS + cpu * SMP_PAGES * SMP_WORDS;

    platform_init_cpu();
    for (uint32_t value = 0;; value++) {
        relay_wait(cpu);
        words[value % SMP_PAGES * SMP_WORDS] = value;
        pages_burn(SMP_BURN);
        progress_bump(cpu);
        relay_hand_over(cpu);
    }
}
