/*
 * vCPU threads without a machine, for the CPU throttle's tests
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Threads, host timers and signals are real, and so is all code of the
 * throttle; what stands in for QEMU is a guest that counts or waits, and a
 * lock as BQL, which counts, too.  A vCPU that waits does so within the guest,
 * as under KVM.
 */

#ifndef CPU_THROTTLE_VCPUS_H
#define CPU_THROTTLE_VCPUS_H

#include "hw/core/cpu.h"
#include "qemu/thread.h"
#include "migration/cpu-throttle-vcpu.h"

/* A guest, and the thread that runs it */
typedef struct Vcpu {
    CPUState *cpu;
    uint64_t work;     /* what it has counted; for qatomic_read() */
    uint64_t exits;    /* how often it has left the guest, likewise */
    bool waits;        /* for an event that never comes; counts nothing */
    bool leaves;       /* the guest, each time that it has counted */
} Vcpu;

extern Vcpu *vcpus;
extern int vcpu_count;

/* By which timer the slices end; KICK needs a main loop, see below. */
extern CpuThrottleTimerKind vcpus_timer_kind;

/*
 * For qatomic_set(), on Linux: a thread that has set a timer of the host goes
 * on only when that has expired, as if the host had run something else.
 */
extern bool vcpus_lag;

/* Where not NULL, what a thread calls in place of cpu_throttle_vcpu(). */
extern void (*vcpus_throttle)(CPUState *cpu);

/* How often vCPU threads have taken the lock, and for how long they had it */
typedef struct BqlUse {
    uint64_t acquisitions;
    uint64_t held_ns;
} BqlUse;

extern QemuMutex vcpus_bql;
void vcpus_bql_lock(void);
void vcpus_bql_unlock(void);
void vcpus_bql_wait(QemuCond *cond, int timeout_ms);
BqlUse vcpus_bql_use(void); /* since the program began */

/* Before all else */
void vcpus_init(void);

/*
 * The rest needs the lock; vcpus_plug_all() takes it, vcpus_unplug_all()
 * releases it.
 */
void vcpus_plug_all(int count, bool waits);
void vcpus_unplug_all(void);

void vcpus_plug(int i);
/* Work that is queued for it is done, even though it is going away. */
void vcpus_unplug(int i);

void vcpus_stop(int i);
void vcpus_stop_all(void);
void vcpus_cont_all(void);

/* Others have the lock for a while, and what the main loop does is done. */
void vcpus_pause_us(int32_t us);

/* The main loop, for so long: timers are run when they are due. */
void vcpus_main_loop(int64_t ns);

#endif /* CPU_THROTTLE_VCPUS_H */
