/*
 * Count and time the transactions of a program that asks a server
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * To be preloaded (LD_PRELOAD) to redis-benchmark, which runs unchanged: it has
 * one request under way on each connection, writes it by send(), and finds the
 * reply by recv().  A transaction lasts from the one to the first bytes that
 * the other returns.
 *
 * Keys of the environment:
 *
 *   COUNT_PAGE=0x...    where the shared pages are, see shared.h
 *   COUNT_SLOT=N        the counter that is this program's
 *
 * Linked without a C library, so that the one of the guest, which is not the
 * one of the compiler, resolves what is left open.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include "shared.h"

#define MAX_FDS 1024
#define NS_PER_S 1000000000ull

/* volatile: the host looks at them at any time */
static volatile struct shared *shared;
static volatile uint64_t *count;
static uint64_t asked_ns[MAX_FDS];  /* 0: no request is under way */

static long transfer(long number, int fd, const void *data, size_t bytes,
                     int flags)
{
    register long r10 __asm__("r10") = flags;
    register long r8 __asm__("r8") = 0;     /* no address */
    register long r9 __asm__("r9") = 0;
    long done;

    __asm__ volatile("syscall" : "=a"(done)
                     : "a"(number), "D"((long)fd), "S"(data), "d"(bytes),
                       "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (done < 0) {
        errno = -done;
        return -1;
    }
    return done;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void note(uint64_t ns)
{
    int digits = 63 - __builtin_clzll(ns | LATENCY_STEPS);
    int bucket = digits * LATENCY_STEPS +
                 ((ns >> (digits - LATENCY_STEP_BITS)) & (LATENCY_STEPS - 1));

    if (bucket >= LATENCY_BUCKETS) {
        bucket = LATENCY_BUCKETS - 1;
    }
    /* Others of these programs note theirs in the same buckets */
    __atomic_fetch_add(&shared->latency[bucket], 1, __ATOMIC_RELAXED);
    ++*count;
}

ssize_t send(int fd, const void *data, size_t bytes, int flags)
{
    if (shared && fd >= 0 && fd < MAX_FDS) {
        asked_ns[fd] = now_ns();
    }
    return transfer(SYS_sendto, fd, data, bytes, flags);
}

ssize_t recv(int fd, void *data, size_t bytes, int flags)
{
    ssize_t got = transfer(SYS_recvfrom, fd, data, bytes, flags);

    if (got > 0 && shared && fd >= 0 && fd < MAX_FDS && asked_ns[fd]) {
        note(now_ns() - asked_ns[fd]);
        asked_ns[fd] = 0;
    }
    return got;
}

static void __attribute__((constructor)) map_shared(void)
{
    const char *page = getenv("COUNT_PAGE");
    const char *slot = getenv("COUNT_SLOT");
    int fd = page && slot ? open("/dev/mem", O_RDWR) : -1;
    void *mapped;

    if (fd < 0) {
        return;
    }
    mapped = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  strtol(page, NULL, 0));
    if (mapped != MAP_FAILED) {
        shared = mapped;
        count = shared->count[strtol(slot, NULL, 0) % COUNTERS];
    }
}
