"""Where the HTTP endpoint listens, and by which names a browser may call it. Pure."""

import ipaddress
from collections.abc import Callable, Collection
from typing import Final

from fetchd.model import UNIX_PREFIX, HttpAddress

_LONGEST_HOST: Final = 260
"""A host name has at most 253 characters; then there is the port."""


def is_unix(address: HttpAddress) -> bool:
    """Returns whether this is a Unix socket's path, not a host and a port."""
    return address.host.startswith(UNIX_PREFIX)


def shown_address(address: HttpAddress) -> str:
    """Returns ``host:port``, an IPv6 address in brackets; a Unix socket as it is configured."""
    if is_unix(address):
        return address.host
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def is_our_name(host: str | None, address: HttpAddress, machine: Callable[[], Collection[str]]) -> bool:
    """Returns whether a request that names ``host`` may be answered.

    A page from elsewhere can have its own name resolve to 127.0.0.1 and then read, through the browser, what answers
    there (DNS rebinding); the browser sends that name. An IP address cannot be rebound, nor can a name without a dot
    be anybody's in the public DNS (``localhost``, a container's); else it has to be the name that is configured, or
    this machine's. Who sends no name is no browser; and through a Unix socket a browser comes only by a proxy, whose
    names are its own business.

    Args:
        host: the header ``Host`` as it came; None where there was none.
        address: where we listen.
        machine: returns this machine's own names; asked only where nothing else decides, for it may ask the DNS.
    """
    if host is None or is_unix(address):
        return True
    if len(host) > _LONGEST_HOST:
        return False
    name = _without_port(host).rstrip(".").lower()
    if "." not in name.removesuffix(".localhost"):
        return _is_address(name) if ":" in name else bool(name)
    if _is_address(name) or name == address.host.rstrip(".").lower():
        return True
    return name in {own.rstrip(".").lower() for own in machine()}


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
