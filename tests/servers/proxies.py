"""Real proxies on loopback: SOCKS5 (RFC 1928, 1929) and HTTP CONNECT (RFC 9110 §9.3.6), for one client after another.

::

    with Socks5Proxy({("pop.example.org", 995): (server.host, server.port)}) as proxy:
        ...  # a client of proxy.url
    proxy.asked  # [("pop.example.org", 995)]

A proxy knows no names but those it is given, and hands on what goes by until both sides have closed.
"""

import base64
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar, Final, NamedTuple, Self

PATIENCE: Final = 20.0
"""Seconds after which a proxy that waits in vain gives up, so that no test hangs."""

Address = tuple[str, int]


class RefusedError(Exception):
    """The client is not connected; it was told why."""


class Credentials(NamedTuple):
    """What a proxy asks for."""

    user: str
    password: str


class LoopbackProxy:
    """What both kinds have in common.

    Args:
        routes: where each host and port that a client may ask for really is.
        credentials: who may ask; None for everybody.
    """

    scheme: ClassVar[str]
    host: Final = "127.0.0.1"

    def __init__(self, routes: Mapping[Address, Address], credentials: Credentials | None = None) -> None:
        self.asked: list[Address] = []
        self.clients: list[str] = []
        self.octets = bytearray()
        self._routes = routes
        self._credentials = credentials
        self._failure: Exception | None = None
        self._listener = socket.create_server((self.host, 0))
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1]
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        """As a configuration names it, with what it asks for."""
        who = f"{self._credentials.user}:{self._credentials.password}@" if self._credentials else ""
        return f"{self.scheme}://{who}{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(2 * PATIENCE)
        self._listener.close()
        if kind is None and self._failure is not None:
            raise AssertionError(f"the proxy failed: {self._failure}") from self._failure

    def negotiate(self, client: socket.socket) -> socket.socket:
        """Returns a line to where the client wants to go, having told it that there is one.

        Raises:
            RefusedError: there is none.
        """
        raise NotImplementedError

    def line_to(self, asked: Address) -> socket.socket | None:
        """Returns a line to what a client asked for; None where there is no way."""
        self.asked.append(asked)
        with contextlib.suppress(OSError, KeyError):
            return socket.create_connection(self._routes[asked], timeout=PATIENCE)
        return None

    def _run(self) -> None:
        while True:
            try:
                client, address = self._listener.accept()
            except OSError as failure:
                self._failure = None if self._closing else failure
                return
            self.clients.append(address[0])
            client.settimeout(PATIENCE)
            with client, contextlib.suppress(RefusedError, OSError), self.negotiate(client) as server:
                self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=_hand_on, args=(server, client, None), name="proxy, back", daemon=True)
        back.start()
        _hand_on(client, server, self.octets)
        back.join(PATIENCE)


class Socks5Proxy(LoopbackProxy):
    """Speaks SOCKS5."""

    scheme = "socks5"

    def negotiate(self, client: socket.socket) -> socket.socket:
        """See :meth:`LoopbackProxy.negotiate`."""
        version, count = _exactly(client, 2)
        methods = _exactly(client, count)
        wanted = 2 if self._credentials else 0
        client.sendall(bytes([5, wanted if wanted in methods else 0xFF]))
        if version != 5 or wanted not in methods:
            raise RefusedError
        if self._credentials:
            self._check(client)
        _, command, _, kind = _exactly(client, 4)
        if kind == 3:
            host = _exactly(client, *_exactly(client, 1)).decode()
        else:
            host = str(ipaddress.ip_address(_exactly(client, {1: 4, 4: 16}[kind])))
        server = self.line_to((host, int.from_bytes(_exactly(client, 2))))
        client.sendall(bytes([5, 0 if server and command == 1 else 5, 0, 1, 0, 0, 0, 0, 0, 0]))
        if server is None:
            raise RefusedError
        return server

    def _check(self, client: socket.socket) -> None:
        _exactly(client, 1)
        said = Credentials(*(_exactly(client, *_exactly(client, 1)).decode() for _ in range(2)))
        client.sendall(bytes([1, 0 if said == self._credentials else 1]))
        if said != self._credentials:
            raise RefusedError


class HttpProxy(LoopbackProxy):
    """Speaks HTTP/1.1, of which it knows CONNECT."""

    scheme = "http"

    def negotiate(self, client: socket.socket) -> socket.socket:
        """See :meth:`LoopbackProxy.negotiate`."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _exactly(client, 1)
        request, *fields = head.decode().split("\r\n")
        method, target, _ = request.split(" ")
        host, _, port = target.rpartition(":")
        if self._credentials:
            expected = base64.b64encode(":".join(self._credentials).encode()).decode()
            if f"Proxy-Authorization: Basic {expected}" not in fields:
                client.sendall(b"HTTP/1.1 407 Say\x1b please\r\nContent-Length: 5\r\n\r\nsorry")
                raise RefusedError
        server = self.line_to((host.strip("[]"), int(port))) if method == "CONNECT" else None
        if server is None:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            raise RefusedError
        client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        return server


def _exactly(sock: socket.socket, octets: int) -> bytes:
    data = b""
    while len(data) < octets:
        piece = sock.recv(octets - len(data))
        if not piece:
            raise RefusedError("the client left")
        data += piece
    return data


def _hand_on(source: socket.socket, sink: socket.socket, record: bytearray | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if record is not None:
                record += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
