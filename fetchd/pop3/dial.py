"""From a host's name to a connected socket.

The addresses are raced, IPv6 and IPv4 in turn (RFC 8305): a black hole among them costs a quarter of a second, not a
timeout. The system's resolver blocks, for as long as it is configured to: who cannot wait for it brings a
:data:`Resolve` of his own.
"""

import os
import selectors
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from types import TracebackType
from typing import Final, NamedTuple, Self

from fetchd.errors import NetworkError
from fetchd.pop3.tls import reason

STAGGER_SECONDS: Final = 0.25
"""How long an address may take to answer before the next one is tried too (RFC 8305 §8)."""
MOST_ADDRESSES: Final = 10
"""How many addresses of a host are tried, however many it has."""

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]
"""One of the tuples that ``socket.getaddrinfo`` returns."""

Resolve = Callable[[str, int, float], Sequence[AddressInfo]]
"""Returns the stream addresses of a host and a TCP port; it should take no longer than so many seconds.

Raises ``OSError`` (``socket.gaierror``, ``TimeoutError``) or ``UnicodeError`` where it cannot tell.
"""


class _Source(NamedTuple):
    """Where connections are to come from."""

    text: str
    family: socket.AddressFamily
    address: tuple[object, ...]


def dial(
    host: str,
    port: int,
    *,
    seconds: float,
    clock: Callable[[], float],
    source_address: str | None = None,
    peer: str = "",
    stagger: float = STAGGER_SECONDS,
    resolve: Resolve | None = None,
) -> socket.socket:
    """Connects to the first of a host's addresses that answers.

    They are tried in the order of the system's resolver, the two families in turn, each when the one before has failed
    or has not answered in time.

    Args:
        host: a name or an address.
        port: TCP port.
        seconds: for resolving the name and connecting, as a whole.
        clock: seconds that only grow.
        source_address: the address of ours to connect from; only addresses of its family are tried.
        peer: how messages begin; by default host and port.
        stagger: seconds that an address may take before the next one is tried too.
        resolve: None for :func:`resolve_by_system`, which may take longer than it should.

    Raises:
        NetworkError: the name cannot be resolved, or no address answers; the message says of each one why.
    """
    peer = peer or shown(host, port)
    source = _source(source_address, peer) if source_address else None
    ends = clock() + seconds
    found = _resolved(resolve or resolve_by_system, host, port, seconds=seconds, peer=peer)
    left = ends - clock()
    if left <= 0 < seconds:
        raise NetworkError(f"{peer}: resolving the name took longer than {seconds:.3g} s")
    if source is not None:
        found = [info for info in found if info[0] == source.family]
    tried = _in_turn(found)[:MOST_ADDRESSES]
    with _Race(source, clock=clock) as race:
        winner = race.run(tried, seconds=left, stagger=stagger)
        if winner is not None:
            return winner
        failures = race.failures()
    untried = len(found) - len(failures)
    if untried:
        failures.append(f"{untried} of {len(found)} addresses not tried")
    if not failures:
        failures.append("the name has no address" + (f" to be reached from {source.text}" if source else ""))
    raise NetworkError(f"{peer}: cannot connect: {'; '.join(failures)}") from race.last_error


def shown(host: str, port: object) -> str:
    """Returns host and port as a message names them; an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve_by_system(host: str, port: int, _seconds: float) -> Sequence[AddressInfo]:
    """Asks the system's resolver, and waits for it for as long as it takes: see :data:`Resolve`."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _resolved(resolve: Resolve, host: str, port: int, *, seconds: float, peer: str) -> list[AddressInfo]:
    try:
        return list(resolve(host, port, seconds))
    except (OSError, UnicodeError) as error:
        said = reason(error) if isinstance(error, OSError) else "not a host name"
        raise NetworkError(f"{peer}: the name cannot be resolved: {said}") from error


def _source(text: str, peer: str) -> _Source:
    try:
        found = socket.getaddrinfo(text, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError) as error:
        raise NetworkError(f"{peer}: source_address is not an IP address: {text}") from error
    family, _, _, _, address = found[0]
    return _Source(text, family, address)


def _in_turn(found: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Returns addresses by turns of family, beginning with that of the first (RFC 8305 §4)."""
    first = [info for info in found if info[0] == found[0][0]]
    others = [info for info in found if info[0] != found[0][0]]
    return [info for info in chain.from_iterable(zip_longest(first, others)) if info is not None]


class _Attempt:
    """One connection on its way."""

    def __init__(self, info: AddressInfo, *, began: float) -> None:
        self.info = info
        self.began = began
        self.failure = ""
        self.sock: socket.socket | None = None

    def start(self, source: _Source | None) -> None:
        """Sends the first SYN.

        Raises:
            OSError: it cannot be sent.
        """
        family, kind, protocol, _, address = self.info
        self.sock = socket.socket(family, kind, protocol)
        self.sock.setblocking(False)
        if source is not None:
            self.sock.bind(source.address)
        with suppress(BlockingIOError):
            self.sock.connect(address)

    def outcome(self) -> OSError | None:
        """Returns what became of it, once the socket is ready: None where it is connected."""
        assert self.sock is not None
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(code, os.strerror(code)) if code else None

    def close(self) -> None:
        """Gives up."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class _Race:
    """Several connections on their way; whoever leaves the context closes all but the one that has won."""

    def __init__(self, source: _Source | None, *, clock: Callable[[], float]) -> None:
        self.last_error: OSError | None = None
        self._source = source
        self._clock = clock
        self._selector = selectors.PollSelector()  # needs no file descriptor, of which there may be none left
        self._attempts: list[_Attempt] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        for attempt in self._attempts:
            attempt.close()

    def run(self, addresses: Iterable[AddressInfo], *, seconds: float, stagger: float) -> socket.socket | None:
        """Returns the socket of the first address that answers; None where none did in time."""
        waiting = list(addresses)
        now = self._clock()
        ends = now + seconds
        next_at = now
        while now < ends and (waiting or self._selector.get_map()):
            if waiting and now >= next_at:
                next_at = now + stagger if self._start(waiting.pop(0)) else now
            else:
                winner, failed = self._wait(min(next_at, ends) - now if waiting else ends - now)
                if winner is not None:
                    return winner
                next_at = now if failed else next_at
            now = self._clock()
        return None

    def failures(self) -> list[str]:
        """Returns why each address that was tried is not the one."""
        return [
            f"{attempt.info[4][0]}: {attempt.failure or f'no answer in {self._clock() - attempt.began:.3g} s'}"
            for attempt in self._attempts
        ]

    def _start(self, info: AddressInfo) -> bool:
        """Begins to connect; returns False where that failed at once."""
        attempt = _Attempt(info, began=self._clock())
        self._attempts.append(attempt)
        try:
            attempt.start(self._source)
        except OSError as error:
            self._lose(attempt, error)
            return False
        assert attempt.sock is not None
        self._selector.register(attempt.sock, selectors.EVENT_WRITE, attempt)
        return True

    def _wait(self, seconds: float) -> tuple[socket.socket | None, bool]:
        """Returns the winner, if there is one within ``seconds``; and whether an address has failed instead."""
        ready = {id(key.data) for key, _ in self._selector.select(max(seconds, 0.0))}
        failed = False
        for attempt in [attempt for attempt in self._attempts if id(attempt) in ready]:  # the earliest first
            assert attempt.sock is not None
            self._selector.unregister(attempt.sock)
            error = attempt.outcome()
            if error is None:
                winner, attempt.sock = attempt.sock, None
                return winner, False
            self._lose(attempt, error)
            failed = True
        return None, failed

    def _lose(self, attempt: _Attempt, error: OSError) -> None:
        self.last_error = error
        origin = f"from {self._source.text}: " if self._source else ""
        attempt.failure = f"{origin}{reason(error)}"
        attempt.close()
