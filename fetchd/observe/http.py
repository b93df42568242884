"""A small HTTP server: bounded in time, in connections and in what it reads (FAULTS 114).

The standard library's server does the talking. What it lacks is added here: a deadline for a whole request (its own
timeout starts anew with every octet), a limit on connections, silence on standard error, a stop without delay.
"""

import errno
import selectors
import socket
import socketserver
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from fetchd.errors import ConfigError
from fetchd.model import HttpAddress
from fetchd.observe.endpoint import listen, remove, where_of
from fetchd.observe.exchange import Exchange, Served
from fetchd.observe.pages import Page
from fetchd.observe.reach import is_our_name, shown_address

_ADVICE: Final = {
    errno.EADDRINUSE: "address in use; is another fetchd running? Stop what listens there, or choose another",
    errno.EACCES: "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, a Unix socket a directory of ours",
    errno.EADDRNOTAVAIL: "this host has no such address",
    errno.ENOENT: "there is no such directory; RuntimeDirectory= makes one under systemd",
}


class HttpServer:
    """Serves pages by their path, in daemon threads, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        address: HttpAddress,
        pages: Mapping[str, Page],
        *,
        by_any_name: Collection[str] = (),
        connections: int = 64,
        seconds: float = 10.0,
    ) -> None:
        """Opens nothing yet.

        Args:
            address: where to listen; port 0 lets the system choose.
            pages: path → page, for example ``/metrics``.
            by_any_name: paths of what is told whatever name the server is called by: see ``reach.is_our_name``.
            connections: the most that are served at a time; one more is told 503 and closed. Browsers open spare ones.
            seconds: that one connection may last, from accept to close.
        """
        self._wanted = address
        self._pages = pages
        self._by_any_name = by_any_name
        self._connections = connections
        self._seconds = seconds
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None
        self._wake: socket.socket | None = None
        self._asking = threading.Lock()
        self._names: Collection[str] | None = None

    @property
    def address(self) -> HttpAddress:
        """Where it listens (while it does), else where it is to listen."""
        if self._listener is None:
            return self._wanted
        return where_of(self._listener.socket)

    def start(self) -> None:
        """Binds, and serves from here on.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        try:
            listening = listen(self._wanted)
        except (OSError, UnicodeError) as error:  # UnicodeError: no host name can look like that
            raise ConfigError(f"http: cannot listen on {shown_address(self._wanted)}: {_reason(error)}") from error
        self._listener = _Listener(listening, pages=self._pages, connections=self._connections, seconds=self._seconds)
        self._listener.is_ours = self._is_ours
        self._wake, woken = socket.socketpair()
        self._thread = threading.Thread(target=self._listener.serve_until, args=(woken,), name="http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes the port and the connections in hand; may be called twice, or without a start."""
        listener, thread, wake = self._listener, self._thread, self._wake
        self._listener = self._thread = self._wake = None
        if listener is None or thread is None or wake is None:
            return
        wake.close()
        thread.join()
        remove(self._wanted)
        listener.server_close()
        listener.close_connections()

    def _is_ours(self, path: str, host: str | None) -> bool:
        return path in self._by_any_name or is_our_name(host, self._wanted, self._own_names)

    def _own_names(self) -> Collection[str]:
        """Returns this machine's names; the DNS may be slow, and is asked once."""
        with self._asking:
            if self._names is None:
                self._names = {socket.gethostname(), socket.getfqdn()}
            return self._names

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return _ADVICE.get(error.errno or 0, error.strerror)
    return str(error)


class _Listener(socketserver.TCPServer, Served):
    """The listening socket, and a thread for each connection in hand."""

    timeout = 0

    def __init__(
        self, listening: socket.socket, *, pages: Mapping[str, Page], connections: int, seconds: float
    ) -> None:
        # The library would make and bind a socket of its own; ours listens already.
        socketserver.BaseServer.__init__(self, ("", 0), Exchange)
        self.socket = listening
        self.pages = pages
        self.seconds = seconds
        self._connections = connections
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()

    def serve_until(self, woken: socket.socket) -> None:
        """Serves until ``woken`` becomes readable; unlike ``serve_forever`` it does not wake up meanwhile."""
        with selectors.DefaultSelector() as selector, woken:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while woken not in {key.fileobj for key, _ in selector.select()}:
                self.handle_request()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts. Where no descriptor is free, the connection stays in the queue: do not spin on it (FAULTS 98)."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(0.1)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives a connection its thread, or turns it away."""
        with self._lock:
            if len(self._open) < self._connections:
                thread = threading.Thread(
                    target=self._converse, args=(request, client_address), name="http", daemon=True
                )
                self._open[request] = thread
                thread.start()
                return
        with suppress(OSError):
            request.sendall(
                b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\ntoo many connections\n"
            )
        self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's signature
        """No thread to be had, or a broken connection: its peer sees it close. Nothing goes to standard error."""
        with self._lock:
            self._open.pop(request, None)

    def _converse(self, request: socket.socket, client_address: Any) -> None:
        try:
            with suppress(Exception):  # a peer that goes away, runs out of time or provokes a bug sees the line close
                self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)
            with self._lock:
                self._open.pop(request, None)

    def close_connections(self) -> None:
        """Ends the conversations in hand; waits a moment for their threads."""
        with self._lock:
            in_hand = dict(self._open)
        for request in in_hand:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + 1.0
        for thread in in_hand.values():
            thread.join(max(0.0, until - time.monotonic()))
