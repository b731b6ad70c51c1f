/*
 * Adaptive auto-converge, end to end: migrations over a relay
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The link is the relay, whose rate a test changes as it likes.  Where a time
 * must not be exceeded, the test allows several times of it, because the host
 * may be busy, and tells what it was.
 */

#ifndef TEST_AUTO_CONVERGE_RELAYED_H
#define TEST_AUTO_CONVERGE_RELAYED_H

#include "migration/auto-converge-util.h"
#include "migration/relay.h"

/* What the guest writes as fast as it goes, and throttles that hardly help */
#define RELAYED_GUEST_BUSY "ws=64 rate=max"
#define RELAYED_GUEST_SMALL "ws=16 rate=max"
#define RELAYED_CEILING 80

#define RELAYED_MIB (1024 * 1024)
#define RELAYED_FAST_BYTES_PER_S (64 * RELAYED_MIB)
#define RELAYED_LINK_BYTES_PER_S (16 * RELAYED_MIB)
/* A stop of RELAYED_GUEST_BUSY takes eight seconds over this. */
#define RELAYED_SLOW_BYTES_PER_S (8 * RELAYED_MIB)

/* A reply within 200 ms, a guest that runs within 1 s: times this */
#define RELAYED_NOISE 10
#define RELAYED_REPLY_MAX_MS (200 * RELAYED_NOISE)
#define RELAYED_RESUME_MAX_MS (1000 * RELAYED_NOISE)

typedef struct RelayedMigration {
    WorkloadGuest from;
    WorkloadGuest to;
    Relay relay;
    char *dir;
    char *from_path;
    char *to_path;
    char *pid_path;
    const char *to_extra;
} RelayedMigration;

int64_t relayed_clock_ms(void);

/* Source with @workload, with options for each of the QEMUs */
RelayedMigration relayed_prepare_with(const char *workload,
                                      const char *from_extra,
                                      const char *to_extra);
RelayedMigration relayed_prepare(const char *workload);

/* For what is to be said to the destination before the migration begins */
void relayed_start_destination(RelayedMigration *t);
void relayed_begin(RelayedMigration *t, int bytes_per_s);

/* It is held at the ceiling, which is in vain, and no stop is allowed. */
void relayed_begin_held(RelayedMigration *t, int bytes_per_s);
void relayed_allow_stop(RelayedMigration *t);

/* The guest has been stopped. */
void relayed_wait_stopped(RelayedMigration *t);

/*
 * The guest is stopped, over a link of so many bytes per second from now.  That
 * is slow before already, so that a test that comes late still sees the stop.
 */
void relayed_begin_stop(RelayedMigration *t, const char *workload,
                        int bytes_per_s);

/* Or whatever else has written its PID to @pid_path */
void relayed_signal_destination(RelayedMigration *t, int signal);

/* The destination notices that nothing more comes, and exits. */
void relayed_end_destination(RelayedMigration *t);
void relayed_end(RelayedMigration *t);

/* Cancel, see that the guest runs, and end. */
void relayed_cancel_and_end(RelayedMigration *t);

/* Returns how long it took. */
int64_t relayed_wait_running_ms(QTestState *qts);
void relayed_assert_reason(QTestState *qts, const char *phase,
                           const char *reason);

/* query-migrate while the guest is stopped, with how long the reply took */
typedef struct RelayedLook {
    bool stopped;
    int64_t reply_ms;
    int64_t remaining_bytes;
    int64_t downtime_ms;
} RelayedLook;

RelayedLook relayed_look(QTestState *qts);

#endif /* TEST_AUTO_CONVERGE_RELAYED_H */
