"""Events as log lines: for humans on a terminal and in the systemd journal, JSON lines elsewhere.

structlog is slow to load (where rich is installed, it loads that too): it is loaded for the first line, so that a
``fetchd --once`` that has nothing to say does without.

Every line has ``timestamp``, ``level`` and ``event`` (the event's name, a fixed vocabulary), then ``account`` where it
concerns one, then the event's fields in their order.

In the journal each line has its level's priority (``journalctl -p warning``), whichever the format. A human's line goes
without the time there, which the journal has itself.
"""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from fetchd.events import Event
from fetchd.model import LogSettings, PollResult
from fetchd.observe.escape import shown_text, shown_unique_id
from fetchd.observe.lines import WriteLine, for_journal
from fetchd.observe.repeats import WEIGHED, Repeats
from fetchd.ports import Clock

RANKS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Weighing:
    """At which level an event is logged, and what is added to it."""

    def __init__(self) -> None:
        self._repeats = Repeats()

    def __call__(self, event: Event) -> tuple[str, dict[str, object]]:
        """Returns the level and more fields."""
        return self._repeats.weigh(event) if isinstance(event, WEIGHED) else (event.level, {})


class LogRenderer:
    """Renders events as log lines. Safe for many threads: a line is written whole.

    An event of level ``never`` is not logged; one below the level asked for is dropped before anything is rendered.

    Lines that cannot be written are dropped and counted; once the way is free again, ``log.lost`` tells how many.
    """

    def __init__(
        self,
        settings: LogSettings,
        write: WriteLine,
        *,
        is_tty: bool,
        clock: Clock,
        journal: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Sets the form once and for all.

        Args:
            settings: format and level.
            write: takes the lines: ``lines.LineWriter``, or ``cli.progress.Progress.write_line`` under progress bars.
            is_tty: whether the lines end up on a terminal: ``format: auto`` and colour depend on it.
            clock: tells the time of a line.
            journal: whether the lines end up in the systemd journal (``lines.is_journal``).
            environ: ``NO_COLOR`` (https://no-color.org) and ``TERM=dumb`` forbid colour.
        """
        console = settings.format == "console" or (settings.format == "auto" and (is_tty or journal))
        colour = is_tty and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._rank = RANKS[settings.level]
        self._weighing = Weighing()
        self._ignored: set[type[Event]] = set()  # two events a message are of such a class
        self._write = write
        self._lock = threading.Lock()
        self._lost = 0
        self._loading = threading.Lock()
        self._logger: Any = None
        self._sink = _Sink(self._put, journal=journal)
        self._head = _Head(clock, local=console, stamped=not (console and journal))
        self._colour = colour if console else None

    def __call__(self, event: Event) -> None:
        """Logs an event, or not. Never raises for anything that the stream does."""
        if type(event) in self._ignored:
            return
        level, extra = self._weighing(event)
        if RANKS.get(level, 0) < self._rank:
            if not isinstance(event, WEIGHED):
                self._ignored.add(type(event))
        else:
            getattr(self._logger or self._loaded(), level)(event.name, **shown_fields(event), **extra)

    def _loaded(self) -> Any:
        """Returns the structlog chain, which is made once."""
        with self._loading:
            if self._logger is None:
                self._logger = _chain(self._sink, self._head, rank=self._rank, colour=self._colour)
            return self._logger

    def _put(self, line: str) -> None:
        with self._lock:
            if not self._write(line):
                self._lost += 1
                return
            lost, self._lost = self._lost, 0
        if lost:
            self._logger.warning("log.lost", lines=lost)


def _structlog() -> Any:
    """Imports structlog without rich, which it loads where that is installed: 30 ms, for tracebacks nobody prints."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = None  # type: ignore[assignment] # importing it is an ImportError then, as if it were not there
    try:
        import structlog  # noqa: PLC0415 - see above
    finally:
        if hidden:
            del sys.modules["rich"]
    return structlog


def _chain(sink: "_Sink", head: "_Head", *, rank: int, colour: bool | None) -> Any:
    """Returns a structlog logger; ``colour`` is None for JSON lines."""
    structlog = _structlog()
    if colour is None:
        # Letters stay as they are, in UTF-8; what is no printable character is escaped already.
        render: Any = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        from fetchd.observe.console import console_renderer  # noqa: PLC0415 - see above

        render = console_renderer(colour=colour)
    return structlog.wrap_logger(
        sink,
        processors=[head, render],
        wrapper_class=structlog.make_filtering_bound_logger(rank),
        cache_logger_on_first_use=True,
    )


def shown_fields(event: Event) -> dict[str, object]:
    """Returns an event's fields as they are logged: plain values in the fields' order, without those that are None."""
    shown: dict[str, object] = {}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, PollResult):
            shown.update(_counts(value))
        elif field.name == "trace":
            shown["trace"] = "\n".join(map(shown_text, value.splitlines()))
        elif value is not None:
            shown[field.name] = _plain(value)
    return shown


def _counts(result: PollResult) -> dict[str, object]:
    counts: dict[str, object] = {
        "new": result.delivered,
        "bytes": result.octets,
        "deleted": result.deleted,
        "skipped": sum(result.skipped.values()),
    }
    if result.skipped:
        counts["skip_reasons"] = _plain(result.skipped)
    if result.more:
        counts["more"] = True
    return counts


def _plain(value: object) -> object:
    """Returns a value of the types that both renderers know; floats are seconds, to the millisecond."""
    match value:
        case Enum():
            return _plain(value.value)
        case int() | float():  # a bool is an int, and stays what it is
            return round(value, 3) if isinstance(value, float) else value
        case bytes():
            return shown_unique_id(value)
        case tuple() | list():
            return [_plain(item) for item in value]
        case Mapping():
            return {shown_text(str(_plain(key))): _plain(item) for key, item in value.items()}
        case _:
            return shown_text(str(value))


class _Head:
    """A processor: puts timestamp, level and event first. UTC for machines, the local time of day for a human."""

    def __init__(self, clock: Clock, *, local: bool, stamped: bool) -> None:
        self._clock = clock
        self._local = local
        self._stamped = stamped

    def __call__(self, _logger: Any, method: str, event: Any) -> dict[str, Any]:
        if not self._stamped:
            return {"level": method, "event": event.pop("event"), **event}
        now = datetime.fromtimestamp(self._clock.wall(), tz=UTC)
        if self._local:
            stamp = f"{now.astimezone():%H:%M:%S}"
        else:
            stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"timestamp": stamp, "level": method, "event": event.pop("event"), **event}


class _Sink:
    """The end of the structlog chain: one method a level. They differ only for the journal."""

    def __init__(self, put: Callable[[str], None], *, journal: bool) -> None:
        def at(level: str) -> Callable[[str], None]:
            return (lambda line: put(for_journal(line, level))) if journal else put

        self.debug, self.info, self.warning, self.error = map(at, ("debug", "info", "warning", "error"))
