/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is counted in the guest, where the host can see it
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * These pages of guest RAM are kept from the kernel (memmap=); the guest's
 * programs map them through /dev/mem, the host reads them in the file that is
 * the guest's RAM.  So to be watched costs the guest nothing.
 * bench/guest/shared.py knows the same offsets.  All values are
 * little-endian.
 */

#ifndef SHARED_H
#define SHARED_H

#include <stdint.h>

#define SHARED_BYTES 65536
#define SHARED_MAGIC 0x6d61657274736e67ull

#define COUNTERS 8
#define COUNTER_WORDS 8 /* a cache line for each */

/*
 * Latencies in ns, eight buckets to a factor of two: the bucket of a latency
 * of e + 1 binary digits is 8 e plus the value of the three digits after the
 * first.  The last one holds all that is longer, from 2^39 ns (9 min) on.
 */
#define LATENCY_STEP_BITS 3
#define LATENCY_STEPS (1 << LATENCY_STEP_BITS)
#define LATENCY_BUCKETS (39 * LATENCY_STEPS + 1)

struct shared {
    uint64_t magic;                             /* 0: 0 until it is ready */
    uint64_t seconds;                           /* 8: lines printed */
    uint64_t padding[6];
    uint64_t count[COUNTERS][COUNTER_WORDS];    /* 64: work done, one a line */
    uint64_t latency[LATENCY_BUCKETS];          /* 576: transactions */
};

#endif /* SHARED_H */
