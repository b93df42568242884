"""What an earlier run left behind, and what a lost store can still be told (DESIGN §4, "Recovery").

Before the listing: what was committed is published, without a second download. After it: staged files that the store
knows nothing of are discarded or published, and an account that the store has never heard of is recognised by the
names of its messages in the target.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fetchd import events
from fetchd.intake import Intake, Tally
from fetchd.model import Account, Committed, Fate, MessageRef, UniqueId, parse_target, target_text
from fetchd.names import NO_UNIQUE_ID, parse_name, uid_digest
from fetchd.ports import Delivery, World


@dataclass(frozen=True, slots=True)
class Listing:
    """A maildrop as the server lists it; ``octets`` is STAT's claim."""

    refs: tuple[MessageRef, ...]
    messages: int
    octets: int
    has_unique_ids: bool


def publish_committed(account: Account, delivery: Delivery, *, world: World, tally: Tally) -> Sequence[str]:
    """Publishes what was committed and perhaps not published, and makes the target ready.

    A batch that was committed for another target, before the configuration changed, goes where it was going.

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
            there = world.open_delivery(replace(account, target=parse_target(target)))
        there.prepare(create=False)
        published += there.recover(batch, store.journal(account.name))
        store.settle(account.name, [committed.staged.name for committed in batch])
    if here not in waiting:
        delivery.prepare()
    if published:
        tally.delivered += published
        world.emit(events.Recovered(account.name, finished=published))
    return delivery.leftovers()


def settle_unknown(
    account: Account, names: Sequence[str], listing: Listing, *, world: World, delivery: Delivery, intake: Intake
) -> None:
    """Complete files that were never committed: the listing decides.

    Still listed: discard, it is fetched again. Not listed any more: ours may be the only copy, so publish it. It makes
    no unique-id known, for it may not have been proven whose message it is: if one comes back, it comes twice rather
    than never. A server without UIDL deletes nothing before QUIT, so there it is still listed.
    """
    if not names:
        return
    listed = {uid_digest(account.name, ref.uid or NO_UNIQUE_ID) for ref in listing.refs}
    orphans = [name for name in names if listing.has_unique_ids and _digest_of(name) not in listed]
    discarded = sorted(set(names) - set(orphans))
    delivery.discard(discarded)
    if orphans:
        target = target_text(account.target)
        intake.publish([Committed(None, delivery.adopt(name), target) for name in orphans])
    world.emit(events.Recovered(account.name, adopted=len(orphans), discarded=len(discarded)))


def meet(account: Account, listing: Listing, *, world: World, delivery: Delivery) -> None:
    """The store does not know this account: a first poll, or a lost store? The names in the target tell.

    Messages that are recognised are marked as delivered, so that a recreated container floods nobody (FACTS §3, 3).
    """
    names = Counter(_digest_of(name) for name in delivery.delivered())
    listed = [ref.uid for ref in listing.refs if ref.uid is not None]
    recognised = _recognised(account, listed, names)
    if recognised:
        world.store.mark(account.name, recognised, fate=Fate.DELIVERED, now=world.now())
    if names:
        missing = len(listing.refs) - len(recognised)
        world.emit(events.UnknownAccountHasMail(account.name, recognised=len(recognised), unrecognised=missing))
    elif listing.refs and account.policy.delete_after != 0:
        world.emit(events.FirstPollOf(account.name, messages=len(listing.refs)))


def _recognised(account: Account, uids: Sequence[UniqueId], delivered: Counter[str]) -> list[UniqueId]:
    """Returns as many occurrences of each unique-id as there are delivered copies with its digest, and no more."""
    left = Counter(delivered)
    recognised = []
    for uid in uids if delivered else ():
        digest = uid_digest(account.name, uid)
        if left[digest] > 0:
            left[digest] -= 1
            recognised.append(uid)
    return recognised


def _digest_of(name: str) -> str:
    parsed = parse_name(name)
    return "" if parsed is None else parsed.uid
