/*
 * Inputs that are kept, each once, where there is no libFuzzer
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * usage: fuzz-TARGET DIRECTORY; prints TAP.  A broken law aborts.
 */

#include "qemu/osdep.h"
#include "fuzz-input.h"

#define EXIT_USAGE 2

static GPtrArray *list_files(const char *directory, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, error);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_ptr_array_add(names, g_strdup(name));
    }
    return names;
}

static bool run_file(const char *directory, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_autofree char *data = NULL;
    gsize size;

    if (!g_file_get_contents(path, &data, &size, error)) {
        return false;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    return true;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) names = NULL;
    guint i;

    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return EXIT_USAGE;
    }
    names = list_files(argv[1], &error);
    for (i = 0; i < names->len && !error; i++) {
        if (run_file(argv[1], names->pdata[i], &error)) {
            printf("ok %u - %s\n", i + 1, (char *)names->pdata[i]);
            fflush(stdout);
        }
    }
    if (error || names->len == 0) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1],
                error ? error->message : "there is no input");
        return EXIT_FAILURE;
    }
    printf("1..%u\n", names->len);
    return EXIT_SUCCESS;
}
