"""A relay on loopback that hears both sides: what a server presented in the very session that fetchd had with it."""

import re
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from tests.interop.server import HOST

_SECONDS: Final = 60.0
_CHUNK: Final = 1 << 16
_MANY_LINES: Final = re.compile(rb"(?:CAPA|RETR \d+|TOP \d+ \d+|UIDL|LIST)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A command and the reply to it.

    Attributes:
        command: its line, and nothing of what may have followed a challenge.
        reply: the status line.
        lines: the rest of a reply of many lines, unstuffed, without its final dot.
        asked: octets that the client had to send up to the end of this command.
        answer: octets that the server had to send up to the beginning of this reply.
    """

    command: bytes
    reply: bytes
    lines: bytes | None
    asked: int
    answer: int

    @property
    def ok(self) -> bool:
        return self.reply.startswith(b"+OK")

    @property
    def verb(self) -> bytes:
        return self.command.partition(b" ")[0].upper()


@dataclass(frozen=True, slots=True)
class Session:
    """One connection: what was heard, in its order, as (by the client?, octets)."""

    heard: list[tuple[bool, bytes]] = field(default_factory=list)

    def exchanges(self, *verbs: bytes) -> list[Exchange]:
        """Returns the commands (with one of these verbs, if any is named) and their replies; a cut-off one raises."""
        server = _Stream(b"".join(octets for by_client, octets in self.heard if not by_client))
        client = _Stream(b"".join(octets for by_client, octets in self.heard if by_client))
        server.line()  # the greeting
        return [found for found in _pairs(client, server) if not verbs or found.verb in verbs]

    def retrieved(self) -> list[bytes]:
        """Returns the messages that were presented, lines ended by LF."""
        found = [exchange.lines for exchange in self.exchanges(b"RETR")]
        return [lines.replace(b"\r\n", b"\n") for lines in found if lines is not None]

    def login(self) -> Exchange:
        """Returns the command that the login ended with."""
        (login,) = [found for found in self.exchanges(b"PASS", b"AUTH", b"APOP") if found.ok]
        return login

    def sent_ahead(self, exchange: Exchange) -> int:
        """Returns how many octets the client sent beyond this command before the server began to reply to it."""
        asked = answered = 0
        for by_client, octets in self.heard:
            if by_client:
                asked += len(octets)
            else:
                answered += len(octets)
                if answered > exchange.answer:
                    break
        return asked - exchange.asked


def _pairs(client: "_Stream", server: "_Stream") -> Iterator[Exchange]:
    while not client.at_end:
        command, answer = client.line(), server.at
        if server.at_end and command == b"QUIT\r\n" and client.at_end:
            return  # whose answer nobody waited for
        reply = server.line()
        while reply.startswith(b"+") and not reply.startswith(b"+OK"):  # a challenge (RFC 5034 §4)
            client.line()
            answer, reply = server.at, server.line()
        asked = client.at
        many = _MANY_LINES.fullmatch(command) and reply.startswith(b"+OK")
        lines = server.lines() if many else None
        yield Exchange(command.rstrip(b"\r\n"), reply.rstrip(b"\r\n"), lines, asked=asked, answer=answer)


class _Stream:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.at = 0

    @property
    def at_end(self) -> bool:
        return self.at == len(self._octets)

    def line(self) -> bytes:
        return self._until(b"\r\n")

    def lines(self) -> bytes:
        if self._octets.startswith(b".\r\n", self.at):
            self.line()
            return b""
        stuffed = b"\r\n" + self._until(b"\r\n.\r\n").removesuffix(b".\r\n")
        return stuffed.replace(b"\r\n.", b"\r\n")[2:]

    def _until(self, end: bytes) -> bytes:
        found = self._octets.find(end, self.at)
        if found < 0:
            raise AssertionError(f"cut off: {self._octets[self.at :][-200:]!r}")
        begin, self.at = self.at, found + len(end)
        return self._octets[begin : self.at]


class Wiretap:
    """Listens on ``port``, and connects whoever comes to the port ``target``, which may change between connections."""

    def __init__(self) -> None:
        self.target = 0
        self.sessions: list[Session] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=_SECONDS)
        self._listener.close()

    def _start(self, what: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # shut down
            session = Session()
            self.sessions.append(session)
            self._start(_relay, client, self.target, session)


def _relay(client: socket.socket, target: int, session: Session) -> None:
    # Whoever resets a connection ends it; what then is missing is missed by whoever reads the session.
    with suppress(OSError), client, socket.create_connection((HOST, target), timeout=_SECONDS) as server:
        _pass_on(client, server, session)


def _pass_on(client: socket.socket, server: socket.socket, session: Session) -> None:
    with selectors.DefaultSelector() as on:
        on.register(client, selectors.EVENT_READ, (True, server))
        on.register(server, selectors.EVENT_READ, (False, client))
        while on.get_map():
            for key, _ in on.select():
                by_client, other = key.data
                source: socket.socket = key.fileobj  # type: ignore[assignment]  # as registered
                octets = source.recv(_CHUNK)
                if octets:
                    session.heard.append((by_client, octets))
                    other.sendall(octets)
                else:
                    on.unregister(source)
                    other.shutdown(socket.SHUT_WR)
