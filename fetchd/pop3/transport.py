"""The line to the server: sockets, deadlines, TLS, and the one place where their errors become fetchd's.

Every message begins with the peer (``pop.example.net:995: …``) and says what was being done. A :class:`Transport` is
all that the session knows of it, so that tests, proxies and tunnels can bring their own.
"""

import ipaddress
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, NoReturn, Protocol, Self

from fetchd.errors import NetworkError, TlsError
from fetchd.model import Proxy, Tls
from fetchd.pop3.binding import ChannelBinding
from fetchd.pop3.deadlines import MINIMUM_RATE, Deadlines
from fetchd.pop3.dial import Resolve, shown
from fetchd.pop3.reach import is_unix, named, reach
from fetchd.pop3.tls import TlsChannel, check_fingerprint, client_context, explain, reason, was_cut_off

RECEIVE_OCTETS: Final = 256 * 1024
FEW_OCTETS: Final = 16 * 1024
"""What is read at once where not much is to come, and until a read has brought as much."""
_SOON_ENOUGH: Final = 1.01
"""By how much longer than asked a read or write may wait: else, as time goes by, each one would set a timeout anew."""
SEND_BUFFER: Final = 64 * 1024
"""Octets of ours that the kernel takes while the server takes none; Linux doubles it, for its own overhead."""

_KEEPALIVE: Final = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
"""A line over which nothing goes, while we write to a slow disk, is probed after 30 s, which keeps it alive in the
tables of NAT; and is given up after another 30."""


class Transport(Protocol):
    """A two-way stream of octets to one server. Every method but ``close`` raises ``NetworkError``.

    Attributes:
        peer: how messages name the server.
        timeout: seconds that every single read or write may take.
    """

    peer: str
    timeout: float

    @property
    def tls_version(self) -> str:
        """The TLS protocol in use, "" on a plain line."""
        ...

    @property
    def tls_cipher(self) -> str:
        """The cipher suite in use, "" on a plain line."""
        ...

    @property
    def certificate_expires(self) -> float | None:
        """When the server's certificate runs out, Unix seconds; None on a plain line, and where it is pinned."""
        ...

    @property
    def channel_binding(self) -> ChannelBinding | None:
        """What names the TLS channel to both ends; None on a plain line."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether the peer is on this host, so that nobody else can listen in."""
        ...

    def recv(self, most: int) -> bytes:
        """Returns what has arrived, about ``most`` octets at most; waits if that is nothing; b"" at the end."""
        ...

    def recv_ready(self, most: int) -> bytes | None:
        """Returns what has arrived without waiting: None if that is nothing, b"" at the end."""
        ...

    def send(self, data: bytes) -> None:
        """Sends all of ``data``."""
        ...

    def within(self, seconds: float, what: str) -> AbstractContextManager[None]:
        """Returns a context in which reads and writes fail once ``seconds`` have passed, since ``what`` took longer."""
        ...

    def reply_due(self) -> None:
        """Says that what is received from here on is a reply of its own, for the minimum rate."""
        ...

    def start_tls(self, settings: Tls, context: ssl.SSLContext | None = None) -> None:
        """Goes over to TLS, and raises ``TlsError`` where the channel is not the one that the settings ask for."""
        ...

    def close(self) -> None:
        """Closes the connection. Never raises, may be called twice."""
        ...


class SocketTransport:
    """A :class:`Transport` over a connected socket.

    Args:
        sock: connected; belongs to the transport from here on.
        host: what certificates are verified for, unless the TLS settings name something else.
        peer: how messages name the server; by default host and port of the socket.
        proxied: the socket's peer is a proxy, whose address says nothing of where the server is.
        timeout: seconds that every single read or write, and a TLS handshake as a whole, may take.
        session_timeout: seconds after which everything fails; None for no such limit.
        minimum_rate: octets a second; a reply that comes in slower for a minute fails. 0: no such limit.
        since: when the session began, by the clock; by default now.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        sock: socket.socket,
        host: str = "",
        *,
        peer: str = "",
        proxied: bool = False,
        timeout: float = 60.0,
        session_timeout: float | None = None,
        minimum_rate: int = MINIMUM_RATE,
        since: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sock = sock
        self._host = host
        self.peer = peer or _peer_of(sock, host)
        self._proxied = proxied
        self._clock = clock
        self._deadlines = Deadlines(
            timeout=timeout,
            session_timeout=session_timeout,
            minimum_rate=minimum_rate,
            since=clock() if since is None else since,
            clock=clock,
        )
        self._waits = True
        self._armed = -1.0
        self._arrivals: select.poll | None = None
        self._channel: TlsChannel | None = None
        self._closed = False
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            # A window of commands is one small write that must not wait for the ACK of the one before.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            for option, value in _KEEPALIVE.items():
                sock.setsockopt(socket.IPPROTO_TCP, option, value)

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        *,
        timeout: float = 60.0,
        session_timeout: float | None = None,
        minimum_rate: int = MINIMUM_RATE,
        source_address: str | None = None,
        proxy: Proxy | None = None,
        resolve: Resolve | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Connects to a server; see :func:`fetchd.pop3.reach.reach`.

        Args:
            host: a name, an address, or a Unix socket.
            port: TCP port.
            timeout: seconds for connecting as a whole, with a name's resolution and a proxy's part in it; then see the
                class.
            session_timeout: seconds from now after which everything fails.
            minimum_rate: see the class.
            source_address: the IP address of ours to connect from.
            proxy: to connect through.
            resolve: how names are resolved; None for the system's resolver, which may take longer than the timeout.
            clock: seconds that only grow.

        Raises:
            NetworkError: the server cannot be reached.
            UsageError: it cannot be reached this way.
        """
        began = clock()
        seconds = timeout if session_timeout is None else min(timeout, session_timeout)
        sock = reach(
            host, port, seconds=seconds, clock=clock, source_address=source_address, proxy=proxy, resolve=resolve
        )
        return cls(
            sock,
            "" if is_unix(host) else host,
            peer=named(host, port),
            proxied=proxy is not None,
            timeout=timeout,
            session_timeout=session_timeout,
            minimum_rate=minimum_rate,
            since=began,
            clock=clock,
        )

    @property
    def timeout(self) -> float:
        """Seconds that every single read or write may take."""
        return self._deadlines.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._deadlines.timeout = seconds

    @property
    def tls_version(self) -> str:
        """The TLS protocol in use, "" on a plain line."""
        if self._channel is not None:
            return self._channel.version
        return (self._sock.version() or "") if isinstance(self._sock, ssl.SSLSocket) else ""

    @property
    def tls_cipher(self) -> str:
        """See :class:`Transport`."""
        return "" if self._channel is None else self._channel.cipher

    @property
    def certificate_expires(self) -> float | None:
        """See :class:`Transport`."""
        return None if self._channel is None else self._channel.certificate_expires

    @property
    def channel_binding(self) -> ChannelBinding | None:
        """See :class:`Transport`."""
        return None if self._channel is None else self._channel.binding

    @property
    def is_local(self) -> bool:
        """Whether the peer has a loopback address, or is a Unix socket; and is no proxy."""
        if self._proxied:
            return False
        if self._sock.family == socket.AF_UNIX:
            return True
        try:
            text = str(self._sock.getpeername()[0])
            if self._sock.family == socket.AF_INET:  # in the kernel's spelling
                return text.startswith("127.")
            address = ipaddress.ip_address(text.partition("%")[0])
        except (OSError, ValueError):
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback

    def recv(self, most: int) -> bytes:
        """Returns what has arrived, about ``most`` octets at most; waits if that is nothing; b"" at the end."""
        began = self._clock()
        try:
            if self._channel is None:
                data = self._raw_recv(most)
            else:
                # One record may take many reads of the socket: they share the time that a read may take.
                with self.within(self.timeout, "receiving"):
                    data = self._channel.read(most)
        except OSError as error:
            self._fail("receiving", error)
        too_slow = self._deadlines.too_slow(len(data), self._clock() - began) if data else ""
        if too_slow:
            raise NetworkError(f"{self.peer}: receiving is too slow: {too_slow}")
        return data

    def recv_ready(self, most: int) -> bytes | None:
        """Returns what has arrived without waiting: None if that is nothing, b"" at the end."""
        if self._channel is None and self._is_silent():
            return None
        self._waits = False
        try:
            return self._channel.read(most) if self._channel is not None else self._raw_recv(most)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError as error:
            self._fail("receiving", error)
        finally:
            self._waits = True

    def send(self, data: bytes) -> None:
        """Sends all of ``data``."""
        try:
            if self._channel is not None:
                self._channel.write(data)
            else:
                self._raw_send(data)
        except OSError as error:
            self._fail("sending", self._last_word() or error)

    def within(self, seconds: float, what: str) -> AbstractContextManager[None]:
        """Returns a context in which reads and writes fail once ``seconds`` have passed, since ``what`` took longer."""
        return self._deadlines.within(seconds, what)

    def reply_due(self) -> None:
        """Says that what is received from here on is a reply of its own, for the minimum rate."""
        self._deadlines.reply_due()

    def start_tls(self, settings: Tls, context: ssl.SSLContext | None = None) -> None:
        """Goes over to TLS.

        Args:
            settings: whose certificate is acceptable, and which of ours to show.
            context: made from the same settings, to save the time for making one.

        Raises:
            TlsError: no TLS, or not with the server that the settings ask for.
            NetworkError: the connection broke, or the handshake took longer than the timeout.
        """
        name = settings.server_name or self._host
        if not (name or settings.fingerprint):
            raise TlsError(
                f"{self.peer}: the server's certificate cannot be verified for no name: give its server_name"
            )
        made = context or client_context(settings)
        channel = None
        try:
            with self.within(self.timeout, "the TLS handshake"):
                channel = TlsChannel(made, name, receive=self._raw_recv, send=self._raw_send)
                channel.handshake()
        except ssl.SSLError as error:
            first = channel.first_octets if channel else b""
            raise TlsError(f"{self.peer}: {explain(error, server_name=name, first_octets=first)}") from error
        except ValueError as error:
            raise TlsError(f"{self.peer}: {name!r} cannot be verified: {error}") from error
        except OSError as error:
            self._fail("the TLS handshake", error)
        if settings.fingerprint is not None:
            try:
                check_fingerprint(channel.fingerprint(), settings.fingerprint)
            except TlsError as error:
                raise TlsError(f"{self.peer}: {error}") from error
        self._channel = channel

    def close(self) -> None:
        """Closes the connection. Never raises, may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._waits = False
        try:
            if self._channel is not None:
                self._channel.say_goodbye()
        except OSError:
            pass  # the peer is gone: it needs no close_notify
        finally:
            self._sock.close()

    def _is_silent(self) -> bool:
        """Returns whether there is nothing to read; asked for, the socket need not be made non-blocking and back."""
        if isinstance(self._sock, ssl.SSLSocket):  # may hold octets that poll(2) knows nothing of any more
            return False
        if self._arrivals is None:
            self._arrivals = select.poll()
            self._arrivals.register(self._sock, select.POLLIN)
        return not self._arrivals.poll(0)

    def _raw_recv(self, most: int) -> bytes:
        self._arm()
        return self._sock.recv(most)

    def _raw_send(self, data: bytes) -> None:
        self._arm()
        self._sock.sendall(data)

    def _last_word(self) -> ssl.SSLError | None:
        """Returns the alert by which a peer that has left says why: it may lie unread behind the error of a write."""
        self._waits = False
        try:
            if self._channel is not None:
                self._channel.read(FEW_OCTETS)
        except ssl.SSLError as error:
            return None if isinstance(error, ssl.SSLWantReadError) or was_cut_off(error) else error
        except OSError:
            pass
        finally:
            self._waits = True
        return None

    def _arm(self) -> None:
        """Sets the socket's timeout to what is left of the nearest deadline."""
        seconds = self._deadlines.left() if self._waits else 0.0
        if not seconds <= self._armed <= seconds * _SOON_ENOUGH:
            self._sock.settimeout(seconds)
            self._armed = seconds

    def _fail(self, doing: str, error: OSError) -> NoReturn:
        if isinstance(error, TimeoutError) and not error.errno:  # ETIMEDOUT is what keepalive found out
            raise NetworkError(f"{self.peer}: {self._deadlines.took_long(doing)}") from error
        if isinstance(error, ssl.SSLError) and was_cut_off(error):
            raise NetworkError(f"{self.peer}: {doing} failed: the TLS stream was cut off") from error
        if isinstance(error, ssl.SSLError):
            raise TlsError(f"{self.peer}: {doing} failed: {reason(error)}") from error
        raise NetworkError(f"{self.peer}: {doing} failed: {reason(error)}") from error


def _peer_of(sock: socket.socket, host: str) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return host or "the server"
    if not isinstance(name, tuple):
        return host or str(name) or "the server"
    return shown(host or str(name[0]), name[1])
