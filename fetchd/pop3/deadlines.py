"""How long a server may keep us waiting: with one read or write, with a step as a whole, with the session; how slowly.

No socket and no clock of its own: what waits asks :meth:`Deadlines.left` for how long.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

from fetchd.values import value

MINIMUM_RATE: Final = 100
"""Octets a second that a reply has to come in with. The slowest modems were faster."""
PACE_SECONDS: Final = 60.0
"""How long a reply may be slower than that; or as long as one read may take, where that is longer."""


@value
class _Limit:
    """``what`` may take ``seconds``, and has to be done at ``ends`` by the clock."""

    what: str
    seconds: float
    ends: float


class _Within:
    """Has a limit count until it is left. A generator would do as well, and cost four times as much."""

    __slots__ = ("_limit", "_limits")

    def __init__(self, limits: list[_Limit], limit: _Limit) -> None:
        self._limits = limits
        self._limit = limit

    def __enter__(self) -> None:
        self._limits.append(self._limit)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limits.remove(self._limit)


class Deadlines:
    """All the limits to one connection's waiting; the nearest one counts.

    A reply's pace is measured by the time that is spent waiting for its octets, from the first of them on: how long it
    takes to begin is the timeout's business, and what we do between two reads is our own.

    Args:
        timeout: seconds that a single read or write may take; may be changed at any time.
        session_timeout: seconds that everything together may take; None for no such limit.
        minimum_rate: octets a second, see :data:`MINIMUM_RATE`; 0 for no such limit.
        since: when the session began, by the clock.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        timeout: float,
        session_timeout: float | None,
        minimum_rate: int,
        since: float,
        clock: Callable[[], float],
    ) -> None:
        self.timeout = timeout
        self._clock = clock
        self._limits: list[_Limit] = []
        if session_timeout is not None:
            self._limits.append(_Limit("the session", session_timeout, since + session_timeout))
        self._nearest: _Limit | None = None
        self._minimum_rate = minimum_rate
        self._waited: float | None = None
        self._octets = 0

    def within(self, seconds: float, what: str) -> AbstractContextManager[None]:
        """Limits what happens in the context to ``seconds``; ``what`` is what takes so long then, for the message."""
        return _Within(self._limits, _Limit(what, seconds, self._clock() + seconds))

    def left(self) -> float:
        """Returns how many seconds the next read or write may take.

        Raises:
            TimeoutError: none.
        """
        self._nearest = None
        if not self._limits:
            return self.timeout
        nearest = min(self._limits, key=lambda limit: limit.ends)
        left = nearest.ends - self._clock()
        if left > self.timeout:
            return self.timeout
        self._nearest = nearest
        if left <= 0:
            raise TimeoutError
        return left

    def took_long(self, doing: str) -> str:
        """Returns which limit the last :meth:`left` was about, for a message; ``doing`` is what was being done."""
        if self._nearest is None:
            return f"{doing} took longer than {self.timeout:g} s"
        while_doing = "" if self._nearest.what == doing else f", while {doing}"
        return f"{self._nearest.what} took longer than {self._nearest.seconds:g} s{while_doing}"

    def reply_due(self) -> None:
        """Begins to measure another reply's pace."""
        self._waited = None
        self._octets = 0

    def too_slow(self, octets: int, waited: float) -> str:
        """Takes note that ``octets`` of a reply were waited for, and says why that is too slow; "" where it is not."""
        if self._waited is None:
            self._waited = 0.0
            return ""
        self._waited += waited
        self._octets += octets
        if self._waited < max(PACE_SECONDS, self.timeout):
            return ""
        came, seconds = self._octets, self._waited
        self._waited, self._octets = 0.0, 0
        if came >= self._minimum_rate * seconds:
            return ""
        return f"{came} octets in {seconds:.3g} s are less than {self._minimum_rate} octets a second"
