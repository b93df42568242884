"""fetchd.inbox: messages and signals, in order, and none of them late."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from fetchd.inbox import Finished, PipeInbox, Signal


@pytest.fixture
def real_inbox() -> Iterator[PipeInbox]:
    """A real inbox that gets the process's signals, which are put back afterwards."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    inbox = PipeInbox()
    inbox.post_signals()
    yield inbox
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_inbox_gives_messages_in_order_and_none_when_time_is_up(real_inbox: PipeInbox) -> None:
    assert real_inbox.get(0.0) is None
    real_inbox.put(Finished("a"))
    real_inbox.put(Finished("b"))
    assert [real_inbox.get(None), real_inbox.get(20.0), real_inbox.get(0.0)] == [Finished("a"), Finished("b"), None]


def test_the_inbox_takes_more_messages_than_its_pipe_holds(real_inbox: PipeInbox) -> None:
    for _ in range(100_000):
        real_inbox.put(Finished("a"))
    assert sum(real_inbox.get(0.0) is not None for _ in range(100_000)) == 100_000
    assert real_inbox.get(0.0) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_ends_the_sleep_of_the_main_loop(real_inbox: PipeInbox, number: signal.Signals) -> None:
    threading.Timer(0.02, os.kill, (os.getpid(), number)).start()
    assert real_inbox.get(20.0) == Signal(number)


def test_a_hangup_that_is_ignored_stays_ignored_if_asked(real_inbox: PipeInbox) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    real_inbox.post_signals(hangup=False)
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert [real_inbox.get(20.0), real_inbox.get(0.0)] == [Signal(signal.SIGUSR1), None]


def test_a_signal_that_comes_just_before_the_sleep_ends_it(real_inbox: PipeInbox) -> None:
    """The C half has run, the Python half has not: only the pipe can know of it (here: another thread is signalled)."""
    for _ in range(50):
        sender = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
        sender.start()
        assert real_inbox.get(20.0) == Signal(signal.SIGUSR1)
        sender.join()
