/*
 * Adaptive auto-converge: what it tells
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_AUTO_CONVERGE_REPORT_H
#define MIGRATION_AUTO_CONVERGE_REPORT_H

#include "qapi/qapi-types-auto-converge.h"

/* What query-migrate shows; NULL when the migration has no auto-converge. */
AutoConvergeInfo *auto_converge_query(void);

/* Sends the event MIGRATION_AUTO_CONVERGE with the same contents, if wanted. */
void auto_converge_send_event(void);

/* HMP "info migrate": prints the same. */
void auto_converge_print_info(Monitor *mon, const AutoConvergeInfo *info);

#endif /* MIGRATION_AUTO_CONVERGE_REPORT_H */
