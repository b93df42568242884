"""``fetchd status`` beside the daemon: a look that takes no lock and changes nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fetchd.errors import StoreError
from fetchd.model import Committed, Staged, UniqueId
from fetchd.store.sqlite import SqliteStore

NOW = 1_795_461_986


def commit(store: SqliteStore, name: str) -> None:
    store.commit("a", [Committed(uid=UniqueId(name.encode()), staged=Staged(name, size=1))], now=NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fetchd.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.open(path) as opened:
        yield opened


def test_a_reader_sees_what_the_running_daemon_committed(path: Path, store: SqliteStore) -> None:
    commit(store, "one")
    with SqliteStore.open_readonly(path) as reader:
        assert list(reader.accounts()) == list(store.accounts())
        commit(store, "two")
        assert reader.accounts()[0].seen == 2


def test_a_reader_neither_waits_for_a_write_nor_holds_one_up(path: Path, store: SqliteStore) -> None:
    commit(store, "one")
    with SqliteStore.open_readonly(path) as reader:
        with store._database.writing() as db:
            db.execute("UPDATE accounts SET delivered = 99")
            assert reader.accounts()[0].delivered == 1
        assert reader.accounts()[0].delivered == 99


def test_a_reader_works_while_no_daemon_does_and_leaves_the_store_free(path: Path, store: SqliteStore) -> None:
    commit(store, "one")
    store.close()
    with SqliteStore.open_readonly(path) as reader:
        assert reader.accounts()[0].seen == 1
        with SqliteStore.open(path) as again:
            commit(again, "two")
        assert reader.accounts()[0].seen == 2


def test_a_reader_cannot_write(path: Path, store: SqliteStore) -> None:
    with SqliteStore.open_readonly(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("INSERT INTO accounts (name) VALUES ('x')")


def test_reading_no_store_is_an_error_and_makes_none(path: Path) -> None:
    with pytest.raises(StoreError, match=f"store {path} cannot be used: {path}: No such file"):
        SqliteStore.open_readonly(path)
    assert not path.exists()


def test_reading_what_is_not_yet_a_store_says_to_start_fetchd(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreError, match=r"not brought up to schema 1 yet \(it has 0\): start fetchd once"):
        SqliteStore.open_readonly(path)


def test_reading_a_newer_store_is_refused(path: Path, store: SqliteStore) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="newer fetchd"):
        SqliteStore.open_readonly(path)


def test_reading_what_is_no_database_is_a_store_error(path: Path) -> None:
    path.write_bytes(b"hello" * 1000)
    with pytest.raises(StoreError, match="is not a fetchd store"):
        SqliteStore.open_readonly(path)


def test_a_relative_path_is_read_where_we_stand(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with SqliteStore.open_readonly(Path(path.name)) as reader:
        assert list(reader.accounts()) == []
