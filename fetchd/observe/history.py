"""How many messages came when: today, and in each of the last 24 hours. A few octets an account."""

import time
from array import array
from collections.abc import Mapping
from typing import Final

from fetchd.observe.status import HOURS

HOUR: Final = 3600
_NONE: Final = (0,) * HOURS
_DAY: Final = 86_400


class Days:
    """When the day began that holds a moment, by this machine's wall clock: its time zone, its summer time."""

    def __init__(self) -> None:
        self._start = self._end = 0.0

    def start(self, now: float) -> float:
        """Returns the Unix seconds of the last midnight; asks the time zone anew once a day only."""
        if not self._start <= now < self._end:
            day = time.localtime(now)[:3]
            self._start = time.mktime((*day, 0, 0, 0, 0, 0, -1))
            self._end = time.mktime((day[0], day[1], day[2] + 1, 0, 0, 0, 0, 0, -1))
            if not self._start <= now < self._end:  # a midnight that the time zone leaves out or has twice
                self._start, self._end = now - now % _DAY, now - now % _DAY + _DAY
        return self._start


class History:
    """One account's messages. The hours are those of Unix time: a chart of a day has no need of a time zone."""

    __slots__ = ("_counts", "_day", "_hour", "_today")

    def __init__(self) -> None:
        self._counts: array[int] | None = None  # most of ten thousand accounts get no mail in a day
        self._hour = 0
        self._day = 0.0
        self._today = 0

    def count(self, number: int, *, at: float, day: float) -> None:
        """Counts messages.

        Args:
            number: how many.
            at: Unix seconds. A clock that stepped back counts into the hours before; by a day, it begins anew.
            day: when the day of ``at`` began.
        """
        if day != self._day:
            self._day, self._today = day, 0
        self._today += number
        hour = int(at // HOUR)
        if self._counts is None or hour <= self._hour - HOURS:
            self._counts, self._hour = array("Q", _NONE), hour
        self._roll(self._counts, hour)
        self._counts[hour % HOURS] += number

    def today(self, day: float) -> int:
        """Returns the messages of the day that began at ``day``."""
        return self._today if day == self._day else 0

    def hours(self, now: float) -> tuple[int, ...]:
        """Returns the messages of the last 24 hours, the one that runs last."""
        if self._counts is None:
            return _NONE
        last = int(now // HOUR)
        first = self._hour - HOURS
        return tuple(
            self._counts[hour % HOURS] if first < hour <= self._hour else 0
            for hour in range(last - HOURS + 1, last + 1)
        )

    def _roll(self, counts: "array[int]", hour: int) -> None:
        """Moves on to a new hour, and empties those that passed without mail."""
        if hour <= self._hour:
            return
        for passed in range(max(self._hour + 1, hour - HOURS + 1), hour + 1):
            counts[passed % HOURS] = 0
        self._hour = hour


def remembered(messages: Mapping[int, int], days: Days, *, now: float) -> History:
    """Returns the history of what a store remembers.

    Args:
        messages: Unix seconds → how many came then or soon after; nothing from before the last midnight or the last
            24 hours is needed.
        days: of this machine.
        now: Unix seconds.
    """
    history = History()
    for at in sorted(messages):
        if at <= now:  # a clock that was ahead
            history.count(messages[at], at=at, day=days.start(at))
    return history
