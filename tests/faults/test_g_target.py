"""FAULTS §2 G: a target that is gone, not mounted, or not what it was (99, 100)."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fetchd import events
from fetchd.errors import DeliveryError, Retry
from fetchd.model import MaildirTarget, MboxTarget
from tests.faults.bench import KEEP, PASSWORD, USER, Bench, run_daemon, stored, uid
from tests.faults.disks import mounted, tmpfs
from tests.faults.mbox import MboxBench
from tests.faults.server import FaultyServer

BEFORE = "mail was delivered into it before: mount its file system or put it back, and fetching goes on by itself"


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    aside = path.with_name("aside")
    path.rename(aside)
    yield
    assert not path.exists(), "something was created in its place"
    aside.rename(path)


@contextmanager
def emptied(path: Path) -> Iterator[None]:
    """As the mount point of a file system that is not mounted looks."""
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    yield
    path.rmdir()  # fails where something was created in it
    aside.rename(path)


@contextmanager
def replaced(path: Path) -> Iterator[None]:
    """By another Maildir, as an IMAP server makes one at a login while the file system is not mounted."""
    aside = path.with_name("aside")
    path.rename(aside)
    for name in ("new", "cur", "tmp"):
        (path / name).mkdir(parents=True)
    yield
    assert sorted(path.rglob("*")) == [path / "cur", path / "new", path / "tmp"]
    shutil.rmtree(path)
    aside.rename(path)


@contextmanager
def without_new(path: Path) -> Iterator[None]:
    (path / "new").rename(path.with_name("aside"))
    yield
    path.with_name("aside").rename(path / "new")


GONE = pytest.mark.parametrize("gone", [moved_away, emptied, replaced, without_new])
Gone = Callable[[Path], AbstractContextManager[None]]


def in_vain(bench: Bench, says: str) -> None:
    """Nothing is fetched, marked or deleted, nor even asked of the server."""
    seen, told = dict(bench.store.seen("alice")), _told(bench)
    for _ in range(2):
        bench.fails(DeliveryError, says, retry=Retry.LATER, here=True)
    assert (bench.store.seen("alice"), _told(bench)) == (seen, told)


def _told(bench: Bench) -> tuple[int, int, int]:
    server = bench.server
    return len(server.credentials(USER.encode(), PASSWORD)), len(server.retrieved), len(server.deleted)


@GONE
def test_a_maildir_that_is_gone_is_not_created_anew(bench: Bench, gone: Gone) -> None:
    """FAULTS 99: it was delivered into before. The account goes on by itself once it is back."""
    bench.fill(1)
    bench.poll()
    bench.fill(2)
    with gone(bench.root / "Maildir"):
        in_vain(bench, BEFORE)
    bench.heals(1, 2)


def test_a_maildir_whose_file_system_is_not_mounted_is_left_alone(bench: Bench) -> None:
    """FAULTS 99: a real mount, with the Maildir below it, and ``create_parents``, which would make it anew."""
    path = bench.root / "mnt/alice/Maildir"
    bench.account = replace(bench.account, target=MaildirTarget(path, create_parents=True), policy=KEEP)
    with tmpfs(bench.root / "disk", "size=1m,mode=0700") as disk:
        with mounted(bench.root / "mnt", "--bind", disk):
            bench.fill(1)
            assert bench._poll({}).delivered == 1
        bench.fill(2)
        in_vain(bench, BEFORE)
        assert list((bench.root / "mnt").iterdir()) == []
        with mounted(bench.root / "mnt", "--bind", disk):
            assert bench._poll({}).delivered == 1
            assert len(list((path / "new").iterdir())) == 2


def test_the_daemon_says_so_once_in_a_while_and_recovers(bench: Bench) -> None:
    """FAULTS 99: and its other business goes on."""
    bench.fill(1)
    run_daemon(bench, 30)
    aside = (bench.root / "Maildir").rename(bench.root / "aside")
    bench.fill(2)
    run_daemon(bench, 600)
    failed = bench.said(events.PollFailed)
    assert failed
    assert {one.retry for one in failed} == {"later"}
    aside.rename(bench.root / "Maildir")
    run_daemon(bench, 600)
    assert bench.mail() == stored(1, 2)


def test_another_account_does_not_create_it_anew_either(bench: Bench) -> None:
    """FAULTS 99: one that never had any mail shares the Maildir; or else the first would deliver into the new one."""
    bench.fill(1)
    bench.poll()
    with moved_away(bench.root / "Maildir"):
        bench.server.mail.clear()
        with pytest.raises(DeliveryError, match=BEFORE):
            bench.poll(name="bob")


def test_a_target_that_is_new_in_the_configuration_is_created(bench: Bench) -> None:
    """FAULTS 99: whatever became of the old one. Back at the old one, that has to be there again."""
    bench.fill(1)
    bench.poll()
    bench.fill(2)
    bench.account = replace(bench.account, policy=KEEP)
    with moved_away(bench.root / "Maildir"):
        with bench_at(bench, MaildirTarget(bench.root / "another")):
            assert bench._poll({}).delivered == 1
        in_vain(bench, BEFORE)
    assert len(list((bench.root / "another/new").iterdir())) == 1


@contextmanager
def bench_at(bench: Bench, target: MaildirTarget) -> Iterator[None]:
    account = bench.account
    bench.account = replace(account, target=target)
    yield
    bench.account = account


def test_a_maildir_that_was_never_delivered_into_may_come_and_go(bench: Bench) -> None:
    """FAULTS 99: there is nothing in it that could be missed."""
    bench.poll()
    shutil.rmtree(bench.root / "Maildir")
    bench.fill(1)
    bench.heals(1)


def test_who_really_means_it_creates_it(bench: Bench) -> None:
    """FAULTS 99: as the error says."""
    bench.fill(1)
    bench.poll()
    shutil.rmtree(bench.root / "Maildir")
    error = bench.fails(DeliveryError, BEFORE, retry=Retry.LATER, here=True)
    subprocess.run(str(error).split("`")[1], shell=True, check=True)
    bench.fill(2)
    result = bench._poll({})
    assert result.delivered == 1
    assert bench.mail() == stored(2)


# ── an mbox ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mbox(tmp_path: Path, server: FaultyServer) -> Iterator[MboxBench]:
    with MboxBench(tmp_path, server) as made:
        yield made


def test_an_mbox_whose_directory_is_gone_is_not_created_anew(mbox: MboxBench) -> None:
    """FAULTS 99: ``create_parents`` or not."""
    mbox.account = replace(mbox.account, target=MboxTarget(mbox.path, create_parents=True))
    mbox.fill(1)
    mbox.poll()
    mbox.fill(2)
    with moved_away(mbox.path.parent):
        in_vain(mbox, f"{mbox.path.parent} is not there, and {BEFORE}; .* `mkdir -p {mbox.path.parent}`")
    mbox.heals(1, 2)


def test_an_mbox_that_a_reader_removed_when_it_was_empty_is_made_again(mbox: MboxBench) -> None:
    """FAULTS 99: mailx does that (POSIX, ``nokeep``), mutt with ``save_empty=no``. Its directory stays."""
    mbox.fill(1)
    mbox.poll()
    mbox.path.unlink()
    mbox.fill(2)
    with mbox.emptied_by_a_reader():
        assert mbox.poll().delivered == 1
        assert mbox.mail() == stored(2)


def test_a_store_that_comes_back_without_its_staging_is_no_fault_where_no_mail_waits(mbox: MboxBench) -> None:
    """FAULTS 99: a backup of the store's file alone."""
    mbox.fill(1)
    mbox.poll()
    shutil.rmtree(mbox.root / "mbox-staging")
    mbox.fill(2)
    mbox.heals(1, 2)


# ── not what it should be ────────────────────────────────────────────────────────────────────────────────────────


def is_link(path: Path) -> str:
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")
    return f"{path} is a symbolic link, and a Maildir needs a directory there: replace it by one"


def is_file(path: Path) -> str:
    path.rename(path.with_name("aside"))
    path.touch()
    return f"{path} is not a directory, and a Maildir needs a directory there: replace it by one"


def is_everybodys(path: Path) -> str:
    path.chmod(0o777)
    return f"everybody may write to {path}: `chmod o-w {path}`"


def is_anothers(path: Path) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(path, 65534, -1)
    return rf"{path} belongs to nobody, and fetchd delivers as root: say so with `owner: nobody` in .* `deliver`"


@pytest.mark.parametrize("name", ["new", "tmp"])
@pytest.mark.parametrize("spoil", [is_link, is_file, is_everybodys, is_anothers])
def test_directories_that_are_not_what_they_should_be_are_refused(
    bench: Bench, name: str, spoil: Callable[[Path], str]
) -> None:
    """FAULTS 100: before a message is fetched. It is delivered once they are as they were."""
    bench.fill(1)
    bench.poll()
    bench.fill(2)
    path = bench.root / "Maildir" / name
    in_vain(bench, spoil(path))
    if path.with_name("aside").exists():
        path.unlink()
        path.with_name("aside").rename(path)
    os.chown(path, os.geteuid(), -1)
    path.chmod(0o700)
    bench.heals(1, 2)


def test_staging_on_another_file_system_is_refused(bench: Bench) -> None:
    """FAULTS 100, EXDEV: before a message is fetched."""
    bench.fill(1)
    bench.poll()
    bench.fill(2)
    with tmpfs(bench.root / "Maildir/tmp", "size=1m,mode=0700"):
        (bench.root / "Maildir/tmp/.fetchd-stage").mkdir(mode=0o700)
        in_vain(bench, r"spreads over two file systems, .*fetchd-stage and .*new: unmount one")
    bench.heals(1, 2)
    assert bench.server.deleted == [uid(1), uid(2)]
