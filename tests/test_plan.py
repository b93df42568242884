"""fetchd.plan: what a poll fetches, deletes, marks and leaves alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import PolicyError, ProtocolError, Retry, UniqueIdsChangedError
from fetchd.model import (
    AllKnown,
    Committed,
    Deletion,
    Fate,
    FirstPoll,
    MessageRef,
    Plan,
    Policy,
    Seen,
    SkipReason,
    Staged,
    UniqueId,
    UniqueIdsChanged,
)
from fetchd.plan import all_known, known_once_fetched, make_plan, nothing_to_do
from tests.store.memory import MemoryStore

DAY = 86400
NOW = 1_795_000_000


def listing(*uids: bytes | None, size: int | None = 1000) -> list[MessageRef]:
    return [MessageRef(number, None if uid is None else UniqueId(uid), size) for number, uid in enumerate(uids, 1)]


def seen(*uids: bytes, copies: int = 1, age: int = 0, fate: Fate = Fate.DELIVERED, listed: bool = True):
    return {UniqueId(uid): Seen(copies, NOW - age, fate, listed) for uid in uids}


def asked(*uids: bytes, copies: int = 1, size: int | None = 1000):
    return {UniqueId(uid): Deletion(copies, size) for uid in uids}


def plan(
    refs,
    known_uids=None,
    *,
    known: bool = True,
    now: int = NOW,
    troubled=(),
    deletions=None,
    complete: bool = True,
    **policy,
) -> Plan:
    return make_plan(
        refs,
        known_uids or {},
        policy=Policy(**policy),
        known=known,
        now=now,
        troubled={uid: NOW - 100 + since for since, uid in enumerate(troubled)},
        deletions=deletions or {},
        complete=complete,
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
    """DESIGN §4, FAULTS 60: a lost QUIT is settled by the next UIDL, and so is a QUIT that lied."""
    result = plan(listing(b"a"), seen(b"a"), deletions=asked(b"a"), delete_after=0)
    assert (numbers(result.delete), result.fetch) == ([1], ())
    assert (result.forgotten, result.vanished, result.settled) == ({}, (), (b"a",))


@pytest.mark.parametrize(("age", "due"), [(13 * DAY, False), (14 * DAY - 1, False), (14 * DAY, True), (-DAY, False)])
def test_deletion_is_due_by_the_age_from_first_seen(age: int, due: bool) -> None:
    """A clock that stepped back (a negative age) makes nothing due."""
    result = plan(listing(b"a"), seen(b"a", age=age), delete_after=14 * DAY)
    assert numbers(result.delete) == ([1] if due else [])


def test_what_is_to_be_deleted_at_once_does_not_wait_for_a_clock_that_was_ahead() -> None:
    """FAULTS 106: recorded in a year to come, it would never be due."""
    result = plan(listing(b"a"), seen(b"a", age=-3650 * DAY), delete_after=0)
    assert numbers(result.delete) == [1]


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


@pytest.mark.parametrize(("days", "tried"), [(0, False), (0.9, False), (1, True), (40, True)])
def test_where_every_poll_has_other_work_one_bad_message_is_tried_a_day_and_last(days: float, tried: bool) -> None:
    """Else a DELE that is always refused, or mail at every poll, would keep it from coming for ever."""
    refs = listing(b"x", b"y", b"new", b"old")
    now = NOW + int(days * DAY)
    result = plan(refs, seen(b"old"), troubled=[b"y", b"x"], now=now, delete_after=0)
    assert numbers(result.fetch) == ([3, 2] if tried else [3])
    waiting = [skip.ref.number for skip in result.skip if skip.reason is SkipReason.TROUBLED]
    assert waiting == ([1] if tried else [2, 1])
    deleting = plan(refs[:1] + refs[3:], seen(b"old"), troubled=[b"x"], now=now, delete_after=0)
    assert (numbers(deleting.fetch), numbers(deleting.delete)) == ([1] if tried else [], [4])


def test_a_bad_message_that_is_tried_anyway_keeps_within_the_limits() -> None:
    refs = [*listing(b"big", b"x", b"a", b"b"), MessageRef(5, UniqueId(b"c"), 1)]
    refs[0] = MessageRef(1, UniqueId(b"big"), 9999)
    result = plan(refs, troubled=[b"big", b"x"], now=NOW + DAY, max_messages=2, max_size=1000)
    assert numbers(result.fetch) == [3, 2]
    assert {skip.reason for skip in result.skip if skip.ref.number > 3} == {SkipReason.OVER_LIMIT}


def test_without_uidl_a_session_takes_no_more_than_it_delivers_at_once() -> None:
    refs = listing(*[None] * 100)
    assert len(plan(refs, delete_after=0).fetch) == 64
    assert len(plan(refs, delete_after=0, max_messages=99).fetch) == 64
    assert len(plan(refs, delete_after=0, max_messages=9).fetch) == 9


# ── a unique-id that names another message (FAULTS 43) ───────────────────────────────────────────────────────────


def test_what_was_deleted_as_asked_is_forgotten_by_the_next_listing() -> None:
    """FAULTS 43: what comes under its unique-id after that is another message; it is fetched, never DELEd unread."""
    gone = plan(listing(b"b"), seen(b"a", b"b"), deletions=asked(b"a"), delete_after=DAY)
    assert (gone.forgotten, gone.settled, gone.vanished) == ({b"a": 1}, (b"a",), ())
    back = plan(listing(b"a", b"b"), seen(b"b"), delete_after=DAY)
    assert (numbers(back.fetch), back.delete) == ([1], ())


def test_a_message_of_another_size_is_not_the_one_that_should_have_been_deleted() -> None:
    """FAULTS 43, 60: a server whose unique-ids are message numbers gives them again before we look again."""
    result = plan(listing(b"1", size=999), seen(b"1"), deletions=asked(b"1", size=1000), delete_after=0)
    assert (numbers(result.fetch), result.delete) == ([1], ())
    assert (result.forgotten, result.settled) == ({b"1": 1}, (b"1",))


@pytest.mark.parametrize(("then", "now"), [(None, 1000), (1000, None), (None, None), (0, 0)])
def test_where_there_is_no_size_to_compare_the_message_is_still_there(then: int | None, now: int | None) -> None:
    result = plan(listing(b"a", size=now), seen(b"a"), deletions=asked(b"a", size=then), delete_after=0)
    assert (result.fetch, numbers(result.delete), result.forgotten) == ((), [1], {})


def test_what_should_have_been_deleted_stays_known_where_the_policy_is_to_keep_now() -> None:
    result = plan(listing(b"a"), seen(b"a"), deletions=asked(b"a"))
    assert (result.fetch, result.delete, result.forgotten, result.settled) == ((), (), {}, (b"a",))


@pytest.mark.parametrize(
    ("copies", "asked_for", "sizes", "forgotten", "delete", "fetch"),
    [
        (2, 1, [7], 1, [1], []),  # one of two went, as asked
        (2, 1, [7, 7], 0, [1, 2], []),  # none went
        (2, 2, [7], 1, [1], []),  # both were to go, and one is still there
        (2, 2, [], 2, [], []),
        (2, 1, [], 1, [], []),  # the other one vanished without us: it is remembered
        (2, 1, [8], 1, [], [1]),  # another message
        (2, 2, [8, 7], 1, [2], [1]),
        (1, 1, [7, 7], 0, [1], [2]),  # a new copy, whichever it is
        (2, 0, [7], 1, [1], []),  # one of several that went without us is not waited for
        (2, 0, [7, 7, 7], 0, [1, 2], [3]),
        (3, 0, [], 0, [], []),
    ],
)
def test_copies_under_one_unique_id_are_counted_when_some_are_gone(
    copies: int, asked_for: int, sizes: list[int], forgotten: int, delete: list[int], fetch: list[int]
) -> None:
    """FAULTS 37, 43."""
    refs = [MessageRef(number, UniqueId(b"x"), size) for number, size in enumerate(sizes, 1)]
    claims = asked(b"x", copies=asked_for, size=7) if asked_for else {}
    result = plan(refs, seen(b"x", copies=copies), deletions=claims, delete_after=0)
    assert (result.forgotten.get(b"x", 0), numbers(result.delete), numbers(result.fetch)) == (forgotten, delete, fetch)


def test_a_listing_that_is_not_whole_settles_only_what_it_shows() -> None:
    """FAULTS 39: what it does not show may be there all the same."""
    known = seen(b"a", b"b", b"c")
    result = plan(listing(b"a"), known, deletions=asked(b"a", b"b"), complete=False, delete_after=DAY)
    assert (result.forgotten, result.vanished, result.settled) == ({}, (), (b"a",))


@pytest.mark.parametrize(
    ("copies", "asked_for", "sizes", "forgotten", "settled", "delete", "fetch"),
    [
        (2, 0, [7], 0, False, [1], []),  # the other one may be there all the same
        (2, 1, [7], 0, False, [1], []),
        (2, 1, [7, 7], 0, True, [1, 2], []),
        (2, 1, [], 0, False, [], []),
        (1, 1, [8], 1, True, [], [1]),  # another message
        (2, 2, [8], 1, True, [], [1]),
        (1, 1, [7, 7], 0, True, [1], [2]),
        (2, 2, [8, 7, 7], 0, True, [2, 3], [1]),
    ],
)
def test_a_listing_that_is_not_whole_shows_no_copy_to_be_gone(
    copies: int, asked_for: int, sizes: list[int], forgotten: int, settled: bool, delete: list[int], fetch: list[int]
) -> None:
    """FAULTS 37, 39: only what is shown tells something."""
    refs = [MessageRef(number, UniqueId(b"x"), size) for number, size in enumerate(sizes, 1)]
    claims = asked(b"x", copies=asked_for, size=7) if asked_for else {}
    result = plan(refs, seen(b"x", copies=copies), deletions=claims, complete=False, delete_after=0)
    assert (result.forgotten.get(b"x", 0), result.settled) == (forgotten, (b"x",) if settled else ())
    assert (numbers(result.delete), numbers(result.fetch)) == (delete, fetch)


@pytest.mark.parametrize("policy", [{"first_poll": FirstPoll.SKIP}, {"unique_ids_changed": UniqueIdsChanged.SKIP}])
def test_what_is_there_is_not_marked_as_seen_while_not_all_of_it_is_shown(policy) -> None:
    """FAULTS 39: what a first listing hides would count as new ever after."""
    known = seen(*[b"old%d" % n for n in range(9)]) if "unique_ids_changed" in policy else {}
    refs = listing(*[b"new%d" % n for n in range(9)])
    with pytest.raises(ProtocolError, match="more messages than the 9 that it lists"):
        plan(refs, known, known=bool(known), complete=False, **policy)
    assert len(plan(refs, known, known=bool(known), **policy).mark) == 9


@pytest.mark.parametrize("entry", [seen(b"a", listed=False), seen(b"a", fate=Fate.UNPROVEN)])
def test_what_vanished_without_us_and_came_back_is_neither_fetched_nor_deleted(entry) -> None:
    """FAULTS 42, 43: most likely it is the same message, which is no proof."""
    result = plan(listing(b"a"), entry, delete_after=0)
    assert (result.fetch, result.delete) == ((), ())
    assert [(skip.ref.number, skip.reason) for skip in result.skip] == [(1, SkipReason.UNPROVEN)]
    kept = plan(listing(b"a"), entry)
    assert (kept.fetch, kept.delete, kept.skip) == ((), (), ())


def test_what_is_not_due_yet_is_not_told_to_be_unproven() -> None:
    assert plan(listing(b"a"), seen(b"a", age=DAY, fate=Fate.UNPROVEN), delete_after=2 * DAY).skip == ()


def test_messages_deleted_as_asked_are_not_missed_by_the_guard() -> None:
    """FAULTS 41: a maildrop that we emptied ourselves, and that is full again, was not migrated."""
    old, new = [b"old%d" % n for n in range(60)], [b"new%d" % n for n in range(50)]
    assert len(plan(listing(*new), seen(*old), deletions=asked(*old), delete_after=0).fetch) == 50


def test_another_message_that_is_marked_as_seen_is_not_forgotten_at_once() -> None:
    """FAULTS 41, 43: a migration, and one unique-id that the new server gives to another message."""
    old, new = [b"old%d" % n for n in range(60)], [b"new%d" % n for n in range(50)]
    refs = listing(b"old0", *new, size=7)
    result = plan(refs, seen(*old), deletions=asked(b"old0"), unique_ids_changed=UniqueIdsChanged.SKIP)
    assert (len(result.mark), result.forgotten) == (51, {})


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


# ── a listing of which everything is known ───────────────────────────────────────────────────────────────────────


def test_a_listing_of_which_everything_is_known_is_written_down() -> None:
    known = seen(b"a", age=5) | seen(b"b", age=9, fate=Fate.UNPROVEN) | seen(b"c", age=99, fate=Fate.SKIPPED)
    known |= seen(b"d", age=50, listed=False)
    assert all_known(b"digest", known, Plan()) == AllKnown(b"digest", NOW - 9)
    assert all_known(b"digest", seen(b"c", fate=Fate.SKIPPED), Plan()) == AllKnown(b"digest", None)


@pytest.mark.parametrize(
    "result",
    [
        plan(listing(b"new")),
        plan(listing(b"a"), seen(b"a"), delete_after=0),
        plan([], seen(b"a")),
        plan(listing(b"a"), seen(b"a", listed=False)),
        plan(listing(b"a"), seen(b"a"), deletions=asked(b"a")),
        plan(listing(b"a", size=9), max_size=1),
        plan(listing(b"a"), seen(b"a", fate=Fate.UNPROVEN), delete_after=0),
        plan(listing(b"a"), seen(b"a", copies=2)),
    ],
)
def test_a_listing_with_anything_to_do_or_to_say_is_not_written_down(result: Plan) -> None:
    assert all_known(b"digest", seen(b"a"), result) is None


@pytest.mark.parametrize(
    ("known", "policy", "nothing"),
    [
        (AllKnown(b"digest", NOW - DAY), Policy(), True),
        (AllKnown(b"digest", NOW - DAY), Policy(delete_after=DAY), False),
        (AllKnown(b"digest", NOW - DAY), Policy(delete_after=DAY + 1), True),
        (AllKnown(b"digest", None), Policy(delete_after=0), True),
        (AllKnown(b"other", None), Policy(), False),
        (None, Policy(), False),
    ],
)
def test_there_is_nothing_to_do_for_the_same_listing_until_something_is_due(known, policy, nothing) -> None:
    assert nothing_to_do(known, b"digest", policy, now=NOW) is nothing


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


DELETIONS = st.dictionaries(
    UIDS, st.builds(Deletion, copies=st.integers(1, 3), size=st.one_of(st.none(), st.integers(0, 3)))
)


@given(
    uids=st.lists(UIDS, max_size=12),
    sizes=st.lists(st.integers(0, 3)),
    known=SEEN,
    deletions=DELETIONS,
    policy=POLICIES,
    first=st.booleans(),
    complete=st.booleans(),
)
def test_every_message_has_exactly_one_place(uids, sizes, known, deletions, policy, first, complete) -> None:
    """New messages are fetched, marked or skipped; known ones are deleted only if delivered, and never fetched.

    Nothing is DELEd but what was delivered and has been listed ever since; and no more of it than that.
    """
    refs = [MessageRef(n, uid, sizes[n] if n < len(sizes) else None) for n, uid in enumerate(uids)]
    try:
        result = make_plan(refs, known, policy=policy, known=not first, now=NOW, deletions=deletions, complete=complete)
    except ProtocolError:
        assert not complete
        return
    places = [ref.number for ref in [*result.fetch, *result.mark, *result.delete]]
    places += [skip.ref.number for skip in result.skip if skip.ref not in result.mark]
    assert len(places) == len(set(places))
    for uid in set(uids):
        there = [ref for ref in refs if ref.uid == uid]
        entry, claim = known.get(uid), deletions.get(uid)
        stays = [ref for ref in there if ref.number not in places]
        delete = [ref for ref in there if ref in result.delete]
        unproven = [skip.ref for skip in result.skip if skip.ref.uid == uid and skip.reason is SkipReason.UNPROVEN]
        copies = entry.copies if entry is not None else 0
        same = [ref for ref in there if claim is None or None in (claim.size, ref.size) or claim.size == ref.size]
        assert len(stays) + len(delete) + len(unproven) == min(copies, len(same)), "known occurrences, counted"
        assert set(stays + delete + unproven) <= set(same), "another size is another message"
        if delete:
            assert entry.fate is Fate.DELIVERED
            assert entry.listed, "it was not listed ever since"
            assert NOW - entry.first_seen >= policy.delete_after
        assert 0 <= result.forgotten.get(uid, 0) <= copies
    assert all(uid in known and (complete or uid in uids) for uid in result.forgotten)
    assert not set(result.vanished) & set(uids)
    assert policy.max_messages is None or len(result.fetch) <= policy.max_messages


@given(
    uids=st.lists(st.sampled_from([b"1", b"2", b"3"]), max_size=5),
    before=st.dictionaries(
        st.sampled_from([b"1", b"2", b"3"]),
        st.tuples(st.integers(1, 2), st.integers(NOW - 5 * DAY, NOW), st.sampled_from(Fate), st.booleans()),
    ),
    delete_after=st.sampled_from([None, 2 * DAY]),
    later=st.integers(0, 6 * DAY),
)
def test_what_is_known_once_all_is_fetched_needs_no_plan_until_something_is_due(
    uids, before, delete_after, later
) -> None:
    """What would be planned for the same listing, once the messages are delivered, is nothing."""
    policy, store = Policy(delete_after=delete_after), MemoryStore()
    for uid, (copies, first_seen, fate, _) in before.items():
        if fate is Fate.DELIVERED:
            copied = [Committed(UniqueId(uid), Staged(f"{uid!r}-{copy}", 1)) for copy in range(copies)]
            store.commit("a", copied, now=first_seen)
        else:
            store.mark("a", [UniqueId(uid)] * copies, fate=fate, now=first_seen)
    gone = [UniqueId(uid) for uid, (*_, listed) in before.items() if not listed]
    store.listed("a", vanished=gone, returned=(), now=NOW)
    refs = [MessageRef(n, UniqueId(uid), 9) for n, uid in enumerate(uids, 1)]
    result = make_plan(refs, store.seen("a"), policy=policy, known=True, now=NOW)
    known = known_once_fetched(b"digest", store.seen("a"), result, now=NOW)
    assert known is None or result == Plan(fetch=result.fetch)
    store.commit("a", [Committed(ref.uid, Staged(f"n{ref.number}", 1)) for ref in result.fetch], now=NOW)
    if nothing_to_do(known, b"digest", policy, now=NOW + later):
        assert make_plan(refs, store.seen("a"), policy=policy, known=True, now=NOW + later) == Plan()


def test_what_is_known_once_all_is_fetched_is_as_old_as_the_oldest() -> None:
    """And None where there is more to do than to fetch, or nothing."""
    plan = Plan(fetch=(MessageRef(2, UniqueId(b"b"), 1),))
    assert known_once_fetched(b"digest", seen(b"a", age=9), plan, now=NOW) == AllKnown(b"digest", NOW - 9)
    assert known_once_fetched(b"digest", {}, plan, now=NOW) == AllKnown(b"digest", NOW)
    assert known_once_fetched(b"digest", seen(b"a"), replace(plan, vanished=(UniqueId(b"a"),)), now=NOW) is None
    assert known_once_fetched(b"digest", seen(b"a"), Plan(), now=NOW) is None


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("arrives"), st.sampled_from([b"1", b"2"])),
            st.tuples(st.just("tidied up"), st.sampled_from([b"1", b"2"])),
            st.tuples(
                st.sampled_from(["poll", "poll, QUIT ignored", "poll, listing empty", "days pass"]), st.just(b"")
            ),
        ),
        max_size=24,
    ),
    delete_after=st.sampled_from([None, 0, 2 * DAY]),
)
def test_no_history_of_a_unique_id_deletes_what_was_not_delivered(steps, delete_after) -> None:
    """RFC 1939 §7: two unique-ids that a server gives to any message once they are free. Each message has a size.

    What another client deletes, and the server gives again, all between two polls, nothing can tell of.
    """
    policy, store, now = Policy(delete_after=delete_after), MemoryStore(), NOW
    maildrop: dict[bytes, int] = {}
    serial, delivered = 0, set()
    unnoticed: set[bytes] = set()
    for what, uid in steps:
        if what == "arrives" and uid not in maildrop and uid not in unnoticed:
            serial += 1
            maildrop[uid] = serial
        elif what == "tidied up":
            unnoticed |= {uid} & maildrop.keys()
            maildrop.pop(uid, None)
        elif what == "days pass":
            now += DAY
        elif what.startswith("poll"):
            unnoticed.clear()
            shown = {} if what.endswith("empty") else dict(maildrop)
            refs = [MessageRef(n, UniqueId(uid), size) for n, (uid, size) in enumerate(shown.items(), 1)]
            result = make_plan(
                refs, store.seen("a"), policy=policy, known=store.knows("a"), now=now, deletions=store.deletions("a")
            )
            store.listed(
                "a",
                vanished=result.vanished,
                returned=result.returned,
                now=now,
                forgotten=result.forgotten,
                settled=result.settled,
            )
            committed = [
                Committed(ref.uid, Staged(f"{serial}-{now}-{ref.size}-{len(delivered)}", 1)) for ref in result.fetch
            ]
            store.commit("a", committed, now=now)
            store.settle("a", [one.staged.name for one in committed])
            delivered |= {ref.size for ref in result.fetch}
            going = [*result.delete, *(result.fetch if delete_after == 0 else ())]
            assert delivered.issuperset(ref.size for ref in going), "DELEd unread"
            store.deleting("a", {ref.uid: Deletion(1, ref.size) for ref in going})
            if not what.endswith("ignored"):
                for ref in going:
                    del maildrop[ref.uid]
