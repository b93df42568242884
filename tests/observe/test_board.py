"""fetchd.observe.board: what events make of each account's state."""

import gc
import threading
import time
import tracemalloc
from dataclasses import replace

import pytest

from fetchd import events
from fetchd.model import AccountRecord, Outcome, PollResult, UniqueId
from fetchd.observe.board import ERROR_LIMIT, Board, stored_status
from fetchd.observe.status import AccountStatus, Source, State
from tests.clocks import FakeClock

WALL = 1_795_521_600.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(WALL)


@pytest.fixture
def board(clock: FakeClock) -> Board:
    board = Board(version="1.2.3", clock=clock)
    board.known_accounts(["alice", "bob"])
    return board


def one(board: Board, name: str = "alice") -> AccountStatus:
    return next(account for account in board.status().accounts if account.name == name)


def done(name: str = "alice") -> events.PollDone:
    return events.PollDone(name, PollResult(name), 0.1)


def failed(outcome: Outcome = Outcome.NETWORK, error: str = "no route", retry: str = "soon") -> events.PollFailed:
    return events.PollFailed("alice", outcome, error, retry, PollResult("alice"), 0.1)


def delivered(octets: int = 100) -> events.MessageDelivered:
    return events.MessageDelivered("alice", UniqueId(b"1"), octets, "name")


def record(**values: object) -> AccountRecord:
    return AccountRecord(**({"name": "alice", "user": "a", "host": "h", "seen": 0, "delivered": 0} | values))  # type: ignore[arg-type]


def test_an_account_begins_new_and_due_now(board: Board) -> None:
    account = one(board)
    assert (account.state, account.next_poll, account.last_success, account.error) == (State.NEW, WALL, None, "")


def test_a_poll_that_ends_well(board: Board, clock: FakeClock) -> None:
    board(events.PollStarted("alice"))
    assert one(board).polling
    for _ in range(3):
        board(delivered())
    clock.advance(7)
    board(done())
    board(events.PollScheduled("alice", at=WALL + 300, delay=293, failures=0))
    account = one(board)
    assert (account.state, account.polling, account.last_success) == (State.OK, False, WALL + 7)
    assert (account.delivered_today, account.delivered, account.octets, account.hours[-1]) == (3, 3, 300, 3)
    assert account.next_poll == WALL + 300
    assert one(board, "bob").delivered == 0


def test_failures_in_a_row_are_counted_since_the_first(board: Board, clock: FakeClock) -> None:
    for _ in range(3):
        clock.advance(60)
        board(failed())
    account = one(board)
    assert (account.state, account.failures, account.outcome, account.error) == (
        State.FAILING,
        3,
        "network",
        "no route",
    )
    assert (account.failing_since, account.last_failure) == (WALL + 60, WALL + 180)
    assert "3 times in a row" in account.reason


def test_a_success_forgets_the_failure(board: Board) -> None:
    board(failed())
    board(done())
    account = one(board)
    assert (account.state, account.failures, account.error, account.reason) == (State.OK, 0, "", "")
    assert (account.failing_since, account.last_failure) == (None, WALL)


def test_the_schedule_says_who_is_on_hold(board: Board) -> None:
    """The fifth refused login holds an account, whatever the error itself would do."""
    board(failed(Outcome.AUTH, "refused", "later"))
    assert one(board).state is State.FAILING
    board(events.PollScheduled("alice", at=WALL + 86_400, delay=86_400, failures=5, retry="hold"))
    assert one(board).state is State.HELD
    assert "provider locks the account" in one(board).reason


def test_a_reload_releases_those_on_hold_and_begins_changed_ones_anew(board: Board, clock: FakeClock) -> None:
    board(failed(Outcome.POLICY, "no UIDL", "hold"))
    board(events.PollScheduled("alice", at=WALL + 86_400, delay=86_400, failures=1, retry="hold"))
    board(events.PollScheduled("bob", at=WALL + 300, delay=300, failures=0))
    clock.advance(10)
    board(events.Reloaded(accounts=2, added=(), removed=(), changed=()))
    assert (one(board).state, one(board).next_poll) == (State.FAILING, WALL + 10)
    assert one(board, "bob").next_poll == WALL + 300
    board(events.Reloaded(accounts=2, added=(), removed=(), changed=("bob",)))
    assert one(board, "bob").next_poll == WALL + 10


def test_a_poll_that_is_asked_for_releases_an_account_on_hold(board: Board) -> None:
    """``fetchd poll alice``: the schedule tells a new time, and no retry."""
    board(failed(Outcome.AUTH, "refused", "hold"))
    board(events.PollScheduled("alice", at=WALL, delay=0, failures=1))
    assert (one(board).state, one(board).next_poll) == (State.FAILING, WALL)
    board(failed(Outcome.NETWORK, "no route", "soon"))
    board(events.PollScheduled("alice", at=WALL, delay=0, failures=1))
    assert "tried again soon" in one(board).reason


def test_sigusr1_makes_all_due_but_those_in_hand(board: Board, clock: FakeClock) -> None:
    for name in ("alice", "bob"):
        board(events.PollScheduled(name, at=WALL + 300, delay=300, failures=0))
    board(events.PollStarted("bob"))
    clock.advance(5)
    board(events.PollAllRequested())
    assert (one(board).next_poll, one(board, "bob").next_poll) == (WALL + 5, WALL + 300)


def test_a_poll_that_we_interrupt_says_nothing_of_the_account(board: Board) -> None:
    board(done())
    board(events.PollStarted("alice"))
    board(failed(Outcome.INTERRUPTED, "asked to stop"))
    assert (one(board).state, one(board).polling, one(board).last_failure) == (State.OK, False, None)


def test_what_is_known_of_the_provider_stands_in_the_reason_until_all_is_well(board: Board) -> None:
    hint = "POP3 may be off."
    board(events.PollFailed("alice", Outcome.AUTH, "refused", "later", PollResult("alice"), 0.1, hint))
    assert one(board).reason.startswith("The server refuses the login. POP3 may be off. It is tried again less")
    board(failed())
    assert hint not in one(board).reason
    board(events.PollFailed("alice", Outcome.AUTH, "refused", "later", PollResult("alice"), 0.1, hint))
    board(done())
    assert one(board).reason == ""


def test_the_store_alone_tells_what_is_known_of_the_provider(clock: FakeClock) -> None:
    """It keeps the host and the error's text."""
    error = "pop.gmx.net:995: the login by PLAIN was refused: -ERR authentication failed"
    records = [replace(record(last_error=error, last_failure=1), host="pop.gmx.net")]
    status = stored_status(["alice"], records=records, delivered={}, version="1", clock=clock)
    assert status.accounts[0].reason.startswith("The last poll failed. GMX says the same for a wrong password")
    board = Board(version="1", clock=clock)
    board.known_accounts(["alice"], records=records)
    assert "GMX says the same" in one(board).reason


def test_a_bug_is_a_failure(board: Board) -> None:
    board(events.InternalError("alice", error="KeyError('x')", trace="…"))
    assert (one(board).state, one(board).outcome) == (State.FAILING, "internal")
    assert one(board).reason.startswith("A bug in fetchd")


def test_the_store_tells_what_was_before_the_start(clock: FakeClock) -> None:
    board = Board(version="1", clock=clock)
    records = [
        record(delivered=70, last_success=int(WALL) - 500, not_before=int(WALL) + 99),
        record(name="bob", last_failure=int(WALL) - 50, last_error="refused"),
    ]
    board.known_accounts(["alice", "bob"], records=records, delivered={"alice": {int(WALL) - 900: 4}})
    alice, bob = one(board), one(board, "bob")
    assert (alice.state, alice.delivered, alice.last_success) == (State.OK, 70, WALL - 500)
    assert (alice.next_poll, sum(alice.hours), bob.next_poll) == (WALL + 99, 4, WALL)
    assert (bob.state, bob.error, bob.last_failure) == (State.FAILING, "refused", WALL - 50)
    assert bob.reason == "The last poll failed. It is tried again."


def test_what_recovery_finishes_counts_once(board: Board) -> None:
    """What the first poll finishes was committed, and counted by the store, before we asked it."""
    board(events.Recovered("alice", finished=4))
    board(done())
    assert one(board).delivered == 0
    board(events.Recovered("alice", finished=4))
    assert (one(board).delivered, one(board).delivered_today) == (4, 4)


def test_a_reload_keeps_what_is_known_and_forgets_who_is_gone(board: Board) -> None:
    board(delivered())
    board.known_accounts(["alice", "carol"], records=[record(delivered=9)])
    assert [account.name for account in board.status().accounts] == ["alice", "carol"]
    assert one(board).delivered == 1
    board(events.PollStarted("bob"))
    board(failed())
    assert [account.name for account in board.status().accounts] == ["alice", "carol"]


def test_a_renamed_account_keeps_its_history(board: Board) -> None:
    board(delivered())
    board(events.AccountRenamed("anna", was="alice"))
    board.known_accounts(["anna", "bob"])
    assert one(board, "anna").delivered_today == 1


def test_today_ends_at_midnight(board: Board, clock: FakeClock) -> None:
    board(delivered())
    day = time.localtime(WALL)
    clock.advance(86_400 - (day.tm_hour * 3600 + day.tm_min * 60 + day.tm_sec) - 1)
    assert one(board).delivered_today == 1
    clock.advance(1)
    assert (one(board).delivered_today, one(board).delivered) == (0, 1)


def test_a_long_error_is_cut(board: Board) -> None:
    board(failed(error="x" * 10_000))
    assert len(one(board).error) == ERROR_LIMIT


def test_it_is_ready_from_the_first_configuration_to_the_stop(clock: FakeClock) -> None:
    """One server that hangs does not keep the service from being ready (promise 3)."""
    board = Board(version="1", clock=clock)
    assert board.readiness() == (False, "starting: the configuration is not live yet")
    assert board.status().summary == "fetchd is starting."
    board.known_accounts(["alice", "bob"])
    assert board.readiness() == (True, "ready: 2 accounts, 2 not polled yet")
    board(done())
    assert board.readiness() == (True, "ready: 2 accounts, 1 not polled yet")
    board(events.Stopping("SIGTERM", 0))
    assert board.readiness() == (False, "stopping")


def test_the_store_alone_knows_no_next_poll(clock: FakeClock) -> None:
    records = [record(delivered=3, last_error="refused", last_failure=int(WALL))]
    status = stored_status(["alice", "bob"], records=records, delivered={}, version="1", clock=clock)
    assert (status.source, status.started) == (Source.STORE, None)
    assert [(account.name, account.next_poll) for account in status.accounts] == [("alice", None), ("bob", None)]
    assert status.accounts[0].reason == "The last poll failed."


def test_an_account_takes_less_than_a_kilobyte(clock: FakeClock) -> None:
    """Issue 5: 10,000 accounts in 150 MB, of which the board takes its part."""
    names = [f"account-{number:05d}" for number in range(2000)]
    board = Board(version="1", clock=clock)
    gc.collect()
    tracemalloc.start()
    try:
        board.known_accounts(names)
        for name in names:
            board(events.MessageDelivered(name, None, 5, "f"))
            board(events.PollFailed(name, Outcome.NETWORK, f"{name}: " + "x" * 150, "soon", PollResult(name), 0.1))
            board(events.PollScheduled(name, at=clock.wall() + 60, delay=60, failures=1, retry="soon"))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / len(names) < 1024


def test_workers_and_readers_do_not_disturb_each_other(board: Board) -> None:
    def work() -> None:
        for _ in range(500):
            board(events.PollStarted("alice"))
            board(delivered())
            board(done())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(board.status().accounts) == 2
    assert one(board).delivered == sum(one(board).hours) == 2000
