"""What the main loop waits on: messages from workers (``crew.py``) and from signal handlers, in one line."""

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from fetchd.model import PollResult
from fetchd.schedule import Prompted
from fetchd.values import value


@value
class Finished:
    """A worker's message: a poll ended. Exactly one of ``result`` and ``error`` is set."""

    account: str
    result: PollResult | None = None
    error: BaseException | None = None


@value
class Signal:
    """A signal arrived."""

    number: int


@value
class Knock:
    """Somebody asks whether the main loop turns: it calls ``answer``, which returns at once and raises nothing."""

    answer: Callable[[], object]


@value
class PollAnswer:
    """What comes of a :class:`PollRequest`: either accounts were told, or there are none of some names."""

    told: tuple[Prompted, ...] = ()
    unknown: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


@value
class PollRequest:
    """Somebody wants accounts polled now, all where ``names`` is empty.

    The main loop calls ``answer``, which returns at once and raises nothing.
    """

    names: tuple[str, ...]
    answer: Callable[[PollAnswer], object]


Message = Finished | Signal | Knock | PollRequest


class Inbox(Protocol):
    """Where workers and signal handlers post, and the main loop reads."""

    def put(self, message: Message) -> None:
        """Posts a message; may be called from a signal handler."""
        ...

    def get(self, timeout: float | None) -> Message | None:
        """Returns the next message, or None after ``timeout`` seconds (None: for ever)."""
        ...


class PipeInbox:
    """The real inbox. It lives as long as its process: a worker that was abandoned may post until the very end.

    The main loop sleeps on a pipe, into which the C half of a signal handler writes (``signal.set_wakeup_fd``). A
    signal that comes just before the sleep thus ends it; a lock or a queue would see it only after the next message.
    """

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._wakes, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wakes, select.POLLIN)

    def put(self, message: Message) -> None:
        """See :class:`Inbox`."""
        self._messages.append(message)
        with suppress(BlockingIOError):  # a full pipe wakes as well as one more octet
            os.write(self._wake, b"\0")

    def get(self, timeout: float | None) -> Message | None:
        """See :class:`Inbox`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._messages:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._poll.poll(None if left is None else left * 1000) and left == 0.0:
                return None
            with suppress(BlockingIOError):
                os.read(self._wakes, 4096)
        return self._messages.popleft()

    def post_signals(self, *, hangup: bool = True) -> None:
        """Makes SIGTERM, SIGINT, SIGUSR1 and, if ``hangup``, SIGHUP messages. Called once, in the main thread."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, *([signal.SIGHUP] if hangup else [])):
            signal.signal(number, lambda received, _frame: self.put(Signal(received)))
