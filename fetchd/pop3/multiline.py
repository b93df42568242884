"""A reply of many lines on its way in: what it holds so far as events, and how much of it we take."""

from fetchd.errors import ProtocolError
from fetchd.pop3.commands import Command
from fetchd.pop3.events import BodyChunk, Event, ListLines
from fetchd.pop3.framing import BodyDecoder, LineDecoder


class ListReply:
    """A list on its way in."""

    __slots__ = ("_decoder", "_lines", "_octets", "command")

    def __init__(self, command: Command, decoder: LineDecoder, *, most_lines: int, most_octets: int) -> None:
        self.command = command
        self._decoder = decoder
        self._lines = most_lines
        self._octets = most_octets

    @property
    def ended(self) -> bool:
        """Whether the terminating dot was seen."""
        return self._decoder.ended

    def feed(self, data: bytes, start: int) -> tuple[Event | None, int]:
        """Returns the next event, if there is one, and where in ``data`` what follows begins."""
        lines, position = self._decoder.feed(data, start)
        self._lines -= len(lines)
        self._octets -= sum(map(len, lines))
        if self._lines < 0 or self._octets < 0:
            raise ProtocolError("the list is longer than we take")
        return (ListLines(self.command, lines) if lines else None), position


class BodyReply:
    """A message on its way in."""

    __slots__ = ("_decoder", "_left", "_most", "command")

    def __init__(self, command: Command, decoder: BodyDecoder, *, most: int | None) -> None:
        self.command = command
        self._decoder = decoder
        self._most = most
        self._left = most

    @property
    def ended(self) -> bool:
        """Whether the terminating dot was seen."""
        return self._decoder.ended

    def feed(self, data: bytes, start: int) -> tuple[Event | None, int]:
        """Returns the next event, if there is one, and where in ``data`` what follows begins."""
        chunk, position = self._decoder.feed(data, start)
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise ProtocolError(f"the message is longer than {self._most} octets")
        return (BodyChunk(self.command, chunk) if chunk else None), position
