"""Many rows by one statement.

``sqlite3`` lets go of Python's lock at each step of each statement. While another thread of the session works, that
costs more than the row does, so what comes by the hundred goes in by the dozen.
"""

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

TOGETHER: Final = 64
"""Rows of one statement: of 15 columns they would still have no more parameters than every SQLite takes."""


_Values = tuple[Any, ...]


def execute_rows(
    db: sqlite3.Connection, statement: str, row: str, rows: Sequence[_Values], *, first: _Values = ()
) -> None:
    """Executes a statement for all rows, in order.

    Args:
        db: the connection, in the caller's transaction.
        statement: has ``{rows}`` where one or more rows may stand, with commas between them.
        row: one of them, with a ``?`` for each value that is given.
        rows: the values.
        first: values of the statement that come before the first row.
    """
    whole = len(rows) - len(rows) % TOGETHER
    for start in range(0, whole, TOGETHER):
        db.execute(_filled(statement, row, TOGETHER), [*first, *chain(*rows[start : start + TOGETHER])])
    db.executemany(_filled(statement, row, 1), [first + values for values in rows[whole:]])


@cache
def _filled(statement: str, row: str, count: int) -> str:
    return statement.format(rows=", ".join([row] * count))
