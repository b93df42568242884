"""What a process holds, seen from outside, over time; and whether that is a flat line."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

WARM_UP: Final = 0.15
"""The part of a run that is no evidence: imports, pools and caches fill."""
RSS_SLACK: Final = 3 * 2**20
"""Octets that the last quarter may have more than the second, in the median."""
COUNT_SLACK: Final = 4
"""Descriptors, or threads, that the last quarter may have more than the second, in the median."""
PEAK_SLACK: Final = 12
"""Descriptors, or threads, that any sample may have more than the most before: some sessions more at that moment."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the daemon.

    Attributes:
        seconds: since the first sample.
        polls: that had ended.
        rss, store: octets.
        descriptors, threads: how many there were.
    """

    seconds: float
    polls: int
    rss: int
    descriptors: int
    threads: int
    store: int


def look(pid: int, store: Path, *, seconds: float, polls: int) -> Sample:
    """Reads ``/proc`` of a process, and the size of its store with what stands beside it."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Sample(
        seconds,
        polls,
        int(status["VmRSS"].split()[0]) * 1024,
        len(os.listdir(f"/proc/{pid}/fd")),
        int(status["Threads"]),
        sum(path.stat().st_size for path in store.parent.glob(f"{store.name}*")),
    )


@dataclass(frozen=True, slots=True)
class Series:
    """One measured thing after the warm-up, in quarters of the run.

    Attributes:
        warm_up: the most that there was in the warm-up.
        medians, peaks: of each quarter.
    """

    warm_up: int
    medians: tuple[int, ...]
    peaks: tuple[int, ...]


def in_quarters(samples: Sequence[Sample], value: Callable[[Sample], int]) -> Series:
    """Cuts a run in a warm-up and four quarters, by polls."""
    last = samples[-1].polls
    start = last * WARM_UP
    parts: list[list[int]] = [[], [], [], []]
    warm_up = [0]
    for sample in samples:
        if sample.polls < start:
            warm_up.append(value(sample))
        else:
            parts[min(3, int(4 * (sample.polls - start) / (last - start)))].append(value(sample))
    return Series(max(warm_up), tuple(int(median(part)) for part in parts), tuple(max(part) for part in parts))


def rss(samples: Sequence[Sample]) -> Series:
    return in_quarters(samples, lambda sample: sample.rss)


def descriptors(samples: Sequence[Sample]) -> Series:
    return in_quarters(samples, lambda sample: sample.descriptors)


def threads(samples: Sequence[Sample]) -> Series:
    return in_quarters(samples, lambda sample: sample.threads)


def complaints(samples: Sequence[Sample]) -> list[str]:
    """Returns what is no flat line, in words; nothing where all is well."""
    found = []
    memory = rss(samples)
    if memory.medians[3] > memory.medians[1] + RSS_SLACK:
        found.append(f"RSS grows: {memory.medians}")
    for name, series in (("descriptors", descriptors(samples)), ("threads", threads(samples))):
        if series.medians[3] > series.medians[1] + COUNT_SLACK:
            found.append(f"{name} grow: {series.medians}")
        if series.peaks[3] > max(series.warm_up, *series.peaks[:2]) + PEAK_SLACK:
            found.append(f"{name} reach a new peak at the end: {series.warm_up}, {series.peaks}")
    return found
