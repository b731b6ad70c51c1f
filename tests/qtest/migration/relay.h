/*
 * A link of a known rate in this process
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Forwards from one Unix socket to another so many bytes per second, or
 * stalls, or is cut, so that QEMU blocks where it does on a real link.
 */

#ifndef TEST_RELAY_H
#define TEST_RELAY_H

typedef struct Relay {
    GThread *thread;
    int listener;
    char *to_path;
    int bytes_per_s; /* atomic; 0: stalled */
    int cut;         /* atomic; drop the connection, and end */
} Relay;

/* Listen at @from_path, and forward one connection to @to_path. */
void relay_start(Relay *relay, const char *from_path, const char *to_path,
                 int bytes_per_s);
void relay_set_rate(Relay *relay, int bytes_per_s);

/* The connection breaks. */
void relay_cut(Relay *relay);

/* ... and relay_end() has not been called since */
bool relay_is_started(Relay *relay);
void relay_end(Relay *relay);

#endif /* TEST_RELAY_H */
