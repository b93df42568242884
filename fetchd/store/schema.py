"""The tables, as a list of migrations: version N of the schema is what the first N of them make.

A migration that was released is never edited; a change is a new one. All that are missing run in one transaction
together with the new ``PRAGMA user_version``, so that a failure leaves the old version whole.

There are no foreign keys: rows refer to an account by an id that was read in the same transaction, and no account is
ever removed. ``STRICT`` is not used, since it needs SQLite 3.37.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fetchd.errors import StoreError

APPLICATION_ID: Final = 0x66746864
"""``fthd``: marks the file as ours (``PRAGMA application_id``)."""

Migration = Sequence[str]
"""SQL statements, in order."""

MIGRATIONS: Final[Sequence[Migration]] = (
    (
        # host, user: as last configured, "" for an account that never was; they find a renamed account again.
        # listed_at: Unix seconds of a complete listing, up to a day old; NULL until there was one.
        # committed_at, committed_then, latest_at: model.LastCommit; 0 before the first commit.
        # known_listing, known_oldest: model.AllKnown; NULL where the next listing needs a plan.
        """CREATE TABLE accounts (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            host TEXT NOT NULL DEFAULT '',
            user TEXT NOT NULL DEFAULT '',
            listed_at INTEGER,
            committed_at INTEGER NOT NULL DEFAULT 0,
            committed_then INTEGER NOT NULL DEFAULT 0,
            latest_at INTEGER NOT NULL DEFAULT 0,
            known_listing BLOB,
            known_oldest INTEGER,
            delivered INTEGER NOT NULL DEFAULT 0,
            last_success INTEGER,
            last_failure INTEGER,
            last_error TEXT NOT NULL DEFAULT '',
            not_before INTEGER NOT NULL DEFAULT 0
        )""",
        # One row a unique-id, 20 to 30 octets over the unique-id itself; model.Seen says what the columns mean.
        # gone_since: Unix seconds at which it was found to be listed no more; NULL while it is listed.
        """CREATE TABLE seen (
            account INTEGER NOT NULL,
            uid BLOB NOT NULL CHECK (typeof(uid) = 'blob'),
            first_seen INTEGER NOT NULL,
            copies INTEGER NOT NULL,
            fate INTEGER NOT NULL,
            gone_since INTEGER,
            PRIMARY KEY (account, uid)
        ) WITHOUT ROWID""",
        # Committed and not yet settled only, so it stays small. seq only grows while rows are there to be ordered.
        # target: as model.target_text writes it, in octets, since a path need not be UTF-8.
        # UNIQUE: a commit that is repeated must not count a copy twice.
        """CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY,
            account INTEGER NOT NULL,
            name TEXT NOT NULL,
            uid BLOB CHECK (uid IS NULL OR typeof(uid) = 'blob'),
            size INTEGER NOT NULL,
            target BLOB NOT NULL,
            UNIQUE (account, name)
        )""",
        # names: a JSON list. inode: decimal text, since some file systems use all 64 bits and an INTEGER is signed.
        """CREATE TABLE placements (
            id INTEGER PRIMARY KEY,
            account INTEGER NOT NULL,
            inode TEXT NOT NULL,
            offset INTEGER NOT NULL,
            length INTEGER NOT NULL,
            digest BLOB NOT NULL,
            names TEXT NOT NULL,
            done INTEGER NOT NULL
        )""",
        "CREATE INDEX placements_account ON placements (account)",
        # Every target that a batch was ever committed for, by whichever account: such a one is not created anew.
        "CREATE TABLE targets (target BLOB PRIMARY KEY) WITHOUT ROWID",
        # What DELE and QUIT asked for since the last listing, which settles it; model.Deletion says what they mean.
        """CREATE TABLE deletions (
            account INTEGER NOT NULL,
            uid BLOB NOT NULL CHECK (typeof(uid) = 'blob'),
            copies INTEGER NOT NULL,
            size INTEGER,
            PRIMARY KEY (account, uid)
        ) WITHOUT ROWID""",
        # since: Unix seconds of the last session that broke over this message.
        """CREATE TABLE trouble (
            account INTEGER NOT NULL,
            uid BLOB NOT NULL CHECK (typeof(uid) = 'blob'),
            since INTEGER NOT NULL,
            PRIMARY KEY (account, uid)
        ) WITHOUT ROWID""",
        # Accounts that failed at their last poll, where somebody is to be told of it; model.Failing.
        """CREATE TABLE failing (
            account INTEGER PRIMARY KEY,
            since INTEGER NOT NULL,
            failures INTEGER NOT NULL,
            told INTEGER NOT NULL
        )""",
        # quarter: Unix seconds at which a quarter of an hour began. Of the last days only: see history.py.
        """CREATE TABLE history (
            account INTEGER NOT NULL,
            quarter INTEGER NOT NULL,
            messages INTEGER NOT NULL,
            PRIMARY KEY (account, quarter)
        ) WITHOUT ROWID""",
    ),
)

SCHEMA_VERSION: Final = len(MIGRATIONS)


def version_of(db: sqlite3.Connection, path: Path, *, known: int = SCHEMA_VERSION) -> int:
    """Returns the schema's version of an open database; 0 where it is empty. Changes nothing.

    Raises:
        StoreError: the database is another program's, or a newer fetchd's.
        sqlite3.Error: it is no database, or cannot be read.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    application = int(db.execute("PRAGMA application_id").fetchone()[0])
    tables = int(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if application == 0 and version == 0 and tables == 0:
        return 0
    if application != APPLICATION_ID or version < 1:
        raise StoreError(f"store {path} is another program's database: point `state:` elsewhere")
    if version > known:
        raise StoreError(
            f"store {path} was made by a newer fetchd (schema {version}, this one knows {known}): "
            "upgrade fetchd, or point `state:` elsewhere"
        )
    return version


def migrate(db: sqlite3.Connection, version: int, *, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Brings an open database from ``version`` to the newest, in one transaction.

    Takes the write lock even where there is nothing to do, so that a store that cannot be written to is found out now.

    Raises:
        sqlite3.Error: nothing has changed, or the commit's outcome is unknown; opening again tells.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        if version < len(migrations):
            for migration in migrations[version:]:
                for statement in migration:
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(migrations)}")
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
