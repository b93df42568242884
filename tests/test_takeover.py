"""Taking over what another fetcher has seen: compared with the server, without a trace there, and into the store."""

from pathlib import Path
from typing import cast

import pytest

from fetchd.errors import NetworkError, PolicyError
from fetchd.migration.uids import OldUid, OldUids, same
from fetchd.model import Fate, Secret, Seen
from fetchd.ports import Secrets, Survey
from fetchd.store.sqlite import SqliteStore
from fetchd.takeover import Takeover
from tests.accounts import make_account
from tests.clocks import FakeClock
from tests.maildrops import FakeMaildrop, FakeServer

ACCOUNT = make_account("alice")


class Passwords:
    def reveal(self, source) -> Secret:
        return Secret(b"x")


@pytest.fixture
def store(tmp_path: Path):
    with SqliteStore.open(tmp_path / "fetchd.db") as opened:
        yield opened


def takeover(server: FakeServer, store: SqliteStore | None) -> Takeover:
    return Takeover(connect=server.connect, secrets=cast(Secrets, Passwords()), clock=FakeClock(), store=store)


def old(*entries: OldUid) -> list[OldUids]:
    return [OldUids("file", ACCOUNT.host, ACCOUNT.user, entries, same)]


def mail(*uids: bytes) -> list[tuple[bytes, bytes]]:
    return [(uid, b"Subject: x\r\n\r\nx\r\n") for uid in uids]


def test_what_matches_is_listed_and_what_is_gone_is_not(store: SqliteStore) -> None:
    server = FakeServer(mail(b"a", b"b"))
    work = takeover(server, store)
    compared = work.compare(ACCOUNT, old(OldUid(b"a", 5), OldUid(b"gone")))
    work.take_over(compared, fate=Fate.SKIPPED)
    now = int(FakeClock().wall())
    assert store.seen("alice") == {
        b"a": Seen(1, 5, Fate.SKIPPED),
        b"gone": Seen(1, now, Fate.SKIPPED, listed=False),
    }
    assert (server.left, server.retrieved, server.uids, server.open) == (1, [], [b"a", b"b"], 0)


def test_of_a_listing_with_gaps_nothing_is_gone(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may show only a part of its mail: what it does not list may be there all the same."""
    whole = FakeMaildrop.survey

    def part(self: FakeMaildrop) -> Survey:
        found = whole(self)
        return Survey(found.messages + 1, found.octets, found.uids, found.sizes)

    monkeypatch.setattr(FakeMaildrop, "survey", part)
    work = takeover(FakeServer(mail(b"a")), store)
    work.take_over(work.compare(ACCOUNT, old(OldUid(b"a"), OldUid(b"gone"))), fate=Fate.SKIPPED)
    assert {uid: seen.listed for uid, seen in store.seen("alice").items()} == {b"a": True, b"gone": True}


def test_what_the_old_fetcher_delivered_may_become_ours_to_delete(store: SqliteStore) -> None:
    work = takeover(FakeServer(mail(b"a")), store)
    work.take_over(work.compare(ACCOUNT, old(OldUid(b"a"))), fate=Fate.DELIVERED)
    assert store.seen("alice")[b"a"].fate is Fate.DELIVERED


def test_a_server_without_unique_ids_is_an_error_of_that_account() -> None:
    compared = takeover(FakeServer(mail(b"a"), has_uidl=False), None).compare(ACCOUNT, old(OldUid(b"a")))
    assert isinstance(compared.error, PolicyError)


def test_a_server_that_cannot_be_reached_is_an_error_of_that_account() -> None:
    def connect(account, password):
        raise NetworkError("no route")

    work = Takeover(connect=connect, secrets=cast(Secrets, Passwords()), clock=FakeClock(), store=None)
    assert isinstance(work.compare(ACCOUNT, old(OldUid(b"a"))).error, NetworkError)


@pytest.mark.parametrize(
    ("listed", "remembered", "suspect"),
    [((b"x",), (b"a",), True), ((b"a",), (b"a",), False), ((), (b"a",), False), ((b"x",), (), False)],
)
def test_it_is_suspect_only_where_mail_is_there_and_nothing_of_it_is_known(listed, remembered, suspect: bool) -> None:
    compared = takeover(FakeServer(mail(*listed)), None).compare(ACCOUNT, old(*map(OldUid, remembered)))
    assert compared.is_suspect is suspect
