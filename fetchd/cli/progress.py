"""Progress bars of ``fetchd --once`` on a terminal: one for each account in hand, one line for each that is done."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.table import Column
from rich.text import Text

from fetchd import events
from fetchd.cli.summary import human_size
from fetchd.model import PollResult
from fetchd.observe.escape import shown_text
from fetchd.wording import counted

_NAME_WIDTH: Final = 30
_PAUSE: Final = 0.1
"""Seconds between two moves of a bar by octets alone."""
_BROKEN: Final = (OSError, ValueError, SystemExit)
"""What writing to a terminal raises that went away, was closed, or lacks a letter; ``SystemExit`` is rich's own way."""


class Terminal(Console):
    """A rich console that falls silent when nobody reads it any more."""

    def on_broken_pipe(self) -> None:
        """Replaces rich's answer, which points standard output at nothing and leaves the process."""
        self.quiet = True


@dataclass(slots=True)
class _InHand:
    """An account whose poll runs: its bar, and how far it is. ``due`` is when octets may move the bar again."""

    task: TaskID
    messages: int = 0
    delivered: int = 0
    octets: int = 0
    due: float = 0.0

    @property
    def count(self) -> str:
        return f"{self.delivered:,}/{self.messages:,}"


class _FittingBars(Bars):
    """Bars that never outgrow the terminal: rich would cut off the end in silence."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yields the oldest bars that fit, and how many there are beyond."""
        tasks = self.tasks
        room = max(1, self.console.height - 2) if tasks else 0  # rich's constructor asks before it has a console
        yield self.make_tasks_table(tasks[:room])
        if len(tasks) > room:
            yield Text(f"… and {counted(len(tasks) - room, 'more account')} in hand")


class Progress:
    """Renders events as progress bars. A context manager; safe for many threads.

    Neither account names nor anything from a server is read as markup, and control characters are escaped. A terminal
    that goes away costs the bars, not the poll.
    """

    def __init__(self, console: Console | None = None) -> None:
        """Draws nothing before :meth:`start`.

        Args:
            console: the terminal, best a :class:`Terminal`; by default one on standard error. While
                the bars are up, log lines for it go through :meth:`write_line`.
        """
        self._console = console or Terminal(stderr=True)
        self._bars = _FittingBars(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", max_width=_NAME_WIDTH),
            ),
            BarColumn(),
            TextColumn("{task.fields[count]}", markup=False, justify="right"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._lock = threading.Lock()
        self._in_hand: dict[str, _InHand] = {}
        self._ok, self._bad = ("ok", "FAILED") if self._console.options.ascii_only else ("✓", "✗")
        self._on: dict[type[events.Event], Callable[[Any], None]] = {
            events.PollStarted: self._started,
            events.Planned: self._planned,
            events.Received: self._received,
            events.MessageDelivered: self._delivered,
            events.PollDone: self._done,
            events.PollFailed: self._failed,
            events.InternalError: self._broke,
        }

    def start(self) -> None:
        """Puts up the bars."""
        self._guarded(self._bars.start)

    def stop(self) -> None:
        """Takes down the bars; the lines of finished accounts stay."""
        self._guarded(self._bars.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __call__(self, event: events.Event) -> None:
        """Shows an event; those that move no bar return at once."""
        show = self._on.get(type(event))
        if show is not None:
            with self._lock:
                self._guarded(lambda: show(event))

    def write_line(self, line: str) -> bool:
        """Prints a log line, with its colours, above the bars; returns False where the terminal is gone.

        The line is trusted: who made it has escaped what is not its own.
        """
        drawn = self._guarded(lambda: self._console.print(Text.from_ansi(line), soft_wrap=True, highlight=False))
        return drawn and not self._console.quiet

    @staticmethod
    def _guarded(draw: Callable[[], object]) -> bool:
        try:
            draw()
        except _BROKEN:
            return False
        return True

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _started(self, event: events.PollStarted) -> None:
        self._drop(event.account)
        task = self._bars.add_task(shown_text(event.account), total=None, count="")
        self._in_hand[event.account] = _InHand(task)

    def _planned(self, event: events.Planned) -> None:
        """Gives the bar its length: what LIST claims, which is a hint; without any claim the bar just moves."""
        if (bar := self._in_hand.get(event.account)) is not None:
            bar.messages = event.fetch
            self._bars.update(bar.task, total=event.fetch_octets or None, count=bar.count)

    def _received(self, event: events.Received) -> None:
        if (bar := self._in_hand.get(event.account)) is not None:
            bar.octets += event.octets
            now = self._bars.get_time()
            if now >= bar.due:  # chunks come by the thousand, eyes do not
                bar.due = now + _PAUSE
                self._bars.update(bar.task, completed=bar.octets)

    def _delivered(self, event: events.MessageDelivered) -> None:
        if (bar := self._in_hand.get(event.account)) is not None:
            bar.delivered += 1
            self._bars.update(bar.task, completed=bar.octets, count=bar.count)

    def _done(self, event: events.PollDone) -> None:
        self._finish(event.account, self._ok, "green", f"{_news(event.result)} in {_duration(event.took)}")

    def _failed(self, event: events.PollFailed) -> None:
        before = f" ({_news(event.result)} before that)" if event.result.delivered else ""
        hint = f": {event.hint}" if event.hint else ""
        self._finish(event.account, self._bad, "red", event.error + before + hint)

    def _broke(self, event: events.InternalError) -> None:
        self._finish(event.account, self._bad, "red", f"a bug in fetchd: {event.error}")

    def _finish(self, account: str, sign: str, style: str, text: str) -> None:
        self._drop(account)
        self._bars.refresh()  # else printing would draw the bar once more, below its own epitaph
        line = Text.assemble((sign, style), " ", (shown_text(account), "bold"), "  ", shown_text(text))
        self._console.print(line, soft_wrap=True, highlight=False)

    def _drop(self, account: str) -> None:
        bar = self._in_hand.pop(account, None)
        if bar is not None:
            self._bars.remove_task(bar.task)


def _news(result: PollResult) -> str:
    parts = [f"{result.delivered:,} new, {human_size(result.octets)}" if result.delivered else "nothing new"]
    if result.deleted:
        parts.append(f"{result.deleted:,} deleted")
    if result.skipped:
        parts.append(f"{sum(result.skipped.values()):,} skipped")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
