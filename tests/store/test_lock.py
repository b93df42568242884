"""One process a store (FAULTS G 108)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fetchd.errors import StoreError
from fetchd.store.lock import StoreLock
from fetchd.store.sqlite import SqliteStore

HOLDER = """
import sys
from pathlib import Path
from fetchd.store.sqlite import SqliteStore
store = SqliteStore.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[bytes]:
    """Starts a process that has the store open; returns when it has."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process


def test_a_second_process_is_refused_with_the_firsts_pid_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.db"
    with holder(path) as process:
        with pytest.raises(StoreError) as caught:
            SqliteStore.open(path)
        assert str(caught.value) == (
            f"another fetchd (pid {process.pid}) works on {path}: stop it first, or give this one its own `state:`"
        )
        process.communicate()
    SqliteStore.open(path).close()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.db"
    with holder(path) as process:
        process.kill()
        process.communicate()
    SqliteStore.open(path).close()


def test_the_lock_is_refused_within_one_process_too(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.db"
    with SqliteStore.open(path), pytest.raises(StoreError, match=f"pid {os.getpid()}\\)"):
        SqliteStore.open(path)


def test_a_symbolic_link_to_a_store_shares_its_lock(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("fetchd.db")
    with SqliteStore.open(tmp_path / "fetchd.db"), pytest.raises(StoreError, match="another fetchd"):
        SqliteStore.open(tmp_path / "link.db")


def test_an_open_that_fails_lets_go_of_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.db"
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 100)
    for _ in range(2):
        with pytest.raises(StoreError, match="not a fetchd store"):
            SqliteStore.open(path)


def test_the_lock_file_stays_and_holds_the_pid_alone(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.db"
    lock_file = tmp_path / "fetchd.db.lock"
    lock_file.write_text("4194304999 and more")
    lock = StoreLock.acquire(path)
    assert lock_file.read_text() == f"{os.getpid()}\n"
    lock.release()
    lock.release()
    assert lock_file.exists()


def test_an_owner_that_left_no_pid_is_still_an_owner(tmp_path: Path) -> None:
    lock = StoreLock.acquire(tmp_path / "x")
    (tmp_path / "x.lock").write_text("\x1b[31m")
    with pytest.raises(StoreError, match=r"^another fetchd works on "):
        StoreLock.acquire(tmp_path / "x")
    lock.release()


def test_a_child_process_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """A password command that outlives us must not keep the next start from its store."""
    path = tmp_path / "fetchd.db"
    store = SqliteStore.open(path)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        store.close()
        SqliteStore.open(path).close()
        child.communicate()
