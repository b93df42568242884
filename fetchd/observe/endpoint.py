"""The sockets that the HTTP endpoint listens on: of a host and a port, or a Unix socket for its group (mode 0660)."""

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import Final

from fetchd.model import UNIX_PREFIX, HttpAddress
from fetchd.observe.reach import is_unix

UNIX_MODE: Final = 0o660
_BACKLOG: Final = 64


def listen(address: HttpAddress) -> socket.socket:
    """Returns a socket that listens.

    A Unix socket that nobody listens on any more, as after a kill, is replaced.

    Raises:
        OSError, UnicodeError: the address cannot be listened on.
    """
    return _listen_unix(address.host.removeprefix(UNIX_PREFIX)) if is_unix(address) else _listen_tcp(address)


def _listen_tcp(address: HttpAddress) -> socket.socket:
    found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, where = found[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_unix(path: str) -> socket.socket:
    _remove_left_over(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(sock.fileno(), UNIX_MODE)  # Linux makes the file with these rights, less the umask: never more
        sock.bind(path)
        os.chmod(path, UNIX_MODE)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_left_over(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, f"there is a file of another kind: {path}")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError:  # its queue is full, or it is not for us to ask: somebody is there
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def where_of(sock: socket.socket) -> HttpAddress:
    """Returns where a socket listens: port 0 has become a real one."""
    name = sock.getsockname()
    return HttpAddress(f"{UNIX_PREFIX}{name}", 0) if isinstance(name, str) else HttpAddress(str(name[0]), int(name[1]))


def remove(address: HttpAddress) -> None:
    """Takes a Unix socket's file away; whoever comes then is told at once that nobody is there."""
    if is_unix(address):
        with suppress(OSError):
            os.unlink(address.host.removeprefix(UNIX_PREFIX))
