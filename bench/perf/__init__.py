# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""QEMU's own benchmark of migration, guestperf, on stock and patched QEMU."""
