"""Distance: a relay on loopback that delivers everything half a round trip later, and counts the round trips.

The line is never lost and as wide as the machine allows; in each direction no more than :data:`IN_FLIGHT` octets are on
their way, which is what Linux lets a TCP window grow to by default.
"""

import heapq
import itertools
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

IN_FLIGHT: Final = 6 << 20
_READ: Final = 256 << 10
_EARLY: Final = 0.0005
"""Seconds: epoll counts in milliseconds and rounds up; this much too early is as good as this much too late."""


@dataclass(eq=False)
class Way:
    """One direction of a connection."""

    source: socket.socket
    sink: socket.socket
    session: "Session"
    is_upstream: bool
    due: deque[tuple[float, bytes]] = field(default_factory=deque)
    queued: int = 0
    blocked: bytes = b""
    is_reading: bool = True
    has_ended: bool = False
    is_done: bool = False


@dataclass(eq=False)
class Session:
    """One client's connection.

    Attributes:
        round_trips: how often the server answered something that the client had said meanwhile; so TCP's own handshake
            is not among them, nor a greeting before which the client said nothing, nor what answers a client that left.
    """

    began: float
    round_trips: int = 0
    asked: bool = False
    connected: bool = False
    ways: list[Way] = field(default_factory=list)


class Distance:
    """The relay, in a thread of its own.

    Args:
        target: host and port of the server.
        rtt: seconds of a round trip.
    """

    def __init__(self, target: tuple[str, int], rtt: float) -> None:
        self.sessions: list[Session] = []
        self._target = target
        self._rtt = rtt
        self._selector = selectors.DefaultSelector()
        self._lines: dict[socket.socket, tuple[Way, Way]] = {}
        self._timers: list[tuple[float, int, Way | Session]] = []
        self._order = itertools.count()
        self._wake, self._woken = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name=f"distance {rtt * 1000:.0f} ms", daemon=True)

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.send(b"!")
        self._thread.join()
        for session in self.sessions:
            for way in session.ways:
                way.source.close()
        for each in (self._listener, self._wake, self._woken, self._selector):
            each.close()

    # ── in the thread ────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while True:
            timeout = self._timers[0][0] - time.monotonic() - _EARLY if self._timers else None
            for key, events in self._selector.select(timeout if timeout is None else max(0.0, timeout)):
                if key.fileobj is self._woken:
                    return
                if key.data is None:
                    self._accept()
                    continue
                reader, writer = key.data
                if events & selectors.EVENT_WRITE:
                    self._deliver(writer)
                if events & selectors.EVENT_READ and reader.is_reading:
                    self._receive(reader)
            self._expire()

    def _expire(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic() + _EARLY:
            _, _, what = heapq.heappop(self._timers)
            if isinstance(what, Session):
                self._connect(what)
            else:
                self._deliver(what)

    def _later(self, when: float, what: Way | Session) -> None:
        heapq.heappush(self._timers, (when, next(self._order), what))

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket()
        for line in (client, server):
            line.setblocking(False)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(time.monotonic())
        up, down = Way(client, server, session, True), Way(server, client, session, False)
        session.ways = [up, down]
        self.sessions.append(session)
        self._lines |= {client: (up, down), server: (down, up)}
        self._interest(client)
        # SYN, SYN-ACK, ACK: the server learns of the client one and a half round trips after it began.
        self._later(session.began + 1.5 * self._rtt, session)

    def _connect(self, session: Session) -> None:
        up, down = session.ways
        down.source.setblocking(True)  # on loopback that takes no time
        down.source.connect(self._target)
        down.source.setblocking(False)
        session.connected = True
        self._interest(down.source)
        self._deliver(up)

    def _receive(self, way: Way) -> None:
        try:
            data = way.source.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now, session = time.monotonic(), way.session
        if way.is_upstream:
            session.asked = session.asked or bool(data)
            when = max(now + self._rtt / 2, session.began + 1.5 * self._rtt)
        else:
            session.round_trips += session.asked and bool(data) and not session.ways[0].has_ended
            session.asked = False
            when = now + self._rtt / 2
        way.due.append((when, data))
        way.queued += len(data)
        self._later(when, way)
        way.has_ended = not data
        if way.has_ended or way.queued >= IN_FLIGHT:
            way.is_reading = False
            self._interest(way.source)

    def _deliver(self, way: Way) -> None:
        """Sends what is due, as far as the other side takes it."""
        if way.is_done or not way.session.connected:
            return
        while True:
            if not way.blocked:
                if not way.due or way.due[0][0] > time.monotonic() + _EARLY:
                    break
                _, way.blocked = way.due.popleft()
                if not way.blocked:
                    self._end(way)
                    return
            if not self._push(way):
                break
        if not (way.is_reading or way.has_ended) and way.queued < IN_FLIGHT // 2:
            way.is_reading = True
            self._interest(way.source)
        self._interest(way.sink)

    def _push(self, way: Way) -> bool:
        try:
            sent = way.sink.send(way.blocked)
        except BlockingIOError:
            return False
        except OSError:
            sent = len(way.blocked)  # the other side is gone: nobody misses it
        way.queued -= sent
        way.blocked = way.blocked[sent:]
        return not way.blocked

    def _end(self, way: Way) -> None:
        way.is_done = True
        with suppress(OSError):
            way.sink.shutdown(socket.SHUT_WR)
        self._interest(way.sink)
        if all(each.is_done for each in way.session.ways):
            for each in way.session.ways:
                self._watch(each.source, 0, None)
                each.source.close()

    def _interest(self, line: socket.socket) -> None:
        ways = self._lines[line]
        reader, writer = ways
        reading, writing = reader.is_reading, bool(writer.blocked)
        self._watch(line, selectors.EVENT_READ * reading | selectors.EVENT_WRITE * writing, ways)

    def _watch(self, line: socket.socket, events: int, ways: tuple[Way, Way] | None) -> None:
        if line not in self._selector.get_map():
            if events:
                self._selector.register(line, events, ways)
        elif events:
            self._selector.modify(line, events, ways)
        else:
            self._selector.unregister(line)
