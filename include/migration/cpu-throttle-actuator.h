/*
 * CPU throttle: what it offers beyond whole percents
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Throttling alternates a run slice and a sleep on every vCPU.  The share of
 * the sleep is the throttle, in permille; the longest sleep in one piece is
 * 50 ms at any throttle, the run slice shrinks instead.
 *
 * All of this needs the BQL, except cpu_throttle_get_permille().
 */

#ifndef MIGRATION_CPU_THROTTLE_ACTUATOR_H
#define MIGRATION_CPU_THROTTLE_ACTUATOR_H

#include "migration/auto-converge.h"

/*
 * Hold the vCPUs back for @permille of the time, 1 to 999; other values are
 * clamped, except 0, which lets them go.
 */
void cpu_throttle_set_permille(unsigned permille);

/* The throttle in force, 0 to 999. */
unsigned cpu_throttle_get_permille(void);

/* Time for which vCPUs were held back, ns, mean over the vCPUs there are. */
uint64_t cpu_throttle_get_held_ns(void);

/* Make cpu_throttle_get_held_ns() count from zero. */
void cpu_throttle_reset_held(void);

/*
 * One window of the running migration has ended: obey what the law makes of
 * it.  Returns true when management ought to hear of the decision.
 */
bool cpu_throttle_adapt(const AutoConvergeSample *sample);

#endif /* MIGRATION_CPU_THROTTLE_ACTUATOR_H */
