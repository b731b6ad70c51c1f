# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What a Linux guest, and the software in it, gets done under a throttle.

    guest/    what runs in the guest: the probe, and the pages that it shares
    shared    these pages, read by the host
    linux     one QEMU with that guest in it, and its saved states
    kept      work kept at commanded throttles, without a migration

Sizes are bytes and times are seconds of the monotonic clock, unless a name ends
otherwise.
"""
