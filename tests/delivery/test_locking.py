"""The locks on an mbox: FAULTS G 102."""

import fcntl
import mailbox
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fetchd.delivery import locking
from fetchd.delivery.locking import locked
from fetchd.errors import DeliveryError
from tests.delivery.doubles import Waiting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mbox"


def lock_of(path: Path) -> Path:
    return path.with_name("mbox.lock")


@contextmanager
def held_by_another_process(path: Path) -> Iterator[None]:
    code = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'rb+')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            process.communicate()


def test_both_locks_are_held_and_let_go(path: Path) -> None:
    """The standard library's mbox meets both."""
    path.touch()
    box = mailbox.mbox(path)
    with locked(path, Waiting().patience()):
        assert lock_of(path).read_text() == f"{os.getpid()}\n"
        with pytest.raises(mailbox.ExternalClashError, match="lockf"):
            box.lock()
    assert [file.name for file in path.parent.iterdir()] == ["mbox"]
    box.lock()
    box.unlock()
    box.close()


def test_an_fcntl_lock_of_another_process_is_waited_for(path: Path) -> None:
    path.touch()
    waiting = Waiting()
    with (
        held_by_another_process(path),
        pytest.raises(DeliveryError, match=r"could not be locked in 30 s: another program holds its fcntl lock"),
        locked(path, waiting.patience()),
    ):
        pass
    assert 30 <= waiting.slept < 31
    with locked(path, waiting.patience()):
        pass
    assert not lock_of(path).exists()


def test_two_of_one_process_keep_each_other_out(path: Path) -> None:
    """Threads: plain fcntl locks do not conflict within a process, and the first close drops them all."""
    waiting = Waiting()
    with locked(path, waiting.patience()):
        for _ in range(2):
            with (
                pytest.raises(DeliveryError, match="fcntl lock"),
                locked(path, waiting.patience(0.0)),
            ):
                pass
        assert lock_of(path).exists()


def test_a_file_replaced_before_the_lock_was_had_is_opened_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader writes its new mbox beside the old one and renames it over; the lock on the old one is worth nothing."""
    path.write_text("old")
    new = path.with_name("new")
    new.write_text("new")
    set_lock = fcntl.fcntl

    def replace_and_lock(descriptor: int, command: int, argument: bytes) -> object:
        if new.exists():
            new.rename(path)
        return set_lock(descriptor, command, argument)

    monkeypatch.setattr(locking.fcntl, "fcntl", replace_and_lock)
    with locked(path, Waiting().patience()) as descriptor:
        assert os.pread(descriptor, 3, 0) == b"new"


def test_a_missing_mbox_is_created_for_its_owner_only(path: Path) -> None:
    with locked(path, Waiting().patience()) as descriptor:
        assert os.fstat(descriptor).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["directory", "symbolic link", "FIFO", "device"])
def test_what_is_no_file_is_refused(path: Path, kind: str) -> None:
    """Without opening it: a FIFO would hang, a device may do anything."""
    if kind == "directory":
        path.mkdir()
    elif kind == "symbolic link":
        path.with_name("elsewhere").touch()
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "FIFO":
        os.mkfifo(path)
    else:
        path = Path("/dev/null")
    with (
        pytest.raises(DeliveryError, match=rf"mbox {path} is a {kind}.*, not a file"),
        locked(path, Waiting().patience()),
    ):
        pass
