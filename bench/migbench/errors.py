# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Errors that are told to the user without a traceback."""


from convergetop.errors import UserError

# something outside of this program is not as it has to be
BenchError = UserError
