/*
 * Guests and links from a seed, and smaller ones that still fail
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "ac-random.h"
#include "ac-scenarios.h"

#define GB 1e9
#define MB 1e6

static const struct {
    const char *name;
    unsigned max;
} genes_known[AC_GENE__MAX] = {
    [AC_GENE_RAM] = { "ram", 7 },
    [AC_GENE_LINK] = { "link", 5 },
    [AC_GENE_SET] = { "set", 6 },
    [AC_GENE_RATE] = { "rate", 19 },
    [AC_GENE_DEMAND] = { "demand", 9 },
    [AC_GENE_HOT_COLD] = { "hot-cold", 1 },
    [AC_GENE_SWEPT] = { "swept", 1 },
    [AC_GENE_VCPUS] = { "vcpus", 3 },
    [AC_GENE_ZERO] = { "zero", 9 },
    [AC_GENE_COMPRESS] = { "compress", 7 },
    [AC_GENE_JITTER] = { "jitter", 6 },
    [AC_GENE_SHARE] = { "share", 6 },
    [AC_GENE_SYNC] = { "sync", 4 },
    [AC_GENE_LEAK] = { "leak", 5 },
    [AC_GENE_CLOCK] = { "clock", 5 },
};

/* splitmix64: every seed, 0 included, gives a good sequence */
static uint64_t next_random(uint64_t *seed)
{
    uint64_t x = *seed += 0x9e3779b97f4a7c15ULL;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

AcGenes ac_genes_random(uint64_t seed)
{
    AcGenes genes;
    unsigned i;

    for (i = 0; i < AC_GENE__MAX; i++) {
        genes.value[i] = next_random(&seed) % (genes_known[i].max + 1);
    }
    return genes;
}

static void express_vcpus(const AcGenes *genes, AcGuest *guest)
{
    static const double load[] = { 1, 0.6, 0.3, 0.1 };
    double demand = 1 - genes->value[AC_GENE_DEMAND] / 10.0;
    double sum = 0;
    unsigned i;

    guest->vcpu_count = genes->value[AC_GENE_VCPUS] + 1;
    for (i = 0; i < guest->vcpu_count; i++) {
        sum += load[i];
    }
    for (i = 0; i < guest->vcpu_count; i++) {
        guest->vcpus[i].demand = demand * load[i];
        guest->vcpus[i].write_share = load[i] / sum;
    }
}

void ac_genes_express(const AcGenes *genes, AcGuest *guest, AcLink *link)
{
    const unsigned *value = genes->value;
    double link_bps = 100 * MB * exp2(value[AC_GENE_LINK]);
    double ram_bytes = GB * exp2(value[AC_GENE_RAM]);
    double set_bytes = ram_bytes * 0.01 * exp2(value[AC_GENE_SET]);
    double cost = 1 - value[AC_GENE_COMPRESS] / 10.0;
    double write_bps = link_bps / cost * 0.25 * exp2(value[AC_GENE_RATE] / 2.);

    *guest = value[AC_GENE_HOT_COLD] ?
        ac_guest_hot_cold(ram_bytes, set_bytes, write_bps, 1) :
        ac_guest_uniform(ram_bytes, set_bytes, write_bps, 1);
    guest->regions[0].swept = value[AC_GENE_SWEPT];
    guest->zero_share = value[AC_GENE_ZERO] / 10.0;
    guest->page_cost = cost;
    guest->leak = value[AC_GENE_LEAK] * 0.01;
    guest->clock_error = value[AC_GENE_CLOCK] * 0.1;
    express_vcpus(genes, guest);
    *link = (AcLink) {
        .bps = link_bps,
        .jitter = value[AC_GENE_JITTER] * 0.05,
        .seed = 1,
        .share_period_s = value[AC_GENE_SHARE] * 5,
        .share_factor = 0.5,
        .sync_s_per_gib = value[AC_GENE_SYNC] * 0.001,
    };
}

char *ac_genes_describe(const AcGenes *genes)
{
    GString *text = g_string_new(NULL);
    unsigned i;

    for (i = 0; i < AC_GENE__MAX; i++) {
        g_string_append_printf(text, "%s%s=%u", i ? " " : "",
                               genes_known[i].name, genes->value[i]);
    }
    return g_string_free(text, FALSE);
}

static bool holds(AcProperty *property, const AutoConvergeConfig *config,
                  const AcGenes *genes)
{
    AcGuest guest;
    AcLink link;

    ac_genes_express(genes, &guest, &link);
    return property(config, &guest, &link);
}

/* Each gene as small as it can be while the law still fails. */
static AcGenes shrink(AcProperty *property, const AutoConvergeConfig *config,
                      AcGenes genes)
{
    bool smaller = true;
    unsigned i, value;

    while (smaller) {
        smaller = false;
        for (i = 0; i < AC_GENE__MAX; i++) {
            for (value = 0; value < genes.value[i]; value++) {
                AcGenes candidate = genes;

                candidate.value[i] = value;
                if (!holds(property, config, &candidate)) {
                    genes = candidate;
                    smaller = true;
                    break;
                }
            }
        }
    }
    return genes;
}

static char *explain(const AutoConvergeConfig *config, const AcGenes *genes,
                     uint64_t seed)
{
    char *description = ac_genes_describe(genes);
    AcGuest guest;
    AcLink link;
    char *table, *text;

    ac_genes_express(genes, &guest, &link);
    table = ac_run_table(AC_KIND_ADAPTIVE, config, &guest, &link);
    text = g_strdup_printf("seed %" PRIu64 ", minimal case: %s\n%s", seed,
                           description, table);
    g_free(description);
    g_free(table);
    return text;
}

char *ac_property_check(AcProperty *property, const AutoConvergeConfig *config,
                        uint64_t seed, unsigned cases, const AcGenes *limits)
{
    unsigned i, gene;

    for (i = 0; i < cases; i++) {
        AcGenes genes = ac_genes_random(seed + i);

        for (gene = 0; limits && gene < AC_GENE__MAX; gene++) {
            genes.value[gene] = MIN(genes.value[gene], limits->value[gene]);
        }
        if (!holds(property, config, &genes)) {
            genes = shrink(property, config, genes);
            return explain(config, &genes, seed + i);
        }
    }
    return NULL;
}
