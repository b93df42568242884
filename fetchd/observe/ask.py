"""Asking a running fetchd how things stand, over the HTTP endpoint of its configuration."""

import http.client
import socket
from typing import Final

from fetchd.errors import printable
from fetchd.model import UNIX_PREFIX, HttpAddress
from fetchd.observe.reach import is_unix
from fetchd.observe.status import Status, from_json

SECONDS: Final = 3.0
"""How long connecting, and every single read, may take."""
_LIMIT: Final = 64_000_000
"""The most octets that are read: 10,000 accounts take 5 MB."""
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to connect to, not to bind


def ask(address: HttpAddress) -> Status | None:
    """Returns what a fetchd at this address tells; None where none does, whatever the reason."""
    answer = _get(address, "/status")
    try:
        return from_json(answer[1]) if answer is not None and answer[0] == http.client.OK else None
    except ValueError:
        return None


def ask_health(address: HttpAddress) -> tuple[bool, str] | None:
    """Returns whether a fetchd at this address works, and that in a line; None where none answers."""
    answer = _get(address, "/healthz")
    return None if answer is None else (answer[0] == http.client.OK, printable(answer[1].strip()))


def _get(address: HttpAddress, path: str) -> tuple[int, bytes] | None:
    """Returns an answer's status and content; None where there is none."""
    connection = _UnixConnection(address) if is_unix(address) else _tcp(address)
    try:
        connection.request("GET", path, headers={"Accept": "*/*"})
        answer = connection.getresponse()
        return answer.status, answer.read(_LIMIT)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _tcp(address: HttpAddress) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(_EVERYWHERE.get(address.host, address.host), address.port, timeout=SECONDS)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP through a Unix socket."""

    def __init__(self, address: HttpAddress) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = address.host.removeprefix(UNIX_PREFIX)

    def connect(self) -> None:
        """Connects."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)
