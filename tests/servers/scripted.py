"""A POP3 server that says exactly what a test tells it to, for what no real server does on demand.

A script is a list of steps, one script for each connection in turn::

    script = [Send(b"+OK hi\r\n"), Expect(b"USER joe"), Send(b"-ERR no\r\n"), Expect(b"QUIT"), Reset()]
    with ScriptedServer(script) as server:
        ...  # a client of server.host, server.port
    server.received  # every octet that the clients sent, after TLS was undone

The server runs in a thread. When the ``with`` block is left, each script must have been played to its end, with nothing
sent by the client that the script did not expect, and the client must have left: otherwise an ``AssertionError`` says
what happened instead. So close your client before you leave the block. A script that does not end in :class:`Close`,
:class:`Goodbye` or :class:`Reset` ends by waiting until the client leaves.
"""

import contextlib
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PATIENCE: Final = 20.0
"""Seconds after which a server that waits in vain gives up, so that no test hangs."""


@dataclass(frozen=True, slots=True)
class Send:
    """Sends octets, in segments of ``segment`` octets where that is given."""

    data: bytes
    segment: int | None = None


@dataclass(frozen=True, slots=True)
class Expect:
    """Reads the client's next line, which must be this one (given without its CRLF).

    Where ``alone``, nothing may have come with it: the client waits for its reply.
    """

    line: bytes
    alone: bool = False


@dataclass(frozen=True, slots=True)
class StartTls:
    """Does a TLS handshake as a server, with this context.

    Where ``fails`` is given, it must fail, with an error that this pattern is found in; that ends the script. Where
    ``strict``, a client that leaves without close_notify fails the script.
    """

    context: ssl.SSLContext
    fails: str = ""
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """Says nothing, and reads nothing, until the client has left; it may have sent anything. Ends a script."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Sends a TLS close_notify, then closes the connection. Ends a script."""


@dataclass(frozen=True, slots=True)
class Close:
    """Closes the connection, on TLS without close_notify. Ends a script."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Resets the connection (RST). Ends a script."""


Step = Send | Expect | StartTls | Silence | Goodbye | Close | Reset


class ScriptedServer:
    """See the module. ``received`` grows while clients talk; read it once they have left.

    Listens on a port of loopback, or on a Unix socket where ``path`` is given.
    """

    host: Final = "127.0.0.1"

    def __init__(self, *scripts: Sequence[Step], path: Path | None = None) -> None:
        self.received = bytearray()
        self._scripts = scripts
        self._failure: Exception | None = None
        self._connection: socket.socket | None = None
        self._unread = b""
        self._listener = socket.create_server((self.host, 0)) if path is None else _unix_listener(path)
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1] if path is None else 0
        self._thread = threading.Thread(target=self._run, name="scripted server", daemon=True)

    @property
    def lines(self) -> list[bytes]:
        """The lines that clients sent, without their CRLF."""
        return bytes(self.received).split(b"\r\n")[:-1]

    def join(self) -> None:
        """Returns when the last script has been played to its end."""
        self._thread.join(2 * PATIENCE)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._hang_up()  # the test has failed already: do not wait for a client that it left open
        self.join()
        self._listener.close()
        if kind is None and self._failure is not None:
            raise AssertionError(f"the script was not played to its end: {self._failure}") from self._failure

    def _hang_up(self) -> None:
        for sock in (self._listener, self._connection):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            for script in self._scripts:
                connection, _ = self._listener.accept()
                if connection.family != socket.AF_UNIX:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.settimeout(PATIENCE)
                self._connection = connection
                self._unread = b""
                self._play(script)
        except (AssertionError, OSError) as failure:
            self._failure = failure
        finally:
            if self._connection is not None:
                self._connection.close()

    def _play(self, script: Sequence[Step]) -> None:
        assert self._connection is not None
        for step in script:
            match step:
                case Send(data, segment):
                    self._send(data, segment)
                case Expect(line, alone):
                    self._expect(line)
                    if alone and self._unread:
                        raise AssertionError(f"the client sent {self._unread!r} before {line!r} was answered")
                case StartTls(context, "", strict):
                    self._connection = context.wrap_socket(
                        self._connection, server_side=True, suppress_ragged_eofs=not strict
                    )
                case StartTls(context, fails):
                    self._fail_handshake(context, fails)
                    return
                case _:
                    self._end(step)
                    return
        with contextlib.suppress(ConnectionResetError):  # a client that left with octets unread
            while data := self._receive():
                self._unread += data
        self._connection.close()
        if self._unread:
            raise AssertionError(f"the client sent {self._unread!r} after the end of the script")

    def _end(self, step: Silence | Goodbye | Close | Reset) -> None:
        connection = self._connection
        assert connection is not None
        match step:
            case Silence():
                self._wait_until_left()
            case Goodbye():
                assert isinstance(connection, ssl.SSLSocket)
                connection.settimeout(0)
                with contextlib.suppress(ssl.SSLWantReadError):
                    connection.unwrap()
            case Reset():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def _fail_handshake(self, context: ssl.SSLContext, fails: str) -> None:
        assert self._connection is not None
        with self._connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            try:
                self._connection = context.wrap_socket(self._connection, server_side=True)
            except ssl.SSLError as error:
                if not re.search(fails, str(error), re.IGNORECASE):
                    raise
            else:
                raise AssertionError("the client accepted the handshake")

    def _send(self, data: bytes, segment: int | None) -> None:
        assert self._connection is not None
        for start in range(0, len(data), segment or max(1, len(data))):
            self._connection.sendall(data[start : start + segment] if segment else data)

    def _expect(self, line: bytes) -> None:
        while b"\r\n" not in self._unread:
            data = self._receive()
            if not data:
                raise AssertionError(f"the client left, having said {self._unread!r}, where {line!r} was expected")
            self._unread += data
        said, _, self._unread = self._unread.partition(b"\r\n")
        if said != line:
            raise AssertionError(f"the client said {said!r}, expected was {line!r}")

    def _receive(self) -> bytes:
        assert self._connection is not None
        data = self._connection.recv(65536)
        self.received += data
        return data

    def _wait_until_left(self) -> None:
        """Waits for the client's FIN or RST, and only then reads what it sent, so that a full window stays full."""
        assert self._connection is not None
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)
        if not poll.poll(PATIENCE * 1000):
            raise AssertionError("the client has not left")
        with contextlib.suppress(OSError):
            while self._receive():
                pass


def _unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener
