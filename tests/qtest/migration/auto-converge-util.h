/*
 * Adaptive auto-converge, end to end: what its tests share
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TEST_AUTO_CONVERGE_UTIL_H
#define TEST_AUTO_CONVERGE_UTIL_H

#include "migration/workload.h"

/*
 * 64 MiB are written as fast as it goes: over 32 MiB/s a pass takes two
 * seconds, and at a fifth of the run time the guest still writes all of it.
 */
#define AC_GUEST_PATHOLOGICAL "ws=64 rate=max"
#define AC_CEILING_PATHOLOGICAL 80

/* Turn auto-converge on, with its event. */
void ac_enable(QTestState *qts);

/* A migration that is ready, with auto-converge; see workload.h. */
WorkloadMigration ac_prepare(const char *workload);
WorkloadMigration ac_prepare_with(const char *workload, const char *extra);

/* What query-migrate says of auto-converge, or of one member of that. */
QDict *ac_query(QTestState *qts);
int64_t ac_query_int(QTestState *qts, const char *key);

/* The data of the next event MIGRATION_AUTO_CONVERGE; fails when none comes. */
QDict *ac_next_event(QTestState *qts);

/* Take events until one has @value for @key; returns its data. */
QDict *ac_wait_event(QTestState *qts, const char *key, const char *value);
void ac_pass_event(QTestState *qts, const char *key, const char *value);

/* Not migrated: the source runs unthrottled, with the memory as it was. */
void ac_assert_survived(WorkloadGuest *from);

#endif /* TEST_AUTO_CONVERGE_UTIL_H */
