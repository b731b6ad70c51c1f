/*
 * name=value,... with the names that the parameters have in QAPI
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AC_CONFIG_H
#define AC_CONFIG_H

#include "migration/auto-converge.h"

/* QEMU's defaults, with its default downtime limit of 300 ms. */
AutoConvergeConfig ac_config_default(void);

/* The same with a stop of any length, so that every migration ends */
AutoConvergeConfig ac_config_unbounded(void);

/*
 * Sets what @text names and leaves the rest.  On a bad pair @config is
 * unchanged, *@error is a message that names parameter and range, to be freed
 * with g_free(), and false is returned.
 */
bool ac_config_parse(AutoConvergeConfig *config, const char *text,
                     char **error);

/* For --help: one parameter a line, with range and default. */
void ac_config_print_help(FILE *out);

/* All of @text is an unsigned decimal number that fits. */
bool ac_parse_u64(const char *text, uint64_t *value);

#endif /* AC_CONFIG_H */
