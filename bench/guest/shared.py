# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""The pages that the guest's programs share with the host: guest/shared.h."""

import mmap
import struct
from dataclasses import dataclass
from typing import List, Sequence

SHARED_BYTES = 65536
MAGIC = 0x6d61657274736e67
MAGIC_AT, SECONDS_AT, COUNT_AT, LATENCY_AT = 0, 8, 64, 576
COUNTERS = 8
COUNTER_WORDS = 8
LATENCY_STEPS = 8
LATENCY_BUCKETS = 39 * LATENCY_STEPS + 1
NS = 1e9

# A hole in the guest's RAM, which the kernel is told to leave alone. It lies
# above the kernel, which is loaded at 16 MiB, and below the initramfs, which
# is put at the end of the RAM.
PAGE_AT = 0x6000000


@dataclass
class Counts:
    """One look at the pages."""
    work: int                       # of the load, since it began
    printed: int                    # lines, one a second
    latency: Sequence[int]          # transactions by latency, since it began


class SharedPages:
    """The pages in the file that is the guest's RAM; a context manager."""

    def __init__(self, path: str):
        with open(path, 'rb') as ram:
            self._map = mmap.mmap(ram.fileno(), SHARED_BYTES,
                                  prot=mmap.PROT_READ, offset=PAGE_AT)
        self._words = memoryview(self._map).cast('Q')
        first = COUNT_AT // self._words.itemsize
        self._counters = slice(first, first + COUNTERS * COUNTER_WORDS,
                               COUNTER_WORDS)

    def __enter__(self) -> 'SharedPages':
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """No more looks."""
        self._words.release()
        self._map.close()

    @property
    def ready(self) -> bool:
        """Whether the load has begun."""
        return self._words[MAGIC_AT] == MAGIC

    @property
    def work(self) -> int:
        """The work done alone, which is quick to read."""
        return sum(self._words[self._counters].tolist())

    def read(self) -> Counts:
        """All counts."""
        return Counts(
            self.work, self._words[SECONDS_AT // self._words.itemsize],
            struct.unpack_from(f'<{LATENCY_BUCKETS}Q', self._map, LATENCY_AT))


def bucket_s(bucket: int) -> float:
    """The latency at which a bucket begins."""
    digits, step = divmod(bucket, LATENCY_STEPS)
    return 2.0 ** digits * (1 + step / LATENCY_STEPS) / NS


def latency_between(before: Sequence[int], after: Sequence[int]) -> List[int]:
    """Transactions by latency that ended between two looks."""
    return [late - early for early, late in zip(before, after)]


def quantile_s(latency: Sequence[int], quantile: float) -> float:
    """
    The latency that this share of the transactions did not exceed; 0 when
    there were none. Within a bucket they are taken to be spread evenly.
    """
    wanted = sum(latency) * quantile
    seen = 0.0
    for bucket, number in enumerate(latency):
        if number and seen + number >= wanted:
            low, high = bucket_s(bucket), bucket_s(bucket + 1)
            return low + (high - low) * (wanted - seen) / number
        seen += number
    return 0.0


def slower_than(latency: Sequence[int], limit_s: float) -> int:
    """Transactions of the buckets that begin at a latency, or above it."""
    return sum(number for bucket, number in enumerate(latency)
               if bucket_s(bucket) >= limit_s)
