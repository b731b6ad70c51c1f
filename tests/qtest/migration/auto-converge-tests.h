/*
 * Adaptive auto-converge, end to end
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TEST_AUTO_CONVERGE_TESTS_H
#define TEST_AUTO_CONVERGE_TESTS_H

#include "libqtest.h"

/* For the binary that the release has for migration, or one of their own. */
void auto_converge_add_tests(void);
void auto_converge_add_stop_tests(void);

/* A QEMU with the busy guest in it, tests/guest, and the guest's console */
typedef struct Guest {
    QTestState *qts;
    int serial;
} Guest;

Guest guest_start(const char *workload, const char *extra);
void guest_quit(Guest *guest);

/*
 * The next line from the guest with @text, from there: what comes before it
 * may be the beginning of a line that a reset cut off.
 */
char *guest_wait_line(Guest *guest, const char *text);
void guest_command(Guest *guest, const char *command);

/* The guest runs, and finds in its memory what it wrote. */
void guest_verify(Guest *guest);

void expect_success(QTestState *qts, const char *command);
void set_capability(QTestState *qts, const char *name, bool state);
void set_int(QTestState *qts, const char *name, int64_t value);
void set_str(QTestState *qts, const char *name, const char *value);
QDict *query(QTestState *qts, const char *command);

/* What query-migrate says of auto-converge. */
QDict *query_auto_converge(QTestState *qts);
bool status_is(QTestState *qts, const char *status);
void wait_status(QTestState *qts, const char *status);
bool is_running(QTestState *qts);

/* The data of the next event MIGRATION_AUTO_CONVERGE. */
QDict *next_event(QTestState *qts);

/* Take events until one has @value for @key; returns its data. */
QDict *wait_event(QTestState *qts, const char *key, const char *value);
void pass_event(QTestState *qts, const char *key, const char *value);

/* Not migrated: the source runs unthrottled, with the memory as it was. */
void assert_survived(Guest *from);

#endif /* TEST_AUTO_CONVERGE_TESTS_H */
