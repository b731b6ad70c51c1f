# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Watch a live migration, and change nothing.

    errors    what is told to the user; the exit status
    model     one sample of a migration; the samples of a whole one
    words     phases, reasons and states in plain words, and what to do
    text      bars, sparklines, times and sizes
    qmp       a QMP monitor on a socket
    virsh     the same of a libvirt domain
    sources   samples of a monitor, or of a recording
    view      what is known of the migration so far, as rows of text
    plain     lines, JSON lines
    screen    the terminal, by rich
    plot      curves, by gnuplot
    main      the program

Times are seconds of the wall clock (time.time()), sizes bytes, rates bytes per
second, unless a name ends otherwise. MB is 10^6 bytes.
"""
