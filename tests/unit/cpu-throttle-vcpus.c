/*
 * vCPU threads without a machine, for the CPU throttle's tests
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <dlfcn.h>
#include <poll.h>
#include "exec/cpu-common.h"
#include "qemu/event_notifier.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "cpu-throttle-vcpus.h"

Vcpu *vcpus;
int vcpu_count;
CpuThrottleTimerKind vcpus_timer_kind;
bool vcpus_lag;
void (*vcpus_throttle)(CPUState *cpu);
QemuMutex vcpus_bql;

static QemuCond changed; /* a vCPU was created or has stopped */
static EventNotifier timers_changed;

/* With the lock */
static BqlUse bql_use;
static int64_t bql_taken_ns;

static __thread bool is_vcpu_thread;

/* ---- the lock ---- */

static void bql_taken(void)
{
    if (is_vcpu_thread) {
        bql_use.acquisitions++;
        bql_taken_ns = get_clock();
    }
}

static void bql_released(void)
{
    if (is_vcpu_thread) {
        bql_use.held_ns += get_clock() - bql_taken_ns;
    }
}

void vcpus_bql_lock(void)
{
    qemu_mutex_lock(&vcpus_bql);
    bql_taken();
}

void vcpus_bql_unlock(void)
{
    bql_released();
    qemu_mutex_unlock(&vcpus_bql);
}

void vcpus_bql_wait(QemuCond *cond, int timeout_ms)
{
    bql_released();
    if (timeout_ms < 0) {
        qemu_cond_wait(cond, &vcpus_bql);
    } else {
        qemu_cond_timedwait(cond, &vcpus_bql, timeout_ms);
    }
    bql_taken();
}

BqlUse vcpus_bql_use(void)
{
    return bql_use;
}

/* ---- QEMU, as far as the throttle sees it ---- */

CpuThrottleTimerKind cpu_throttle_timer_kind(CPUState *cpu)
{
    return vcpus_timer_kind;
}

#ifdef CONFIG_LINUX
/* The C library's, of which the one below is in front */
static int (*libc_timer_settime)(timer_t timer, int flags,
                                 const struct itimerspec *when,
                                 struct itimerspec *before);

/* In a signal's handler, too.  It spins, as the timer may be of CPU time. */
int timer_settime(timer_t timer, int flags, const struct itimerspec *when,
                  struct itimerspec *before)
{
    int ret = libc_timer_settime(timer, flags, when, before);
    struct itimerspec left = *when;

    while (qatomic_read(&vcpus_lag) && !timer_gettime(timer, &left) &&
           (left.it_value.tv_sec || left.it_value.tv_nsec)) {
        /* not yet */
    }
    return ret;
}
#endif

void cpu_throttle_wait(CPUState *cpu, int64_t until_ns)
{
    /* Nobody waits for a vCPU that goes to sleep */
    g_assert_true(QSIMPLEQ_EMPTY(&cpu->work_list));
    vcpus_bql_unlock();
    cpu_throttle_sleep(cpu, until_ns);
    vcpus_bql_lock();
}

void cpu_exit(CPUState *cpu)
{
    qatomic_set(&cpu->exit_request, 1);
}

/* The signal gets it out of poll(); its handler may come before that. */
void qemu_cpu_kick(CPUState *cpu)
{
    if (!cpu_throttle_kick(cpu)) {
        qemu_cond_broadcast(cpu->halt_cond);
    }
    cpu_exit(cpu);
    pthread_kill(cpu->thread->thread, SIGUSR2);
}

bool qemu_cpu_is_self(CPUState *cpu)
{
    return qemu_thread_is_self(cpu->thread);
}

static void kicked(int signum)
{
}

/* ---- a vCPU's thread ---- */

/*
 * As KVM_RUN does: a signal that comes between the look at exit_request and the
 * wait is not lost.
 */
static void wait_in_guest(CPUState *cpu, const sigset_t *signals)
{
    sigset_t before;

    pthread_sigmask(SIG_BLOCK, signals, &before);
    if (!qatomic_read(&cpu->exit_request)) {
        ppoll(NULL, 0, NULL, &before);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void run_guest(Vcpu *vcpu, const sigset_t *signals)
{
    vcpus_bql_unlock();
    while (!qatomic_read(&vcpu->cpu->exit_request)) {
        if (qatomic_read(&vcpu->waits)) {
            wait_in_guest(vcpu->cpu, signals);
        } else {
            qatomic_set(&vcpu->work, vcpu->work + 1);
        }
        if (qatomic_read(&vcpu->leaves)) {
            break;
        }
    }
    qatomic_set(&vcpu->exits, vcpu->exits + 1);
    vcpus_bql_lock();
    qatomic_set(&vcpu->cpu->exit_request, 0);
}

static void *vcpu_thread(void *opaque)
{
    Vcpu *vcpu = opaque;
    CPUState *cpu = vcpu->cpu;
    sigset_t signals;

    is_vcpu_thread = true;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    sigaddset(&signals, SIG_IPI);
    vcpus_bql_lock();
    qemu_thread_get_self(cpu->thread);
    cpu->thread_id = qemu_get_thread_id();
    cpu->created = true;
    qemu_cond_broadcast(&changed);
    while (!cpu->unplug) {
        if (!cpu->stopped) {
            run_guest(vcpu, &signals);
        }
        while (cpu->stopped && !cpu->unplug) {
            vcpus_bql_wait(cpu->halt_cond, -1);
        }
        (vcpus_throttle ?: cpu_throttle_vcpu)(cpu);
        if (cpu->stop) {
            cpu->stop = false;
            cpu->stopped = true;
            qemu_cond_broadcast(&changed);
        }
        process_queued_cpu_work(cpu);
    }
    cpu_throttle_vcpu_gone();
    vcpus_bql_unlock();
    return NULL;
}

/* ---- what a user does; all of it with the lock ---- */

void vcpus_plug(int i)
{
    CPUState *cpu = g_new0(CPUState, 1);

    cpu->cpu_index = i;
    cpu->stopped = true;
    cpu->thread = g_new0(QemuThread, 1);
    cpu->halt_cond = g_new0(QemuCond, 1);
    qemu_cond_init(cpu->halt_cond);
    qemu_mutex_init(&cpu->work_mutex);
    QSIMPLEQ_INIT(&cpu->work_list);
    vcpus[i].cpu = cpu;
    cpu_list_add(cpu);
    qemu_thread_create(cpu->thread, "vcpu", vcpu_thread, &vcpus[i],
                       QEMU_THREAD_JOINABLE);
    while (!cpu->created) {
        vcpus_bql_wait(&changed, -1);
    }
    cpu->stopped = false;
    qemu_cpu_kick(cpu);
}

static void count_work(CPUState *cpu, run_on_cpu_data data)
{
    ++*(int *)data.host_ptr;
}

void vcpus_unplug(int i)
{
    CPUState *cpu = vcpus[i].cpu;
    int done = 0;

    async_run_on_cpu(cpu, count_work, RUN_ON_CPU_HOST_PTR(&done));
    qatomic_set(&cpu->stop, true);
    cpu->unplug = true;
    qemu_cpu_kick(cpu);
    vcpus_bql_unlock();
    qemu_thread_join(cpu->thread);
    vcpus_bql_lock();
    g_assert_cmpint(done, ==, 1);
    cpu_list_remove(cpu);
    qemu_mutex_destroy(&cpu->work_mutex);
    qemu_cond_destroy(cpu->halt_cond);
    g_free(cpu->halt_cond);
    g_free(cpu->thread);
    g_free(cpu);
}

void vcpus_stop(int i)
{
    qatomic_set(&vcpus[i].cpu->stop, true);
    qemu_cpu_kick(vcpus[i].cpu);
    while (!vcpus[i].cpu->stopped) {
        vcpus_bql_wait(&changed, -1);
    }
}

void vcpus_stop_all(void)
{
    for (int i = 0; i < vcpu_count; i++) {
        vcpus_stop(i);
    }
}

void vcpus_cont_all(void)
{
    for (int i = 0; i < vcpu_count; i++) {
        vcpus[i].cpu->stopped = false;
        qemu_cpu_kick(vcpus[i].cpu);
    }
}

void vcpus_pause_us(int32_t us)
{
    vcpus_bql_unlock();
    g_usleep(us);
    vcpus_bql_lock();
    qemu_clock_run_all_timers();
}

void vcpus_main_loop(int64_t ns)
{
    int64_t end_ns = get_clock() + ns;
    GPollFD fd = { .fd = event_notifier_get_fd(&timers_changed),
                   .events = G_IO_IN };

    while (ns > 0) {
        int64_t due_ns = qemu_clock_deadline_ns_all(QEMU_CLOCK_REALTIME,
                                                    QEMU_TIMER_ATTR_ALL);

        vcpus_bql_unlock();
        qemu_poll_ns(&fd, 1, qemu_soonest_timeout(due_ns, ns));
        vcpus_bql_lock();
        event_notifier_test_and_clear(&timers_changed);
        qemu_clock_run_all_timers();
        ns = end_ns - get_clock();
    }
}

void vcpus_plug_all(int count, bool waits)
{
    vcpu_count = count;
    vcpus = g_renew(Vcpu, vcpus, count);
    memset(vcpus, 0, count * sizeof(Vcpu));
    vcpus_bql_lock();
    for (int i = 0; i < count; i++) {
        vcpus[i].waits = waits;
        vcpus_plug(i);
    }
}

void vcpus_unplug_all(void)
{
    cpu_throttle_set_permille(0);
    for (int i = 0; i < vcpu_count; i++) {
        vcpus_unplug(i);
    }
    vcpus_bql_unlock();
}

static void notify(void *opaque, QEMUClockType type)
{
    event_notifier_set(&timers_changed);
}

void vcpus_init(void)
{
    struct sigaction action = { .sa_handler = kicked };

#ifdef CONFIG_LINUX
    libc_timer_settime = dlsym(RTLD_NEXT, "timer_settime");
#endif
    sigaction(SIGUSR2, &action, NULL);
    event_notifier_init(&timers_changed, false);
    init_clocks(notify);
    qemu_init_cpu_list();
    qemu_mutex_init(&vcpus_bql);
    qemu_cond_init(&changed);
}
