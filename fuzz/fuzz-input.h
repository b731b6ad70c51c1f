/*
 * Values from bytes that somebody else makes up
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A fuzzer changes bytes and looks at what that reaches, so a value takes few
 * bytes, and the same ones always make the same value.  Where there are no
 * more bytes, they are zero.
 */

#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

typedef struct FuzzInput {
    const uint8_t *data;
    size_t size; /* of what is left of it */
} FuzzInput;

/* What libFuzzer calls, and fuzz-run.c.  Aborts when a law is broken. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 0..255 */
unsigned fuzz_byte(FuzzInput *input);

/* 0..1, both ends included */
double fuzz_share(FuzzInput *input);

/* Of any size: all powers of two are as likely, and so are edges. */
uint64_t fuzz_u64(FuzzInput *input);

/* Says what was claimed, and aborts when that is not so. */
#define LAW(claim) \
    ((claim) ? (void)0 : fuzz_law_broken(#claim, __func__, __LINE__))

void fuzz_law_broken(const char *claim, const char *law, int line)
    __attribute__((noreturn));

#endif /* FUZZ_INPUT_H */
