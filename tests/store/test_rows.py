"""fetchd.store.rows: many rows by one statement."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from fetchd.store.rows import TOGETHER, execute_rows


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE pairs (place INTEGER PRIMARY KEY, number INTEGER, word BLOB)")
        yield connection


@pytest.mark.parametrize("count", [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 2 * TOGETHER, 2 * TOGETHER + 3])
def test_all_rows_go_in_once_and_in_order(db: sqlite3.Connection, count: int) -> None:
    rows = [(number, b"w%d" % number) for number in range(count)]
    execute_rows(db, "INSERT INTO pairs (number, word) VALUES {rows}", "(?, ?)", rows)
    assert db.execute("SELECT number, word FROM pairs ORDER BY place").fetchall() == rows


@pytest.mark.parametrize("count", [1, TOGETHER, TOGETHER + 1])
def test_what_is_updated_twice_in_one_statement_counts_twice(db: sqlite3.Connection, count: int) -> None:
    """As a unique-id that is delivered twice in one batch has two copies."""
    statement = "INSERT INTO pairs (place, number) VALUES {rows} ON CONFLICT (place) DO UPDATE SET number = number + 1"
    execute_rows(db, statement, "(?, 1)", [(7,)] * count)
    assert db.execute("SELECT place, number FROM pairs").fetchall() == [(7, count)]


@pytest.mark.parametrize("count", [1, TOGETHER, TOGETHER + 1])
def test_first_values_go_with_every_statement(db: sqlite3.Connection, count: int) -> None:
    rows = [(number,) for number in range(count)]
    db.executemany("INSERT INTO pairs (number, word) VALUES (?, 'a'), (?1, 'b')", rows)
    execute_rows(db, "DELETE FROM pairs WHERE word = ? AND number IN ({rows})", "?", rows, first=("a",))
    assert db.execute("SELECT number FROM pairs WHERE word = 'a'").fetchall() == []
    assert db.execute("SELECT number FROM pairs WHERE word = 'b' ORDER BY number").fetchall() == rows
