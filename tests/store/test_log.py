"""One sync for the commits of many: ``store/log.py``."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd.store.log import Log

PATIENCE = 30.0


@pytest.fixture
def log(tmp_path: Path) -> Log:
    (tmp_path / "store-wal").touch()
    return Log(tmp_path / "store")


def beside(work: Callable[[], object]) -> Callable[[], BaseException | None]:
    """Runs ``work`` in a thread; what is returned waits for its end, and returns what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def end() -> BaseException | None:
        thread.join(PATIENCE)
        assert not thread.is_alive()
        return raised[0] if raised else None

    return end


class Disk:
    """Takes the place of fdatasync: each call says that it has begun, and waits for leave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.syncs = 0
        self.error: OSError | None = None
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, descriptor: int) -> None:
        self.syncs += 1
        self.begun.release()
        assert self.leave.acquire(timeout=PATIENCE)
        if self.error is not None:
            raise self.error


def waiting(log: Log, tickets: list[int]) -> list[Callable[[], BaseException | None]]:
    return [beside(lambda ticket=ticket: log.wait(ticket)) for ticket in tickets]  # type: ignore[misc]


def test_commits_made_during_a_sync_share_the_next_one(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sync that is under way began before them, and says nothing of them."""
    disk = Disk(monkeypatch)
    first = waiting(log, [log.committed()])
    assert disk.begun.acquire(timeout=PATIENCE)
    others = waiting(log, [log.committed() for _ in range(20)])
    disk.leave.release()
    assert [end() for end in first] == [None]
    disk.leave.release()
    assert [end() for end in others] == [None] * 20
    assert disk.syncs == 2


def test_what_is_on_disk_is_not_synced_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    early, late = log.committed(), log.committed()
    disk.leave.release()
    log.wait(late)
    log.wait(early)
    assert disk.syncs == 1


def test_an_error_is_for_all_that_waited_and_all_that_come_later(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS G 97: nobody tries again on this file."""
    disk = Disk(monkeypatch)
    disk.error = OSError(errno.EIO, "the disk fails")
    first = waiting(log, [log.committed()])
    assert disk.begun.acquire(timeout=PATIENCE)
    second = waiting(log, [log.committed()])
    disk.leave.release()
    assert [end() for end in first + second] == [disk.error] * 2
    with pytest.raises(OSError, match="the disk fails"):
        log.wait(log.committed())
    assert disk.syncs == 1


def test_closing_answers_who_still_waits(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is dropped after somebody else's error."""
    disk = Disk(monkeypatch)
    ticket = log.committed()
    disk.leave.release()
    log.close()
    log.wait(ticket)
    assert disk.syncs == 1


def test_what_was_on_disk_before_an_error_stays_so(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    ticket = log.committed()
    disk.leave.release()
    log.wait(ticket)
    disk.error = OSError(errno.EIO, "the disk fails")
    disk.leave.release()
    with pytest.raises(OSError, match="the disk fails"):
        log.wait(log.committed())
    log.wait(ticket)
