"""Logging in with a browser on this machine, or on one from which its address is pasted here (RFC 8252).

We listen on 127.0.0.1; the browser is sent there with an authorisation code once somebody has said yes. Over SSH the
browser is elsewhere and cannot reach us: then whoever logs in pastes the address at which it ended.
"""

import hmac
import os
import selectors
import socket
import time
from collections.abc import Callable
from typing import IO, Final, Self
from urllib.parse import parse_qs, urlsplit

from fetchd.errors import SecretError, UsageError, printable
from fetchd.model import Secret
from fetchd.values import value

LOOPBACK: Final = "127.0.0.1"
LIFETIME: Final = 900.0
"""Seconds that we wait for the browser."""
_LIMIT: Final = 16 * 2**10
_PATIENCE: Final = 10.0
"""Seconds that a browser has to send its request: some open connections ahead of time, and send nothing."""
_CONNECTIONS: Final = 16
_STEP: Final = 1.0

_PAGE: Final = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n"
    "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{text}"
)
_DONE: Final = "fetchd has what it needs. You can close this page, and go on in the terminal.\n"
_DECLINED: Final = "fetchd was not allowed to read the mail. You can close this page.\n"
_STRANGE: Final = "This is where fetchd waits for the answer of a login; this was not it.\n"


@value
class Returned:
    """What the browser brought back: a code, or the provider's word on why there is none."""

    code: Secret | None
    error: str = ""


def parse_returned(address: str, *, state: str) -> Returned | None:
    """Returns what an address at which the browser ended says; None where it does not belong to this login.

    Args:
        address: a whole URL, or its part from the path on.
        state: what we sent along (RFC 6749 §10.12).
    """
    try:
        query = parse_qs(urlsplit(address.strip()).query, max_num_fields=50)
    except ValueError:
        return None
    given = query.get("state", [""])
    if len(given) != 1 or not hmac.compare_digest(given[0].encode(), state.encode()):
        return None
    codes = query.get("code", [])
    if len(codes) == 1 and codes[0].isascii() and codes[0].isprintable():
        return Returned(Secret(codes[0].encode()))
    return Returned(None, printable(query.get("error", ["no code"])[0]))


class Landing:
    """Where the browser lands: a socket on the loopback address. A context manager."""

    def __init__(self, port: int = 0) -> None:
        """Listens.

        Raises:
            UsageError: the port is taken, or not for us.
        """
        try:
            self._server = socket.create_server((LOOPBACK, port))
        except OSError as error:
            raise UsageError(
                f"cannot listen on {LOOPBACK}, port {port}: {error.strerror}; choose another --port"
            ) from error
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        self._open: dict[socket.socket, tuple[bytearray, float]] = {}
        self._pasted = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in (*self._open, self._server):
            line.close()

    def wait(
        self,
        *,
        state: str,
        terminal: IO[str] | None,
        tick: Callable[[float], None],
        on_stray: Callable[[], None],
        seconds: float = LIFETIME,
    ) -> Returned:
        """Returns what the browser brings, or what is pasted.

        Args:
            state: what we sent along.
            terminal: where an address may be pasted; None for nowhere.
            tick: called about once a second with the seconds that are left.
            on_stray: called when something is pasted that does not belong to this login.
            seconds: how long to wait.

        Raises:
            SecretError: nothing came.
        """
        deadline = time.monotonic() + seconds
        with selectors.SelectSelector() as selector:  # the one that takes a file for standard input, too
            selector.register(self._server, selectors.EVENT_READ)
            if terminal is not None:
                selector.register(terminal.fileno(), selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                tick(left)
                for key, _ in selector.select(min(_STEP, left)):
                    returned = self._look(key.fileobj, selector, state, on_stray)
                    if returned is not None:
                        return returned
                self._drop_silent(selector)
        raise SecretError("the browser did not come back in time: run the command again")

    def _look(
        self, ready: object, selector: selectors.BaseSelector, state: str, on_stray: Callable[[], None]
    ) -> Returned | None:
        if ready is self._server:
            self._accept(selector)
            return None
        if isinstance(ready, socket.socket):
            return self._receive(ready, selector, state)
        assert isinstance(ready, int), "standard input's descriptor"
        return self._read_pasted(ready, selector, state, on_stray)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            line, _ = self._server.accept()
        except OSError:  # it has gone already
            return
        line.setblocking(False)
        self._open[line] = (bytearray(), time.monotonic() + _PATIENCE)
        selector.register(line, selectors.EVENT_READ)
        if len(self._open) > _CONNECTIONS:
            self._close(next(iter(self._open)), selector)

    def _receive(self, line: socket.socket, selector: selectors.BaseSelector, state: str) -> Returned | None:
        head, _ = self._open[line]
        try:
            chunk = line.recv(_LIMIT)
        except BlockingIOError:
            return None
        except OSError:
            chunk = b""
        head += chunk
        if not chunk or len(head) > _LIMIT:
            self._close(line, selector)
            return None
        if b"\r\n\r\n" not in head and b"\n\n" not in head:
            return None
        method, _, rest = head.partition(b"\n")[0].decode("latin-1").partition(" ")
        returned = parse_returned(rest.partition(" ")[0], state=state) if method == "GET" else None
        self._answer(line, returned)
        self._close(line, selector)
        return returned

    @staticmethod
    def _answer(line: socket.socket, returned: Returned | None) -> None:
        if returned is None:
            status, text = "404 Not Found", _STRANGE
        else:
            status, text = "200 OK", _DONE if returned.code else _DECLINED
        page = _PAGE.format(status=status, length=len(text), text=text).encode()
        try:
            line.settimeout(_PATIENCE)
            line.sendall(page)
            line.shutdown(socket.SHUT_WR)
        except OSError:  # the code is what counts; the page is a courtesy
            return

    def _read_pasted(
        self, descriptor: int, selector: selectors.BaseSelector, state: str, on_stray: Callable[[], None]
    ) -> Returned | None:
        try:
            chunk = os.read(descriptor, _LIMIT)
        except OSError:
            chunk = b""
        if not chunk:  # its end: nobody pastes anything any more
            selector.unregister(descriptor)
            return None
        self._pasted += chunk
        while b"\n" in self._pasted:
            line, _, rest = self._pasted.partition(b"\n")
            self._pasted = bytearray(rest)
            if not line.strip():
                continue
            returned = parse_returned(line.decode(errors="replace"), state=state)
            if returned is not None:
                return returned
            on_stray()
        del self._pasted[_LIMIT:]
        return None

    def _drop_silent(self, selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        for line in [line for line, (_, until) in self._open.items() if now > until]:
            self._close(line, selector)

    def _close(self, line: socket.socket, selector: selectors.BaseSelector) -> None:
        selector.unregister(line)
        del self._open[line]
        line.close()
