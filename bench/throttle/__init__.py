# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What a commanded throttle does to the vCPUs: make bench-throttle."""
