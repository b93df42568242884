"""The schema's migrations, and whose database a file is."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fetchd.errors import StoreError
from fetchd.store import schema

PATH = Path("/somewhere/fetchd.db")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as opened:
        yield opened


def tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_an_empty_database_becomes_the_newest_schema_and_ours(db: sqlite3.Connection) -> None:
    assert schema.version_of(db, PATH) == 0
    schema.migrate(db, 0)
    found = {"accounts", "seen", "outbox", "placements", "targets", "deletions", "trouble", "failing", "history"}
    assert tables(db) == found
    assert schema.version_of(db, PATH) == schema.SCHEMA_VERSION == 1
    assert db.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)


def test_the_released_schema_is_what_it_was() -> None:
    """A released migration is never edited: stores out there were made by it. Add another one instead."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        schema.migrate(db, 0, migrations=schema.MIGRATIONS[:1])
        columns = {table: [row[1] for row in db.execute(f"PRAGMA table_info({table})")] for table in tables(db)}
    assert columns == {
        "accounts": [
            *("id", "name", "host", "user", "listed_at", "committed_at", "committed_then", "latest_at"),
            *("known_listing", "known_oldest"),
            *("delivered", "last_success", "last_failure", "last_error", "not_before"),
        ],
        "seen": ["account", "uid", "first_seen", "copies", "fate", "gone_since"],
        "outbox": ["seq", "account", "name", "uid", "size", "target"],
        "placements": ["id", "account", "inode", "offset", "length", "digest", "names", "done"],
        "targets": ["target"],
        "deletions": ["account", "uid", "copies", "size"],
        "failing": ["account", "since", "failures", "told"],
        "trouble": ["account", "uid", "since"],
        "history": ["account", "quarter", "messages"],
    }


def test_only_what_is_missing_is_migrated(db: sqlite3.Connection) -> None:
    first: schema.Migration = ["CREATE TABLE one (x)", "INSERT INTO one VALUES (1)"]
    second: schema.Migration = ["CREATE TABLE two AS SELECT x + 1 AS x FROM one"]
    schema.migrate(db, 0, migrations=[first])
    assert schema.version_of(db, PATH, known=2) == 1
    schema.migrate(db, 1, migrations=[first, second])
    assert schema.version_of(db, PATH, known=2) == 2
    schema.migrate(db, 2, migrations=[first, second])
    assert db.execute("SELECT x FROM one").fetchall() == [(1,)]
    assert db.execute("SELECT x FROM two").fetchall() == [(2,)]


def test_a_migration_that_fails_leaves_the_old_version_whole(db: sqlite3.Connection) -> None:
    first: schema.Migration = ["CREATE TABLE one (x)"]
    good: schema.Migration = ["CREATE TABLE two (x)", "INSERT INTO one VALUES (1)"]
    bad: schema.Migration = ["CREATE TABLE three (x)", "INSERT INTO nowhere VALUES (1)"]
    schema.migrate(db, 0, migrations=[first])
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        schema.migrate(db, 1, migrations=[first, good, bad])
    assert not db.in_transaction
    assert schema.version_of(db, PATH, known=3) == 1
    assert tables(db) == {"one"}
    assert db.execute("SELECT count(*) FROM one").fetchone() == (0,)


def test_a_newer_schema_is_refused_by_name_and_number(db: sqlite3.Connection) -> None:
    schema.migrate(db, 0)
    db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError) as caught:
        schema.version_of(db, PATH)
    assert str(caught.value) == (
        "store /somewhere/fetchd.db was made by a newer fetchd (schema 2, this one knows 1): "
        "upgrade fetchd, or point `state:` elsewhere"
    )


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE other (x)",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 1",
        f"PRAGMA application_id = {schema.APPLICATION_ID}",
        "PRAGMA user_version = -1",
    ],
)
def test_another_programs_database_is_refused(db: sqlite3.Connection, statement: str) -> None:
    db.execute(statement)
    with pytest.raises(StoreError, match="another program's database"):
        schema.version_of(db, PATH)
