"""fetchd.store.history: when messages came, for the last day's chart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd.model import Committed, Deletion, Staged, UniqueId
from fetchd.store.history import KEEP, QUARTER
from fetchd.store.sqlite import SqliteStore

NOW = 1_795_521_600  # at a quarter of an hour
DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.open(tmp_path / "fetchd.db") as opened:
        yield opened


def commit(store: SqliteStore, *names: str, now: int, account: str = "alice", uid: bool = True) -> None:
    batch = [Committed(UniqueId(name.encode()) if uid else None, Staged(name, size=1)) for name in names]
    store.commit(account, batch, now=now)


def test_messages_are_counted_by_the_quarter_of_an_hour(store: SqliteStore) -> None:
    commit(store, "1", "2", now=NOW)
    commit(store, "3", now=NOW + QUARTER - 1)
    commit(store, "4", now=NOW + QUARTER)
    commit(store, "5", now=NOW, account="bob")
    assert store.delivered_since(NOW) == {"alice": {NOW: 3, NOW + QUARTER: 1}, "bob": {NOW: 1}}
    assert store.delivered_since(NOW + QUARTER + 1) == {"alice": {NOW + QUARTER: 1}}


def test_what_has_no_unique_id_and_what_is_deleted_on_the_server_counts(store: SqliteStore) -> None:
    commit(store, "1", now=NOW, uid=False)
    commit(store, "2", now=NOW)
    store.deleting("alice", {UniqueId(b"2"): Deletion(1)})
    store.listed(
        "alice", vanished=(), returned=(), now=NOW + 60, forgotten={UniqueId(b"2"): 1}, settled=[UniqueId(b"2")]
    )
    assert store.seen("alice") == {}
    assert store.delivered_since(NOW) == {"alice": {NOW: 2}}


def test_settling_alone_counts_nothing(store: SqliteStore) -> None:
    store.commit("alice", [], now=NOW, settled=["name"])
    assert store.delivered_since(0) == {}


@pytest.mark.parametrize("now", [NOW + KEEP + QUARTER, NOW - DAY], ids=["too old", "a clock that was ahead"])
def test_what_is_no_part_of_the_last_days_is_purged_once_a_day(store: SqliteStore, now: int) -> None:
    store.listed("alice", vanished=(), returned=(), now=NOW)
    commit(store, "1", now=NOW)
    commit(store, "2", now=now)
    store.listed("alice", vanished=(), returned=(), now=now)
    assert store.delivered_since(0) == {"alice": {now: 1}}


def test_a_renamed_account_takes_its_history_along(store: SqliteStore) -> None:
    store.configure({"alice": ("pop.x", "a")})
    commit(store, "1", now=NOW)
    store.configure({"anna": ("pop.x", "a")})
    assert store.delivered_since(NOW) == {"anna": {NOW: 1}}


def test_a_reader_sees_it_too(store: SqliteStore, tmp_path: Path) -> None:
    commit(store, "1", now=NOW)
    with SqliteStore.open_readonly(tmp_path / "fetchd.db") as reader:
        assert reader.delivered_since(NOW) == store.delivered_since(NOW)
