/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: progress that can be watched from outside
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * Each CPU counts the pages that it has written, in a 32 bit word of its own
 * at PROGRESS_ADDRESS + APIC id * PROGRESS_STRIDE. The words are zero at boot,
 * wrap, and stand still while a CPU naps. Who maps the guest's RAM sees them
 * without asking the guest.
 */

#ifndef WORKLOAD_PROGRESS_H
#define WORKLOAD_PROGRESS_H

#include <stdint.h>

#define PROGRESS_ADDRESS    0x200000u   /* above the program, below the table */
#define PROGRESS_STRIDE     64u         /* bytes: a cache line each */

/* volatile: others look at it, or write it, at any time */
typedef volatile uint32_t ProgressWord;

static inline ProgressWord *progress_of(uint32_t cpu)
{
    return (ProgressWord *)(PROGRESS_ADDRESS + cpu * PROGRESS_STRIDE);
}

static inline void progress_bump(uint32_t cpu)
{
    ++*progress_of(cpu);
}

#endif
