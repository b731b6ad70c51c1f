/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: building and reading lines of text
 *
 * Copyright (c) 2026 the auto-converge authors
 */

#include "platform.h"
#include "text.h"

void text_start(Text *text, const char *string)
{
    text->length = 0;
    text->line[0] = 0;
    text_add(text, string);
}

void text_add(Text *text, const char *string)
{
    while (*string && text->length < TEXT_SIZE - 1) {
        text->line[text->length++] = *string++;
    }
    text->line[text->length] = 0;
}

void text_add_number(Text *text, uint64_t value)
{
    char digits[21];
    char *digit = &digits[20];

    *digit = 0;
    do {
        uint64_t rest = udiv64(value, 10);

        *--digit = '0' + (uint32_t)(value - rest * 10);
        value = rest;
    } while (value);
    text_add(text, digit);
}

void text_add_field(Text *text, const char *key, uint64_t value)
{
    text_add(text, " ");
    text_add(text, key);
    text_add(text, "=");
    text_add_number(text, value);
}

bool text_equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

char *text_next_part(char **cursor, char separator)
{
    char *start = *cursor;
    char *end = start;

    if (!start || !*start) {
        return NULL;
    }
    while (*end && *end != separator) {
        end++;
    }
    *cursor = *end ? end + 1 : end;
    *end = 0;
    return start;
}

char *text_next_word(char **cursor)
{
    while (*cursor && **cursor == ' ') {
        (*cursor)++;
    }
    return text_next_part(cursor, ' ');
}

bool text_to_number(const char *string, uint32_t max, uint32_t *value)
{
    uint64_t number = 0;

    if (!*string) {
        return false;
    }
    for (; *string; string++) {
        if (*string < '0' || *string > '9') {
            return false;
        }
        number = number * 10 + (*string - '0');
        if (number > max) {
            return false;
        }
    }
    *value = number;
    return true;
}
