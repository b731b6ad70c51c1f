/*
 * Values from bytes that somebody else makes up
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fuzz-input.h"

#define BYTE_MAX 255

/* The two bytes of a mantissa are shifted as far as 64 bits allow. */
#define MANTISSA_SHIFTS 49

/* Where arithmetic breaks, if it does: also past the integers of a double. */
static const uint64_t edges[] = {
    0, 1, 2, 1000, 1000000000, 1ULL << 53, (1ULL << 53) + 1,
    INT64_MAX, 1ULL << 63, UINT64_MAX - 1, UINT64_MAX,
};

unsigned fuzz_byte(FuzzInput *input)
{
    if (input->size == 0) {
        return 0;
    }
    input->size--;
    return *input->data++;
}

double fuzz_share(FuzzInput *input)
{
    return fuzz_byte(input) / (double)BYTE_MAX;
}

uint64_t fuzz_u64(FuzzInput *input)
{
    unsigned shape = fuzz_byte(input);
    uint64_t mantissa;

    if (shape < ARRAY_SIZE(edges)) {
        return edges[shape];
    }
    mantissa = fuzz_byte(input) << 8;
    mantissa |= fuzz_byte(input);
    return mantissa << shape % MANTISSA_SHIFTS;
}

void fuzz_law_broken(const char *claim, const char *law, int line)
{
    fprintf(stderr, "%s:%d: broken: %s\n", law, line, claim);
    abort();
}
