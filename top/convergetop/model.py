# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
One sample of a migration, and the samples of a whole one. Any member may be
missing, as QEMU with and without the series, older and newer ones, tell
different ones; what a sample does not know is None, never a made-up figure.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, Dict, List, Mapping, Optional

DEFAULT_PAGE_BYTES = 4096           # of QEMU that does not tell its page size
BITS_PER_BYTE = 8
NONE_STATUS = 'none'                # there was no migration yet
END_STATUSES = ('completed', 'failed', 'cancelled')
FIRST_PASS = 1                      # dirty syncs during the bulk pass
HISTORY_MAX = 2048                  # samples, two for each pixel of a plot;
                                    # even, so that the newest is never dropped


@dataclass
class Sample:
    """What one look tells. The names are those of the JSON lines."""
    time_s: float
    status: str = NONE_STATUS
    phase: Optional[str] = None
    reason: Optional[str] = None
    elapsed_ms: Optional[float] = None      # since the migration began
    passes: Optional[float] = None          # syncs of the dirty bitmap
    windows: Optional[float] = None
    remaining_bytes: Optional[float] = None
    total_bytes: Optional[float] = None
    drained_bytes: Optional[float] = None   # of pages sent, zero ones too
    dirty_bps: Optional[float] = None
    drain_bps: Optional[float] = None
    wire_bps: Optional[float] = None
    throttle_pct: Optional[float] = None
    highest_throttle_pct: Optional[float] = None
    predicted_time_ms: Optional[float] = None
    predicted_downtime_ms: Optional[float] = None
    predicted_loss_ms: Optional[float] = None
    expected_downtime_ms: Optional[float] = None    # QEMU's own, of the end
    throttled_ms: Optional[float] = None
    downtime_ms: Optional[float] = None
    fallback: Optional[str] = None
    error: Optional[str] = None
    ceiling_pct: Optional[float] = None             # parameters from here on
    downtime_limit_ms: Optional[float] = None
    fallback_downtime_ms: Optional[float] = None
    deadline_s: Optional[float] = None

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.status in END_STATUSES

    @property
    def begun(self) -> bool:
        """Whether there is or was a migration."""
        return self.status != NONE_STATUS

    @property
    def tells_why(self) -> bool:
        """Whether this QEMU has the controller, and it is on."""
        return self.phase is not None

    def to_json(self) -> Dict[str, Any]:
        """What is known."""
        return {f.name: getattr(self, f.name) for f in fields(self)
                if getattr(self, f.name) is not None}

    @staticmethod
    def from_json(members: Mapping[str, Any]) -> 'Sample':
        """Its own inverse; members that are not known here are passed over."""
        time_s = number(members, 'time_s')
        if time_s is None:
            raise ValueError("the number 'time_s' is missing")
        sample = Sample(time_s, text(members, 'status') or NONE_STATUS)
        for field in fields(Sample)[2:]:
            read = text if field.name in TEXTS else number
            setattr(sample, field.name, read(members, field.name))
        return sample


TEXTS = ('phase', 'reason', 'fallback', 'error')


def number(mapping: Mapping[str, Any], key: str) -> Optional[float]:
    """A finite number, whole or not; None where it is missing or is none."""
    value = mapping.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if math.isfinite(value) else None


def text(mapping: Mapping[str, Any], key: str) -> Optional[str]:
    """A string; None where it is missing or is none."""
    value = mapping.get(key)
    return value if isinstance(value, str) else None


def part(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A struct, empty where it is missing or is none."""
    value = mapping.get(key)
    return value if isinstance(value, dict) else {}


def _times(value: Optional[float], factor: float) -> Optional[float]:
    return None if value is None else value * factor


def percent(mapping: Mapping[str, Any], key: str) -> Optional[float]:
    """Of a member in permille."""
    permille = number(mapping, key)
    return None if permille is None else permille / 10


def _first(*values: Optional[float]) -> Optional[float]:
    return next((value for value in values if value is not None), None)


def make_sample(reply: Mapping[str, Any], parameters: Mapping[str, Any],
                time_s: float, before: Optional[Sample] = None) -> Sample:
    """
    Understand the replies to query-migrate and query-migrate-parameters;
    before: the sample before, for the drain rate.
    """
    sample = Sample(time_s, text(reply, 'status') or NONE_STATUS,
                    error=text(reply, 'error-desc'),
                    elapsed_ms=number(reply, 'total-time'),
                    expected_downtime_ms=number(reply, 'expected-downtime'),
                    downtime_ms=number(reply, 'downtime'),
                    throttle_pct=number(reply, 'cpu-throttle-percentage'))
    _take_ram(sample, part(reply, 'ram'), before)
    _take_controller(sample, part(reply, 'auto-converge'))
    sample.ceiling_pct = number(parameters, 'max-cpu-throttle')
    sample.downtime_limit_ms = number(parameters, 'downtime-limit')
    sample.fallback_downtime_ms = number(parameters,
                                         'cpu-throttle-fallback-downtime')
    sample.deadline_s = number(parameters, 'cpu-throttle-deadline')
    return sample


def _take_ram(sample: Sample, ram: Mapping[str, Any],
              before: Optional[Sample]) -> None:
    """Any QEMU's account of the memory."""
    page_bytes = number(ram, 'page-size') or DEFAULT_PAGE_BYTES
    sample.passes = number(ram, 'dirty-sync-count')
    sample.remaining_bytes = number(ram, 'remaining')
    sample.total_bytes = number(ram, 'total')
    sample.dirty_bps = _times(number(ram, 'dirty-pages-rate'), page_bytes)
    sample.wire_bps = _times(number(ram, 'mbps'), 1e6 / BITS_PER_BYTE)
    normal = number(ram, 'normal')
    if normal is not None:
        pages = normal + (number(ram, 'duplicate') or 0)
        sample.drained_bytes = pages * page_bytes
    sample.drain_bps = _drain_bps(sample, before)


def _drain_bps(sample: Sample, before: Optional[Sample]) -> Optional[float]:
    """
    Since the sample before, which may be of an earlier migration. After the
    end nothing is sent, and that is not what is asked for.
    """
    if before is None or sample.ended or sample.drained_bytes is None \
            or before.drained_bytes is None or sample.time_s <= before.time_s \
            or sample.drained_bytes < before.drained_bytes:
        return None
    return (sample.drained_bytes - before.drained_bytes) \
        / (sample.time_s - before.time_s)


def _take_controller(sample: Sample, auto: Mapping[str, Any]) -> None:
    """The controller's, which are better where both are told."""
    sample.phase = text(auto, 'phase')
    sample.reason = text(auto, 'reason')
    sample.fallback = text(auto, 'fallback')
    sample.windows = number(auto, 'windows')
    sample.throttle_pct = _first(percent(auto, 'throttle-permille'),
                                 sample.throttle_pct)
    sample.highest_throttle_pct = percent(auto, 'highest-throttle-permille')
    sample.predicted_time_ms = number(auto, 'predicted-time')
    sample.predicted_downtime_ms = number(auto, 'predicted-downtime')
    sample.predicted_loss_ms = number(auto, 'predicted-loss')
    sample.throttled_ms = number(auto, 'throttled-time')
    # with stops that were ended, which the migration's own leaves out
    sample.downtime_ms = _first(number(auto, 'downtime'), sample.downtime_ms)
    if sample.windows:
        sample.dirty_bps = _first(number(auto, 'dirty-rate'), sample.dirty_bps)
    sample.drain_bps = _first(sample.drain_bps,
                              number(auto, 'transfer-rate')
                              if sample.windows else None, sample.wire_bps)


class History:
    """
    The samples of one migration, from its begin on. When there are too many,
    every other one is dropped, and from then on only every other one is taken.
    """

    def __init__(self, most: int = HISTORY_MAX):
        self.samples: List[Sample] = []
        self._most = most
        self._step = 1
        self._seen = 0

    def add(self, sample: Sample) -> None:
        """The next one."""
        skipped = self._seen % self._step
        self._seen += 1
        if skipped and not sample.ended:
            return
        self.samples.append(sample)
        if len(self.samples) > self._most:
            del self.samples[1::2]
            self._step *= 2

    def values(self, name: str) -> List[float]:
        """One member of all samples that know it."""
        known = (getattr(sample, name) for sample in self.samples)
        return [value for value in known if value is not None]
