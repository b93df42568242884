"""Whether a host that was guessed is a POP3 server: connect, verify its certificate, read its greeting, go."""

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from fetchd.discovery.finding import Finding
from fetchd.model import TlsMode

_LONGEST_LINE: Final = 512
"""Octets of a reply's line, CRLF included (RFC 1939 §3)."""


class ProbeError(Exception):
    """It is none, or none that can be trusted; the message is a phrase, or "" where there is nothing to say."""


def probe(
    guess: Finding,
    *,
    seconds: float,
    context: ssl.SSLContext | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Finding:
    """Returns the guess as a finding, once its server has shown a certificate for its name and greeted.

    Args:
        guess: of a host within the domain; TLS or STARTTLS, for a plain line shows nothing.
        seconds: for all of it.
        context: whom to trust; the system's authorities by default.
        clock: seconds that only grow.

    Raises:
        ProbeError: there is no such server.
    """
    deadline = clock() + seconds
    line = _Line(deadline, clock)
    try:
        line.connect(guess.host, guess.port)
        if guess.tls is TlsMode.STARTTLS:
            line.expect_ok()
            line.send(b"STLS\r\n")
            line.expect_ok()
            line.encrypt(context or ssl.create_default_context(), guess.host)
        else:
            line.encrypt(context or ssl.create_default_context(), guess.host)
            line.expect_ok()
        line.send(b"QUIT\r\n")
    except ssl.SSLCertVerificationError as error:
        raise ProbeError(f"its certificate is not to be trusted: {error.verify_message}") from error
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be looked up
        raise ProbeError("") from error
    finally:
        line.close()
    return replace(guess, source=f"{guess.source}: it answers, and its certificate is right", is_vouched=True)


class _Line:
    """A socket with one deadline for all that is done with it."""

    def __init__(self, deadline: float, clock: Callable[[], float]) -> None:
        self._deadline = deadline
        self._clock = clock
        self._socket: socket.socket | None = None

    def connect(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=self._left())

    def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        sock = self._waiting()
        self._socket = context.wrap_socket(sock, server_hostname=host)

    def send(self, octets: bytes) -> None:
        self._waiting().sendall(octets)

    def expect_ok(self) -> None:
        line = b""
        while not line.endswith(b"\n"):
            more = self._waiting().recv(1)
            if not more or len(line) >= _LONGEST_LINE:
                raise ProbeError("")
            line += more
        if not line.startswith(b"+OK"):
            raise ProbeError("")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _waiting(self) -> socket.socket:
        assert self._socket is not None, "connect first"
        self._socket.settimeout(self._left())
        return self._socket

    def _left(self) -> float:
        left = self._deadline - self._clock()
        if left <= 0:
            raise TimeoutError
        return left
