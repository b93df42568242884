"""fetchd.trial: one session an account, nothing fetched, deleted or written, whatever goes wrong told."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fetchd.errors import (
    AuthenticationError,
    LoginDelayError,
    MailboxBusyError,
    NetworkError,
    SecretError,
    StoreError,
    UsageError,
)
from fetchd.inbox import PipeInbox, Signal
from fetchd.model import (
    Account,
    Fate,
    FirstPoll,
    Outcome,
    Policy,
    Remembered,
    Reply,
    Secret,
    SecretOAuth,
    SecretSource,
    Seen,
    SkipReason,
    UniqueId,
)
from fetchd.ports import Maildrop
from fetchd.trial import Means, State, Trial, try_account, try_accounts
from tests.accounts import make_account, make_settings
from tests.clocks import FakeClock
from tests.maildrops import FakeServer

NO = Reply(ok=False, text=b"no")
MAIL = [(b"1", b"one\r\n"), (b"2", b"twotwo\r\n"), (b"3", b"three\r\n")]


class Passwords:
    def reveal(self, source: SecretSource | SecretOAuth) -> Secret:
        return Secret(b"x")

    def renew(self, source: SecretOAuth, refused: Secret) -> Secret | None:
        return None


@dataclass
class Bench:
    """A server, and what the store has of the account."""

    server: FakeServer = field(default_factory=lambda: FakeServer(mail=list(MAIL)))
    remembered: Remembered = field(default_factory=Remembered)
    clock: FakeClock = field(default_factory=FakeClock)
    failing: Exception | None = None

    def connect(self, account: Account, password: Secret) -> Maildrop:
        if self.failing is not None:
            raise self.failing
        return self.server.connect(account, password)

    def try_it(self, **account: Any) -> Trial:
        means = Means(self.connect, Passwords(), lambda _: self.remembered, self.clock)
        return try_account(make_account(**account), means)


def test_the_first_poll_of_a_new_account_is_foretold() -> None:
    bench = Bench()
    trial = bench.try_it()
    assert (trial.state, trial.error, trial.hint) == (State.OK, "", "")
    assert trial.outlook is not None
    assert (trial.outlook.messages, trial.outlook.octets, trial.outlook.is_first) == (3, 20, True)
    assert (trial.outlook.fetch, trial.outlook.fetch_octets, trial.outlook.delete) == (3, 20, 0)


def test_one_session_that_fetches_and_deletes_nothing_and_ends_with_quit() -> None:
    """A server with a LOGIN-DELAY counts logins; one without QUIT keeps its lock (FACTS §5)."""
    bench = Bench()
    bench.try_it(policy=Policy(delete_after=0))
    server = bench.server
    assert (server.sessions, server.quits, server.open) == (1, 1, 0)
    assert (server.retrieved, server.mail) == ([], MAIL)


def test_what_is_fetched_is_deleted_too_where_that_is_the_policy() -> None:
    outlook = Bench().try_it(policy=Policy(delete_after=0)).outlook
    assert outlook is not None
    assert (outlook.fetch, outlook.delete) == (3, 3)


def test_what_the_store_remembers_counts() -> None:
    clock = FakeClock()
    seen = {UniqueId(b"1"): Seen(1, int(clock.wall()) - 100, Fate.DELIVERED), UniqueId(b"2"): Seen(1, 0, Fate.SKIPPED)}
    bench = Bench(remembered=Remembered(known=True, seen=seen), clock=clock)
    outlook = bench.try_it(policy=Policy(delete_after=50)).outlook
    assert outlook is not None
    assert (outlook.is_first, outlook.fetch, outlook.delete) == (False, 1, 1)


def test_mail_that_is_marked_or_skipped_is_told() -> None:
    outlook = Bench().try_it(policy=Policy(first_poll=FirstPoll.SKIP)).outlook
    assert outlook is not None
    assert (outlook.fetch, outlook.mark, dict(outlook.skip)) == (0, 3, {SkipReason.FIRST_POLL: 3})
    outlook = Bench().try_it(policy=Policy(max_size=7)).outlook
    assert outlook is not None
    assert (outlook.fetch, dict(outlook.skip)) == (2, {SkipReason.TOO_LARGE: 1})


@pytest.mark.parametrize("error", [MailboxBusyError("in use", NO), LoginDelayError("later", NO)])
def test_a_server_that_is_busy_is_no_failure(error: Exception) -> None:
    trial = Bench(failing=error).try_it()
    assert (trial.state, trial.outcome, trial.error) == (State.BUSY, Outcome.BUSY, str(error))


def test_a_server_that_wants_no_login_yet_is_left_alone() -> None:
    """LOGIN-DELAY, RFC 2449 §6.5: the store knows when the next login is welcome."""
    bench = Bench()
    bench.remembered = Remembered(known=True, not_before=int(bench.clock.wall()) + 300)
    trial = bench.try_it()
    assert (trial.state, bench.server.sessions) == (State.BUSY, 0)
    assert "no login for another 5 min (LOGIN-DELAY)" in trial.error
    bench.remembered = replace(bench.remembered, not_before=int(bench.clock.wall()) + 20)
    assert "another 1 min" in bench.try_it().error
    bench.remembered = replace(bench.remembered, not_before=int(bench.clock.wall()))
    assert bench.try_it().state is State.OK


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NetworkError("no route"), Outcome.NETWORK),
        (SecretError("no password"), Outcome.SECRET),
        (StoreError("no store"), Outcome.STORE),
    ],
)
def test_what_goes_wrong_is_told_in_its_own_words(error: Exception, outcome: Outcome) -> None:
    trial = Bench(failing=error).try_it()
    assert (trial.state, trial.outcome, trial.error, trial.hint) == (State.FAILED, outcome, str(error), "")


def test_a_failure_has_the_providers_hint() -> None:
    trial = Bench(failing=AuthenticationError("pop.gmx.net: the login by PLAIN was refused: -ERR no", NO)).try_it(
        host="pop.gmx.net"
    )
    assert (trial.state, "switched off" in trial.hint) == (State.FAILED, True)


def test_a_poll_that_would_stop_fails_and_the_rest_is_told_all_the_same() -> None:
    """Here UIDL is missing, and the policy needs it. The session was ended with QUIT before that was found."""
    bench = Bench(FakeServer(mail=list(MAIL), has_uidl=False))
    trial = bench.try_it()
    assert (trial.state, trial.outcome) == (State.FAILED, Outcome.POLICY)
    assert "the server has no UIDL" in trial.error
    assert trial.channel is not None
    assert trial.outlook is None
    assert (bench.server.quits, bench.server.open) == (1, 0)


def test_a_login_delay_longer_than_the_interval_is_worth_a_remark() -> None:
    server = FakeServer(mail=[], capabilities={"LOGIN-DELAY": ("900",)})
    (remark,) = Bench(server).try_it(interval=300.0).remarks
    assert "every 900 s (LOGIN-DELAY), and interval is 300 s" in remark
    assert Bench(server).try_it(interval=900.0).remarks == ()
    server.capabilities = {"LOGIN-DELAY": ("soon",)}
    assert Bench(server).try_it(interval=300.0).remarks == ()


def test_a_plain_line_is_worth_a_remark_unless_it_leads_to_this_machine() -> None:
    assert Bench().try_it(host="127.0.0.1").remarks == ()
    assert "not encrypted" in Bench().try_it(host="pop.example.org").remarks[0]


# ── many ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(
    accounts: Iterable[Account],
    connect: Callable[[Account, Secret], Maildrop],
    *names: str,
    inbox: PipeInbox | None = None,
    tell: Callable[[Trial], object] = lambda _: None,
    **settings: Any,
) -> tuple[Trial, ...]:
    means = Means(connect, Passwords(), lambda _: Remembered(), FakeClock())
    return try_accounts(make_settings(accounts, **settings), names, means=means, inbox=inbox or PipeInbox(), tell=tell)


def test_all_accounts_are_tried_and_told_of_in_the_order_of_the_configuration() -> None:
    told: list[str] = []
    trials = run(
        [make_account(name) for name in "cab"], Bench().connect, tell=lambda one: told.append(one.account.name)
    )
    assert [trial.account.name for trial in trials] == ["c", "a", "b"]
    assert sorted(told) == ["a", "b", "c"]


def test_only_the_named_accounts_are_tried() -> None:
    trials = run([make_account(name) for name in "abc"], Bench().connect, "b", "b")
    assert [trial.account.name for trial in trials] == ["b"]


def test_an_unknown_name_is_a_wrong_use() -> None:
    with pytest.raises(UsageError, match="no account 'x'; there are: a"):
        run([make_account("a")], Bench().connect, "x")


@pytest.mark.parametrize(
    ("settings", "side_by_side"),
    [
        ({"sessions_per_host": 1}, False),
        ({"sessions_per_host": 2}, True),
        ({"sessions_per_host": 2, "workers": 1}, False),
    ],
)
def test_as_many_sessions_as_the_configuration_allows(settings: dict[str, Any], side_by_side: bool) -> None:
    """Whoever opens more to one host is cut off by some servers (FACTS §5). Two meet at a barrier, or none does."""
    together = threading.Barrier(2)
    met = []

    def connect(account: Account, password: Secret) -> Maildrop:
        with suppress(threading.BrokenBarrierError):
            together.wait(20 if side_by_side else 0.3)
            met.append(account.name)
        return FakeServer().connect(account, password)

    trials = run([make_account(name) for name in "ab"], connect, **settings)
    assert [trial.state for trial in trials] == [State.OK, State.OK]
    assert bool(met) is side_by_side


def test_a_bug_ends_one_trial_and_says_so() -> None:
    def connect(account: Account, password: Secret) -> Maildrop:
        if account.name == "a":
            raise ZeroDivisionError("a bug")
        return FakeServer().connect(account, password)

    broken, well = run([make_account("a"), make_account("b")], connect)
    assert (broken.state, broken.outcome) == (State.FAILED, Outcome.INTERNAL)
    assert broken.error == "a bug in fetchd: ZeroDivisionError('a bug')"
    assert well.state is State.OK


def test_a_signal_ends_it_at_once_with_what_is_over_by_then() -> None:
    """No session is waited for: one that is dropped has changed nothing."""
    inbox = PipeInbox()
    release = threading.Event()

    def connect(account: Account, password: Secret) -> Maildrop:
        if account.name == "hangs":
            release.wait(20)
        return FakeServer().connect(account, password)

    accounts = [make_account("hangs", host="x"), make_account("well", host="y")]
    trials = run(accounts, connect, inbox=inbox, tell=lambda _: inbox.put(Signal(2)))
    release.set()
    assert [trial.account.name for trial in trials] == ["well"]
