"""fetchd.observe.history: today and the last 24 hours, by this machine's clock and time zone."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.observe.history import HOUR, Days, History, remembered
from fetchd.observe.status import HOURS

NOON = 1_795_521_600.0  # 2026-11-24 12:00 UTC


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


def in_zone(zone: pytest.MonkeyPatch, name: str) -> Days:
    zone.setenv("TZ", name)
    time.tzset()
    return Days()


def test_the_day_begins_at_midnight_where_the_machine_stands(zone: pytest.MonkeyPatch) -> None:
    assert in_zone(zone, "UTC").start(NOON) == NOON - 12 * HOUR
    assert in_zone(zone, "Asia/Kolkata").start(NOON) == NOON - 17.5 * HOUR
    assert in_zone(zone, "America/Los_Angeles").start(NOON) == NOON - 4 * HOUR


def test_a_day_of_25_hours_ends_at_its_own_midnight(zone: pytest.MonkeyPatch) -> None:
    """Europe/Berlin, 2026-10-25: the clock goes back at 3 h."""
    days = in_zone(zone, "Europe/Berlin")
    midnight = 1_792_879_200.0  # 2026-10-25 00:00 CEST
    assert days.start(midnight) == midnight
    assert days.start(midnight + 25 * HOUR - 1) == midnight
    assert days.start(midnight + 25 * HOUR) == midnight + 25 * HOUR
    assert days.start(midnight - 1) == midnight - 24 * HOUR


def test_today_is_nothing_once_the_day_is_over() -> None:
    history = History()
    history.count(3, at=NOON, day=1.0)
    history.count(2, at=NOON + 5, day=1.0)
    assert (history.today(1.0), history.today(2.0)) == (5, 0)
    history.count(1, at=NOON + 9, day=2.0)
    assert history.today(2.0) == 1


def test_hours_move_on_with_the_clock() -> None:
    history = History()
    history.count(3, at=NOON, day=1.0)
    history.count(4, at=NOON + HOUR, day=1.0)
    assert history.hours(NOON + HOUR)[-2:] == (3, 4)
    assert history.hours(NOON + 23 * HOUR)[:2] == (3, 4)
    assert history.hours(NOON + 24 * HOUR)[0] == 4
    assert sum(history.hours(NOON + 25 * HOUR)) == 0


def test_a_clock_that_was_years_ahead_does_not_blind_the_chart() -> None:
    history = History()
    history.count(3, at=NOON + 1e8, day=9.0)
    history.count(4, at=NOON, day=1.0)
    assert (history.today(1.0), history.hours(NOON)[-1], sum(history.hours(NOON))) == (4, 4, 4)


@given(st.lists(st.tuples(st.integers(0, 60 * HOUR), st.integers(1, 9)), max_size=40), st.integers(0, 90))
def test_the_hours_are_those_of_a_plain_count(messages: list[tuple[int, int]], later: int) -> None:
    history, last = History(), 0
    for at, number in sorted(messages):
        history.count(number, at=at, day=0.0)
        last = at
    now = last + later * HOUR
    expected = [0] * HOURS
    for at, number in messages:
        age = now // HOUR - at // HOUR
        if age < HOURS:
            expected[HOURS - 1 - age] += number
    assert history.hours(now) == tuple(expected)


def test_what_a_store_remembers_is_put_in_its_place(zone: pytest.MonkeyPatch) -> None:
    days = in_zone(zone, "UTC")
    quarters = {
        int(NOON): 1,
        int(NOON) - 900: 2,
        int(NOON) - 13 * HOUR: 4,
        int(NOON) - 30 * HOUR: 8,
        int(NOON) + HOUR: 16,
    }
    history = remembered(quarters, days, now=NOON + 60)
    assert history.today(days.start(NOON)) == 3
    hours = history.hours(NOON + 60)
    assert (hours[-1], hours[-2], hours[-14], sum(hours)) == (1, 2, 4, 7)
