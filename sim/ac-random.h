/*
 * Guests and links from a seed, and smaller ones that still fail
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AC_RANDOM_H
#define AC_RANDOM_H

#include "ac-run.h"

/* What a random case is made of; 0 is the simplest value of each. */
typedef enum AcGene {
    AC_GENE_RAM,       /* 1, 2, 4 ... 128 GB */
    AC_GENE_LINK,      /* 100 MB/s, 200 MB/s ... 3.2 GB/s */
    AC_GENE_SET,       /* 1, 2, 4 ... 64 % of the RAM */
    AC_GENE_RATE,      /* 0.25, 0.35, 0.5 ... 181 times the link */
    AC_GENE_DEMAND,    /* 100, 90 ... 10 % of a CPU */
    AC_GENE_HOT_COLD,  /* no, yes */
    AC_GENE_SWEPT,     /* no, yes */
    AC_GENE_VCPUS,     /* 1 .. 4 of unequal load */
    AC_GENE_ZERO,      /* 0, 10 .. 90 % zero pages */
    AC_GENE_COMPRESS,  /* page cost 1, 0.9 .. 0.3 */
    AC_GENE_JITTER,    /* 0, 5 .. 30 % */
    AC_GENE_SHARE,     /* none, link shared in periods of 5, 10 .. 30 s */
    AC_GENE_SYNC,      /* 0, 1 .. 4 ms per GiB */
    AC_GENE_LEAK,      /* the actuator: 0, 1 .. 5 % too much */
    AC_GENE_CLOCK,     /* CPU time: exact, 10 .. 50 % wrong */
    AC_GENE__MAX,
} AcGene;

typedef struct AcGenes {
    unsigned value[AC_GENE__MAX];
} AcGenes;

AcGenes ac_genes_random(uint64_t seed);
void ac_genes_express(const AcGenes *genes, AcGuest *guest, AcLink *link);
char *ac_genes_describe(const AcGenes *genes);

/* Does the law hold? */
typedef bool AcProperty(const AutoConvergeConfig *config,
                        const AcGuest *guest, const AcLink *link);

/*
 * Tries @cases guests.  When one fails it is reduced, gene by gene, as long as
 * it goes on failing, and the minimal case is returned as text with the table
 * of its windows; NULL when the law held.  @limits, when not NULL, holds the
 * largest value of each gene.
 */
char *ac_property_check(AcProperty *property, const AutoConvergeConfig *config,
                        uint64_t seed, unsigned cases, const AcGenes *limits);

#endif /* AC_RANDOM_H */
