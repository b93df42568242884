"""``ports.Store`` in plain dictionaries: the double for other rooms' tests, and the model the real store must equal."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from types import MappingProxyType

from fetchd.errors import StoreError
from fetchd.model import (
    AccountRecord,
    AllKnown,
    Committed,
    Deletion,
    Fate,
    LastCommit,
    Placement,
    PollResult,
    Seen,
    UniqueId,
)
from fetchd.names import parse_name

DAY = 86_400
CREDIBLE = 1_767_225_600


@dataclass(slots=True)
class _Row:
    copies: int
    first_seen: int
    fate: Fate
    gone_since: int | None = None


@dataclass(slots=True)
class _Account:
    host: str = ""
    user: str = ""
    listed_at: int | None = None
    last: LastCommit = field(default_factory=LastCommit)
    is_listed: bool = False
    known: AllKnown | None = None
    delivered: int = 0
    last_success: int | None = None
    last_failure: int | None = None
    last_error: str = ""
    not_before: int = 0
    seen: dict[UniqueId, _Row] = field(default_factory=dict)
    trouble: dict[UniqueId, int] = field(default_factory=dict)
    deletions: dict[UniqueId, Deletion] = field(default_factory=dict)
    outbox: dict[str, tuple[int, Committed]] = field(default_factory=dict)
    placements: list[tuple[int, Placement]] = field(default_factory=list)

    def settle(self, names: Sequence[str]) -> None:
        for name in names:
            self.outbox.pop(name, None)
        if names:
            self.placements = [one for one in self.placements if not self.outbox.keys().isdisjoint(one[1].names)]

    def take_back(self, uid: UniqueId) -> None:
        one = self.seen.get(uid)
        if one is not None and one.gone_since is not None:
            one.gone_since = None
            one.fate = Fate.UNPROVEN if one.fate is Fate.DELIVERED else one.fate

    def forget(self, forgotten: Mapping[UniqueId, int]) -> None:
        for uid, copies in forgotten.items():
            if uid in self.seen:
                self.seen[uid].copies -= copies
                if self.seen[uid].copies <= 0:
                    del self.seen[uid]

    def take_files_of(self, former: "_Account") -> None:
        """Takes outbox and placements over, in the order in which they were recorded."""
        outbox = self.outbox | former.outbox
        self.outbox = dict(sorted(outbox.items(), key=lambda item: item[1][0]))
        self.placements = sorted(self.placements + former.placements, key=lambda one: one[0])


class MemoryStore:
    """A store that forgets when it is dropped. ``failing`` makes every method raise it, before doing anything."""

    def __init__(self) -> None:
        self.created = True
        self.failing: StoreError | None = None
        self._accounts: dict[str, _Account] = {}
        self._targets: set[str] = set()
        self._mutex = threading.RLock()
        self._order = count()

    @contextmanager
    def _at(self, account: str, *, write: bool = False) -> Iterator[_Account]:
        with self._mutex:
            if self.failing is not None:
                raise self.failing
            yield self._accounts.setdefault(account, _Account()) if write else self._accounts.get(account, _Account())

    def close(self) -> None:
        """Does nothing."""

    def check(self) -> None:
        with self._at(""):
            pass

    def configure(self, accounts: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
        renamed = []
        with self._at(""):
            files = self._set_aside(accounts)
            gone = [name for name in self._accounts if name not in accounts]
            for name, (host, user) in accounts.items():
                if name not in self._accounts:
                    old = self._adoptable(gone, name, host=host, user=user)
                    if old:
                        self._accounts[name] = self._accounts.pop(old)
                        gone.remove(old)
                        renamed.append((old, name))
                    else:
                        self._accounts[name] = _Account(listed_at=0 if name in files else None)
                row = self._accounts[name]
                row.host, row.user = host, user
                row.take_files_of(files.get(name, _Account()))
            if files:
                newest = 1 + max(row.last.newest for row in self._accounts.values())
                for row in self._accounts.values():
                    row.last = LastCommit(newest, 0, newest)
        return renamed

    def _set_aside(self, accounts: Mapping[str, tuple[str, str]]) -> dict[str, _Account]:
        """Puts memories of other users aside; returns, by name, accounts that hold only the files."""
        files = {}
        for name, (_, user) in accounts.items():
            row = self._accounts.get(name, _Account())
            if not (row.user and user) or row.user == user:
                continue
            wanted = aside = f"{name} (was {row.user} at {row.host})"
            number = 2
            while aside in self._accounts or aside in accounts:
                aside = f"{wanted} #{number}"
                number += 1
            files[name] = _Account(outbox=row.outbox, placements=row.placements)
            row.outbox, row.placements = {}, []
            self._accounts[aside] = self._accounts.pop(name)
        return files

    def _adoptable(self, gone: Sequence[str], name: str, *, host: str, user: str) -> str | None:
        same = [
            one
            for one in gone
            if self._accounts[one].host
            and (self._accounts[one].host.lower(), self._accounts[one].user) == (host.lower(), user)
        ]
        own = [one for one in same if one.startswith(f"{name} (was ")]
        for candidates in (same, own):
            if len(candidates) == 1:
                return candidates[0]
        return None

    def knows(self, account: str) -> bool:
        with self._at(account) as row:
            return row.listed_at is not None

    def seen(self, account: str) -> Mapping[UniqueId, Seen]:
        with self._at(account) as row:
            return {
                uid: Seen(copies=one.copies, first_seen=one.first_seen, fate=one.fate, listed=one.gone_since is None)
                for uid, one in row.seen.items()
            }

    def troubled(self, account: str) -> Mapping[UniqueId, int]:
        with self._at(account) as row:
            return dict(row.trouble)

    def mark_troubled(self, account: str, uid: UniqueId, *, now: int) -> None:
        with self._at(account, write=True) as row:
            row.trouble[uid] = now

    def commit(self, account: str, batch: Sequence[Committed], *, now: int, settled: Sequence[str] = ()) -> None:
        if not batch and not settled:
            return
        with self._at(account) as row:
            names = [one.staged.name for one in batch]
            kept = row.outbox.keys() - set(settled)
            if len(set(names)) < len(names) or not kept.isdisjoint(names):
                raise StoreError("the store refuses to record the same thing twice")
        with self._at(account, write=True) as row:
            row.settle(settled)
            for one in batch:
                row.outbox[one.staged.name] = next(self._order), one
                if one.uid is None:
                    continue
                row.trouble.pop(one.uid, None)
                known = row.seen.get(one.uid)
                if known is None:
                    row.seen[one.uid] = _Row(copies=1, first_seen=now, fate=Fate.DELIVERED)
                else:
                    known.copies += 1
                    known.gone_since = None
            row.known = None
            row.delivered += len(batch)
            if batch:
                seconds = [name.seconds if (name := parse_name(one.staged.name)) else 0 for one in batch]
                newest = max(row.last.newest, *seconds)
                before = row.last.messages if newest == row.last.newest else 0
                row.last = LastCommit(newest, before + seconds.count(newest), max(seconds))
            self._targets.update(one.target for one in batch)

    def delivered_into(self, target: str) -> bool:
        with self._at(""):
            return target in self._targets

    def settle(
        self, account: str, names: Sequence[str], *, durable: bool = True, known: AllKnown | None = None
    ) -> None:
        if names:
            with self._at(account, write=True) as row:
                row.settle(names)
                row.known = row.known if known is None else known

    def outbox(self, account: str) -> Sequence[Committed]:
        with self._at(account) as row:
            return [one for _, one in row.outbox.values()]

    def mark(self, account: str, uids: Sequence[UniqueId], *, fate: Fate, now: int) -> None:
        if not uids:
            return
        with self._at(account, write=True) as row:
            row.known = None
            for uid, copies in Counter(uids).items():
                known = row.seen.setdefault(uid, _Row(copies=copies, first_seen=now, fate=fate))
                known.copies = max(known.copies, copies)
                known.gone_since = None
                known.fate = max(known.fate, fate)

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
        with self._at(account, write=True) as row:
            row.is_listed = True
            new_day = row.listed_at is None or abs(now - row.listed_at) >= DAY
            if vanished or returned or forgotten or settled or new_day or known is not None:
                row.known = known
            for uid in vanished:
                if uid in row.seen and row.seen[uid].gone_since is None:
                    row.seen[uid].gone_since = now
            for uid in returned:
                row.take_back(uid)
            row.forget(forgotten)
            row.deletions = {uid: one for uid, one in row.deletions.items() if uid not in settled}
            if row.listed_at is not None and abs(now - row.listed_at) < DAY:
                return 0
            if row.listed_at is None or 0 <= now - row.listed_at <= 90 * DAY:
                self._purge(row, now - 90 * DAY)
            else:
                for one in row.seen.values():
                    one.gone_since = None if one.gone_since is None else now
                row.trouble = dict.fromkeys(row.trouble, now)
            if row.listed_at is not None and now < row.listed_at:
                row.last = replace(row.last, latest=min(row.last.latest, now))
            younger = self._make_younger(row, now) if row.listed_at is not None and now < row.listed_at else 0
            row.known = None if younger else row.known
            row.listed_at = now
            return younger

    def all_known(self, account: str) -> AllKnown | None:
        with self._at(account) as row:
            return row.known

    def is_listed_since_opened(self, account: str) -> bool:
        with self._at(account) as row:
            return row.is_listed

    def last_commit(self, account: str) -> LastCommit:
        with self._at(account) as row:
            return row.last

    def doubt(self, account: str) -> None:
        with self._at(account, write=True) as row:
            row.known = None
            for one in row.seen.values():
                one.fate = Fate.UNPROVEN if one.fate is Fate.DELIVERED else one.fate

    def deleting(self, account: str, deletions: Mapping[UniqueId, Deletion]) -> None:
        if deletions:
            with self._at(account, write=True) as row:
                row.deletions.update(deletions)
                row.known = None

    def deletions(self, account: str) -> Mapping[UniqueId, Deletion]:
        with self._at(account) as row:
            return dict(row.deletions)

    @staticmethod
    def _make_younger(row: _Account, now: int) -> int:
        ahead = [one for one in row.seen.values() if one.first_seen > now >= CREDIBLE]
        for one in ahead:
            one.first_seen = now
        return len(ahead)

    @staticmethod
    def _purge(row: _Account, until: int) -> None:
        row.seen = {uid: one for uid, one in row.seen.items() if one.gone_since is None or one.gone_since > until}
        row.trouble = {uid: since for uid, since in row.trouble.items() if since > until}

    def journal(self, account: str) -> "MemoryJournal":
        return MemoryJournal(self, account)

    def poll_ended(self, account: str, result: PollResult, *, error: str, now: int) -> None:
        with self._at(account, write=True) as row:
            row.last_error = error
            row.not_before = now + result.login_delay if result.login_delay else 0
            if error:
                row.last_failure = now
            else:
                row.last_success = now

    def accounts(self) -> Sequence[AccountRecord]:
        with self._at(""):
            return [
                AccountRecord(
                    name=name,
                    user=row.user,
                    host=row.host,
                    seen=len(row.seen),
                    delivered=row.delivered,
                    last_success=row.last_success,
                    last_failure=row.last_failure,
                    last_error=row.last_error,
                    not_before=row.not_before,
                )
                for name, row in sorted(self._accounts.items())
            ]


class MemoryJournal:
    """``ports.Journal`` beside a :class:`MemoryStore`."""

    def __init__(self, store: MemoryStore, account: str) -> None:
        self._store = store
        self._account = account

    def appending(self, placement: Placement) -> None:
        with self._store._at(self._account, write=True) as row:
            row.placements.append((next(self._store._order), placement))

    def appended(self, placement: Placement) -> None:
        done = replace(placement, done=True)
        with self._store._at(self._account, write=True) as row:
            same = [replace(one, done=True) == done for _, one in row.placements]
            if any(same):
                row.placements = [
                    (order, done if hit else one) for hit, (order, one) in zip(same, row.placements, strict=True)
                ]
            else:
                row.placements.append((next(self._store._order), done))

    def placements(self) -> Sequence[Placement]:
        with self._store._at(self._account) as row:
            return [one for _, one in row.placements]
