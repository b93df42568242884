"""The table ``history``: how many messages were committed when, for a day's chart; part of the caller's transaction.

``seen`` would not do: what is deleted on the server is forgotten there, and what has no unique-id never enters it.
"""

import sqlite3
from typing import Final

QUARTER: Final = 900
"""Seconds that are counted together; every time zone's midnight lies between two quarters of an hour."""
KEEP: Final = 2 * 86_400
"""Seconds that are kept: a day may have 25 hours, and what is purged is so once a day."""

_COUNT: Final = """
    INSERT INTO history (account, quarter, messages) VALUES (?, ?, ?)
    ON CONFLICT (account, quarter) DO UPDATE SET messages = messages + excluded.messages"""

_SINCE: Final = """
    SELECT accounts.name, history.quarter, history.messages
    FROM history JOIN accounts ON accounts.id = history.account WHERE history.quarter >= ?"""


def count(db: sqlite3.Connection, number: int, messages: int, *, now: int) -> None:
    """Counts messages that are committed now."""
    db.execute(_COUNT, (number, now - now % QUARTER, messages))


def since(db: sqlite3.Connection, start: int) -> dict[str, dict[int, int]]:
    """Returns account → the Unix seconds at which a quarter of an hour began → messages committed in it."""
    found: dict[str, dict[int, int]] = {}
    for name, quarter, messages in db.execute(_SINCE, (start - start % QUARTER,)):
        found.setdefault(name, {})[quarter] = messages
    return found


def purge(db: sqlite3.Connection, number: int, *, now: int) -> None:
    """Forgets what is too old to be shown, and what a clock that was ahead has left."""
    db.execute("DELETE FROM history WHERE account = ? AND quarter NOT BETWEEN ? AND ?", (number, now - KEEP, now))
