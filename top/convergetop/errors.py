# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Errors that are told to the user without a traceback; the exit status."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """How the migration ended, or why the program did before it."""
    COMPLETED = 0
    FAILED = 1
    USAGE = 2               # a wrong option, or nothing that can be watched
    CANCELLED = 3
    GOES_ON = 4             # what is seen last, by --once or in a recording
    NO_MIGRATION = 5        # the same: there is none yet
    LOST = 6                # the monitor went away before the end was told
    INTERRUPTED = 130       # Ctrl-C, as a shell says it of SIGINT


class UserError(Exception):
    """Something outside of this program is not as it has to be."""


class Vanished(Exception):
    """The monitor has gone away; status: how the migration ended, or ''."""

    def __init__(self, why: str, status: str = ''):
        super().__init__(why)
        self.status = status
