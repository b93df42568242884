"""What an earlier run left behind, and what a lost store can still be told (DESIGN §4, "Recovery").

Before the listing: what was committed is published, without a second download. After it: staged files that the store
knows nothing of are discarded or published, and an account that the store has never heard of is recognised by the
names of its messages in the target.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from typing import Final

from fetchd import events
from fetchd.errors import UniqueIdsChangedError
from fetchd.intake import Intake, Tally
from fetchd.model import (
    Account,
    Committed,
    Fate,
    FirstPoll,
    LastCommit,
    MessageRef,
    UniqueIdsChanged,
    parse_target,
    target_text,
)
from fetchd.names import NO_UNIQUE_ID, MessageName, parse_name, uid_digest
from fetchd.ports import Delivery, Survey, World

_SOME: Final = 4096
"""Unique-ids of a listing that are in hand at a time."""
FLOOD: Final = 20
"""As many messages that were probably delivered before are not fetched again without somebody having said so."""


class Listing:
    """A maildrop as the server lists it.

    UIDL decides which messages there are: one that arrived between two commands waits for the next poll. Where the
    server has no UIDL, LIST does.

    Attributes:
        messages: how many there are, as STAT claims.
        octets: STAT's claim, too.
        has_unique_ids: whether the server has UIDL.
        is_complete: whether it lists as many as it claims to have.
    """

    def __init__(self, found: Survey) -> None:
        self._uids = found.uids
        self._sizes = found.sizes
        self.messages = found.messages
        self.octets = found.octets
        self.has_unique_ids = found.uids is not None
        self.count = len(found.sizes if found.uids is None else found.uids)
        self.is_complete = self.count >= found.messages

    @cached_property
    def refs(self) -> tuple[MessageRef, ...]:
        """Each message, in the order of message numbers: 100 octets and a microsecond for each."""
        if self._uids is None:
            return tuple(MessageRef(number, None, size) for number, size in sorted(self._sizes.items()))
        sizes = dict(self._sizes.items())  # of many, a compact mapping was made, which is slow to ask for each
        return tuple(MessageRef(number, uid, sizes.get(number)) for number, uid in sorted(self._uids.items()))

    def digest(self) -> bytes:
        """Returns what ``AllKnown.listing`` is: the same for the same unique-ids in the same order.

        No unique-id holds a line feed, so that where one ends and the next begins is certain. Of a million of them, not
        all become objects at a time.
        """
        digest = blake2b(digest_size=16)
        uids = iter((self._uids or {}).values())
        while some := [*islice(uids, _SOME)]:
            digest.update(b"\n".join(some))
            digest.update(b"\n")
        return digest.digest()


def publish_committed(account: Account, delivery: Delivery, *, world: World, tally: Tally) -> Sequence[str]:
    """Publishes what was committed and perhaps not published, and makes the target ready.

    A batch that was committed for another target, before the configuration changed, goes where it was going. A target
    that mail was delivered into before has to be there: only a new one is created.

    Returns:
        The names of complete files in the target's staging that the store knows nothing of.
    """
    store = world.store
    waiting: dict[str, list[Committed]] = {}
    for committed in store.outbox(account.name):
        waiting.setdefault(committed.target, []).append(committed)
    here = target_text(account.target)
    published = 0
    for target, batch in waiting.items():
        there = delivery
        if target != here:
            former = parse_target(target, owner=account.target.owner)
            there = world.open_delivery(replace(account, target=former))
        there.prepare(create=False)
        published += there.recover(batch, store.journal(account.name))
        store.settle(account.name, [committed.staged.name for committed in batch])
    if here not in waiting:
        delivery.prepare(create=not store.delivered_into(here), waiting=False)
    if published:
        tally.delivered += published
        world.emit(events.Recovered(account.name, finished=published))
    return delivery.leftovers()


def settle_unknown(
    account: Account, names: Sequence[str], listing: Listing, *, world: World, delivery: Delivery, intake: Intake
) -> None:
    """Complete files that are not in the outbox: the listing decides, and what the store knows of the unique-id.

    ==========================================  ========================================================================
    what a complete listing shows               then
    ==========================================  ========================================================================
    more with this unique-id than the store     never committed, and fetched again: discarded
    knows
    none                                        never committed, and ours may be the only copy: published
    no more than the store knows, so that       it was published, and the file system took that back though it had said
    nothing is fetched again                    that it was on disk. Where publishing moves the file it is the only
                                                copy: published again. An mbox has its own: discarded
    ==========================================  ========================================================================

    What is published makes no unique-id known, for it may not have been proven whose message it is: if one comes back,
    it comes twice rather than never. A listing that is not complete does not tell what is not there, so then all waits
    but what is certain to be fetched again. A server without UIDL deletes nothing before QUIT, so what was staged from
    one is still there, whether or not it has UIDL by now.
    """
    if not names:
        return
    listed = Counter(uid_digest(account.name, ref.uid) for ref in listing.refs if ref.uid is not None)
    known = {uid_digest(account.name, uid): entry.copies for uid, entry in world.store.seen(account.name).items()}
    nameless = uid_digest(account.name, NO_UNIQUE_ID)
    orphans: list[str] = []
    discarded: list[str] = []
    for name in names:
        digest = _digest_of(name)
        if not listing.has_unique_ids or digest == nameless or listed[digest] > known.get(digest, 0):
            discarded.append(name)
        elif listing.is_complete:
            (orphans if delivery.publishes_by_moving or not listed[digest] else discarded).append(name)
    delivery.discard(discarded)
    if orphans:
        target = target_text(account.target)
        intake.publish([Committed(None, delivery.adopt(name), target) for name in orphans])
    if orphans or discarded:
        world.emit(events.Recovered(account.name, adopted=len(orphans), discarded=len(discarded)))


def meet(account: Account, listing: Listing, *, world: World, delivery: Delivery) -> bool:
    """Compares the store with the target, once it was opened: was it lost, or an older one put back?

    What the store does not know, the names of messages in the target may tell. Messages that are recognised are
    marked, so that a recreated container floods nobody (FACTS §3, 3). That a name is there proves no more than that a
    message with this unique-id was delivered once: it makes nothing ours to delete.

    Returns:
        Whether the account is known, so that this is not a first poll.

    Raises:
        UniqueIdsChangedError: see :func:`_meet_again`.
    """
    store, name = world.store, account.name
    if not store.knows(name):
        names = Counter(_digest_of(file) for file in delivery.delivered())
        if names:
            _meet_again(account, listing, names, world=world)
        elif listing.refs and account.policy.delete_after != 0:
            first = events.FirstPollAmidMail if delivery.has_mail() else events.FirstPollOf
            world.emit(first(name, len(listing.refs)))
        return bool(names)
    if not store.is_listed_since_opened(name):
        last = store.last_commit(name)
        known_until = min(last.newest, last.latest)
        found = [one for file in delivery.delivered(since=known_until - 1) if (one := parse_name(file)) is not None]
        if _is_older(last, found, now=world.now()):
            recognised = _recognised(account, listing.refs, Counter(one.uid for one in found))
            unknown = {ref.uid for ref in recognised} - store.seen(name).keys()
            store.doubt(name)
            _mark(account, recognised, Fate.UNPROVEN, world=world)
            world.emit(events.StoreIsOlder(name, recognised=sum(ref.uid in unknown for ref in recognised)))
    return True


def _meet_again(account: Account, listing: Listing, names: Counter[str], *, world: World) -> None:
    """The store was lost. Marks what is recognised, and where the policy says so, what is probably delivered, too.

    Mail comes in the order of the listing. So what is listed before the last message that is recognised was delivered,
    most likely, and deleted or given another name since, as IMAP servers do when it is moved to another folder. All of
    it again, if there is much, is what nobody wants, so somebody has to say.

    Raises:
        UniqueIdsChangedError: that is much, and ``unique_ids_changed`` says stop. Nothing is marked.
    """
    policy = account.policy
    recognised = _recognised(account, listing.refs, names)
    numbers = {ref.number for ref in recognised}
    last = recognised[-1].number if recognised else len(listing.refs)
    others = [ref for ref in listing.refs if ref.number not in numbers and ref.uid is not None]
    doubtful = [ref for ref in others if ref.number <= last] if policy.delete_after != 0 else []
    skip = FirstPoll.SKIP is policy.first_poll or UniqueIdsChanged.SKIP is policy.unique_ids_changed
    if len(doubtful) >= FLOOD and not skip and policy.unique_ids_changed is UniqueIdsChanged.STOP:
        raise UniqueIdsChangedError(
            f"the store does not know this account, but mail was delivered for it before: has the state directory been "
            f"lost? {len(recognised)} of the {len(listing.refs)} messages listed are recognised in the target; "
            f"{len(doubtful)} older ones are not: were they moved or deleted there? Nothing was fetched. Set "
            "`unique_ids_changed: skip` for this account to mark these as seen, or `fetch` to fetch them again, and "
            "reload"
        )
    marked = doubtful if skip else []
    _mark(account, marked, Fate.SKIPPED, world=world)
    _mark(account, recognised, Fate.UNPROVEN, world=world)
    world.emit(
        events.UnknownAccountHasMail(
            account.name,
            recognised=len(recognised),
            unrecognised=len(others) - len(marked),
            marked=len(marked),
        )
    )


def _is_older(last: LastCommit, found: Sequence[MessageName], *, now: int) -> bool:
    """Returns whether messages are there that the store knows nothing of.

    Of the newest second that it knows it may know some names and not others: a backup may be made between two batches.
    While the clock is behind what it was when it was ahead, names from then are ahead of the clock, and what is older
    than the clock, and newer than the last batch, is from after the store.
    """
    seconds = [name.seconds for name in found]
    if any(one > last.newest for one in seconds) or seconds.count(last.newest) > last.messages:
        return True
    return now < last.newest and any(last.latest < one <= now for one in seconds)


def _mark(account: Account, refs: Sequence[MessageRef], fate: Fate, *, world: World) -> None:
    uids = [ref.uid for ref in refs if ref.uid is not None]
    world.store.mark(account.name, uids, fate=fate, now=world.now())


def _recognised(account: Account, refs: Sequence[MessageRef], delivered: Counter[str]) -> list[MessageRef]:
    """Returns as many messages with each unique-id as there are delivered copies with its digest, and no more."""
    left = Counter(delivered)
    recognised = []
    for ref in refs:
        digest = uid_digest(account.name, ref.uid) if ref.uid is not None else ""
        if left[digest] > 0:
            left[digest] -= 1
            recognised.append(ref)
    return recognised


def _digest_of(name: str) -> str:
    parsed = parse_name(name)
    return "" if parsed is None else parsed.uid
