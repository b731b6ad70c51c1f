/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: further CPUs
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * All the workload does, the boot CPU does. The others only keep their virtual
 * CPUs busy and a few pages each dirty: pages outside of those that are
 * verified. They never sleep, and know neither interrupts nor commands.
 */

#ifndef WORKLOAD_SMP_H
#define WORKLOAD_SMP_H

#include <stdbool.h>
#include <stdint.h>

#define SMP_CPUS_MAX        8u          /* the boot CPU included */

/* Make the progress of all CPUs zero; the boot CPU is APIC id 0. */
void smp_init(void);

/*
 * Start APIC ids 1 to @cpus - 1. False when one of them does not come. @relay:
 * they take turns, and spin for them, as for a lock.
 */
bool smp_start(uint32_t cpus, bool relay);

/* Called by start.S. */
void smp_cpu_main(uint32_t cpu);

/* In start.S. */
extern const uint8_t smp_trampoline[], smp_trampoline_end[];

#endif
