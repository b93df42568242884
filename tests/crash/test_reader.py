"""A mail reader is at work in the Maildir while fetchd is killed: what it moved or deleted does not come again."""

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

import pytest

from tests.crash.plan import MATRIX, faults, slice_of
from tests.crash.shim import Fault
from tests.crash.tally import Tally
from tests.crash.test_every_call import check, reference
from tests.crash.trials import Bench, Home, Outcome, Setting

MAILDIRS = [setting for setting in MATRIX if setting.kind == "maildir"]


class MailReader:
    """Reads what is new, all the time: deletes every other message, and moves the rest to cur/."""

    def __init__(self, maildir: Path) -> None:
        self.taken: list[bytes] = []
        self._maildir = maildir
        self._read = 0
        self._over = Event()
        self._thread = Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.read()

    def read(self) -> None:
        """Deals with what is new now."""
        new = self._maildir / "new"
        for file in sorted(new.iterdir()) if new.is_dir() else ():
            self._read += 1
            if self._read % 2:
                octets = file.read_bytes()
                file.unlink()
                self.taken.append(octets)
            else:
                file.rename(self._maildir / "cur" / f"{file.name}:2,S")

    def _work(self) -> None:
        while not self._over.is_set():
            self.read()
            time.sleep(0.0005)


def read_trial(bench: Bench, setting: Setting, wanted: Sequence[Fault]) -> Outcome:
    """A trial during which, and after each run of which, a mail reader works."""
    home = bench.home(setting)
    with MailReader(home.places.target) as reader:
        fired = []
        for fault in wanted:
            fired.append(bench.run(home, fault).report.fired)
            reader_seen(home)
        problems = bench.settle(home, taken=[])
    verdict = bench.judge(home, taken=reader.taken)
    verdict.problems[:0] = problems
    return Outcome(setting, wanted, fired, verdict, [])


def reader_seen(home: Home) -> None:
    """Returns when the reader has dealt with all that was new."""
    new = home.places.target / "new"
    while new.is_dir() and any(new.iterdir()):
        time.sleep(0.0005)


def test_a_slice_with_a_reader_at_work(crash_bench: Bench, tally: Tally) -> None:
    for offset, setting in enumerate(MAILDIRS):
        some = [fault for fault in slice_of(reference(crash_bench, setting), offset=offset + 3) if fault.kind == "kill"]
        check(tally, [lambda f=fault, s=setting: read_trial(crash_bench, s, [f]) for fault in some])  # type: ignore[misc]


@pytest.mark.crash
@pytest.mark.parametrize("setting", MAILDIRS, ids=str)
def test_killed_at_every_call_with_a_reader_at_work(crash_bench: Bench, tally: Tally, setting: Setting) -> None:
    every = [fault for fault in faults(reference(crash_bench, setting)) if fault.kind == "kill"]
    check(tally, [lambda f=fault: read_trial(crash_bench, setting, [f]) for fault in every])  # type: ignore[misc]
