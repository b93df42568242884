"""``ports.Store`` in one SQLite file: what fetchd has seen, delivered and has still to publish."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from fetchd.model import (
    AccountRecord,
    AllKnown,
    Committed,
    Deletion,
    Failing,
    Fate,
    LastCommit,
    PollResult,
    Seen,
    Staged,
    UniqueId,
)
from fetchd.names import parse_name
from fetchd.store import history, seen
from fetchd.store.accounts import all_known, configure, id_for_writing, records, remember_all_known
from fetchd.store.database import Database
from fetchd.store.faults import damaged
from fetchd.store.journal import SqliteJournal, forget_settled
from fetchd.store.reader import StoreReader
from fetchd.store.rows import execute_rows

_ANY_PATH: Final = "surrogateescape"
"""The error handler by which a path that is not UTF-8 survives as it is (PEP 383)."""

# A clock that steps back takes nothing back: files have names from before. What SET reads is what was there before it.
_COUNT_DELIVERED: Final = """
    UPDATE accounts
    SET delivered = delivered + :messages, committed_at = max(committed_at, :newest), latest_at = :newest,
        committed_then = CASE WHEN :newest > committed_at THEN :then
                              WHEN :newest = committed_at THEN committed_then + :then ELSE committed_then END
    WHERE id = :account"""

_PUT_OUT: Final = "INSERT INTO outbox (account, name, uid, size, target) VALUES {rows}"

_TAKE_IN: Final = "DELETE FROM outbox WHERE account = ? AND name IN ({rows})"

_FAILING: Final = """
    SELECT accounts.name, since, failures, told FROM failing JOIN accounts ON accounts.id = failing.account"""

_KNOW_TARGET: Final = "INSERT OR IGNORE INTO targets (target) VALUES (?)"

_OUTBOX: Final = """
    SELECT uid, name, size, target
    FROM outbox WHERE account = (SELECT id FROM accounts WHERE name = ?) ORDER BY seq"""


class SqliteStore:
    """The store of one daemon; see ``ports.Store`` for the contract. Safe for many threads, which take turns.

    Every method accepts an account that was never configured: it is empty until something is written.

    Attributes:
        created: whether there was no store and a new one was made: the caller says so loudly, since for an account
            whose mail is kept on the server a lost store means fetching it all again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.created = database.created
        self._listed: dict[str, int] = {}
        # What stays true once it is, until the file is opened anew, or accounts change their names: asked for once.
        self._known: dict[str, int] = {}
        self._delivered_into: dict[str, int] = {}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the store at ``path`` for this process alone, making it and its directory if missing.

        Raises:
            StoreError: another fetchd works on it, a newer one made it, or it cannot be used; never begins anew.
        """
        return cls(Database.open(path))

    @staticmethod
    def open_readonly(path: Path) -> StoreReader:
        """Opens the store for ``fetchd status``, also while a daemon works on it.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        return StoreReader(path)

    def close(self) -> None:
        """Closes the store and lets another fetchd have it; may be called twice."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self) -> None:
        """Raises ``StoreError`` where the store cannot be written to now; for ``/healthz``."""
        self._database.check()

    def configure(self, accounts: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
        """Tells the store, at start and at each reload, what is configured: name → (host, user).

        Returns:
            (old name, new name) of each account that it knew under a name that is not configured any more, and that
            keeps its memory under the new one. An account whose user changed is another maildrop: it begins anew,
            :meth:`knows` it at once, and the old memory waits under a name such as ``NAME (was USER at HOST)`` until
            that maildrop is configured again.
        """
        with self._database.writing() as db:
            self._known = {}  # while nobody reads
            return configure(db, accounts)

    def knows(self, account: str) -> bool:
        """Returns whether this account, or another maildrop under its name, was ever polled to the end of a listing."""
        if self._known.get(account) == self._database.dropped:
            return True
        with self._database.reading() as db:
            is_known = _listed_at(db, account) is not None
            if is_known:
                self._known[account] = self._database.dropped
        return is_known

    def seen(self, account: str) -> Mapping[UniqueId, Seen]:
        """Returns every unique-id that is remembered for the account; equal values are one object."""
        shared: dict[tuple[int, ...], Seen] = {}
        remembered: dict[UniqueId, Seen] = {}
        with self._database.reading() as db:
            for row in db.execute(seen.ALL_SEEN, (account,)):
                facts = row[1:]
                value = shared.get(facts)
                if value is None:
                    value = shared[facts] = self._seen(*facts)
                remembered[row[0]] = value
        return remembered

    def troubled(self, account: str) -> Mapping[UniqueId, int]:
        """Returns the unique-ids whose retrieval broke a session, and when it last did."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT uid, since FROM trouble WHERE account = (SELECT id FROM accounts WHERE name = ?)", (account,)
            )
            return dict(found)

    def mark_troubled(self, account: str, uid: UniqueId, *, now: int) -> None:
        """Remembers that a session broke while this message was in hand."""
        with self._writing(account) as (db, number):
            db.execute("INSERT OR REPLACE INTO trouble (account, uid, since) VALUES (?, ?, ?)", (number, uid, now))

    def commit(self, account: str, batch: Sequence[Committed], *, now: int, settled: Sequence[str] = ()) -> None:
        """Records a staged batch: the one point of truth (DESIGN §4).

        Raises:
            StoreError: it may or may not be recorded: ask :meth:`outbox`. A name that is in the outbox already is
                refused, with the whole batch, so that a repeated commit never counts a message twice.
        """
        if not batch and not settled:
            return
        uids = [one.uid for one in batch if one.uid is not None]
        with self._changing(account) as (db, number):
            seen.deliver(db, number, uids, now)
            seen.end_trouble(db, number, uids)
            _settle(db, account, number, settled)
            targets = {target: _octets(target) for target in {one.target for one in batch}}
            rows = [(number, one.staged.name, one.uid, one.staged.size, targets[one.target]) for one in batch]
            execute_rows(db, _PUT_OUT, "(?, ?, ?, ?, ?)", rows)
            db.executemany(_KNOW_TARGET, [(target,) for target in targets.values()])
            if batch:
                db.execute(_COUNT_DELIVERED, {"account": number, "messages": len(batch), **_newest(batch)})
                history.count(db, number, len(batch), now=now)

    def settle(
        self, account: str, names: Sequence[str], *, durable: bool = True, known: AllKnown | None = None
    ) -> None:
        """Forgets names that are published and durable, and the placements of which no name is left.

        Of one that is not ``durable``, an outage of the machine's power may leave all or nothing.
        """
        if names:
            with self._writing(account, durable=durable) as (db, number):
                _settle(db, account, number, names)
                if known is not None:
                    remember_all_known(db, number, known)

    def outbox(self, account: str) -> Sequence[Committed]:
        """Returns what was committed and not yet settled, in the order committed, each with its target."""
        with self._database.reading() as db:
            return [
                Committed(uid, Staged(name, size), target.decode(errors=_ANY_PATH))
                for uid, name, size, target in db.execute(_OUTBOX, (account,))
            ]

    def delivered_into(self, target: str) -> bool:
        """Returns whether a batch was ever committed for this target, by whichever account."""
        if self._delivered_into.get(target) == self._database.dropped:
            return True
        with self._database.reading() as db:
            row = db.execute("SELECT 1 FROM targets WHERE target = ?", (_octets(target),)).fetchone()
            if row is not None:
                self._delivered_into[target] = self._database.dropped
        return row is not None

    def mark(self, account: str, uids: Sequence[UniqueId], *, fate: Fate, now: int) -> None:
        """Remembers listed messages as seen without fetching them.

        A unique-id then has at least as many copies as it occurs here, so that marking a listing again changes
        nothing; it keeps its ``first_seen``, and is not ours to delete if either fate says so.
        """
        if uids:
            with self._changing(account) as (db, number):
                db.executemany(
                    seen.SEE_MARKED, ((number, uid, now, copies, fate.value) for uid, copies in Counter(uids).items())
                )

    def take_over(self, account: str, known: Mapping[UniqueId, Seen], *, now: int) -> None:
        """Remembers what another program fetched: the account is known from here on; a repetition changes nothing."""
        rows = [
            (uid, min(one.first_seen, now), one.copies, one.fate.value, None if one.listed else now)
            for uid, one in known.items()
        ]
        with self._changing(account) as (db, number):
            db.executemany(seen.TAKE_OVER, ((number, *row) for row in rows))
            db.execute("UPDATE accounts SET listed_at = coalesce(listed_at, ?) WHERE id = ?", (now, number))

    def listed(
        self,
        account: str,
        *,
        vanished: Sequence[UniqueId],
        returned: Sequence[UniqueId],
        now: int,
        forgotten: Mapping[UniqueId, int] = MappingProxyType({}),
        settled: Sequence[UniqueId] = (),
        known: AllKnown | None = None,
    ) -> int:
        """Records a listing: the account is known from here on.

        Whether it was complete is the caller's to know: of one that was not, nothing has vanished.

        What was delivered and has returned is UNPROVEN from here on; what is forgotten has so many copies less.

        What has been gone for 90 days is looked for once a day; on a day on which nothing changed, nothing is written.

        Returns:
            How many unique-ids were recorded at a time yet to come, by a clock that was ahead, and count as first seen
            now from here on.
        """
        younger = 0
        with self._database.reading() as db:
            before = _listed_at(db, account)
            is_news = known is not None and known != all_known(db, account)
        new_day = before is None or abs(now - before) >= seen.DAY
        # Losing a new day costs no more than that it begins again. Losing the first makes the next poll a first one
        # again: `first_poll: skip` would mark what came since, which would never be fetched.
        changes = before is None or bool(vanished or returned or forgotten or settled)
        if changes or new_day:
            with self._changing(account, durable=changes) as (db, number):
                seen.come_and_gone(db, number, vanished, returned, now)
                seen.forget(db, number, forgotten)
                seen.settle_deletions(db, number, settled)
                if new_day:
                    younger = seen.grow_older(db, number, before=before, now=now)
                    history.purge(db, number, now=now)
                    db.execute("UPDATE accounts SET listed_at = ? WHERE id = ?", (now, number))
                if known is not None and not younger:  # else it was made of what was recorded until now
                    remember_all_known(db, number, known)
        elif is_news:  # losing it with the machine's power costs a plan: not worth an fsync
            with self._writing(account, durable=False) as (db, number):
                remember_all_known(db, number, known)
        self._listed[account] = self._database.replaced
        return younger

    def all_known(self, account: str) -> AllKnown | None:
        """Returns the listing of which everything is known, if nothing has changed since."""
        with self._database.reading() as db:
            return all_known(db, account)

    def is_listed_since_opened(self, account: str) -> bool:
        """Returns whether a listing was recorded since the store was opened, or its file last replaced."""
        return self._listed.get(account) == self._database.replaced

    def last_commit(self, account: str) -> LastCommit:
        """Returns what the names of files are to be compared with; zeros where nothing was committed."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT committed_at, committed_then, latest_at FROM accounts WHERE name = ?", (account,)
            ).fetchone()
            return LastCommit(*row) if row is not None else LastCommit()

    def doubt(self, account: str) -> None:
        """Makes nothing that was delivered so far ours to delete any more: its fate is UNPROVEN from here on."""
        with self._changing(account) as (db, number):
            seen.doubt(db, number)

    def deleting(self, account: str, deletions: Mapping[UniqueId, Deletion]) -> None:
        """Records, before QUIT, what it is going to delete: the next listing settles what became of it."""
        if deletions:
            with self._changing(account) as (db, number):
                seen.ask_for_deletion(db, number, deletions)

    def deletions(self, account: str) -> Mapping[UniqueId, Deletion]:
        """Returns what was asked for and not settled by a listing since."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT uid, copies, size FROM deletions WHERE account = (SELECT id FROM accounts WHERE name = ?)",
                (account,),
            )
            return {uid: Deletion(copies, size) for uid, copies, size in found}

    def journal(self, account: str) -> SqliteJournal:
        """Returns the account's journal of appends to its mbox."""
        return SqliteJournal(self._database, account)

    def poll_ended(self, account: str, result: PollResult, *, error: str, now: int) -> None:
        """Records the end of a poll; ``last_error`` is "" from a poll that ended well on.

        What ``result`` counts was recorded by the commits themselves; its login delay is recorded here. This is the one
        thing that every poll writes, and not worth an fsync each: losing it with the machine's power costs a date.
        """
        text = error.encode("utf-8", "backslashreplace").decode()  # a path in it may hold octets that are no UTF-8
        column = "last_failure" if error else "last_success"
        with self._writing(account, durable=False) as (db, number):
            db.execute(
                f"UPDATE accounts SET {column} = ?, last_error = ?, not_before = ? WHERE id = ?",  # noqa: S608 - one of two words
                (now, text, now + result.login_delay if result.login_delay else 0, number),
            )

    def accounts(self) -> Sequence[AccountRecord]:
        """Returns a line for every account that the store has heard of, by name."""
        with self._database.reading() as db:
            return records(db)

    def failing(self) -> Mapping[str, Failing]:
        """Returns every account that failed at its last poll, as far as :meth:`remember_failing` was told."""
        with self._database.reading() as db:
            rows = db.execute(_FAILING)
            return {name: Failing(since, failures, bool(told)) for name, since, failures, told in rows}

    def remember_failing(self, account: str, failing: Failing | None) -> None:
        """Records how an account fails; None: it does not."""
        with self._writing(account) as (db, number):
            db.execute("DELETE FROM failing WHERE account = ?", (number,))
            if failing is not None:
                row = (number, failing.since, failing.failures, failing.told)
                db.execute("INSERT INTO failing (account, since, failures, told) VALUES (?, ?, ?, ?)", row)

    def delivered_since(self, since: int) -> Mapping[str, Mapping[int, int]]:
        """Returns account → Unix seconds at which a quarter of an hour began → messages delivered in it.

        Args:
            since: Unix seconds; what is older than two days is forgotten.
        """
        with self._database.reading() as db:
            return history.since(db, since)

    @contextmanager
    def _writing(self, account: str, *, durable: bool = True) -> Iterator[tuple[sqlite3.Connection, int]]:
        """Gives a transaction and the account's row id in it."""
        with self._database.writing(durable=durable) as db:
            yield db, id_for_writing(db, account)

    @contextmanager
    def _changing(self, account: str, *, durable: bool = True) -> Iterator[tuple[sqlite3.Connection, int]]:
        """Gives a transaction that changes what is seen: no listing is one of which everything is known any more."""
        with self._writing(account, durable=durable) as (db, number):
            remember_all_known(db, number, None)
            yield db, number

    def _seen(self, copies: int, first_seen: int, fate: int, listed: int) -> Seen:
        try:
            known = Fate(fate)
        except ValueError as error:
            raise damaged(self._database.path, f"unknown fate {fate}") from error
        return Seen(copies=copies, first_seen=first_seen, fate=known, listed=bool(listed))


def _listed_at(db: sqlite3.Connection, account: str) -> int | None:
    row = db.execute("SELECT listed_at FROM accounts WHERE name = ?", (account,)).fetchone()
    return None if row is None else row[0]


def _octets(target: str) -> bytes:
    return target.encode(errors=_ANY_PATH)


def _newest(batch: Sequence[Committed]) -> dict[str, int]:
    """Returns the newest second that a name of the batch tells, and how many of them tell it."""
    seconds = [0 if (name := parse_name(one.staged.name)) is None else name.seconds for one in batch]
    newest = max(seconds)
    return {"newest": newest, "then": seconds.count(newest)}


def _settle(db: sqlite3.Connection, account: str, number: int, names: Sequence[str]) -> None:
    if names:
        execute_rows(db, _TAKE_IN, "?", [(name,) for name in names], first=(number,))
        forget_settled(db, account)
