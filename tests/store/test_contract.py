"""What every store promises (``ports.Store``, ``ports.Journal``), asked of the real one and of the double."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from fetchd.errors import StoreError
from fetchd.model import (
    AccountRecord,
    AllKnown,
    Committed,
    Deletion,
    Fate,
    LastCommit,
    Placement,
    PollResult,
    Seen,
    Staged,
    UniqueId,
)
from fetchd.names import message_name
from fetchd.ports import Store
from fetchd.store.sqlite import SqliteStore
from tests.store.memory import MemoryStore

NOW = 1_795_461_986
DAY = 86_400
AnyStore = SqliteStore | MemoryStore
NONCES = count(1)
A, B, C = UniqueId(b"uid-A"), UniqueId(b"uid-B"), UniqueId(b"uid-C")


def committed(name: str, uid: bytes | None = A) -> Committed:
    return Committed(uid=None if uid is None else UniqueId(uid), staged=Staged(name=name, size=len(name)))


def placement(*names: str, offset: int = 0, inode: int = 7, done: bool = False) -> Placement:
    return Placement(inode=inode, offset=offset, length=100, digest=b"\x00\xff", names=names, done=done)


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyStore]:
    opened = SqliteStore.open(tmp_path / "fetchd.db") if request.param == "sqlite" else MemoryStore()
    yield opened
    opened.close()


def test_both_fill_the_port(store: AnyStore) -> None:
    """mypy sees it for the real one when app.py names it; here the assignment documents it."""
    port: Store = store
    assert port.accounts() == []


# ── an account that was never heard of ───────────────────────────────────────────────────────────────────────────


def test_an_unheard_of_account_reads_as_empty_and_reading_does_not_make_it_known(store: AnyStore) -> None:
    assert not store.knows("ghost")
    assert store.seen("ghost") == {}
    assert store.troubled("ghost") == {}
    assert list(store.outbox("ghost")) == []
    assert list(store.journal("ghost").placements()) == []
    assert list(store.accounts()) == []


def test_every_write_makes_the_account_on_demand(store: AnyStore) -> None:
    store.commit("commit", [committed("n")], now=NOW)
    store.mark("mark", [A], fate=Fate.SKIPPED, now=NOW)
    store.mark_troubled("trouble", A, now=NOW)
    store.listed("listed", vanished=[A], returned=[B], now=NOW)
    store.poll_ended("ended", PollResult(account="ended"), error="", now=NOW)
    store.journal("journal").appending(placement("n"))
    store.journal("journal-2").appended(placement("n"))
    store.settle("settle", ["n"])
    assert [one.name for one in store.accounts()] == sorted(
        ["commit", "mark", "trouble", "listed", "ended", "journal", "journal-2", "settle"]
    )


def test_accounts_share_nothing_but_the_store(store: AnyStore) -> None:
    store.commit("one", [committed("n")], now=NOW)
    store.mark_troubled("one", B, now=NOW)
    store.journal("one").appending(placement("n"))
    store.commit("two", [committed("n", B)], now=NOW + 1)
    store.settle("two", ["n"])
    assert store.seen("one") == {A: Seen(copies=1, first_seen=NOW, fate=Fate.DELIVERED)}
    assert set(store.troubled("one")) == {B}
    assert list(store.outbox("one")) == [committed("n")]
    assert list(store.journal("one").placements()) == [placement("n")]
    assert store.seen("two") == {B: Seen(copies=1, first_seen=NOW + 1, fate=Fate.DELIVERED)}


# ── commit, outbox, settle ───────────────────────────────────────────────────────────────────────────────────────


def test_a_commit_is_seen_and_waits_in_the_outbox_in_the_order_committed(store: AnyStore) -> None:
    store.commit("a", [committed("n2", B), committed("n1", A)], now=NOW)
    store.commit("a", [committed("n0", C)], now=NOW + 5)
    assert list(store.outbox("a")) == [committed("n2", B), committed("n1", A), committed("n0", C)]
    assert store.seen("a") == {
        A: Seen(copies=1, first_seen=NOW, fate=Fate.DELIVERED),
        B: Seen(copies=1, first_seen=NOW, fate=Fate.DELIVERED),
        C: Seen(copies=1, first_seen=NOW + 5, fate=Fate.DELIVERED),
    }


@pytest.mark.parametrize("target", ["maildir:/home/a b/Maildir", "mbox:/var/mail/ä", "mbox:/not-utf-8-\udcff"])
def test_a_committed_message_remembers_where_it_was_going(store: AnyStore, target: str) -> None:
    """A changed configuration does not lead astray what was committed before; a path is any octets."""
    message = replace(committed("n1"), target=target)
    store.commit("a", [message], now=NOW)
    assert list(store.outbox("a")) == [message]


def test_settling_empties_the_outbox_and_forgets_nothing_that_was_seen(store: AnyStore) -> None:
    store.commit("a", [committed("n1", A), committed("n2", B)], now=NOW)
    store.settle("a", ["n1", "never heard of"])
    assert list(store.outbox("a")) == [committed("n2", B)]
    assert store.seen("a").keys() == {A, B}


def test_a_commit_settles_the_batch_before_it(store: AnyStore) -> None:
    store.commit("a", [committed("n1", A)], now=NOW)
    store.commit("a", [committed("n2", B)], now=NOW, settled=["n1"])
    assert list(store.outbox("a")) == [committed("n2", B)]
    store.commit("a", [], now=NOW, settled=["n2"])
    assert list(store.outbox("a")) == []
    assert store.accounts()[0].delivered == 2


def test_each_committed_copy_of_a_shared_unique_id_counts(store: AnyStore) -> None:
    """RFC 1939 §7 permits identical messages to share a unique-id (FAULTS B 37)."""
    store.commit("a", [committed("n1"), committed("n2")], now=NOW)
    store.commit("a", [committed("n3")], now=NOW + DAY)
    assert store.seen("a") == {A: Seen(copies=3, first_seen=NOW, fate=Fate.DELIVERED)}


@pytest.mark.parametrize("repeat", [["n1"], ["n2", "n1"], ["n3", "n3"]], ids=["alone", "in a batch", "in itself"])
def test_a_name_is_committed_once_and_a_repeat_changes_nothing(store: AnyStore, repeat: list[str]) -> None:
    """A caller that repeats a commit whose outcome it does not know can never count a copy twice."""
    store.commit("a", [committed("n1", A)], now=NOW)
    with pytest.raises(StoreError, match="twice"):
        store.commit("a", [committed(name, B) for name in repeat], now=NOW + 1)
    assert list(store.outbox("a")) == [committed("n1", A)]
    assert store.seen("a") == {A: Seen(copies=1, first_seen=NOW, fate=Fate.DELIVERED)}
    assert store.accounts()[0].delivered == 1


def test_a_message_without_a_unique_id_is_to_be_published_and_leaves_no_memory(store: AnyStore) -> None:
    store.commit("a", [committed("n1", None)], now=NOW)
    assert list(store.outbox("a")) == [committed("n1", None)]
    assert store.seen("a") == {}
    assert store.accounts()[0].delivered == 1


def test_a_commit_of_a_skipped_unique_id_leaves_it_not_ours_to_delete(store: AnyStore) -> None:
    """``Seen.fate`` is DELIVERED only if every copy was."""
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
    store.commit("a", [committed("n1")], now=NOW + 1)
    assert store.seen("a") == {A: Seen(copies=2, first_seen=NOW, fate=Fate.SKIPPED)}


def test_a_commit_of_a_vanished_unique_id_makes_it_listed_again(store: AnyStore) -> None:
    store.commit("a", [committed("n1")], now=NOW)
    store.listed("a", vanished=[A], returned=[], now=NOW)
    store.commit("a", [committed("n2")], now=NOW + 1)
    assert store.seen("a")[A].listed


@pytest.mark.parametrize(
    "uid",
    [b"", b"\0" + b"ab" * 12, b"a'b\"c;--", bytes(range(256)), b"../../x", b" trailing ", b"x" * 5000],
    ids=["empty", "recovered", "quotes", "every octet", "path", "blanks", "long"],
)
def test_unique_ids_are_opaque_octets(store: AnyStore, uid: bytes) -> None:
    """FAULTS B 34, 35."""
    store.mark_troubled("a", UniqueId(uid), now=NOW)
    assert set(store.troubled("a")) == {uid}
    store.commit("a", [committed("n", uid)], now=NOW)
    assert store.seen("a").keys() == {uid}
    assert list(store.outbox("a")) == [committed("n", uid)]
    assert store.troubled("a") == {}


def test_unique_ids_that_differ_by_case_or_a_blank_are_different(store: AnyStore) -> None:
    """FAULTS B 36."""
    different = [UniqueId(uid) for uid in (b"abc", b"ABC", b"abc ", b"abc\0", b"\xe4", b"\xc3\xa4")]
    store.mark("a", different, fate=Fate.SKIPPED, now=NOW)
    assert store.seen("a").keys() == set(different)
    assert {one.copies for one in store.seen("a").values()} == {1}


# ── mark ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_marking_counts_occurrences_and_marking_again_changes_nothing(store: AnyStore) -> None:
    """A mark has no name to tell a repeat by: so that one whose outcome is unknown can be repeated, it is a maximum."""
    for now in (NOW, NOW + 99):
        store.mark("a", [A, B, A], fate=Fate.SKIPPED, now=now)
    assert store.seen("a") == {
        A: Seen(copies=2, first_seen=NOW, fate=Fate.SKIPPED),
        B: Seen(copies=1, first_seen=NOW, fate=Fate.SKIPPED),
    }


def test_marking_never_takes_copies_away(store: AnyStore) -> None:
    store.mark("a", [A, A, A], fate=Fate.SKIPPED, now=NOW)
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
    assert store.seen("a")[A].copies == 3


@pytest.mark.parametrize(("first", "second"), [(Fate.DELIVERED, Fate.SKIPPED), (Fate.SKIPPED, Fate.DELIVERED)])
def test_skipped_outweighs_delivered_whichever_came_first(store: AnyStore, first: Fate, second: Fate) -> None:
    store.mark("a", [A], fate=first, now=NOW)
    store.mark("a", [A], fate=second, now=NOW)
    assert store.seen("a")[A].fate is Fate.SKIPPED


def test_marking_as_delivered_is_kept_as_delivered(store: AnyStore) -> None:
    store.mark("a", [A], fate=Fate.DELIVERED, now=NOW)
    assert store.seen("a")[A].fate is Fate.DELIVERED
    assert store.accounts()[0].delivered == 0


def test_marking_a_vanished_unique_id_makes_it_listed_again(store: AnyStore) -> None:
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
    store.listed("a", vanished=[A], returned=[], now=NOW)
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
    assert store.seen("a")[A].listed


def test_nothing_to_mark_commit_or_settle_writes_nothing(store: AnyStore) -> None:
    store.mark("a", [], fate=Fate.SKIPPED, now=NOW)
    store.commit("a", [], now=NOW)
    store.settle("a", [])
    assert list(store.accounts()) == []


# ── listed ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_account_is_known_only_by_a_complete_listing(store: AnyStore) -> None:
    store.commit("a", [committed("n")], now=NOW)
    store.mark("a", [B], fate=Fate.SKIPPED, now=NOW)
    assert not store.knows("a")
    store.listed("a", vanished=[], returned=[], now=NOW)
    assert store.knows("a")
    assert not store.knows("b")


def test_what_vanished_is_remembered_as_not_listed_until_it_returns(store: AnyStore) -> None:
    """FAULTS B 42: unique-ids vanish and come back."""
    store.mark("a", [A, B], fate=Fate.SKIPPED, now=NOW)
    store.listed("a", vanished=[A, UniqueId(b"never heard of")], returned=[], now=NOW)
    assert store.seen("a") == {
        A: Seen(copies=1, first_seen=NOW, fate=Fate.SKIPPED, listed=False),
        B: Seen(copies=1, first_seen=NOW, fate=Fate.SKIPPED),
    }
    store.listed("a", vanished=[], returned=[A], now=NOW + 1)
    assert store.seen("a")[A].listed


def daily(store: AnyStore, first: int, last: int) -> None:
    """Lists nothing new on each of the days after NOW from ``first`` to ``last``."""
    for day in range(first, last + 1):
        store.listed("a", vanished=[], returned=[], now=NOW + day * DAY)


def test_what_returned_is_no_more_ours_to_delete(store: AnyStore) -> None:
    """FAULTS 42, 43: it may be another message by now; once such, it stays such."""
    store.commit("a", [committed("n1", A), committed("n2", B)], now=NOW)
    store.mark("a", [C], fate=Fate.SKIPPED, now=NOW)
    store.listed("a", vanished=[A, C], returned=[], now=NOW)
    store.listed("a", vanished=[], returned=[A, B, C, UniqueId(b"never heard of")], now=NOW + 1)
    seen = store.seen("a")
    assert {uid: entry.fate for uid, entry in seen.items()} == {
        A: Fate.UNPROVEN,
        B: Fate.DELIVERED,
        C: Fate.SKIPPED,
    }
    store.mark("a", [A], fate=Fate.DELIVERED, now=NOW)
    assert store.seen("a")[A].fate is Fate.UNPROVEN


def test_what_is_forgotten_is_as_if_it_had_never_been(store: AnyStore) -> None:
    """FAULTS 43: the next message under that unique-id is a new one, with an age of its own."""
    store.commit("a", [committed(f"n{number}", uid) for number, uid in enumerate([A, B, B, B])], now=NOW)
    store.listed("a", vanished=[], returned=[], now=NOW, forgotten={A: 1, B: 2, UniqueId(b"never heard of"): 1})
    assert store.seen("a") == {B: Seen(1, NOW, Fate.DELIVERED)}
    store.commit("a", [committed("n5", A)], now=NOW + 7)
    assert store.seen("a")[A] == Seen(1, NOW + 7, Fate.DELIVERED)


def test_deletions_are_remembered_until_a_listing_settles_them(store: AnyStore) -> None:
    store.commit("a", [committed("n1", A)], now=NOW)
    store.deleting("a", {A: Deletion(1, 4096), B: Deletion(2)})
    store.deleting("a", {})
    assert store.deletions("a") == {A: Deletion(1, 4096), B: Deletion(2)}
    assert store.seen("a")[A].listed
    store.listed("a", vanished=[], returned=[], now=NOW, settled=[A])
    assert store.deletions("a") == {B: Deletion(2)}
    assert store.deletions("b") == {}
    store.deleting("a", {B: Deletion(1, 5)})
    assert store.deletions("a") == {B: Deletion(1, 5)}


def test_a_target_is_known_from_the_first_commit_for_it_on_whoever_asks(store: AnyStore) -> None:
    """FAULTS G 99: another account that delivers there must not create it anew either, mail or no mail."""
    here, there = "maildir:/home/alice/Maildir", "mbox:/not-utf-8-\udcff"
    store.mark("a", [A], fate=Fate.DELIVERED, now=NOW)
    assert not store.delivered_into(here)
    store.commit("a", [replace(committed("n1", A), target=here), replace(committed("n2", B), target=there)], now=NOW)
    store.settle("a", ["n1", "n2"])
    store.commit("b", [replace(committed("n3", A), target=here)], now=NOW)
    assert store.delivered_into(here)
    assert store.delivered_into(there)
    assert not store.delivered_into("mbox:/home/alice/Maildir")
    assert not store.delivered_into("maildir:/home/alice/Maildi")


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.commit("a", [committed("n2", B)], now=NOW),
        lambda store: store.mark("a", [B], fate=Fate.SKIPPED, now=NOW),
        lambda store: store.listed("a", vanished=[A], returned=[], now=NOW),
        lambda store: store.listed("a", vanished=[], returned=[], now=NOW, forgotten={A: 1}),
        lambda store: store.listed("a", vanished=[], returned=[], now=NOW, settled=[A]),
        lambda store: store.deleting("a", {A: Deletion(1)}),
        lambda store: store.doubt("a"),
    ],
)
def test_a_listing_of_which_everything_is_known_is_kept_until_anything_changes(store: AnyStore, change) -> None:
    store.commit("a", [committed("n1", A)], now=NOW)
    assert store.all_known("a") is None
    for known in (AllKnown(b"digest"), AllKnown(b"digest", NOW)):
        store.listed("a", vanished=[], returned=[], now=NOW, known=known)
        store.listed("a", vanished=[], returned=[], now=NOW)
        store.mark_troubled("a", B, now=NOW)
        store.settle("a", ["n1"])
        assert store.all_known("a") == known
    change(store)
    assert store.all_known("a") is None


def test_doubt_makes_nothing_delivered_so_far_ours_to_delete(store: AnyStore) -> None:
    """FAULTS 104."""
    store.commit("a", [committed("n1", A)], now=NOW)
    store.mark("a", [C], fate=Fate.SKIPPED, now=NOW)
    store.doubt("a")
    store.commit("a", [committed("n2", B)], now=NOW)
    fates = {uid: entry.fate for uid, entry in store.seen("a").items()}
    assert fates == {A: Fate.UNPROVEN, B: Fate.DELIVERED, C: Fate.SKIPPED}


def staged_at(*seconds: int) -> list[Committed]:
    names = [message_name("a", A, seconds=each, nonce=next(NONCES), host="mx") for each in seconds]
    return [committed(name) for name in names]


def test_the_newest_names_are_remembered_whatever_the_clock_does(store: AnyStore) -> None:
    """FAULTS 104, 106: names of files that are newer show that the store is older."""
    assert store.last_commit("a") == LastCommit(0, 0, 0)
    store.commit("a", staged_at(NOW - 2, NOW, NOW), now=NOW + 9)
    assert store.last_commit("a") == LastCommit(NOW, 2, NOW)
    store.commit("a", staged_at(NOW, NOW - 1), now=NOW + 9)
    assert store.last_commit("a") == LastCommit(NOW, 3, NOW)
    store.commit("a", staged_at(NOW + 1), now=NOW + 9)
    assert store.last_commit("a") == LastCommit(NOW + 1, 1, NOW + 1)
    store.commit("a", staged_at(NOW - DAY), now=NOW - DAY)
    assert store.last_commit("a") == LastCommit(NOW + 1, 1, NOW - DAY)
    store.commit("a", [], now=NOW, settled=["n"])
    assert store.last_commit("a") == LastCommit(NOW + 1, 1, NOW - DAY)
    assert not store.is_listed_since_opened("a")
    store.listed("a", vanished=[], returned=[], now=NOW)
    assert store.is_listed_since_opened("a")


def test_a_listing_that_finds_the_clock_set_back_says_what_was_known_until_then(store: AnyStore) -> None:
    """FAULTS 104, 106."""
    store.listed("a", vanished=[], returned=[], now=NOW + 9 * DAY)
    store.commit("a", staged_at(NOW + 9 * DAY), now=NOW + 9 * DAY)
    store.listed("a", vanished=[], returned=[], now=NOW)
    assert store.last_commit("a") == LastCommit(NOW + 9 * DAY, 1, NOW)
    store.listed("a", vanished=[], returned=[], now=NOW + DAY)
    assert store.last_commit("a") == LastCommit(NOW + 9 * DAY, 1, NOW)


def test_names_of_files_tell_nothing_of_another_maildrop(store: AnyStore) -> None:
    """FAULTS 104: an account that gets another user finds files of the old one's under its own name."""
    store.configure({"a": ("h", "u")})
    store.commit("a", staged_at(NOW), now=NOW)
    store.configure({"a": ("h", "v")})
    assert store.last_commit("a") == LastCommit(NOW + 1, 0, NOW + 1)


def test_what_vanished_is_purged_after_ninety_days_and_not_before(store: AnyStore) -> None:
    store.mark("a", [A, B], fate=Fate.SKIPPED, now=NOW - 1000 * DAY)
    store.listed("a", vanished=[A], returned=[], now=NOW)
    daily(store, 1, 89)
    assert store.seen("a").keys() == {A, B}
    daily(store, 90, 90)
    assert store.seen("a").keys() == {B}
    daily(store, 91, 300)
    assert store.seen("a").keys() == {B}


def test_ninety_days_are_counted_from_when_it_was_first_found_gone(store: AnyStore) -> None:
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
    store.listed("a", vanished=[A], returned=[], now=NOW)
    for day in range(1, 90):
        store.listed("a", vanished=[A], returned=[], now=NOW + day * DAY)
    daily(store, 90, 90)
    assert store.seen("a") == {}


def test_what_returned_and_vanished_again_has_its_ninety_days_anew(store: AnyStore) -> None:
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
    store.listed("a", vanished=[A], returned=[], now=NOW)
    daily(store, 1, 59)
    store.listed("a", vanished=[], returned=[A], now=NOW + 60 * DAY)
    store.listed("a", vanished=[A], returned=[], now=NOW + 61 * DAY)
    daily(store, 62, 150)
    assert store.seen("a").keys() == {A}
    daily(store, 151, 151)
    assert store.seen("a") == {}


@pytest.mark.parametrize("step", [400, 3650, -400, -20000], ids=["+400 d", "+10 y", "-400 d", "to 1971"])
def test_a_clock_that_steps_purges_nothing(store: AnyStore, step: int) -> None:
    """FAULTS G 106; neither when it steps nor when it steps back."""
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
    store.mark_troubled("a", B, now=NOW)
    store.listed("a", vanished=[A], returned=[], now=NOW)
    for now in (NOW + step * DAY, NOW + (step + 1) * DAY, NOW + 2 * DAY, NOW + 3 * DAY):
        store.listed("a", vanished=[], returned=[], now=now)
        assert store.seen("a").keys() == {A}
        assert set(store.troubled("a")) == {B}


def test_what_a_clock_that_was_ahead_recorded_counts_as_seen_when_it_is_set_back(store: AnyStore) -> None:
    """FAULTS 106: it would not be due before that time comes; and the listing that it is part of, neither."""
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW - 5)
    store.listed("a", vanished=[], returned=[], now=NOW + 3650 * DAY)
    store.commit("a", [committed("n", B)], now=NOW + 3650 * DAY)
    known = AllKnown(b"digest", NOW + 3650 * DAY)
    assert store.listed("a", vanished=[], returned=[], now=NOW, known=known) == 1
    assert {uid: entry.first_seen for uid, entry in store.seen("a").items()} == {A: NOW - 5, B: NOW}
    assert store.all_known("a") is None
    assert store.listed("a", vanished=[], returned=[], now=NOW + DAY, known=known) == 0
    assert store.all_known("a") == known


def test_a_clock_that_was_not_set_yet_makes_nothing_look_old(store: AnyStore) -> None:
    """FAULTS 106: a machine without a clock begins in 1970, until it has asked for the time."""
    store.listed("a", vanished=[], returned=[], now=NOW)
    store.commit("a", [committed("n", A)], now=NOW)
    assert store.listed("a", vanished=[], returned=[], now=DAY) == 0
    store.listed("a", vanished=[], returned=[], now=NOW)
    assert store.seen("a")[A].first_seen == NOW


def test_the_ninety_days_begin_again_after_a_clock_stepped(store: AnyStore) -> None:
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW - 500 * DAY)
    store.listed("a", vanished=[A], returned=[], now=NOW - 500 * DAY)
    daily(store, 0, 89)
    assert store.seen("a").keys() == {A}
    daily(store, 90, 90)
    assert store.seen("a") == {}


def test_a_vanished_message_is_recorded_at_once_although_purging_is_daily(store: AnyStore) -> None:
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
    store.listed("a", vanished=[], returned=[], now=NOW)
    store.listed("a", vanished=[A], returned=[], now=NOW + 1)
    assert not store.seen("a")[A].listed


def test_what_vanished_while_the_clock_was_years_ahead_is_purged_ninety_days_after_it_was_put_right(
    store: AnyStore,
) -> None:
    store.mark("a", [A], fate=Fate.SKIPPED, now=NOW)
    store.listed("a", vanished=[A], returned=[], now=NOW + 3650 * DAY)
    daily(store, 0, 89)
    assert store.seen("a").keys() == {A}
    daily(store, 90, 90)
    assert store.seen("a") == {}


# ── trouble ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_trouble_is_remembered_until_the_message_is_delivered(store: AnyStore) -> None:
    store.mark_troubled("a", A, now=NOW)
    store.mark_troubled("a", A, now=NOW + 1)
    store.mark_troubled("a", B, now=NOW)
    assert store.troubled("a") == {A: NOW + 1, B: NOW}
    assert store.seen("a") == {}
    store.commit("a", [committed("n", A)], now=NOW)
    assert set(store.troubled("a")) == {B}


def test_trouble_of_ninety_days_ago_is_forgotten(store: AnyStore) -> None:
    store.listed("a", vanished=[], returned=[], now=NOW)
    store.mark_troubled("a", A, now=NOW)
    store.mark_troubled("a", B, now=NOW)
    daily(store, 1, 89)
    store.mark_troubled("a", B, now=NOW + 89 * DAY)
    assert set(store.troubled("a")) == {A, B}
    daily(store, 90, 90)
    assert set(store.troubled("a")) == {B}


# ── the journal ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_append_is_recorded_then_done_then_forgotten_with_its_names(store: AnyStore) -> None:
    store.commit("a", [committed("n1"), committed("n2", B)], now=NOW)
    journal = store.journal("a")
    journal.appending(placement("n1", "n2"))
    assert list(journal.placements()) == [placement("n1", "n2")]
    journal.appended(placement("n1", "n2"))
    assert list(store.journal("a").placements()) == [placement("n1", "n2", done=True)]
    store.settle("a", ["n1"])
    assert list(journal.placements()) == [placement("n1", "n2", done=True)]
    store.commit("a", [], now=NOW, settled=["n2"])
    assert list(journal.placements()) == []


def test_placements_come_oldest_first_and_only_the_named_one_is_done(store: AnyStore) -> None:
    journal = store.journal("a")
    journal.appending(placement("n1", offset=300))
    journal.appending(placement("n2", offset=200))
    journal.appending(placement("n3", offset=100))
    journal.appended(placement("n2", offset=200))
    assert list(journal.placements()) == [
        placement("n1", offset=300),
        placement("n2", offset=200, done=True),
        placement("n3", offset=100),
    ]


def test_an_append_that_was_given_up_and_made_elsewhere_stays_undone_before_the_new_one(store: AnyStore) -> None:
    """The last record of a name counts; recovery tells by the order."""
    journal = store.journal("a")
    for offset in (300, 200, 100):
        journal.appending(placement("n1", offset=offset))
    journal.appended(placement("n1", offset=200))
    assert list(journal.placements()) == [
        placement("n1", offset=300),
        placement("n1", offset=200, done=True),
        placement("n1", offset=100),
    ]


def test_an_append_that_was_found_done_needs_no_earlier_record(store: AnyStore) -> None:
    store.journal("a").appended(placement("n1"))
    assert list(store.journal("a").placements()) == [placement("n1", done=True)]


@pytest.mark.parametrize("inode", [0, 2**63 - 1, 2**63, 2**64 - 1])
def test_an_inode_may_use_all_its_64_bits(store: AnyStore, inode: int) -> None:
    journal = store.journal("a")
    journal.appending(placement("n1", inode=inode))
    journal.appended(placement("n1", inode=inode))
    assert list(journal.placements()) == [placement("n1", inode=inode, done=True)]


# ── status and configuration ─────────────────────────────────────────────────────────────────────────────────────


def test_the_record_of_an_account_tells_its_last_polls(store: AnyStore) -> None:
    store.configure({"a": ("pop.Example.org", "alice")})
    store.commit("a", [committed("n1"), committed("n2", None)], now=NOW)
    store.mark("a", [B, C], fate=Fate.SKIPPED, now=NOW)
    store.poll_ended("a", PollResult(account="a", delivered=2), error="", now=NOW)
    store.poll_ended("a", PollResult(account="a"), error="refused \udcff", now=NOW + 1)
    failed = AccountRecord(
        name="a",
        user="alice",
        host="pop.Example.org",
        seen=3,
        delivered=2,
        last_success=NOW,
        last_failure=NOW + 1,
        last_error=store.accounts()[0].last_error,
    )
    assert list(store.accounts()) == [failed]
    assert failed.last_error.startswith("refused ")
    store.poll_ended("a", PollResult(account="a"), error="", now=NOW + 2)
    assert store.accounts()[0].last_error == ""
    assert store.accounts()[0].last_failure == NOW + 1


def test_the_delay_that_a_server_wants_is_kept_until_it_wants_none(store: AnyStore) -> None:
    """FAULTS 67."""
    store.poll_ended("a", PollResult(account="a", login_delay=60), error="", now=NOW)
    assert store.accounts()[0].not_before == NOW + 60
    store.poll_ended("a", PollResult(account="a"), error="", now=NOW + 90)
    assert store.accounts()[0].not_before == 0


def test_configured_accounts_are_listed_before_their_first_poll(store: AnyStore) -> None:
    assert store.configure({"b": ("h", "u2"), "a": ("h", "u1")}) == []
    assert [(one.name, one.host, one.user) for one in store.accounts()] == [("a", "h", "u1"), ("b", "h", "u2")]
    assert not store.knows("a")


def test_a_changed_host_is_recorded_and_forgets_nothing(store: AnyStore) -> None:
    store.configure({"a": ("old", "u")})
    store.commit("a", [committed("n")], now=NOW)
    assert store.configure({"a": ("new", "u")}) == []
    assert [(one.name, one.host, one.user, one.seen) for one in store.accounts()] == [("a", "new", "u", 1)]


def test_an_account_that_was_never_configured_keeps_its_memory_when_it_is(store: AnyStore) -> None:
    store.commit("a", [committed("n")], now=NOW)
    assert store.configure({"a": ("h", "u")}) == []
    assert store.seen("a").keys() == {A}


@pytest.mark.parametrize("host", ["h", "h2"])
def test_another_user_is_another_maildrop_and_the_old_memory_is_not_used_for_it(store: AnyStore, host: str) -> None:
    """Where unique-ids are plain counters, the new maildrop's mail would be deleted undelivered."""
    store.configure({"a": ("h", "alice")})
    store.commit("a", [committed("n")], now=NOW)
    store.mark_troubled("a", B, now=NOW)
    store.poll_ended("a", PollResult(account="a", login_delay=60), error="", now=NOW)
    assert store.configure({"a": (host, "bob")}) == []
    assert store.seen("a") == {}
    assert not store.troubled("a")
    new, old = store.accounts()
    assert (new.name, new.user, new.host) == ("a", "bob", host)
    assert (new.seen, new.delivered, new.last_success, new.not_before) == (0, 0, None, 0)
    assert (old.name, old.user, old.host, old.seen) == ("a (was alice at h)", "alice", "h", 1)


def test_an_account_with_another_user_is_known_at_once(store: AnyStore) -> None:
    """What the target holds is the old maildrop's: taken for the new one's, it would mark mail that never came."""
    store.configure({"a": ("h", "alice")})
    assert not store.knows("a")
    store.configure({"a": ("h", "bob")})
    assert store.knows("a")


def test_files_of_an_account_stay_with_its_name_when_its_user_changes(store: AnyStore) -> None:
    """They lie in the staging under that name; set aside, nobody would publish what the old memory says came."""
    store.configure({"a": ("h", "alice"), "b": ("h", "bob")})
    for name in ("a", "b"):
        store.commit(name, [committed(f"n-{name}")], now=NOW)
        store.journal(name).appending(placement(f"n-{name}"))
    store.configure({"a": ("h", "bob"), "b": ("h", "alice")})
    for name in ("a", "b"):
        assert list(store.outbox(name)) == [committed(f"n-{name}")]
        assert list(store.journal(name).placements()) == [placement(f"n-{name}")]


def test_accounts_that_trade_their_users_trade_their_memories(store: AnyStore) -> None:
    store.configure({"a": ("h", "alice"), "b": ("h", "bob")})
    store.mark("a", [A], fate=Fate.DELIVERED, now=NOW)
    store.mark("b", [B], fate=Fate.DELIVERED, now=NOW)
    store.configure({"a": ("h", "bob"), "b": ("h", "alice")})
    assert store.seen("a").keys() == {B}
    assert store.seen("b").keys() == {A}
    assert [one.name for one in store.accounts()] == ["a", "b"]


def test_who_goes_back_to_the_old_user_finds_the_old_memory_and_the_newer_moves_aside(store: AnyStore) -> None:
    store.configure({"a": ("h", "alice")})
    store.mark("a", [A], fate=Fate.DELIVERED, now=NOW)
    store.configure({"a": ("h", "bob")})
    store.mark("a", [B], fate=Fate.DELIVERED, now=NOW)
    assert store.configure({"a": ("H", "alice")}) == [("a (was alice at h)", "a")]
    assert store.seen("a").keys() == {A}
    assert store.configure({"a": ("h", "bob")}) == [("a (was bob at h)", "a")]
    assert store.seen("a").keys() == {B}
    assert [one.name for one in store.accounts()] == ["a", "a (was alice at H)"]


def test_a_maildrop_that_moved_aside_is_found_again_under_another_name(store: AnyStore) -> None:
    store.configure({"a": ("h", "alice")})
    store.mark("a", [A], fate=Fate.DELIVERED, now=NOW)
    assert store.configure({"a": ("h", "bob"), "b": ("h", "alice")}) == [("a (was alice at h)", "b")]
    assert store.seen("b").keys() == {A}
    assert store.seen("a") == {}


def test_of_two_memories_set_aside_for_one_maildrop_each_name_finds_its_own(store: AnyStore) -> None:
    store.configure({"a": ("h", "alice"), "b": ("h", "alice")})
    store.mark("a", [A], fate=Fate.DELIVERED, now=NOW)
    store.mark("b", [B], fate=Fate.DELIVERED, now=NOW)
    store.configure({"a": ("h", "bob"), "b": ("h", "bob")})
    store.configure({"b": ("h", "alice"), "a": ("h", "alice")})
    assert store.seen("a").keys() == {A}
    assert store.seen("b").keys() == {B}


def test_a_name_to_set_aside_is_never_taken_twice(store: AnyStore) -> None:
    """Two memories of one maildrop: the second was made at another host, which then got the first one's name."""
    for host, user in (("h", "alice"), ("h", "bob"), ("h2", "alice"), ("h", "alice"), ("h", "carol")):
        store.configure({"a": (host, user)})
    assert [one.name for one in store.accounts()] == [
        "a",
        "a (was alice at h)",
        "a (was alice at h) #2",
        "a (was bob at h)",
    ]


@pytest.mark.parametrize("hosts", [("POP.example.org", "pop.example.org"), ("pop.example.org", "pop.EXAMPLE.org")])
def test_a_renamed_account_keeps_its_whole_memory(store: AnyStore, hosts: tuple[str, str]) -> None:
    store.configure({"old": (hosts[0], "alice")})
    store.commit("old", [committed("n")], now=NOW)
    store.journal("old").appending(placement("n"))
    store.mark_troubled("old", B, now=NOW)
    store.listed("old", vanished=[], returned=[], now=NOW)
    assert store.configure({"new": (hosts[1], "alice")}) == [("old", "new")]
    assert [one.name for one in store.accounts()] == ["new"]
    assert store.accounts()[0].host == hosts[1]
    assert store.knows("new")
    assert store.seen("new").keys() == {A}
    assert list(store.outbox("new")) == [committed("n")]
    assert list(store.journal("new").placements()) == [placement("n")]
    assert set(store.troubled("new")) == {B}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"old": ("h", "alice")}, {"new": ("h", "Alice")}),
        ({"old": ("h", "alice")}, {"new": ("h2", "alice")}),
        ({"old": ("h", "alice")}, {"new": ("h", "alice"), "old": ("h", "alice")}),
        ({"old": ("h", "alice"), "new": ("x", "alice")}, {"new": ("h", "alice")}),
        ({"old": ("h", "alice"), "old-2": ("H", "alice")}, {"new": ("h", "alice")}),
    ],
    ids=["other user", "other host", "still configured", "known itself", "two candidates"],
)
def test_an_account_is_not_renamed_on_less_than_certainty(
    store: AnyStore, before: dict[str, tuple[str, str]], after: dict[str, tuple[str, str]]
) -> None:
    store.configure(before)
    store.commit("old", [committed("n")], now=NOW)
    assert store.configure(after) == []
    assert store.seen("old").keys() == {A}
    assert store.seen("new") == {}


def test_two_claims_on_one_renamed_account_give_it_to_the_first(store: AnyStore) -> None:
    store.configure({"old": ("h", "alice")})
    store.commit("old", [committed("n")], now=NOW)
    assert store.configure({"new-1": ("h", "alice"), "new-2": ("h", "alice")}) == [("old", "new-1")]
    assert store.seen("new-1").keys() == {A}
    assert store.seen("new-2") == {}


def test_an_account_without_a_recorded_host_is_never_renamed(store: AnyStore) -> None:
    store.commit("old", [committed("n")], now=NOW)
    assert store.configure({"new": ("", "")}) == []
    assert store.seen("old").keys() == {A}


def test_a_healthy_store_passes_its_check(store: AnyStore) -> None:
    store.check()
    assert list(store.accounts()) == []


def test_many_threads_may_use_one_store(store: AnyStore) -> None:
    failures: list[BaseException] = []

    def work(account: str) -> None:
        try:
            for number in range(20):
                store.commit(account, [committed(f"n{number}", b"%d" % number)], now=NOW)
                assert len(store.seen(account)) == number + 1
                store.settle(account, [f"n{number}"])
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"account-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert [(one.seen, one.delivered) for one in store.accounts()] == [(20, 20)] * 8
