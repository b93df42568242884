"""fetchd.observe.notices: somebody is told once that an account fails, and once that it is well again."""

import email
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fetchd import events
from fetchd.errors import DeliveryError, StoreError
from fetchd.model import Failing, NoticeSettings, Outcome, PollResult
from fetchd.observe.notices import NoticeFailed, NoticeGiven, Notices
from tests.clocks import FakeClock

WALL = 1_795_514_155.0


class Memory:
    """The store's part, as a dictionary that can fail."""

    def __init__(self) -> None:
        self.rows: dict[str, Failing] = {}
        self.works = True
        self.writes = 0

    def failing(self) -> Mapping[str, Failing]:
        return dict(self.rows)

    def remember_failing(self, account: str, failing: Failing | None) -> None:
        self.writes += 1
        if not self.works:
            raise StoreError("the disk is full")
        if failing is None:
            self.rows.pop(account, None)
        else:
            self.rows[account] = failing


class Bench:
    """Notices by message, delivered into a list."""

    def __init__(
        self, memory: Memory, settings: NoticeSettings, *, accounts: tuple[str, ...] = ("alice", "bob")
    ) -> None:
        self.said: list[events.Event] = []
        self.delivered: list[tuple[str, str]] = []
        self.deliver: Callable[[str, bytes], None] = self._deliver
        self.memory = memory
        self.clock = FakeClock(WALL)
        self.notices = Notices(
            settings,
            deliver=lambda account, message: self.deliver(account, message),  # noqa: PLW0108 - it is set later
            emit=self.said.append,
            clock=self.clock,
            host="mx1",
            environ={"PATH": os.environ["PATH"], "ALICE_PASSWORD": "secret"},
        )
        self.notices.known_accounts(["alice", "bob"], memory)

    def _deliver(self, account: str, message: bytes) -> None:
        self.delivered.append((account, email.message_from_bytes(message)["Subject"]))

    def fails(self, account: str = "alice", outcome: Outcome = Outcome.AUTH, error: str = "no") -> None:
        self.notices(events.PollFailed(account, outcome, error, "later", PollResult(account), 0.1))

    def succeeds(self, account: str = "alice") -> None:
        self.notices(events.PollDone(account, PollResult(account), 0.1))

    def told(self) -> list[tuple[str, str]]:
        """Returns (account, subject) of all that was delivered, once there is nothing more to tell."""
        self.notices.close(30)
        return self.delivered


@pytest.fixture
def memory() -> Memory:
    return Memory()


BY_MESSAGE = NoticeSettings(after=3, deliver=True)
FAILS = "fetchd cannot fetch the mail of {}"
WELL = "fetchd fetches the mail of {} again"


def test_an_account_is_told_of_once_and_its_recovery_once(memory: Memory) -> None:
    bench = Bench(memory, BY_MESSAGE)
    for _ in range(2):
        bench.fails()
    bench.fails("bob")
    bench.succeeds("bob")
    for _ in range(5):
        bench.fails(error="other")
    for _ in range(3):
        bench.succeeds()
    assert bench.told() == [("alice", FAILS.format("alice")), ("alice", WELL.format("alice"))]
    assert [(type(one), one.account, one.about, one.by) for one in bench.said] == [
        (NoticeGiven, "alice", "failing", "message"),
        (NoticeGiven, "alice", "recovered", "message"),
    ]
    assert memory.rows == {}


def test_what_is_known_of_the_provider_is_told_beside_the_error(memory: Memory) -> None:
    bench = Bench(memory, NoticeSettings(after=1, deliver=True))
    texts: list[bytes] = []
    bench.deliver = lambda _, message: texts.append(message)
    result = PollResult("alice")
    bench.notices(events.PollFailed("alice", Outcome.AUTH, "refused", "later", result, 0.1, "POP3 may be off."))
    bench.told()
    (text,) = texts
    assert b"refused (POP3 may be off.)" in text


def test_it_takes_as_many_failures_in_a_row_as_configured(memory: Memory) -> None:
    bench = Bench(memory, BY_MESSAGE)
    for _ in range(3):
        bench.fails()
        bench.fails()
        bench.succeeds()
    assert bench.told() == []


def test_a_poll_that_we_interrupted_and_a_bug_count_as_what_they_are(memory: Memory) -> None:
    bench = Bench(memory, NoticeSettings(after=1, deliver=True))
    bench.fails(outcome=Outcome.INTERRUPTED)
    bench.notices(events.InternalError("bob", "KeyError: 1", "…"))
    assert bench.told() == [("bob", FAILS.format("bob"))]


def test_restarts_neither_begin_to_count_anew_nor_tell_it_again(memory: Memory) -> None:
    """``fetchd --once`` from a timer restarts at every poll."""
    subjects = []
    for n in range(6):
        bench = Bench(memory, BY_MESSAGE)
        bench.clock.advance(n * 60)
        bench.fails()
        subjects += bench.told()
        assert memory.rows["alice"].since == WALL, "since the first failure"
    assert subjects == [("alice", FAILS.format("alice"))]
    bench = Bench(memory, BY_MESSAGE)
    bench.succeeds()
    assert bench.told() == [("alice", WELL.format("alice"))]
    assert memory.rows == {}


def test_a_success_of_an_account_that_was_well_writes_nothing(memory: Memory) -> None:
    bench = Bench(memory, BY_MESSAGE)
    bench.succeeds()
    assert memory.writes == 0
    for _ in range(10):
        bench.fails()
    bench.told()
    assert memory.writes == 4, "each failure that is counted, and that it was told"


def test_what_was_not_told_to_its_end_is_told_again_after_a_crash(memory: Memory) -> None:
    bench = Bench(memory, NoticeSettings(after=1, deliver=True))
    stuck, free = threading.Event(), threading.Event()

    def deliver(account: str, message: bytes) -> None:
        stuck.set()
        free.wait(30)

    bench.deliver = deliver
    bench.fails()
    assert stuck.wait(30)
    assert memory.rows["alice"].told is False
    again = Bench(Memory(), NoticeSettings(after=1, deliver=True))
    again.memory.rows = dict(memory.rows)
    again.notices.known_accounts(["alice"], again.memory)
    again.fails()
    assert again.told() == [("alice", FAILS.format("alice"))]
    free.set()
    bench.told()


def test_no_poll_waits_for_a_notice(memory: Memory) -> None:
    bench = Bench(memory, NoticeSettings(after=1, deliver=True))
    free = threading.Event()
    bench.deliver = lambda account, message: bool(free.wait(30)) and None
    bench.fails()
    bench.fails("bob")
    bench.succeeds()
    free.set()
    bench.notices.close(30)
    assert [one.account for one in bench.said] == ["alice", "bob", "alice"]


def test_a_store_that_fails_keeps_nobody_from_being_told(memory: Memory) -> None:
    memory.works = False
    bench = Bench(memory, BY_MESSAGE)
    for _ in range(5):
        bench.fails(outcome=Outcome.STORE)
    assert bench.told() == [("alice", FAILS.format("alice"))]


def test_a_reload_keeps_what_is_counted_and_forgets_who_went(memory: Memory) -> None:
    bench = Bench(memory, BY_MESSAGE)
    for name in ("alice", "bob"):
        bench.fails(name)
        bench.fails(name)
    bench.notices.known_accounts(["alice"], memory)
    bench.fails("alice")
    bench.fails("bob")
    assert bench.told() == [("alice", FAILS.format("alice"))]


def test_a_reload_while_the_store_fails_forgets_nothing_that_this_process_knows(memory: Memory) -> None:
    memory.works = False
    bench = Bench(memory, BY_MESSAGE)
    for _ in range(3):
        bench.fails(outcome=Outcome.STORE)
    bench.notices.known_accounts(["alice"], memory)
    bench.fails(outcome=Outcome.STORE)
    bench.succeeds()
    assert bench.told() == [("alice", FAILS.format("alice")), ("alice", WELL.format("alice"))]


@pytest.mark.parametrize(
    ("fault", "says"),
    [(DeliveryError("disk full"), "disk full"), (KeyError("x"), "internal error: KeyError('x')")],
)
def test_a_notice_that_cannot_be_delivered_is_said_and_the_next_one_is_tried(
    memory: Memory, fault: Exception, says: str
) -> None:
    bench = Bench(memory, NoticeSettings(after=1, deliver=True))
    deliver = bench.deliver

    def fail_once(account: str, message: bytes) -> None:
        bench.deliver = deliver
        raise fault

    bench.deliver = fail_once
    bench.fails()
    bench.succeeds()
    assert bench.told() == [("alice", WELL.format("alice"))]
    assert bench.said[0] == NoticeFailed("alice", "failing", "message", says)


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────


def by_command(*argv: str, **more: Any) -> NoticeSettings:
    return NoticeSettings(after=1, command=argv, **more)


def test_a_command_is_told_by_its_environment_and_sees_no_password(memory: Memory, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = 'echo "$FETCHD_EVENT $FETCHD_ACCOUNT $FETCHD_OUTCOME $FETCHD_ERROR$ALICE_PASSWORD" >>"$0"; echo done'
    bench = Bench(memory, by_command("sh", "-c", script, str(out)))
    bench.fails(error='no; "$(rm -rf x)"')
    bench.succeeds()
    assert bench.told() == []
    assert out.read_text() == 'failing alice auth no; "$(rm -rf x)"\nrecovered alice  \n'
    assert bench.said == [
        NoticeGiven("alice", "failing", "command", "done"),
        NoticeGiven("alice", "recovered", "command", "done"),
    ]


@pytest.mark.parametrize(
    ("argv", "error", "output"),
    [
        (("sh", "-c", "echo why; exit 3"), "sh failed with exit code 3", "why"),
        (("/nonexistent",), "/nonexistent cannot be run: No such file or directory", None),
        (("sleep", "1000"), "sleep did not end within 0.2 s", None),
    ],
)
def test_a_command_that_fails_is_said_and_not_run_again(
    memory: Memory, argv: tuple[str, ...], error: str, output: str | None
) -> None:
    bench = Bench(memory, by_command(*argv, timeout=0.2))
    for _ in range(3):
        bench.fails()
    bench.told()
    assert bench.said == [NoticeFailed("alice", "failing", "command", error, output)]


def test_the_end_of_the_daemon_ends_a_command_that_does_not(memory: Memory) -> None:
    bench = Bench(memory, by_command("sleep", "1000", timeout=1000.0))
    bench.fails()
    while bench.notices._running is None:
        pass
    bench.notices.close(0.05)
    assert bench.said == [NoticeFailed("alice", "failing", "command", "sleep was ended by signal 9")]
    assert memory.rows["alice"].told is False, "it is told at the next start"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "notices"]
