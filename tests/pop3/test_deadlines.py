"""Limits to waiting, with time by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.pop3.deadlines import PACE_SECONDS, Deadlines
from tests.pop3.timing import ManualClock

RATE = 100


def deadlines(clock: ManualClock, **changed: float | None) -> Deadlines:
    settings: dict[str, object] = {"timeout": 60.0, "session_timeout": None, "minimum_rate": RATE, "since": clock.now}
    return Deadlines(**(settings | changed), clock=clock)


# ── deadlines ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_read_has_the_timeout_where_nothing_else_limits_it() -> None:
    """Again and again; and it can be changed."""
    clock = ManualClock()
    limits = deadlines(clock)
    clock.now += 3600
    assert limits.left() == 60.0
    assert limits.took_long("receiving") == "receiving took longer than 60 s"
    limits.timeout = 5.0
    assert limits.left() == 5.0
    assert limits.took_long("receiving") == "receiving took longer than 5 s"


def test_session_ends_whatever_its_reads_may_take() -> None:
    """From when it began, which is before the connection was there."""
    clock = ManualClock()
    limits = deadlines(clock, session_timeout=100.0, since=clock.now - 10)
    assert limits.left() == 60.0
    clock.now += 70
    assert limits.left() == 20.0
    assert limits.took_long("sending") == "the session took longer than 100 s, while sending"
    clock.now += 20
    with pytest.raises(TimeoutError):
        limits.left()


def test_nearest_limit_counts() -> None:
    """Whichever was set first."""
    clock = ManualClock()
    limits = deadlines(clock, session_timeout=100.0)
    with limits.within(40.0, "the login"):
        with limits.within(10.0, "receiving"):
            assert limits.left() == 10.0
            assert limits.took_long("receiving") == "receiving took longer than 10 s"
        clock.now += 5
        with limits.within(38.0, "receiving"):
            assert limits.left() == 35.0
            assert limits.took_long("receiving") == "the login took longer than 40 s, while receiving"


def test_limit_is_gone_with_its_context() -> None:
    """On an exception, too."""
    clock = ManualClock()
    limits = deadlines(clock)
    with pytest.raises(ZeroDivisionError), limits.within(10.0, "the login"):
        raise ZeroDivisionError
    clock.now += 10
    assert limits.left() == 60.0


# ── the pace of a reply ──────────────────────────────────────────────────────────────────────────────────────────


def first_complaint(limits: Deadlines, *arrivals: tuple[int, float]) -> int | None:
    """Says which of these (octets, seconds waited for them) is one too slow."""
    for index, (octets, waited) in enumerate(arrivals):
        if limits.too_slow(octets, waited):
            return index
    return None


def test_drops_are_too_slow() -> None:
    """FAULTS 62: an octet every 30 seconds."""
    limits = deadlines(ManualClock())
    limits.reply_due()
    assert limits.too_slow(1, 30.0) == ""
    assert limits.too_slow(1, 30.0) == ""
    assert limits.too_slow(1, 30.0) == "2 octets in 60 s are less than 100 octets a second"


def test_how_long_a_reply_takes_to_begin_is_not_its_pace() -> None:
    """A server that counts a large maildrop for 59 seconds, then lists it."""
    limits = deadlines(ManualClock())
    limits.reply_due()
    assert first_complaint(limits, (5, 59.0), (100, 59.0)) is None


def test_every_reply_has_a_pace_of_its_own() -> None:
    """Many short ones over a long way are not slow."""
    limits = deadlines(ManualClock())
    for _ in range(1000):
        limits.reply_due()
        assert first_complaint(limits, (5, 2.0), (5, 2.0)) is None


def test_burst_is_no_credit_for_ever() -> None:
    """FAULTS 62: each minute counts by itself."""
    limits = deadlines(ManualClock())
    limits.reply_due()
    assert first_complaint(limits, (1, 0.0), (10_000_000, 59.0), *[(1, 29.0)] * 10) == 5


def test_longer_timeout_allows_a_longer_lull() -> None:
    """Who allows a read five minutes does not mean one."""
    limits = deadlines(ManualClock(), timeout=300.0)
    limits.reply_due()
    assert first_complaint(limits, (1, 0.0), (1, 290.0), (1, 9.0), (1, 1.0)) == 3


def test_minimum_of_nothing_is_no_minimum() -> None:
    """0 switches it off."""
    limits = deadlines(ManualClock(), minimum_rate=0)
    limits.reply_due()
    assert first_complaint(limits, *[(1, 59.0)] * 1000) is None


@given(st.lists(st.floats(0.0, 59.0), max_size=50))
def test_what_is_fast_enough_is_never_too_slow(waits: list[float]) -> None:
    """However it is cut."""
    limits = deadlines(ManualClock())
    limits.reply_due()
    assert first_complaint(limits, (1, 59.0), *[(int(RATE * wait) + 1, wait) for wait in waits]) is None


@given(st.lists(st.floats(0.5, 59.0), max_size=50), st.integers(0, 10_000_000))
def test_what_is_too_slow_ends_within_two_windows(waits: list[float], burst: int) -> None:
    """However it is cut, and whatever came before: an octet a wait."""
    limits = deadlines(ManualClock())
    limits.reply_due()
    limits.too_slow(1, 0.0)
    limits.too_slow(burst, 1.0)
    waited = 1.0
    for wait in waits:
        waited += wait
        if limits.too_slow(1, wait):
            return
    assert waited < 2 * (PACE_SECONDS + 59.0)
