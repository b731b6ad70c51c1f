# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Drive real migrations of the workload guest and measure them.

    link           a link of a known rate between two network namespaces
    console        what the guest says and is told
    machine        one QEMU with the workload guest in it
    debugger       a throttle set from outside
    migrate_info   what one look at query-migrate says
    migrate        one migration from start to verified memory
    vcpu_monitor   what the vCPUs execute, and their longest silence
    throttle_loss  what a guest that is always busy lost
    metrics        what a run comes to
    display        progress, table
    plot           both runs over time
    tables         of the benchmark of the throttle

Sizes are bytes and times are seconds of the wall clock (time.time()), unless a
name ends otherwise. MB is 10^6 bytes, MiB is 2^20.

How a migration is shown and drawn is auto-converge-top's: its package lies in
top/, beside bench/.
"""

import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))), 'top'))
