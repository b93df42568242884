"""The contract of ``ports.Lane``, which both its adapters pass; and what a thread adds."""

import threading
from collections.abc import Callable

import pytest

from fetchd.lane import Beside, InTurn
from fetchd.ports import Lane

PATIENCE = 30.0


class FailedError(Exception):
    pass


def fail() -> None:
    raise FailedError


@pytest.fixture(params=[Beside, InTurn])
def lane(request: pytest.FixtureRequest) -> Lane:
    made: Callable[[], Lane] = request.param
    return made()


def test_what_is_given_is_done_in_order(lane: Lane) -> None:
    done: list[int] = []
    for number in range(20):
        lane.start(lambda number=number: done.append(number))  # type: ignore[misc]
    lane.wait()
    assert done == [*range(20)]


def test_waiting_for_nothing_returns(lane: Lane) -> None:
    lane.wait()
    lane.start(lambda: None)
    lane.wait()
    lane.wait()


def test_an_error_is_raised_once_and_what_comes_next_is_not_begun(lane: Lane) -> None:
    begun: list[int] = []

    def give() -> None:
        for number in range(2):
            lane.start(lambda number=number: (begun.append(number), fail()))  # type: ignore[misc]

    with pytest.raises(FailedError):
        give()
    assert begun == [0]
    lane.wait()
    lane.start(lambda: begun.append(2))
    lane.wait()
    assert begun == [0, 2]


def test_work_goes_on_beside_its_giver() -> None:
    lane, go, done = Beside(), threading.Event(), threading.Event()

    def work() -> None:
        if go.wait(PATIENCE):
            done.set()

    lane.start(work)
    assert not done.is_set()
    go.set()
    lane.wait()
    assert done.is_set()


def test_where_the_system_gives_no_thread_work_is_done_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS G 98: a limit of processes."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    lane, done = Beside(), []
    lane.start(lambda: done.append(1))
    assert done == [1]
    lane.wait()
