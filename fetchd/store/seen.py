"""The tables ``seen``, ``deletions`` and ``trouble``: what is known of unique-ids; part of the caller's transaction."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from fetchd.model import Deletion, Fate, UniqueId
from fetchd.store.rows import execute_rows

DAY: Final = 86_400
KEEP_GONE: Final = 90 * DAY
"""Seconds that a unique-id is remembered after it vanished: a server may show only a part of its mail for weeks, or
be restored from a backup (FAULTS B 42)."""

CREDIBLE: Final = 1_767_225_600
"""Unix seconds of 2026-01-01: a clock that is before it was not set yet."""

ALL_SEEN: Final = """
    SELECT uid, copies, first_seen, fate, gone_since IS NULL
    FROM seen WHERE account = (SELECT id FROM accounts WHERE name = ?)"""

_SEE_DELIVERED: Final = """
    INSERT INTO seen (account, uid, first_seen, copies, fate) VALUES {rows}
    ON CONFLICT (account, uid) DO UPDATE SET copies = copies + 1, gone_since = NULL"""
_DELIVERED: Final = f"(?, ?, ?, 1, {Fate.DELIVERED:d})"

# The greater number wins: one copy that was not delivered by us, or may not be, makes it not ours to delete.
SEE_MARKED: Final = """
    INSERT INTO seen (account, uid, first_seen, copies, fate) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (account, uid) DO UPDATE
    SET copies = max(copies, excluded.copies), fate = max(fate, excluded.fate), gone_since = NULL"""

# A repeated import changes nothing. What both know with as many copies is ours to delete if either says so; where one
# knows of more copies, only if both do. What vanished or came back, the next listing says.
TAKE_OVER: Final = f"""
    INSERT INTO seen (account, uid, first_seen, copies, fate, gone_since) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (account, uid) DO UPDATE
    SET copies = max(copies, excluded.copies), first_seen = min(first_seen, excluded.first_seen),
        fate = CASE WHEN fate = {Fate.UNPROVEN:d} THEN fate
                    WHEN copies = excluded.copies THEN min(fate, excluded.fate) ELSE max(fate, excluded.fate) END"""  # noqa: S608

_VANISH: Final = "UPDATE seen SET gone_since = ? WHERE account = ? AND uid = ? AND gone_since IS NULL"

_RETURN: Final = f"""
    UPDATE seen SET gone_since = NULL, fate = CASE fate WHEN {Fate.DELIVERED:d} THEN {Fate.UNPROVEN:d} ELSE fate END
    WHERE account = ? AND uid = ? AND gone_since IS NOT NULL"""  # noqa: S608 - numbers of ours

_DOUBT: Final = f"UPDATE seen SET fate = {Fate.UNPROVEN:d} WHERE account = ? AND fate = {Fate.DELIVERED:d}"  # noqa: S608


def come_and_gone(
    db: sqlite3.Connection, number: int, vanished: Iterable[UniqueId], returned: Iterable[UniqueId], now: int
) -> None:
    """Records what a listing does not show any more, and what it shows again."""
    db.executemany(_VANISH, ((now, number, uid) for uid in vanished))
    db.executemany(_RETURN, ((number, uid) for uid in returned))


def deliver(db: sqlite3.Connection, number: int, uids: Iterable[UniqueId], now: int) -> None:
    """Records what is delivered with the caller's transaction: each has one copy more."""
    execute_rows(db, _SEE_DELIVERED, _DELIVERED, [(number, uid, now) for uid in uids])


def forget(db: sqlite3.Connection, number: int, forgotten: Mapping[UniqueId, int]) -> None:
    """Takes copies off; what has none left was deleted as asked, and is no more than any other unique-id."""
    db.executemany(
        "UPDATE seen SET copies = copies - ? WHERE account = ? AND uid = ?",
        ((copies, number, uid) for uid, copies in forgotten.items()),
    )
    db.executemany(
        "DELETE FROM seen WHERE account = ? AND uid = ? AND copies <= 0", ((number, uid) for uid in forgotten)
    )


def doubt(db: sqlite3.Connection, number: int) -> None:
    """Makes nothing that was delivered so far ours to delete any more."""
    db.execute(_DOUBT, (number,))


def ask_for_deletion(db: sqlite3.Connection, number: int, deletions: Mapping[UniqueId, Deletion]) -> None:
    """Records what QUIT is going to ask for."""
    db.executemany(
        "INSERT OR REPLACE INTO deletions (account, uid, copies, size) VALUES (?, ?, ?, ?)",
        ((number, uid, one.copies, one.size) for uid, one in deletions.items()),
    )


def end_trouble(db: sqlite3.Connection, number: int, uids: Iterable[UniqueId]) -> None:
    """Forgets that sessions broke over these messages. Most accounts have none such, which is asked once a batch."""
    if db.execute("SELECT 1 FROM trouble WHERE account = ? LIMIT 1", (number,)).fetchone() is not None:
        db.executemany("DELETE FROM trouble WHERE account = ? AND uid = ?", ((number, uid) for uid in uids))


def settle_deletions(db: sqlite3.Connection, number: int, settled: Sequence[UniqueId]) -> None:
    """Forgets what was asked for: a listing has settled it."""
    db.executemany("DELETE FROM deletions WHERE account = ? AND uid = ?", ((number, uid) for uid in settled))


def grow_older(db: sqlite3.Connection, number: int, *, before: int | None, now: int) -> int:
    """Purges what has been gone for 90 days, once a day.

    A clock that stepped back, or on by more than these 90 days, says nothing of how long something has been gone: the
    90 days of all that is gone begin again. And if it stepped back, what was first seen at a time yet to come was not,
    and would wait for that time to be deleted: it counts as first seen now. Not so where the clock tells a time before
    fetchd was written, as it does on a machine that has not asked for the time yet: once it has, all would be old.

    Returns:
        How many unique-ids count as first seen now.
    """
    if before is not None and now < before:
        db.execute("UPDATE accounts SET latest_at = ? WHERE id = ? AND latest_at > ?", (now, number, now))
    if before is not None and not 0 <= now - before <= KEEP_GONE:
        db.execute("UPDATE seen SET gone_since = ? WHERE account = ? AND gone_since IS NOT NULL", (now, number))
        db.execute("UPDATE trouble SET since = ? WHERE account = ?", (now, number))
        return _make_younger(db, number, now=now) if CREDIBLE <= now < before else 0
    db.execute("DELETE FROM seen WHERE account = ? AND gone_since <= ?", (number, now - KEEP_GONE))
    db.execute("DELETE FROM trouble WHERE account = ? AND since <= ?", (number, now - KEEP_GONE))
    return 0


def _make_younger(db: sqlite3.Connection, number: int, *, now: int) -> int:
    found = db.execute("UPDATE seen SET first_seen = ? WHERE account = ? AND first_seen > ?", (now, number, now))
    return found.rowcount
