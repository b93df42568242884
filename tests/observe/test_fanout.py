"""fetchd.observe.fanout: every renderer gets every event."""

from fetchd.events import Event, PollStarted
from fetchd.observe.fanout import RendererFailed, fan_out


def raising(event: Event) -> None:
    raise RuntimeError("the terminal is gone")


def test_every_renderer_gets_the_event_in_order() -> None:
    got: list[tuple[str, Event]] = []
    emit = fan_out(lambda event: got.append(("first", event)), lambda event: got.append(("second", event)))
    event = PollStarted("a")
    emit(event)
    assert got == [("first", event), ("second", event)]


def test_one_that_raises_keeps_nothing_from_the_others_nor_from_the_caller() -> None:
    before: list[Event] = []
    after: list[Event] = []
    emit = fan_out(before.append, raising, after.append)
    first, second = PollStarted("a"), PollStarted("b")
    emit(first)
    emit(second)
    failure = RendererFailed("raising", "poll.start", "RuntimeError: the terminal is gone")
    assert before == after == [first, failure, second]


def test_all_of_them_failing_ends() -> None:
    fan_out(raising, raising)(PollStarted("a"))


def test_no_renderer_is_fine() -> None:
    fan_out()(PollStarted("a"))
