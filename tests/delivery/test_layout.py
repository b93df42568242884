"""A Maildir's directories: FAULTS G 99, 100."""

import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd.delivery import maildir
from fetchd.delivery.maildir import STAGE, Maildir
from fetchd.errors import DeliveryError, Retry
from tests.delivery.doubles import Bench, MemoryJournal, deliver


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench("maildir", tmp_path)


def test_a_missing_maildir_is_created_whole(bench: Bench) -> None:
    """Mode 0700; nothing else is left beside it."""
    bench.prepared()
    assert sorted(path.name for path in bench.path.iterdir()) == ["cur", "new", "tmp"]
    assert [path.name for path in bench.root.iterdir()] == ["Maildir"]
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in (bench.path, *bench.path.iterdir()))


def test_many_sessions_create_it_at_once(bench: Bench) -> None:
    """One is the fastest, and nothing of the others stays."""
    errors: list[Exception] = []

    def prepare(account: str) -> None:
        try:
            bench.prepared(account)
        except Exception as error:  # noqa: BLE001 - a thread's errors are told by the test
            errors.append(error)

    threads = [threading.Thread(target=prepare, args=(f"account-{number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [path.name for path in bench.root.iterdir()] == ["Maildir"]


def test_an_empty_directory_may_be_a_mount_point_and_is_refused(bench: Bench) -> None:
    """FAULTS G 99: mail delivered into it would be out of sight as soon as the file system is mounted."""
    bench.path.mkdir()
    with pytest.raises(DeliveryError, match=r"is an empty directory: mount its file system") as caught:
        bench.prepared()
    assert caught.value.retry is Retry.LATER
    assert list(bench.path.iterdir()) == []
    Maildir(bench.path, "alice", create_parents=True).prepare()
    assert (bench.path / "new").is_dir()


def test_a_freshly_mounted_file_system_becomes_a_maildir(small_disk: Path, journal: MemoryJournal) -> None:
    """A container's new volume: it is mounted, so it may be used."""
    (small_disk / "lost+found").mkdir()
    delivery = Maildir(small_disk, "alice")
    delivery.prepare()
    deliver(delivery, journal, b"x\n")
    assert len(list((small_disk / "new").iterdir())) == 1
    delivery.close()


@pytest.mark.parametrize("there", ["new", "cur"])
def test_a_maildir_with_a_directory_missing_is_made_good(bench: Bench, there: str) -> None:
    (bench.path / there).mkdir(parents=True)
    bench.prepared()
    assert sorted(path.name for path in bench.path.iterdir()) == ["cur", "new", "tmp"]


WAITING = [(True, "mail waits in it to be published"), (False, "mail was delivered into it before")]


@pytest.mark.parametrize(("waiting", "why"), WAITING)
@pytest.mark.parametrize("missing", ["new", "cur", "tmp", f"tmp/{STAGE}"])
def test_in_a_known_maildir_nothing_is_created_anew(bench: Bench, missing: str, waiting: bool, why: str) -> None:
    """FAULTS G 99. Without our staging directory it is another Maildir, such as an IMAP server makes at a login."""
    bench.prepared()
    (bench.path / missing).rename(bench.root / "away")
    with pytest.raises(
        DeliveryError, match=rf"has no {missing}/, and {why}: mount its file system or put it"
    ) as caught:
        bench.open().prepare(create=False, waiting=waiting)
    assert caught.value.retry is Retry.LATER
    assert not (bench.path / missing).exists()
    (bench.root / "away").rename(bench.path / missing)
    bench.open().prepare(create=False, waiting=waiting)


@pytest.mark.parametrize(("waiting", "why"), WAITING)
@pytest.mark.parametrize("below", [False, True])
def test_a_known_maildir_that_is_missing_is_an_error(bench: Bench, waiting: bool, why: str, below: bool) -> None:
    """FAULTS G 99; also below a parent that is missing, whatever ``create_parents`` says."""
    path = bench.root / "mnt/alice/Maildir" if below else bench.path
    with pytest.raises(DeliveryError, match=rf"Maildir {path} is missing, and {why}: mount"):
        Maildir(path, "alice", create_parents=True).prepare(create=False, waiting=waiting)
    assert list(bench.root.iterdir()) == []


def test_a_known_maildir_whose_mount_point_is_empty_is_an_error(bench: Bench) -> None:
    """FAULTS G 99: even a mounted one, and one that may be made a Maildir, as long as it was none before."""
    bench.path.mkdir()
    with pytest.raises(DeliveryError, match=r"has no new/, and mail was delivered into it before: mount"):
        Maildir(bench.path, "alice", create_parents=True).prepare(create=False, waiting=False)
    assert list(bench.path.iterdir()) == []


def test_a_link_to_a_known_maildir_that_is_not_mounted_is_an_error(bench: Bench) -> None:
    bench.path.symlink_to(bench.root / "mnt")
    with pytest.raises(DeliveryError, match=r"Maildir is missing, and mail was delivered into it before"):
        bench.open().prepare(create=False, waiting=False)


def test_a_maildir_that_vanishes_meanwhile_is_an_error_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS G 99: the standard library's error is no OSError."""
    aside = bench.root / "aside"
    monkeypatch.setattr(maildir, "require_one_file_system", lambda *_: bench.path.rename(aside))
    with pytest.raises(DeliveryError, match="Maildir vanished while fetchd looked at it"):
        bench.prepared()


def test_the_command_in_the_error_begins_anew(bench: Bench, journal: MemoryJournal) -> None:
    """How a human says that it is meant: by making the directories, our own among them."""
    with pytest.raises(DeliveryError) as caught:
        bench.open().prepare(create=False, waiting=False)
    command = re.findall(r"`(mkdir .*)`", str(caught.value))[0]
    subprocess.run(shlex.split(command), check=True)
    delivery = bench.open()
    delivery.prepare(create=False, waiting=False)
    deliver(delivery, journal, b"x\n")
    assert bench.messages() == [b"x\n"]


@pytest.mark.parametrize("name", ["new", "cur", "tmp"])
def test_directories_that_everybody_may_write_to_are_refused(bench: Bench, name: str) -> None:
    """FAULTS G 100: everybody could plant, rename and remove mail there."""
    bench.prepared()
    (bench.path / name).chmod(0o777)
    with pytest.raises(DeliveryError, match=rf"everybody may write to {bench.path}/{name}: `chmod o-w") as caught:
        bench.prepared()
    assert caught.value.retry is Retry.LATER
    (bench.path / name).chmod(0o770)
    bench.prepared()


def test_a_directory_that_is_no_maildir_is_refused(bench: Bench) -> None:
    """A home directory has a tmp/ too, sometimes."""
    (bench.path / "tmp").mkdir(parents=True)
    (bench.path / ".bashrc").touch()
    with pytest.raises(DeliveryError, match=r"is not a Maildir: it holds other things"):
        bench.prepared()
    assert not (bench.path / "new").exists()


def test_a_path_that_is_a_file_is_refused(bench: Bench) -> None:
    bench.path.write_text("mbox?")
    with pytest.raises(DeliveryError, match=r"Maildir is not a directory"):
        bench.prepared()


@pytest.mark.parametrize("name", ["new", "cur", "tmp"])
@pytest.mark.parametrize("kind", ["a symbolic link", "not a directory"])
def test_new_cur_and_tmp_are_directories_themselves(bench: Bench, name: str, kind: str) -> None:
    """FAULTS G 100: a link may lead to another file system, or to somebody else's."""
    bench.prepared()
    subdirectory = bench.path / name
    subdirectory.rename(bench.root / "elsewhere")
    if kind == "a symbolic link":
        subdirectory.symlink_to(bench.root / "elsewhere")
    else:
        subdirectory.touch()
    with pytest.raises(DeliveryError, match=rf"{name} is {kind}, and a Maildir needs a directory there"):
        bench.prepared()


def test_the_maildir_itself_may_be_a_symbolic_link(bench: Bench, journal: MemoryJournal) -> None:
    """``~/Maildir`` often is."""
    Maildir(bench.root / "real", "alice").prepare()
    bench.path.symlink_to(bench.root / "real")
    deliver(bench.prepared(), journal, b"x\n")
    assert bench.messages() == [b"x\n"]


@pytest.fixture
def staging_elsewhere(bench: Bench, small_disk: Path) -> Iterator[Path]:
    bench.prepared()
    subprocess.run(["mount", "--bind", small_disk, bench.staging], check=True)
    try:
        yield bench.staging
    finally:
        subprocess.run(["umount", "--lazy", bench.staging], check=True)


def test_staging_on_another_file_system_is_refused(bench: Bench, staging_elsewhere: Path) -> None:
    """FAULTS G 100, EXDEV: found out before a message is fetched, not when it is to be published."""
    with pytest.raises(DeliveryError, match=r"spreads over two file systems, .*fetchd-stage and .*new"):
        bench.prepared()


def test_a_bind_mount_of_the_same_file_system_is_found_out(bench: Bench) -> None:
    """Both have one st_dev, and rename(2) says EXDEV all the same; trying that leaves nothing behind."""
    if os.geteuid() != 0:
        pytest.skip("a bind mount needs root")
    bench.prepared()
    new = bench.path / "new"
    mounted = subprocess.run(["mount", "--bind", new, new], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no bind mount here: {mounted.stderr.decode()}")
    try:
        with pytest.raises(DeliveryError, match=r"spreads over two file systems"):
            bench.prepared()
        assert list(new.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", new], check=True)


def test_another_users_staging_is_refused(bench: Bench) -> None:
    """As after one run as root: every later error would be harder to read."""
    if os.geteuid() != 0:
        pytest.skip("giving a directory away needs root")
    bench.prepared()
    os.chown(bench.staging, 4242, 4242)
    with pytest.raises(DeliveryError, match=r"belongs to uid 4242, and fetchd runs as uid 0: .*chown"):
        bench.prepared()
