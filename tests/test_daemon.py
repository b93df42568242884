"""fetchd.daemon: the main loop, in virtual time with real worker threads."""

import signal
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from fetchd import events
from fetchd.crew import Crew
from fetchd.daemon import Daemon, StopFlag
from fetchd.errors import (
    AuthenticationError,
    ConfigError,
    FetchdError,
    Interrupted,
    NetworkError,
    Retry,
    StoreError,
    UniqueIdsChangedError,
    UsageError,
)
from fetchd.inbox import Finished, Knock, PollAnswer, PollRequest, Signal
from fetchd.model import Account, PollResult, Reply, Settings
from fetchd.notify import Supervisor
from fetchd.ports import StopSignal
from fetchd.schedule import Prompted
from tests.accounts import make_account, make_settings
from tests.clocks import FakeClock, VirtualInbox

HOUR = 3600.0


def no_reload() -> Settings:
    raise AssertionError("nobody asked for a reload")


class House:
    """A daemon in virtual time, with a poll that the test writes and everything that it says."""

    def __init__(
        self,
        accounts: list[Account],
        poll: Callable[[Account, StopSignal], PollResult] | None = None,
        load: Callable[[], Settings] | None = None,
        supervisor: Supervisor | None = None,
        **settings,
    ) -> None:
        self.clock = FakeClock()
        self.inbox = VirtualInbox(self.clock)
        self.events: list[events.Event] = []
        self.polls: list[tuple[float, str]] = []
        self.told: list[set[str]] = []
        self.waits: dict[str, float] = {}
        self.store_fails = False
        self.stuck: set[str] = set()
        self._poll = poll or (lambda account, stop: PollResult(account.name))
        self.daemon = Daemon(
            make_settings(accounts, **settings),
            poll=self._recorded,
            emit=self.events.append,
            clock=self.clock,
            inbox=self.inbox,
            chance=lambda: 0.5,
            load=load or no_reload,
            accounts_changed=self._accounts_changed,
            supervisor=supervisor,
        )
        self.inbox.expects_message = lambda: bool(set(self.daemon._schedule.running) - self.stuck)

    def _accounts_changed(self, new: Settings) -> dict[str, float]:
        if self.store_fails:
            raise StoreError("fetchd.db: disk full")
        self.told.append(set(new.accounts))
        return self.waits

    def _recorded(self, account: Account, stop: StopSignal) -> PollResult:
        self.polls.append((self.clock.monotonic() - 1000.0, account.name))
        return self._poll(account, stop)

    def run_for(self, seconds: float) -> None:
        self.inbox.at(seconds, Signal(signal.SIGTERM))
        self.daemon.run()

    def times(self, name: str) -> list[float]:
        return [time for time, polled in self.polls if polled == name]

    def said(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


def test_every_account_is_polled_at_its_own_interval() -> None:
    house = House([make_account("five", interval=300), make_account("ten", interval=600)])
    house.run_for(HOUR)
    assert house.times("five") == [300.0 * n for n in range(12)]
    assert house.times("ten") == [600.0 * n for n in range(6)]


def test_a_silent_server_and_a_wrong_password_delay_nobody() -> None:
    """DESIGN §1.3: 50 accounts, one never answers, one is refused; the others keep their time."""
    leave = threading.Event()

    def poll(account: Account, stop: StopSignal) -> PollResult:
        if account.name == "silent":
            leave.wait(30)
        if account.name == "refused":
            raise NetworkError("no", retry=Retry.LATER)
        return PollResult(account.name)

    accounts = [make_account(f"n{i}", host=f"h{i % 3}") for i in range(48)]
    house = House([make_account("silent", host="h0"), make_account("refused", host="h1"), *accounts], poll, workers=8)
    house.stuck = {"silent"}
    house.run_for(HOUR)
    leave.set()
    counts = Counter(name for _, name in house.polls)
    assert {counts[account.name] for account in accounts} == {12}
    assert counts["silent"] == 1
    assert house.times("refused") == [0.0, 600.0, 1800.0]
    assert house.said(events.Stopped)[0].abandoned == ("silent",)


def test_no_more_workers_than_configured() -> None:
    busy: set[str] = set()
    most = []
    lock = threading.Lock()

    def poll(account: Account, stop: StopSignal) -> PollResult:
        with lock:
            busy.add(account.name)
            most.append(len(busy))
        with lock:
            busy.discard(account.name)
        return PollResult(account.name)

    house = House([make_account(f"n{i}", host=f"h{i}") for i in range(20)], poll, workers=3)
    house.run_for(299.0)
    assert len(house.polls) == 20
    assert max(most) <= 3


def test_sigterm_lets_the_session_in_hand_finish() -> None:
    started = threading.Event()

    def poll(account: Account, stop: StopSignal) -> PollResult:
        started.set()
        while not stop.requested():
            threading.Event().wait(0.001)
        assert not stop.overdue()
        raise Interrupted("asked to stop")

    house = House([make_account()], poll)
    house.stuck = {"alice"}
    house.inbox.at(0.0, Signal(signal.SIGTERM))

    real_get = house.inbox.get

    def get(timeout):
        started.wait(10)
        house.inbox.expects_message = house.daemon._stop.requested
        return real_get(timeout)

    house.inbox.get = get  # type: ignore[method-assign]
    house.daemon.run()
    assert house.said(events.Stopping) == [events.Stopping("SIGTERM", 1)]
    assert house.said(events.Stopped) == [events.Stopped(())]


def test_the_main_loop_answers_who_knocks_also_while_it_stops() -> None:
    """/healthz: between two messages, whether it sleeps or waits for the last sessions."""
    answered: list[tuple[float, bool]] = []
    release = threading.Event()

    def poll(account: Account, stop: StopSignal) -> PollResult:
        release.wait(20)
        return PollResult(account.name)

    house = House([make_account()], poll)
    house.stuck = {"alice"}

    def answer() -> None:
        answered.append((house.clock.monotonic() - 1000.0, house.daemon._stop.requested()))

    house.inbox.at(7.0, Knock(answer))
    house.inbox.at(12.0, Knock(answer))
    house.run_for(10.0)
    release.set()
    assert answered == [(7.0, False), (12.0, True)]


def test_a_session_that_does_not_end_is_abandoned_within_ten_seconds() -> None:
    leave = threading.Event()
    house = House([make_account()], lambda account, stop: PollResult(account.name) if leave.wait(30) else None)
    house.stuck = {"alice"}
    house.run_for(100.0)
    leave.set()
    assert house.clock.monotonic() - 1000.0 - 100.0 < 10.0
    assert house.said(events.Stopped) == [events.Stopped(("alice",))]


def test_a_second_sigterm_does_not_wait() -> None:
    leave = threading.Event()
    house = House([make_account()], lambda account, stop: PollResult(account.name) if leave.wait(30) else None)
    house.stuck = {"alice"}
    house.inbox.at(101.0, Signal(signal.SIGTERM))
    house.run_for(100.0)
    leave.set()
    assert house.clock.monotonic() - 1000.0 <= 102.0


def test_sigusr1_polls_all_now_those_on_hold_too() -> None:
    def poll(account: Account, stop: StopSignal) -> PollResult:
        if account.name == "held":
            raise UniqueIdsChangedError("all new")
        return PollResult(account.name)

    house = House([make_account("held"), make_account("fine")], poll)
    house.inbox.at(100.0, Signal(signal.SIGUSR1))
    house.run_for(150.0)
    assert house.times("held") == [0.0, 100.0]
    assert house.times("fine") == [0.0, 100.0]
    assert house.said(events.PollAllRequested)


def test_logins_refused_in_a_row_end_in_a_hold() -> None:
    """DESIGN §5: AuthenticationError: HOLD after several in a row, lest the provider locks the account."""

    def poll(account: Account, stop: StopSignal) -> PollResult:
        raise AuthenticationError("refused", Reply(ok=False))

    house = House([make_account(interval=60)], poll)
    house.run_for(23 * HOUR)
    assert len(house.polls) == 5


def test_only_refused_logins_count_towards_the_hold_not_other_failures() -> None:
    left = ["network"] * 4 + ["refused"]

    def poll(account: Account, stop: StopSignal) -> PollResult:
        if not left:
            return PollResult(account.name)
        if left.pop(0) == "network":
            raise NetworkError("down")
        raise AuthenticationError("refused", Reply(ok=False))

    house = House([make_account(interval=60)], poll)
    house.run_for(3 * HOUR)
    assert len(house.polls) > 6


@pytest.mark.parametrize("between", [None, NetworkError("down")], ids=["success", "other failure"])
def test_another_outcome_starts_the_count_of_refused_logins_anew(between: NetworkError | None) -> None:
    polls = Counter[str]()

    def poll(account: Account, stop: StopSignal) -> PollResult:
        polls[account.name] += 1
        if polls[account.name] % 4 == 0:
            if between is not None:
                raise between
            return PollResult(account.name)
        raise AuthenticationError("refused", Reply(ok=False))

    house = House([make_account(interval=1)], poll)
    house.run_for(23 * HOUR)
    assert len(house.polls) > 8


def test_a_changed_account_starts_the_count_of_refused_logins_anew() -> None:
    def poll(account: Account, stop: StopSignal) -> PollResult:
        raise AuthenticationError("refused", Reply(ok=False))

    house = House(
        [make_account(interval=60)], poll, load=lambda: make_settings([make_account(interval=60, user="other")])
    )
    house.inbox.at(5 * HOUR, Signal(signal.SIGHUP))
    house.run_for(23 * HOUR)
    assert len(house.polls) == 10


def test_a_reload_releases_accounts_on_hold() -> None:
    def poll(account: Account, stop: StopSignal) -> PollResult:
        raise UniqueIdsChangedError("all new")

    house = House([make_account()], poll, load=lambda: make_settings([make_account()]))
    house.inbox.at(100.0, Signal(signal.SIGHUP))
    house.run_for(200.0)
    assert house.times("alice") == [0.0, 100.0]


def test_a_bug_ends_one_poll_and_not_the_daemon() -> None:
    def poll(account: Account, stop: StopSignal) -> PollResult:
        if account.name == "buggy":
            raise ZeroDivisionError("oh")
        return PollResult(account.name)

    house = House([make_account("buggy"), make_account("fine")], poll)
    house.run_for(HOUR)
    assert len(house.times("fine")) == 12
    assert house.times("buggy")[:2] == [0.0, 600.0]
    assert "ZeroDivisionError" in house.said(events.InternalError)[0].trace


def test_more_to_fetch_is_fetched_at_once() -> None:
    left = [3]

    def poll(account: Account, stop: StopSignal) -> PollResult:
        left[0] -= 1
        return PollResult(account.name, more=left[0] > 0)

    house = House([make_account()], poll)
    house.run_for(100.0)
    assert house.times("alice") == [0.0, 0.0, 0.0]


def test_a_restart_keeps_the_delay_that_the_server_wants() -> None:
    """FAULTS 67; by hand (``--once``) it is the server who decides."""
    house = House([make_account("a"), make_account("b")])
    house.waits = {"a": 120.0}
    house.run_for(200.0)
    assert (house.times("a"), house.times("b")) == ([120.0], [0.0])
    house = House([make_account("a")])
    house.waits = {"a": 120.0}
    house.daemon.run_once()
    assert house.times("a") == [0.0]


def test_sighup_takes_over_a_changed_configuration() -> None:
    new = make_settings([make_account("stays"), make_account("changed", interval=60), make_account("added")], workers=9)
    house = House([make_account("stays"), make_account("changed"), make_account("removed")], load=lambda: new)
    house.inbox.at(50.0, Signal(signal.SIGHUP))
    house.run_for(120.0)
    assert house.times("stays") == [0.0]
    assert house.times("removed") == [0.0]
    assert house.times("changed") == [0.0, 50.0, 110.0]
    assert house.times("added") == [50.0]
    assert house.said(events.Reloaded) == [events.Reloaded(3, ("added",), ("removed",), ("changed",))]
    assert "workers" in house.said(events.ConfigWarning)[0].text
    assert house.told == [{"stays", "changed", "removed"}, {"stays", "changed", "added"}]


def test_a_bad_configuration_keeps_the_old_one_running_and_says_why() -> None:
    def load() -> Settings:
        raise ConfigError("fetchd.yaml:3: accounts: bad", "fetchd.yaml:9: hots: unknown key")

    house = House([make_account()], load=load)
    house.inbox.at(50.0, Signal(signal.SIGHUP))
    house.run_for(HOUR)
    assert len(house.times("alice")) == 12
    assert house.said(events.ReloadFailed) == [
        events.ReloadFailed(("fetchd.yaml:3: accounts: bad", "fetchd.yaml:9: hots: unknown key"))
    ]


def test_a_store_that_fails_at_a_reload_keeps_the_old_configuration_running() -> None:
    house = House([make_account()], load=lambda: make_settings([make_account("new", interval=60)]))

    def load() -> Settings:
        house.store_fails = True
        return make_settings([make_account("new", interval=60)])

    house.daemon._load = load
    house.inbox.at(50.0, Signal(signal.SIGHUP))
    house.run_for(HOUR)
    assert len(house.times("alice")) == 12
    assert house.times("new") == []
    assert house.said(events.ReloadFailed) == [events.ReloadFailed(("fetchd.db: disk full",))]
    assert not house.said(events.Reloaded)
    assert house.daemon._settings.accounts.keys() == {"alice"}


class Renaming:
    """A house in which SIGHUP comes at 50 s, while ``old``, which the new configuration lacks, has a session."""

    def __init__(
        self, *others: str, load: Callable[[], Settings] | None = None, supervisor: Supervisor | None = None
    ) -> None:
        self.leave = threading.Event()
        self.loads = 0
        self.told_before_the_end: list[set[str]] = []
        self._load = load or (lambda: make_settings([make_account("new")]))
        accounts = [make_account("old", interval=300), *(make_account(name, interval=7) for name in others)]
        self.house = House(accounts, self._poll, self._count_and_load, supervisor)
        self.house.stuck = {"old"}
        self.house.inbox.at(50.0, Signal(signal.SIGHUP))
        self._inner_get = self.house.inbox.get
        self.house.inbox.get = self._get  # type: ignore[method-assign]

    def _poll(self, account: Account, stop: StopSignal) -> PollResult:
        is_first = account.name == "old" and not self.leave.is_set()
        if is_first:
            self.leave.wait(30)
        return PollResult(account.name, more=is_first)

    def _count_and_load(self) -> Settings:
        self.loads += 1
        return self._load()

    def _get(self, timeout: float | None):
        """At 100 s the session of ``old`` ends."""
        if self.house.clock.monotonic() >= 1100.0 and not self.leave.is_set():
            self.told_before_the_end = list(self.house.told)
            self.house.stuck = set()
            self.leave.set()
        return self._inner_get(timeout)

    def run(self) -> House:
        self.house.inbox.at(100.0, Signal(signal.SIGUSR1))
        self.house.run_for(200.0)
        self.leave.set()
        return self.house


def test_a_reload_waits_for_the_session_of_an_account_that_it_takes_away() -> None:
    """The store renames an account's row; under a session that runs, its mail would come twice."""
    renaming = Renaming()
    house = renaming.run()
    assert renaming.told_before_the_end == [{"old"}]
    assert house.told == [{"old"}, {"new"}]
    assert (house.times("old"), house.times("new")) == ([0.0], [100.0])
    assert house.said(events.Reloaded) == [events.Reloaded(1, ("new",), ("old",), ())]
    assert renaming.loads == 2


def test_a_reload_waits_for_the_session_of_an_account_that_gets_another_user() -> None:
    """It is another maildrop, with a memory of its own; the session still works on the old one."""
    renaming = Renaming(load=lambda: make_settings([make_account("old", user="somebody else")]))
    house = renaming.run()
    assert renaming.told_before_the_end == [{"old"}]
    assert len(house.told) == 2
    assert house.times("old")[:2] == [0.0, 100.0]


def test_a_reload_that_waits_loads_the_file_anew_and_keeps_an_account_that_came_back() -> None:
    versions = [make_settings([]), make_settings([make_account("old", interval=300), make_account("new")])]
    house = Renaming(load=lambda: versions.pop(0)).run()
    assert house.told == [{"old"}, {"old", "new"}]
    assert house.said(events.Reloaded) == [events.Reloaded(2, ("new",), (), ())]


def test_an_account_that_a_waiting_reload_takes_away_starts_no_session_meanwhile() -> None:
    """Else sessions that overlap would put the reload off for ever."""
    house = Renaming("goes").run()
    assert house.times("goes") == [7.0 * n for n in range(8)]


def test_a_waiting_reload_whose_file_went_bad_is_dropped_and_said_once() -> None:
    def load() -> Settings:
        if renaming.loads == 1:
            return make_settings([make_account("new")])
        raise ConfigError("fetchd.yaml:3: bad")

    renaming = Renaming("stays", load=load)
    house = renaming.run()
    assert house.said(events.ReloadFailed) == [events.ReloadFailed(("fetchd.yaml:3: bad",))]
    assert max(house.times("stays")) > 190.0


def test_a_waiting_reload_is_not_applied_when_the_daemon_stops() -> None:
    renaming = Renaming()
    renaming.house.inbox.at(99.0, Signal(signal.SIGTERM))
    renaming.house.inbox.at(100.5, Signal(signal.SIGUSR1))
    house = renaming.run()
    assert house.told == [{"old"}]
    assert house.said(events.Stopped) == [events.Stopped(())]


def test_when_the_next_poll_comes_is_said() -> None:
    house = House([make_account(interval=300)])
    house.run_for(10.0)
    assert house.said(events.PollScheduled) == [
        events.PollScheduled("alice", at=1_795_000_300.0, delay=300.0, failures=0)
    ]


def test_once_polls_each_account_once_and_tells_how_each_ended() -> None:
    def poll(account: Account, stop: StopSignal) -> PollResult:
        if account.name == "bad":
            raise NetworkError("down")
        return PollResult(account.name, delivered=3, more=True)

    house = House([make_account("good"), make_account("bad"), make_account("other")], poll)
    finished = {message.account: message for message in house.daemon.run_once()}
    assert sorted(finished) == ["bad", "good", "other"]
    assert isinstance(finished["bad"].error, NetworkError)
    assert finished["good"].result == PollResult("good", delivered=3, more=True)
    assert len(house.polls) == 3


def test_once_takes_names_and_refuses_one_that_is_not_there() -> None:
    house = House([make_account("a"), make_account("b")])
    assert [message.account for message in house.daemon.run_once(["b"])] == ["b"]
    with pytest.raises(UsageError, match="no account 'c'; there are: a, b"):
        House([make_account("a"), make_account("b")]).daemon.run_once(["c"])


def test_once_takes_a_hangup_for_a_request_to_stop() -> None:
    """The terminal went away; reloading would poll for ever what was to be polled once."""
    leave = threading.Event()
    house = House([make_account()], lambda account, stop: PollResult(account.name) if leave.wait(30) else None)
    house.stuck = {"alice"}
    house.inbox.at(1.0, Signal(signal.SIGHUP))
    try:
        assert house.daemon.run_once() == []
    finally:
        leave.set()
    assert house.said(events.Stopping) == [events.Stopping("SIGHUP", 1)]


@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGINT, 2.0), (signal.SIGTERM, 8.0)])
def test_once_does_not_keep_somebody_waiting_who_interrupts_it(number: signal.Signals, seconds: float) -> None:
    """Ctrl-C while a server is silent: the prompt is back soon; a service manager's stop has more patience."""
    leave = threading.Event()
    house = House([make_account()], lambda account, stop: PollResult(account.name) if leave.wait(30) else None)
    house.stuck = {"alice"}
    house.inbox.at(1.0, Signal(number))
    try:
        assert house.daemon.run_once() == []
    finally:
        leave.set()
    assert house.clock.monotonic() == 1000.0 + 1.0 + seconds
    assert house.said(events.Stopped) == [events.Stopped(("alice",))]


def test_once_tells_the_store_of_every_account_not_only_the_named() -> None:
    """A renamed account is found by what is no longer configured: naming one must not make the rest look removed."""
    house = House([make_account("a"), make_account("b")])
    house.daemon.run_once(["b"])
    assert house.told == [{"a", "b"}]


def starts_fail_after(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """FAULTS: RLIMIT_NPROC, a cgroup's pids.max."""
    real, started = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if len(started) == number:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


def test_a_crew_that_cannot_grow_does_the_work_with_those_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    starts_fail_after(monkeypatch, 2)
    house = House([make_account(f"n{i}", host=f"h{i}") for i in range(6)], workers=4)
    assert len(house.daemon.run_once()) == 6
    assert house.daemon._crew._size == 2


def test_a_crew_of_nobody_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    starts_fail_after(monkeypatch, 0)
    crew = Crew(size=4, work=lambda account: Finished(account.name), post=lambda message: None)
    with pytest.raises(FetchdError, match=r"no worker can be started: can't start new thread"):
        crew.give(make_account())


def test_the_stop_flag_is_overdue_after_its_grace() -> None:
    clock = FakeClock()
    stop = StopFlag(clock)
    assert (stop.requested(), stop.overdue()) == (False, False)
    stop.request(5.0)
    assert (stop.requested(), stop.overdue()) == (True, False)
    clock.advance(5.0)
    assert stop.overdue()


# ── what the service manager hears ───────────────────────────────────────────────────────────────────────────────────


class Watching:
    """A :class:`Supervisor` that writes down what it hears and wants the loop to turn every ``pulse`` seconds."""

    def __init__(self, pulse: float = 3600.0) -> None:
        self.heard: list[str] = []
        self.turns: list[float] = []
        self.lines: list[str] = []
        self.clock: FakeClock | None = None
        self._pulse = pulse

    def ready(self) -> None:
        self.heard.append("ready")

    def reloading(self) -> None:
        self.heard.append("reloading")

    def stopping(self) -> None:
        self.heard.append("stopping")

    def turned(self, standing: Callable[[], str]) -> float:
        if self.clock is not None:
            self.turns.append(self.clock.monotonic() - 1000.0)
        self.lines.append(standing().partition(", next poll")[0])
        return self._pulse


def test_ready_is_told_once_the_configuration_is_live_and_stopping_when_the_end_begins() -> None:
    watching = Watching()
    house = House([make_account()], supervisor=watching)
    house.run_for(10.0)
    assert watching.heard == ["ready", "stopping"]
    broken = Watching()
    house = House([make_account()], supervisor=broken)
    house.store_fails = True
    with pytest.raises(StoreError):
        house.daemon.run()
    assert broken.heard == []


def test_the_loop_turns_as_often_as_the_watchdog_wants() -> None:
    """While nothing is due, too: the next poll is 300 s away."""
    watching = Watching(pulse=20.0)
    house = House([make_account(interval=300)], supervisor=watching)
    watching.clock = house.clock
    house.run_for(250.0)
    assert [turn for turn in watching.turns if turn > 0] == [20.0 * n for n in range(1, 13)]


def test_the_loop_turns_during_a_long_end_too() -> None:
    leave = threading.Event()

    def poll(account: Account, stop: StopSignal) -> PollResult:
        leave.wait(30)
        return PollResult(account.name)

    watching = Watching(pulse=2.0)
    house = House([make_account()], poll, supervisor=watching)
    house.stuck = {"alice"}
    watching.clock = house.clock
    house.run_for(10.0)
    leave.set()
    assert [turn for turn in watching.turns if turn >= 10.0] == [10.0, 12.0, 14.0, 16.0]


def test_a_reload_is_told_from_its_begin_to_its_end_whatever_comes_of_it() -> None:
    def load() -> Settings:
        raise ConfigError("fetchd.yaml:3: bad")

    watching = Watching()
    house = House([make_account()], load=load, supervisor=watching)
    house.inbox.at(50.0, Signal(signal.SIGHUP))
    house.run_for(100.0)
    assert watching.heard == ["ready", "reloading", "ready", "stopping"]
    assert watching.lines[-1] == "1 account"
    assert "1 account, next poll" in house.daemon._standing()
    assert house.daemon._standing().endswith("; the last reload failed: fetchd.yaml:3: bad")


def test_a_reload_that_waits_is_told_to_be_under_way_until_it_is_done() -> None:
    watching = Watching()
    renaming = Renaming(supervisor=watching)
    renaming.run()
    assert watching.heard == ["ready", "reloading", "reloading", "ready", "stopping"]


def test_how_many_accounts_fail_is_told_and_those_that_are_gone_are_not_among_them() -> None:
    def poll(account: Account, stop: StopSignal) -> PollResult:
        if account.name != "alice":
            raise NetworkError("no")
        return PollResult(account.name)

    watching = Watching()
    accounts = [make_account("alice"), make_account("bob"), make_account("carol")]
    house = House(accounts, poll, load=lambda: make_settings([make_account("alice")]), supervisor=watching)
    house.inbox.at(10.0, Signal(signal.SIGHUP))
    house.run_for(12.0)
    assert "3 accounts, 2 failing" in watching.lines
    assert watching.lines[-1] == "1 account"


# ── polls that somebody asks for ─────────────────────────────────────────────────────────────────────────────────────


def test_accounts_that_are_asked_for_are_polled_at_once_and_the_asker_is_told() -> None:
    house = House([make_account("alice", interval=300), make_account("bob", interval=300)])
    answers: list[PollAnswer] = []
    house.inbox.at(100.0, PollRequest(("bob",), answers.append))
    house.run_for(250.0)
    assert (house.times("alice"), house.times("bob")) == ([0.0], [0.0, 100.0])
    assert answers == [PollAnswer((Prompted("bob"),))]
    assert events.PollScheduled("bob", at=1_795_000_100.0, delay=0.0, failures=0) in house.said(events.PollScheduled)
    assert house.said(events.PollAllRequested) == []


def test_a_name_that_is_no_accounts_polls_nobody() -> None:
    house = House([make_account("alice", interval=300)])
    answers: list[PollAnswer] = []
    house.inbox.at(100.0, PollRequest(("alice", "alcie"), answers.append))
    house.run_for(250.0)
    assert house.times("alice") == [0.0]
    assert answers == [PollAnswer(unknown=("alcie",), known=("alice",))]


def test_asking_for_no_account_asks_for_all() -> None:
    house = House([make_account("alice", interval=300), make_account("bob", interval=300)])
    answers: list[PollAnswer] = []
    house.inbox.at(100.0, PollRequest((), answers.append))
    house.run_for(250.0)
    assert sorted(house.polls) == [(0.0, "alice"), (0.0, "bob"), (100.0, "alice"), (100.0, "bob")]
    assert answers == [PollAnswer((Prompted("alice"), Prompted("bob")))]
    assert len(house.said(events.PollAllRequested)) == 1
