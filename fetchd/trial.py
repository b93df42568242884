"""A trial of accounts: log in, look, plan the first poll, leave. Nothing is fetched, deleted, or written down.

Each account gets one session, so that a server with a LOGIN-DELAY (RFC 2449 §6.5), or one that takes one session at a
time, has nothing to complain of; where the store knows that the server wants no login yet, there is none. What is
needed to log in happens as in a poll: an access token that has run out is renewed and kept, and one that the server
refuses costs a second session.
"""

import math
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from enum import StrEnum
from typing import Final

from fetchd.config.checks import is_loopback
from fetchd.crew import Crew
from fetchd.errors import (
    AccountError,
    LoginDelayError,
    MailboxBusyError,
    NetworkError,
    POP3Error,
    ProtocolError,
    UsageError,
    printable,
)
from fetchd.fetch import log_in, read_listing
from fetchd.hints import hint
from fetchd.inbox import Finished, Inbox, Signal
from fetchd.model import Account, Capabilities, Outcome, PollResult, Remembered, Settings, SkipReason
from fetchd.plan import make_plan
from fetchd.ports import Clock, Connect, Maildrop, Secrets
from fetchd.recovery import Listing
from fetchd.schedule import Schedule, Slot
from fetchd.values import value

CERTIFICATE_SECONDS: Final = 14 * 86_400
"""A certificate that runs out sooner is worth a warning: whoever renews it by itself does so well before."""

_NO_UIDL: Final = "the server has no UIDL: this works with leave_on_server: false alone"


class State(StrEnum):
    """How a trial ended."""

    OK = "ok"
    BUSY = "busy"
    """The server wants us to come later: nothing is wrong with the account."""
    FAILED = "failed"


@value
class Channel:
    """What the login was made over.

    Attributes:
        tls: for example ``TLSv1.3``; "" on a plain line.
        cipher: as OpenSSL names it; "" on a plain line.
        certificate_expires: Unix seconds; None on a plain line, and for a certificate that is pinned.
        mechanism: for example ``SCRAM-SHA-256`` or ``USER``.
    """

    tls: str
    cipher: str
    certificate_expires: float | None
    mechanism: str


@value
class Outlook:
    """What is waiting, and what the next poll would do with it.

    Attributes:
        messages, octets: in the maildrop, as the server claims.
        is_first: whether it would be the first poll of this account.
        fetch, delete, mark: messages that it would fetch, delete on the server, and mark as seen without fetching.
        fetch_octets: of the messages to be fetched, as the server claims.
        skip: messages that it would leave alone, by reason.
    """

    messages: int
    octets: int
    is_first: bool
    fetch: int = 0
    fetch_octets: int = 0
    delete: int = 0
    mark: int = 0
    skip: Mapping[SkipReason, int] = field(default_factory=dict)


@value
class Trial:
    """What came of the trial of one account.

    Attributes:
        channel: None where there was no login.
        capabilities: what CAPA said after the login; None where nobody asked.
        outlook: None where the maildrop was not listed, or no plan can be made for it.
        remarks: what works and will hurt, each a sentence without a full stop.
        outcome: why it failed or is busy; None where it is well.
        error: the same in words; "" where it is well.
        hint: what that most likely means at this provider; "" where nothing is known.
    """

    account: Account
    state: State = State.OK
    channel: Channel | None = None
    capabilities: Capabilities | None = None
    outlook: Outlook | None = None
    remarks: tuple[str, ...] = ()
    outcome: Outcome | None = None
    error: str = ""
    hint: str = ""


Recall = Callable[[Account], Remembered]
"""Returns what the store has of an account. Raises ``StoreError``."""


@value
class Means:
    """What a trial works with; ``app.py`` fills it."""

    connect: Connect
    secrets: Secrets
    recall: Recall
    clock: Clock


def try_accounts(
    settings: Settings, names: Sequence[str], *, means: Means, inbox: Inbox, tell: Callable[[Trial], object]
) -> tuple[Trial, ...]:
    """Tries every account, or the named ones, side by side, as the configuration bounds that.

    Args:
        settings: the configuration.
        names: of accounts; empty for all.
        means: see there.
        inbox: any signal in it ends this at once; a session that is dropped so has changed nothing.
        tell: is given each trial as it ends.

    Returns:
        The trials that came to an end, in the order of the configuration.

    Raises:
        UsageError: no account has one of these names.
        FetchdError: no worker can be started.
    """
    unknown = [name for name in names if name not in settings.accounts]
    if unknown:
        raise UsageError(f"no account {printable(unknown[0])!r}; there are: {', '.join(sorted(settings.accounts))}")
    wanted = {name: account for name, account in settings.accounts.items() if name in names or not names}
    ended: dict[str, Trial] = {}

    def work(account: Account) -> Finished:
        ended[account.name] = _without_fail(account, means)
        return Finished(account.name, PollResult(account.name))

    crew = Crew(size=settings.workers, work=work, post=inbox.put)
    schedule = Schedule(sessions_per_host=settings.sessions_per_host, chance=lambda: 0.5)
    schedule.replace([Slot(one.name, one.host.lower(), one.interval) for one in wanted.values()], now=0.0)
    while len(schedule):
        while crew.has_room and (name := schedule.take(now=0.0)) is not None:
            crew.give(wanted[name])
        match inbox.get(None):
            case Finished(account=name):
                crew.returned()
                schedule.finished(name, now=0.0)
                schedule.forget(name)
                tell(ended[name])
            case Signal(number=number) if number != signal.SIGUSR1:
                break
    return tuple(ended[name] for name in wanted if name in ended)


def _without_fail(account: Account, means: Means) -> Trial:
    """Runs in a worker; a bug ends this trial, not the others."""
    try:
        return try_account(account, means)
    except Exception as error:  # noqa: BLE001 - see above
        text = f"a bug in fetchd: {printable(repr(error))}"
        return Trial(account, State.FAILED, outcome=Outcome.INTERNAL, error=text)


def try_account(account: Account, means: Means) -> Trial:
    """Logs in, lists the maildrop, leaves, and returns what there is to tell of it; whatever fails is told, too."""
    trial = Trial(account)
    try:
        remembered = means.recall(account)
        wait = remembered.not_before - means.clock.wall()
        if wait > 0:
            minutes = math.ceil(wait / 60)
            text = f"the server wants no login for another {minutes} min (LOGIN-DELAY): it was left alone"
            return replace(trial, state=State.BUSY, outcome=Outcome.BUSY, error=text)
        with log_in(account, connect=means.connect, secrets=means.secrets) as maildrop:
            trial = replace(trial, channel=_channel(maildrop))
            listing = read_listing(maildrop, remembers=lambda: bool(remembered.seen))
            capabilities = maildrop.capabilities()
            with suppress(NetworkError, ProtocolError, POP3Error):  # nothing is marked: there is nothing to confirm
                maildrop.quit()
        trial = replace(trial, capabilities=capabilities)
        trial = replace(trial, remarks=tuple(_remarks(trial, listing, now=means.clock.wall())))
        return replace(trial, outlook=_outlook(account, listing, remembered, now=int(means.clock.wall())))
    except (MailboxBusyError, LoginDelayError) as error:
        return _failed(trial, error, State.BUSY)
    except AccountError as error:
        return _failed(trial, error, State.FAILED)


def _failed(trial: Trial, error: AccountError, state: State) -> Trial:
    advice = hint(trial.account.host, error)
    return replace(trial, state=state, outcome=error.outcome, error=str(error), hint=advice)


def _channel(maildrop: Maildrop) -> Channel:
    return Channel(maildrop.tls_version, maildrop.tls_cipher, maildrop.certificate_expires, maildrop.mechanism)


def _outlook(account: Account, listing: Listing, remembered: Remembered, *, now: int) -> Outlook:
    """Returns what the next poll would do, as :mod:`fetchd.plan` has it.

    Raises:
        AccountError: it would stop, and say so.
    """
    plan = make_plan(
        listing.refs,
        remembered.seen,
        policy=account.policy,
        known=remembered.known,
        now=now,
        troubled=remembered.troubled,
        deletions=remembered.deletions,
        complete=listing.is_complete,
    )
    # What is fetched is deleted by the same poll, where that is the policy.
    at_once = len(plan.fetch) if account.policy.delete_after == 0 else 0
    return Outlook(
        listing.messages,
        listing.octets,
        is_first=not remembered.known,
        fetch=len(plan.fetch),
        fetch_octets=sum(ref.size or 0 for ref in plan.fetch),
        delete=len(plan.delete) + at_once,
        mark=len(plan.mark),
        skip=Counter(skip.reason for skip in plan.skip),
    )


def _remarks(trial: Trial, listing: Listing, *, now: float) -> list[str]:
    remarks = []
    expires = trial.channel.certificate_expires if trial.channel else None
    if expires is not None and expires - now < CERTIFICATE_SECONDS:
        days = int((expires - now) // 86_400)
        remarks.append(f"the server's certificate runs out {f'in {days} days' if days > 1 else 'within two days'}")
    if trial.channel is not None and not trial.channel.tls and not is_loopback(trial.account.host):
        remarks.append("the line is not encrypted: whoever is on the way reads the mail")
    delay = (trial.capabilities or Capabilities()).parameters("LOGIN-DELAY")[:1]
    if delay and delay[0].isascii() and delay[0].isdigit() and int(delay[0][:9]) > trial.account.interval:
        wanted = int(delay[0][:9])
        remarks.append(
            f"the server lets nobody in more often than every {wanted} s (LOGIN-DELAY), and interval is "
            f"{trial.account.interval:.0f} s: fetchd waits for it"
        )
    if not listing.is_complete:
        remarks.append(f"the server lists {listing.count:,} of the {listing.messages:,} messages that it has")
    if not listing.has_unique_ids:
        remarks.append(_NO_UIDL)
    return remarks
