"""The plan of one poll: listing × seen × policy × now → what to fetch, delete, mark and leave alone, and why.

Pure and total: the same arguments give the same plan. The key is the unique-id, never the message number, and
unique-ids are counted: RFC 1939 §7 lets a server give identical copies the same unique-id, so of *n* listed
occurrences the first ``Seen.copies`` are known and the rest are new.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from fetchd.errors import PolicyError, UniqueIdsChangedError
from fetchd.model import Fate, FirstPoll, MessageRef, Plan, Policy, Seen, Skip, SkipReason, UniqueId, UniqueIdsChanged

GUARD_MINIMUM: Final = 5
"""Fewer messages than this, listed or remembered, never raise the alarm that all unique-ids changed."""

WITHOUT_UNIQUE_IDS: Final = 64
"""The most messages of one session where the server has no UIDL: they are delivered together, right before QUIT."""


def make_plan(
    listing: Sequence[MessageRef],
    seen: Mapping[UniqueId, Seen],
    *,
    policy: Policy,
    known: bool,
    now: int,
    troubled: Mapping[UniqueId, int] = MappingProxyType({}),
) -> Plan:
    """Returns what this poll does.

    Args:
        listing: the maildrop, in the order of message numbers; either every ``uid`` is None (no UIDL) or none is.
        seen: what the store remembers of the account.
        policy: the account's.
        known: whether a poll of this account ever got as far as a listing.
        now: Unix seconds.
        troubled: unique-ids that broke a session while they were retrieved, and when (Unix seconds). They are tried
            only in a poll that has nothing else to do, the longest untried first, so that one poisonous message keeps
            neither the rest of a maildrop from coming nor what is delivered from being deleted.

    Raises:
        PolicyError: the server has no UIDL, and the policy has to remember what it saw.
        UniqueIdsChangedError: see :func:`unique_ids_changed`; only where the policy says STOP.
    """
    if any(ref.uid is None for ref in listing):
        return _plan_without_unique_ids(listing, policy)

    marked_as: SkipReason | None = None
    if not known and policy.first_poll is FirstPoll.SKIP:
        marked_as = SkipReason.FIRST_POLL
    elif unique_ids_changed(listing, seen):
        if policy.unique_ids_changed is UniqueIdsChanged.STOP:
            raise UniqueIdsChangedError(_changed_text(listing, seen))
        if policy.unique_ids_changed is UniqueIdsChanged.SKIP:
            marked_as = SkipReason.SERVER_MIGRATED

    delete: list[MessageRef] = []
    new: list[MessageRef] = []
    for ref, is_known in _occurrences(listing, seen):
        if not is_known:
            new.append(ref)
        elif _due(seen[_uid(ref)], policy, now):
            delete.append(ref)

    listed = {_uid(ref) for ref in listing}
    vanished = tuple(uid for uid, entry in seen.items() if entry.listed and uid not in listed)
    returned = tuple(uid for uid in listed if uid in seen and not seen[uid].listed)
    if marked_as is not None:
        skip = tuple(Skip(ref, marked_as) for ref in new)
        return Plan(delete=tuple(delete), mark=tuple(new), skip=skip, vanished=vanished, returned=returned)
    fetch, skip = _sound_first(new, policy, troubled, others=bool(delete))
    return Plan(fetch=fetch, delete=tuple(delete), skip=skip, vanished=vanished, returned=returned)


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


def _occurrences(listing: Sequence[MessageRef], seen: Mapping[UniqueId, Seen]) -> Iterator[tuple[MessageRef, bool]]:
    """Yields each message with whether that occurrence of its unique-id is accounted for."""
    counted: Counter[UniqueId] = Counter()
    for ref in listing:
        uid = _uid(ref)
        entry = seen.get(uid)
        yield ref, entry is not None and counted[uid] < entry.copies
        counted[uid] += 1


def _due(entry: Seen, policy: Policy, now: int) -> bool:
    """Only what we delivered ourselves is ours to delete; a clock that stepped back makes nothing due."""
    if policy.delete_after is None or entry.fate is not Fate.DELIVERED:
        return False
    return now - entry.first_seen >= policy.delete_after


def _sound_first(
    new: Sequence[MessageRef], policy: Policy, troubled: Mapping[UniqueId, int], *, others: bool
) -> tuple[tuple[MessageRef, ...], tuple[Skip, ...]]:
    """Returns what to fetch and what to skip; troubled messages only where there is nothing else to do."""
    poisonous = [ref for ref in new if ref.uid in troubled]
    fetch, skip = _select([ref for ref in new if ref.uid not in troubled], policy)
    if fetch or others:
        return fetch, skip + tuple(Skip(ref, SkipReason.TROUBLED) for ref in poisonous)
    poisonous.sort(key=lambda ref: troubled[_uid(ref)])
    fetch, beyond = _select(poisonous, policy)
    return fetch, skip + beyond


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
