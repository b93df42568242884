"""Where a reply's lines and bodies begin and end (RFC 1939 §3), on whole buffers: no line of a body is a Python object.

A line ends in CRLF. Where the greeting ended in a bare LF, so does every line and every body of that session; the two
are never mixed, lest a body that contains ``LF . LF`` (any sender can write one) ends a message early.
"""

import re
from typing import Final

from fetchd.errors import ProtocolError

CRLF: Final = b"\r\n"
LF: Final = b"\n"
DOT: Final = b"."

# On text that is not the same buffer over and over, a regular expression finds this in half the time of bytes.find; and
# memchr(3) finds in a tenth of that time that there is no dot at all, as in an attachment's base64.
_FIRST_DOT: Final = {CRLF: re.compile(rb"\r\n\."), LF: re.compile(rb"\n\.")}
_END: Final = {line_end: line_end + DOT + line_end for line_end in (CRLF, LF)}
_PREFIXES: Final = {
    line_end: tuple(end[:size] for size in range(len(end) - 1, 0, -1)) for line_end, end in _END.items()
}
_MIXED: Final = {
    CRLF: "a line ends in a bare LF, although the greeting ended in CRLF",
    LF: "a line ends in CRLF, although the greeting ended in a bare LF",
}


def take_line(data: bytes, start: int, *, limit: int, line_end: bytes | None) -> tuple[bytes, bytes, int] | None:
    """Takes one line out of a buffer.

    Args:
        data: what was received.
        start: where the line begins in it.
        limit: the most octets that the line may have, its end included.
        line_end: CRLF or LF, whichever this session uses; None takes either (the greeting).

    Returns:
        The line without its end, its end, and where the next line begins; or None where the line is not complete.

    Raises:
        ProtocolError: the line is too long, or its end is not this session's.
    """
    newline = data.find(LF, start, start + limit)
    if newline < 0:
        if len(data) - start >= limit:
            raise ProtocolError(f"a line is longer than {limit} octets")
        return None
    text = newline - 1 if newline > start and data[newline - 1 : newline] == b"\r" else newline
    found = data[text : newline + 1]
    if line_end is not None and found != line_end:
        raise ProtocolError(_MIXED[line_end])
    return data[start:text], found, newline + 1


class BodyDecoder:
    """Undoes dot-stuffing and finds the end of one multi-line reply, over any cut of its octets.

    Line ends stay as they came, and the one before the terminating dot belongs to the content. Holds at most four
    octets back.
    """

    __slots__ = ("_end", "_find_dot", "_held", "_line_end", "_prefixes", "_stuffed", "_virtual", "ended")

    def __init__(self, line_end: bytes = CRLF) -> None:
        self._line_end = line_end
        self._stuffed = line_end + DOT
        self._find_dot = _FIRST_DOT[line_end].search
        self._end = _END[line_end]
        # The first line follows the status line's end: with that end put in front, it is a line like any other.
        self._held = line_end
        self._virtual = len(line_end)
        self.ended = False

    def feed(self, data: bytes, start: int = 0) -> tuple[bytes, int]:
        """Decodes more octets.

        Args:
            data: what was received.
            start: where this reply's next octet is in it.

        Returns:
            The content that is certain by now, and where in ``data`` the next reply begins; as long as the reply has
            not :attr:`ended`, that is its length.
        """
        if self.ended:
            return b"", start
        shift = 0
        virtual = self._virtual
        if virtual and start >= virtual and data.startswith(self._line_end, start - virtual):
            start -= virtual  # the status line's end is right there: no need to copy all that follows
        elif self._held:
            shift = start - len(self._held)
            data = self._held + data[start:]
            start = 0
        found = self._find_dot(data, start) if data.find(DOT, start) >= 0 else None
        dot = found.start() if found else -1
        end = data.find(self._end, dot) if found else -1
        if end >= 0:
            self.ended = True
            held, stop = b"", end + len(self._line_end)
            position = end + len(self._end)
        else:
            held = self._undecided(data)
            stop = len(data) - len(held)
            position = len(data)
        self._held = held
        if stop == start:
            return b"", position + shift
        self._virtual = 0
        if 0 <= dot < stop and dot != end:  # mostly, the first dot is the terminator's
            content = self._line_end.join(data[start:stop].split(self._stuffed))  # replace() looks for each one twice
            return content[virtual:], position + shift
        return data[start + virtual : stop], position + shift

    def _undecided(self, data: bytes) -> bytes:
        """Returns the longest tail that may become the terminator, or a stuffed dot."""
        for prefix in _PREFIXES[self._line_end]:
            if data.endswith(prefix):
                return prefix
        return b""


class LineDecoder:
    """The lines of one multi-line reply that is a list (LIST, UIDL, CAPA), many at a time.

    Args:
        line_end: CRLF or LF, whichever this session uses.
        limit: the most octets that a line may have, its end included.
    """

    __slots__ = ("_body", "_last", "_limit", "_line_end", "_rest")

    def __init__(self, line_end: bytes = CRLF, *, limit: int) -> None:
        self._body = BodyDecoder(line_end)
        self._line_end = line_end
        self._limit = limit - len(line_end)
        self._rest = b""
        self._last = b""

    @property
    def ended(self) -> bool:
        """Whether the terminating dot was seen."""
        return self._body.ended

    def feed(self, data: bytes, start: int = 0) -> tuple[list[bytes], int]:
        """Decodes more octets.

        Returns:
            The lines that are complete by now, without their ends, and where in ``data`` the next reply begins.

        Raises:
            ProtocolError: a line is too long, holds NUL, or has an end that is not this session's.
        """
        content, position = self._body.feed(data, start)
        if self._line_end == LF:
            self._reject_crlf(data[start:position])
        text = self._rest + content
        lines = text.split(self._line_end)
        self._rest = lines.pop()
        self._check(text, lines)
        return lines, position

    def _check(self, text: bytes, lines: list[bytes]) -> None:
        if b"\0" in text:
            raise ProtocolError("a line holds NUL")
        if text.count(LF) != len(lines):
            raise ProtocolError(_MIXED[CRLF])
        if max(map(len, lines), default=0) > self._limit or len(self._rest) > self._limit:
            raise ProtocolError(f"a line is longer than {self._limit + len(self._line_end)} octets")

    def _reject_crlf(self, received: bytes) -> None:
        """Looks at what came before the decoder held some of it back: after a wrong end, nothing more may come."""
        if CRLF in self._last + received:
            raise ProtocolError(_MIXED[LF])
        self._last = received[-1:] or self._last


def encode_body(message: bytes) -> bytes:
    r"""Returns a message as a server sends it after the status line: dot-stuffed and terminated (RFC 1939 §3).

    A message that does not end in CRLF gets one, since the terminator stands on a line of its own.

    >>> encode_body(b"a\r\n.b\r\n")
    b'a\r\n..b\r\n.\r\n'
    """
    ended = message if not message or message.endswith(CRLF) else message + CRLF
    stuffed = (CRLF + ended).replace(CRLF + DOT, CRLF + DOT + DOT)
    return stuffed[len(CRLF) :] + DOT + CRLF
