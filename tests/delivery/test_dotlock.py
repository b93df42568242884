"""The dot lock: held, stale, left by a killed fetchd (FAULTS G 102)."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fetchd.delivery import dotlock
from fetchd.delivery.dotlock import STALE_AFTER
from fetchd.delivery.locking import locked
from fetchd.errors import DeliveryError
from tests.delivery.doubles import NOW, Waiting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mbox"


def lock_of(path: Path) -> Path:
    return path.with_name("mbox.lock")


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def write_lock(path: Path, content: str, *, age: float) -> None:
    lock_of(path).write_text(content)
    os.utime(lock_of(path), (NOW - age, NOW - age))


def test_a_dot_lock_is_waited_for_and_named(path: Path) -> None:
    """Of a living process, however old; it is not ours to remove."""
    write_lock(path, f"{os.getppid()}\n", age=STALE_AFTER * 100)
    waiting = Waiting()
    with (
        pytest.raises(DeliveryError, match=rf"dot lock .*mbox.lock is held by process {os.getppid()}, which lives"),
        locked(path, waiting.patience()),
    ):
        pass
    assert waiting.slept >= 30
    assert sorted(file.name for file in path.parent.iterdir()) == ["mbox", "mbox.lock"]


def test_a_dot_lock_that_goes_away_is_taken(path: Path) -> None:
    write_lock(path, "", age=0)
    waiting = Waiting(then=lock_of(path).unlink)
    with locked(path, waiting.patience()):
        assert lock_of(path).read_text() == f"{os.getpid()}\n"
    assert 0 < waiting.slept < 1


@pytest.mark.parametrize("holder", ["dead", "nobody", "garbage", "0", "9" * 30])
def test_a_stale_dot_lock_is_removed(path: Path, holder: str) -> None:
    """Older than five minutes, and the process in it, if one is, is gone."""
    content = {"dead": f"{dead_pid()}\n", "nobody": "", "garbage": "fred@host\n"}.get(holder, holder)
    write_lock(path, content, age=STALE_AFTER + 1)
    waiting = Waiting()
    with locked(path, waiting.patience()):
        pass
    assert waiting.slept == 0
    assert not lock_of(path).exists()


@pytest.mark.parametrize("holder", ["dead", "nobody"])
def test_a_young_dot_lock_is_not_stale(path: Path, holder: str) -> None:
    write_lock(path, f"{dead_pid()}\n" if holder == "dead" else "", age=STALE_AFTER - 40)
    hint = "which is gone; if that ran on this host" if holder == "dead" else "names no process; if no mail"
    with pytest.raises(DeliveryError, match=hint), locked(path, Waiting().patience()):
        pass
    assert lock_of(path).exists()


@pytest.mark.parametrize("names", [["mbox.lock", "mbox.lock.fetchd"], ["mbox.lock.fetchd"]])
@pytest.mark.parametrize("pid", [1, os.getpid()])
def test_what_a_killed_fetchd_left_locked_is_taken_over_at_once(path: Path, names: list[str], pid: int) -> None:
    """However young, and though its process id is that of a living process: in a container it is 1 each time."""
    mark = path.with_name("mbox.lock.fetchd")
    mark.write_text(f"{pid}\n")
    if "mbox.lock" in names:
        os.link(mark, lock_of(path))
    waiting = Waiting()
    with locked(path, waiting.patience()):
        assert lock_of(path).exists()
    assert waiting.slept == 0
    assert [file.name for file in path.parent.iterdir()] == ["mbox"]


def test_a_lock_that_is_not_ours_any_more_is_not_removed(path: Path) -> None:
    with locked(path, Waiting().patience()):
        lock_of(path).unlink()
        lock_of(path).write_text("somebody else's")
    assert lock_of(path).read_text() == "somebody else's"


def test_a_directory_that_is_not_ours_to_write_in_leaves_the_fcntl_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a /var/mail of mode 0755; but a dot lock that is there counts."""
    path.touch()
    open_file = os.open

    def refuse(name: object, flags: int, *args: int, **kwargs: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "not allowed")
        return open_file(name, flags, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(dotlock.os, "open", refuse)
    with locked(path, Waiting().patience()), pytest.raises(DeliveryError), locked(path, Waiting().patience(0)):
        pass
    lock_of(path).write_text("")
    with pytest.raises(DeliveryError, match="dot lock"), locked(path, Waiting().patience()):
        pass


def test_without_hard_links_the_dot_lock_is_taken_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on FAT."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(dotlock.os, "link", refuse)
    with locked(path, Waiting().patience()):
        assert lock_of(path).exists()
    assert [file.name for file in path.parent.iterdir()] == ["mbox"]
    write_lock(path, "", age=0)
    with pytest.raises(DeliveryError, match="dot lock"), locked(path, Waiting().patience()):
        pass
    assert sorted(file.name for file in path.parent.iterdir()) == ["mbox", "mbox.lock"]
