"""fetchd.letterbox: a notice reaches the Maildir as mail does, and is never taken for the account's own mail."""

from itertools import count
from pathlib import Path

import pytest

from fetchd.delivery import open_delivery
from fetchd.errors import DeliveryError
from fetchd.letterbox import Letterbox
from fetchd.model import Account, Committed, MaildirTarget, MboxTarget, Staged, UniqueId, target_text
from fetchd.names import account_digest, parse_name
from fetchd.ports import Delivery, World
from fetchd.store.sqlite import SqliteStore
from tests.accounts import make_account
from tests.clocks import FakeClock

LETTER = b"Subject: x\r\n\r\n.\r\nFrom y\r\n"


def world(store: SqliteStore, staging: Path) -> World:
    def opened(account: Account) -> Delivery:
        return open_delivery(account.name, account.target, mbox_staging=staging)

    unused = None
    return World(
        connect=unused,  # type: ignore[arg-type]
        open_delivery=opened,
        store=store,
        secrets=unused,  # type: ignore[arg-type]
        clock=FakeClock(),
        emit=unused,  # type: ignore[arg-type]
        nonce=count(7).__next__,
        host="mx1",
        lane=unused,  # type: ignore[arg-type]
    )


def files(maildir: Path) -> list[Path]:
    return [path for folder in ("new", "cur") for path in (maildir / folder).iterdir()]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return make_account(target=MaildirTarget(tmp_path / "Maildir"))


def test_it_is_delivered_with_the_line_ends_of_a_maildir_and_leaves_nothing_in_staging(
    account: Account, tmp_path: Path
) -> None:
    with SqliteStore.open(tmp_path / "fetchd.db") as store:
        Letterbox(world(store, tmp_path / "staging")).put(account, LETTER)
    (file,) = files(tmp_path / "Maildir")
    assert file.read_bytes() == b"Subject: x\n\n.\nFrom y\n"
    assert file.parent.name == "new"
    everything = [path for path in (tmp_path / "Maildir").rglob("*") if path.is_file() and path != file]
    assert [path.name for path in everything if path.name.startswith(file.name.split(",")[0])] == []


def test_neither_recovery_nor_a_lost_store_takes_it_for_a_message_of_the_account(
    account: Account, tmp_path: Path
) -> None:
    """Else a store would look older than the mail, and nothing would be deleted on the server any more."""
    with SqliteStore.open(tmp_path / "fetchd.db") as store:
        there = world(store, tmp_path / "staging")
        Letterbox(there).put(account, LETTER)
        (file,) = files(tmp_path / "Maildir")
        name = parse_name(file.name)
        assert name is not None
        assert name.account != account_digest(account.name)
        delivery = there.open_delivery(account)
        delivery.prepare(create=False)
        assert list(delivery.delivered()) == []
        assert list(delivery.leftovers()) == []
        assert store.accounts() == [], "the sender is no account of the store's"


def test_what_a_crash_left_in_staging_is_not_delivered_later(account: Account, tmp_path: Path) -> None:
    with SqliteStore.open(tmp_path / "fetchd.db") as store:
        there = world(store, tmp_path / "staging")
        box = Letterbox(there)
        box.put(account, LETTER)
        sender = make_account(f"fetchd:{account.name}", target=account.target)
        crashed = there.open_delivery(sender)
        crashed.prepare(create=False)
        whole = crashed.stage(f"1795461986.F{account_digest(sender.name)}{'0' * 24}R00000001.mx1")
        whole.write(b"left over")
        crashed.flush_batch([whole.finish()])
        assert len(crashed.leftovers()) == 1
        box.put(account, LETTER)
        assert [file.read_bytes() for file in files(tmp_path / "Maildir")] == [b"Subject: x\n\n.\nFrom y\n"] * 2
        again = there.open_delivery(sender)
        again.prepare(create=False)
        assert list(again.leftovers()) == []


def test_a_maildir_that_mail_was_delivered_into_is_not_created_anew(account: Account, tmp_path: Path) -> None:
    """FAULTS G 99: its file system is not mounted."""
    with SqliteStore.open(tmp_path / "fetchd.db") as store:
        committed = Committed(UniqueId(b"1"), Staged("1.x.mx1", 1), target_text(account.target))
        store.commit(account.name, [committed], now=1)
        with pytest.raises(DeliveryError):
            Letterbox(world(store, tmp_path / "staging")).put(account, LETTER)
    assert not (tmp_path / "Maildir").exists()


def test_an_mbox_takes_none(tmp_path: Path) -> None:
    account = make_account(target=MboxTarget(tmp_path / "mbox"))
    with SqliteStore.open(tmp_path / "fetchd.db") as store:
        with pytest.raises(DeliveryError, match="into a Maildir only"):
            Letterbox(world(store, tmp_path / "staging")).put(account, LETTER)
        assert not (tmp_path / "mbox").exists()
