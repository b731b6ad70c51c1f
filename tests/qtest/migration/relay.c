/*
 * A link of a known rate in this process
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/un.h>
#include "qemu/atomic.h"
#include "migration/relay.h"

/* Forwards what it is given in so short steps. */
#define RELAY_STEP_MS 5
/* Small, so that what it has not forwarded does not count as sent */
#define RELAY_BUFFER (64 * 1024)

static void relay_init_address(struct sockaddr_un *address, const char *path)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    g_strlcpy(address->sun_path, path, sizeof(address->sun_path));
}

static int relay_connect(const char *path)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    relay_init_address(&address, path);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address,
                            sizeof(address)), ==, 0);
    return fd;
}

static bool relay_send(int fd, const char *data, ssize_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);

        if (sent <= 0) {
            return false;
        }
        data += sent;
        length -= sent;
    }
    return true;
}

/* What is there now, up to @max bytes; false at the end of the connection */
static bool relay_forward(int from, int to, int max)
{
    char buffer[16384];

    while (max > 0) {
        ssize_t got = recv(from, buffer, MIN(max, sizeof(buffer)),
                           MSG_DONTWAIT);

        if (got < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        if (got == 0 || !relay_send(to, buffer, got)) {
            return false;
        }
        max -= got;
    }
    return true;
}

static void relay_connection(Relay *relay, int from, int to)
{
    int64_t then_us = g_get_monotonic_time();
    int size = RELAY_BUFFER;
    double credit = 0;

    setsockopt(from, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(to, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    while (!qatomic_read(&relay->cut)) {
        int bytes_per_s = qatomic_read(&relay->bytes_per_s);
        int64_t now_us = g_get_monotonic_time();

        /* What was not used up is lost: the link was idle. */
        credit = MIN(credit + bytes_per_s / 1e6 * (now_us - then_us),
                     bytes_per_s / 1e3 * 4 * RELAY_STEP_MS);
        then_us = now_us;
        if (credit >= 1 && bytes_per_s) {
            int pending = 0;

            ioctl(from, FIONREAD, &pending);
            pending = MIN(pending, (int)credit);
            if (!relay_forward(from, to, pending ?: 1)) {
                break;
            }
            credit -= pending;
            if (pending && credit >= 1) {
                continue;
            }
        }
        if (!relay_forward(to, from, RELAY_BUFFER)) {
            break;
        }
        g_usleep(RELAY_STEP_MS * 1000);
    }
    shutdown(from, SHUT_RDWR);
    shutdown(to, SHUT_RDWR);
    close(from);
    close(to);
}

static void *relay_thread(void *opaque)
{
    Relay *relay = opaque;
    int from = accept(relay->listener, NULL, NULL);

    if (from >= 0) {
        relay_connection(relay, from, relay_connect(relay->to_path));
    }
    return NULL;
}

void relay_start(Relay *relay, const char *from_path, const char *to_path,
                 int bytes_per_s)
{
    struct sockaddr_un address;

    unlink(from_path);
    relay_init_address(&address, from_path);
    relay->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(relay->listener, (struct sockaddr *)&address,
                         sizeof(address)), ==, 0);
    g_assert_cmpint(listen(relay->listener, 1), ==, 0);
    relay->to_path = g_strdup(to_path);
    relay->cut = false;
    relay->bytes_per_s = bytes_per_s;
    relay->thread = g_thread_new("relay", relay_thread, relay);
}

void relay_set_rate(Relay *relay, int bytes_per_s)
{
    qatomic_set(&relay->bytes_per_s, bytes_per_s);
}

void relay_cut(Relay *relay)
{
    qatomic_set(&relay->cut, true);
}

bool relay_is_started(Relay *relay)
{
    return relay->thread != NULL;
}

void relay_end(Relay *relay)
{
    relay_cut(relay);
    shutdown(relay->listener, SHUT_RDWR); /* if nobody ever connected */
    g_thread_join(relay->thread);
    close(relay->listener);
    g_free(relay->to_path);
    memset(relay, 0, sizeof(*relay));
}
