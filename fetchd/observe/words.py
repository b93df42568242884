"""How things stand, in plain words: for the status page and ``fetchd status``. Pure."""

from collections.abc import Sequence
from typing import Final

from fetchd.errors import Retry
from fetchd.model import Outcome
from fetchd.observe.status import AccountStatus, State
from fetchd.wording import counted

STATES: Final = {State.OK: "fetched", State.FAILING: "failing", State.HELD: "on hold", State.NEW: "not polled yet"}
"""A state in words."""

STARTING: Final = "fetchd is starting."
"""What there is to say before the accounts are known."""

FAILED: Final = "The last poll failed."
"""All that can be said where only the error is known."""

_NAMES: Final = 3
"""How many failing accounts the summary names."""

_CAUSES: Final = {
    Outcome.NETWORK: "The server cannot be reached, or the connection broke",
    Outcome.TLS: "There is no secure connection to the server",
    Outcome.PROTOCOL: "The server does not keep to POP3",
    Outcome.AUTH: "The server refuses the login",
    Outcome.BUSY: "The server wants us to come back later",
    Outcome.REFUSED: "The server refuses what it is asked for",
    Outcome.POLICY: "The server cannot do what the configuration asks for",
    Outcome.SECRET: "The password cannot be read",
    Outcome.DELIVERY: "The mail cannot be written to its target",
    Outcome.STORE: "The store of what was fetched cannot be used",
    Outcome.INTERNAL: "A bug in fetchd",
}

_WHAT_NEXT: Final = {
    Retry.SOON: "It is tried again soon, and a little later each time.",
    Retry.LATER: "It is tried again less and less often, since trying soon would do harm or no good.",
    Retry.HOLD: "On hold for a day, or until a reload (SIGHUP) once the cause is mended.",
}

_AUTH_HELD: Final = (
    "On hold for a day, lest the provider locks the account; a reload (SIGHUP) tries again once the password is right."
)

_UNITS: Final = ((86_400, "day"), (3600, "h"), (60, "min"))


def reason(outcome: str, retry: str, failures: int, *, hint: str = "") -> str:
    """Returns why an account fails and what fetchd does about it.

    Args:
        outcome: ``model.Outcome``; "" where that is not known any more.
        retry: ``errors.Retry``; "" where nothing was decided yet.
        failures: in a row; 0 where that is not known any more.
        hint: what it most likely means at this provider, as one sentence; "" where nothing is known.

    >>> reason("network", "soon", 3)
    'The server cannot be reached, or the connection broke, 3 times in a row. It is tried again soon, and a little later each time.'
    """  # noqa: E501 - a doctest's output is one line
    cause = _CAUSES[Outcome(outcome)] if outcome else FAILED.removesuffix(".")
    times = f", {failures:,} times in a row" if failures > 1 else ""
    held = retry == Retry.HOLD and outcome == Outcome.AUTH
    after = _AUTH_HELD if held else _WHAT_NEXT[Retry(retry)] if retry else "It is tried again."
    return " ".join(part for part in (f"{cause}{times}.", hint, after) if part)


def failed(hint: str) -> str:
    """Returns why an account fails as far as the error alone tells; ``hint`` as for :func:`reason`."""
    return f"{FAILED} {hint}".rstrip()


def summary(accounts: Sequence[AccountStatus]) -> str:
    """Returns one sentence on all accounts; those that fail come first in ``accounts``."""
    if not accounts:
        return "No accounts are configured."
    today = f"{counted(sum(one.delivered_today for one in accounts), 'message')} today"
    bad = [one for one in accounts if not one.is_well]
    new = sum(one.state is State.NEW for one in accounts)
    if bad:
        return f"{_of(len(bad), accounts)} {'fails' if len(bad) == 1 else 'fail'}: {_listed(bad)}; {today}."
    if new == len(accounts):
        return "The account is not polled yet." if new == 1 else f"None of {new:,} accounts is polled yet."
    if new:
        return f"{len(accounts) - new:,} of {len(accounts):,} accounts are fetched, the others not polled yet; {today}."
    if len(accounts) == 1:
        return f"The account is fetched; {today}."
    return f"{'Both' if len(accounts) == 2 else f'All {len(accounts):,}'} accounts are fetched; {today}."  # noqa: PLR2004


def _of(number: int, accounts: Sequence[AccountStatus]) -> str:
    return "The account" if len(accounts) == 1 else f"{number:,} of {len(accounts):,} accounts"


def _listed(bad: Sequence[AccountStatus]) -> str:
    names = [one.name for one in bad[:_NAMES]]
    if len(bad) > _NAMES:
        names[-1] = f"{names[-1]} and {len(bad) - _NAMES:,} more"
    return ", ".join(names)


def span(seconds: float) -> str:
    """Returns a length of time in its largest unit.

    >>> span(42), span(180), span(7300), span(90000), span(200000)
    ('42 s', '3 min', '2 h', '1 day', '2 days')
    """
    for length, unit in _UNITS:
        number = int(seconds // length)
        if number:
            return counted(number, unit) if unit == "day" else f"{number} {unit}"
    return f"{int(max(seconds, 0))} s"


def ago(when: float | None, now: float) -> str:
    """Returns how long ago something was; ``never`` where it was not.

    >>> ago(100.0, 280.0), ago(None, 280.0), ago(280.4, 280.0)
    ('3 min ago', 'never', 'just now')
    """
    if when is None:
        return "never"
    return "just now" if now - when < 1 else f"{span(now - when)} ago"


def next_poll(account: AccountStatus, now: float) -> str:
    """Returns when an account is polled next."""
    if account.polling:
        return "polling now"
    if account.next_poll is None:
        return "–"
    return f"in {span(account.next_poll - now)}" if account.next_poll - now >= 1 else "due now"
