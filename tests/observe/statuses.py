"""Statuses for tests, with every field that a test does not care about."""

from dataclasses import replace
from typing import Any

from fetchd.observe import words
from fetchd.observe.status import HOURS, AccountStatus, Source, State, Status, in_order

NOW = 1_795_521_600.0  # 2026-11-24 12:00 UTC

_WELL = AccountStatus(
    name="",
    state=State.OK,
    polling=False,
    last_success=NOW - 180,
    last_failure=None,
    failing_since=None,
    next_poll=NOW + 120,
    failures=0,
    outcome="",
    error="",
    reason="",
    delivered_today=0,
    delivered=0,
    octets=0,
    hours=(0,) * HOURS,
)


def make_status_of(name: str = "alice", **changes: Any) -> AccountStatus:
    return replace(_WELL, name=name, **changes)


def make_status(*accounts: AccountStatus, **changes: Any) -> Status:
    shown = in_order(accounts)
    status = Status("1.2.3", Source.DAEMON, NOW, NOW - 86_400, words.summary(shown), shown)
    return replace(status, **changes)


def failing(name: str, **changes: Any) -> AccountStatus:
    fault: dict[str, Any] = {
        "state": State.FAILING,
        "outcome": "network",
        "error": "no route to host",
        "reason": words.reason("network", "soon", 2),
        "failures": 2,
        "failing_since": NOW - 600,
        "last_failure": NOW - 60,
    }
    return make_status_of(name, **(fault | changes))
