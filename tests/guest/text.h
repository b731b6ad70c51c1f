/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: building and reading lines of text
 *
 * Copyright (c) 2026 the auto-converge authors
 */

#ifndef WORKLOAD_TEXT_H
#define WORKLOAD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_SIZE   192u

/* A line under construction; what does not fit is cut off. */
typedef struct Text {
    char line[TEXT_SIZE];
    uint32_t length;
} Text;

void text_start(Text *text, const char *string);
void text_add(Text *text, const char *string);
void text_add_number(Text *text, uint64_t value);

/* " key=value" */
void text_add_field(Text *text, const char *key, uint64_t value);

bool text_equal(const char *a, const char *b);

/* Cut the next word off *@cursor; NULL when there is none. */
char *text_next_word(char **cursor);

/* Cut *@cursor at the next @separator; NULL when nothing is left. */
char *text_next_part(char **cursor, char separator);

/* Decimal, nothing else, not above @max. */
bool text_to_number(const char *string, uint32_t max, uint32_t *value);

#endif
