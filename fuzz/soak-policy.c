/*
 * Many updates of the policy, from a seed
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * usage: soak-policy UPDATES [SEED]
 *
 * The migrations and the laws are those of the fuzzer; their bytes are random.
 * That learns nothing on the way, but it is quick, and takes no libFuzzer.  A
 * broken law aborts, and tells the seed of its migration; SEED is that of the
 * first one, so "soak-policy 1 SEED" repeats it.
 */

#include "qemu/osdep.h"
#include <signal.h>
#include "policy-steps.h"
#include "ac-config.h"

#define EXIT_USAGE 2

/* Of one migration: some 40 calls */
#define BYTES 512

/* Below so many updates a reason that none had proves nothing. */
#define ENOUGH_UPDATES 10000000

/* A line now and then shows that it is alive. */
#define PROGRESS_UPDATES 100000000

/* What an abort tells */
static uint64_t current_seed;

static void run_migration(GRand *rand, uint64_t seed, PolicyTally *tally)
{
    guint32 seeds[] = { seed, seed >> 32 };
    guint32 words[BYTES / sizeof(guint32)];
    FuzzInput input = { (const uint8_t *)words, sizeof(words) };
    unsigned i;

    g_rand_set_seed_array(rand, seeds, ARRAY_SIZE(seeds));
    for (i = 0; i < ARRAY_SIZE(words); i++) {
        words[i] = g_rand_int(rand);
    }
    policy_steps(&input, tally);
}

static void print_tally(const PolicyTally *tally, uint64_t migrations)
{
    unsigned i;

    printf("%" PRIu64 " updates and %" PRIu64 " other calls in %" PRIu64
           " migrations, no law broken\n", tally->updates, tally->other_calls,
           migrations);
    for (i = 0; i < AUTO_CONVERGE_PHASE__MAX; i++) {
        printf("  phase  %-14s %" PRIu64 "\n", AutoConvergePhase_str(i),
               tally->phases[i]);
    }
    for (i = 0; i < AUTO_CONVERGE_REASON__MAX; i++) {
        printf("  reason %-14s %" PRIu64 "\n", AutoConvergeReason_str(i),
               tally->reasons[i]);
    }
}

/* One that never came was not tested. */
static int judge(const PolicyTally *tally)
{
    int status = EXIT_SUCCESS;
    unsigned i;

    for (i = 0; i < AUTO_CONVERGE_REASON__MAX; i++) {
        if (tally->updates >= ENOUGH_UPDATES && tally->reasons[i] == 0) {
            fprintf(stderr, "soak-policy: no decision was for the reason %s\n",
                    AutoConvergeReason_str(i));
            status = EXIT_FAILURE;
        }
    }
    return status;
}

static void tell_seed(int number)
{
    fprintf(stderr, "soak-policy: seed %" PRIu64 "\n", current_seed);
    signal(number, SIG_DFL);
    raise(number);
}

static int soak(uint64_t updates, uint64_t seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(0);
    PolicyTally tally = { 0 };
    uint64_t migrations = 0, next_progress = PROGRESS_UPDATES;

    signal(SIGABRT, tell_seed);
    while (tally.updates < updates) {
        current_seed = seed + migrations++;
        run_migration(rand, current_seed, &tally);
        if (tally.updates >= next_progress) {
            fprintf(stderr, "%" PRIu64 " updates\n", tally.updates);
            next_progress += PROGRESS_UPDATES;
        }
    }
    print_tally(&tally, migrations);
    return judge(&tally);
}

int main(int argc, char **argv)
{
    uint64_t updates, seed = 1;

    if (argc < 2 || argc > 3 || !ac_parse_u64(argv[1], &updates) ||
        (argc == 3 && !ac_parse_u64(argv[2], &seed))) {
        fprintf(stderr, "usage: soak-policy UPDATES [SEED], both 0..2^64-1\n");
        return EXIT_USAGE;
    }
    return soak(updates, seed);
}
