"""One event, many renderers."""

import threading
from typing import ClassVar

from fetchd.events import Emit, Event
from fetchd.values import value


@value
class RendererFailed(Event):
    """A renderer raised: a bug in fetchd, or a terminal that went away. Said once a renderer."""

    name: ClassVar[str] = "observe.failed"
    level: ClassVar[str] = "error"
    renderer: str
    during: str
    error: str


def fan_out(*emits: Emit) -> Emit:
    """Returns an emit that gives every event to each of ``emits``, in order.

    One that raises does not keep the event from the others, nor does its error reach who emits. The first time, all of
    them are told by a :class:`RendererFailed` after the event; that ends, because a second time nobody is told.
    """
    failed: set[int] = set()
    numbered = tuple(enumerate(emits))
    lock = threading.Lock()

    def emit(event: Event) -> None:
        news = None
        for place, render in numbered:
            try:
                render(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end a poll
                news = news or []
                with lock:
                    if place not in failed:
                        news.append(RendererFailed(_title(render), event.name, f"{type(error).__name__}: {error}"))
                    failed.add(place)
        for failure in news or ():
            emit(failure)

    return emit


def _title(render: Emit) -> str:
    return str(getattr(render, "__qualname__", type(render).__qualname__))
