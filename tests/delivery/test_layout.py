"""A Maildir's directories: FAULTS G 99, 100."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd.delivery.maildir import Maildir
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


@pytest.mark.parametrize("missing", ["new", "cur", "tmp"])
def test_where_mail_waits_nothing_is_created_anew(bench: Bench, missing: str) -> None:
    for name in {"new", "cur", "tmp"} - {missing}:
        (bench.path / name).mkdir(parents=True)
    with pytest.raises(DeliveryError, match=rf"has no {missing}/, and mail waits in it"):
        bench.open().prepare(create=False)
    assert not (bench.path / missing).exists()


def test_where_mail_waits_a_missing_maildir_is_an_error(bench: Bench) -> None:
    with pytest.raises(DeliveryError, match=r"is missing, and mail waits in it to be published: mount"):
        bench.open().prepare(create=False)
    assert list(bench.root.iterdir()) == []


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
