/*
 * What a commanded throttle makes of a busy vCPU, simulated
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The slices are those of cpu-throttle-slice.h itself, on a host that lets the
 * vCPU run whenever it wants to.  Only what comes of them counts here: the
 * share that it executes once they have settled, in slices of what length, and
 * its longest sleep.  A migration has windows of 1 s and more, which are many
 * slices.
 *
 * bench/throttle measures the same of a real QEMU.
 */

#ifndef AC_ACTUATOR_H
#define AC_ACTUATOR_H

typedef struct AcActuator {
    double run_share;       /* of a vCPU that is always busy */
    double slice_s;         /* executed from sleep to sleep; 0: no sleeps */
    double longest_sleep_s; /* in one piece */
    bool own_phases;        /* vCPUs do not begin their slices together */
} AcActuator;

/* No throttle. */
AcActuator ac_actuator_none(void);

/* The throttle of the series; interrupts come @late_s after a slice's end. */
AcActuator ac_actuator_sliced(unsigned permille, double late_s);

/* QEMU 7.2 .. 10.2: one sleep in each period of the main loop's timer. */
AcActuator ac_actuator_stock(unsigned permille);

#endif /* AC_ACTUATOR_H */
