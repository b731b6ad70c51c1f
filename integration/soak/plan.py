# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What one migration does: all of it is drawn from one integer."""

import random
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Tuple

from . import phases
from .recipes import CANCELLED, MIB, NUDGED, UNIT, draw_draft

NONE = 'none'
CANCEL, KILL, FREEZE = 'cancel', 'destination killed', 'destination frozen'
CUT, HALF_CLOSE = 'link cut', 'link half closed'
SLOW, STALL = 'link slowed', 'link stalled'
STOP_CONT, RESET = 'stop and cont', 'reset'
UNPLUG, CHANGE = 'unplug refused', 'parameters changed'
REFUSED, FLOOD = 'bad parameters refused', 'query flood'
SECOND, HMP = 'second migrate refused', 'migrate -t refused'
CAPABILITY = 'capability refused'

MONITOR_FAULTS = (UNPLUG, CHANGE, REFUSED, FLOOD, SECOND, HMP, CAPABILITY)
GUEST_FAULTS = (CANCEL, STOP_CONT, RESET)
DEST_FAULTS = (KILL, FREEZE)
LINK_FAULTS = (CUT, HALF_CLOSE, SLOW, STALL)
DISRUPT = (KILL, CUT, HALF_CLOSE)       # what is on its way is lost
FAULTS = (NONE, *MONITOR_FAULTS, *GUEST_FAULTS, *DEST_FAULTS, *LINK_FAULTS)
# a migration goes on after these
HARMLESS = (NONE, *MONITOR_FAULTS, STOP_CONT, RESET, FREEZE, SLOW, STALL)
WHILE_IT_RUNS = (*MONITOR_FAULTS, *GUEST_FAULTS, *DEST_FAULTS, *LINK_FAULTS)

# What a guest can survive, by phase. Not drawn are: in the phase 'device',
# where the destination has all and may run the guest already, what parts the
# two: a cancel or a lost link leaves both with the guest, upstream, too; in
# post-copy what takes the destination away, which has the only whole guest,
# and a cancel, which does the same; in post-copy 'stop' of the source.
STRIKES: Dict[str, Tuple[str, ...]] = {
    phases.SETUP: (*MONITOR_FAULTS, *GUEST_FAULTS, *DEST_FAULTS, CUT, STALL),
    phases.BULK: WHILE_IT_RUNS, phases.WATCH: WHILE_IT_RUNS,
    phases.THROTTLE: WHILE_IT_RUNS, phases.CEILING: WHILE_IT_RUNS,
    phases.LET_GO: WHILE_IT_RUNS, phases.STOP: WHILE_IT_RUNS,
    phases.PRE_SWITCHOVER: (*MONITOR_FAULTS, *GUEST_FAULTS, *DEST_FAULTS, CUT,
                            HALF_CLOSE, STALL),
    phases.DEVICE: (*MONITOR_FAULTS, *DEST_FAULTS),
    phases.POST_COPY: (*MONITOR_FAULTS, RESET, FREEZE, CUT, SLOW, STALL)}

PLAIN, XBZRLE, MULTIFD = 'plain', 'xbzrle', 'multifd'
MULTIFD_ZLIB, MULTIFD_ZSTD = 'multifd+zlib', 'multifd+zstd'
POST_COPY, MAPPED_RAM = 'post-copy', 'mapped-ram file'
TLS, MULTIFD_TLS = 'TLS', 'multifd+TLS'
FEATURES = (PLAIN, XBZRLE, MULTIFD, MULTIFD_ZLIB, MULTIFD_ZSTD, POST_COPY,
            MAPPED_RAM, TLS, MULTIFD_TLS)
FEATURE_WEIGHTS = (6, 2, 2, 1, 1, 2, 2, 2, 1)
CAPABILITIES: Dict[str, Tuple[str, ...]] = {
    PLAIN: (), XBZRLE: ('xbzrle',), MULTIFD: ('multifd',),
    MULTIFD_ZLIB: ('multifd',), MULTIFD_ZSTD: ('multifd',),
    POST_COPY: ('postcopy-ram',), MAPPED_RAM: ('mapped-ram',), TLS: (),
    MULTIFD_TLS: ('multifd',)}
TLS_CLIENT, TLS_SERVER = 'client', 'server'     # ids of credentials
PARAMETERS: Dict[str, Dict[str, Any]] = {
    # far smaller than the working set, so that pages still cost what they are
    XBZRLE: {'xbzrle-cache-size': MIB},
    MULTIFD: {'multifd-channels': 2},
    MULTIFD_ZLIB: {'multifd-channels': 2, 'multifd-compression': 'zlib'},
    MULTIFD_ZSTD: {'multifd-channels': 2, 'multifd-compression': 'zstd'},
    TLS: {'tls-creds': TLS_CLIENT},
    MULTIFD_TLS: {'multifd-channels': 2, 'tls-creds': TLS_CLIENT}}
WITH_TLS = (TLS, MULTIFD_TLS)
WITHOUT_MAPPED_RAM = ('7.2',)   # series whose release has no file migration
NOT_TO_A_FILE = (phases.SETUP, phases.DEVICE, phases.POST_COPY)
FILE_FAULTS = (NONE, *MONITOR_FAULTS, *GUEST_FAULTS)
# The words of the workload compress well. A guest that is to be throttled, or
# stopped, would converge, or the link look slow for a minute.
COMPRESSED = (MULTIFD_ZLIB, MULTIFD_ZSTD)
TO_COMPRESS = (phases.SETUP, phases.BULK, phases.PRE_SWITCHOVER, phases.DEVICE)
# Where a peer is lost while multifd waits for its channels, it waits for ever,
# upstream, too; see docs/upstream-findings.md.
WITH_CHANNELS = (MULTIFD, MULTIFD_ZLIB, MULTIFD_ZSTD, MULTIFD_TLS)
NOT_WITH_CHANNELS = (KILL, CUT, HALF_CLOSE)
# A cancel may abort the source when a channel is in the middle of a record.
TLS_MAY_ABORT = ('10.0',)       # series, see docs/upstream-findings.md
# post-copy is what these would end in, or it has its own end
WITHOUT_POST_COPY = (phases.STOP, phases.PRE_SWITCHOVER, phases.DEVICE)

NO_FAULT_PART = 0.05
MONITOR_WEIGHT, OTHER_WEIGHT = 1, 2     # what is refused breaks less
AT_ONCE_PART = 0.5
DELAY_S = (0.0, 0.8)            # else it strikes so long after the phase began
FAULT_S = (0.5, 4.5)            # a stop ends after 3 s without progress
FLOOD_S = 1.0
VCPUS, VCPU_WEIGHTS = (1, 2, 3, 4), (5, 3, 1, 1)
BASE_MIB = 16                   # where the memory of the workload begins
SPARE_MIB = (40, 96)            # zero pages, and room for the base
MEMORY_MAX_MIB = 192
UNLIMITED_BPS = 10 ** 11
LIVE_RANGES: Dict[str, Tuple[int, int]] = {
    'throttle-trigger-threshold': (1, 100), 'cpu-throttle-initial': (1, 99),
    'cpu-throttle-increment': (1, 99), 'max-cpu-throttle': (1, 99),
    'cpu-throttle-fallback-downtime': (0, 2000000),
    'cpu-throttle-deadline': (0, 2000000), 'downtime-limit': (1, 2000),
    'max-bandwidth': (5 * UNIT, 200 * UNIT)}


@dataclass(frozen=True)
class Plan:
    """One migration."""
    seed: int
    series: str
    target: str                     # phase at which the fault strikes
    fault: str
    fault_s: float                  # how long it lasts
    feature: str
    kind: str                       # of guest, see recipes
    memory_mib: int
    ws_mib: int
    rate: str
    cpu_pct: int
    pattern: str
    vcpus: int
    single_thread: bool             # of TCG
    link_mbps: int
    relay_limits: bool              # else max-bandwidth does
    by_hmp: bool                    # migrate -d -t
    pause: bool                     # pause-before-switchover
    return_path: bool
    ends: str
    parameters: Dict[str, Any] = field(default_factory=dict)
    changes: Tuple[Tuple[str, Any], ...] = ()
    delay_s: float = 0.0            # from the first sight of the phase

    def to_json(self) -> Dict[str, Any]:
        """All of it."""
        return asdict(self)

    @property
    def capabilities(self) -> Tuple[str, ...]:
        """That are on at both ends."""
        more = (('pause-before-switchover',) if self.pause else ()) + \
            (('return-path',) if self.return_path else ())
        return (*CAPABILITIES[self.feature], *more)

    @property
    def append(self) -> str:
        """Keys of the workload guest."""
        return (f'base={BASE_MIB} ws={self.ws_mib} rate={self.rate} '
                f'cpu={self.cpu_pct} pattern={self.pattern} '
                f'cpus={self.vcpus} report=100')

    def name(self) -> str:
        """A few words for TAP."""
        return (f'{self.target} x {self.fault}, {self.feature}, '
                f'{self.vcpus} vCPU{"s" if self.vcpus > 1 else ""}'
                f'{", migrate -t" if self.by_hmp else ""}')

    def describe(self) -> str:
        """The plan in words."""
        limit = 'the relay' if self.relay_limits else 'max-bandwidth'
        lines = [
            f'Seed {self.seed}, QEMU {self.series}: {self.name()}.',
            f'A {self.kind} guest of {self.memory_mib} MiB with '
            f'{self.vcpus} vCPUs, TCG in '
            f'{"one thread" if self.single_thread else "many threads"}: '
            f'{self.append}.',
            f'{self.link_mbps} MB/s, by {limit}. Capabilities: '
            f'{", ".join(("auto-converge", *self.capabilities))}.',
            f'{self.delay_s:g} s after {self.target} has been seen: '
            f'{self.fault}, for {self.fault_s:.1f} s where it lasts. '
            f'It ends {self.ends}.',
            'Parameters: ' + ', '.join(f'{name}={value}' for name, value
                                       in self.parameters.items()) + '.']
        if self.changes:
            lines.append('Changes: ' + ', '.join(
                f'{name}={value}' for name, value in self.changes) + '.')
        return '\n'.join(lines) + '\n'


def _tls_may_abort(series: str, feature: str) -> bool:
    return series in TLS_MAY_ABORT and feature == MULTIFD_TLS


def _draw_feature(rng: random.Random, series: str, target: str,
                  fault: str) -> str:
    """One that this release has, and that goes with phase and fault."""
    if target == phases.POST_COPY:
        return POST_COPY
    while True:
        feature = rng.choices(FEATURES, FEATURE_WEIGHTS)[0]
        to_file = feature == MAPPED_RAM
        if to_file and (series in WITHOUT_MAPPED_RAM or target in NOT_TO_A_FILE
                        or fault not in FILE_FAULTS):
            continue
        if feature == POST_COPY and target in WITHOUT_POST_COPY \
                or feature in WITH_CHANNELS and fault in NOT_WITH_CHANNELS \
                or _tls_may_abort(series, feature) and fault == CANCEL \
                or feature in COMPRESSED and target not in TO_COMPRESS \
                or feature == XBZRLE and target == phases.THROTTLE:
            continue
        return feature


def _needs_return_path(target: str, fault: str) -> bool:
    """
    Without it a source completes when the last bytes are on their way, whether
    they arrive or not; see docs/upstream-findings.md.
    """
    return target == phases.DEVICE or \
        target in (phases.STOP, phases.PRE_SWITCHOVER) and fault in DISRUPT


def _draw_changes(rng: random.Random, feature: str
                  ) -> Tuple[Tuple[str, Any], ...]:
    """Every parameter once, in some order; initial stays below the ceiling."""
    values: Dict[str, Any] = {name: rng.randint(*bounds)
                              for name, bounds in LIVE_RANGES.items()}
    values['cpu-throttle-initial'] = 1
    values['cpu-throttle-tailslow'] = rng.random() < 0.5
    fallbacks = ['none', 'stop-and-copy']
    if feature == POST_COPY:
        fallbacks += ['auto', 'post-copy']
    values['cpu-throttle-fallback'] = rng.choice(fallbacks)
    names = [name for name in sorted(values) if name != 'cpu-throttle-initial']
    rng.shuffle(names)
    # first, because no ceiling may be below it
    return tuple((name, values[name])
                 for name in ('cpu-throttle-initial', *names))


def _draw_vcpus(rng: random.Random, target: str, fault: str) -> int:
    """
    To unplug one, there have to be two. What is to be throttled has to get the
    CPU that it wants, also where two migrations share two CPUs.
    """
    vcpus = rng.choices(VCPUS, VCPU_WEIGHTS)[0]
    if target == phases.THROTTLE:
        vcpus = 1
    return max(2, vcpus) if fault == UNPLUG else vcpus


def _draw_fault(rng: random.Random, target: str) -> str:
    if rng.random() < NO_FAULT_PART:
        return NONE
    weights = [MONITOR_WEIGHT if fault in MONITOR_FAULTS else OTHER_WEIGHT
               for fault in STRIKES[target]]
    return rng.choices(STRIKES[target], weights)[0]


def _draw_delay(rng: random.Random) -> float:
    if rng.random() < AT_ONCE_PART:
        return 0.0
    return round(rng.uniform(*DELAY_S), 3)


def draw_plan(seed: int, series: str) -> Plan:
    """The same seed, the same plan."""
    rng = random.Random(seed)
    target = rng.choice(phases.PHASES)
    fault = _draw_fault(rng, target)
    feature = _draw_feature(rng, series, target, fault)
    draft = draw_draft(rng, target)
    parameters = {**draft.parameters, **PARAMETERS.get(feature, {})}
    # 'auto' would be post-copy, and these are to end before that
    if feature == POST_COPY and target != phases.POST_COPY \
            and parameters['cpu-throttle-fallback'] == 'auto':
        parameters['cpu-throttle-fallback'] = 'stop-and-copy'
    ends = draft.ends
    if _tls_may_abort(series, feature) and ends == CANCELLED:
        ends = NUDGED
    relay_limits = target == phases.POST_COPY or \
        (feature != MAPPED_RAM and rng.random() < 0.5)
    parameters['max-bandwidth'] = UNLIMITED_BPS if relay_limits \
        else draft.link_mbps * UNIT
    spare = rng.randint(*SPARE_MIB)
    return Plan(
        seed, series, target, fault, round(rng.uniform(*FAULT_S), 2), feature,
        draft.kind, min(MEMORY_MAX_MIB, draft.ws_mib + spare), draft.ws_mib,
        draft.rate, draft.cpu_pct, draft.pattern,
        _draw_vcpus(rng, target, fault),
        rng.random() < 0.3, draft.link_mbps, relay_limits,
        rng.random() < 0.2,
        target in (phases.PRE_SWITCHOVER, phases.DEVICE)
        or rng.random() < 0.1,
        _needs_return_path(target, fault), ends, parameters,
        _draw_changes(rng, feature), _draw_delay(rng))
