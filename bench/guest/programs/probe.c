/*
 * A Linux guest's init: loads whose work can be counted
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Keys of the kernel's command line:
 *
 *   probe.page=0x...    where the shared pages are, see shared.h
 *   probe.load=spin     a thread counts
 *             =ipi      membarrier() on CPU 0, which sends an IPI to CPU 1 and
 *                       waits until it was acknowledged; a thread of the same
 *                       process is busy there
 *             =pingpong a cache line goes to and fro between two CPUs
 *             =redis    redis-server, and redis-benchmark as its clients; the
 *                       count is theirs, see count.c
 *   probe.cpus=N        of spin: a thread on each of so many CPUs
 *   probe.keys=N        of redis: random ones of so many
 *   probe.bytes=N       each of them holds so much
 *   probe.set=N         connections that set keys
 *   probe.get=N         connections that get them
 *
 * A line is printed each second, so that one sees the guest live.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "shared.h"

#define REDIS_PORT 6379
#define RETRY_US 50000      /* until the server listens */
#define FILL_ROUNDS 3       /* random sets for each key: 95 % of them exist */
#define FOREVER "1000000000"

/* volatile: the host looks at them at any time */
static volatile struct shared *shared;
static char cmdline[4096];

static void die(const char *what)
{
    printf("probe: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    sleep(1);
    _exit(1); /* the kernel panics, and QEMU ends (-no-reboot) */
}

/* The value of a key of the command line, or what it is otherwise. */
static const char *text(const char *name, const char *otherwise)
{
    size_t length = strlen(name);
    char *copy = strdup(cmdline);

    for (char *word = strtok(copy, " \n"); word; word = strtok(NULL, " \n")) {
        if (!strncmp(word, name, length) && word[length] == '=') {
            return word + length + 1;
        }
    }
    free(copy);
    return otherwise;
}

static unsigned long number(const char *name, unsigned long otherwise)
{
    const char *value = text(name, NULL);

    return value ? strtoul(value, NULL, 0) : otherwise;
}

static long cpus(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN);
}

static void pin(long cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set)) {
        die("sched_setaffinity");
    }
}

static void start(void *(*function)(void *), long argument)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, function, (void *)argument)) {
        die("pthread_create");
    }
}

/* ---- loads that only compute ---- */

static void *spin(void *cpu)
{
    /* volatile: the host looks at it at any time */
    volatile uint64_t *count = shared->count[(long)cpu % COUNTERS];

    pin((long)cpu);
    for (;;) {
        ++*count;
    }
    return NULL;
}

static void *burn(void *cpu)
{
    static volatile uint64_t unseen; /* volatile: or there is no loop left */

    pin((long)cpu);
    for (;;) {
        ++unseen;
    }
    return NULL;
}

static void *ipi(void *cpu)
{
    pin((long)cpu);
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0,
                0)) {
        die("membarrier");
    }
    for (;;) {
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
        ++shared->count[0][0];
    }
    return NULL;
}

/* Whose turn it is, with no neighbours in its cache line. */
static struct {
    _Alignas(128) int turn;
} ball;

static void *pingpong(void *cpu)
{
    int mine = (long)cpu;

    pin(mine);
    for (;;) {
        while (__atomic_load_n(&ball.turn, __ATOMIC_ACQUIRE) != mine) {
        }
        __atomic_store_n(&ball.turn, !mine, __ATOMIC_RELEASE);
        if (mine) {
            ++shared->count[0][0];
        }
    }
    return NULL;
}

/* ---- redis ---- */

static pid_t run(char *const argv[])
{
    pid_t pid = fork();

    if (pid < 0) {
        die("fork");
    }
    if (!pid) {
        int console = dup(2);
        int null = open("/dev/null", O_RDWR);

        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execv(argv[0], argv);
        dup2(console, 1);
        die(argv[0]);
    }
    return pid;
}

static void wait_for_server(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(REDIS_PORT),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    bool listens = false;

    while (!listens) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        listens = !connect(fd, (struct sockaddr *)&address, sizeof(address));
        close(fd);
        if (!listens) {
            usleep(RETRY_US);
        }
    }
}

/* One kind of request, again and again on some connections. */
static pid_t benchmark(const char *test, unsigned long connections,
                       const char *requests, const char *pipelined)
{
    char clients[32];

    snprintf(clients, sizeof(clients), "%lu", connections);
    return run((char *const[]) {
        "/usr/bin/redis-benchmark", "-q", "-t", (char *)test, "-c", clients,
        "-n", (char *)requests, "-P", (char *)pipelined,
        "-r", (char *)text("probe.keys", "1000"),
        "-d", (char *)text("probe.bytes", "100"), NULL
    });
}

static void fill(void)
{
    char requests[32];
    int status;

    snprintf(requests, sizeof(requests), "%lu",
             FILL_ROUNDS * number("probe.keys", 1000));
    if (waitpid(benchmark("set", 1, requests, "16"), &status, 0) < 0 ||
        status) {
        die("redis-benchmark");
    }
}

static void start_counted(const char *test, unsigned long connections,
                          const char *slot)
{
    if (connections) {
        setenv("COUNT_SLOT", slot, true);
        benchmark(test, connections, FOREVER, "1");
    }
}

static void start_redis(void)
{
    static char *const server[] = {
        "/usr/bin/redis-server", "--save", "", "--appendonly", "no",
        "--bind", "127.0.0.1", NULL
    };

    run(server);
    wait_for_server();
    fill();
    setenv("LD_PRELOAD", "/lib/count.so", true);
    setenv("COUNT_PAGE", text("probe.page", ""), true);
    start_counted("set", number("probe.set", 4), "0");
    start_counted("get", number("probe.get", 4), "1");
}

/* ---- the guest ---- */

static void bring_up_loopback(void)
{
    struct ifreq request = { .ifr_name = "lo" };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (ioctl(fd, SIOCGIFFLAGS, &request)) {
        die("lo");
    }
    request.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &request)) {
        die("lo");
    }
    close(fd);
}

static void map_shared(void)
{
    off_t page = number("probe.page", 0);
    int fd = open("/dev/mem", O_RDWR);
    void *mapped;

    if (fd < 0 || !page) {
        die("/dev/mem, probe.page");
    }
    mapped = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  page);
    if (mapped == MAP_FAILED) {
        die("mmap /dev/mem");
    }
    memset(mapped, 0, SHARED_BYTES);
    shared = mapped;
}

static void set_up(void)
{
    ssize_t got;
    int fd;

    mount("proc", "/proc", "proc", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    fd = open("/dev/console", O_RDWR);
    for (int i = 0; i < 3; i++) {
        dup2(fd, i);
    }
    fd = open("/proc/cmdline", O_RDONLY);
    got = read(fd, cmdline, sizeof(cmdline) - 1);
    cmdline[got > 0 ? got : 0] = 0;
    close(fd);
}

static void start_load(const char *load)
{
    bool pair = !strcmp(load, "ipi") || !strcmp(load, "pingpong");

    if (pair && cpus() < 2) {
        errno = EINVAL;
        die("probe.load wants two CPUs");
    }
    if (!strcmp(load, "spin")) {
        for (unsigned long cpu = 0; cpu < number("probe.cpus", 1); cpu++) {
            start(spin, cpu);
        }
    } else if (!strcmp(load, "ipi")) {
        start(burn, 1);
        start(ipi, 0);
    } else if (!strcmp(load, "pingpong")) {
        start(pingpong, 0);
        start(pingpong, 1);
    } else if (!strcmp(load, "redis")) {
        start_redis();
    } else {
        errno = EINVAL;
        die("probe.load");
    }
}

int main(void)
{
    set_up();
    map_shared();
    bring_up_loopback();
    start_load(text("probe.load", "spin"));
    shared->magic = SHARED_MAGIC;
    for (;;) {
        sleep(1);
        printf("alive %lu\n", (unsigned long)++shared->seconds);
        fflush(stdout);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
}
