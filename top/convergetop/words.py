# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What the names that QEMU tells mean, in plain words, and what the operator can
do about them. The names are those of qapi/auto-converge-policy.json; a test holds the
tables to that file, and docs/auto-converge-top.md to the tables.
"""

from typing import Dict, List, NamedTuple, Optional, Tuple

from .model import FIRST_PASS, Sample

BUSY_SHARE = 0.9            # of the drain rate; both are not exact
BOUND_ROOM = 1.25           # over the prediction, which is not exact
BOUND_STEP_MS = 500         # a bound is a round number
BOUND_MAX_MS = 2000000      # what QEMU takes


class Words(NamedTuple):
    """One name."""
    meaning: str
    advice: str


PHASES: Dict[str, str] = {
    'watch': 'The guest runs freely.',
    'throttle': 'The vCPUs are held back as much as convergence needs.',
    'ceiling': 'The vCPUs are held back as much as is allowed.',
    'fallback': 'The guest is stopped and the rest is copied, or post-copy '
                'has begun.',
    'let-go': 'Nothing that is allowed helps, so the guest runs freely, and '
              'the migration goes on.',
}

NOTHING = 'Nothing.'
REASONS: Dict[str, Words] = {
    'start': Words(
        'Nothing was measured yet; the first pass copies all of the memory.',
        'Wait for the end of the first pass.'),
    'rejected': Words(
        'The last window told nothing that can be used; all stays as it was.',
        'Nothing, if it passes. If it stays, look whether the link still '
        'carries anything.'),
    'converges': Words('The guest dirties less than is sent.', NOTHING),
    'patience': Words(
        'The guest dirties much, but the migration ends soon all the same.',
        NOTHING),
    'unconfirmed': Words(
        'The guest dirties much; one more look is to confirm that before '
        'anything is done to it.', 'Wait for the next window.'),
    'burst': Words(
        'The guest dirties much and works harder than before, which may be '
        'over soon.',
        'Wait. Where it is a batch job, it may be put off until later.'),
    'slow-link': Words(
        'The guest dirties much for a link that was faster before.',
        'Look at what else uses the link, and at max-bandwidth.'),
    'deadline': Words(
        'The deadline is so far that the guest need not be held back yet.',
        'Nothing; where it ought to be done earlier, lower '
        'cpu-throttle-deadline.'),
    'engage': Words('Holding the vCPUs back has begun.',
                    'Wait for the next window. Lower max-cpu-throttle where '
                    'the guest is too slow now.'),
    'raise': Words(
        'The throttle was not enough and became firmer.',
        'Wait for the next window. More bandwidth, if there is any, makes a '
        'milder throttle do.'),
    'hold': Words('The throttle is enough.', 'Wait for the end.'),
    'release': Words('A milder throttle is enough.', 'Wait for the end.'),
    'calm': Words('No throttle is needed any more.', NOTHING),
    'ceiling': Words(
        'The throttle that is needed is not allowed; the ceiling is tried for '
        'a whole window.',
        'Raise max-cpu-throttle where the guest may be slower, else wait: the '
        'fallback follows when this is in vain.'),
    'futile': Words(
        'Less time to run hardly makes the guest dirty less, so a throttle '
        'does not help.',
        'Decide whether the stop that is predicted is bearable; the fallback '
        'follows.'),
    'no-fallback': Words(
        'The ceiling does not help, and cpu-throttle-fallback is none.',
        'Set cpu-throttle-fallback to stop-and-copy where the stop that is '
        'predicted is bearable, or calm the guest, or cancel.'),
    'too-long': Words(
        'The ceiling does not help, and the stop that is predicted is longer '
        'than cpu-throttle-fallback-downtime.',
        'Raise cpu-throttle-fallback-downtime above the stop that is predicted '
        'where that is bearable, or calm the guest, or give it more bandwidth, '
        'or cancel.'),
    'stop-and-copy': Words(
        'The ceiling does not help, or would cost more than a stop: the guest '
        'is stopped while the rest is copied.',
        'Wait. To have the guest run again at once, here, set '
        'cpu-throttle-fallback to none, or cancel.'),
    'post-copy': Words(
        'The ceiling does not help, or would cost more than a stop: post-copy '
        'is started.',
        'Wait, and keep the link and both hosts up: the guest is lost without '
        'either of them until it has all of its memory.'),
    'outlasted': Words(
        'The stop took longer than its bound and was ended, so that the guest '
        'runs again; or the ceiling does not help, and a stop that was ended is '
        'not made again so soon.',
        'Look why the link has become slower; raise '
        'cpu-throttle-fallback-downtime for a longer stop.'),
    'stalled': Words(
        'Nothing was sent for some time, so the guest was let go.',
        'Look at the link and at the destination host; the throttle comes back '
        'by itself.'),
    'resume': Words(
        'Something is sent again, so the guest is held back as before.',
        'Nothing; where it comes again and again, look at the link.'),
    'retry': Words(
        'The guest was let go for long enough, or dirties less, and is held '
        'back once more.', 'Wait for the next window.'),
}

# a reason that means another thing in another phase
IN_PHASE: Dict[Tuple[str, str], Words] = {
    ('fallback', 'deadline'): Words(
        'The deadline is so near that nothing else meets it: the guest is '
        'stopped, or post-copy is started.',
        'Wait. Where it has more time, raise cpu-throttle-deadline; to have '
        'the guest run again at once, here, set cpu-throttle-fallback to '
        'none.'),
}

STATUSES: Dict[str, Words] = {
    'none': Words('There is no migration yet.', 'Start it.'),
    'setup': Words('The migration is being set up.',
                   'Wait; when it stays, look whether the destination '
                   'listens.'),
    'wait-unplug': Words('A network card waits to be unplugged by the guest.',
                         'Wait; when it stays, look at the guest.'),
    'active': Words('Memory is being copied while the guest runs.', NOTHING),
    'postcopy-active': Words(
        'The guest runs at the destination and fetches what it misses.',
        'Wait, and keep the link and both hosts up.'),
    'postcopy-paused': Words(
        'The link broke during post-copy; the guest waits for its memory.',
        'Mend the link, then migrate-recover at the destination and migrate '
        'with resume at the source. Do not end either QEMU. Where the one at '
        'the destination has ended by itself, the guest cannot be recovered.'),
    'postcopy-recover-setup': Words(
        'Post-copy is being taken up again.', 'Wait.'),
    'postcopy-recover': Words('Post-copy is being taken up again.', 'Wait.'),
    'pre-switchover': Words(
        'The guest is stopped, and QEMU waits for migrate-continue.',
        'Nothing, where libvirt or another program drives it; else say '
        'migrate-continue.'),
    'device': Words('The guest is stopped while devices are copied.', 'Wait.'),
    'colo': Words('The migration has become a COLO replication, which does '
                  'not end.', NOTHING),
    'cancelling': Words('The migration is being cancelled.', 'Wait.'),
    'cancelled': Words('The migration was cancelled; the guest runs here.',
                       NOTHING),
    'completed': Words('The migration has completed.', NOTHING),
    'failed': Words('The migration has failed; the guest runs here.',
                    'Read the error, mend its cause and migrate again.'),
}

UNKNOWN = Words('This name is not known here: QEMU is newer than this '
                'program.', "Look it up in QEMU's own documentation.")
STOCK_CALM = Words(
    'The guest dirties less than is sent. Why this QEMU does what it does, it '
    'does not tell.', NOTHING)
STOCK_BUSY = Words(
    'The guest dirties about as much as is sent, or more, and is not held '
    'back. Why, this QEMU does not tell.',
    'Turn the capability auto-converge on for the next attempt, or calm the '
    'guest, or cancel.')
STOCK_THROTTLED = Words(
    'The vCPUs are held back. Whether that is enough, this QEMU does not tell.',
    'Compare what is dirtied with what is drained: while it is not less, the '
    'migration does not end.')
STOCK_BULK = Words(
    'The first pass copies all of the memory. What the guest dirties meanwhile '
    'is known at its end.', 'Wait for the end of the first pass.')
STOCK_STATES = {STOCK_THROTTLED: 'active, throttled',
                STOCK_BULK: 'active, first pass'}
NO_MEMORY = Words(
    'QEMU tells no figures of the memory. The destination of a migration does '
    'not; its source does.', 'Watch the source host.')


def _stock(sample: Sample) -> Words:
    """An active migration without the controller."""
    if sample.remaining_bytes is None:
        return NO_MEMORY
    if sample.throttle_pct:
        return STOCK_THROTTLED
    if sample.passes is not None and sample.passes <= FIRST_PASS:
        return STOCK_BULK
    busy_bps = (sample.drain_bps or 0) * BUSY_SHARE
    return STOCK_BUSY if (sample.dirty_bps or 0) >= busy_bps else STOCK_CALM


def why(sample: Sample) -> Words:
    """What is going on, and what to do: of the reason, else of the status."""
    if sample.status != 'active':
        return STATUSES.get(sample.status, UNKNOWN)
    if not sample.tells_why:
        return _stock(sample)
    name = sample.reason or ''
    return IN_PHASE.get((sample.phase or '', name),
                        REASONS.get(name, UNKNOWN))


def state(sample: Sample) -> str:
    """The short name: phase and reason while it is active, else the status."""
    if sample.status != 'active':
        return sample.status
    if sample.phase is None:
        return STOCK_STATES.get(_stock(sample), sample.status)
    if sample.reason in (None, sample.phase):
        return sample.phase
    return f'{sample.phase}, {sample.reason}'


def command(sample: Sample) -> Optional[str]:
    """The monitor command, HMP's, that the advice comes to, if it is one."""
    if sample.status != 'active':
        return None
    if sample.reason == 'no-fallback':
        return 'migrate_set_parameter cpu-throttle-fallback stop-and-copy'
    if sample.reason == 'too-long' and sample.predicted_downtime_ms:
        needed_ms = sample.predicted_downtime_ms * BOUND_ROOM
        bound_ms = (int(needed_ms // BOUND_STEP_MS) + 1) * BOUND_STEP_MS
        if bound_ms <= BOUND_MAX_MS:
            return ('migrate_set_parameter cpu-throttle-fallback-downtime '
                    f'{bound_ms}')
    return None


def tables() -> List[str]:
    """All of it as Markdown, for the documentation."""
    lines = ['| phase | meaning |', '| --- | --- |']
    lines += [f'| `{name}` | {meaning} |' for name, meaning in PHASES.items()]
    for title, words in (('reason', REASONS), ('status', STATUSES)):
        lines += ['', f'| {title} | meaning | what to do |',
                  '| --- | --- | --- |']
        lines += [f'| `{name}` | {entry.meaning} | {entry.advice} |'
                  for name, entry in words.items()]
        lines += [f'| `{name}` in `{phase}` | {entry.meaning} | '
                  f'{entry.advice} |'
                  for (phase, name), entry in IN_PHASE.items()
                  if title == 'reason']
    return lines
