# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The seeds of the tests."""

# Three for each phase; each fault and each feature is among them, which a test
# of the drawing holds them to. Another drawing wants other seeds.
FIXED_SEEDS = (19, 2, 31, 121, 28, 14, 1, 18, 20, 3, 4, 8, 23, 13, 45, 36, 7,
               16, 24, 25, 38, 12, 27, 9, 95, 35, 17, 5, 10, 116)
