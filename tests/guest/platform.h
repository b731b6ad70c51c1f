/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: clock, sleep, serial port of the PC
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * Time is the ACPI PM timer: it counts QEMU's virtual clock, so that it stands
 * still while the machine is stopped, goes on where it was after a migration,
 * and means the same under TCG and KVM. (The TSC belongs to the host; the 16
 * bits of the PIT wrap within the sleep of a throttled vCPU.) It wraps after
 * 4.7 s; whoever runs polls far more often than that.
 *
 * Nothing here waits for the serial port: output goes through a ring, a line
 * that does not fit is dropped whole, and input is polled.
 */

#ifndef WORKLOAD_PLATFORM_H
#define WORKLOAD_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLOCK_HZ            3579545u    /* ACPI PM timer, ticks per second */

/* Divide without libgcc; @den must not be 0. */
static inline uint64_t udiv64(uint64_t num, uint32_t den)
{
    uint32_t high = num >> 32, low = num, rem;

    /* two steps of schoolbook division: neither can overflow */
    rem = high % den;
    high = high / den;
    asm("divl %2" : "+a"(low), "+d"(rem) : "rm"(den) : "cc");
    return (uint64_t)high << 32 | low;
}

static inline uint32_t clock_to_ms(uint64_t ticks)
{
    return udiv64(ticks * 1000, CLOCK_HZ);
}

static inline uint64_t clock_from_ms(uint32_t ms)
{
    return udiv64((uint64_t)ms * CLOCK_HZ, 1000);
}

/* False when the machine has no PM timer that we know. */
bool platform_init(void);

/* For a further CPU: an exception there is told, too. */
void platform_init_cpu(void);

/* Ticks of CLOCK_HZ since platform_init(). */
uint64_t clock_now(void);

/* Sleep in hlt for about @ticks, at most 50 ms of them. */
void clock_sleep(uint64_t ticks);

/* Move what the port takes and has, without waiting; call often. */
void serial_poll(void);

/* Queue one line; false when the ring has no room for all of it. */
bool serial_put_line(const char *line);

/* Wait until the ring is empty: only for the last words. */
void serial_flush(void);

/* The next complete command line, or NULL. Valid until the next call. */
char *serial_get_line(void);

/* What the boot loader tells. */
struct multiboot_info {
    uint32_t flags;
    uint32_t mem_lower_kib, mem_upper_kib;
    uint32_t boot_device;
    char *cmdline;
};

/* Called by start.S. */
void workload_main(uint32_t magic, const struct multiboot_info *info);

/* Entries of start.S. */
void irq_timer_stub(void);
void irq_spurious_stub(void);
void exception_stub(void);

/* Called by exception_stub. */
void platform_exception(void);

/*
 * A seal of two words in the CPU's debug registers: they travel with the CPU
 * state, not with RAM, so that what RAM claims can be checked against them.
 */
static inline void seal_write(uint32_t a, uint32_t b)
{
    asm volatile("movl %0, %%dr0; movl %1, %%dr1" : : "r"(a), "r"(b));
}

static inline bool seal_matches(uint32_t a, uint32_t b)
{
    uint32_t dr0, dr1;

    asm volatile("movl %%dr0, %0; movl %%dr1, %1" : "=r"(dr0), "=r"(dr1));
    return dr0 == a && dr1 == b;
}

#endif
