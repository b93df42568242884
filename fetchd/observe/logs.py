"""Events as log lines: for humans on a terminal and in the systemd journal, JSON lines elsewhere.

A line for humans is structlog's work. That is slow to load (20 ms; where rich is installed it loads that too), so it is
loaded for the first such line; a line of JSON does without.

Every line has ``timestamp``, ``level`` and ``event`` (the event's name, a fixed vocabulary), then ``account`` where it
concerns one, then the event's fields in their order.

In the journal each line has its level's priority (``journalctl -p warning``), whichever the format. A human's line goes
without the time there, which the journal has itself.
"""

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from fetchd.events import Event
from fetchd.model import LogSettings, PollResult
from fetchd.observe.escape import shown_text, shown_unique_id
from fetchd.observe.lines import WriteLine, for_journal
from fetchd.observe.repeats import WEIGHED, Repeats
from fetchd.ports import Clock

if TYPE_CHECKING:
    from fetchd.observe.console import RenderLine

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
        self._head = _Head(clock, local=console, stamped=not (console and journal))
        self._journal = journal
        self._load = partial(_console, colour=colour) if console else _json
        self._render: RenderLine | None = None

    def __call__(self, event: Event) -> None:
        """Logs an event, or not. Never raises for anything that the stream does."""
        if type(event) in self._ignored:
            return
        level, extra = self._weighing(event)
        if RANKS.get(level, 0) < self._rank:
            if not isinstance(event, WEIGHED):
                self._ignored.add(type(event))
        else:
            self._put(level, {"event": event.name, **shown_fields(event), **extra})

    def _put(self, level: str, fields: dict[str, object]) -> None:
        line = (self._render or self._loaded())(self._head(level) | fields)
        with self._lock:
            if not self._write(for_journal(line, level) if self._journal else line):
                self._lost += 1
                return
            lost, self._lost = self._lost, 0
        if lost and self._rank <= RANKS["warning"]:
            self._put("warning", {"event": "log.lost", "lines": lost})

    def _loaded(self) -> "RenderLine":
        """Returns what makes a line of its fields; that is made once."""
        with self._loading:
            if self._render is None:
                self._render = self._load()
            return self._render


def _json() -> "RenderLine":
    """Letters stay as they are, in UTF-8; what is no printable character is escaped already."""
    from json import JSONEncoder  # noqa: PLC0415 - for the first line

    return JSONEncoder(ensure_ascii=False).encode


def _console(*, colour: bool) -> "RenderLine":
    """Loads structlog without rich, which it imports where that is installed: 30 ms, for tracebacks nobody prints."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = None  # type: ignore[assignment] # importing it is an ImportError then, as if it were not there
    try:
        from fetchd.observe.console import console_renderer  # noqa: PLC0415 - see above
    finally:
        if hidden:
            del sys.modules["rich"]
    return console_renderer(colour=colour)


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
    """What stands first in a line. UTC for machines, the local time of day for a human."""

    def __init__(self, clock: Clock, *, local: bool, stamped: bool) -> None:
        self._clock = clock
        self._local = local
        self._stamped = stamped

    def __call__(self, level: str) -> dict[str, object]:
        if not self._stamped:
            return {"level": level}
        now = datetime.fromtimestamp(self._clock.wall(), tz=UTC)
        if self._local:
            stamp = f"{now.astimezone():%H:%M:%S}"
        else:
            stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"timestamp": stamp, "level": level}
