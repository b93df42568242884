"""A small HTTP server for scrapers and health checks: bounded in time, connections and what it reads (FAULTS 114).

The standard library's server does the talking. What it lacks is added here: a deadline for a whole request (its own
timeout starts anew with every octet), a limit on connections, silence on standard error, a stop without delay.
"""

import errno
import io
import selectors
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Final, Self

from fetchd.errors import ConfigError
from fetchd.model import HttpAddress


@dataclass(frozen=True, slots=True)
class Response:
    """What a page answers."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"


Page = Callable[[], Response]
"""Makes one page; called in a thread of its own for every request."""

_ADVICE: Final = {
    errno.EADDRINUSE: "address in use; is another fetchd running? Stop what listens there, or choose another port",
    errno.EACCES: "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, choose a higher one",
    errno.EADDRNOTAVAIL: "this host has no such address",
}


def metrics_page(render: Callable[[], bytes], content_type: str) -> Page:
    """Returns the page ``/metrics``."""
    return lambda: Response(render(), content_type=content_type)


def health_page(check: Callable[[], tuple[bool, str]]) -> Page:
    """Returns a page such as ``/healthz``: 200 where the check says True, else 503, with its text as one line."""

    def page() -> Response:
        healthy, text = check()
        return Response(f"{text}\n".encode(), HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)

    return page


class HttpServer:
    """Serves pages by their path, in daemon threads, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self, address: HttpAddress, pages: Mapping[str, Page], *, connections: int = 16, seconds: float = 10.0
    ) -> None:
        """Opens nothing yet.

        Args:
            address: where to listen; port 0 lets the system choose.
            pages: path → page, for example ``/metrics``.
            connections: the most that are served at a time; one more is told 503 and closed.
            seconds: that one connection may last, from accept to close.
        """
        self._wanted = address
        self._pages = pages
        self._connections = connections
        self._seconds = seconds
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None
        self._wake: socket.socket | None = None

    @property
    def address(self) -> HttpAddress:
        """Where it listens (while it does), else where it is to listen."""
        if self._listener is None:
            return self._wanted
        host, port = self._listener.server_address[:2]
        return HttpAddress(str(host), int(port))

    def start(self) -> None:
        """Binds, and serves from here on.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        try:
            self._listener = _Listener(self._wanted, self._pages, connections=self._connections, seconds=self._seconds)
        except (OSError, UnicodeError) as error:  # UnicodeError: no host name can look like that
            raise ConfigError(f"http: cannot listen on {shown_address(self._wanted)}: {_reason(error)}") from error
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
        listener.server_close()
        listener.close_connections()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def shown_address(address: HttpAddress) -> str:
    """Returns ``host:port``, an IPv6 address in brackets."""
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return _ADVICE.get(error.errno or 0, error.strerror)
    return str(error)


class _Listener(socketserver.TCPServer):
    """The listening socket, and a thread for each connection in hand."""

    allow_reuse_address = True
    request_queue_size = 64
    timeout = 0

    def __init__(self, address: HttpAddress, pages: Mapping[str, Page], *, connections: int, seconds: float) -> None:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, (host, port, *_) = found[0]
        self.pages = pages
        self.seconds = seconds
        self._connections = connections
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__((str(host), int(port)), _Handler)

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


class _Handler(BaseHTTPRequestHandler):
    """One connection, one request, one answer."""

    server: _Listener
    server_version = "fetchd"
    sys_version = ""

    def setup(self) -> None:
        """Reads under the deadline; the answer is put together in memory, and sent under what is left of it."""
        self.connection: socket.socket = self.request
        self._deadline = time.monotonic() + self.server.seconds
        self.rfile = io.BufferedReader(_Incoming(self.connection, self._deadline))
        self.wfile = self._answered = io.BytesIO()

    def finish(self) -> None:
        """Sends the answer."""
        _allow_until(self._deadline, self.connection)
        self.connection.sendall(self._answered.getvalue())

    def do_GET(self) -> None:
        """Answers GET and, without the body, HEAD."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            self._answer(page())
        except Exception as error:  # noqa: BLE001 - a page's bug is the scraper's answer, not a traceback
            self._answer(Response(f"{type(error).__name__}\n".encode(), HTTPStatus.INTERNAL_SERVER_ERROR))

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answers with one plain line instead of the library's page of HTML, and never repeats what was sent."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._answer(Response(f"{status.value} {status.phrase}\n".encode(), status))

    def _answer(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def version_string(self) -> str:
        """Tells no version of Python."""
        return self.server_version

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Requests are not logged."""


class _Incoming(io.RawIOBase):
    """What the peer sends, until the deadline; then ``TimeoutError``."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receives."""
        _allow_until(self._deadline, self._sock)
        return self._sock.recv_into(buffer)


def _allow_until(deadline: float, sock: socket.socket) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the connection's time is up")
    sock.settimeout(left)
