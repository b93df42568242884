"""The C library's heaps in a process that runs for months: what was freed goes back to the system.

Nothing here changes what the program does, or fails: on a C library without these functions nothing is done. Why it is
needed, and what each step brings, was measured: ``docs/soak.md``.
"""

import ctypes
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

SESSIONS: Final = 256
"""After so many sessions the heaps are trimmed: a millisecond or two, in the main loop."""

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_M_ARENA_MAX: Final = -8
_LARGE_OCTETS: Final = 128 * 1024
_HEAPS: Final = 2


def settle(environ: Mapping[str, str]) -> None:
    """Sets for this process how the C library uses memory (mallopt(3)); what the environment sets itself stands.

    Blocks of 128 KiB and more go back to the system when they are freed, each time. Else glibc keeps them on its heaps
    once the first was freed: a read of 256 KiB that brings one line then leaves a hole, in which small things settle.
    And there are two heaps, where glibc makes up to eight a processor: in each one, other threads' leavings lie about.
    """
    mallopt = _function("mallopt")
    if mallopt is not None and "MALLOC_MMAP_THRESHOLD_" not in environ:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_OCTETS)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in environ:
        mallopt(_M_ARENA_MAX, _HEAPS)


class Heap:
    """Has free pages of all heaps given back to the system (malloc_trim(3)), once in so many sessions."""

    def __init__(self, *, every: int = SESSIONS) -> None:
        self._every = every
        self._ended = 0
        self._trim = _function("malloc_trim")

    def session_ended(self) -> None:
        """Counts a session, and trims where it is time. For one thread, the main loop's."""
        self._ended += 1
        if self._trim is not None and self._ended % self._every == 0:
            self._trim(0)


def _function(name: str) -> Callable[..., int] | None:
    with suppress(OSError, AttributeError):  # musl has neither these functions nor such heaps
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
        return function
    return None
