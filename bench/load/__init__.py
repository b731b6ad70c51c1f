# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""A guest with many vCPUs that goes to and fro, and a monitor that is busy."""
