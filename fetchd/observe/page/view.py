"""What the status page shows, in the words and numbers that the template puts in place. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from fetchd.observe import words
from fetchd.observe.status import HOURS, AccountStatus, Status
from fetchd.values import value
from fetchd.wording import counted

PAGE: Final = 100
"""Accounts on one page: more are neither read nor drawn in a moment."""
FILTER_FROM: Final = 20
"""With more accounts than these there is a box to filter them by."""

_BAR: Final = 4
_HEIGHT: Final = 24
CHART_WIDTH: Final = HOURS * _BAR - 1


@value
class Moment:
    """A time: for machines, for a human with a calendar, and as it is said."""

    machine: str
    exact: str
    said: str


@value
class Row:
    """One account as it is shown.

    Attributes:
        state: the state's own name, for the style; ``state_text`` in words.
        bars: an SVG path: a bar an hour; "" where no message came.
        chart: the same in words.
        since: since when it fails, in words; "" where that is not known.
    """

    name: str
    state: str
    state_text: str
    polling: bool
    last_success: Moment | None
    next_poll: Moment | None
    next_text: str
    today: str
    ever: str
    bars: str
    chart: str
    reason: str
    error: str
    since: str


@value
class View:
    """The page.

    Attributes:
        found: how many accounts the filter left.
        previous, following: the queries of the pages before and after; "" where there is none.
    """

    title: str
    summary: str
    is_well: bool
    version: str
    now: Moment
    started: Moment | None
    rows: tuple[Row, ...]
    total: int
    found: int
    wanted: str
    page: int
    pages: int
    previous: str
    following: str
    has_filter: bool
    chart_width: int = CHART_WIDTH
    chart_height: int = _HEIGHT


def make_view(status: Status, *, wanted: str = "", page: str = "") -> View:
    """Returns what to show.

    Args:
        status: how everything stands.
        wanted: a part of the names, or a state, of the accounts to show; "" for all.
        page: the number of the page; what is none means the first.
    """
    wanted = wanted.strip()
    found = [account for account in status.accounts if _is_wanted(account, wanted.casefold())]
    pages = max(1, -(-len(found) // PAGE))
    number = min(max(1, int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1), pages)  # noqa: PLR2004
    shown = found[(number - 1) * PAGE : number * PAGE]
    failing = sum(not account.is_well for account in status.accounts)
    return View(
        title=f"{failing:,} failing – fetchd" if failing else "fetchd: all is well",
        summary=status.summary,
        is_well=not failing,
        version=status.version,
        now=_moment(status.now, ""),
        started=None if status.started is None else _moment(status.started, words.span(status.now - status.started)),
        rows=tuple(_row(account, status.now) for account in shown),
        total=len(status.accounts),
        found=len(found),
        wanted=wanted,
        page=number,
        pages=pages,
        previous=_query(wanted, number - 1) if number > 1 else "",
        following=_query(wanted, number + 1) if number < pages else "",
        has_filter=len(status.accounts) > FILTER_FROM or bool(wanted),
    )


def _is_wanted(account: AccountStatus, wanted: str) -> bool:
    return wanted in account.name.casefold() or wanted in words.STATES[account.state]


def _query(wanted: str, page: int) -> str:
    return urlencode(({"q": wanted} if wanted else {}) | {"page": page})


def _row(account: AccountStatus, now: float) -> Row:
    last, following = account.last_success, None if account.polling else account.next_poll
    return Row(
        name=account.name,
        state=account.state.value,
        state_text=words.STATES[account.state],
        polling=account.polling,
        last_success=None if last is None else _moment(last, words.ago(last, now)),
        next_poll=None if following is None else _moment(following, words.next_poll(account, now)),
        next_text=words.next_poll(account, now),
        today=f"{account.delivered_today:,}",
        ever=f"{account.delivered:,}",
        bars="".join(_bars(account.hours)),
        chart=_chart_text(account.hours),
        reason=account.reason,
        error=account.error,
        since="" if account.failing_since is None else words.span(now - account.failing_since),
    )


def _bars(hours: Sequence[int]) -> Iterator[str]:
    """Yields a bar for each hour with mail; the busiest is as high as the chart, and one message can be seen."""
    most = max(hours, default=0)
    for place, number in enumerate(hours):
        if number:
            height = max(2, round(number / most * _HEIGHT))
            yield f"M{place * _BAR} {_HEIGHT}v-{height}h{_BAR - 1}v{height}z"


def _chart_text(hours: Sequence[int]) -> str:
    total, most = sum(hours), max(hours, default=0)
    if not total:
        return "No message in the last 24 hours"
    busiest = f", at most {most:,} in one hour" if most < total else ", all in one hour" if total > 1 else ""
    return f"{counted(total, 'message')} in the last 24 hours{busiest}"


def _moment(when: float, said: str) -> Moment:
    try:
        there = datetime.fromtimestamp(when, tz=UTC).astimezone()
    except (OverflowError, ValueError, OSError):  # a store that was written by a clock gone mad
        return Moment("", "", said)
    return Moment(there.isoformat(timespec="seconds"), f"{there:%Y-%m-%d %H:%M:%S %Z}", said)
