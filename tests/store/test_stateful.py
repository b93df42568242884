"""Any sequence of calls leaves the SQLite store equal to the model in memory, also across closing and opening it."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fetchd.errors import StoreError
from fetchd.model import AllKnown, Committed, Deletion, Fate, Placement, PollResult, Staged, UniqueId
from fetchd.store.sqlite import SqliteStore
from tests.store.memory import MemoryStore

ACCOUNTS = ("a", "b", "c'; --")
account = st.sampled_from(ACCOUNTS)
uid = st.one_of(
    st.sampled_from([b"", b"\0", b"u", b"U", b"u ", b"u'", b'u"', b"\x80", b"\xff" * 3, b"\0" + b"00ff" * 6]),
    st.binary(max_size=80),
).map(UniqueId)
uids = st.lists(uid, max_size=6)
names = st.lists(st.sampled_from([f"n{number}" for number in range(12)]), max_size=4)
times = st.integers(0, 5000).map(lambda days: days * 43_200)
ages = st.one_of(st.integers(0, 4), st.sampled_from([89 * 2, 90 * 2, 91 * 2, 2000])).map(lambda days: days * 43_200)
TARGETS = ("maildir:/home/a", "mbox:/var/mail/ä", "mbox:/not-utf-8-\udcff")
committed = st.builds(
    Committed,
    uid=st.one_of(st.none(), uid),
    staged=st.builds(
        Staged,
        name=st.sampled_from([f"n{number}" for number in range(12)]),
        size=st.integers(0, 2**62),
    ),
    target=st.sampled_from(TARGETS),
)
placement = st.builds(
    Placement,
    inode=st.integers(0, 2**64 - 1),
    offset=st.integers(0, 3),
    length=st.integers(0, 2**62),
    digest=st.binary(max_size=16),
    names=names.map(tuple).filter(bool),
)


class StoreEqualsModel(RuleBasedStateMachine):
    """The clock mostly goes on by up to two days at a time, and sometimes steps."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="fetchd-store-")
        self.path = Path(self.directory.name) / "fetchd.db"
        self.store = SqliteStore.open(self.path)
        self.model = MemoryStore()
        self.now = 1_795_461_986

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.directory.cleanup()

    @rule(age=ages)
    def time_passes(self, age: int) -> None:
        self.now += age

    @rule(to=times)
    def clock_steps(self, to: int) -> None:
        self.now = to

    @rule(name=account, batch=st.lists(committed, max_size=5), settled=names)
    def commit(self, name: str, batch: list[Committed], settled: list[str]) -> None:
        try:
            self.model.commit(name, batch, now=self.now, settled=settled)
        except StoreError:
            with pytest.raises(StoreError, match="twice"):
                self.store.commit(name, batch, now=self.now, settled=settled)
        else:
            self.store.commit(name, batch, now=self.now, settled=settled)

    @rule(name=account, settled=names)
    def settle(self, name: str, settled: list[str]) -> None:
        self.model.settle(name, settled)
        self.store.settle(name, settled)

    @rule(name=account, marked=uids, fate=st.sampled_from(Fate))
    def mark(self, name: str, marked: list[UniqueId], fate: Fate) -> None:
        self.model.mark(name, marked, fate=fate, now=self.now)
        self.store.mark(name, marked, fate=fate, now=self.now)

    @rule(name=account, one=uid)
    def mark_troubled(self, name: str, one: UniqueId) -> None:
        self.model.mark_troubled(name, one, now=self.now)
        self.store.mark_troubled(name, one, now=self.now)

    @rule(name=account, data=st.data())
    def listed(self, name: str, data: st.DataObject) -> None:
        known = st.one_of(uid, st.sampled_from(sorted(self.model.seen(name)) or [UniqueId(b"")]))
        vanished = data.draw(st.lists(known, max_size=4), label="vanished")
        returned = data.draw(st.lists(known, max_size=4), label="returned")
        forgotten = data.draw(st.dictionaries(known, st.integers(1, 3), max_size=3), label="forgotten")
        settled = data.draw(st.lists(known, max_size=3), label="settled")
        known_all = data.draw(st.one_of(st.none(), st.builds(AllKnown, st.binary(max_size=2), st.none() | st.just(1))))
        for one in (self.model, self.store):
            one.listed(
                name,
                vanished=vanished,
                returned=returned,
                now=self.now,
                forgotten=forgotten,
                settled=settled,
                known=known_all,
            )

    @rule(name=account, data=st.data())
    def deleting(self, name: str, data: st.DataObject) -> None:
        known = st.one_of(uid, st.sampled_from(sorted(self.model.seen(name)) or [UniqueId(b"")]))
        size = st.one_of(st.none(), st.integers(0, 2**62))
        asked = data.draw(st.dictionaries(known, st.builds(Deletion, st.integers(1, 3), size), max_size=4))
        self.model.deleting(name, asked)
        self.store.deleting(name, asked)

    @rule(name=account)
    def doubt(self, name: str) -> None:
        self.model.doubt(name)
        self.store.doubt(name)

    @rule(name=account, where=placement)
    def appending(self, name: str, where: Placement) -> None:
        self.model.journal(name).appending(where)
        self.store.journal(name).appending(where)

    @rule(name=account, where=placement)
    def appended_unrecorded(self, name: str, where: Placement) -> None:
        self.model.journal(name).appended(where)
        self.store.journal(name).appended(where)

    @rule(name=account, data=st.data())
    def appended(self, name: str, data: st.DataObject) -> None:
        waiting = list(self.model.journal(name).placements())
        if waiting:
            where = data.draw(st.sampled_from(waiting), label="placement")
            self.model.journal(name).appended(where)
            self.store.journal(name).appended(where)

    @rule(name=account, error=st.sampled_from(["", "refused"]))
    def poll_ended(self, name: str, error: str) -> None:
        self.model.poll_ended(name, PollResult(account=name), error=error, now=self.now)
        self.store.poll_ended(name, PollResult(account=name), error=error, now=self.now)

    @rule(configured=st.dictionaries(account, st.tuples(st.sampled_from(["h", "H", "i"]), st.sampled_from(["u", "v"]))))
    def configure(self, configured: dict[str, tuple[str, str]]) -> None:
        assert self.store.configure(configured) == self.model.configure(configured)

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.store = SqliteStore.open(self.path)
        assert not self.store.created

    @rule()
    def lose_the_connection(self) -> None:
        with contextlib.suppress(ZeroDivisionError), self.store._database.writing() as db:
            db.execute("DELETE FROM seen")
            raise ZeroDivisionError

    @precondition(lambda self: hasattr(self, "store"))
    @invariant()
    def equal(self) -> None:
        assert list(self.store.accounts()) == list(self.model.accounts())
        for name in ACCOUNTS:
            assert self.store.knows(name) == self.model.knows(name)
            assert self.store.all_known(name) == self.model.all_known(name)
            assert self.store.last_commit(name) == self.model.last_commit(name)
            assert self.store.seen(name) == self.model.seen(name)
            assert self.store.troubled(name) == self.model.troubled(name)
            assert all(self.store.delivered_into(one) == self.model.delivered_into(one) for one in TARGETS)
            assert self.store.deletions(name) == self.model.deletions(name)
            assert list(self.store.outbox(name)) == list(self.model.outbox(name))
            assert list(self.store.journal(name).placements()) == list(self.model.journal(name).placements())


StoreEqualsModel.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
test_any_sequence_of_calls_leaves_the_store_equal_to_the_model = StoreEqualsModel.TestCase
