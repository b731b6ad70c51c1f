# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""Busy guests migrate with stock QEMU and with the patched one: make demo."""
