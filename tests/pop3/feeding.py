"""Octets fed whole, one by one, or cut anywhere: what comes out must not depend on it."""

import itertools
from collections.abc import Callable, Iterator, Sequence

from fetchd.pop3.commands import Command, user
from fetchd.pop3.events import NEED_DATA, BodyChunk, Event, ListLines
from fetchd.pop3.protocol import Limits, Pop3Protocol

Cut = Callable[[bytes], list[bytes]]


def whole(data: bytes) -> list[bytes]:
    """All in one segment."""
    return [data]


def octet_by_octet(data: bytes) -> list[bytes]:
    """One octet a segment."""
    return [data[at : at + 1] for at in range(len(data))]


def cut_at(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut at these places, in any order, anywhere."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def transaction(*, greeting: bytes = b"+OK\r\n", limits: Limits | None = None) -> Pop3Protocol:
    """A protocol that has logged in."""
    protocol = Pop3Protocol(limits=limits)
    line_end = b"\r\n" if greeting.endswith(b"\r\n") else b"\n"
    list(events(protocol, [greeting]))
    for command in (user(b"joe"), Command("PASS", b"secret")):
        protocol.send(command)
        list(events(protocol, [b"+OK" + line_end]))
    return protocol


def events(protocol: Pop3Protocol, segments: Sequence[bytes]) -> Iterator[Event]:
    """Feeds segments, and yields the events as they come."""
    for segment in segments:
        protocol.receive_data(segment)
        while (event := protocol.next_event()) is not NEED_DATA:
            yield event


def joined(found: Iterator[Event]) -> list[Event]:
    """Returns events with neighbouring chunks, and neighbouring lines, put together."""
    together: list[Event] = []
    for event in found:
        last = together[-1] if together else None
        match last, event:
            case BodyChunk(command, data), BodyChunk(same, more) if command is same:
                together[-1] = BodyChunk(command, data + more)
            case ListLines(command, lines), ListLines(same, more_lines) if command is same:
                together[-1] = ListLines(command, lines + more_lines)
            case _:
                together.append(event)
    return together
