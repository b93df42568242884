"""A message as it stands in an mbox: separator line, body in mboxrd quoting, blank line.

mboxrd (https://www.loc.gov/preservation/digital/formats/fdd/fdd000385.shtml): a line that matches ``^>*From `` gets one
more ``>``, so that nothing in a body is taken for a separator and every body can be had back exactly.

All is a pure function of the message and its time of staging: recovery writes, or looks for, the same octets again.
"""

import re
import time
from collections.abc import Iterable, Iterator
from typing import Final

_FROM: Final = b"From "
_QUOTABLE: Final = re.compile(rb"(\n>*)From ")
_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999: later times have no asctime of 24 characters."""


class Quoter:
    """Quotes one message, in chunks of any size; holds back at most four octets, however long a line is."""

    __slots__ = ("_held", "_in_prefix")

    def __init__(self) -> None:
        self._held = b""
        self._in_prefix = True
        """Whether the line in hand is nothing but ``>`` so far. One more may go anywhere among them."""

    def quote(self, chunk: bytes) -> bytes:
        """Returns the next octets, quoted."""
        octets = self._held + chunk
        self._held = _beginning_of_from(octets)
        octets = octets[: len(octets) - len(self._held)]
        if not octets:
            return b""
        quoted = octets
        if _FROM in octets:
            line_start = b"\n" if self._in_prefix else b""
            quoted = _QUOTABLE.sub(rb"\1>From ", line_start + octets)[len(line_start) :]
        last_line = octets.rfind(b"\n") + 1
        self._in_prefix = (last_line > 0 or self._in_prefix) and not octets[last_line:].lstrip(b">")
        return quoted

    def end(self) -> bytes:
        """Returns what is still held."""
        held, self._held = self._held, b""
        return held


def _beginning_of_from(octets: bytes) -> bytes:
    """Returns the octets' end, where it may be the beginning of ``From ``."""
    for length in range(min(len(_FROM) - 1, len(octets)), 0, -1):
        if octets.endswith(_FROM[:length]):
            return _FROM[:length]
    return b""


def separator(seconds: int) -> bytes:
    """Returns the line before a message: ``From MAILER-DAEMON Tue Nov 24 06:01:00 2026``, in UTC.

    The sender is the one that the standard library's ``mailbox.mbox`` writes: the envelope's is not known.

    Args:
        seconds: Unix time.
    """
    return b"From MAILER-DAEMON %s\n" % time.asctime(time.gmtime(min(seconds, _LAST_SECOND))).encode("ascii")


def as_mbox(chunks: Iterable[bytes], *, seconds: int) -> Iterator[bytes]:
    """Yields a message's octets in an mbox; never holds more than a chunk.

    A message that does not end its last line is given a line end; the blank line after it always follows.

    Args:
        chunks: the message as staged, with LF line ends.
        seconds: Unix time, for the separator line.
    """
    yield separator(seconds)
    quoter = Quoter()
    ends_line = True
    for chunk in chunks:
        quoted = quoter.quote(chunk)
        if quoted:
            ends_line = quoted.endswith(b"\n")
            yield quoted
    rest = quoter.end()
    if rest:
        ends_line = False
    yield rest + (b"\n" if ends_line else b"\n\n")
