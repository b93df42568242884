"""How every account stands at one moment: what the board tells, the page shows, and ``/status`` answers. Pure.

The keys of the JSON are a contract with whoever reads it (docs/status-page.md): keys may come, none goes or changes.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from fetchd.values import value

HOURS: Final = 24
"""How many hours back an account's chart goes."""


class State(StrEnum):
    """How an account stands; whether it is being polled at the moment is told beside it."""

    OK = "ok"
    FAILING = "failing"
    HELD = "held"
    """It failed, and is left alone until a human acts, or a day has passed."""
    NEW = "new"
    """It was never polled to an end."""


class Source(StrEnum):
    """Who tells how things stand."""

    DAEMON = "daemon"
    STORE = "store"
    """The store alone: nobody knows when the next poll is."""


@value
class AccountStatus:
    """How one account stands. Times are Unix seconds, None where there was none or it is not known.

    Attributes:
        polling: whether a session is in hand.
        next_poll: a time that is past means that it waits for a free session.
        failing_since: the first failure since the last success.
        failures: polls that failed in a row, as far as fetchd has counted since it started.
        outcome: why the last poll failed, as in the metrics; "" where it did not, or that is not known any more.
        error: the last poll's error message; "" where it ended well.
        reason: why, and what fetchd does about it, in plain words; "" where all is well.
        delivered_today: messages since midnight, by the clock on this machine's wall.
        delivered: messages ever, as the store counts them.
        octets: of the messages delivered since fetchd started.
        hours: messages delivered in each of the last 24 hours, the one that runs last.
    """

    name: str
    state: State
    polling: bool
    last_success: float | None
    last_failure: float | None
    failing_since: float | None
    next_poll: float | None
    failures: int
    outcome: str
    error: str
    reason: str
    delivered_today: int
    delivered: int
    octets: int
    hours: tuple[int, ...]

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.state in {State.OK, State.NEW}


@value
class Status:
    """How everything stands.

    Attributes:
        version: of fetchd.
        now: Unix seconds: the moment.
        started: when the daemon started, Unix seconds; None where it is the store that tells.
        summary: one sentence on all accounts.
        accounts: those that fail first, then by name.
    """

    version: str
    source: Source
    now: float
    started: float | None
    summary: str
    accounts: tuple[AccountStatus, ...]

    @property
    def is_well(self) -> bool:
        """Whether no account fails."""
        return all(account.is_well for account in self.accounts)


def in_order(accounts: Iterable[AccountStatus]) -> tuple[AccountStatus, ...]:
    """Returns accounts as they are shown: those on hold and those that fail first, then by name."""
    return tuple(sorted(accounts, key=lambda one: (one.is_well, one.state is not State.HELD, one.name.casefold())))


def to_json(status: Status) -> bytes:
    """Returns what ``/status`` answers; whole seconds, letters of every script in UTF-8."""
    states = Counter(account.state for account in status.accounts)
    document = {
        "version": status.version,
        "source": status.source,
        "now": round(status.now),
        "started": _seconds(status.started),
        "well": status.is_well,
        "summary": status.summary,
        "counts": {
            "accounts": len(status.accounts),
            **{state.value: states[state] for state in State},
            "polling": sum(account.polling for account in status.accounts),
            "delivered_today": sum(account.delivered_today for account in status.accounts),
            "delivered": sum(account.delivered for account in status.accounts),
            "octets": sum(account.octets for account in status.accounts),
        },
        "accounts": [_account(account) for account in status.accounts],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def from_json(octets: bytes) -> Status:
    """Returns what :func:`to_json` wrote, perhaps of a newer fetchd: keys that we do not know are passed over.

    Raises:
        ValueError: this is no such document.
    """
    try:
        document = json.loads(octets)
        return Status(
            version=str(document["version"]),
            source=Source(document["source"]),
            now=float(document["now"]),
            started=_optional(document["started"]),
            summary=str(document["summary"]),
            accounts=tuple(map(_read_account, document["accounts"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the status of a fetchd: {type(error).__name__}") from error


def _account(account: AccountStatus) -> dict[str, object]:
    return {
        "name": account.name,
        "state": account.state,
        "polling": account.polling,
        "last_success": _seconds(account.last_success),
        "last_failure": _seconds(account.last_failure),
        "failing_since": _seconds(account.failing_since),
        "next_poll": _seconds(account.next_poll),
        "failures": account.failures,
        "outcome": account.outcome,
        "error": account.error,
        "reason": account.reason,
        "delivered_today": account.delivered_today,
        "delivered": account.delivered,
        "octets": account.octets,
        "hours": account.hours,
    }


def _read_account(entry: Mapping[str, Any]) -> AccountStatus:
    return AccountStatus(
        name=str(entry["name"]),
        state=State(entry["state"]),
        polling=bool(entry["polling"]),
        last_success=_optional(entry["last_success"]),
        last_failure=_optional(entry["last_failure"]),
        failing_since=_optional(entry["failing_since"]),
        next_poll=_optional(entry["next_poll"]),
        failures=int(entry["failures"]),
        outcome=str(entry["outcome"]),
        error=str(entry["error"]),
        reason=str(entry["reason"]),
        delivered_today=int(entry["delivered_today"]),
        delivered=int(entry["delivered"]),
        octets=int(entry["octets"]),
        hours=_hours(entry["hours"]),
    )


def _hours(counts: Sequence[Any]) -> tuple[int, ...]:
    return tuple(map(int, counts))


def _seconds(when: float | None) -> int | None:
    return None if when is None else round(when)


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)
