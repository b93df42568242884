"""Time that goes by when a test says so, and servers that are slow in it: minutes that take no time."""

import socket
from collections import deque
from collections.abc import Iterable, Iterator


class ManualClock:
    """Seconds, by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


class SlowSocket:
    """As much of a socket as a transport needs; its peer sends each piece so many seconds after the one before.

    Those seconds go by on the clock while a read waits, and at no other time.
    """

    family = socket.AF_UNIX

    def __init__(self, clock: ManualClock, pieces: Iterable[tuple[float, bytes]]) -> None:
        self.clock = clock
        self.sent = b""
        self._pieces: Iterator[tuple[float, bytes]] = iter(pieces)
        self._next: deque[tuple[float, bytes]] = deque()
        self._timeout = 0.0

    def fileno(self) -> int:
        """Returns a descriptor that is not open, which poll(2) does not call silent."""
        return 1 << 20

    def settimeout(self, seconds: float) -> None:
        """Remembers how long a read may wait."""
        self._timeout = seconds

    def recv(self, _most: int) -> bytes:
        """Returns the next piece, or fails as a socket does; b"" after the last."""
        if not self._next:
            self._next.append(next(self._pieces, (0.0, b"")))
        wait, piece = self._next.popleft()
        if wait > self._timeout:
            self._next.append((wait - self._timeout, piece))
            self.clock.now += self._timeout
            raise TimeoutError if self._timeout else BlockingIOError
        self.clock.now += wait
        return piece

    def sendall(self, data: bytes) -> None:
        """Takes everything at once."""
        self.sent += data

    def close(self) -> None:
        """Does nothing."""


def dripping(data: bytes, *, every: float, octets: int = 1) -> Iterator[tuple[float, bytes]]:
    """Yields some octets of ``data`` at a time, ``every`` so many seconds."""
    for start in range(0, len(data), octets):
        yield every, data[start : start + octets]
