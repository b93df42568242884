"""The rows of the table ``accounts``: found, made on demand, kept in step with the configuration, listed."""

import sqlite3
from collections.abc import Mapping
from typing import Final

from fetchd.model import AccountRecord

_RECORDS: Final = """
    SELECT name, user, host, (SELECT count(*) FROM seen WHERE seen.account = accounts.id),
           delivered, last_success, last_failure, last_error, not_before
    FROM accounts ORDER BY name"""


def id_for_writing(db: sqlite3.Connection, name: str) -> int:
    """Returns an account's row id, making the row if there is none; part of the caller's transaction."""
    row = db.execute("SELECT id FROM accounts WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return int(row[0])
    made = db.execute("INSERT INTO accounts (name) VALUES (?)", (name,)).lastrowid
    assert made is not None  # sqlite3: set by every INSERT that succeeds
    return made


def records(db: sqlite3.Connection) -> list[AccountRecord]:
    """Returns a line for every account, by name."""
    rows = db.execute(_RECORDS)
    return [
        AccountRecord(
            name=name,
            user=user,
            host=host,
            seen=seen,
            delivered=delivered,
            last_success=last_success,
            last_failure=last_failure,
            last_error=last_error,
            not_before=not_before,
        )
        for name, user, host, seen, delivered, last_success, last_failure, last_error, not_before in rows
    ]


def configure(db: sqlite3.Connection, accounts: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
    """Records host and user of the configured accounts, and renames what only changed its name.

    Args:
        db: the connection, in the caller's transaction.
        accounts: name → (host, user).

    Returns:
        (old name, new name) for each configured account that is new and whose maildrop (host without case, user)
        exactly one stored account has that is not configured any more. Where two claim one maildrop, the first gets it.
    """
    stored = {name: (host, user) for name, host, user in db.execute("SELECT name, host, user FROM accounts")}
    orphans: dict[tuple[str, str], list[str]] = {}
    for name, (host, user) in stored.items():
        if name not in accounts and host:
            orphans.setdefault((host.lower(), user), []).append(name)
    renamed = []
    for name, (host, user) in accounts.items():
        match = orphans.get((host.lower(), user), [])
        if name not in stored and len(match) == 1:
            old = match.pop()
            db.execute("UPDATE accounts SET name = ? WHERE name = ?", (name, old))
            renamed.append((old, name))
        if stored.get(name) != (host, user):
            db.execute("UPDATE accounts SET host = ?, user = ? WHERE id = ?", (host, user, id_for_writing(db, name)))
    return renamed
