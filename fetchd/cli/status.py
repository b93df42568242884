"""``fetchd status``: how every account stands, as the running daemon tells, or else as its store does."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from fetchd import __version__
from fetchd.config import find_config, load
from fetchd.control import ControlError, ask_for_status, places
from fetchd.errors import UsageError
from fetchd.model import Settings
from fetchd.observe import words
from fetchd.observe.ask import ask
from fetchd.observe.board import stored_status
from fetchd.observe.escape import shown_text
from fetchd.observe.reach import shown_address
from fetchd.observe.status import AccountStatus, Source, State, Status, from_json, to_json
from fetchd.sessions import SystemClock
from fetchd.store.reader import is_missing
from fetchd.store.sqlite import SqliteStore
from fetchd.values import value
from fetchd.wording import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

_CHART: Final = 90_000
"""Seconds that are asked of the store: more than the longest day."""
_EVERY: Final = 2.0
"""Seconds between two looks of ``--watch``."""
_ROOM: Final = 6
"""Lines of the terminal that the table's rows have to leave."""
_STYLES: Final = {State.OK: "green", State.FAILING: "bold red", State.HELD: "bold yellow", State.NEW: "dim"}
_HEADS: Final = ("Account", "State", "Last success", "Next poll", "Today", "Ever")
_NUMBERS: Final = ("Today", "Ever")


@click.command(short_help="Show how every account stands.")
@click.option("--json", "as_json", is_flag=True, help="Print what the daemon's /status answers.")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@click.pass_obj
def status(config: Path | None, as_json: bool, watch: bool) -> int:
    """Show how every account stands, with the daemon running or not.

    The exit code is 1 where an account fails.
    """
    settings = load(find_config(config, os.environ), environ=os.environ)
    if watch:
        if as_json or not sys.stdout.isatty():
            raise UsageError("--watch needs a terminal, and does not go with --json")
        _watch(settings)
        return 0
    now = _look(settings)
    if as_json:
        click.echo(to_json(now))
    elif sys.stdout.isatty():
        from fetchd.cli.progress import Terminal  # noqa: PLC0415 - on a terminal only: rich is heavy

        Terminal().print(_picture(now, settings))
    else:
        click.echo("\n".join(_plain(now, settings)))
    return 0 if now.is_well else 1


def _look(settings: Settings) -> Status:
    """Returns what the daemon tells, or else the store; before the first poll, that all accounts are new.

    Raises:
        StoreError: the store cannot be read.
    """
    told = _asked(settings) or (ask(settings.http) if settings.http else None)
    if told is not None:
        return told
    clock = SystemClock()
    if is_missing(settings.state):
        return stored_status(settings.accounts, records=(), delivered={}, version=__version__, clock=clock)
    with SqliteStore.open_readonly(settings.state) as store:
        return stored_status(
            settings.accounts,
            records=store.accounts(),
            delivered=store.delivered_since(int(clock.wall()) - _CHART),
            version=__version__,
            clock=clock,
        )


def _asked(settings: Settings) -> Status | None:
    """Returns what the daemon tells at its control socket; None where it does not, whatever the reason."""
    try:
        where = places(os.environ, settings.state, settings.source)
        return from_json(ask_for_status(where, source=settings.source))
    except (ControlError, ValueError):
        return None


def _watch(settings: Settings) -> None:
    from rich.live import Live  # noqa: PLC0415 - on a terminal only: rich is heavy

    from fetchd.cli.progress import Terminal  # noqa: PLC0415 - likewise

    console = Terminal()

    def picture() -> "RenderableType":
        return _picture(_look(settings), settings, room=console.height - _ROOM)

    try:
        with Live(picture(), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(_EVERY)
                live.update(picture(), refresh=True)
    except KeyboardInterrupt:
        pass


@value
class _Line:
    """One account in words, as :data:`_HEADS` names them, and what is wrong with it."""

    cells: tuple[str, ...]
    state: State
    trouble: str


def _lines(now: Status) -> list[_Line]:
    return [_Line(_cells(account, now.now), account.state, _trouble(account)) for account in now.accounts]


def _cells(account: AccountStatus, now: float) -> tuple[str, ...]:
    return (
        shown_text(account.name),
        words.STATES[account.state],
        words.ago(account.last_success, now),
        words.next_poll(account, now),
        f"{account.delivered_today:,}",
        f"{account.delivered:,}",
    )


def _trouble(account: AccountStatus) -> str:
    return shown_text(f"{account.reason} ({account.error})") if account.reason else ""


def _note(now: Status, settings: Settings) -> str:
    """Returns why it is the store that tells; "" where the daemon does."""
    if now.source is Source.DAEMON:
        return ""
    if is_missing(settings.state):
        return f"Nothing was polled yet: there is no store at {shown_text(str(settings.state))}."
    if settings.http is None:
        return "As the store has it: no fetchd that would tell us runs with this configuration."
    return f"As the store has it: no fetchd answers at {shown_address(settings.http)}."


def _plain(now: Status, settings: Settings) -> Iterator[str]:
    """Yields the lines for a pipe: one an account, with what is wrong at its end."""
    lines = _lines(now)
    yield shown_text(now.summary)
    if note := _note(now, settings):
        yield note
    if not lines:
        return
    yield ""
    heads = tuple(head.upper() for head in _HEADS)
    widths = [max(map(len, column)) for column in zip(heads, *(line.cells for line in lines), strict=True)]
    yield _aligned(heads, widths).rstrip()
    for line in lines:
        yield f"{_aligned(line.cells, widths)}  {line.trouble}".rstrip()


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(
        cell.rjust(width) if head in _NUMBERS else cell.ljust(width)
        for head, cell, width in zip(_HEADS, cells, widths, strict=True)
    )


def _picture(now: Status, settings: Settings, *, room: int | None = None) -> "RenderableType":
    """Returns the table for a terminal, and below it what is wrong.

    Args:
        now: how things stand.
        settings: for the note on who tells.
        room: the most lines there are; None for as many as it takes.
    """
    from rich.console import Group  # noqa: PLC0415 - on a terminal only: rich is heavy
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    lines = _lines(now)
    if room is not None:
        troubled = sum(bool(line.trouble) for line in lines)
        lines = lines[: max(3, room - min(2 * troubled, room // 2))]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for head in _HEADS:
        table.add_column(
            head, justify="right" if head in _NUMBERS else "left", overflow="fold", no_wrap=head != "Account"
        )
    for line in lines:
        name, state, *others = line.cells
        table.add_row(Text(name, style="bold"), Text(state, style=_STYLES[line.state]), *map(Text, others))
    parts: list[RenderableType] = [
        Text(shown_text(now.summary), style="bold green" if now.is_well else "bold red"),
        Text(_note(now, settings), style="dim"),
        table,
    ]
    if len(lines) < len(now.accounts):
        parts.append(Text(f"… and {counted(len(now.accounts) - len(lines), 'account')} more", style="dim"))
    parts.extend(Text.assemble("\n", (line.cells[0], "bold"), ": ", line.trouble) for line in lines if line.trouble)
    return Group(*parts)
