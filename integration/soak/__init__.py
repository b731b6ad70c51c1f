# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Random migrations with faults, to find out whether a guest can be lost,
doubled, corrupted, stuck, or left throttled.

    plan      what one migration does, drawn from one integer
    fixed     the seeds of the tests
    recipes   the guests, links and parameters that reach a phase
    phases    which phase a migration is in, as query-migrate says it
    relay     the link: it can be slowed, stalled, half closed and cut
    machines  a QEMU whose monitor and serial port are written down
    faults    what is done to a migration
    drive     one migration from the start to the last check
    endgame   where the guest is then, and how it is
    verdict   what is wrong with what was seen
    stacks    where a process that hangs stands
    report    TAP, the table of faults by phase, JSON
    sums      the table of several soaks as one
"""
