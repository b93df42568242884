"""The plan of one poll: listing × seen × policy × now → what to fetch, delete, mark and leave alone, and why.

Pure and total: the same arguments give the same plan. The key is the unique-id, never the message number, and
unique-ids are counted: RFC 1939 §7 lets a server give identical copies the same unique-id, so of *n* listed
occurrences the first ``Seen.copies`` are known and the rest are new.

A unique-id may name another message once the one that had it is gone (RFC 1939 §7). So what a unique-id says of a
message holds while it is listed without a gap:

=============================================  ================================================================
DELE was asked for (:class:`Deletion`), and…   then
=============================================  ================================================================
a complete listing does not show it            forgotten: what comes under it later is another message, a new one
it is still there, the size is the same        the server did not delete it: DELE again
it is still there, the size is another         forgotten, and new: it is another message
=============================================  ================================================================

A listing that is not complete shows nothing to be gone. Of it only the last row holds, and a deletion is settled where
all that is remembered under its unique-id is shown.

One that vanished without us and comes back is most often the same message (a window of the server's, a restored
backup): known, so not fetched. But that is no proof, so it is never DELEd: ``Fate.UNPROVEN``.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from fetchd.errors import PolicyError, ProtocolError, UniqueIdsChangedError
from fetchd.model import (
    AllKnown,
    Deletion,
    Fate,
    FirstPoll,
    MessageRef,
    Plan,
    Policy,
    Seen,
    Skip,
    SkipReason,
    UniqueId,
    UniqueIdsChanged,
)
from fetchd.values import value

GUARD_MINIMUM: Final = 5
"""Fewer messages than this, listed or remembered, never raise the alarm that all unique-ids changed."""

TRIED_ANYWAY: Final = 86_400
"""Seconds without a session that a troubled message broke, after which one is tried though there is other work."""

WITHOUT_UNIQUE_IDS: Final = 64
"""The most messages of one session where the server has no UIDL: they are delivered together, right before QUIT."""


_INCOMPLETE: Final = (
    "the mail that is there is to be marked as seen, but the server has more messages than the {listed} that it lists, "
    "and later those would count as new. Nothing was fetched; the next poll tries again. Should the server never list "
    "them all, set `first_poll: all` and `unique_ids_changed: fetch` for this account, which fetches them"
)


def make_plan(
    listing: Sequence[MessageRef],
    seen: Mapping[UniqueId, Seen],
    *,
    policy: Policy,
    known: bool,
    now: int,
    troubled: Mapping[UniqueId, int] = MappingProxyType({}),
    deletions: Mapping[UniqueId, Deletion] = MappingProxyType({}),
    complete: bool = True,
) -> Plan:
    """Returns what this poll does.

    Args:
        listing: the maildrop, in the order of message numbers; either every ``uid`` is None (no UIDL) or none is.
        seen: what the store remembers of the account.
        policy: the account's.
        known: whether a poll of this account ever got as far as a listing.
        now: Unix seconds.
        troubled: unique-ids that broke a session while they were retrieved, and when (Unix seconds). They are tried
            in a poll that has nothing else to do, the longest untried first, so that one poisonous message keeps
            neither the rest of a maildrop from coming nor what is delivered from being deleted. Where every poll has
            something to do, one is tried anyway, behind all the rest, once none has broken a session for a day.
        deletions: what was asked for and not settled by a listing since.
        complete: False where the server says that it has more messages than it listed: then what is not listed may be
            there all the same.

    Raises:
        PolicyError: the server has no UIDL, and the policy has to remember what it saw.
        ProtocolError: what is there is to be marked as seen, and the listing is not complete.
        UniqueIdsChangedError: see :func:`unique_ids_changed`; only where the policy says STOP.
    """
    if any(ref.uid is None for ref in listing):
        return _plan_without_unique_ids(listing, policy)

    forgotten = _gone(listing, seen, deletions, complete=complete)
    seen = _without(seen, forgotten)
    marked_as: SkipReason | None = None
    if not known and policy.first_poll is FirstPoll.SKIP:
        marked_as = SkipReason.FIRST_POLL
    elif unique_ids_changed(listing, seen):
        if policy.unique_ids_changed is UniqueIdsChanged.STOP:
            raise UniqueIdsChangedError(_changed_text(listing, seen))
        if policy.unique_ids_changed is UniqueIdsChanged.SKIP:
            marked_as = SkipReason.SERVER_MIGRATED

    sorted_out = _sort_out(listing, seen, deletions, policy, now)
    new, unproven = sorted_out.new, tuple(Skip(ref, SkipReason.UNPROVEN) for ref in sorted_out.unproven)
    listed = Counter(_uid(ref) for ref in listing)
    common = Plan(
        delete=tuple(sorted_out.delete),
        vanished=tuple(uid for uid, entry in seen.items() if entry.listed and uid not in listed) if complete else (),
        returned=tuple(uid for uid in listed if uid in seen and not seen[uid].listed),
        forgotten=forgotten,
        settled=tuple(deletions) if complete else _settled(deletions, listed, seen, forgotten),
    )
    if marked_as is not None:
        if not complete:
            raise ProtocolError(_INCOMPLETE.format(listed=len(listing)))
        marked = {_uid(ref) for ref in new}
        forgotten = {uid: copies for uid, copies in forgotten.items() if uid not in marked}
        skip = tuple(Skip(ref, marked_as) for ref in new)
        return replace(common, mark=tuple(new), skip=skip + unproven, forgotten=forgotten)
    fetch, skip = _sound_first(new, policy, troubled, others=bool(common.delete), now=now)
    return replace(common, fetch=fetch, skip=skip + unproven)


def all_known(listing: bytes, seen: Mapping[UniqueId, Seen], plan: Plan) -> AllKnown | None:
    """Returns what to write down of a listing, so that the next one like it needs no plan; None where it does.

    Args:
        listing: its digest, as in ``AllKnown.listing``.
        seen: what is remembered; all of it that is listed, where the plan is empty.
        plan: made for it.
    """
    if plan != Plan():
        return None
    return AllKnown(listing, min(_first_seen_of_ours(seen), default=None))


def known_once_fetched(listing: bytes, seen: Mapping[UniqueId, Seen], plan: Plan, *, now: int) -> AllKnown | None:
    """Returns what :func:`all_known` is going to be once all is delivered that the plan fetches, and nothing deleted.

    None where the plan says more than what to fetch.
    """
    if not plan.fetch or plan != Plan(fetch=plan.fetch):
        return None
    return AllKnown(listing, min([now, *_first_seen_of_ours(seen)]))


def _first_seen_of_ours(seen: Mapping[UniqueId, Seen]) -> Iterator[int]:
    """Yields when each was first seen that may come to be deleted."""
    return (entry.first_seen for entry in seen.values() if entry.listed and entry.fate is not Fate.SKIPPED)


def nothing_to_do(known: AllKnown | None, listing: bytes, policy: Policy, *, now: int) -> bool:
    """Returns whether the plan for this listing would be empty, as the last one was that was made for it."""
    if known is None or known.listing != listing:
        return False
    if policy.delete_after is None or known.oldest is None:
        return True
    return not _is_age(policy.delete_after, since=known.oldest, now=now)


def unique_ids_changed(listing: Sequence[MessageRef], seen: Mapping[UniqueId, Seen]) -> bool:
    """Returns whether a well-filled listing shows not one unique-id that should still be there.

    That happens when a provider migrates its servers (Dovecot's pop3-migration plugin, Exchange KB956884, Zimbra): the
    old mail comes back under new unique-ids. An empty or short listing proves nothing: users tidy up.
    """
    expected = sum(1 for entry in seen.values() if entry.listed)
    if expected < GUARD_MINIMUM or len(listing) < max(GUARD_MINIMUM, expected // 2):
        return False
    return not any(ref.uid in seen for ref in listing)


def _changed_text(listing: Sequence[MessageRef], seen: Mapping[UniqueId, Seen]) -> str:
    expected = sum(1 for entry in seen.values() if entry.listed)
    return (
        f"none of the {expected} unique-ids remembered is among the {len(listing)} listed: has the provider moved "
        "the maildrop to another server? Nothing was fetched. Set `unique_ids_changed: skip` for this account to mark "
        "what is there as seen, or `fetch` to fetch it all again, and reload"
    )


def _plan_without_unique_ids(listing: Sequence[MessageRef], policy: Policy) -> Plan:
    """Without UIDL nothing can be remembered: only "fetch, delete, QUIT" is sound, and what breaks off comes again."""
    if policy.delete_after != 0:
        raise PolicyError(
            "the server has no UIDL, so mail that stays there cannot be told from new mail: "
            "set `leave_on_server: false` for this account"
        )
    if policy.first_poll is FirstPoll.SKIP:
        raise PolicyError(
            "the server has no UIDL, so the mail that is there cannot be marked as seen: "
            "set `first_poll: all` for this account"
        )
    few = policy.max_messages if policy.max_messages is not None else WITHOUT_UNIQUE_IDS
    fetch, skip = _select(listing, replace(policy, max_messages=min(few, WITHOUT_UNIQUE_IDS)))
    return Plan(fetch=fetch, skip=skip)


def _gone(
    listing: Sequence[MessageRef],
    seen: Mapping[UniqueId, Seen],
    deletions: Mapping[UniqueId, Deletion],
    *,
    complete: bool,
) -> dict[UniqueId, int]:
    """Returns how many copies of each unique-id are gone for good: deleted as asked, or one of several that went.

    A unique-id that vanished as a whole, and not by our doing, is remembered: it may come back (FAULTS 42).
    """
    watched = {uid for uid, entry in seen.items() if entry.copies > 1}
    watched.update(uid for uid in deletions if uid in seen)
    if not watched:
        return {}
    there = [ref for ref in listing if ref.uid in watched]
    still = Counter(ref.uid for ref in there if _may_be_the_same(ref, deletions))
    shown = Counter(ref.uid for ref in there)
    gone = {}
    for uid in watched:
        copies = seen[uid].copies
        asked = deletions[uid].copies if uid in deletions else 0
        left = min(still[uid], copies)
        if not complete:
            left = max(left, copies - min(asked, shown[uid] - still[uid]))
        elif not left:
            left = max(copies - asked, 0)
        if left < copies:
            gone[uid] = copies - left
    return gone


def _settled(
    deletions: Mapping[UniqueId, Deletion],
    shown: Counter[UniqueId],
    seen: Mapping[UniqueId, Seen],
    forgotten: Mapping[UniqueId, int],
) -> tuple[UniqueId, ...]:
    """Returns which deletions a listing that is not complete settles; ``seen`` is what is left of it."""
    return tuple(
        uid
        for uid in deletions
        if uid in forgotten or (shown[uid] and (uid not in seen or shown[uid] >= seen[uid].copies))
    )


def _without(seen: Mapping[UniqueId, Seen], gone: Mapping[UniqueId, int]) -> Mapping[UniqueId, Seen]:
    if not gone:
        return seen
    left = dict(seen)
    for uid, copies in gone.items():
        entry = left.pop(uid)
        if entry.copies > copies:
            left[uid] = replace(entry, copies=entry.copies - copies)
    return left


def _may_be_the_same(ref: MessageRef, deletions: Mapping[UniqueId, Deletion]) -> bool:
    """Returns whether this may be the message that should have been deleted. Its size is all that can tell.

    A server that has not deleted a message has no reason to announce another size than a poll ago; and if one does, a
    message comes twice, which is better than to delete one that nobody has read.
    """
    asked = deletions.get(_uid(ref))
    return asked is None or asked.size is None or ref.size is None or asked.size == ref.size


@value
class _SortedOut:
    """The listing, less what is known and stays: each message in one of these, in the order of message numbers."""

    new: list[MessageRef]
    delete: list[MessageRef]
    unproven: list[MessageRef]


def _sort_out(
    listing: Sequence[MessageRef],
    seen: Mapping[UniqueId, Seen],
    deletions: Mapping[UniqueId, Deletion],
    policy: Policy,
    now: int,
) -> _SortedOut:
    result = _SortedOut([], [], [])
    for ref, entry in _occurrences(listing, seen, deletions):
        if entry is None:
            result.new.append(ref)
        elif _due(entry, policy, now):
            proven = entry.listed and entry.fate is Fate.DELIVERED
            (result.delete if proven else result.unproven).append(ref)
    return result


def _occurrences(
    listing: Sequence[MessageRef], seen: Mapping[UniqueId, Seen], deletions: Mapping[UniqueId, Deletion]
) -> Iterator[tuple[MessageRef, Seen | None]]:
    """Yields each message with what is remembered of it; None where that occurrence of its unique-id is a new one."""
    counted: Counter[UniqueId] = Counter()
    for ref in listing:
        uid = _uid(ref)
        entry = seen.get(uid)
        if entry is not None and (counted[uid] >= entry.copies or not _may_be_the_same(ref, deletions)):
            entry = None
        if entry is not None:
            counted[uid] += 1
        yield ref, entry


def _due(entry: Seen, policy: Policy, now: int) -> bool:
    """What was there before us is never due; a clock that stepped back makes nothing due."""
    if policy.delete_after is None or entry.fate is Fate.SKIPPED:
        return False
    return _is_age(policy.delete_after, since=entry.first_seen, now=now)


def _is_age(seconds: int, *, since: int, now: int) -> bool:
    """Returns whether that long has passed; no time at all has, wherever the clock was put meanwhile (FAULTS 106)."""
    return seconds == 0 or now - since >= seconds


def _sound_first(
    new: Sequence[MessageRef], policy: Policy, troubled: Mapping[UniqueId, int], *, others: bool, now: int
) -> tuple[tuple[MessageRef, ...], tuple[Skip, ...]]:
    """Returns what to fetch and what to skip; troubled messages where there is nothing else to do, and one a day."""
    sound = [ref for ref in new if ref.uid not in troubled]
    poisonous = sorted((ref for ref in new if ref.uid in troubled), key=lambda ref: troubled[_uid(ref)])
    fetch, skip = _select(sound, policy)
    if not (fetch or others):
        fetch, beyond = _select(poisonous, policy)
        return fetch, skip + beyond
    again = _tried_anyway(poisonous, policy, troubled, now)
    if again and policy.max_messages is not None:
        fetch, skip = _select(sound, replace(policy, max_messages=policy.max_messages - 1))
    return fetch + again, skip + tuple(Skip(ref, SkipReason.TROUBLED) for ref in poisonous if ref not in again)


def _tried_anyway(
    poisonous: Sequence[MessageRef], policy: Policy, troubled: Mapping[UniqueId, int], now: int
) -> tuple[MessageRef, ...]:
    """Returns the one longest untried, where none has broken a session for a day: else it might never get its turn."""
    if not poisonous or now - max(troubled[_uid(ref)] for ref in poisonous) < TRIED_ANYWAY:
        return ()
    return tuple(ref for ref in poisonous if not _too_large(ref, policy))[:1]


def _select(new: Sequence[MessageRef], policy: Policy) -> tuple[tuple[MessageRef, ...], tuple[Skip, ...]]:
    """Returns what to fetch, and what ``max_size`` and ``max_messages`` leave out."""
    skip = [Skip(ref, SkipReason.TOO_LARGE) for ref in new if _too_large(ref, policy)]
    fitting = [ref for ref in new if not _too_large(ref, policy)]
    limit = len(fitting) if policy.max_messages is None else policy.max_messages
    skip.extend(Skip(ref, SkipReason.OVER_LIMIT) for ref in fitting[limit:])
    return tuple(fitting[:limit]), tuple(skip)


def _too_large(ref: MessageRef, policy: Policy) -> bool:
    return policy.max_size is not None and ref.size is not None and ref.size > policy.max_size


def _uid(ref: MessageRef) -> UniqueId:
    if ref.uid is None:
        raise AssertionError("a listing has unique-ids for all messages or for none")
    return ref.uid
