"""The rows of the table ``accounts``: found, made on demand, kept in step with the configuration, listed."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, count
from typing import Final

from fetchd.model import AccountRecord, AllKnown

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


def all_known(db: sqlite3.Connection, name: str) -> AllKnown | None:
    """Returns the listing of which everything is known."""
    row = db.execute("SELECT known_listing, known_oldest FROM accounts WHERE name = ?", (name,)).fetchone()
    return None if row is None or row[0] is None else AllKnown(*row)


def remember_all_known(db: sqlite3.Connection, number: int, known: AllKnown | None) -> None:
    """Records the listing of which everything is known; part of the caller's transaction."""
    columns = (None, None) if known is None else (known.listing, known.oldest)
    db.execute("UPDATE accounts SET known_listing = ?, known_oldest = ? WHERE id = ?", (*columns, number))


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
    """Records host and user of the configured accounts, and has each name keep, lose or find again its memory.

    Another user under the same name is another maildrop: its unique-ids may be those of the old one (they are plain
    counters on some servers), so the old memory is set aside under a name that no configuration can have. Another
    host alone is the same maildrop, moved.

    Args:
        db: the connection, in the caller's transaction.
        accounts: name → (host, user).

    Returns:
        (old name, new name) for each configured account that is new, or whose user changed, and whose maildrop (host
        without case, user) exactly one stored account has that is not configured any more, or that was set aside from
        this very name. Where two claim one maildrop, the first gets it.
    """
    emptied = _set_aside(db, accounts)
    stored = {name: (host, user) for name, host, user in db.execute("SELECT name, host, user FROM accounts")}
    orphans: dict[tuple[str, str], list[str]] = {}
    for name, (host, user) in stored.items():
        if name not in accounts and host:
            orphans.setdefault((host.lower(), user), []).append(name)
    renamed = []
    for name, (host, user) in accounts.items():
        match = orphans.get((host.lower(), user), [])
        if name not in stored and (old := _certain(match, name)) is not None:
            match.remove(old)
            db.execute("UPDATE accounts SET name = ? WHERE name = ?", (name, old))
            renamed.append((old, name))
        elif name in emptied:
            # Known from the start: mail of the old maildrop in the target must not be recognised as the new one's.
            db.execute("INSERT INTO accounts (name, listed_at) VALUES (?, 0)", (name,))
        if stored.get(name) != (host, user):
            db.execute("UPDATE accounts SET host = ?, user = ? WHERE id = ?", (host, user, id_for_writing(db, name)))
    if emptied:
        # Names of files from before say nothing of any maildrop that one of these accounts has from now on.
        newest = db.execute("SELECT max(committed_at) FROM accounts").fetchone()[0]
        db.execute("UPDATE accounts SET committed_at = ?, committed_then = 0, latest_at = ?", (newest + 1, newest + 1))
    for name, former in emptied.items():
        _move_files(db, -former, id_for_writing(db, name))
    return renamed


def _set_aside(db: sqlite3.Connection, accounts: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Gives the memory of each account whose user changed another name; returns the names, and whose row id each was.

    Outbox and placements tell of files, which belong to the name whatever the maildrop: they wait under the negative
    of the row's id, so that accounts may trade maildrops.
    """
    stored = {name: row for name, *row in db.execute("SELECT name, id, host, user FROM accounts")}
    emptied = {}
    for name, (_, new_user) in accounts.items():
        number, host, user = stored.get(name, (0, "", ""))
        if user and new_user and user != new_user:
            aside = _free(f"{name} (was {user} at {host})", stored.keys() | accounts.keys())
            stored[aside] = stored.pop(name)
            db.execute("UPDATE accounts SET name = ? WHERE id = ?", (aside, number))
            _move_files(db, number, -number)
            emptied[name] = number
    return emptied


def _move_files(db: sqlite3.Connection, old: int, new: int) -> None:
    db.execute("UPDATE OR REPLACE outbox SET account = ? WHERE account = ?", (new, old))
    db.execute("UPDATE placements SET account = ? WHERE account = ?", (new, old))


def _free(wanted: str, taken: Collection[str]) -> str:
    """Returns the wanted name, or the first of ``WANTED #2``, ``WANTED #3`` … that is not taken."""
    names = chain([wanted], (f"{wanted} #{number}" for number in count(2)))
    return next(name for name in names if name not in taken)


def _certain(candidates: Sequence[str], name: str) -> str | None:
    """Returns the one candidate, or the one of several that was set aside from this very name; None if in doubt."""
    if len(candidates) > 1:
        candidates = [one for one in candidates if one.startswith(f"{name} (was ")]
    return candidates[0] if len(candidates) == 1 else None
