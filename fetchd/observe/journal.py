"""Events as entries of the systemd journal: a message for people, and every field of the event beside it.

``journalctl -u fetchd FETCHD_EVENT=poll.failed FETCHD_ACCOUNT=gmx`` finds what a human's line says, by its fields. The
protocol is the journal's own: one datagram an entry (https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from fetchd.events import Event
from fetchd.model import LogSettings
from fetchd.observe.escape import shown_value
from fetchd.observe.lines import JOURNAL_PRIORITIES
from fetchd.observe.logs import RANKS, Weighing, shown_fields

SOCKET: Final = Path("/run/systemd/journal/socket")
_BELOW: Final = ("problems", "trace")
"""Fields of many lines: they stand under the message's first one."""
_PATIENCE: Final = 1.0
"""Seconds that an entry may wait for a journal that reads nothing; the next ones wait no more."""


class JournalRenderer:
    """Sends events to the journal. Safe for many threads.

    Entries that it does not take are dropped and counted; once it takes some again, ``log.lost`` tells how many.
    """

    def __init__(self, settings: LogSettings, sock: socket.socket) -> None:
        """Takes over a socket that is connected: see :func:`connected`."""
        self._rank = RANKS[settings.level]
        self._weighing = Weighing()
        self._socket = sock
        self._lock = threading.Lock()
        self._lost = 0

    def __call__(self, event: Event) -> None:
        """Logs an event, or not. Never raises for anything that the journal does."""
        level, extra = self._weighing(event)
        if RANKS.get(level, 0) < self._rank:
            return
        with self._lock:
            if not self._send(entry(event.name, level, {**shown_fields(event), **extra})):
                self._lost += 1
            elif self._lost and self._send(entry("log.lost", "warning", {"lines": self._lost})):
                self._lost = 0

    def _send(self, octets: bytes) -> bool:
        self._socket.settimeout(0.0 if self._lost else _PATIENCE)
        try:
            self._socket.send(octets)
        except OSError:  # also EMSGSIZE: of what is longer than any event
            return False
        return True


def connected(path: Path = SOCKET) -> socket.socket | None:
    """Returns a socket to the journal; None where it cannot be reached."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        return None
    return sock


def entry(name: str, level: str, fields: Mapping[str, object]) -> bytes:
    """Returns an entry as the journal takes it. A list is a field that occurs several times."""
    listed = [
        ("MESSAGE", _message(name, fields)),
        ("PRIORITY", str(JOURNAL_PRIORITIES[level])),
        ("SYSLOG_IDENTIFIER", "fetchd"),
        ("FETCHD_EVENT", name),
    ]
    for key, value in fields.items():
        listed += [(f"FETCHD_{key.upper()}", text) for text in _texts(value)]
    return b"".join(_encoded(key, text) for key, text in listed)


def _message(name: str, fields: Mapping[str, object]) -> str:
    words = [f"{key}={shown_value(value)}" for key, value in fields.items() if key not in _BELOW]
    below = [line for key in _BELOW for text in _texts(fields.get(key, [])) for line in text.splitlines()]
    return "\n    ".join([" ".join([name, *words]), *below])


def _texts(value: object) -> Iterator[str]:
    match value:
        case list():
            for item in value:
                yield from _texts(item)
        case str():
            yield value
        case _:
            yield shown_value(value)


def _encoded(key: str, text: str) -> bytes:
    octets = text.encode("utf-8", "backslashreplace")
    if b"\n" not in octets:
        return b"%s=%s\n" % (key.encode("ascii"), octets)
    return b"%s\n%s%s\n" % (key.encode("ascii"), len(octets).to_bytes(8, "little"), octets)
