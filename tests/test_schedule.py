"""fetchd.schedule: due times, back-off, the limit of sessions per host."""

from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import Retry
from fetchd.schedule import HOLD, Prompted, Schedule, Slot, backoff


def schedule(*slots: Slot, per_host: int = 4, chance: float = 0.5, now: float = 0.0) -> Schedule:
    result = Schedule(sessions_per_host=per_host, chance=lambda: chance)
    result.replace(slots, now=now)
    return result


def take_all(sched: Schedule, now: float) -> list[str]:
    taken = []
    while (name := sched.take(now=now)) is not None:
        taken.append(name)
    return taken


def test_new_accounts_are_due_at_once_in_order() -> None:
    sched = schedule(Slot("a", "h", 300), Slot("b", "h", 300))
    assert take_all(sched, 0.0) == ["a", "b"]


def test_after_a_success_the_interval_passes() -> None:
    sched = schedule(Slot("a", "h", 300))
    sched.take(now=0.0)
    assert sched.finished("a", now=10.0) == 300.0
    assert sched.next_due() == 310.0
    assert sched.take(now=309.9) is None
    assert sched.take(now=310.0) == "a"


def test_jitter_stretches_and_shrinks_by_a_tenth() -> None:
    for chance, expected in ((0.0, 270.0), (0.5, 300.0), (0.999999, 330.0)):
        sched = schedule(Slot("a", "h", 300), chance=chance)
        sched.take(now=0.0)
        assert abs((sched.finished("a", now=0.0) or 0) - expected) < 0.01


def test_passing_faults_back_off_and_a_success_forgets_them() -> None:
    sched = schedule(Slot("a", "h", 300))
    delays = []
    now = 0.0
    for _ in range(6):
        assert sched.take(now=now) == "a"
        delays.append(sched.finished("a", now=now, retry=Retry.SOON))
        now += delays[-1]
    assert delays == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
    assert sched.failures("a") == 6
    sched.take(now=now)
    assert sched.finished("a", now=now) == 300.0
    assert sched.failures("a") == 0


def test_a_short_interval_is_never_stretched_by_the_first_retry() -> None:
    assert backoff(5, Retry.SOON, 1) == 5


def test_a_delay_that_the_server_wants_is_kept() -> None:
    """FAULTS 67: LOGIN-DELAY; also where there is more to fetch, or the account was polled by hand."""
    sched = schedule(Slot("a", "h", 300))
    sched.take(now=0.0)
    assert sched.finished("a", now=0.0, more=True, at_least=60.0) == 60.0
    sched.take(now=60.0)
    assert sched.finished("a", now=60.0, at_least=60.0) == 300.0


def test_hold_waits_for_a_day_or_for_poll_now() -> None:
    sched = schedule(Slot("a", "h", 300))
    sched.take(now=0.0)
    assert sched.finished("a", now=0.0, retry=Retry.HOLD) == HOLD
    assert sched.take(now=HOLD - 1) is None
    sched.poll_now(now=100.0)
    assert sched.take(now=100.0) == "a"


def test_poll_now_reaches_a_running_account_when_it_is_finished() -> None:
    sched = schedule(Slot("a", "h", 300))
    sched.take(now=0.0)
    sched.poll_now(now=1.0)
    assert sched.take(now=1.0) is None
    assert sched.finished("a", now=2.0) == 0.0
    assert sched.take(now=2.0) == "a"
    assert sched.finished("a", now=3.0) == 300.0


def test_more_to_fetch_is_polled_at_once_but_not_after_an_error() -> None:
    sched = schedule(Slot("a", "h", 300))
    sched.take(now=0.0)
    assert sched.finished("a", now=0.0, more=True) == 0.0
    sched.take(now=0.0)
    assert sched.finished("a", now=0.0, more=True, retry=Retry.SOON) == 60.0


def test_a_host_gets_only_so_many_sessions_and_others_do_not_wait() -> None:
    """DESIGN §1.3: one host's limit never delays another host's account."""
    sched = schedule(Slot("a", "h", 300), Slot("b", "h", 300), Slot("c", "h", 300), Slot("d", "other", 300), per_host=2)
    assert take_all(sched, 0.0) == ["a", "b", "d"]
    sched.finished("d", now=1.0)
    assert sched.take(now=1.0) is None
    sched.finished("a", now=2.0)
    assert take_all(sched, 2.0) == ["c"]
    assert set(sched.running) == {"b", "c"}


def test_those_in_line_come_in_the_order_they_were_due() -> None:
    sched = schedule(*[Slot(name, "h", 300) for name in "abcde"], per_host=1)
    order = []
    for now in range(5):
        (name,) = take_all(sched, float(now))
        order.append(name)
        sched.finished(name, now=float(now))
    assert order == list("abcde")


def test_replace_keeps_the_time_of_what_stays_and_starts_what_is_new() -> None:
    sched = schedule(Slot("a", "h", 300), Slot("b", "h", 300))
    take_all(sched, 0.0)
    for name in ("a", "b"):
        sched.finished(name, now=0.0)
    sched.replace([Slot("a", "h", 300), Slot("c", "h", 300)], now=5.0)
    assert take_all(sched, 5.0) == ["c"]
    assert sched.next_due() == 300.0
    assert take_all(sched, 300.0) == ["a"]
    assert len(sched) == 2


def test_a_removed_account_that_is_running_frees_its_host_and_is_not_scheduled_again() -> None:
    sched = schedule(Slot("a", "h", 300), Slot("b", "h", 300), per_host=1)
    assert take_all(sched, 0.0) == ["a"]
    sched.replace([Slot("b", "h", 300)], now=1.0)
    assert take_all(sched, 1.0) == []
    assert sched.finished("a", now=2.0) is None
    assert take_all(sched, 2.0) == ["b"]


def test_a_changed_account_is_polled_at_once_even_from_hold() -> None:
    sched = schedule(Slot("a", "h", 300))
    sched.take(now=0.0)
    sched.finished("a", now=0.0, retry=Retry.HOLD)
    sched.replace([Slot("a", "h2", 300)], now=9.0, restart=["a"])
    assert sched.take(now=9.0) == "a"
    assert sched.failures("a") == 0


def test_a_reload_releases_an_account_on_hold_and_nobody_else() -> None:
    sched = schedule(Slot("held", "h", 300), Slot("fine", "h", 300), Slot("failing", "h", 300))
    take_all(sched, 0.0)
    sched.finished("held", now=0.0, retry=Retry.HOLD)
    sched.finished("fine", now=0.0)
    sched.finished("failing", now=0.0, retry=Retry.LATER)
    same = [Slot("held", "h", 300), Slot("fine", "h", 300), Slot("failing", "h", 300)]
    sched.replace(same, now=9.0)
    assert take_all(sched, 9.0) == ["held"]
    sched.finished("held", now=9.0)
    sched.replace(same, now=10.0)
    assert take_all(sched, 10.0) == []
    assert sched.next_due() == 300.0


def test_an_account_that_a_reload_released_waits_as_long_as_its_server_wants() -> None:
    sched = schedule(Slot("a", "h", 300))
    sched.take(now=0.0)
    sched.finished("a", now=0.0, retry=Retry.HOLD)
    sched.replace([Slot("a", "h", 300)], now=9.0, waits={"a": 20.0})
    assert sched.next_due() == 29.0


def test_a_reload_does_not_start_a_held_account_that_is_running_a_second_time() -> None:
    sched = schedule(Slot("a", "h", 300))
    sched.take(now=0.0)
    sched.finished("a", now=0.0, retry=Retry.HOLD)
    assert sched.take(now=HOLD) == "a"
    sched.replace([Slot("a", "h", 300)], now=HOLD)
    assert sched.take(now=HOLD) is None


def test_a_changed_account_that_is_running_is_polled_again_when_finished() -> None:
    sched = schedule(Slot("a", "h", 300))
    sched.take(now=0.0)
    sched.replace([Slot("a", "h2", 300)], now=1.0, restart=["a"])
    assert sched.take(now=1.0) is None
    assert sched.finished("a", now=2.0) == 0.0
    assert sched.take(now=2.0) == "a"


def slots(ids: set[int]) -> list[Slot]:
    return [Slot(f"n{i}", f"h{i % 3}", 50.0 * (i + 1)) for i in ids]


class World:
    """A schedule with what runs, checking at every start that it may."""

    def __init__(self, per_host: int, chance: float) -> None:
        self.per_host = per_host
        self.schedule = Schedule(sessions_per_host=per_host, chance=lambda: chance)
        self.now = 0.0
        self.running: list[str] = []

    def start_what_may(self) -> list[str]:
        started = take_all(self.schedule, self.now)
        assert not set(started) & set(self.running)
        assert len(set(started)) == len(started)
        self.running += started
        hosts = [int(name[1:]) % 3 for name in self.running]
        assert all(hosts.count(host) <= self.per_host for host in hosts)
        return started

    def step(self, kind: str, value) -> None:
        if kind == "tick":
            self.now += value
        elif kind == "finish" and self.running:
            self.schedule.finished(self.running.pop(0), now=self.now, retry=value)
        elif kind == "now":
            self.schedule.poll_now(now=self.now)
        elif kind == "reload":
            self.schedule.replace(slots(value), now=self.now)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.floats(0, 1000)),
        st.tuples(st.just("finish"), st.sampled_from([None, *Retry])),
        st.tuples(st.just("now"), st.none()),
        st.tuples(st.just("reload"), st.sets(st.integers(0, 7))),
    ),
    max_size=60,
)


@given(steps=STEPS, last=st.sets(st.integers(0, 7)), per_host=st.integers(1, 3), chance=st.floats(0, 0.999))
def test_no_account_runs_twice_no_host_beyond_its_limit_and_nobody_starves(steps, last, per_host, chance) -> None:
    world = World(per_host, chance)
    for kind, value in [("reload", set(range(8))), *steps, ("reload", last), ("now", None)]:
        world.step(kind, value)
        world.start_what_may()
    polled = set(world.running)
    for _ in range(100):
        while world.running:
            world.step("finish", None)
            polled.update(world.start_what_may())
            if polled >= {f"n{i}" for i in last}:
                return
        due = world.schedule.next_due()
        if due is None:
            break
        world.now = max(world.now, due)
        polled.update(world.start_what_may())
    assert polled >= {f"n{i}" for i in last}


# ── polls that somebody asked for ────────────────────────────────────────────────────────────────────────────────────


def test_poll_now_takes_the_named_accounts_and_no_other() -> None:
    sched = schedule(Slot("a", "h", 300), Slot("b", "h", 300))
    for name in take_all(sched, 0.0):
        sched.finished(name, now=0.0)
    assert sched.poll_now(["b"], now=100.0) == (Prompted("b"),)
    assert take_all(sched, 100.0) == ["b"]


def test_poll_now_does_not_come_before_the_server_allows_it() -> None:
    """RFC 2449 §6.5: LOGIN-DELAY; a login that comes too early is refused, and may cost more than it brings."""
    sched = schedule(Slot("a", "h", 300), Slot("b", "h", 300))
    for name in take_all(sched, 0.0):
        sched.finished(name, now=0.0, at_least=60.0)
    assert sched.poll_now(now=20.0) == (Prompted("a", 40.0), Prompted("b", 40.0))
    assert take_all(sched, 59.9) == []
    assert take_all(sched, 60.0) == ["a", "b"]


def test_poll_now_keeps_to_a_wait_from_before_the_start() -> None:
    sched = Schedule(sessions_per_host=4, chance=lambda: 0.5)
    sched.replace([Slot("a", "h", 300)], now=0.0, waits={"a": 50.0})
    assert sched.poll_now(["a"], now=10.0) == (Prompted("a", 40.0),)
    assert sched.next_due() == 50.0


def test_poll_now_says_which_accounts_were_on_hold_or_are_in_hand() -> None:
    sched = schedule(Slot("a", "h", 300), Slot("b", "h", 300))
    sched.take(now=0.0)
    sched.take(now=0.0)
    sched.finished("a", now=0.0, retry=Retry.HOLD)
    assert sched.poll_now(now=1.0) == (Prompted("a", held=True), Prompted("b", running=True))
    assert sched.poll_now(["a"], now=1.0) == (Prompted("a"),), "it is not on hold any more"
