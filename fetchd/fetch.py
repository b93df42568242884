"""THE use case: one account, one session, straight-line code.

::

    recover → log in → list → plan → fetch (intake.py: stage, flush, commit, publish) → DELE → QUIT → confirm

What goes wrong ends this poll with an ``AccountError`` and leaves a state that the next poll's recovery settles.
Nothing is deleted before it is published, and only QUIT's +OK makes a deletion true.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from fetchd import events
from fetchd.errors import (
    AccountError,
    AuthenticationError,
    NetworkError,
    POP3Error,
    ProtocolError,
    StoreError,
    printable,
)
from fetchd.intake import Intake, Tally
from fetchd.model import (
    Account,
    AllKnown,
    Deletion,
    Fate,
    MessageRef,
    Plan,
    PollResult,
    SecretOAuth,
    SkipReason,
    UniqueId,
)
from fetchd.plan import all_known, known_once_fetched, make_plan, nothing_to_do
from fetchd.ports import Connect, Maildrop, Secrets, StopSignal, World
from fetchd.recovery import Listing, meet, publish_committed, settle_unknown

_SHOWN: Final = 40
"""The most capabilities that are told of, and the most letters of each: no server fills a log."""
_LARGEST: Final = 2**63 - 1
"""Octets: a size beyond is no size, and more than a store can hold (FAULTS 29)."""
_PORTION: Final = 64
"""Messages: as many are retrieved until a server is known to prove that it is in step, and at a time if it does not."""
_SECONDS: Final = re.compile(r"([0-9]{1,6})(?: USER)?", re.ASCII)


def poll_account(account: Account, stop: StopSignal, *, world: World) -> PollResult:
    """Polls one account once, and says how it went: to the store, as events, and to the caller.

    Raises:
        AccountError: with ``account`` set; what was delivered before it stays delivered.
    """
    tally = Tally(account.name)
    began = world.clock.monotonic()
    world.emit(events.PollStarted(account.name))
    try:
        _poll(account, stop, world=world, tally=tally)
        world.store.poll_ended(account.name, tally.result(), error="", now=world.now())
    except AccountError as error:
        error.account = account.name
        with suppress(StoreError):
            world.store.poll_ended(account.name, tally.result(), error=str(error), now=world.now())
        took = world.clock.monotonic() - began
        world.emit(
            events.PollFailed(
                account.name,
                error.outcome,
                str(error),
                error.retry.value,
                tally.result(),
                took,
                _hint(account, error),
            )
        )
        raise
    result = tally.result()
    world.emit(events.PollDone(account.name, result, world.clock.monotonic() - began))
    return result


def _hint(account: Account, error: AccountError) -> str | None:
    try:
        from fetchd.hints import hint  # noqa: PLC0415 - the table of providers, for a poll that failed
    except (OSError, ImportError):  # no descriptor left for a module either; or an upgrade has just replaced the files
        return None
    return hint(account.host, error) or None


def _poll(account: Account, stop: StopSignal, *, world: World, tally: Tally) -> None:
    delivery = world.open_delivery(account)
    unknown = publish_committed(account, delivery, world=world, tally=tally)
    with log_in(account, connect=world.connect, secrets=world.secrets) as maildrop:
        listing = read_listing(maildrop, remembers=lambda: bool(world.store.seen(account.name)))
        _say_logged_in(account, maildrop, world=world)  # what it can do, it says on the same trip
        tally.maildrop_messages, tally.maildrop_octets = listing.messages, listing.octets
        tally.login_delay = _login_delay(maildrop)
        intake = Intake(account, stop, world=world, delivery=delivery, tally=tally)
        known = meet(account, listing, world=world, delivery=delivery)  # before anything is published in this session
        settle_unknown(account, unknown, listing, world=world, delivery=delivery, intake=intake)
        plan, then_known = _plan(account, listing, world=world, known=known)
        _say_planned(account, listing, plan, world=world, tally=tally)
        if plan.fetch or plan.delete:
            delivery.ready()
        for refs in _portions(plan.fetch, maildrop, intake):
            intake.fetch(maildrop, refs)
        intake.settle(then_known if len(intake.delivered) == len(plan.fetch) else None)
        intake.say_what_differed()
        tally.more = tally.delivered > 0 and SkipReason.OVER_LIMIT in tally.skipped
        deletable = intake.delivered if account.policy.delete_after == 0 else []
        marked = _mark_for_deletion(account, maildrop, [*plan.delete, *deletable], world=world)
        _quit(account, maildrop, marked, world=world, tally=tally)


def log_in(account: Account, *, connect: Connect, secrets: Secrets) -> Maildrop:
    """Returns a session that is logged in.

    A server that refuses an access token does not say whether it has run out, was revoked or is wrong: it is renewed
    once, and tried once more in a new session.

    Raises:
        AccountError: it cannot be logged in.
    """
    source = account.password
    secret = secrets.reveal(source)
    try:
        return connect(account, secret)
    except AuthenticationError:
        renewed = secrets.renew(source, secret) if isinstance(source, SecretOAuth) else None
        if renewed is None:
            raise
    return connect(account, renewed)


def read_listing(maildrop: Maildrop, *, remembers: Callable[[], bool]) -> Listing:
    """Lists the maildrop. ``remembers`` tells whether the store has unique-ids of this account; asked where it matters.

    Raises:
        POP3Error: the server refuses to list; or refuses a UIDL that it says it has, or that it had before.
    """
    found = maildrop.survey()
    refusal = found.no_uidl
    if (
        found.uids is None
        and refusal is not None
        and (refusal.reply.code or "UIDL" in maildrop.capabilities() or remembers())
    ):
        raise refusal
    return Listing(found)


def _plan(account: Account, listing: Listing, *, world: World, known: bool) -> tuple[Plan, AllKnown | None]:
    """Makes the plan, and records what it says about unique-ids before anything is fetched.

    Returns:
        The plan; and what the store may remember of the listing once all that the plan fetches was delivered.
    """
    store, name = world.store, account.name
    digest = listing.digest()
    comparable = listing.has_unique_ids and listing.is_complete
    if known and comparable and nothing_to_do(store.all_known(name), digest, account.policy, now=world.now()):
        _say_younger(account, store.listed(name, vanished=(), returned=(), now=world.now()), world=world)
        return Plan(), None
    seen = store.seen(name)
    plan = make_plan(
        listing.refs,
        seen,
        policy=account.policy,
        known=known,
        now=world.now(),
        troubled=store.troubled(name),
        deletions=store.deletions(name),
        complete=listing.is_complete,
    )
    if plan.mark:
        # The store takes the count of a unique-id for the whole of it: every listed occurrence, known ones too.
        marked = {ref.uid for ref in plan.mark}
        uids = [ref.uid for ref in listing.refs if ref.uid is not None and ref.uid in marked]
        store.mark(name, uids, fate=Fate.SKIPPED, now=world.now())
    younger = store.listed(
        name,
        vanished=plan.vanished,
        returned=plan.returned,
        now=world.now(),
        forgotten=plan.forgotten,
        settled=plan.settled,
        known=all_known(digest, seen, plan) if comparable else None,
    )
    _say_younger(account, younger, world=world)
    return plan, known_once_fetched(digest, seen, plan, now=world.now()) if comparable and not younger else None


def _portions(refs: Sequence[MessageRef], maildrop: Maildrop, intake: Intake) -> Iterator[Sequence[MessageRef]]:
    """Divides what is to be fetched into what may be in flight at a time; each portion is delivered before the next.

    ``EXPIRE 0`` (RFC 2449 §6.7) says that the server may delete a message as soon as it was retrieved: then each one is
    published before the next is asked for.

    A server that will not prove itself underway is asked at the end of each portion. So it gets small ones, or a
    session that cannot carry all the mail would never deliver any. Whether it does, the first portion tells.
    """
    if maildrop.capabilities().parameters("EXPIRE")[:1] == ("0",):
        yield from ([ref] for ref in refs)
        return
    size, start = _PORTION, 0
    while start < len(refs):
        yield refs[start : start + size]
        start += size
        size = len(refs) if intake.proves else _PORTION


def _login_delay(maildrop: Maildrop) -> int:
    """Returns the seconds that have to pass between two logins (RFC 2449 §6.5)."""
    stated = _SECONDS.fullmatch(" ".join(maildrop.capabilities().parameters("LOGIN-DELAY")))
    return int(stated[1]) if stated else 0


def _mark_for_deletion(
    account: Account, maildrop: Maildrop, refs: Sequence[MessageRef], *, world: World
) -> list[MessageRef]:
    """DELEs what is published and committed; returns what the server accepted."""
    by_number = {ref.number: ref for ref in refs}
    answers = list(maildrop.delete_each([*by_number]))
    refused = [answer.refused for answer in answers if answer.refused is not None]
    if refused:
        world.emit(events.DeletionRefused(account.name, len(refused), str(refused[0])))
    return [by_number[answer.number] for answer in answers if answer.refused is None]


def _quit(account: Account, maildrop: Maildrop, marked: Sequence[MessageRef], *, world: World, tally: Tally) -> None:
    """QUIT commits the deletions (RFC 1939 §6). Whatever its answer, the next UIDL settles what became of them.

    Where there are none, nobody waits for the answer, unless the next session is to begin at once: by then the server
    has let go of the maildrop.

    What was asked for is recorded first: an answer that is lost, or a kill, must not make a unique-id that the server
    gives to another message afterwards look like the one that was delivered.
    """
    if not (marked or tally.more):
        maildrop.leave()
        return
    world.store.deleting(account.name, _asked_for(marked))
    try:
        maildrop.quit()
    except (NetworkError, ProtocolError, POP3Error) as error:
        if marked:
            world.emit(events.DeletionUnconfirmed(account.name, len(marked), str(error)))
        return
    if marked:
        tally.deleted = len(marked)
        world.emit(events.MessagesDeleted(account.name, len(marked)))


def _asked_for(marked: Sequence[MessageRef]) -> dict[UniqueId, Deletion]:
    """Counts by unique-id; the size is told only where all copies have one, as identical copies have (RFC 1939 §7)."""
    sizes: dict[UniqueId, list[int | None]] = {}
    for ref in marked:
        if ref.uid is not None:
            credible = ref.size is not None and ref.size <= _LARGEST
            sizes.setdefault(ref.uid, []).append(ref.size if credible else None)
    return {uid: Deletion(len(found), found[0] if len({*found}) == 1 else None) for uid, found in sizes.items()}


def _say_younger(account: Account, unique_ids: int, *, world: World) -> None:
    if unique_ids:
        world.emit(events.ClockWasAhead(account.name, unique_ids))


def _say_logged_in(account: Account, maildrop: Maildrop, *, world: World) -> None:
    capabilities = maildrop.capabilities()
    world.emit(
        events.LoggedIn(
            account.name,
            host=account.host,
            port=account.port,
            tls=maildrop.tls_version,
            mechanism=maildrop.mechanism,
            implementation=printable(" ".join(capabilities.parameters("IMPLEMENTATION"))),
            capabilities=tuple(name[:_SHOWN] for name in sorted(capabilities.items)[:_SHOWN]),
        )
    )


def _say_planned(account: Account, listing: Listing, plan: Plan, *, world: World, tally: Tally) -> None:
    for skip in plan.skip:
        tally.skipped[skip.reason] += 1
        if skip.reason is SkipReason.TOO_LARGE:
            world.emit(events.TooLarge(account.name, skip.ref.uid, skip.reason, skip.ref.size))
    withheld = tally.skipped[SkipReason.UNPROVEN]
    if withheld:
        world.emit(events.DeletionWithheld(account.name, None, SkipReason.UNPROVEN, count=withheld))
    world.emit(
        events.Planned(
            account.name,
            messages=listing.messages,
            octets=listing.octets,
            fetch=len(plan.fetch),
            fetch_octets=sum(ref.size or 0 for ref in plan.fetch),
            delete=len(plan.delete),
            skip=len(plan.skip),
        )
    )
