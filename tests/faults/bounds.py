"""Bounds of time and memory, and the mark for what fetchd does not do yet."""

import ctypes
import gc
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import pytest

MB: Final = 2**20
BOUND: Final = 64 * MB
"""FAULTS §2: how much memory a server may make us use."""


class HungError(BaseException):
    """The poll did not end: nothing in the product may take this for a fault of the account's."""


@contextmanager
def watchdog(seconds: float) -> Iterator[None]:
    """Raises :class:`HungError` in what takes longer, in the main thread; elsewhere it watches nothing."""

    def bark(_number: int, _frame: FrameType | None) -> None:
        raise HungError(f"not at an end after {seconds} s")

    try:
        previous = signal.signal(signal.SIGALRM, bark)
    except ValueError:  # not the main thread
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextmanager
def bounded(most: int = BOUND) -> Iterator[None]:
    """Asserts that what runs inside holds no more memory than this at any time, in octets."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak / MB:.0f} MB were held"


@contextmanager
def bounded_resident(most: int = BOUND) -> Iterator[None]:
    """Likewise, by the resident set: less exact, and not slowed down by the tracing of every object."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not count as room
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (proc(5))
    before = resident()
    yield
    grown = resident("VmHWM") - before
    assert grown < most, f"the resident set grew by {grown / MB:.0f} MB"


def resident(what: str = "VmRSS") -> int:
    """Returns the resident set of this process, in octets; ``VmHWM`` is its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {what}")


def not_yet(reason: str, *, raises: type[BaseException] = AssertionError) -> pytest.MarkDecorator:
    """Marks what FAULTS demands and fetchd does not do: the demand stands, and passes by itself the day it is met."""
    return pytest.mark.xfail(strict=True, raises=raises, reason=reason)
