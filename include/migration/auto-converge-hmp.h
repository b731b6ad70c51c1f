/*
 * Adaptive auto-converge: "migrate -t"
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_AUTO_CONVERGE_HMP_H
#define MIGRATION_AUTO_CONVERGE_HMP_H

/*
 * "migrate -t": turns auto-converge on with the throttle parameters in
 * @pairs, "name=value[,name=value...]", for the next migration.  On error
 * nothing is changed.
 */
bool auto_converge_override_params(const char *pairs, Error **errp);

/* The migration has ended, or did not start: undo the above. */
void auto_converge_restore_params(void);

#endif /* MIGRATION_AUTO_CONVERGE_HMP_H */
