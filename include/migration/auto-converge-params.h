/*
 * Adaptive auto-converge: its parameters
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_AUTO_CONVERGE_PARAMS_H
#define MIGRATION_AUTO_CONVERGE_PARAMS_H

#include "qapi/qapi-types-auto-converge.h"

/* Of cpu-throttle-fallback-downtime, ms; the maximum is downtime-limit's. */
#define CPU_THROTTLE_FALLBACK_DOWNTIME_MAX_MS 2000000
#define CPU_THROTTLE_FALLBACK_DOWNTIME_DEFAULT_MS 30000

/* Of cpu-throttle-deadline, s: a month, more or less */
#define CPU_THROTTLE_DEADLINE_MAX_S 2000000

/* The parameters of our own, as migration.c does it for its others. */
void auto_converge_params_init(CpuThrottleFallbackParameters *params);
bool auto_converge_params_check(const CpuThrottleFallbackParameters *params,
                                Error **errp);
/* ... and whether a migration can start with what they are now */
bool auto_converge_params_check_start(Error **errp);
void auto_converge_params_apply(CpuThrottleFallbackParameters *to,
                                const CpuThrottleFallbackParameters *from);

/* HMP "info migrate_parameters". */
void auto_converge_print_params(Monitor *mon,
                                const CpuThrottleFallbackParameters *params);

#endif /* MIGRATION_AUTO_CONVERGE_PARAMS_H */
