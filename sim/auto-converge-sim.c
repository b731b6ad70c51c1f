/*
 * Simulated migrations on the command line
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One guest, a named scenario, the grid with its bars, or the map of the
 * nebulous middle; see --help.  Nothing is random and nothing takes longer
 * than some seconds.
 */

#include "qemu/osdep.h"
#include <math.h>
#include "ac-config.h"
#include "ac-grid.h"
#include "ac-scenarios.h"

#define EXIT_USAGE 2
#define GB 1e9
#define MB 1e6

typedef enum Mode {
    MODE_GUEST,
    MODE_LIST,
    MODE_SCENARIO,
    MODE_GRID,
    MODE_MAP,
    MODE_FRACTIONS,
} Mode;

typedef struct Options {
    Mode mode;
    AcKind kind;
    bool csv;
    const AcScenario *scenario;
    AcPoint point;
    AutoConvergeConfig config;
} Options;

static void print_help(FILE *out)
{
    fputs("usage: auto-converge-sim [MODE] [OPTION...]\n\n"
          "Modes; without one a single guest, a line a window:\n"
          "  --list              the named scenarios\n"
          "  --scenario NAME     one of them, a line a window\n"
          "  --grid              648 guests against counter and oracle\n"
          "  --map               dirty rate x working set, as CSV\n"
          "  --fractions         how large is the nebulous middle?\n\n"
          "The single guest, and ram, link and demand of the map:\n"
          "  --ram GB            16\n"
          "  --link MB/s         1000\n"
          "  --set SHARE         working set / RAM, 0.1\n"
          "  --rate RATIO        bytes written / link, 4\n"
          "  --demand SHARE      of a CPU, 1\n"
          "  --hot-cold          90 % of the writes to 10 % of the set\n"
          "  --zero SHARE        of the RAM, zero pages, 0; also of the grid\n"
          "  --late MS           of the actuator's interrupts, 0; and of the grid\n"
          "  --leak SHARE        of run time that the actuator adds, 0; and of\n"
          "                      the grid\n"
          "  --clock-error SHARE by which CPU time is wrong, 0; and of the grid\n"
          "  --kernel-log        the dirty log is KVM's; also of the grid\n"
          "  --kind KIND         adaptive, counter, tailslow or none\n\n"
          "  --csv               a line a guest (--grid)\n"
          "  --config name=value,...\n", out);
    ac_config_print_help(out);
    fputs("Here cpu-throttle-fallback-downtime is 0 unless given.\n", out);
}

static void print_quantiles(const char *name, const AcQuantiles *q)
{
    printf("%-36s %8.2f %8.2f %8.2f %8.2f  (%u guests)\n", name, q->median,
           q->p90, q->p95, q->max, q->count);
}

static void print_summary(const AcSummary *sum)
{
    printf("%u guests: %u converge unaided, %u with an allowed throttle, "
           "%u never\n", sum->guests, sum->classes[AC_CLASS_CALM],
           sum->classes[AC_CLASS_MIDDLE],
           sum->classes[AC_CLASS_PATHOLOGICAL]);
    printf("without an end: counter %u, adaptive %u\n", sum->counter_endless,
           sum->adaptive_endless);
    printf("converge unaided, but lost more than %.2f s: %u\n",
           AC_CALM_LOST_S, sum->calm_touched);
    printf("worst prediction of an executed stop: off by %.1f %%\n\n",
           sum->prediction_error_max * 100);
    printf("%-36s %8s %8s %8s %8s\n", "of those that need help", "median",
           "p90", "p95", "max");
    print_quantiles("time after the bulk pass / counter",
                    &sum->time_to_counter);
    print_quantiles("guest work lost / counter", &sum->lost_to_counter);
    print_quantiles("guest work lost / oracle", &sum->lost_to_oracle);
    print_quantiles("... that may also stop", &sum->lost_to_least);
    print_quantiles("... in stops, if stopped", &sum->lost_in_stops);
    print_quantiles("points deeper than oracle", &sum->deeper_pct);
    print_quantiles("windows until a hopeless one stops",
                    &sum->windows_to_stop);
}

static void print_csv_head(void)
{
    printf("ram_gb,link_mbps,set_share,rate_ratio,demand,hot_cold,class,"
           "counter_outcome,counter_s,counter_lost_s,counter_throttle_pm,"
           "adaptive_outcome,adaptive_s,adaptive_lost_s,adaptive_throttle_pm,"
           "adaptive_windows,oracle_outcome,oracle_s,oracle_lost_s,"
           "oracle_throttle_pm\n");
}

static void print_csv(const AcCase *c)
{
    printf("%g,%g,%g,%g,%g,%d,%s,%s,%.3f,%.3f,%u,%s,%.3f,%.3f,%u,%u,"
           "%s,%.3f,%.3f,%u\n",
           c->point.ram_bytes / GB, c->point.link_bps / MB,
           c->point.set_share, c->point.rate_ratio, c->point.demand,
           c->point.hot_cold > 0, ac_class_name(c->class),
           ac_outcome_name(c->counter.outcome), c->counter.after_bulk_s,
           c->counter.lost_s, c->counter.throttle_max_permille,
           ac_outcome_name(c->adaptive.outcome), c->adaptive.after_bulk_s,
           c->adaptive.lost_s, c->adaptive.throttle_max_permille,
           c->adaptive.windows, ac_outcome_name(c->oracle.outcome),
           c->oracle.after_bulk_s, c->oracle.lost_s,
           c->oracle.throttle_max_permille);
}

static void run_grid(const Options *options)
{
    unsigned count, i;
    AcPoint *points = ac_grid_points(&count);
    AcCase *cases = g_new0(AcCase, count);
    AcSummary sum;

    if (options->csv) {
        print_csv_head();
    }
    for (i = 0; i < count; i++) {
        cases[i].point = points[i];
        cases[i].point.zero_share = options->point.zero_share;
        cases[i].point.late_s = options->point.late_s;
        cases[i].point.leak = options->point.leak;
        cases[i].point.clock_error = options->point.clock_error;
        cases[i].point.kernel_log = options->point.kernel_log;
        ac_case_run(&cases[i], &options->config);
        if (options->csv) {
            print_csv(&cases[i]);
        }
    }
    if (!options->csv) {
        sum = ac_summarise(cases, count);
        print_summary(&sum);
    }
    g_free(cases);
    g_free(points);
}

#define MAP_COLUMNS 21 /* rate: 2^-2 .. 2^8 times the link, half octaves */
#define MAP_ROWS 17    /* set: 2^-8 .. 2^0 of the RAM, half octaves */

static AcPoint map_point(const AcPoint *base, unsigned column, unsigned row)
{
    AcPoint point = *base;

    point.rate_ratio = exp2(-2 + column * 10.0 / (MAP_COLUMNS - 1));
    point.set_share = exp2(-8 + row * 8.0 / (MAP_ROWS - 1));
    return point;
}

/* The share of its work that the guest lost, from the first pass to the end. */
static double lost_share(const AcResult *result)
{
    return result->lost_s / (result->bulk_s + result->after_bulk_s);
}

/*
 * One line a point, blank lines between the columns as gnuplot likes it; class
 * and end are the numbers of AcClass and AcOutcome.
 */
static void run_map(const Options *options)
{
    unsigned column, row;

    printf("# log2_rate log2_set class oracle_pm counter_end counter_pm "
           "counter_lost_share adaptive_end adaptive_pm adaptive_lost_share "
           "adaptive_time_to_counter\n");
    for (column = 0; column < MAP_COLUMNS; column++) {
        for (row = 0; row < MAP_ROWS; row++) {
            AcCase c = { .point = map_point(&options->point, column, row) };

            ac_case_run(&c, &options->config);
            printf("%.4f %.4f %d %u %d %u %.3f %d %u %.3f %.3f\n",
                   log2(c.point.rate_ratio), log2(c.point.set_share), c.class,
                   c.oracle.throttle_max_permille, c.counter.outcome,
                   c.counter.throttle_max_permille, lost_share(&c.counter),
                   c.adaptive.outcome, c.adaptive.throttle_max_permille,
                   lost_share(&c.adaptive),
                   c.adaptive.after_bulk_s / c.counter.after_bulk_s);
        }
        printf("\n");
    }
}

/* The classes over the area of the map, by link and downtime limit. */
static void run_fractions(const Options *options)
{
    static const double links_mbps[] = { 117, 1170, 2925, 11700 };
    static const unsigned downtimes_ms[] = { 100, 300, 1000, 3000 };
    unsigned link, downtime, column, row;

    printf("link_mbps,downtime_ms,calm_pct,middle_pct,pathological_pct\n");
    for (link = 0; link < ARRAY_SIZE(links_mbps); link++) {
        for (downtime = 0; downtime < ARRAY_SIZE(downtimes_ms); downtime++) {
            unsigned classes[AC_CLASS__MAX] = { 0 };
            AutoConvergeConfig config = options->config;
            AcPoint base = options->point;

            config.downtime_limit_ms = downtimes_ms[downtime];
            base.link_bps = links_mbps[link] * MB;
            for (column = 0; column < MAP_COLUMNS; column++) {
                for (row = 0; row < MAP_ROWS; row++) {
                    AcCase c = { .point = map_point(&base, column, row) };

                    ac_case_run(&c, &config);
                    classes[c.class]++;
                }
            }
            printf("%g,%u,%.1f,%.1f,%.1f\n", links_mbps[link],
                   downtimes_ms[downtime],
                   classes[0] * 100.0 / (MAP_COLUMNS * MAP_ROWS),
                   classes[1] * 100.0 / (MAP_COLUMNS * MAP_ROWS),
                   classes[2] * 100.0 / (MAP_COLUMNS * MAP_ROWS));
        }
    }
}

static void run_guest(const Options *options)
{
    AcGuest guest = ac_guest_from_point(&options->point);
    AcLink link = ac_link_steady(options->point.link_bps);
    char *text = ac_run_table(options->kind, &options->config, &guest, &link);

    fputs(text, stdout);
    g_free(text);
}

static void run_scenario(const Options *options)
{
    char *text = ac_scenario_table(options->scenario, options->kind,
                                   &options->config);

    fputs(text, stdout);
    g_free(text);
}

static void run_list(void)
{
    unsigned i;

    for (i = 0; i < ac_scenario_count; i++) {
        printf("%-16s %s\n", ac_scenarios[i].name, ac_scenarios[i].sentence);
    }
}

static void run(const Options *options)
{
    switch (options->mode) {
    case MODE_GUEST:
        run_guest(options);
        break;
    case MODE_LIST:
        run_list();
        break;
    case MODE_SCENARIO:
        run_scenario(options);
        break;
    case MODE_GRID:
        run_grid(options);
        break;
    case MODE_MAP:
        run_map(options);
        break;
    case MODE_FRACTIONS:
        run_fractions(options);
        break;
    }
}

static G_NORETURN void fail(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("auto-converge-sim: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(EXIT_USAGE);
}

static double parse_number(const char *name, const char *text, double max)
{
    char *end;
    double value = g_ascii_strtod(text, &end);

    if (end == text || *end || !(value > 0 && value <= max)) {
        fail("--%s cannot be '%s', its range is above 0, up to %g", name,
             text, max);
    }
    return value;
}

static AcKind parse_kind(const char *text)
{
    AcKind kind;

    for (kind = 0; kind < AC_KIND__MAX; kind++) {
        if (kind != AC_KIND_CONSTANT &&
            g_str_equal(text, ac_kind_name(kind))) {
            return kind;
        }
    }
    fail("--kind cannot be '%s', it is adaptive, counter, tailslow or none",
         text);
}

static void parse_option(Options *options, int option, const char *name,
                         const char *text)
{
    char *error = NULL;

    switch (option) {
    case 's':
        options->mode = MODE_SCENARIO;
        options->scenario = ac_scenario_find(text);
        if (!options->scenario) {
            fail("there is no scenario '%s'; see --list", text);
        }
        break;
    case 'r':
        options->point.ram_bytes = parse_number(name, text, 1e6) * GB;
        break;
    case 'b':
        options->point.link_bps = parse_number(name, text, 1e6) * MB;
        break;
    case 'w':
        options->point.set_share = parse_number(name, text, 1);
        break;
    case 'd':
        options->point.rate_ratio = parse_number(name, text, 1e6);
        break;
    case 'c':
        options->point.demand = parse_number(name, text, 1);
        break;
    case 'z':
        options->point.zero_share = parse_number(name, text, 1);
        break;
    case 't':
        options->point.late_s = parse_number(name, text, 1000) / 1e3;
        break;
    case 'l':
        options->point.leak = parse_number(name, text, 1);
        break;
    case 'e':
        options->point.clock_error = parse_number(name, text, 1);
        break;
    case 'k':
        options->kind = parse_kind(text);
        break;
    case 'C':
        if (!ac_config_parse(&options->config, text, &error)) {
            fail("--config: %s", error);
        }
        break;
    }
}

static void parse_command_line(Options *options, int argc, char **argv)
{
    const struct option known[] = {
        { "list", no_argument, (int *)&options->mode, MODE_LIST },
        { "scenario", required_argument, NULL, 's' },
        { "grid", no_argument, (int *)&options->mode, MODE_GRID },
        { "map", no_argument, (int *)&options->mode, MODE_MAP },
        { "fractions", no_argument, (int *)&options->mode, MODE_FRACTIONS },
        { "ram", required_argument, NULL, 'r' },
        { "link", required_argument, NULL, 'b' },
        { "set", required_argument, NULL, 'w' },
        { "rate", required_argument, NULL, 'd' },
        { "demand", required_argument, NULL, 'c' },
        { "hot-cold", no_argument, NULL, 'H' },
        { "zero", required_argument, NULL, 'z' },
        { "late", required_argument, NULL, 't' },
        { "leak", required_argument, NULL, 'l' },
        { "clock-error", required_argument, NULL, 'e' },
        { "kernel-log", no_argument, NULL, 'K' },
        { "kind", required_argument, NULL, 'k' },
        { "csv", no_argument, NULL, 'v' },
        { "config", required_argument, NULL, 'C' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    int option, index = 0;

    while ((option = getopt_long(argc, argv, "h", known, &index)) != -1) {
        switch (option) {
        case 'h':
            print_help(stdout);
            exit(EXIT_SUCCESS);
        case 'H':
            options->point.hot_cold = 1;
            break;
        case 'K':
            options->point.kernel_log = 1;
            break;
        case 'v':
            options->csv = true;
            break;
        case '?':
            print_help(stderr);
            exit(EXIT_USAGE);
        default:
            parse_option(options, option, known[index].name, optarg);
        }
    }
    if (optind < argc) {
        fail("what is '%s'?", argv[optind]);
    }
}

int main(int argc, char **argv)
{
    Options options = {
        .kind = AC_KIND_ADAPTIVE,
        .point = {
            .ram_bytes = 16 * GB, .link_bps = 1000 * MB, .set_share = 0.1,
            .rate_ratio = 4, .demand = 1, .page_cost = 1,
        },
        .config = ac_config_unbounded(),
    };

    parse_command_line(&options, argc, argv);
    run(&options);
    return ferror(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
