/*
 * Fuzzer of the throttle's arithmetic: any clock, any executed time
 *
 * Copyright (c) 2026 the auto-converge authors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The promises are those of include/migration/cpu-throttle-slice.h.  Some hold
 * for anything; the length of a sleep, and what a busy vCPU gets, only for one
 * that executes no more than time passes, and does as it is told.
 */

#include "qemu/osdep.h"
#include "fuzz-input.h"
#include "migration/cpu-throttle-slice.h"

#define NS_PER_MS 1000000LL
#define PERMILLE 1000
#define PERMILLE_MAX 999

/* Less is not worth a sleep, nor a slice. */
#define WORTH_NS (NS_PER_MS / 2)

/* Up to this throttle the shorter bound of a sleep holds, up to that any. */
#define SHORT_SLEEPS_PERMILLE 900
#define LONG_SLEEPS_PERMILLE 990

/* What is owed and credited at most, in shares */
#define OWED_MAX_SHARES 4
#define LEFT_MAX_SHARES 2

/* Interrupts and wake-ups come late by 255 of these at most: half a ms. */
#define LATE_UNIT_NS 2000

#define HONEST_STEPS_MAX 2000

typedef struct Vcpu {
    unsigned permille;
    CpuThrottleRhythm rhythm;
    CpuThrottleSlice slice;
    int64_t now_ns;
} Vcpu;

/* A clock does not begin below zero. */
static int64_t some_time_ns(FuzzInput *input)
{
    return fuzz_u64(input) & INT64_MAX;
}

static void law_rhythm(const Vcpu *vcpu, int64_t epoch_ns)
{
    const CpuThrottleRhythm *rhythm = &vcpu->rhythm;
    int64_t run_permille = PERMILLE - vcpu->permille;

    LAW(rhythm->epoch_ns == epoch_ns);
    LAW(rhythm->period_ns > 0 && rhythm->period_ns % NS_PER_MS == 0);
    LAW(rhythm->share_ns > 0 && rhythm->share_ns < rhythm->period_ns);
    LAW(rhythm->share_ns == rhythm->period_ns * run_permille / PERMILLE);
    LAW(vcpu->permille > SHORT_SLEEPS_PERMILLE ||
        rhythm->period_ns - rhythm->share_ns <= CPU_THROTTLE_SLEEP_MAX_NS);
    LAW(vcpu->permille > LONG_SLEEPS_PERMILLE ||
        rhythm->period_ns - rhythm->share_ns <=
        CPU_THROTTLE_LONG_SLEEP_MAX_NS);
}

static int64_t phase_ns(const Vcpu *vcpu)
{
    int64_t epoch_ns = vcpu->rhythm.epoch_ns;

    return (MAX(vcpu->now_ns, epoch_ns) - epoch_ns) % vcpu->rhythm.period_ns;
}

/* After any charge: what to do next is possible, and sleeps end together. */
static void law_next(const Vcpu *vcpu)
{
    const CpuThrottleRhythm *rhythm = &vcpu->rhythm;
    int64_t sleep_ns = cpu_throttle_slice_sleep_ns(&vcpu->slice, rhythm,
                                                   vcpu->now_ns);
    int64_t run_ns = cpu_throttle_slice_run_ns(&vcpu->slice, rhythm,
                                               vcpu->now_ns);
    int64_t longest_ns = MAX(LEFT_MAX_SHARES * rhythm->share_ns, NS_PER_MS);

    LAW(sleep_ns == 0 ||
        (sleep_ns >= WORTH_NS && sleep_ns <= rhythm->period_ns));
    LAW(sleep_ns == 0 || phase_ns(vcpu) + sleep_ns == rhythm->period_ns);
    LAW(run_ns >= WORTH_NS && run_ns <= longest_ns + NS_PER_MS);
    LAW(sleep_ns == 0 || run_ns == WORTH_NS);
}

/* Shares were given out: a slice, and a debt that has an end. */
static void law_refilled(const Vcpu *vcpu)
{
    int64_t share_ns = vcpu->rhythm.share_ns;
    int64_t least_ns = MAX(share_ns / 2, NS_PER_MS);

    LAW(vcpu->slice.left_ns >= least_ns);
    LAW(vcpu->slice.left_ns <= MAX(LEFT_MAX_SHARES * share_ns, least_ns));
    LAW(vcpu->slice.owed_ns >= 0);
    LAW(vcpu->slice.owed_ns <= OWED_MAX_SHARES * share_ns + least_ns);
    /* Where it begins, no period is without a slice. */
    LAW(phase_ns(vcpu) > 0 ||
        cpu_throttle_slice_sleep_ns(&vcpu->slice, &vcpu->rhythm,
                                    vcpu->now_ns) == 0);
}

static void charge(Vcpu *vcpu, int64_t executed_ns)
{
    CpuThrottleSlice before = vcpu->slice;
    CpuThrottleSlice twin = vcpu->slice;

    cpu_throttle_slice_charge(&vcpu->slice, &vcpu->rhythm, executed_ns,
                              vcpu->now_ns);
    cpu_throttle_slice_charge(&twin, &vcpu->rhythm, executed_ns, vcpu->now_ns);
    LAW(twin.period == vcpu->slice.period);
    LAW(twin.left_ns == vcpu->slice.left_ns);
    LAW(twin.owed_ns == vcpu->slice.owed_ns);
    LAW(vcpu->slice.period >= before.period);
    if (vcpu->slice.period > before.period) {
        law_refilled(vcpu);
    } else {
        LAW(vcpu->slice.left_ns <= before.left_ns);
        LAW(vcpu->slice.owed_ns == before.owed_ns);
    }
    law_next(vcpu);
}

/* Clocks that jump, stand still or go back; more executed than time passed */
static void run_anyhow(FuzzInput *input, Vcpu *vcpu)
{
    while (input->size > 0) {
        vcpu->now_ns = some_time_ns(input);
        charge(vcpu, fuzz_u64(input)); /* below zero, too */
    }
}

static int64_t late_ns(FuzzInput *input)
{
    return fuzz_byte(input) * LATE_UNIT_NS;
}

static void law_sleep_bounded(const Vcpu *vcpu, int64_t sleep_ns)
{
    LAW(vcpu->permille > SHORT_SLEEPS_PERMILLE ||
        sleep_ns <= CPU_THROTTLE_SLEEP_MAX_NS);
    LAW(vcpu->permille > LONG_SLEEPS_PERMILLE ||
        sleep_ns <= CPU_THROTTLE_LONG_SLEEP_MAX_NS);
}

/*
 * A busy vCPU gets its share, to what may be owed or credited.  Where a share
 * is less than the shortest slice, 1 ms, it gets that.
 */
static void law_exact(const Vcpu *vcpu, int64_t executed_ns, int64_t periods)
{
    int64_t share_ns = vcpu->rhythm.share_ns;
    int64_t slack_ns = LEFT_MAX_SHARES * share_ns + 2 * NS_PER_MS;

    LAW(executed_ns >= periods * share_ns - slack_ns);
    LAW(executed_ns <= (periods + 1) * share_ns + slack_ns ||
        vcpu->permille > LONG_SLEEPS_PERMILLE);
}

/* It runs and sleeps as it is told, and both end a little late. */
static void run_honestly(FuzzInput *input, Vcpu *vcpu)
{
    int64_t executed_ns = 0, first = vcpu->slice.period;
    int64_t run_ns, sleep_ns;
    unsigned i;

    for (i = 0; input->size > 0 && i < HONEST_STEPS_MAX; i++) {
        run_ns = cpu_throttle_slice_run_ns(&vcpu->slice, &vcpu->rhythm,
                                           vcpu->now_ns) + late_ns(input);
        vcpu->now_ns += run_ns;
        executed_ns += run_ns;
        charge(vcpu, run_ns);
        sleep_ns = cpu_throttle_slice_sleep_ns(&vcpu->slice, &vcpu->rhythm,
                                               vcpu->now_ns);
        law_sleep_bounded(vcpu, sleep_ns);
        if (sleep_ns > 0) {
            vcpu->now_ns += sleep_ns + late_ns(input);
            charge(vcpu, 0);
        }
        law_exact(vcpu, executed_ns, vcpu->slice.period - first);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = { data, size };
    unsigned low = fuzz_byte(&input);
    unsigned asked = low | fuzz_byte(&input) << 8;
    bool honest = fuzz_byte(&input) & 1;
    Vcpu vcpu = { .permille = MIN(MAX(asked, 1), PERMILLE_MAX) };
    int64_t epoch_ns = honest ? 0 : some_time_ns(&input);

    memset(&vcpu.slice, 0xa5, sizeof(vcpu.slice));
    vcpu.rhythm = cpu_throttle_rhythm(asked, epoch_ns);
    law_rhythm(&vcpu, epoch_ns);
    vcpu.now_ns = honest ? 0 : some_time_ns(&input);
    cpu_throttle_slice_start(&vcpu.slice, &vcpu.rhythm, vcpu.now_ns);
    LAW(vcpu.slice.left_ns == vcpu.rhythm.share_ns);
    LAW(vcpu.slice.owed_ns == 0 && vcpu.slice.period >= 0);
    law_next(&vcpu);
    if (honest) {
        run_honestly(&input, &vcpu);
    } else {
        run_anyhow(&input, &vcpu);
    }
    return 0;
}
