/*
 * Samples in, decisions out: the policy as a filter
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A sample is a line with these key=value words, in any order, among others
 * that are ignored; so a line of QEMU's trace of a decision is a sample:
 *
 *     elapsed_ns= guest_run_ns= dirty_bytes= drained_bytes= remaining_bytes=
 *
 * Each is answered at once by one line, so that another program can close the
 * loop.  Empty lines and those that begin with '#' are skipped.  A bad line is
 * named by its number on standard error, gets no decision, and makes the exit
 * status 1; a bad command line makes it 2.
 */

#include "qemu/osdep.h"
#include "migration/auto-converge.h"
#include "ac-config.h"

#define EXIT_BAD_LINE 1
#define EXIT_USAGE 2

static const char *const keys[] = {
    "elapsed_ns", "guest_run_ns", "dirty_bytes", "drained_bytes",
    "remaining_bytes", "other_bytes", "zero_bytes",
    "since_start_ns", "partial",
};

/* Older traces do not have the rest. */
#define KEYS_NEEDED 5

/* What was counted: run_ns:dirty_bytes,... */
static bool parse_counts(const char *value, AutoConvergeSample *sample,
                         char **error)
{
    g_auto(GStrv) pairs = g_strsplit(value, ",", -1);
    unsigned i;

    for (i = 0; pairs[i]; i++) {
        char *colon = strchr(pairs[i], ':');

        if (colon) {
            *colon++ = '\0';
        }
        if (!colon || i >= AUTO_CONVERGE_COUNTS_MAX ||
            !ac_parse_u64(pairs[i], &sample->counts[i].guest_run_ns) ||
            !ac_parse_u64(colon, &sample->counts[i].dirty_bytes)) {
            *error = g_strdup_printf("counts cannot be '%s', it is up to %d of "
                                     "run_ns:dirty_bytes,...", value,
                                     AUTO_CONVERGE_COUNTS_MAX);
            return false;
        }
    }
    sample->count = i;
    return true;
}

/* One word: a sample's key, in @values and @seen; or of no concern. */
static bool parse_word(char *word, uint64_t *values, bool *seen,
                       AutoConvergeSample *sample, char **error)
{
    char *value = strchr(word, '=');
    unsigned i;

    if (!value) {
        return true;
    }
    *value++ = '\0';
    if (g_str_equal(word, "counts")) {
        return parse_counts(value, sample, error);
    }
    for (i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!g_str_equal(word, keys[i])) {
            continue;
        }
        if (seen[i]) {
            *error = g_strdup_printf("%s is given twice", word);
            return false;
        }
        seen[i] = true;
        if (!ac_parse_u64(value, &values[i])) {
            *error = g_strdup_printf("%s cannot be '%s', its range is "
                                     "0..2^64-1", word, value);
            return false;
        }
    }
    return true;
}

static bool parse_sample(char *line, AutoConvergeSample *sample, char **error)
{
    uint64_t values[ARRAY_SIZE(keys)] = { 0 };
    bool seen[ARRAY_SIZE(keys)] = { false };
    char *rest = NULL;
    char *word;
    unsigned i;

    *sample = (AutoConvergeSample) { 0 };
    for (word = strtok_r(line, " \t\r\n", &rest); word;
         word = strtok_r(NULL, " \t\r\n", &rest)) {
        if (!parse_word(word, values, seen, sample, error)) {
            return false;
        }
    }
    for (i = 0; i < KEYS_NEEDED; i++) {
        if (!seen[i]) {
            *error = g_strdup_printf("%s is missing", keys[i]);
            return false;
        }
    }
    sample->elapsed_ns = values[0];
    sample->guest_run_ns = values[1];
    sample->dirty_bytes = values[2];
    sample->drained_bytes = values[3];
    sample->remaining_bytes = values[4];
    sample->other_bytes = values[5];
    sample->zero_bytes = values[6];
    sample->since_start_ns = values[7];
    sample->partial = values[8];
    return true;
}

/* A time that never comes is the largest number, 18446744073709551615. */
static void print_decision(const AutoConvergeDecision *decision)
{
    printf("phase=%s reason=%s throttle_permille=%u action=%s "
           "look_ms=%u look_bytes=%" PRIu64 " predicted_downtime_ms=%" PRIu64 " predicted_time_ms=%" PRIu64 "\n",
           AutoConvergePhase_str(decision->phase),
           AutoConvergeReason_str(decision->reason),
           decision->throttle_permille,
           decision->complete ? "complete" :
           decision->switchover ? "switchover" :
           decision->post_copy ? "post-copy" : "continue",
           decision->look_ms, decision->look_bytes,
           decision->predicted_downtime_ms, decision->predicted_time_ms);
    fflush(stdout);
}

static bool line_is_empty(const char *line, size_t length)
{
    return strspn(line, " \t\r\n") == length || *line == '#';
}

static int replay(const AutoConvergeConfig *config)
{
    AutoConvergeState state;
    AutoConvergeDecision decision;
    AutoConvergeSample sample;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    uint64_t number = 0;
    int status = EXIT_SUCCESS;

    auto_converge_init(&state);
    while ((length = getline(&line, &size, stdin)) >= 0) {
        char *error = NULL;

        number++;
        if (line_is_empty(line, length)) {
            continue;
        }
        if (strlen(line) != (size_t)length) {
            error = g_strdup("it has a zero byte");
        } else if (parse_sample(line, &sample, &error)) {
            decision = auto_converge_update(&state, config, &sample);
            print_decision(&decision);
            continue;
        }
        fprintf(stderr, "auto-converge-replay: line %" PRIu64 ": %s\n",
                number, error);
        g_free(error);
        status = EXIT_BAD_LINE;
    }
    free(line);
    return ferror(stdin) || ferror(stdout) ? EXIT_BAD_LINE : status;
}

static void print_help(FILE *out)
{
    fputs("usage: auto-converge-replay [--config name=value,...] < samples\n\n"
          "Reads lines with\n\n"
          "  elapsed_ns= guest_run_ns= dirty_bytes= drained_bytes= "
          "remaining_bytes=\n\n"
          "and, if they are not 0, other_bytes=, zero_bytes=, since_start_ns=, "
          "partial= and\ncounts=run_ns:dirty_bytes,..., in any order, other "
          "words are ignored, and\nanswers each with\n\n"
          "  phase= reason= throttle_permille= "
          "action=continue|complete|switchover|post-copy\n"
          "  look_ms= look_bytes= predicted_downtime_ms= predicted_time_ms=\n\n"
          "on one line, where 18446744073709551615 ms is never.\n"
          "Exit status: 0, 1 after a bad line, 2 for a bad command line.\n\n"
          "--config takes\n\n", out);
    ac_config_print_help(out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    AutoConvergeConfig config = ac_config_default();
    char *error = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            if (!ac_config_parse(&config, optarg, &error)) {
                fprintf(stderr, "auto-converge-replay: --config: %s\n", error);
                g_free(error);
                return EXIT_USAGE;
            }
            break;
        case 'h':
            print_help(stdout);
            return EXIT_SUCCESS;
        default:
            print_help(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "auto-converge-replay: what is '%s'? Samples are read "
                "from standard input\n", argv[optind]);
        return EXIT_USAGE;
    }
    return replay(&config);
}
