"""FAULTS §2 G: limits of the system, calls that are interrupted or do half of it, names (98, 101, 109)."""

import errno
import os
import re
import resource
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fetchd import events
from fetchd.errors import DeliveryError
from fetchd.names import parse_name
from tests.e2e.running import Running, maildir_content
from tests.faults.bench import KEEP, Bench, message, run_daemon, stored, uid
from tests.faults.disks import FailingCalls
from tests.faults.mbox import OTHERS, MboxBench
from tests.faults.processes import account, write_accounts
from tests.faults.server import FaultyServer


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.EDQUOT, r"the disk quota of uid \d+ is used up: free space or raise it, and delivery goes on by itself"),
        (errno.EMFILE, r"fetchd has too many files open: raise LimitNOFILE \(`ulimit -n`\) or lower `workers`"),
        (errno.ENFILE, r"the system has too many files open: raise `fs.file-max`"),
        (errno.ENOMEM, r"Cannot allocate memory"),
        (errno.EACCES, r"fetchd runs as uid \d+, which is not allowed to do that"),
    ],
    ids=lambda value: errno.errorcode.get(value, ""),
)
@pytest.mark.parametrize("kind", [Bench, MboxBench], ids=["maildir", "mbox"])
def test_each_fault_says_what_to_do(
    tmp_path: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, kind: type[Bench], code: int, says: str
) -> None:
    """FAULTS 98: at each call of the way of a message, until it is gone."""
    calls = FailingCalls(monkeypatch)
    with kind(tmp_path, server) as bench:
        bench.poll()
        told = 0
        for trial in range(1, 100):
            bench.fill(trial)
            calls.arm(code, number=trial)
            with suppress(DeliveryError):  # what is not vital, such as the mark of a lock, may fail without a word
                bench._poll({})
            bench.always(here=True)
            for failed in bench.said(events.PollFailed):
                assert re.search(says, failed.error), failed.error
                told += 1
            fired = bool(calls.fired)
            calls.disarm()
            bench.heals(*range(1, trial + 1))
            if not fired:
                break
        assert told >= 1


@contextmanager
def limited(what: int, most: int) -> Iterator[None]:
    """Sets this process a soft limit for the block."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def test_a_message_larger_than_files_may_be(bench: Bench) -> None:
    """FAULTS 98: a real EFBIG, by ``ulimit -f``. What came before it is delivered."""
    large = message(2) + b"x" * 1_000_000 + b"\r\n"
    bench.fill(1)
    bench.server.mail.append((uid(2), large))
    with limited(resource.RLIMIT_FSIZE, 500_000):
        bench.fails(DeliveryError, "the file would grow larger than its file system or `ulimit -f` allows")
        assert bench.mail() == stored(1)
        assert bench.server.deleted == []
        bench.poll()  # has something else to do: what is delivered is to be deleted
        assert bench.server.deleted == [uid(1)]
        bench.fails(DeliveryError, "the file would grow larger than its file system or `ulimit -f` allows")
    bench.poll()
    assert bench.mail() == sorted([*stored(1), large.replace(b"\r\n", b"\n")])
    assert bench.server.deleted == [uid(1), uid(2)]


def test_an_mbox_larger_than_files_may_be(tmp_path: Path, server: FaultyServer) -> None:
    """FAULTS 98: the mbox is as it was, and the message waits in staging."""
    with MboxBench(tmp_path, server) as bench:
        bench.path.write_bytes(OTHERS + b"x" * 499_900 + b"\n\n")
        before = bench.path.read_bytes()
        bench.fill(1, 2)
        with limited(resource.RLIMIT_FSIZE, 500_000):
            for _ in range(2):
                bench.fails(DeliveryError, "cannot append to mbox .*: the file would grow larger than", here=True)
                assert bench.path.read_bytes() == before
        bench.heals(1, 2)
        assert bench.path.read_bytes().startswith(before)


def test_out_of_descriptors_a_daemon_says_so_and_goes_on_when_there_are_some(
    tmp_path: Path, server: FaultyServer
) -> None:
    """FAULTS 98: a real EMFILE, at the first descriptor that a poll opens, the second, and so on to the last."""
    config = write_accounts(tmp_path, alice=account(tmp_path, server, leave_on_server=False))
    server.mail.append((uid(0), message(0)))
    failed: list[str] = []
    with Running(tmp_path, ["-c", str(config), "-v"]) as daemon:
        pid = daemon.process.pid
        daemon.wait_for_event("poll.done")
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        lowest = next(number for number in range(100) if not Path(f"/proc/{pid}/fd/{number}").exists())
        for room in range(20):
            server.mail.append((uid(room + 1), message(room + 1)))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest + room, limits[1]))
            ended = len(daemon.events("poll.done")) + len(daemon.events("poll.failed"))
            daemon.signal(signal.SIGUSR1)
            daemon.wait_for(
                lambda ended=ended: len(daemon.events("poll.done")) + len(daemon.events("poll.failed")) > ended
            )
            failed = [event["error"] for event in daemon.events("poll.failed")]
            if len(failed) <= room:
                break
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        server.mail.append((uid(99), message(99)))
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for(lambda: not server.mail)
        assert daemon.stop() == 0
        assert daemon.events("internal.error") == []
    server.settle()
    assert server.violations == []
    assert len(failed) >= 3
    assert [text for text in failed if "oo many" not in text] == []
    assert maildir_content(tmp_path / "Maildir") == stored(*range(room + 2), 99)


def test_out_of_memory_one_poll_ends_and_the_daemon_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 98: a ``MemoryError``, in the middle of a message; the next poll brings it."""
    bench.server.mail.append((uid(1), message(1) + b"x" * 1_000_000 + b"\r\n"))
    real, failed = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        if not failed and "/Maildir/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            failed.append(descriptor)
            raise MemoryError
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    run_daemon(bench, 600.0)
    assert failed
    assert [event.error for event in bench.said(events.InternalError)] == ["MemoryError()"]
    assert 'fetchd_polls_total{account="alice",outcome="internal"} 1' in bench.metrics.render().decode()
    assert (bench.server.deleted, len(bench.mail()), bench.staged()) == ([uid(1)], 1, [])
    bench.poll()


def test_calls_that_signals_interrupt_are_taken_up_again(bench: Bench) -> None:
    """FAULTS 98: EINTR, thousands of times; nobody is told, and nothing is amiss."""
    bench.fill(*range(200))
    caught: list[int] = []
    done = threading.Event()
    previous = signal.signal(signal.SIGUSR2, lambda number, _frame: caught.append(number))
    main = threading.main_thread().ident
    assert main is not None

    def disturb() -> None:
        while not done.wait(0.0002):
            signal.pthread_kill(main, signal.SIGUSR2)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        bench.poll()
    finally:
        done.set()
        disturber.join()
        signal.signal(signal.SIGUSR2, previous)
    assert len(caught) > 50
    assert bench.mail() == stored(*range(200))


@pytest.mark.parametrize("kind", [Bench, MboxBench], ids=["maildir", "mbox"])
def test_writes_that_do_a_part_are_carried_on(
    tmp_path: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, kind: type[Bench]
) -> None:
    """FAULTS 98: a short write, of seven octets at most, each time."""
    real, short = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        short.extend([1] if len(data) > 7 else [])
        return real(descriptor, data[:7])

    monkeypatch.setattr(os, "write", write)
    with kind(tmp_path, server) as bench:
        bench.fill(1, 2)
        bench.heals(1, 2)
    assert short


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_that_is_taken_overwrites_nothing(bench: Bench) -> None:
    """FAULTS 101: two messages of one unique-id, in one second, and dice that fall alike twice."""
    bench.server.mail = [(b"same", message(1)), (b"same", message(2))]
    world = bench.world
    bench.world = replace(world, nonce=lambda: 7)
    bench.fails(
        DeliveryError,
        r"/[^/]+ exists already: names are never used twice|exists already, and is staged too|: File exists",
    )
    assert bench.server.deleted == []
    bench.world = world
    bench.heals(1, 2)


def test_names_hang_on_no_process_id(bench: Bench) -> None:
    """FAULTS 109: 64 random bits of the system's, which no fork copies, keep apart what is named in one second."""
    drawn = []
    for _ in range(2):
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writes, b"%d" % secrets.randbits(64))
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writes)
        with os.fdopen(reads, "rb") as said:
            drawn.append(int(said.read()))
    assert drawn[0] != drawn[1]
    bench.fill(*range(20))
    bench.poll(policy=KEEP)
    names = [file.name for file in bench.files()]
    assert len({parse_name(name) for name in names}) == len(names) == 20
    assert not any(str(os.getpid()) in name.split(".")[1] for name in names)
