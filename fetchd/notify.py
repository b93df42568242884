"""What the service manager is told: ready, reloading, stopping, how things stand, and that the main loop still turns.

The protocol is sd_notify(3): datagrams of ``KEY=value`` lines to the socket that ``$NOTIFY_SOCKET`` names. Nothing here
fails fetchd, which runs as well without a service manager: then nobody is told.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import Final, Protocol

from fetchd.ports import Clock
from fetchd.wording import counted

STATUS_PAUSE: Final = 2.0
"""Seconds between two texts on how things stand: the service manager passes each on to whoever listens."""
_PULSES: Final = 3
"""How many times in the watchdog's interval it is fed; systemd recommends at least two (sd_watchdog_enabled(3))."""
_PATIENCE: Final = 1.0
"""Seconds that a service manager which reads nothing may cost."""


class Supervisor(Protocol):
    """Who started us and watches over us. Called by the main loop only; no method raises."""

    def ready(self) -> None:
        """Tells that the configuration is live: after the start, and after a reload that went well or not."""
        ...

    def reloading(self) -> None:
        """Tells that the configuration is being read again; :meth:`ready` ends that."""
        ...

    def stopping(self) -> None:
        """Tells that the end has begun."""
        ...

    def turned(self, standing: Callable[[], str]) -> float:
        """Tells that the main loop turned, and how things stand, as far as that is news.

        Args:
            standing: returns one line on how things stand. Called often.

        Returns:
            Seconds within which the main loop has to turn again.
        """
        ...


class Unsupervised:
    """Nobody watches: see :class:`Supervisor`."""

    def ready(self) -> None:
        """Tells nobody."""

    def reloading(self) -> None:
        """Tells nobody."""

    def stopping(self) -> None:
        """Tells nobody."""

    def turned(self, standing: Callable[[], str]) -> float:  # noqa: ARG002 - the protocol's signature
        """Lets the main loop sleep as long as it likes."""
        return inf


class Notifier:
    """The service manager at a socket: see :class:`Supervisor`."""

    def __init__(self, address: str, *, clock: Clock, watchdog: float | None = None) -> None:
        """Binds nothing, and needs nobody at the other end.

        Args:
            address: a socket's path, or its abstract name behind an ``@``.
            clock: times the watchdog.
            watchdog: seconds after which the service manager takes us for hung; None where it does not watch.
        """
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._clock = clock
        self._pulse = inf if watchdog is None else watchdog / _PULSES
        self._feed_at = clock.monotonic() if watchdog is not None else inf
        self._told = ""
        self._tell_at = clock.monotonic()

    def ready(self) -> None:
        """See :class:`Supervisor`."""
        self._send("READY=1")

    def reloading(self) -> None:
        """See :class:`Supervisor`. ``Type=notify-reload`` wants to know when, by the kernel's monotonic clock."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """See :class:`Supervisor`. The time that the unit gives for that stays: a kill at any instant does no harm."""
        self._send("STOPPING=1")

    def turned(self, standing: Callable[[], str]) -> float:
        """See :class:`Supervisor`."""
        now = self._clock.monotonic()
        if now >= self._feed_at:
            self._send("WATCHDOG=1")
            self._feed_at = now + self._pulse
        text = standing()
        if text == self._told:
            return self._feed_at - now
        if now >= self._tell_at:
            self._send(f"STATUS={text}")
            self._told = text
            self._tell_at = now + STATUS_PAUSE
            return self._feed_at - now
        return min(self._feed_at, self._tell_at) - now

    def _send(self, *lines: str) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_PATIENCE)
            sock.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


def supervisor(environ: MutableMapping[str, str], *, clock: Clock) -> Supervisor:
    """Returns who watches over this process, as the environment says.

    The variables are taken out of it: a command that fetches a password must not speak in our name.
    """
    address = environ.pop("NOTIFY_SOCKET", "")
    microseconds = environ.pop("WATCHDOG_USEC", "")
    watched = environ.pop("WATCHDOG_PID", "") in {"", str(os.getpid())}
    if address[:1] not in {"/", "@"}:
        return Unsupervised()
    watchdog = int(microseconds) / 1e6 if watched and microseconds.isascii() and microseconds.isdecimal() else 0.0
    return Notifier(address, clock=clock, watchdog=watchdog or None)


def standing(*, accounts: int, failing: int, polling: int, next_poll: float | None) -> str:
    """Returns how things stand in one line.

    The next poll's time of day is told rather than how long it takes until then: the line is read later.

    Args:
        accounts: how many there are.
        failing: how many failed at their last poll.
        polling: how many sessions are in hand.
        next_poll: Unix seconds; None where none is scheduled.

    >>> standing(accounts=12, failing=1, polling=0, next_poll=None)
    '12 accounts, 1 failing'
    """
    parts = [counted(accounts, "account")]
    if failing:
        parts.append(f"{failing:,} failing")
    if polling:
        parts.append(f"{polling:,} polling")
    if next_poll is not None:
        parts.append(f"next poll {datetime.fromtimestamp(next_poll, tz=UTC).astimezone():%a %H:%M:%S}")
    return ", ".join(parts)
