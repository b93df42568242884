"""One connection to the HTTP endpoint: one request, read under a deadline, and one answer."""

import io
import socket
import socketserver
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from fetchd.observe.pages import Page, Request, Response, parse_query

_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""What every answer says: account names are nobody's but the reader's."""

_NOT_OURS: Final = b"421 Misdirected Request: call fetchd by an IP address, or by the name in its configuration\n"


class Served(socketserver.BaseServer):
    """What a connection needs to know of the server that it came to.

    Attributes:
        pages: path → page.
        seconds: that one connection may last.
        is_ours: whether a request for a path is answered to who names the server so in ``Host``.
    """

    pages: Mapping[str, Page]
    seconds: float
    is_ours: Callable[[str, str | None], bool]


class Exchange(BaseHTTPRequestHandler):
    """One connection, one request, one answer."""

    server: Served
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
        self.connection.sendall(self._answered.getbuffer())

    def do_GET(self) -> None:
        """Answers GET and, without the body, HEAD."""
        path, _, query = self.path.partition("?")
        if not self.server.is_ours(path, self.headers["Host"]):
            self._answer(Response(_NOT_OURS, HTTPStatus.MISDIRECTED_REQUEST))
            return
        page = self.server.pages.get(path)
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            self._answer(page(Request(parse_query(query))))
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
        self.send_header("Content-Security-Policy", response.policy)
        for name, value in _HEADERS:
            self.send_header(name, value)
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
