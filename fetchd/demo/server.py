"""A small honest POP3 server on loopback, for ``fetchd demo``: RFC 1939 with CAPA (RFC 2449), mail in memory.

It speaks plain text, so it listens on 127.0.0.1 and nowhere else. A thread for each connection pumps a
:class:`~fetchd.demo.session.Session`; it takes the lines one by one from a buffered stream, so that a client may
pipeline (RFC 2449 §6.6).
"""

import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

from fetchd.demo.session import Maildrop, Session

_HOST: Final = "127.0.0.1"
_LONGEST_COMMAND: Final = 512
_AUTOLOGOUT_SECONDS: Final = 600.0
"""RFC 1939 §3: at least ten minutes."""
_PACE_SECONDS: Final = 0.05


class DemoServer:
    """The server; as a context manager it starts and stops.

    Args:
        drops: user → (password, messages), a message being (unique-id, octets) with LF or CRLF at its line ends.
        octets_per_second: sends no faster than about this, so that a person sees progress; None for no limit.
    """

    host: Final = _HOST

    def __init__(
        self, drops: Mapping[str, tuple[str, Iterable[tuple[bytes, bytes]]]], *, octets_per_second: int | None = None
    ) -> None:
        self.port = 0
        self._drops = {user.encode(): Maildrop(*drop) for user, drop in drops.items()}
        self._speed = octets_per_second
        self._stopping = Event()
        self._listener = socket.socket()
        self._lines: dict[socket.socket, Thread] = {}
        self._doorman = Thread(target=self._accept, name="demo-server", daemon=True)

    def start(self) -> None:
        """Listens on a free ``port`` and serves in threads of its own; a server is started once."""
        self._listener.bind((_HOST, 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self._doorman.start()

    def stop(self) -> None:
        """Hangs up on everybody and returns when all threads have ended; deletions without a QUIT are forgotten."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._doorman.join()
        self._listener.close()
        for line, thread in self._lines.items():
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self._lines[line] = Thread(target=self._converse, args=(line,), name="demo-session", daemon=True)
            self._lines[line].start()

    def _converse(self, line: socket.socket) -> None:
        session = Session(self._drops)
        line.settimeout(_AUTOLOGOUT_SECONDS)
        # An OSError here is a client that went away, or stop() hanging up.
        with suppress(OSError), line, line.makefile("rb") as commands:
            line.sendall(b"+OK fetchd demo server\r\n")
            while not session.over and (command := commands.readline(_LONGEST_COMMAND)).endswith(b"\n"):
                self._send(line, session.answer(command))
        session.leave()

    def _send(self, line: socket.socket, reply: bytes) -> None:
        if self._speed is None:
            line.sendall(reply)
            return
        step = max(1, int(self._speed * _PACE_SECONDS))
        for start in range(0, len(reply), step):
            line.sendall(reply[start : start + step])
            if start + step < len(reply):
                self._stopping.wait(_PACE_SECONDS)
