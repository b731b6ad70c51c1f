/*
 * A QEMU with a guest that dirties memory, and its migration
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest, tests/guest, writes to its memory at a rate and in a pattern of
 * choice, and finds what is lost of that.  Nothing here is about a feature of
 * migration: what a test wants turned on, it turns on.
 */

#ifndef TEST_WORKLOAD_H
#define TEST_WORKLOAD_H

#include "libqtest.h"

/* The rate at which workload_prepare_migration() lets a guest migrate */
#define WORKLOAD_LINK_BYTES_PER_S (32 * 1024 * 1024)

/* So slow that a pass does not end; QEMU makes at least some 1.2 MB/s of it. */
#define WORKLOAD_SLOW_LINK_BYTES_PER_S (512 * 1024)

/* What a guest that is busy dirties in a pass is not sent in that. */
#define WORKLOAD_DOWNTIME_LIMIT_MS 30

/* A QEMU with the guest in it, and the guest's console */
typedef struct WorkloadGuest {
    QTestState *qts;
    int serial;
} WorkloadGuest;

/* A migration over a Unix socket, with max-bandwidth as its limit */
typedef struct WorkloadMigration {
    WorkloadGuest from;
    WorkloadGuest to;
    const char *extra;
    char *dir;
    char *uri;
} WorkloadMigration;

/* There is a guest, and what runs it; else it is said what is missing. */
bool workload_is_available(void);

/* A QEMU with the options @extra; @workload says what the guest does. */
WorkloadGuest workload_start_guest(const char *workload, const char *extra);

/* The same, and the guest is at work. */
WorkloadGuest workload_start_source(const char *workload, const char *extra);
void workload_quit_guest(WorkloadGuest *guest);

/* It notices that nothing more comes from the source, and exits. */
void workload_wait_exit(WorkloadGuest *to);

/*
 * The next line from the guest with @text, from there: what comes before it
 * may be the beginning of a line that a reset cut off.
 */
char *workload_wait_line(WorkloadGuest *guest, const char *text);
void workload_send_command(WorkloadGuest *guest, const char *command);

/* The guest runs, and finds in its memory what it wrote. */
void workload_verify_memory(WorkloadGuest *guest);

void workload_expect_success(QTestState *qts, const char *command);
void workload_set_capability(QTestState *qts, const char *name, bool state);

/* Migration parameters; not every release has every one. */
void workload_set_int(QTestState *qts, const char *name, int64_t value);
void workload_set_str(QTestState *qts, const char *name, const char *value);
bool workload_has_parameter(QTestState *qts, const char *name);

/* What @command returns */
QDict *workload_query(QTestState *qts, const char *command);

/* The status is that of the migration. */
bool workload_has_status(QTestState *qts, const char *status);
/* Completed, failed or cancelled */
bool workload_has_ended(QTestState *qts);
/* Fails when another end comes. */
void workload_wait_status(QTestState *qts, const char *status);
bool workload_is_running(QTestState *qts);

/* How often dirty memory was looked for; what was sent of RAM, in bytes. */
int64_t workload_count_syncs(QTestState *qts);
int64_t workload_sent_bytes(QTestState *qts);
void workload_wait_syncs(QTestState *qts, int64_t count);

/* The source at work, ready to migrate; @extra are options for both QEMUs. */
WorkloadMigration workload_prepare_migration(const char *workload,
                                             const char *extra);

/* Start the destination, and migrate to it. */
void workload_begin_migration(WorkloadMigration *m);

/* The destination listens. */
void workload_start_migration(QTestState *from, const char *uri);

/* Cancel; so does the second, and the destination exits. */
void workload_cancel_source(QTestState *from);
void workload_cancel_migration(WorkloadMigration *m);
void workload_end_migration(WorkloadMigration *m);

/* Migrated: the destination runs with the memory as it was. */
void workload_assert_migrated(WorkloadGuest *from, WorkloadGuest *to);

#endif /* TEST_WORKLOAD_H */
