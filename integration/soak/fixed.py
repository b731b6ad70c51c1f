# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The seeds of the tests."""

# Three for each phase; each fault and each feature is among them, which a test
# of the drawing holds them to. Another drawing wants other seeds.
FIXED_SEEDS = (2473, 6, 28, 12, 21, 48, 65, 3, 31, 52, 10, 18, 25, 49, 84, 111,
               150, 2, 9, 30, 1, 4, 11, 14, 16, 19, 33, 56, 88, 109)
