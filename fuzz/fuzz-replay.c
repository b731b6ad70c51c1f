/*
 * Fuzzer of the replay tool: what it reads, and what it says
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is the argument of --config, a line's end, and the samples.  The
 * whole tool is run, with its three streams in memory.
 */

#define main replay_main
int replay_main(int argc, char **argv);
#include "../sim/auto-converge-replay.c"
#undef main

#include "fuzz-input.h"

#define PCT_MAX 99
#define THRESHOLD_PCT_MAX 100

typedef struct Output {
    FILE *stream;
    char *text;
    size_t size;
} Output;

static void open_output(Output *output)
{
    *output = (Output) { 0 };
    output->stream = open_memstream(&output->text, &output->size);
    LAW(output->stream);
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;

    for (; *text; text++) {
        lines += *text == '\n';
    }
    return lines;
}

/* What is set is within its range, or nothing is set and that is said. */
static bool law_config(const char *text)
{
    AutoConvergeConfig config, before, again;
    char *error = NULL;
    bool ok;

    memset(&config, 0xa5, sizeof(config));
    config = ac_config_default();
    memcpy(&before, &config, sizeof(before));
    ok = ac_config_parse(&config, text, &error);
    LAW(ok == !error);
    if (!ok) {
        LAW(!memcmp(&before, &config, sizeof(before)));
        LAW(*error);
        g_free(error);
        return false;
    }
    LAW(config.trigger_threshold_pct >= 1);
    LAW(config.trigger_threshold_pct <= THRESHOLD_PCT_MAX);
    LAW(config.throttle_initial_pct >= 1);
    LAW(config.throttle_initial_pct <= config.throttle_max_pct);
    LAW(config.throttle_max_pct <= PCT_MAX);
    LAW(config.throttle_increment_pct >= 1);
    LAW(config.throttle_increment_pct <= PCT_MAX);
    LAW((unsigned)config.fallback <= AUTO_CONVERGE_FALLBACK_POST_COPY);
    LAW(config.deadline_s <= UINT32_MAX);
    /* The same a second time changes nothing. */
    memcpy(&again, &config, sizeof(again));
    LAW(ac_config_parse(&again, text, &error));
    LAW(!memcmp(&again, &config, sizeof(again)));
    return true;
}

/* Runs the tool with @config and @samples; its exit status. */
static int run_replay(char *config, char *samples, size_t size,
                      Output *out, Output *err)
{
    char name[] = "auto-converge-replay", option[] = "--config";
    char *argv[] = { name, option, config, NULL };
    FILE *old_in = stdin, *old_out = stdout, *old_err = stderr;
    int status;

    open_output(out);
    open_output(err);
    stdin = fmemopen(samples, size, "r");
    LAW(stdin);
    stdout = out->stream;
    stderr = err->stream;
    optind = 0; /* getopt() begins anew */
    status = replay_main(ARRAY_SIZE(argv) - 1, argv);
    fclose(stdin);
    stdin = old_in;
    stdout = old_out;
    stderr = old_err;
    fclose(out->stream);
    fclose(err->stream);
    return status;
}

/* So many of the lines ask for an answer, of whatever kind. */
static unsigned count_asked(char *samples, size_t size)
{
    FILE *stream = fmemopen(samples, size, "r");
    char *line = NULL;
    size_t line_size = 0;
    ssize_t length;
    unsigned asked = 0;

    while ((length = getline(&line, &line_size, stream)) >= 0) {
        asked += !line_is_empty(line, length);
    }
    free(line);
    fclose(stream);
    return asked;
}

/* A line that is a sample gets one decision, and any other one a complaint. */
static void law_answers(unsigned asked, int status,
                        const Output *out, const Output *err)
{
    unsigned answers = count_lines(out->text);

    LAW(status == EXIT_SUCCESS || status == EXIT_BAD_LINE);
    LAW((status == EXIT_SUCCESS) == (err->size == 0));
    LAW(answers <= asked);
    LAW((answers == asked) == (status == EXIT_SUCCESS));
    LAW(answers + count_lines(err->text) >= asked);
    LAW(strlen(out->text) == out->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    size_t config_size = strcspn(text, "\n");
    g_autofree char *config = g_strndup(text, config_size);
    size_t skip = MIN(config_size + 1, size);
    size_t left = size - skip + 1;
    g_autofree char *samples = g_malloc(left);
    Output out, err;
    int status;

    /* With a line's end of ours, since no stream is empty. */
    memcpy(samples, data + skip, left - 1);
    samples[left - 1] = '\n';
    status = run_replay(config, samples, left, &out, &err);
    if (law_config(config)) {
        law_answers(count_asked(samples, left), status, &out, &err);
    } else {
        LAW(status == EXIT_USAGE && out.size == 0 && err.size > 0);
    }
    free(out.text);
    free(err.text);
    return 0;
}
