# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""What one look at query-migrate says, of QEMU with or without the series."""

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Mapping, Optional

# for others, too; it is this package that knows where top/ is
# pylint: disable-next=unused-import
from convergetop.model import END_STATUSES as END_STATUSES
from convergetop.model import number, percent as percent

DEFAULT_PAGE_BYTES = 4096


@dataclass
class Sample:
    """One reply to query-migrate."""
    time: float                         # s
    status: str
    passes: int                         # dirty syncs so far
    remaining: int                      # bytes
    total: int                          # bytes of guest RAM
    drained: int                        # bytes of pages sent, zero ones too
    dirty_bps: float                    # bytes/s
    throttle_pct: float
    phase: Optional[str]                # None: this QEMU has none
    expected_downtime_ms: Optional[float]
    throttled_ms: Optional[float]       # as QEMU counts it
    drain_bps: float = 0.0              # bytes/s since the sample before
    auto_converge: Dict[str, Any] = field(default_factory=dict)
    raw: Dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> Dict[str, Any]:
        """All but the whole reply."""
        result = asdict(self)
        del result['raw']
        return result


def make_sample(reply: Dict[str, Any], now: float,
                before: Optional[Sample]) -> Sample:
    """
    Understand a reply; before: the sample before, for rates, and for what a
    finished migration no longer says.
    """
    ram = reply.get('ram', {})
    auto = reply.get('auto-converge', {})
    page = ram.get('page-size', DEFAULT_PAGE_BYTES)
    throttle = percent(auto, 'throttle-permille')
    if throttle is None:
        throttle = number(reply, 'cpu-throttle-percentage') or 0
    dirty_bps = ram.get('dirty-pages-rate', 0) * page
    sample = Sample(
        time=now, status=reply.get('status', 'none'),
        passes=ram.get('dirty-sync-count', before.passes if before else 0),
        remaining=ram.get('remaining', before.remaining if before else 0),
        total=ram.get('total', before.total if before else 0),
        drained=(ram.get('normal', 0) + ram.get('duplicate', 0)) * page
        if ram else (before.drained if before else 0),
        dirty_bps=dirty_bps, throttle_pct=float(throttle),
        phase=auto.get('phase'),
        expected_downtime_ms=number(reply, 'expected-downtime'),
        throttled_ms=number(auto, 'throttled-time'),
        auto_converge=auto, raw=reply)
    if before and now > before.time and ram:
        sample.drain_bps = max(0, sample.drained - before.drained) \
            / (now - before.time)
    return sample


@dataclass
class PassEvent:
    """MIGRATION_PASS: a sync of the dirty bitmap."""
    time: float                         # s, of the event itself
    number: int                         # 1: the one before the bulk pass


@dataclass
class PhaseEvent:
    """MIGRATION_AUTO_CONVERGE: the controller changed its phase."""
    time: float
    auto_converge: Dict[str, Any]


def event_time(event: Mapping[str, Any]) -> float:
    """When QEMU says that an event was, s."""
    stamp = event['timestamp']
    return float(stamp['seconds'] + stamp['microseconds'] / 1e6)


@dataclass
class Events:
    """What the source told by itself."""
    passes: List[PassEvent] = field(default_factory=list)
    phases: List[PhaseEvent] = field(default_factory=list)

    def take(self, events: List[Dict[str, Any]]) -> None:
        """Sort new events in."""
        for event in events:
            data = event.get('data', {})
            if event.get('event') == 'MIGRATION_PASS':
                self.passes.append(PassEvent(event_time(event),
                                             data.get('pass', 0)))
            elif event.get('event') == 'MIGRATION_AUTO_CONVERGE':
                # the struct itself, or a member of this name
                auto = data.get('auto-converge', data)
                self.phases.append(PhaseEvent(event_time(event), auto))
