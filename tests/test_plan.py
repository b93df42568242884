"""fetchd.plan: what a poll fetches, deletes, marks and leaves alone."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import PolicyError, Retry, UniqueIdsChangedError
from fetchd.model import (
    Fate,
    FirstPoll,
    MessageRef,
    Plan,
    Policy,
    Seen,
    SkipReason,
    UniqueId,
    UniqueIdsChanged,
)
from fetchd.plan import make_plan

DAY = 86400
NOW = 1_795_000_000


def listing(*uids: bytes | None, size: int | None = 1000) -> list[MessageRef]:
    return [MessageRef(number, None if uid is None else UniqueId(uid), size) for number, uid in enumerate(uids, 1)]


def seen(*uids: bytes, copies: int = 1, age: int = 0, fate: Fate = Fate.DELIVERED, listed: bool = True):
    return {UniqueId(uid): Seen(copies, NOW - age, fate, listed) for uid in uids}


def plan(refs, known_uids=None, *, known: bool = True, now: int = NOW, troubled=(), **policy) -> Plan:
    return make_plan(
        refs,
        known_uids or {},
        policy=Policy(**policy),
        known=known,
        now=now,
        troubled={uid: since for since, uid in enumerate(troubled)},
    )


def numbers(refs) -> list[int]:
    return [ref.number for ref in refs]


def test_only_unknown_unique_ids_are_fetched() -> None:
    """RFC 1939 §7: a unique-id names a message over sessions; its number does not."""
    result = plan(listing(b"c", b"a", b"b"), seen(b"a", b"b"))
    assert numbers(result.fetch) == [1]
    assert result.delete == ()


def test_the_message_number_means_nothing_from_one_session_to_the_next() -> None:
    """FAULTS 40: the server renumbers."""
    assert plan(listing(b"b", b"a"), seen(b"a", b"b")).fetch == ()


@pytest.mark.parametrize(("copies", "expected"), [(0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (3, []), (4, [])])
def test_occurrences_of_one_unique_id_are_counted(copies: int, expected: list[int]) -> None:
    """FAULTS 37, RFC 1939 §7: identical copies may share a unique-id; none is lost, none fetched for ever."""
    assert numbers(plan(listing(b"x", b"x", b"x"), seen(b"x", copies=copies)).fetch) == expected


def test_unique_ids_are_compared_octet_by_octet() -> None:
    """FAULTS 36: case and trailing blanks tell messages apart."""
    assert numbers(plan(listing(b"A", b"a ", b"a"), seen(b"a")).fetch) == [1, 2]


def test_mail_stays_on_the_server_by_default() -> None:
    assert plan(listing(b"a"), seen(b"a", age=10_000 * DAY)).delete == ()


def test_a_known_message_that_is_still_there_is_deleted_again_not_fetched_again() -> None:
    """DESIGN §4: a lost QUIT is settled by the next UIDL."""
    result = plan(listing(b"a"), seen(b"a", listed=False), delete_after=0)
    assert (numbers(result.delete), result.fetch, result.returned) == ([1], (), (b"a",))


@pytest.mark.parametrize(("age", "due"), [(13 * DAY, False), (14 * DAY - 1, False), (14 * DAY, True), (-DAY, False)])
def test_deletion_is_due_by_the_age_from_first_seen(age: int, due: bool) -> None:
    """A clock that stepped back (a negative age) makes nothing due."""
    result = plan(listing(b"a"), seen(b"a", age=age), delete_after=14 * DAY)
    assert numbers(result.delete) == ([1] if due else [])


def test_what_was_only_marked_as_seen_is_never_deleted() -> None:
    """FAULTS 110: keep → delete must not delete mail that was never delivered."""
    assert plan(listing(b"a"), seen(b"a", age=99 * DAY, fate=Fate.SKIPPED), delete_after=0).delete == ()


def test_a_new_copy_is_fetched_and_not_deleted_in_the_same_plan() -> None:
    result = plan(listing(b"a", b"a"), seen(b"a"), delete_after=0)
    assert (numbers(result.delete), numbers(result.fetch)) == ([1], [2])


def test_first_poll_skip_marks_what_is_there() -> None:
    result = plan(listing(b"a", b"b"), known=False, first_poll=FirstPoll.SKIP)
    assert (numbers(result.mark), result.fetch) == ([1, 2], ())
    assert {skip.reason for skip in result.skip} == {SkipReason.FIRST_POLL}


def test_first_poll_skip_means_the_first_poll_only() -> None:
    assert numbers(plan(listing(b"a", b"new"), seen(b"a"), first_poll=FirstPoll.SKIP).fetch) == [2]


def test_first_poll_skip_fetches_what_comes_after_an_empty_first_poll() -> None:
    assert numbers(plan(listing(b"a"), first_poll=FirstPoll.SKIP).fetch) == [1]


def test_too_large_messages_stay_with_a_reason() -> None:
    refs = [MessageRef(1, UniqueId(b"a"), 100), MessageRef(2, UniqueId(b"b"), 101), MessageRef(3, UniqueId(b"c"), None)]
    result = plan(refs, max_size=100)
    assert numbers(result.fetch) == [1, 3]
    assert [(skip.ref.number, skip.reason) for skip in result.skip] == [(2, SkipReason.TOO_LARGE)]


def test_max_messages_counts_what_is_fetched_not_what_is_too_large() -> None:
    refs = [MessageRef(n, UniqueId(b"%d" % n), 999 if n == 1 else 1) for n in range(1, 5)]
    result = plan(refs, max_size=10, max_messages=2)
    assert numbers(result.fetch) == [2, 3]
    assert [(skip.ref.number, skip.reason) for skip in result.skip] == [
        (1, SkipReason.TOO_LARGE),
        (4, SkipReason.OVER_LIMIT),
    ]


def test_a_message_that_broke_a_session_waits_until_there_is_nothing_else_to_do() -> None:
    """FACTS §0.3: one bad message keeps neither the others from coming nor what is delivered from being deleted."""
    fresh = plan(listing(b"bad", b"b", b"c"), troubled=[b"bad"])
    assert numbers(fresh.fetch) == [2, 3]
    assert [(skip.ref.number, skip.reason) for skip in fresh.skip] == [(1, SkipReason.TROUBLED)]
    deleting = plan(listing(b"bad", b"b"), seen(b"b"), troubled=[b"bad"], delete_after=0)
    assert (deleting.fetch, numbers(deleting.delete)) == ((), [2])
    assert numbers(plan(listing(b"bad", b"b"), seen(b"b"), troubled=[b"bad"]).fetch) == [1]


def test_of_several_bad_messages_the_one_longest_untried_comes_first() -> None:
    assert numbers(plan(listing(b"x", b"y", b"z"), troubled=[b"z", b"x", b"y"]).fetch) == [3, 1, 2]
    assert numbers(plan(listing(b"x", b"y", b"z"), troubled=[b"z", b"x", b"y"], max_messages=1).fetch) == [3]


def test_without_uidl_a_session_takes_no_more_than_it_delivers_at_once() -> None:
    refs = listing(*[None] * 100)
    assert len(plan(refs, delete_after=0).fetch) == 64
    assert len(plan(refs, delete_after=0, max_messages=99).fetch) == 64
    assert len(plan(refs, delete_after=0, max_messages=9).fetch) == 9


def test_vanished_and_returned_are_told() -> None:
    known = seen(b"a", b"gone") | seen(b"back", b"old", listed=False)
    result = plan(listing(b"a", b"back"), known)
    assert (result.vanished, result.returned) == ((b"gone",), (b"back",))


def test_one_empty_listing_makes_no_alarm_and_forgets_nothing() -> None:
    """FAULTS 42: unique-ids vanish and come back."""
    result = plan([], seen(*[b"%d" % n for n in range(100)]))
    assert len(result.vanished) == 100


@pytest.mark.parametrize("policy", [{}, {"delete_after": DAY}])
def test_a_server_without_uidl_is_refused_in_keep_mode(policy) -> None:
    """FAULTS 38."""
    with pytest.raises(PolicyError, match=r"no UIDL.*leave_on_server: false"):
        plan(listing(None, None), **policy)


def test_a_server_without_uidl_works_in_delete_mode() -> None:
    result = plan(listing(None, None, None), delete_after=0, max_messages=2)
    assert numbers(result.fetch) == [1, 2]


def test_a_server_without_uidl_cannot_skip_what_is_there() -> None:
    with pytest.raises(PolicyError, match="first_poll: all"):
        plan(listing(None), delete_after=0, first_poll=FirstPoll.SKIP, known=False)


def test_all_unique_ids_changed_stops_the_account() -> None:
    """FAULTS 41: pause before 100k refetches; a human decides."""
    refs = listing(*[b"new%d" % n for n in range(50)])
    with pytest.raises(UniqueIdsChangedError, match="none of the 60 unique-ids remembered is among the 50") as caught:
        plan(refs, seen(*[b"old%d" % n for n in range(60)]))
    assert caught.value.retry is Retry.HOLD


def test_one_unique_id_that_is_still_there_is_no_migration() -> None:
    refs = listing(b"old0", *[b"new%d" % n for n in range(50)])
    assert len(plan(refs, seen(*[b"old%d" % n for n in range(60)])).fetch) == 50


@pytest.mark.parametrize(("listed", "remembered"), [(4, 60), (20, 60), (50, 4)])
def test_a_short_listing_or_memory_is_no_migration(listed: int, remembered: int) -> None:
    """Users tidy up: few new messages after an emptied maildrop are just new messages."""
    refs = listing(*[b"new%d" % n for n in range(listed)])
    assert len(plan(refs, seen(*[b"old%d" % n for n in range(remembered)])).fetch) == listed


def test_delete_mode_with_an_emptied_maildrop_is_no_migration() -> None:
    refs = listing(*[b"new%d" % n for n in range(50)])
    assert len(plan(refs, seen(*[b"old%d" % n for n in range(60)], listed=False), delete_after=0).fetch) == 50


def test_after_a_migration_the_user_may_have_it_all_or_none() -> None:
    refs = listing(*[b"new%d" % n for n in range(50)])
    old = seen(*[b"old%d" % n for n in range(60)])
    fetched = plan(refs, old, unique_ids_changed=UniqueIdsChanged.FETCH)
    assert len(fetched.fetch) == 50
    marked = plan(refs, old, unique_ids_changed=UniqueIdsChanged.SKIP)
    assert (len(marked.mark), marked.fetch) == (50, ())
    assert {skip.reason for skip in marked.skip} == {SkipReason.SERVER_MIGRATED}


UIDS = st.sampled_from([b"a", b"b", b"c", b"A", b"a ", b"\xff"])
SEEN = st.dictionaries(
    UIDS,
    st.builds(
        Seen,
        copies=st.integers(0, 3),
        first_seen=st.integers(NOW - 30 * DAY, NOW + DAY),
        fate=st.sampled_from(Fate),
        listed=st.booleans(),
    ),
)
POLICIES = st.builds(
    Policy,
    delete_after=st.sampled_from([None, 0, 14 * DAY]),
    first_poll=st.sampled_from(FirstPoll),
    unique_ids_changed=st.sampled_from([UniqueIdsChanged.FETCH, UniqueIdsChanged.SKIP]),
    max_size=st.sampled_from([None, 10]),
    max_messages=st.sampled_from([None, 1, 3]),
)


@given(
    uids=st.lists(UIDS, max_size=12),
    sizes=st.lists(st.integers(0, 20)),
    known=SEEN,
    policy=POLICIES,
    first=st.booleans(),
)
def test_every_message_has_exactly_one_place(uids, sizes, known, policy, first) -> None:
    """New messages are fetched, marked or skipped; known ones are deleted only if delivered, and never fetched."""
    refs = [MessageRef(n, uid, sizes[n] if n < len(sizes) else None) for n, uid in enumerate(uids)]
    result = make_plan(refs, known, policy=policy, known=not first, now=NOW)
    known_left = Counter({uid: entry.copies for uid, entry in known.items()})
    new = []
    for ref in refs:
        if known_left[ref.uid] > 0:
            known_left[ref.uid] -= 1
        else:
            new.append(ref)
    skipped = [skip.ref for skip in result.skip if skip.ref not in result.mark]
    assert sorted([*result.fetch, *result.mark, *skipped], key=lambda ref: ref.number) == new
    assert not set(result.delete) & set(new)
    assert all(known[ref.uid].fate is Fate.DELIVERED for ref in result.delete)
    assert policy.delete_after is not None or not result.delete
    assert policy.max_messages is None or len(result.fetch) <= policy.max_messages
