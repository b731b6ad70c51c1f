/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: the pages it dirties, and how it knows their contents
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * Every page has a counter of its writes, in a table outside of the pages. A
 * write puts a function of (page, counter) into the first and the last word of
 * the page and into one more whose place depends on both. So:
 *
 *   a stale data page       disagrees with its counter;
 *   a stale table page      disagrees with the data pages, and with the sum
 *                           of a function of (page, counter) over the table;
 *   a stale sum or work     disagrees with the seal in the debug registers,
 *                           which do not travel with RAM.
 *
 * All of it is looked at before it is overwritten too, as otherwise the first
 * milliseconds of work after a migration would mend what it has lost.
 */

#ifndef WORKLOAD_PAGES_H
#define WORKLOAD_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_BYTES          4096u

typedef enum Pattern {
    PATTERN_SWEEP,                      /* one page after the other */
    PATTERN_RANDOM,                     /* uniform */
    PATTERN_HOTCOLD,                    /* two uniform parts */
} Pattern;

typedef struct Pages {
    uint32_t base;                      /* physical address of page 0 */
    uint32_t count;                     /* all pages, those of ballast too */
    uint32_t active;                    /* the working set: the first ones */
    uint32_t *table;                    /* writes of each page */

    Pattern pattern;
    uint32_t hot;                       /* pages of the hot part */
    uint32_t hot_share;                 /* chance of a hot write, of 2^32 */
    uint32_t burn;                      /* loops of CPU work for each write */

    uint64_t work;                      /* pages written, ever */
    uint32_t sum;                       /* over page_mix() of the table */
    uint32_t stale;                     /* writes that met a bad page */
    bool seal_broken;                   /* a change met a bad seal */
    uint32_t sweep_next;
    uint32_t seed;
} Pages;

typedef struct PagesVerdict {
    uint32_t checked, bad, first_bad;   /* pages; first_bad if any */
    uint32_t sum;                       /* of the table, as it is */
    bool table_good, seal_good;
} PagesVerdict;

/* Nothing is written yet; base, count and table are set. */
void pages_init(Pages *pages);

/* Write @count pages from @first on once, the ballast too. */
void pages_fill(Pages *pages, uint32_t first, uint32_t count);

/* Write @count pages of the working set. */
void pages_write(Pages *pages, uint32_t count);

/* Spend @loops of the CPU. */
void pages_burn(uint32_t loops);

/*
 * Check up to @count further pages; start with a zeroed verdict. True when all
 * are done and the verdict is complete.
 */
bool pages_verify(const Pages *pages, uint32_t count, PagesVerdict *verdict);

/* What a migration may lose; for tests of the verification itself. */
typedef enum Loss {
    LOSS_DATA,                          /* the last write of a page */
    LOSS_TABLE,                         /* its count */
    LOSS_PAIR,                          /* both: they agree, the sum does not */
    LOSS_WORK,                          /* the newest state of the program */
} Loss;

/* Lose the last write of @page, as @loss says. */
void pages_lose(Pages *pages, uint32_t page, Loss loss);

#endif
