/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: a multiboot program that dirties memory
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 *   qemu-system-x86_64 -kernel workload.elf -append "ws=256 rate=200" ...
 *
 * Keys of the command line (sizes in MiB, rates in 10^6 bytes of pages per s,
 * where a write of one word counts as its page of 4096 bytes):
 *
 *   base=16         where its memory begins
 *   ws=64           working set: what it goes on writing
 *   ballast=0       more memory behind it, written once at boot
 *   fill=1          write every page once at boot; 0: leave them zero
 *   seed=1          of the random choices
 *   cpus=1          up to 8, as many as the machine has or fewer: the boot CPU
 *                   does the work, the others are always busy, see smp.h
 *   relay=0         1: of the others, one at a time gets something done, and
 *                   hands over to the next; the rest spin for their turn
 *   rate=max        N, max (also 0), calm (1), idle (no writes after boot)
 *   cpu=0           percent of a CPU that this rate costs; 0: what it costs
 *   mode=open       open: work arrives at the rate, and is caught up with;
 *                   closed: every 10 ms' worth of work is followed by a pause
 *                   that does not depend on how long the work took
 *   backlog=1000    ms' worth of work that waits in the open loop; what
 *                   arrives beyond it is dropped and counted
 *   pattern=sweep   sweep, random, hotcold
 *   hot=10          hotcold: hot part of the working set, percent
 *   share=90        hotcold: part of the writes that go there, percent
 *   report=100      ms between reports
 *   phases=5:calm,20:max    from second 5 on rate calm, from second 20 on max
 *
 * The serial port (COM1) says, one line each:
 *
 *   ready pages=P active=A speed=S ...      S pages/s unhindered
 *   work=W t=T idle=I drop=D                every report interval, and for the
 *                                           command "stat": pages written, ms
 *                                           of guest time, ms in hlt, pages of
 *                                           work dropped
 *   verify pages=P bad=B stale=S table=ok|bad seal=ok|bad work=W t=T [first=N]
 *                                           bad: pages that are wrong now;
 *                                           stale: that were when overwritten
 *   ok                                      a command was taken
 *   error TEXT                              or not; at boot: and it halts
 *
 * RAM says, at 0x200000 + 64 * CPU, how many pages each CPU has written: a 32
 * bit count that whoever maps the guest's memory can watch, see progress.h.
 *
 * It takes lines: "verify", "stat", "lose data|table|pair|work" (damage a
 * page; for tests of the verification), or keys from rate to report above.
 */

#include "config.h"
#include "pages.h"
#include "platform.h"
#include "smp.h"
#include "text.h"

#define MULTIBOOT_LOADED    0x2badb002u
#define MULTIBOOT_MEMORY    0x1u
#define MULTIBOOT_CMDLINE   0x4u

#define MIB                 (1024u * 1024u)
#define TABLE_ADDRESS       (4u * MIB)  /* up to base= at 8 MiB or above */
#define PAGES_PER_MIB       (MIB / PAGE_BYTES)

#define BATCH               256u        /* pages between looks at the clock */
#define VERIFY_BATCH        2048u       /* pages checked between polls */
#define CLOSED_UNIT_MS      10u
#define NAP_MS              2u          /* open loop: shortest wait for work */
#define CALIBRATE_PAGES     4096u
#define CALIBRATE_LOOPS     1000000u
#define CALIBRATE_RUNS      4
#define FRACTION_BITS       8           /* of ticks, in costs */

typedef struct Workload {
    Config config;
    Pages pages;

    /* calibration, ticks << FRACTION_BITS */
    uint32_t page_cost;                 /* of one write */
    uint32_t burn_cost;                 /* of CALIBRATE_LOOPS */

    /* what config means in ticks and pages */
    bool unlimited;
    uint32_t pages_per_s;
    uint32_t unit_pages;                /* closed loop */
    uint64_t pause_ticks;               /* closed loop: after each unit */

    uint64_t last_ticks;                /* when credit was last given */
    uint64_t credit;                    /* open: pages * CLOCK_HZ due */
    uint32_t unit_left;                 /* closed: pages until the pause */
    uint64_t pause_end;                 /* closed */

    uint64_t start_ticks, next_report, idle_ticks;
    uint64_t dropped;                   /* pages */
    uint32_t phase;                     /* next one to begin */
    bool verifying;
    PagesVerdict verdict;
} Workload;

static Workload workload;

static void __attribute__((noreturn)) die(const char *what, const char *detail)
{
    Text text;

    text_start(&text, "error ");
    text_add(&text, what);
    text_add(&text, detail);
    serial_put_line(text.line);
    serial_flush();
    for (;;) {
        asm volatile("cli; hlt");
    }
}

static uint32_t now_ms(const Workload *w)
{
    return clock_to_ms(clock_now() - w->start_ticks);
}

/* ---- what was asked for, in pages and ticks ---- */

static void plan_rate(Workload *w)
{
    const Config *c = &w->config;
    uint64_t budget, burn;

    w->unlimited = c->rate_mbps == RATE_MAX && !c->cpu_pct;
    w->pages.burn = 0;
    if (c->rate_mbps == RATE_IDLE) {
        w->pages_per_s = 0;
    } else if (c->rate_mbps == RATE_MAX) {
        w->pages_per_s = udiv64((uint64_t)CLOCK_HZ << FRACTION_BITS,
                                w->page_cost);
        if (c->cpu_pct) {
            w->pages_per_s = udiv64((uint64_t)w->pages_per_s * c->cpu_pct,
                                    100);
        }
    } else {
        w->pages_per_s = udiv64(c->rate_mbps * 1000000ull, PAGE_BYTES);
        budget = udiv64(((uint64_t)CLOCK_HZ << FRACTION_BITS) * c->cpu_pct,
                        100);
        budget = udiv64(budget, w->pages_per_s);
        if (budget > w->page_cost) {
            burn = (budget - w->page_cost) * CALIBRATE_LOOPS;
            w->pages.burn = udiv64(burn, w->burn_cost);
        }
    }
}

/* A closed loop's unit takes unit/rate s in all when nothing hinders it. */
static void plan_closed_loop(Workload *w)
{
    uint64_t period, busy;

    w->unit_pages = udiv64((uint64_t)w->pages_per_s * CLOSED_UNIT_MS, 1000);
    if (!w->unit_pages) {
        w->unit_pages = 1;
    }
    w->pause_ticks = 0;
    if (w->pages_per_s) {
        period = udiv64((uint64_t)w->unit_pages * CLOCK_HZ, w->pages_per_s);
        busy = udiv64((uint64_t)w->pages.burn * w->burn_cost, CALIBRATE_LOOPS);
        busy = ((busy + w->page_cost) * w->unit_pages) >> FRACTION_BITS;
        w->pause_ticks = period > busy ? period - busy : 0;
    }
    w->unit_left = w->unit_pages;
    w->pause_end = 0;
}

static void plan_pages(Workload *w)
{
    const Config *c = &w->config;

    w->pages.pattern = c->pattern;
    w->pages.hot = udiv64((uint64_t)w->pages.active * c->hot_pct, 100);
    w->pages.hot_share = udiv64((uint64_t)UINT32_MAX * c->share_pct, 100);
}

static void plan(Workload *w, uint64_t now)
{
    plan_rate(w);
    plan_closed_loop(w);
    plan_pages(w);
    w->credit = 0;
    w->last_ticks = now;
}

/* ---- boot ---- */

static void read_command_line(Workload *w, char *cursor)
{
    bool started = false;
    char *word;

    while ((word = text_next_word(&cursor))) {
        const char *wrong;
        char *name = word;

        if (!started) {                 /* first comes the file's name */
            started = true;
            continue;
        }
        wrong = config_set(&w->config, word, false);
        if (wrong) {
            Text text;

            text_start(&text, wrong);
            text_add(&text, ": ");
            die(text.line, name);
        }
    }
}

static void set_up_pages(Workload *w, uint32_t mem_upper_kib)
{
    Config *c = &w->config;
    Pages *p = &w->pages;
    uint64_t end_mib = (uint64_t)c->base_mib + c->ws_mib + c->ballast_mib;

    if (end_mib > mem_upper_kib / 1024 + 1) {
        die("base + ws + ballast exceed the memory", "");
    }
    p->base = c->base_mib * MIB;
    p->active = c->ws_mib * PAGES_PER_MIB;
    p->count = p->active + c->ballast_mib * PAGES_PER_MIB;
    p->table = (uint32_t *)TABLE_ADDRESS;
    p->seed = c->seed;
    pages_init(p);
    for (uint32_t i = 0; c->fill && i < p->count; i += PAGES_PER_MIB) {
        pages_fill(p, i, PAGES_PER_MIB);
        clock_now();
    }
}

/* The least of some runs: whatever disturbs makes them longer. */
static void calibrate(Workload *w)
{
    uint64_t start, took, page = UINT64_MAX, burn = UINT64_MAX;

    plan_pages(w);
    for (int i = 0; i < CALIBRATE_RUNS; i++) {
        start = clock_now();
        pages_write(&w->pages, CALIBRATE_PAGES);
        took = clock_now() - start;
        page = took < page ? took : page;

        start = clock_now();
        pages_burn(CALIBRATE_LOOPS);
        took = clock_now() - start;
        burn = took < burn ? took : burn;
    }
    w->page_cost = udiv64(page << FRACTION_BITS, CALIBRATE_PAGES);
    w->burn_cost = burn << FRACTION_BITS;
    w->page_cost = w->page_cost ? w->page_cost : 1;
    w->burn_cost = w->burn_cost ? w->burn_cost : 1;
}

static void report_ready(const Workload *w)
{
    Text text;

    text_start(&text, "ready");
    text_add_field(&text, "pages", w->pages.count);
    text_add_field(&text, "active", w->pages.active);
    text_add_field(&text, "speed", udiv64((uint64_t)CLOCK_HZ << FRACTION_BITS,
                                          w->page_cost));
    text_add_field(&text, "burn", w->pages.burn);
    text_add_field(&text, "boot", clock_to_ms(w->start_ticks));
    serial_put_line(text.line);
}

/* ---- commands and reports ---- */

static void report_work(const Workload *w)
{
    Text text;

    text_start(&text, "work=");
    text_add_number(&text, w->pages.work);
    text_add_field(&text, "t", now_ms(w));
    text_add_field(&text, "idle", clock_to_ms(w->idle_ticks));
    text_add_field(&text, "drop", w->dropped);
    serial_put_line(text.line);
    serial_poll();                      /* now, while t is true */
}

static void report_verdict(const Workload *w)
{
    const PagesVerdict *v = &w->verdict;
    Text text;

    text_start(&text, "verify");
    text_add_field(&text, "pages", v->checked);
    text_add_field(&text, "bad", v->bad);
    text_add_field(&text, "stale", w->pages.stale);
    text_add(&text, v->table_good ? " table=ok" : " table=bad");
    text_add(&text, v->seal_good ? " seal=ok" : " seal=bad");
    text_add_field(&text, "work", w->pages.work);
    text_add_field(&text, "t", now_ms(w));
    if (v->bad) {
        text_add_field(&text, "first", v->first_bad);
    }
    /* Somebody waits for this one, though he may not have read all others. */
    while (!serial_put_line(text.line)) {
        serial_poll();
    }
}

static bool lose(Workload *w, uint64_t now, const char *what)
{
    static const char *const names[] = {
        [LOSS_DATA] = "data",
        [LOSS_TABLE] = "table",
        [LOSS_PAIR] = "pair",
        [LOSS_WORK] = "work",
    };

    for (uint32_t i = 0; what && i <= LOSS_WORK; i++) {
        if (text_equal(what, names[i])) {
            pages_lose(&w->pages, w->pages.active / 2, i);
            /* written again, the page would be whole again */
            w->config.rate_mbps = RATE_IDLE;
            plan(w, now);
            return true;
        }
    }
    return false;
}

static const char *set_keys(Workload *w, uint64_t now, char *word,
                            char *rest)
{
    Config config = w->config;

    for (; word; word = text_next_word(&rest)) {
        const char *wrong = config_set(&config, word, true);

        if (wrong) {
            return wrong;               /* all of the line or nothing */
        }
    }
    w->config = config;
    plan(w, now);
    return NULL;
}

static void run_command(Workload *w, uint64_t now, char *line)
{
    const char *wrong = NULL;
    char *word = text_next_word(&line);
    Text text;

    if (!word) {
        return;
    }
    if (text_equal(word, "stat")) {
        report_work(w);
        return;
    } else if (text_equal(word, "verify")) {
        w->verifying = true;
        w->verdict = (PagesVerdict) { 0 };
    } else if (text_equal(word, "lose")) {
        wrong = lose(w, now, text_next_word(&line)) ? NULL : "bad value";
    } else {
        wrong = set_keys(w, now, word, line);
    }
    text_start(&text, wrong ? "error " : "ok");
    text_add(&text, wrong ? wrong : "");
    serial_put_line(text.line);
}

/* ---- work ---- */

static void begin_phases(Workload *w, uint64_t now)
{
    const Config *c = &w->config;

    while (w->phase < c->phases_count
           && clock_to_ms(now - w->start_ticks)
              >= c->phases[w->phase].at_ms) {
        w->config.rate_mbps = c->phases[w->phase++].rate_mbps;
        plan(w, now);
    }
}

/* Pages of work that are due in the open loop. */
static uint32_t open_loop_due(Workload *w, uint64_t now)
{
    uint64_t limit = udiv64((uint64_t)w->pages_per_s * w->config.backlog_ms,
                            1000);
    uint64_t due;

    w->credit += (now - w->last_ticks) * w->pages_per_s;
    w->last_ticks = now;
    due = udiv64(w->credit, CLOCK_HZ);
    limit = limit > BATCH ? limit : BATCH;
    if (due > limit) {
        w->dropped += due - limit;
        w->credit -= (due - limit) * CLOCK_HZ;
        due = limit;
    }
    due = due < BATCH ? due : BATCH;
    w->credit -= due * CLOCK_HZ;
    return due;
}

/* Pages to write now in the closed loop: 0 during the pause. */
static uint32_t closed_loop_due(Workload *w, uint64_t now)
{
    uint32_t due;

    if (!w->pages_per_s) {
        w->pause_end = now + clock_from_ms(CLOSED_UNIT_MS);
        return 0;
    }
    if (!w->unit_left) {
        w->unit_left = w->unit_pages;
        w->pause_end = now + w->pause_ticks;
    }
    if (now < w->pause_end) {
        return 0;
    }
    due = w->unit_left < BATCH ? w->unit_left : BATCH;
    w->unit_left -= due;
    return due;
}

static void nap(Workload *w, uint64_t now)
{
    uint64_t end = w->next_report;
    uint64_t wake = w->config.closed ? w->pause_end
                                     : now + clock_from_ms(NAP_MS);

    if (!w->pages_per_s) {
        wake = now + clock_from_ms(CLOSED_UNIT_MS);
    }
    end = wake < end ? wake : end;
    if (end > now) {
        clock_sleep(end - now);
        w->idle_ticks += clock_now() - now;
    }
}

static void do_work(Workload *w, uint64_t now)
{
    uint32_t due;

    if (w->unlimited) {
        due = BATCH;
    } else if (w->config.closed) {
        due = closed_loop_due(w, now);
    } else {
        due = open_loop_due(w, now);
    }
    if (due) {
        pages_write(&w->pages, due);
    } else {
        nap(w, now);
    }
}

static void __attribute__((noreturn)) run(Workload *w)
{
    for (;;) {
        uint64_t now = clock_now();
        char *line;

        serial_poll();
        line = serial_get_line();
        if (line) {
            run_command(w, now, line);
        }
        if (now >= w->next_report) {
            report_work(w);
            w->next_report = now + clock_from_ms(w->config.report_ms);
        }
        begin_phases(w, now);
        if (w->verifying) {
            if (pages_verify(&w->pages, VERIFY_BATCH, &w->verdict)) {
                w->verifying = false;
                report_verdict(w);
            }
        } else {
            do_work(w, now);
        }
    }
}

void workload_main(uint32_t magic, const struct multiboot_info *info)
{
    Workload *w = &workload;

    if (!platform_init()) {
        die("no ACPI PM timer", "");
    }
    if (magic != MULTIBOOT_LOADED || !(info->flags & MULTIBOOT_MEMORY)) {
        die("not booted by multiboot", "");
    }
    smp_init();
    config_init(&w->config);
    if (info->flags & MULTIBOOT_CMDLINE) {
        read_command_line(w, info->cmdline);
    }
    set_up_pages(w, info->mem_upper_kib);
    calibrate(w);
    if (!smp_start(w->config.cpus, w->config.relay)) {
        die("cpus: a CPU does not start", "");
    }
    w->start_ticks = clock_now();
    plan(w, w->start_ticks);
    report_ready(w);
    run(w);
}
