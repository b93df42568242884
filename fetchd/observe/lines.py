"""Lines on their way to a stream that may be closed, broken or blocked; who logs never feels it (FAULTS 113)."""

import os
import select
import time
from collections.abc import Callable, Mapping
from os import write
from typing import Final, TextIO

WriteLine = Callable[[str], bool]
"""Takes one line without its line end. Never raises; returns whether the line got out."""

_SLICE: Final = select.PIPE_BUF
"""Octets that a pipe which polls as writable takes without blocking, and without mixing in another writer's."""


JOURNAL_PRIORITIES: Final[Mapping[str, int]] = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""A level's number in the journal and in syslog (RFC 5424 §6.2.1)."""


def is_journal(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Returns whether a stream leads to the systemd journal: ``$JOURNAL_STREAM`` names its device and inode.

    The variable alone says little: who redirects the stream elsewhere inherits it too (systemd.exec(5)).
    """
    named = environ.get("JOURNAL_STREAM", "")
    if not named or stream is None:
        return False
    try:
        info = os.fstat(stream.fileno())
    except (OSError, ValueError):  # ValueError: the stream was closed
        return False
    return named == f"{info.st_dev}:{info.st_ino}"


def for_journal(line: str, level: str) -> str:
    """Returns a line with the prefix that tells the journal its level, which is not shown (sd-daemon(3)).

    Each line of it: the journal makes an entry of each.
    """
    prefix = f"<{JOURNAL_PRIORITIES[level]}>"
    return prefix + line.replace("\n", f"\n{prefix}")


class LineWriter:
    """Writes lines to a stream: each line up to ``PIPE_BUF`` octets is one ``write(2)``, in UTF-8.

    A stream with a file descriptor is written to directly, past its own buffer, and only while it polls as writable:
    a reader that stands still costs the first line ``patience`` seconds and the following ones nothing, until it
    moves again. Not safe for two threads at a time: the log renderer has the lock.
    """

    def __init__(self, stream: TextIO | None, *, patience: float = 1.0) -> None:
        """Binds a stream.

        Args:
            stream: where to write; None (a process started without standard output) drops every line.
            patience: seconds that a line may wait for a reader.
        """
        self._stream = stream
        self._patience = patience
        self._stalled = False
        self._torn = False

    def __call__(self, line: str) -> bool:
        """Writes a line; returns False where it is lost."""
        if self._stream is None:
            return False
        try:
            descriptor = self._descriptor(self._stream)
            if descriptor is None:
                self._stream.write(line + "\n")
                self._stream.flush()
                return True
            return self._send(descriptor, (line + "\n").encode("utf-8", "backslashreplace"))
        except (OSError, ValueError):  # ValueError: the stream was closed, or cannot encode the line
            return False

    @staticmethod
    def _descriptor(stream: TextIO) -> int | None:
        """Returns the stream's descriptor, asked for anew each time: a closed one's number may be another's by now.

        Raises:
            ValueError: the stream is closed.
        """
        try:
            return stream.fileno()
        except OSError:
            return None

    def _send(self, descriptor: int, data: bytes) -> bool:
        if self._torn:  # the line before was cut off in the middle: do not let it swallow this one
            data = b"\n" + data
        until = time.monotonic() + (0.0 if self._stalled else self._patience)
        sent = 0
        while sent < len(data):
            if not _writable(descriptor, until):
                self._stalled = True
                self._torn = self._torn or sent > 0
                return False
            sent += write(descriptor, data[sent : sent + _SLICE])
        self._stalled = self._torn = False
        return True


def _writable(descriptor: int, until: float) -> bool:
    """Waits until a descriptor takes octets (or fails at once, as a closed pipe does), or a monotonic time has come."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))
