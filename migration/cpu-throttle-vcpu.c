/*
 * CPU throttle: the vCPUs under it
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "migration/cpu-throttle-vcpu.h"
#include "migration/cpu-throttle-slice.h"

#define PERMILLE_MAX 999

/* A vCPU that executes less than this part of the time is idle. */
#define IDLE_DIVISOR 8

/* Its timer was not what ended a slice that lasted longer by this factor. */
#define LATE_FACTOR 2

#if defined(CONFIG_POSIX) && defined(_POSIX_THREAD_CPUTIME) && \
    _POSIX_THREAD_CPUTIME >= 0
#define HAVE_THREAD_CLOCK 1
#endif

static struct {
    unsigned permille;
    unsigned generation;   /* another one after each change, and never 0 */
    CpuThrottleRhythm rhythm;
    unsigned vcpus;        /* that are throttled, each by itself */
    uint64_t held_ns;      /* sleep, sum over the vCPUs / vcpus */
} throttle;

/*
 * A vCPU, or all of them where one thread runs all.  It belongs to the thread,
 * whose signal handler reads it while it is @armed.  Times are of
 * QEMU_CLOCK_REALTIME.
 */
typedef struct VcpuAccount {
    unsigned generation;      /* the throttle that this is of; 0: of none */
    CpuThrottleRhythm rhythm;
    CpuThrottleSlice slice;
    int64_t charged_ns;       /* when it was charged last */
    int64_t charged_clock_ns; /* its CPU clock then */
    int64_t due_ns;           /* when its slice is over, if it runs */
    int64_t look_ns;          /* when the timer comes, if it runs */
    int64_t slept_ns;         /* in all */
    bool idle;                /* in the guest; its executed time is timed */
    bool armed;
    bool told;                /* cpu_throttle_vcpu_expired() is called */
    bool over;                /* ... and has found that its slice is */
} VcpuAccount;

static __thread VcpuAccount self;

static bool shares_thread(CPUState *cpu)
{
    CPUState *other = cpu == first_cpu ? CPU_NEXT(cpu) : first_cpu;

    return other && other->thread == cpu->thread;
}

/* Where one thread runs all vCPUs, the first of them stands for them all. */
static bool is_represented(CPUState *cpu)
{
    return cpu != first_cpu && shares_thread(cpu);
}

bool cpu_throttle_vcpu_clock_ns(CPUState *cpu, int64_t *clock_ns)
{
#ifdef HAVE_THREAD_CLOCK
    clockid_t clock;
    struct timespec ts;

    if (cpu->created &&
        !pthread_getcpuclockid(cpu->thread->thread, &clock) &&
        !clock_gettime(clock, &ts)) {
        *clock_ns = ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
        return true;
    }
#endif
    return false;
}

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

/* Without a CPU clock, all the time that it did not sleep counts. */
static int64_t own_clock_ns(void)
{
#ifdef HAVE_THREAD_CLOCK
    struct timespec ts;

    if (!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts)) {
        return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
    }
#endif
    return now_ns() - self.slept_ns;
}

/* ---- the account ---- */

/*
 * One that was idle may be so no more: whoever is here is about to run.  A vCPU
 * that spins until another acknowledges an IPI is here all the time, with the
 * BQL: reading a clock each time took a fifth of its work.
 */
static bool account_is_due(void)
{
    return self.idle || self.over ||
           (!self.told && now_ns() >= self.due_ns);
}

static void account_start(void)
{
    self.generation = throttle.generation;
    self.rhythm = throttle.rhythm;
    self.charged_ns = now_ns();
    self.charged_clock_ns = own_clock_ns();
    self.idle = false;
    cpu_throttle_slice_start(&self.slice, &self.rhythm, self.charged_ns);
}

/*
 * Does it wait for an event inside of the guest?  When the timer has found it
 * so, and not when it slept, or waited where no timer looks at it.
 */
static bool looks_idle(int64_t executed_ns, int64_t now)
{
    int64_t elapsed_ns = now - self.charged_ns;
    int64_t planned_ns = self.look_ns - self.charged_ns;

    return executed_ns < elapsed_ns / IDLE_DIVISOR &&
           elapsed_ns < planned_ns * LATE_FACTOR;
}

static void account_charge(void)
{
    int64_t now = now_ns();
    int64_t clock_ns = own_clock_ns();
    int64_t executed_ns = clock_ns - self.charged_clock_ns;

    self.idle = looks_idle(executed_ns, now);
    self.charged_ns = now;
    self.charged_clock_ns = clock_ns;
    cpu_throttle_slice_charge(&self.slice, &self.rhythm, executed_ns, now);
}

static int64_t account_sleep_ns(void)
{
    return cpu_throttle_slice_sleep_ns(&self.slice, &self.rhythm,
                                       self.charged_ns);
}

/* It runs on, until its slice is over. */
static void account_arm(CPUState *cpu)
{
    int64_t run_ns = cpu_throttle_slice_run_ns(&self.slice, &self.rhythm,
                                               self.charged_ns);

    /* First, as its timer may come while this is not yet @armed */
    self.over = false;
    barrier();
    self.due_ns = self.charged_ns + run_ns;
    self.look_ns = self.charged_ns +
                   cpu_throttle_timer_set(cpu, run_ns, self.idle);
    self.told = cpu_throttle_timer_tells();
}

/*
 * For the vCPU's thread, wherever it is: so while the account is not @armed,
 * or of a throttle that is no more, this is left to cpu_throttle_vcpu().
 */
bool cpu_throttle_vcpu_expired(CPUState *cpu)
{
    self.over = true;
    if (!self.armed || self.generation != qatomic_read(&throttle.generation)) {
        return true;
    }
    account_charge();
    if (account_sleep_ns()) {
        return true;
    }
    account_arm(cpu);
    return false;
}

/* ---- the vCPU's thread ---- */

/* Whoever asks a vCPU for something must not have to wait until it wakes. */
static void do_work(CPUState *cpu)
{
    CPUState *other;

    process_queued_cpu_work(cpu);
    if (shares_thread(cpu)) {
        CPU_FOREACH(other) {
            if (is_represented(other)) {
                process_queued_cpu_work(other);
            }
        }
    }
}

/* With the mutex.  Who stops the vCPU clears the flag, see wake(). */
static bool sleeps_on(CPUState *cpu)
{
    return qatomic_read(&cpu->throttle_sleeps) &&
           QSIMPLEQ_EMPTY(&cpu->work_list);
}

/*
 * A condition is waited for in whole milliseconds, and by another clock, so
 * that a little may be left.  Another wait would let this vCPU begin its slice
 * 1 ms after the others, which is a fifth of one at 90 %.
 */
void cpu_throttle_sleep(CPUState *cpu, int64_t until_ns)
{
    int64_t left_ns = until_ns - now_ns();

    qemu_mutex_lock(&cpu->work_mutex);
    while (left_ns >= SCALE_MS && sleeps_on(cpu)) {
        qemu_cond_timedwait(cpu->halt_cond, &cpu->work_mutex,
                            left_ns / SCALE_MS);
        left_ns = until_ns - now_ns();
    }
    if (!sleeps_on(cpu)) {
        left_ns = 0;
    }
    qemu_mutex_unlock(&cpu->work_mutex);
    if (left_ns > 0) {
        g_usleep(DIV_ROUND_UP(left_ns, SCALE_US));
    }
}

static void sleep_once(CPUState *cpu, int64_t until_ns)
{
    int64_t start_ns = now_ns();
    int64_t slept_ns;

    qatomic_set(&cpu->throttle_sleeps, true);
    cpu_throttle_wait(cpu, until_ns);
    qatomic_set(&cpu->throttle_sleeps, false);
    slept_ns = now_ns() - start_ns;
    self.slept_ns += slept_ns;
    throttle.held_ns += slept_ns / throttle.vcpus;
}

/* Sleep for as long as the account says, and until the next vCPU stop. */
static void sleep_as_owed(CPUState *cpu)
{
    int64_t sleep_ns;

    /* The kick that announced it may have been what ended the slice */
    do_work(cpu);
    while (throttle.permille && !cpu->stop) {
        if (self.generation != throttle.generation) {
            account_start();
        }
        sleep_ns = account_sleep_ns();
        if (!sleep_ns) {
            break;
        }
        sleep_once(cpu, self.charged_ns + sleep_ns);
        do_work(cpu);
        account_charge();
    }
}

void cpu_throttle_vcpu(CPUState *cpu)
{
    bool current = self.generation == throttle.generation;

    if ((!throttle.permille && !self.generation) ||
        (current && throttle.permille && !account_is_due()) ||
        cpu->stopped || is_represented(cpu)) {
        return;
    }
    self.armed = false;
    barrier();
    if (current) {
        account_charge();
    }
    sleep_as_owed(cpu);
    if (!throttle.permille) {
        cpu_throttle_vcpu_gone();
    } else if (self.generation == throttle.generation) {
        account_arm(cpu);
        barrier();
        self.armed = true;
    }
}

void cpu_throttle_vcpu_gone(void)
{
    self.armed = false;
    barrier();
    cpu_throttle_timer_drop();
    self.generation = 0;
}

/* With the mutex: one that is about to wait must not miss it. */
static void wake(CPUState *sleeper)
{
    qemu_mutex_lock(&sleeper->work_mutex);
    qatomic_set(&sleeper->throttle_sleeps, false);
    qemu_cond_broadcast(sleeper->halt_cond);
    qemu_mutex_unlock(&sleeper->work_mutex);
}

bool cpu_throttle_kick(CPUState *cpu)
{
    CPUState *sleeper = is_represented(cpu) ? first_cpu : cpu;

    if (!qatomic_read(&sleeper->throttle_sleeps)) {
        return false;
    }
    if (cpu->stop || !QSIMPLEQ_EMPTY_ATOMIC(&cpu->work_list)) {
        wake(sleeper);
    }
    return true;
}

/* ---- the throttle ---- */

/* Get them out of the guest, or out of their sleep. */
static void kick_all(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        /* The thread of one that is being unplugged may be gone already */
        if (cpu->created) {
            wake(cpu);
            qemu_cpu_kick(cpu);
        }
    }
}

static unsigned count_throttled(void)
{
    unsigned vcpus = 0;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        vcpus += !is_represented(cpu);
    }
    return MAX(vcpus, 1);
}

void cpu_throttle_set_permille(unsigned permille)
{
    permille = MIN(permille, PERMILLE_MAX);
    if (permille == throttle.permille) {
        return;
    }
    throttle.vcpus = count_throttled();
    if (permille) {
        throttle.rhythm = cpu_throttle_rhythm(permille, now_ns());
    }
    qatomic_set(&throttle.generation, MAX(throttle.generation + 1, 1));
    qatomic_set(&throttle.permille, permille);
    kick_all();
}

unsigned cpu_throttle_get_permille(void)
{
    return qatomic_read(&throttle.permille);
}

uint64_t cpu_throttle_get_held_ns(void)
{
    return throttle.held_ns;
}

void cpu_throttle_reset_held(void)
{
    throttle.held_ns = 0;
}
