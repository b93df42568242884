"""fetchd.store.database: one connection, which is given up after any error."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fetchd.errors import StoreError
from fetchd.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database.open(tmp_path / "fetchd.db")) as opened:
        yield opened


def test_readers_share_the_connection(database: Database) -> None:
    with database.reading() as first:
        pass
    with database.reading() as second:
        assert second is first


def test_an_error_of_sqlite_while_reading_is_translated_and_drops_the_connection(database: Database) -> None:
    """What an error left of it nobody knows; and the next reader gets its turn."""
    with pytest.raises(StoreError, match="no such table") as raised, database.reading() as first:
        first.execute("SELECT * FROM nowhere")
    assert isinstance(raised.value.__cause__, sqlite3.Error)
    with database.reading() as second:
        assert second is not first


def test_any_other_error_while_reading_passes_and_drops_it_too(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.reading() as first:
        raise ZeroDivisionError
    with database.reading() as second:
        assert second is not first


def test_a_store_that_cannot_be_opened_again_lets_the_next_one_try(database: Database, tmp_path: Path) -> None:
    """Neither the mutex nor a half-opened connection is kept."""
    away = tmp_path / "away"
    with pytest.raises(ZeroDivisionError), database.reading():
        raise ZeroDivisionError
    (tmp_path / "fetchd.db").rename(away)
    for _ in range(2):
        with pytest.raises(StoreError), database.reading():
            raise AssertionError("nobody gets here")
    away.rename(tmp_path / "fetchd.db")
    with database.reading() as db:
        assert db.execute("SELECT count(*) FROM accounts").fetchone() == (0,)
