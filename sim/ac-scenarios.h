/*
 * Named migrations, each with a sentence
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AC_SCENARIOS_H
#define AC_SCENARIOS_H

#include "ac-run.h"

typedef struct AcScenario {
    const char *name;
    const char *sentence;
    AcGuest guest;
    AcLink link;
} AcScenario;

extern const AcScenario ac_scenarios[];
extern const unsigned ac_scenario_count;

/* NULL when there is none of that name. */
const AcScenario *ac_scenario_find(const char *name);

/*
 * One line a window, all in integers, and one about the end: what the golden
 * tables hold and what auto-converge-sim prints.
 */
char *ac_scenario_table(const AcScenario *scenario, AcKind kind,
                        const AutoConvergeConfig *config);

/* The same for any guest and link. */
char *ac_run_table(AcKind kind, const AutoConvergeConfig *config,
                   const AcGuest *guest, const AcLink *link);

#endif /* AC_SCENARIOS_H */
