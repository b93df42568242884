"""Through a proxy: SOCKS5 (RFC 1928, 1929) or HTTP CONNECT (RFC 9110 §9.3.6), by python-socks.

The proxy resolves the host's name, so that no DNS query betrays it and hosts that only the proxy can see are reached.
TLS goes through to the server: the proxy learns the host's name, and how much goes by.

This module is loaded only where there is a proxy.
"""

import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from python_socks import ProxyError, ProxyType
from python_socks.sync import Proxy as Negotiator

from fetchd.errors import NetworkError
from fetchd.model import Proxy, ProxyKind
from fetchd.pop3.dial import Resolve, dial, shown
from fetchd.pop3.tls import reason

MOST_HEAD_OCTETS: Final = 16 * 1024
"""The most octets of an HTTP proxy's reply."""

_TYPES: Final = {ProxyKind.SOCKS5: ProxyType.SOCKS5, ProxyKind.HTTP: ProxyType.HTTP}


def dial_through(
    proxy: Proxy,
    host: str,
    port: int,
    *,
    seconds: float,
    clock: Callable[[], float],
    source_address: str | None = None,
    resolve: Resolve | None = None,
) -> socket.socket:
    """Connects to a host through a proxy.

    Args:
        proxy: where it is, and who we are to it.
        host: a name, which the proxy resolves, or an address.
        port: TCP port.
        seconds: for all of it: reaching the proxy, and its reaching the host.
        clock: seconds that only grow.
        source_address: the address of ours to connect to the proxy from.
        resolve: how the proxy's name is resolved; None for the system's resolver.

    Raises:
        NetworkError: the proxy cannot be reached, or does not connect us; the message names it, and no password.
    """
    named = f"{shown(host, port)}: the proxy {proxy.kind}://{shown(proxy.host, proxy.port)}"
    ends = clock() + seconds
    sock = dial(
        proxy.host,
        proxy.port,
        seconds=seconds,
        clock=clock,
        source_address=source_address,
        peer=named,
        resolve=resolve,
    )
    kind = _HttpLine if proxy.kind is ProxyKind.HTTP else _Line
    line = kind(fileno=sock.detach())
    line.left = lambda: ends - clock()
    try:
        _negotiate(proxy, line, host, port)
    except TimeoutError as error:
        raise NetworkError(f"{named} took longer than {seconds:.3g} s") from error
    except ProxyError as error:
        # Not "from": it repeats the proxy's words, and they may be ours, come back.
        raise NetworkError(f"{named} does not connect us: {_why(proxy, error)}") from None
    except OSError as error:
        raise NetworkError(f"{named} failed: {reason(error)}") from error
    except ValueError:
        # Not "from": it may hold what could not be encoded, and that may be the password.
        raise NetworkError(f"{named} cannot be told this host, user or password") from None
    else:
        return socket.socket(fileno=line.detach())
    finally:
        line.close()


class _Line(socket.socket):
    """The line to a proxy while python-socks uses it: every call shares the time that is left for all of them."""

    left: Callable[[], float]

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Returns what has arrived."""
        self._arm()
        return super().recv(bufsize, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Sends all of ``data``."""
        self._arm()
        super().sendall(data, flags)

    def _arm(self) -> None:
        left = self.left()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)


class _HttpLine(_Line):
    """The line to an HTTP proxy, which gives python-socks the reply's head as a whole and not an octet more.

    That reads once, and takes what it gets for the reply; but POP3's greeting may come in the same segment.
    """

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:  # noqa: ARG002 - how much there is, the head says
        """Returns the head of a reply."""
        head = bytearray()
        while not head.endswith((b"\r\n\r\n", b"\n\n")):
            octet = super().recv(1)
            if not octet or len(head) == MOST_HEAD_OCTETS:
                raise ProxyError("a reply without an end")
            head += octet
        return bytes(head)


class _Dialled(Negotiator):
    """What python-socks takes for a proxy on the way to the proxy: it hands out a line that is connected already."""

    def __init__(self, proxy_type: ProxyType, line: _Line) -> None:
        super().__init__(proxy_type, "", 0)
        self._line = line

    def connect(self, dest_host: str, dest_port: int, timeout: float | None = None, **kwargs: Any) -> socket.socket:  # noqa: ARG002
        """Returns the line."""
        return self._line


def _negotiate(proxy: Proxy, line: _Line, host: str, port: int) -> None:
    kind = _TYPES[proxy.kind]
    password = proxy.password.reveal().decode() if proxy.password is not None else None
    user = proxy.user or None
    Negotiator(kind, proxy.host, proxy.port, user, password, rdns=True, forward=_Dialled(kind, line)).connect(
        host, port
    )


def _why(proxy: Proxy, error: ProxyError) -> str:
    """Returns what a proxy answered, but in no words of its own."""
    if proxy.kind is ProxyKind.SOCKS5:
        return str(error)
    code = error.error_code
    if code is None:
        return "what it says is no HTTP reply"
    known = {status.value: status.phrase for status in HTTPStatus}
    return f"{code} {known.get(code, '')}".rstrip()
