/*
 * CPU throttle: what it takes of the big lock
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vCPU that is held back leaves the guest for it, which takes the BQL, and
 * takes it again when it wakes.  With hundreds of vCPUs that adds up, and the
 * main loop has to do with what they leave of it.
 *
 * The threads, timers and signals are real, and so is the code of the throttle.
 * It is measured next to what it replaces:
 *
 *     stock    the main loop's timer asks every vCPU to sleep, all at once
 *     signal   the throttle, where the vCPU's thread has timers of its own
 *     kick     the throttle, where only the main loop can kick it
 *
 * A busy guest counts, an idle one waits inside of the guest, as under KVM.
 * What is printed is the vCPUs' part, without that of the main loop.  Busy
 * vCPUs are expected to take the lock no more often than stock up to 80 %, and
 * at most five times as often at 99 %; 512 idle ones less than 5000 times a
 * second; and it ought to be held for less than 5 % of the time.
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "migration/cpu-throttle-slice.h"
#include "../unit/cpu-throttle-vcpus.h"

#define PERMILLE_PER_PCT 10

/* What each throttle does at first is over after so many periods of stock. */
#define SETTLE_PERIODS 1.5

/* And after this: by then, idle vCPUs are known to be so. */
#define SETTLE_MIN_NS (250 * SCALE_MS)

/* ---- stock ---- */

/* It lets vCPUs run for so long, and then sleep. */
#define STOCK_SLICE_NS (10 * SCALE_MS)

static struct {
    int pct;         /* 0: off */
    QEMUTimer *timer;
    bool *scheduled; /* by vCPU: it was asked, and has not slept yet */
} stock;

static int64_t stock_period_ns(int pct)
{
    return STOCK_SLICE_NS * 100LL / (100 - pct);
}

/* A wait of less than 1 ms is one without the condition, on which it cannot. */
static void stock_wait(CPUState *cpu, int64_t left_ns)
{
    if (left_ns > SCALE_MS) {
        vcpus_bql_wait(cpu->halt_cond, left_ns / SCALE_MS);
    } else {
        vcpus_bql_unlock();
        g_usleep(left_ns / SCALE_US);
        vcpus_bql_lock();
    }
}

/* In the vCPU's thread: nothing else is done before it has slept enough. */
static void stock_sleep(CPUState *cpu, run_on_cpu_data data)
{
    int64_t left_ns = stock_period_ns(stock.pct) - STOCK_SLICE_NS + 1;
    int64_t end_ns = get_clock() + left_ns;

    while (stock.pct && !cpu->stop && left_ns > 0) {
        stock_wait(cpu, left_ns);
        left_ns = end_ns - get_clock();
    }
    qatomic_set(&stock.scheduled[cpu->cpu_index], false);
}

static void stock_tick(void *opaque)
{
    for (int i = 0; i < vcpu_count; i++) {
        if (!qatomic_xchg(&stock.scheduled[i], true)) {
            async_run_on_cpu(vcpus[i].cpu, stock_sleep, RUN_ON_CPU_NULL);
        }
    }
    timer_mod(stock.timer, get_clock() + stock_period_ns(stock.pct));
}

static void stock_start(int pct)
{
    stock.pct = pct;
    stock.scheduled = g_new0(bool, vcpu_count);
    stock.timer = timer_new_ns(QEMU_CLOCK_REALTIME, stock_tick, NULL);
    stock_tick(NULL);
}

static void stock_stop(void)
{
    stock.pct = 0;
    timer_free(stock.timer);
    stock.timer = NULL;
}

/* In place of cpu_throttle_vcpu(); what is asked for is queued work. */
static void stock_vcpu(CPUState *cpu)
{
}

/* ---- the throttle ---- */

static void this_start(int pct)
{
    cpu_throttle_set_permille(pct * PERMILLE_PER_PCT);
}

static void this_stop(void)
{
    cpu_throttle_set_permille(0);
}

static int64_t this_period_ns(int pct)
{
    return cpu_throttle_rhythm(pct * PERMILLE_PER_PCT, 0).period_ns;
}

typedef struct Which {
    const char *name;
    CpuThrottleTimerKind kind;
    void (*vcpu)(CPUState *cpu);
    void (*start)(int pct);
    void (*stop)(void);
    int64_t (*period_ns)(int pct);
} Which;

/* The first is what the others are compared with. */
static const Which whiches[] = {
    { "stock", CPU_THROTTLE_TIMER_KICK, stock_vcpu,
      stock_start, stock_stop, stock_period_ns },
    { "signal", CPU_THROTTLE_TIMER_EXIT, NULL,
      this_start, this_stop, this_period_ns },
    { "kick", CPU_THROTTLE_TIMER_KICK, NULL,
      this_start, this_stop, this_period_ns },
};

/* ---- measuring ---- */

typedef struct Figures {
    int64_t elapsed_ns;
    BqlUse use;
    int64_t executed_ns; /* by all vCPUs */
} Figures;

static Figures figures_now(void)
{
    Figures now = { .elapsed_ns = get_clock(), .use = vcpus_bql_use() };
    int64_t clock_ns;

    for (int i = 0; i < vcpu_count; i++) {
        if (cpu_throttle_vcpu_clock_ns(vcpus[i].cpu, &clock_ns)) {
            now.executed_ns += clock_ns;
        }
    }
    return now;
}

static Figures figures_since(Figures before)
{
    Figures now = figures_now();

    now.elapsed_ns -= before.elapsed_ns;
    now.use.acquisitions -= before.use.acquisitions;
    now.use.held_ns -= before.use.held_ns;
    now.executed_ns -= before.executed_ns;
    return now;
}

static void all_wait(bool waits)
{
    for (int i = 0; i < vcpu_count; i++) {
        qatomic_set(&vcpus[i].waits, waits);
        qemu_cpu_kick(vcpus[i].cpu);
    }
}

/* New threads each time; they are created, and end, while they are idle. */
static Figures measure(const Which *which, int count, bool idle, int pct,
                       int64_t ns)
{
    Figures figures;

    vcpus_timer_kind = which->kind;
    vcpus_throttle = which->vcpu;
    vcpus_plug_all(count, true);
    all_wait(idle);
    which->start(pct);
    vcpus_main_loop(MAX(SETTLE_MIN_NS, SETTLE_PERIODS * stock_period_ns(pct)));
    figures = figures_now();
    vcpus_main_loop(ns);
    figures = figures_since(figures);
    which->stop();
    all_wait(true);
    vcpus_unplug_all();
    g_clear_pointer(&stock.scheduled, g_free);
    return figures;
}

/* ---- the table ---- */

static void print_head(void)
{
    printf("vCPUs  guest  throttle  which   taken/s  x stock  per vCPU and s  "
           "and period  held %%  executed %%\n");
}

static double rate(const Figures *figures)
{
    return (double)figures->use.acquisitions * NANOSECONDS_PER_SECOND /
           figures->elapsed_ns;
}

static void print_row(const Which *which, int count, bool idle, int pct,
                      const Figures *figures, double stock_rate)
{
    double per_vcpu = rate(figures) / count;

    printf("%5d  %-5s  %6d %%  %-6s %8.1f  %7.2f  %14.2f  %10.2f  %6.3f  "
           "%10.2f\n", count, idle ? "idle" : "busy", pct, which->name,
           rate(figures), stock_rate ? rate(figures) / stock_rate : 0, per_vcpu,
           per_vcpu * which->period_ns(pct) / NANOSECONDS_PER_SECOND,
           100.0 * figures->use.held_ns / figures->elapsed_ns,
           100.0 * figures->executed_ns / figures->elapsed_ns / count);
    fflush(stdout);
}

static void bench_throttle(int count, bool idle, int pct, int64_t ns)
{
    double stock_rate = 0;

    for (int i = 0; i < ARRAY_SIZE(whiches); i++) {
        Figures figures = measure(&whiches[i], count, idle, pct, ns);

        if (i == 0) {
            stock_rate = rate(&figures);
        }
        print_row(&whiches[i], count, idle, pct, &figures, stock_rate);
    }
}

/* ---- the command line ---- */

/* At 99 %, this is four periods of stock. */
static double seconds = 4;
static char *vcpus_list = (char *)"1,64,256,512";
static char *throttles_list = (char *)"50,80,90,95,99";

static const GOptionEntry options[] = {
    { "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &seconds,
      "how long each is measured (4)", "S" },
    { "vcpus", 0, 0, G_OPTION_ARG_STRING, &vcpus_list,
      "how many (1,64,256,512)", "N,..." },
    { "throttles", 0, 0, G_OPTION_ARG_STRING, &throttles_list,
      "in whole percent (50,80,90,95,99)", "PCT,..." },
    { NULL }
};

/* Numbers from @min to @max, ended by 0. */
static int *parse_list(const char *list, int min, int max)
{
    g_auto(GStrv) words = g_strsplit(list, ",", -1);
    int *numbers = g_new0(int, g_strv_length(words) + 1);

    for (int i = 0; words[i]; i++) {
        numbers[i] = atoi(words[i]);
        if (numbers[i] < min || numbers[i] > max) {
            fprintf(stderr, "not from %d to %d: %s\n", min, max, words[i]);
            exit(EXIT_FAILURE);
        }
    }
    return numbers;
}

static void parse_options(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_set_summary(context,
                                 "What the CPU throttle takes of the big lock");
    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    g_autofree int *counts = NULL;
    g_autofree int *pcts = NULL;

    parse_options(argc, argv);
    counts = parse_list(vcpus_list, 1, 4096);
    pcts = parse_list(throttles_list, 1, 99);
    vcpus_init();
    print_head();
    for (int *count = counts; *count; count++) {
        for (int idle = 0; idle <= 1; idle++) {
            for (int *pct = pcts; *pct; pct++) {
                bench_throttle(*count, idle, *pct,
                               seconds * NANOSECONDS_PER_SECOND);
            }
        }
    }
    return 0;
}
