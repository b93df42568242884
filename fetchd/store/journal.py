"""Where batches are being appended to an account's mbox: ``ports.Journal`` in SQLite (DESIGN §4)."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from fetchd.model import Placement
from fetchd.store.accounts import id_for_writing
from fetchd.store.database import Database

_PLACEMENTS: Final = """
    SELECT placements.id, inode, offset, length, digest, names, done
    FROM placements JOIN accounts ON accounts.id = placements.account WHERE accounts.name = ? ORDER BY placements.id"""

_ADD: Final = """
    INSERT INTO placements (account, inode, offset, length, digest, names, done) VALUES (?, ?, ?, ?, ?, ?, ?)"""

_DONE: Final = """
    UPDATE placements SET done = 1
    WHERE account = ? AND inode = ? AND offset = ? AND length = ? AND digest = ? AND names = ?"""


class SqliteJournal:
    """One account's appends; a placement stays until :func:`forget_settled` finds all its names settled."""

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account

    def appending(self, placement: Placement) -> None:
        """Records, durably, where a batch is about to be appended; the last record of a name is the one that counts."""
        with self._database.writing() as db:
            _add(db, id_for_writing(db, self._account), placement)

    def appended(self, placement: Placement) -> None:
        """Records, durably, that the batch is on disk, whether or not its append was recorded before."""
        with self._database.writing() as db:
            account = id_for_writing(db, self._account)
            if db.execute(_DONE, (account, *_columns(placement))).rowcount == 0:
                _add(db, account, placement, done=True)

    def placements(self) -> Sequence[Placement]:
        """Returns the appends that were recorded and not yet settled, oldest first."""
        with self._database.reading() as db:
            return list(_placements(db, self._account).values())


def forget_settled(db: sqlite3.Connection, account: str) -> None:
    """Removes the placements of which no name is in the outbox any more; part of the caller's transaction."""
    recorded = _placements(db, account)
    if not recorded:
        return
    rows = db.execute(
        "SELECT outbox.name FROM outbox JOIN accounts ON accounts.id = outbox.account WHERE accounts.name = ?",
        (account,),
    )
    waiting = {name for (name,) in rows}
    settled = [number for number, placement in recorded.items() if waiting.isdisjoint(placement.names)]
    db.executemany("DELETE FROM placements WHERE id = ?", ((number,) for number in settled))


def _placements(db: sqlite3.Connection, account: str) -> dict[int, Placement]:
    """Returns an account's placements by row id, oldest first."""
    import json  # noqa: PLC0415 - only for an mbox

    return {
        number: Placement(int(inode), offset, length, digest, tuple(json.loads(names)), done=bool(done))
        for number, inode, offset, length, digest, names, done in db.execute(_PLACEMENTS, (account,))
    }


def _add(db: sqlite3.Connection, account: int, placement: Placement, *, done: bool = False) -> None:
    db.execute(_ADD, (account, *_columns(placement), done or placement.done))


def _columns(placement: Placement) -> tuple[str, int, int, bytes, str]:
    import json  # noqa: PLC0415 - only for an mbox

    return str(placement.inode), placement.offset, placement.length, placement.digest, json.dumps(placement.names)
