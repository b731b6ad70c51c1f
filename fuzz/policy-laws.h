/*
 * What the policy promises, whatever it is told
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each sentence of include/migration/auto-converge.h that holds for any input
 * is a check here.  The unit tests derive what one hand-made window gives; this
 * is what must be so after all of them.
 */

#ifndef POLICY_LAWS_H
#define POLICY_LAWS_H

#include "migration/auto-converge.h"

#define PERMILLE 1000
#define PCT_TO_PERMILLE 10

/* So often a throttle is tried in vain, as the policy's comment says. */
#define ATTEMPTS_MAX 8

/*
 * What a comparison of ours may differ from one of the policy's: some roundings
 * of a double, and a ms that was rounded up.
 */
#define ROUNDING 1e-9
#define ROUNDED_UP_MS 1

/* A call of the policy, and what came of it */
typedef struct PolicyCall {
    const AutoConvergeState *before;
    const AutoConvergeState *after;
    const AutoConvergeConfig *config;
    const AutoConvergeSample *sample; /* of an update */
    const AutoConvergeDecision *now;
} PolicyCall;

static inline unsigned clamp_pct(unsigned pct)
{
    return MIN(MAX(pct, 1), 99);
}

static inline unsigned ceiling_permille(const AutoConvergeConfig *config)
{
    return clamp_pct(config->throttle_max_pct) * PCT_TO_PERMILLE;
}

static inline bool is_throttled(const AutoConvergeDecision *decision)
{
    return decision->phase == AUTO_CONVERGE_PHASE_THROTTLE ||
           decision->phase == AUTO_CONVERGE_PHASE_CEILING;
}

/* No more than @limit, but for the rounding; both are of whole ms. */
static inline bool within_ms(uint64_t ms, uint64_t limit_ms)
{
    return ms <= limit_ms * (1 + ROUNDING) + ROUNDED_UP_MS;
}

/* After any call */
void policy_laws_always(const PolicyCall *call);

/* ... and of one kind, after that */
void policy_laws_update(const PolicyCall *call);
void policy_laws_reconfigure(const PolicyCall *call);
void policy_laws_restart_window(const PolicyCall *call);
void policy_laws_lease_up(const PolicyCall *call);
void policy_laws_stop_ended(const PolicyCall *call, AutoConvergeReason reason);

/* Two states that were told the same decided the same. */
void policy_laws_same(const AutoConvergeDecision *a,
                      const AutoConvergeDecision *b);

/* A longer rest never takes a shorter stop. */
void policy_laws_stop_length(const AutoConvergeState *state,
                             const AutoConvergeConfig *config,
                             uint64_t bytes, uint64_t more_bytes);

#endif /* POLICY_LAWS_H */
