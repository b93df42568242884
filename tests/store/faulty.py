"""SQLite connections that fail on request, before or after a statement took effect."""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest


class Faults:
    """What is to fail: ``before`` or ``after`` the next statement that begins with one of these words."""

    def __init__(self) -> None:
        self.before: dict[str, int] = {}
        self.after: dict[str, int] = {}
        self.fired = 0

    def strike(self, where: dict[str, int], statement: str) -> None:
        for word in list(where):
            if statement.lstrip().startswith(word):
                code = where.pop(word)
                self.fired += 1
                error = sqlite3.OperationalError("made to fail")
                error.sqlite_errorcode = code
                error.sqlite_errorname = f"SQLITE_{code}"
                raise error


def install(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Makes every connection opened from now on a faulty one."""
    faults = Faults()

    class FaultyConnection(sqlite3.Connection):
        def _struck(self, run: Callable[..., sqlite3.Cursor], statement: str, *rest: Any) -> sqlite3.Cursor:
            faults.strike(faults.before, statement)
            cursor = run(statement, *rest)
            faults.strike(faults.after, statement)
            return cursor

        def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
            return self._struck(super().execute, statement, *rest)

        def executemany(self, statement: str, *rest: Any) -> sqlite3.Cursor:
            return self._struck(super().executemany, statement, *rest)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=FaultyConnection))
    return faults
