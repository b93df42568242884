"""What the store remembers of accounts that fail: for notices, which are given once, also over a restart."""

from pathlib import Path

from fetchd.model import Failing
from fetchd.store.sqlite import SqliteStore


def test_it_survives_a_restart_and_success_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.db"
    with SqliteStore.open(path) as store:
        assert store.failing() == {}
        store.remember_failing("alice", Failing(since=100, failures=1))
        store.remember_failing("alice", Failing(since=100, failures=2, told=True))
        store.remember_failing("bob", Failing(since=200, failures=1))
    with SqliteStore.open(path) as store:
        assert store.failing() == {"alice": Failing(100, 2, told=True), "bob": Failing(200, 1)}
        store.remember_failing("alice", None)
        store.remember_failing("never seen", None)
        assert store.failing() == {"bob": Failing(200, 1)}


def test_an_account_that_is_renamed_keeps_it_and_another_maildrop_does_not(tmp_path: Path) -> None:
    with SqliteStore.open(tmp_path / "fetchd.db") as store:
        store.configure({"alice": ("pop.example.org", "alice"), "bob": ("pop.example.org", "bob")})
        for name in ("alice", "bob"):
            store.remember_failing(name, Failing(since=100, failures=1, told=True))
        store.configure({"renamed": ("pop.example.org", "alice"), "bob": ("pop.example.org", "somebody else")})
        failing = store.failing()
        assert failing["renamed"] == Failing(100, 1, told=True)
        assert failing.keys() & {"alice", "bob"} == set()
