"""When which account is polled: due times on a heap, jitter, back-off, and a limit of sessions per host.

Pure: the caller brings the time (monotonic seconds) and the chance. Nothing here waits or starts anything.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fetchd.errors import Retry
from fetchd.values import value

JITTER: Final = 0.1
"""Every delay is stretched or shrunk by up to this part of it, so that accounts do not march in step."""

SOON_FIRST: Final = 60.0
"""Seconds to the first retry after a passing fault (the interval, where that is shorter)."""
SOON_LIMIT: Final = 900.0
"""Seconds that retries after passing faults grow to (the interval, where that is longer)."""
LATER_LIMIT: Final = 6 * 3600.0
"""Seconds that retries of kind LATER grow to (the interval, where that is longer)."""
HOLD: Final = 24 * 3600.0
"""Seconds that an account on hold waits, unless a reload or a SIGUSR1 comes first."""


@value
class Slot:
    """What the schedule needs to know of an account: its name, its host (for the limit), its interval in seconds."""

    name: str
    host: str
    interval: float


@value
class Prompted:
    """What it means that an account is to be polled now.

    Attributes:
        delay: seconds that it has to wait all the same, since its server says so.
        running: it is in hand, and comes again right after.
        held: it was on hold, which ends with this.
    """

    name: str
    delay: float = 0.0
    running: bool = False
    held: bool = False


@dataclass(slots=True)
class _Entry:
    slot: Slot
    ticket: int = 0
    not_before: float = 0.0
    failures: int = 0
    again: bool = False
    held: bool = False


def backoff(interval: float, retry: Retry, failures: int) -> float:
    """Returns the seconds to wait after the given number of failures in a row (at least 1), before jitter.

    >>> [backoff(300, Retry.SOON, n) for n in (1, 2, 3, 4, 5, 9)]
    [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
    >>> [backoff(300, Retry.LATER, n) for n in (1, 2, 9)]
    [600.0, 1200.0, 21600.0]
    """
    doublings = min(failures, 20)
    if retry is Retry.SOON:
        return min(min(SOON_FIRST, interval) * 2.0 ** (doublings - 1), max(interval, SOON_LIMIT))
    if retry is Retry.LATER:
        return min(interval * 2.0**doublings, max(interval, LATER_LIMIT))
    return max(interval, HOLD)


class Schedule:
    """Which account may start now. Accounts in hand are *running* until :meth:`finished` tells otherwise.

    An account that is due while its host has no session to spare waits in line for that host, first come, first
    served, and holds up nobody else.
    """

    def __init__(self, *, sessions_per_host: int, chance: Callable[[], float]) -> None:
        """``chance`` returns a random number in [0, 1)."""
        self._sessions_per_host = sessions_per_host
        self._chance = chance
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._tickets = 0
        self._running: dict[str, str] = {}
        self._sessions: Counter[str] = Counter()
        self._in_line: defaultdict[str, deque[tuple[str, int]]] = defaultdict(deque)
        self._free_again: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the accounts in hand."""
        return tuple(self._running)

    def replace(
        self,
        slots: Iterable[Slot],
        *,
        now: float,
        restart: Iterable[str] = (),
        waits: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Sets the accounts: new ones, those named in ``restart`` and those on hold are due at once.

        Others keep their time. ``waits`` holds seconds for those that would be due at once but are due only later.
        """
        wanted = {slot.name: slot for slot in slots}
        restarted = set(restart)
        for name in self._entries.keys() - wanted.keys():
            del self._entries[name]
        for name, slot in wanted.items():
            entry = self._entries.get(name)
            if entry is None or name in restarted:
                entry = self._entries[name] = _Entry(slot, not_before=now + waits.get(name, 0.0))
                if name in self._running:
                    entry.again = True
                else:
                    self._push(entry, now + waits.get(name, 0.0))
            else:
                entry.slot = slot
                if entry.held:
                    self._push(entry, now + waits.get(name, 0.0))

    def forget(self, name: str) -> None:
        """Takes an account out; one that is running still counts for its host until it is finished."""
        self._entries.pop(name, None)

    def poll_now(self, names: Iterable[str] = (), *, now: float) -> tuple[Prompted, ...]:
        """Makes accounts due at once, those on hold and those backing off too, but none before its server allows it.

        Args:
            names: accounts that there are; none for all.
            now: monotonic seconds.
        """
        return tuple(self._prompt(self._entries[name], now) for name in (tuple(names) or self._entries))

    def _prompt(self, entry: _Entry, now: float) -> Prompted:
        name = entry.slot.name
        if name in self._running:
            entry.again = True
            return Prompted(name, running=True)
        prompted = Prompted(name, max(0.0, entry.not_before - now), held=entry.held)
        self._push(entry, now + prompted.delay)
        return prompted

    def take(self, *, now: float) -> str | None:
        """Returns an account that may start, which is running from here on; None when there is none."""
        while self._free_again:
            name = self._next_in_line(self._free_again.popleft())
            if name is not None:
                return name
        while self._heap and self._heap[0][0] <= now:
            _, ticket, name = heapq.heappop(self._heap)
            entry = self._entries.get(name)
            if entry is None or entry.ticket != ticket:
                continue
            host = entry.slot.host
            if self._sessions[host] < self._sessions_per_host:
                return self._start(entry)
            self._in_line[host].append((name, ticket))
        return None

    def next_due(self) -> float | None:
        """Returns the monotonic time at which :meth:`take` is worth another call; None when nothing is scheduled."""
        while self._heap:
            due, ticket, name = self._heap[0]
            entry = self._entries.get(name)
            if entry is not None and entry.ticket == ticket:
                return due
            heapq.heappop(self._heap)
        return None

    def finished(
        self, name: str, *, now: float, retry: Retry | None = None, more: bool = False, at_least: float = 0.0
    ) -> float | None:
        """Ends a run and schedules the next.

        Args:
            name: an account that :meth:`take` returned.
            now: monotonic seconds.
            retry: None after a success, else what the error said.
            more: there is more to fetch at once (``max_messages``).
            at_least: seconds that have to pass in any case, since the server says so.

        Returns:
            Seconds until the account is due again; None where it is not scheduled any more.
        """
        host = self._running.pop(name)
        self._sessions[host] -= 1
        if not self._sessions[host]:
            del self._sessions[host]
        if self._in_line.get(host):
            self._free_again.append(host)
        entry = self._entries.get(name)
        if entry is None:
            return None
        entry.failures = 0 if retry is None else entry.failures + 1
        at_once = entry.again or (more and retry is None)
        if at_once:
            delay = 0.0
        else:
            base = entry.slot.interval if retry is None else backoff(entry.slot.interval, retry, entry.failures)
            delay = base * (1 - JITTER + 2 * JITTER * self._chance())
        entry.again = False
        entry.not_before = now + at_least
        delay = max(delay, at_least)
        self._push(entry, now + delay, held=retry is Retry.HOLD and not at_once)
        return delay

    def failures(self, name: str) -> int:
        """Returns how many times in a row the account failed."""
        entry = self._entries.get(name)
        return 0 if entry is None else entry.failures

    def _push(self, entry: _Entry, due: float, *, held: bool = False) -> None:
        entry.held = held
        self._tickets += 1
        entry.ticket = self._tickets
        heapq.heappush(self._heap, (due, entry.ticket, entry.slot.name))

    def _next_in_line(self, host: str) -> str | None:
        line = self._in_line[host]
        while line:
            if self._sessions[host] >= self._sessions_per_host:
                return None
            name, ticket = line.popleft()
            entry = self._entries.get(name)
            if entry is not None and entry.ticket == ticket:
                if line:
                    self._free_again.append(host)
                return self._start(entry)
        del self._in_line[host]
        return None

    def _start(self, entry: _Entry) -> str:
        name, host = entry.slot.name, entry.slot.host
        self._running[name] = host
        self._sessions[host] += 1
        entry.ticket = 0
        entry.held = False
        return name
