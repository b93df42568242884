"""Time that tests own: a clock that moves when told, and an inbox that moves it when the main loop would sleep."""

import queue
from collections.abc import Callable

from fetchd.inbox import Message


class FakeClock:
    """A :class:`fetchd.ports.Clock` that stands still."""

    def __init__(self, wall: float = 1_795_000_000.0, monotonic: float = 1000.0) -> None:
        self.wall_now = wall
        self.monotonic_now = monotonic

    def wall(self) -> float:
        return self.wall_now

    def monotonic(self) -> float:
        return self.monotonic_now

    def advance(self, seconds: float) -> None:
        self.wall_now += seconds
        self.monotonic_now += seconds


class VirtualInbox:
    """An inbox in which a sleep takes no time: the clock jumps to its end, or to the next thing scripted.

    While a worker is known to be about to post (``expects_message``), it waits for that in real time instead, so that
    virtual time never overtakes real work.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.expects_message: Callable[[], bool] = lambda: False
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._script: list[tuple[float, Message]] = []

    def put(self, message: Message) -> None:
        self._queue.put(message)

    def at(self, seconds: float, message: Message) -> None:
        """Scripts a message for ``seconds`` from now."""
        self._script.append((self.clock.monotonic() + seconds, message))
        self._script.sort(key=lambda item: item[0])

    def get(self, timeout: float | None) -> Message | None:
        if self.expects_message() or not self._queue.empty():
            return self._queue.get(timeout=20)
        end = self.clock.monotonic() + (timeout if timeout is not None else 1e9)
        if self._script and self._script[0][0] <= end:
            time, message = self._script.pop(0)
            self.clock.advance(max(0.0, time - self.clock.monotonic()))
            return message
        assert timeout is not None, "the main loop sleeps for ever and nothing is scripted"
        self.clock.advance(timeout)
        return None
