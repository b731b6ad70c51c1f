# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What a Linux guest, and the software in it, gets done under a throttle.

    programs/  what runs in the guest, and the pages that it shares
    shared     these pages, read by the host
    linux      one QEMU with that guest in it, and its saved states
    kept       work kept at commanded throttles, without a migration
    timeline   what clients in the guest get while it is watched
    migration  one migration of a guest with a busy database
    charts     plots

Sizes are bytes and times are seconds, unless a name ends otherwise.
"""
