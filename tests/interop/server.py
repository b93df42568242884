"""What every server of this suite can do, and what they have in common."""

import socket
import time
from typing import Final, Protocol

from tests.interop.chroot import Chroot, ChrootError

HOST: Final = "127.0.0.1"
_SECONDS: Final = 60.0
_PATIENCE: Final = 0.05


class Server(Protocol):
    """A real POP3 server in a chroot of its own."""

    port: int
    """Where it listens on loopback, once it is started; it speaks plain POP3 there."""

    def start(self) -> None:
        """Returns once it greets."""
        ...

    def stop(self) -> None:
        """Ends it, and forgets all its mail; may be called twice."""
        ...

    def add_user(self, user: str, password: str) -> None:
        """Makes a user with an empty maildrop."""
        ...

    def put(self, user: str, *messages: bytes) -> None:
        """Adds messages, their lines ended by LF, to a maildrop that no session has open."""
        ...

    def messages(self, user: str) -> list[bytes]:
        """Returns what is in the maildrop, as it is stored."""
        ...


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens on; nothing keeps them free."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_for_greeting(port: int, greeting: bytes, *, chroot: Chroot) -> None:
    """Returns once whoever listens on ``port`` greets.

    Raises:
        ChrootError: nobody does.
    """
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((HOST, port), timeout=_SECONDS) as line:
                if line.recv(512).startswith(greeting):
                    return
        except OSError:
            pass  # not yet
        time.sleep(_PATIENCE)
    raise ChrootError(f"no greeting on port {port}:\n{chroot.log}")
