"""The resolver: one look-up for all who ask, a deadline for each of them, and few threads."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fetchd.pop3.dial import AddressInfo
from fetchd.resolver import Resolver

PATIENCE = 10.0
FOUND: list[AddressInfo] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 110))]


class System:
    """A system's resolver that answers when it is let, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Exception] = {}
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.at_once = 0
        self.most_at_once = 0
        self._busy = threading.Condition()

    def __call__(self, host: str, port: int, **_: object) -> list[AddressInfo]:
        with self._busy:
            self.asked.append(host)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._busy.notify_all()
        self.may_answer.wait(PATIENCE)
        with self._busy:
            self.at_once -= 1
            self._busy.notify_all()
        if host in self.answers:
            raise self.answers[host]
        return FOUND

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        with self._busy:
            assert self._busy.wait_for(is_so, PATIENCE)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    system = System()
    monkeypatch.setattr(socket, "getaddrinfo", system)
    yield system
    system.may_answer.set()
    for thread in threading.enumerate():
        if thread.name == "resolver":
            thread.join(PATIENCE)


class Asking:
    """Somebody who asks, in a thread."""

    def __init__(self, resolver: Resolver, host: str, seconds: float = PATIENCE) -> None:
        self.outcome: Any = None
        self._thread = threading.Thread(target=self._ask, args=(resolver, host, seconds))
        self._thread.start()

    def _ask(self, resolver: Resolver, host: str, seconds: float) -> None:
        try:
            self.outcome = resolver(host, 110, seconds)
        except OSError as error:
            self.outcome = error

    def told(self) -> Any:
        self._thread.join(PATIENCE)
        return self.outcome


def waiting_for(resolver: Resolver) -> int:
    """How many look-ups nobody has in hand yet."""
    return len(resolver._waiting)


def test_a_name_has_the_addresses_that_the_system_says() -> None:
    """And no others; it is the real resolver that answers here."""
    expected = socket.getaddrinfo("localhost", 110, type=socket.SOCK_STREAM)
    assert Resolver()("localhost", 110, PATIENCE) == expected


def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no thread."""

    def start(_thread: threading.Thread) -> None:
        raise AssertionError("a thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert Resolver()("127.0.0.1", 110, 0.0)[0][4] == ("127.0.0.1", 110)
    assert Resolver()("::1", 110, 0.0)[0][4][:2] == ("::1", 110)


def test_who_waits_too_long_leaves_and_the_answer_serves_the_next(system: System) -> None:
    """FAULTS 65: and meanwhile nobody asks the system the same again."""
    resolver = Resolver()
    system.may_answer.clear()
    for _ in range(5):
        with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
            resolver("pop.example.net", 110, 0.01)
    system.may_answer.set()
    assert resolver("pop.example.net", 110, PATIENCE) == FOUND
    assert system.asked == ["pop.example.net"]


def test_those_who_ask_at_the_same_time_share_one_look_up(system: System) -> None:
    resolver = Resolver()
    system.may_answer.clear()
    many = [Asking(resolver, "pop.example.net") for _ in range(8)]
    system.wait_until(lambda: system.at_once == 1)
    system.may_answer.set()
    assert [one.told() for one in many] == [FOUND] * 8
    assert system.asked == ["pop.example.net"]


def test_a_failure_is_told_to_all_who_waited_and_is_not_kept(system: System) -> None:
    """Each gets an error of his own, for a traceback belongs to one thread."""
    resolver = Resolver()
    system.answers["pop.example.net"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    system.may_answer.clear()
    many = [Asking(resolver, "pop.example.net") for _ in range(3)]
    system.wait_until(lambda: system.at_once == 1)
    system.may_answer.set()
    errors = [one.told() for one in many]
    assert [str(error) for error in errors] == [f"[Errno {socket.EAI_NONAME}] Name or service not known"] * 3
    assert all(isinstance(error, socket.gaierror) for error in errors)
    assert len({id(error) for error in errors}) == 3
    system.answers.clear()
    assert resolver("pop.example.net", 110, PATIENCE) == FOUND


def test_an_answer_is_kept_for_a_while(system: System) -> None:
    """By host and port, and from when it came."""
    now = [100.0]
    resolver = Resolver(keep=30.0, clock=lambda: now[0])
    for at, asked in ((100.0, 1), (129.9, 1), (130.0, 2), (159.9, 2), (160.0, 3)):
        now[0] = at
        assert resolver("pop.example.net", 110, PATIENCE) == FOUND
        assert len(system.asked) == asked
    resolver("pop.example.net", 995, PATIENCE)
    resolver("other.example.net", 110, PATIENCE)
    assert len(system.asked) == 5
    now[0] = 1000.0
    resolver("third.example.net", 110, PATIENCE)
    assert list(resolver._kept) == [("third.example.net", 110)]


def test_a_resolver_that_hangs_holds_few_threads(system: System) -> None:
    """FAULTS 65: the names beyond that wait their turn, each within his own time."""
    resolver = Resolver(most_threads=3)
    system.may_answer.clear()
    many = [Asking(resolver, f"pop{number}.example.net") for number in range(10)]
    system.wait_until(lambda: system.at_once == 3)
    with pytest.raises(TimeoutError):
        resolver("late.example.net", 110, 0.01)
    assert (system.most_at_once, len(system.asked)) == (3, 3)
    system.may_answer.set()
    assert [one.told() for one in many] == [FOUND] * 10
    assert system.most_at_once == 3
    assert resolver("late.example.net", 110, PATIENCE) == FOUND
    system.wait_until(lambda: system.at_once == 0)
    assert system.asked.count("late.example.net") == 1


def test_without_a_thread_to_be_had_names_are_resolved_all_the_same(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TasksMax and pids.max: then whoever asks does the work."""

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    resolver = Resolver()
    for number in range(3):
        assert resolver(f"pop{number}.example.net", 110, PATIENCE) == FOUND
    assert resolver._threads == 0


@pytest.mark.parametrize("host", ["x" * 64 + ".example.net", "a..b", "\0"])
def test_what_is_no_name_is_an_error_of_the_kinds_that_dial_knows(host: str) -> None:
    with pytest.raises((OSError, UnicodeError, ValueError)):
        Resolver()(host, 110, PATIENCE)
