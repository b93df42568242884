"""How ``fetchd check --connect`` shows trials: a table on a terminal, a line an account in a pipe, or JSON."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from fetchd.cli.summary import human_size
from fetchd.errors import printable
from fetchd.model import UNIX_PREFIX, Account, Capabilities, TlsMode
from fetchd.observe.escape import shown_text
from fetchd.trial import CERTIFICATE_SECONDS, Outlook, State, Trial
from fetchd.wording import counted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_DAY: Final = 86_400
_TOLD: Final = ("UIDL", "PIPELINING", "LOGIN-DELAY", "EXPIRE")
"""The capabilities that change what fetchd does, or can do."""
_HEADS: Final = ("Account", "Server", "TLS", "Certificate", "Login", "Capabilities", "Waiting", "The next poll")
_NONE: Final = "–"
_WIDEST: Final = 10_000
"""Columns, for a table to say how many it would like."""
_STYLES: Final = {State.OK: "green", State.BUSY: "yellow", State.FAILED: "bold red"}
_WORDS: Final = {State.OK: "", State.BUSY: "busy", State.FAILED: "failed"}


def summary(trials: Sequence[Trial], wanted: int) -> str:
    """Returns how it went in one line; ``wanted`` is how many accounts were to be tried."""
    counts = {state: sum(trial.state is state for trial in trials) for state in State}
    parts = [f"{counts[State.OK]:,} well"] if counts[State.OK] else []
    parts += [f"{counts[state]:,} {_WORDS[state]}" for state in (State.BUSY, State.FAILED) if counts[state]]
    if wanted > len(trials):
        parts.append(f"{wanted - len(trials):,} not finished")
    return f"{counted(wanted, 'account')}: {', '.join(parts)}"


def plain(trials: Iterable[Trial], *, now: float) -> Iterator[str]:
    """Yields the lines for a pipe: one an account, then what there is to say of each."""
    rows = [(trial, _cells(trial, now)) for trial in trials]
    heads = tuple(head.upper() for head in _HEADS)
    widths = [max(map(len, column)) for column in zip(heads, *(cells for _, cells in rows), strict=True)]
    for cells in (heads, *(cells for _, cells in rows)):
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
    for trial, cells in rows:
        yield from (f"{cells[0]}: {text}" for text in _notes(trial))


def picture(trials: Iterable[Trial], *, now: float, console: "Console") -> "RenderableType":
    """Returns a table for a terminal, and below it what there is to say of each account.

    Where the table is wider than the terminal, each account is a block of lines instead: no name or number is broken.
    """
    from rich.console import Group  # noqa: PLC0415 - on a terminal only: rich is heavy
    from rich.text import Text  # noqa: PLC0415 - likewise

    rows = [(trial, _cells(trial, now)) for trial in trials]
    table = _table(rows, now)
    if console.measure(table, options=console.options.update(width=_WIDEST)).maximum > console.width:
        blocks = [_block(trial, cells, now) for trial, cells in rows]
        return Group(*blocks[:1], *(part for block in blocks[1:] for part in ("", block)))
    below = [Text.assemble("\n", (cells[0], "bold"), f": {text}") for trial, cells in rows for text in _notes(trial)]
    return Group(table, *below)


def _table(rows: Iterable[tuple[Trial, tuple[str, ...]]], now: float) -> "Table":
    from rich.table import Table  # noqa: PLC0415 - see picture
    from rich.text import Text  # noqa: PLC0415 - likewise

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for head in ("Account", "Server", "TLS", "Login", "Waiting", "The next poll"):
        table.add_column(head, no_wrap=True)
    for trial, cells in rows:
        name, server, tls, certificate, login, capabilities, waiting, outlook = cells
        secured = Text(tls if trial.channel is None or not trial.channel.tls else trial.channel.tls)
        if trial.channel is not None and trial.channel.tls:
            secured.append(f"\n{trial.channel.cipher}", style="dim")
            secured.append(f"\ncertificate: {certificate}", style="yellow" if _runs_out(trial, now) else "dim")
        table.add_row(
            Text(name, style="bold"),
            Text.assemble(server, (f"\n{capabilities}" if capabilities != _NONE else "", "dim")),
            secured,
            Text(login),
            Text(waiting),
            Text(outlook, style=_STYLES[trial.state]),
        )
    return table


def _block(trial: Trial, cells: tuple[str, ...], now: float) -> "RenderableType":
    """Returns one account, each thing on a line of its own; what is not known is left out."""
    from rich.console import Group  # noqa: PLC0415 - see picture
    from rich.padding import Padding  # noqa: PLC0415 - likewise
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    name, *known = cells
    styles = {"Certificate": "yellow" if _runs_out(trial, now) else "", "The next poll": _STYLES[trial.state]}
    state = _WORDS[trial.state]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for head, cell in zip(_HEADS[1:], known, strict=True):
        if cell not in {_NONE, state}:
            grid.add_row(head, Text(cell, style=styles.get(head, "")))
    heading = Text.assemble((name, "bold"), (f"  {state}" if state else "", _STYLES[trial.state]))
    lines = [Padding(Text(text), (0, 0, 0, 2)) for text in _notes(trial)]
    return Group(heading, Padding(grid, (0, 0, 0, 2)), *lines)


def as_json(trials: Iterable[Trial], *, wanted: Sequence[str], warnings: Sequence[str], now: float) -> str:
    """Returns all of it as a JSON document. Keys may come; none goes or changes its meaning."""
    entries = [_entry(trial, now) for trial in trials]
    ended = {entry["name"] for entry in entries}
    document = {
        "well": all(entry["state"] != State.FAILED for entry in entries) and len(ended) == len(wanted),
        "now": round(now),
        "warnings": list(warnings),
        "unfinished": [name for name in wanted if name not in ended],
        "accounts": entries,
    }
    return json.dumps(document, ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace").decode()


def _entry(trial: Trial, now: float) -> dict[str, object]:
    account, channel, outlook = trial.account, trial.channel, trial.outlook
    expires = channel.certificate_expires if channel else None
    return {
        "name": account.name,
        "host": account.host,
        "port": account.port,
        "state": trial.state,
        "tls": channel.tls if channel else None,
        "cipher": channel.cipher if channel else None,
        "certificate_expires": None if expires is None else round(expires),
        "certificate_days": None if expires is None else int((expires - now) // _DAY),
        "mechanism": channel.mechanism if channel else None,
        "capabilities": _all(trial.capabilities),
        "messages": outlook.messages if outlook else None,
        "octets": outlook.octets if outlook else None,
        "next_poll": None
        if outlook is None
        else {
            "is_first": outlook.is_first,
            "fetch": outlook.fetch,
            "fetch_octets": outlook.fetch_octets,
            "delete": outlook.delete,
            "mark_as_seen": outlook.mark,
            "skip": {reason.value: number for reason, number in outlook.skip.items()},
        },
        "remarks": list(trial.remarks),
        "outcome": trial.outcome,
        "error": trial.error,
        "hint": trial.hint,
    }


def _all(capabilities: Capabilities | None) -> dict[str, str] | None:
    if capabilities is None:
        return None
    return {printable(name): printable(" ".join(values)) for name, values in sorted(capabilities.items.items())}


def _cells(trial: Trial, now: float) -> tuple[str, ...]:
    """Returns what stands in the columns of :data:`_HEADS`."""
    channel, outlook = trial.channel, trial.outlook
    return (
        shown_text(trial.account.name),
        shown_text(_server(trial.account)),
        _NONE if channel is None else f"{channel.tls} {channel.cipher}" if channel.tls else "none",
        _certificate(trial, now),
        _NONE if channel is None else channel.mechanism,
        _told(trial.capabilities),
        _NONE if outlook is None else _messages(outlook.messages, outlook.octets),
        _WORDS[trial.state] if outlook is None else _next(outlook),
    )


def _server(account: Account) -> str:
    return account.host if account.host.startswith(UNIX_PREFIX) else f"{account.host}:{account.port}"


def _certificate(trial: Trial, now: float) -> str:
    if trial.channel is None or not trial.channel.tls:
        return _NONE
    expires = trial.channel.certificate_expires
    if expires is None:
        return "pinned" if trial.account.tls.fingerprint and trial.account.tls.mode is not TlsMode.NONE else "unknown"
    return counted(int((expires - now) // _DAY), "day")


def _runs_out(trial: Trial, now: float) -> bool:
    expires = trial.channel.certificate_expires if trial.channel else None
    return expires is not None and expires - now < CERTIFICATE_SECONDS


def _told(capabilities: Capabilities | None) -> str:
    if capabilities is None:
        return _NONE
    known = [name for name in _TOLD if name in capabilities]
    return printable(" ".join(" ".join((name, *capabilities.parameters(name))) for name in known)) or _NONE


def _messages(number: int, octets: int) -> str:
    return f"{counted(number, 'message')}, {human_size(octets)}" if number else "nothing"


def _next(outlook: Outlook) -> str:
    parts = []
    if outlook.fetch:
        parts.append(f"fetches {outlook.fetch:,} ({human_size(outlook.fetch_octets)})")
    if outlook.delete:
        parts.append(f"deletes {outlook.delete:,}")
    if outlook.mark:
        parts.append(f"marks {outlook.mark:,} as seen")
    left = sum(outlook.skip.values()) - outlook.mark
    if left > 0:
        parts.append(f"skips {left:,}")
    return ", ".join(parts) or "nothing to do"


def _notes(trial: Trial) -> Iterator[str]:
    """Yields what there is to say of an account, each a sentence."""
    if trial.error:
        busy = "not tried to the end, and nothing is wrong with it: " if trial.state is State.BUSY else ""
        yield shown_text(f"{busy}{trial.error}")
    if trial.hint:
        yield trial.hint
    yield from (shown_text(remark) for remark in trial.remarks)
