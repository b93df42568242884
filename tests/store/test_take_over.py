"""What another program fetched, in the store: once, earliest time, and ours to delete only where that is certain."""

from pathlib import Path

import pytest

from fetchd.model import AllKnown, Committed, Fate, Seen, Staged, UniqueId
from fetchd.store.sqlite import SqliteStore

NOW = 1_800_000_000
ONE, TWO = UniqueId(b"one"), UniqueId(b"two")


@pytest.fixture
def store(tmp_path: Path):
    with SqliteStore.open(tmp_path / "fetchd.db") as opened:
        yield opened


def skipped(first_seen: int = 7, copies: int = 1, *, listed: bool = True) -> Seen:
    return Seen(copies=copies, first_seen=first_seen, fate=Fate.SKIPPED, listed=listed)


def test_it_is_remembered_as_it_was_and_the_account_is_known(store: SqliteStore) -> None:
    known = {ONE: skipped(), TWO: skipped(copies=2, listed=False)}
    assert not store.knows("alice")
    store.take_over("alice", known, now=NOW)
    assert store.knows("alice")
    assert store.seen("alice") == known


def test_a_repetition_changes_nothing(store: SqliteStore) -> None:
    for later in (0, 10):
        store.take_over("alice", {ONE: skipped(), TWO: skipped(copies=2, listed=False)}, now=NOW + later)
    assert store.seen("alice") == {ONE: skipped(), TWO: skipped(copies=2, listed=False)}


def test_a_time_to_come_counts_as_now(store: SqliteStore) -> None:
    store.take_over("alice", {ONE: skipped(NOW + 99)}, now=NOW)
    assert store.seen("alice")[ONE].first_seen == NOW


def test_a_listing_of_which_everything_was_known_is_looked_at_again(store: SqliteStore) -> None:
    store.listed("alice", vanished=(), returned=(), now=NOW, known=AllKnown(b"digest"))
    store.take_over("alice", {ONE: skipped()}, now=NOW)
    assert store.all_known("alice") is None


@pytest.mark.parametrize(
    ("ours", "theirs", "fate", "copies"),
    [
        # What both know: the old program's word, or ours, that it was delivered.
        (Seen(1, 5, Fate.SKIPPED), Seen(1, 7, Fate.DELIVERED), Fate.DELIVERED, 1),
        (Seen(1, 5, Fate.DELIVERED), Seen(1, 7, Fate.SKIPPED), Fate.DELIVERED, 1),
        # One knows of a copy that the other does not: invariant 5.
        (Seen(1, 5, Fate.DELIVERED), Seen(2, 7, Fate.SKIPPED), Fate.SKIPPED, 2),
        (Seen(2, 5, Fate.SKIPPED), Seen(1, 7, Fate.DELIVERED), Fate.SKIPPED, 2),
        (Seen(1, 5, Fate.UNPROVEN), Seen(1, 7, Fate.DELIVERED), Fate.UNPROVEN, 1),
    ],
)
def test_it_is_ours_to_delete_only_where_that_is_certain(
    ours: Seen, theirs: Seen, fate: Fate, copies: int, store: SqliteStore
) -> None:
    store.mark("alice", [ONE] * ours.copies, fate=ours.fate, now=5)
    store.take_over("alice", {ONE: theirs}, now=NOW)
    assert store.seen("alice") == {ONE: Seen(copies, 5, fate)}


def test_what_waits_to_be_published_is_left_alone(store: SqliteStore) -> None:
    batch = [Committed(ONE, Staged("name", 3), "maildir:/x")]
    store.commit("alice", batch, now=NOW)
    store.take_over("alice", {ONE: skipped(5)}, now=NOW)
    assert (list(store.outbox("alice")), store.seen("alice")[ONE]) == (batch, Seen(1, 5, Fate.DELIVERED))
