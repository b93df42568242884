"""fetchd.store.reader: what a plan needs to know of an account, read beside the daemon."""

import sqlite3
from pathlib import Path

import pytest

from fetchd.errors import StoreError
from fetchd.model import Committed, Deletion, Fate, PollResult, Remembered, Staged, UniqueId
from fetchd.store.sqlite import SqliteStore

NOW = 1_795_000_000
ONE, TWO = UniqueId(b"1"), UniqueId(b"2")


def remembered(path: Path, name: str = "alice", user: str = "u") -> Remembered:
    with SqliteStore.open_readonly(path) as reader:
        return reader.remembered(name, user=user)


def test_it_is_what_the_store_itself_tells_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.db"
    with SqliteStore.open(path) as store:
        store.configure({"alice": ("pop.example", "u"), "bob": ("pop.example", "v")})
        assert remembered(path) == Remembered()
        store.commit("alice", [Committed(ONE, Staged("1", size=1))], now=NOW)
        store.commit("bob", [Committed(UniqueId(b"9"), Staged("9", size=1))], now=NOW)
        store.mark("alice", [TWO], fate=Fate.SKIPPED, now=NOW)
        store.listed("alice", vanished=[TWO], returned=(), now=NOW)
        store.mark_troubled("alice", UniqueId(b"3"), now=NOW)
        store.deleting("alice", {ONE: Deletion(1, 42)})
        store.poll_ended("alice", PollResult("alice", login_delay=60), error="", now=NOW)
        found = remembered(path)
        assert found == Remembered(
            known=store.knows("alice"),
            seen=store.seen("alice"),
            troubled=store.troubled("alice"),
            deletions=store.deletions("alice"),
            not_before=NOW + 60,
        )
    assert found.known
    assert (len(found.seen), len(found.troubled), len(found.deletions)) == (2, 1, 1)
    assert not found.seen[TWO].listed


@pytest.mark.parametrize(("name", "user"), [("carol", "u"), ("alice", "another")])
def test_nothing_is_remembered_of_a_stranger_or_of_another_user_of_that_name(
    name: str, user: str, tmp_path: Path
) -> None:
    """Another user under the same name is another maildrop: its unique-ids may be those of the old one."""
    path = tmp_path / "fetchd.db"
    with SqliteStore.open(path) as store:
        store.configure({"alice": ("pop.example", "u")})
        store.commit("alice", [Committed(ONE, Staged("1", size=1))], now=NOW)
    assert remembered(path, name, user) == Remembered()
    assert remembered(path) != Remembered()


def test_a_store_that_fetchd_did_not_write_like_this_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.db"
    with SqliteStore.open(path) as store:
        store.configure({"alice": ("pop.example", "u")})
        store.commit("alice", [Committed(ONE, Staged("1", size=1))], now=NOW)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE seen SET fate = 99")
    db.close()
    with pytest.raises(StoreError, match="is damaged"):
        remembered(path)
