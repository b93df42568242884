"""FAULTS §2 G: what others do to an mbox (102)."""

import mailbox
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fetchd.errors import DeliveryError, Retry
from tests.faults.bench import KEEP, stored, uid
from tests.faults.mbox import OTHERS, MboxBench
from tests.faults.server import FaultyServer


@pytest.fixture
def bench(tmp_path: Path, server: FaultyServer) -> Iterator[MboxBench]:
    with MboxBench(tmp_path, server) as made:
        yield made


@contextmanager
def dot_lock(path: Path) -> Iterator[None]:
    """Another program's, that lives."""
    lock = Path(f"{path}.lock")
    lock.write_text(f"{os.getpid()}\n")
    yield
    lock.unlink()


@contextmanager
def fcntl_lock(path: Path) -> Iterator[None]:
    """Another process's."""
    script = (
        "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print(flush=True); input()"
    )
    arguments = [sys.executable, "-S", "-c", script, str(path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        yield
        other.communicate(b"\n")


@pytest.mark.parametrize(
    ("held", "whose"), [(dot_lock, r"mbox\.lock"), (fcntl_lock, r"another program holds its fcntl lock")]
)
def test_mail_waits_for_a_lock_and_is_not_downloaded_again(
    bench: MboxBench, held: Callable[[Path], object], whose: str
) -> None:
    """FAULTS 102: held by another program. The message waits in staging, committed; nothing is DELEd."""
    bench.fill(1)
    bench.poll()
    bench.server.deleted.clear()
    bench.fill(2)
    with held(bench.path):
        for _ in range(2):
            bench.fails(DeliveryError, rf"mbox .*/mbox could not be locked in 0\.05 s: .*{whose}", here=True)
            assert bench.mail() == stored(1)
            assert bench.server.deleted == []
    bench.heals(1, 2)
    assert bench.server.retrieved == [uid(1), uid(2)]


@pytest.mark.parametrize("owner", ["4194305\n", "", "not a number"], ids=["dead", "none", "nonsense"])
def test_a_stale_dot_lock_keeps_nobody_out_for_ever(bench: MboxBench, owner: str) -> None:
    """FAULTS 102: of a process that died, or that nobody knows: after five minutes it is removed."""
    lock = Path(f"{bench.path}.lock")
    lock.write_text(owner)
    os.utime(lock, (bench.clock.wall(), bench.clock.wall()))
    bench.fill(1)
    bench.fails(DeliveryError, "could not be locked", here=True)
    bench.clock.advance(301.0)
    bench.heals(1)
    assert not lock.exists()


def test_a_spool_that_is_not_ours_to_write_in(bench: MboxBench) -> None:
    """FAULTS 102: no dot lock can be made there, and one that others made is respected; needs a user without rights."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    bench.path.touch(0o600)
    os.chown(bench.path, 65534, -1)
    bench.path.parent.chmod(0o755)
    for place in (bench.root, bench.root / "state", bench.root / "secret", bench.root / "state" / "fetchd.db"):
        os.chown(place, 65534, -1)
    for file in (bench.root / "state").iterdir():
        os.chown(file, 65534, -1)
    bench.fill(1, 2)
    above = [place for place in bench.root.parents if place.stat().st_mode & 0o011 != 0o011]
    modes = [place.stat().st_mode for place in above]
    for place in above:
        place.chmod(place.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        bench.heals(1, 2)
    finally:
        os.seteuid(0)
        for place, mode in zip(above, modes, strict=True):
            place.chmod(mode)
    assert sorted(file.name for file in bench.path.parent.iterdir()) == ["mbox"]


@pytest.mark.parametrize("rewrite", ["truncated", "replaced", "removed"])
def test_a_reader_may_rewrite_the_mbox_between_two_polls(bench: MboxBench, rewrite: str) -> None:
    """FAULTS 102: what it took is its own affair; what is new comes whole, and nothing comes twice."""
    bench.fill(1, 2)
    bench.poll(policy=KEEP)
    match rewrite:
        case "truncated":
            os.truncate(bench.path, 0)
        case "replaced":
            new = bench.path.with_name("new")
            new.write_bytes(OTHERS)
            new.rename(bench.path)
        case "removed":
            bench.path.unlink()
    bench.fill(3)
    with bench.emptied_by_a_reader():
        bench.poll(policy=KEEP)
        bench.poll(policy=KEEP)
        assert bench.mail() == stored(3)
    assert bench.server.retrieved == [uid(1), uid(2), uid(3)]


def test_a_reader_may_rewrite_the_mbox_while_mail_waits(bench: MboxBench) -> None:
    """FAULTS 102: between the commit and the append; it takes the first message out, as the standard library does."""
    bench.fill(1)
    bench.poll(policy=KEEP)
    bench.fill(2, 3)
    with dot_lock(bench.path):
        bench.fails(DeliveryError, "could not be locked", here=True, policy=KEEP)
    box = mailbox.mbox(bench.path, create=False)
    box.lock()
    box.remove(0)
    box.flush()
    box.close()
    with bench.emptied_by_a_reader():
        bench.poll(policy=KEEP)
        assert bench.mail() == stored(2, 3)
    assert bench.server.retrieved == [uid(1), uid(2), uid(3)]


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Path.mkdir, "is a directory, not a file: correct the path"),
        (os.mkfifo, "is a FIFO, not a file"),
        (a_socket, "is a device or a socket, not a file"),
        (lambda path: path.symlink_to("elsewhere"), "is a symbolic link, not a file"),
        (lambda path: path.write_bytes(b"\x7fELF"), "is not an mbox: it does not begin with a From line"),
    ],
    ids=["directory", "FIFO", "socket", "link", "no mbox"],
)
def test_what_is_no_mbox_is_refused_before_anybody_is_called(
    bench: MboxBench, make: Callable[[Path], object], what: str
) -> None:
    """FAULTS 102: nothing is fetched, and nobody waits for a FIFO's other end."""
    make(bench.path)
    bench.fill(1)
    bench.fails(DeliveryError, rf"mbox .*{what}|/mbox {what}", retry=Retry.LATER, told=False)
    assert bench.server.sessions == []
    bench.path.rename(bench.path.with_name("moved away"))
    bench.heals(1)
