/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: the pages it dirties, and how it knows their contents
 *
 * Copyright (c) 2026 the auto-converge authors
 */

#include "pages.h"
#include "platform.h"
#include "progress.h"

#define PAGE_WORDS  (PAGE_BYTES / sizeof(uint32_t))

/* Where the third word of a write may lie: between first and last. */
#define INNER_WORDS (PAGE_WORDS - 2)

/* A mixing function: each bit of the input reaches all of the output. */
static inline uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}

static inline uint32_t page_mix(uint32_t page, uint32_t counter)
{
    return mix(page * 0x9e3779b9u + mix(counter));
}

/* A page that was never written is zero, and adds nothing to the sum. */
static inline uint32_t table_mix(uint32_t page, uint32_t counter)
{
    return counter ? page_mix(page, counter) : 0;
}

static inline uint32_t scale(uint32_t random, uint32_t range)
{
    return (uint64_t)random * range >> 32;
}

/* volatile: every access is the load or store of memory that it says */
typedef volatile uint32_t PageWord;

static inline PageWord *page_words(const Pages *pages, uint32_t page)
{
    return (PageWord *)(pages->base + page * PAGE_BYTES);
}

static inline uint32_t next_random(uint32_t *seed)
{
    uint32_t x = *seed;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *seed = x;
    return x;
}

void pages_burn(uint32_t loops)
{
    if (loops) {
        asm volatile("1: decl %0; jnz 1b" : "+r"(loops) : : "cc");
    }
}

static inline void write_words(Pages *pages, uint32_t page, uint32_t value)
{
    PageWord *words = page_words(pages, page);

    words[0] = value;
    words[1 + scale(value, INNER_WORDS)] = value ^ page;
    words[PAGE_WORDS - 1] = ~value;
}

static inline bool words_are_good(const Pages *pages, uint32_t page,
                                  uint32_t value)
{
    PageWord *words = page_words(pages, page);

    return words[0] == value
        && words[1 + scale(value, INNER_WORDS)] == (value ^ page)
        && words[PAGE_WORDS - 1] == ~value;
}

static inline bool page_is_good(const Pages *pages, uint32_t page,
                                uint32_t counter, uint32_t value)
{
    PageWord *words = page_words(pages, page);

    if (!counter) {
        return !words[0] && !words[PAGE_WORDS - 1];
    }
    return words_are_good(pages, page, value);
}

static inline void write_page(Pages *pages, uint32_t page)
{
    uint32_t counter = pages->table[page];
    uint32_t old = table_mix(page, counter);
    uint32_t value = page_mix(page, counter + 1);

    if (!page_is_good(pages, page, counter, old)) {
        pages->stale++;
    }
    write_words(pages, page, value);
    pages->sum += value - old;
    pages->table[page] = counter + 1;
    progress_bump(0);
}

static inline uint32_t choose_page(Pages *pages)
{
    uint32_t page;

    switch (pages->pattern) {
    case PATTERN_HOTCOLD:
        if (next_random(&pages->seed) <= pages->hot_share) {
            return scale(next_random(&pages->seed), pages->hot);
        }
        return pages->hot + scale(next_random(&pages->seed),
                                  pages->active - pages->hot);
    case PATTERN_RANDOM:
        return scale(next_random(&pages->seed), pages->active);
    default:
        page = pages->sweep_next++;
        if (pages->sweep_next >= pages->active) {
            pages->sweep_next = 0;
        }
        return page;
    }
}

static void pages_seal(const Pages *pages)
{
    seal_write(pages->work, pages->sum);
}

/* Call before a change: the new seal would hide that the old one was broken */
static void pages_check_seal(Pages *pages)
{
    if (!seal_matches(pages->work, pages->sum)) {
        pages->seal_broken = true;
    }
}

void pages_init(Pages *pages)
{
    for (uint32_t page = 0; page < pages->count; page++) {
        pages->table[page] = 0;
    }
    pages_seal(pages);
}

void pages_fill(Pages *pages, uint32_t first, uint32_t count)
{
    uint32_t stale = pages->stale;

    pages_check_seal(pages);
    for (uint32_t page = first; page < first + count; page++) {
        write_page(pages, page);
    }
    /* What was there may be from before a reset, which leaves RAM as it is */
    pages->stale = stale;
    pages->work += count;
    pages_seal(pages);
}

void pages_write(Pages *pages, uint32_t count)
{
    pages_check_seal(pages);
    for (uint32_t i = 0; i < count; i++) {
        write_page(pages, choose_page(pages));
        pages_burn(pages->burn);
    }
    pages->work += count;
    pages_seal(pages);
}

bool pages_verify(const Pages *pages, uint32_t count, PagesVerdict *verdict)
{
    for (; count && verdict->checked < pages->count; count--) {
        uint32_t page = verdict->checked++;
        uint32_t counter = pages->table[page];
        uint32_t value = table_mix(page, counter);

        if (!page_is_good(pages, page, counter, value)) {
            if (!verdict->bad++) {
                verdict->first_bad = page;
            }
        }
        verdict->sum += value;
    }
    if (verdict->checked < pages->count) {
        return false;
    }
    verdict->table_good = verdict->sum == pages->sum;
    verdict->seal_good = !pages->seal_broken
        && seal_matches(pages->work, pages->sum);
    return true;
}

void pages_lose(Pages *pages, uint32_t page, Loss loss)
{
    if (loss == LOSS_WORK) {
        pages->work--;
        return;
    }
    if (loss != LOSS_TABLE) {
        write_words(pages, page, page_mix(page, pages->table[page] - 1));
    }
    if (loss != LOSS_DATA) {
        pages->table[page]--;
    }
}
