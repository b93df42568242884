"""The three ways to a server: straight, through a proxy, or by a Unix socket."""

import socket
from collections.abc import Callable

from fetchd.errors import NetworkError, UsageError
from fetchd.model import UNIX_PREFIX, Proxy
from fetchd.pop3.dial import Resolve, dial, shown
from fetchd.pop3.tls import reason


def reach(
    host: str,
    port: int,
    *,
    seconds: float,
    clock: Callable[[], float],
    source_address: str | None = None,
    proxy: Proxy | None = None,
    resolve: Resolve | None = None,
) -> socket.socket:
    """Connects to a server.

    Args:
        host: a name or an address; or ``unix:`` and the path of a Unix socket, which has no port.
        port: TCP port.
        seconds: for resolving a name and connecting, as a whole.
        clock: seconds that only grow.
        source_address: the IP address of ours to connect from.
        proxy: to connect through; it resolves the name.
        resolve: how names are resolved, the host's or the proxy's; None for the system's resolver.

    Raises:
        NetworkError: the name cannot be resolved, or no address answers, or the proxy does not connect us.
        UsageError: a Unix socket through a proxy, or from an address.
    """
    if is_unix(host):
        if proxy or source_address:
            raise UsageError(f"{host}: a Unix socket is reached neither through a proxy nor from an address")
        return _by_unix_socket(host, seconds=seconds)
    if proxy is None:
        return dial(host, port, seconds=seconds, clock=clock, source_address=source_address, resolve=resolve)
    from fetchd.pop3.proxy import dial_through  # noqa: PLC0415 - loads python-socks

    return dial_through(proxy, host, port, seconds=seconds, clock=clock, source_address=source_address, resolve=resolve)


def is_unix(host: str) -> bool:
    """Returns whether a host is a Unix socket."""
    return host.startswith(UNIX_PREFIX)


def named(host: str, port: int) -> str:
    """Returns how messages name a server."""
    return host if is_unix(host) else shown(host, port)


def _by_unix_socket(host: str, *, seconds: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(seconds, 0.0))
        sock.connect(host.removeprefix(UNIX_PREFIX))
    except OSError as error:
        sock.close()
        raise NetworkError(f"{host}: cannot connect: {reason(error)}") from error
    return sock
