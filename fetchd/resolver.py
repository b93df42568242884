"""Names and their addresses: the system's resolver, with a deadline, and asked once for all who want to know.

``getaddrinfo`` blocks for as long as the system's resolver is configured to, and nothing can end it. So it runs in
daemon threads, few of them however many accounts there are; who asked leaves when his time is over, and a late answer
still serves the next one.
"""

import copy
import ipaddress
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from fetchd.pop3.dial import AddressInfo

KEEP_SECONDS: Final = 30.0
"""How long an answer is good for: a poll round's worth."""
MOST_THREADS: Final = 64
"""How many names are resolved at a time, as many as there are workers by default; the others wait their turn."""

_Name = tuple[str, int]


class _LookUp:
    """One question on its way: whoever has the same one waits for the same answer."""

    def __init__(self, name: _Name) -> None:
        self.name = name
        self.ended = threading.Event()
        self.found: Sequence[AddressInfo] = ()
        self.error: Exception | None = None

    def run(self) -> None:
        """Asks the system."""
        try:
            self.found = _look_up(self.name)
        except Exception as error:  # noqa: BLE001 - it belongs to those who asked
            self.error = error

    def answer(self) -> Sequence[AddressInfo]:
        """Returns what came, or raises it: a copy, since several threads may raise it at a time."""
        if self.error is not None:
            raise copy.copy(self.error)
        return self.found


class Resolver:
    """A :data:`fetchd.pop3.dial.Resolve` for many threads.

    There is one look-up for each (host, port) at a time; its answer is kept for ``keep`` seconds. A failure is told to
    all who waited for it, and never kept.

    Args:
        keep: seconds.
        most_threads: the most look-ups under way.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        keep: float = KEEP_SECONDS,
        most_threads: int = MOST_THREADS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep = keep
        self._most_threads = most_threads
        self._clock = clock
        self._lock = threading.Lock()  # for all that follows
        self._kept: dict[_Name, tuple[float, Sequence[AddressInfo]]] = {}  # the oldest first
        self._under_way: dict[_Name, _LookUp] = {}
        self._waiting: deque[_LookUp] = deque()
        self._threads = 0

    def __call__(self, host: str, port: int, seconds: float) -> Sequence[AddressInfo]:
        """Returns the addresses of a host.

        Raises:
            TimeoutError: they did not come within so many seconds.
            OSError, UnicodeError: there are none, or the name is none.
        """
        name = (host, port)
        if _is_address(host):
            return _look_up(name) if "%" in host else _addresses(name)  # an interface's number may change
        with self._lock:
            self._forget_old()
            if name in self._kept:
                return self._kept[name][1]
            look_up = self._under_way.get(name)
            if look_up is None:
                look_up = self._under_way[name] = _LookUp(name)
                self._waiting.append(look_up)
            is_short = self._threads < min(self._most_threads, len(self._under_way))
            self._threads += is_short
        if is_short:
            self._hire()
        if not look_up.ended.wait(seconds):
            raise TimeoutError(f"no answer within {seconds:.3g} s")
        return look_up.answer()

    def _hire(self) -> None:
        """Starts one more thread; where the system gives none, the work is done by those that there are, or here."""
        try:
            threading.Thread(target=self._work, name="resolver", daemon=True).start()
        except RuntimeError:
            with self._lock:
                is_alone = self._threads == 1
                self._threads -= not is_alone
            if is_alone:
                self._work()

    def _work(self) -> None:
        """Takes look-ups in hand until none waits."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                look_up = self._waiting.popleft()
            look_up.run()
            with self._lock:
                del self._under_way[look_up.name]
                if look_up.error is None:
                    self._kept[look_up.name] = (self._clock() + self._keep, look_up.found)
            look_up.ended.set()

    def _forget_old(self) -> None:
        now = self._clock()
        while self._kept:
            name = next(iter(self._kept))
            if self._kept[name][0] > now:
                return
            del self._kept[name]


def _look_up(name: _Name) -> Sequence[AddressInfo]:
    return socket.getaddrinfo(*name, type=socket.SOCK_STREAM)


_addresses = lru_cache(maxsize=1024)(_look_up)
"""For what stands for itself: nobody has to be asked."""


@lru_cache(maxsize=1024)
def _is_address(host: str) -> bool:
    """Returns whether there is nothing to resolve."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
