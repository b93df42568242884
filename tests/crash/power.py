"""A trial with a power cut: fetchd is killed at a state call, and no file system under it learns of anything after.

Everything that fetchd writes is on file systems of :mod:`tests.crash.filesystems`: all on one, or the state on another
that is cut at the same instant. The second is harder on fetchd: on one file system the store's own flush commits, in
passing, names that nobody has flushed.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from tests.crash.filesystems import Disk, NotCutError, cut_power, disks
from tests.crash.judge import Places, Verdict, judge
from tests.crash.letters import user_name
from tests.crash.server import PASSWORD, CrashServer, serving
from tests.crash.shim import Fault, Report, compile_shim
from tests.crash.trials import MOST_RUNS, Run, Setting
from tests.crash.zygote import Zygote, request
from tests.e2e.running import write_config

_KILLED: Final = -9


@dataclass(frozen=True, slots=True)
class Cut:
    """When the power goes, and how the state's file system stands to the target's.

    Attributes:
        at: numbers of state calls; one for each run in a row that ends so. 0: right after a run that came to its end.
        apart: whether the state, with the staging of an mbox, is on a file system of its own.
    """

    at: Sequence[int]
    apart: bool = False

    def __str__(self) -> str:
        where = " and then ".join(f"call {number}" if number else "the end" for number in self.at)
        return f"cut at {where}, {'two file systems' if self.apart else 'one file system'}"


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it. ``fired``: the process was killed at each of the calls; that the power went is seen to anyway.

    ``calls``: state calls of each run that was cut.
    """

    setting: Setting
    kind: str
    cut: Cut
    fired: bool
    verdict: Verdict
    calls: Sequence[int]

    def __str__(self) -> str:
        return f"{self.kind}, {self.setting}, {self.cut}: {'; '.join(self.verdict.problems) or 'well'}"


@dataclass(frozen=True, slots=True)
class _Home:
    user: str
    beside: Path
    places: Places
    config: Path
    disks: Sequence[Disk]


class Machine:
    """Two disks, a process that becomes fetchd, and a mail server elsewhere, which keeps its power."""

    def __init__(self, place: Path, *, server: CrashServer, zygote: Zygote, mail: Disk, other: Disk) -> None:
        self._place = place
        self._server = server
        self._zygote = zygote
        self._mail = mail
        self._other = other
        self._users = count(1)
        self._spoilt = ""
        self._runs = count(1)

    @property
    def kind(self) -> str:
        """Returns the kind of the file systems."""
        return self._mail.kind

    def trial(self, setting: Setting, cut: Cut, *, mutant: str = "") -> Trial:
        """Runs fetchd once for each cut, then without until it is idle, and judges.

        Where somebody's sync(2) has spoilt a cut, nothing is proven, and these file systems are of no more use: the
        test is skipped, and says so.
        """
        try:
            return self._trial(setting, cut, mutant=mutant)
        except NotCutError as error:
            self._spoilt = str(error)
            pytest.skip(self._spoilt)

    def _trial(self, setting: Setting, cut: Cut, *, mutant: str) -> Trial:
        home = self._home(setting, apart=cut.apart)
        runs: list[Run] = []
        for number in cut.at:
            runs.append(self._run(home, setting, at=number, mutant=mutant))
            cut_power(*home.disks)
        problems = self._settle(home, setting, mutant=mutant)
        verdict = judge(
            home.user,
            home.places,
            self._server.record(home.user),
            keep=setting.keep,
            most_refetched=len(cut.at) * setting.most_refetched,
        )
        verdict.problems[:0] = problems
        fired = all(_was_as_told(run, number) for run, number in zip(runs, cut.at, strict=True))
        return Trial(setting, self.kind, cut, fired, verdict, [len(run.report.calls) for run in runs])

    def calls(self, setting: Setting, *, apart: bool) -> int:
        """Returns how many state calls a run makes that nothing happens to."""
        home = self._home(setting, apart=apart)
        run = self._run(home, setting)
        if run.code != 0:
            raise AssertionError(f"a clean run ended with {run.code}: {_output(home)}")
        return len(run.report.calls)

    def _home(self, setting: Setting, *, apart: bool) -> _Home:
        """Returns a new user's home, on disks that are empty."""
        if self._spoilt:
            pytest.skip(self._spoilt)
        used = [self._mail, self._other] if apart else [self._mail]
        for disk in used:
            disk.wipe()
        user = user_name(f"p{next(self._users)}", setting.letters)
        beside = self._place / user
        beside.mkdir()
        target = self._mail.path / ("Maildir" if setting.kind == "maildir" else "mbox")
        places = Places(setting.kind, target, used[-1].path / "state" / "fetchd.db")
        account = {
            "host": self._server.host,
            "port": self._server.port(pipelined=setting.pipelined),
            "tls": "none",
            "allow_plaintext_password": True,
            "user": user,
            "password": PASSWORD,
            "leave_on_server": setting.keep,
            "deliver": {setting.kind: str(target)},
        }
        return _Home(user, beside, places, write_config(beside, {"alice": account}, state=str(places.store)), used)

    def _run(self, home: _Home, setting: Setting, *, at: int = 0, mutant: str = "") -> Run:
        report = home.beside / f"report{next(self._runs)}"
        wanted = request(
            home.config,
            root=self._mail.path.parent,
            output=home.beside / "output",
            report=report,
            fault=Fault("kill", at) if at else None,
            batch=setting.batch,
            mutant=mutant,
        )
        # Not on the disks: a working directory there would be in the way of unmounting.
        code = self._zygote.run(replace(wanted, home=str(home.beside)))
        return Run(code, Report.read(report))

    def _settle(self, home: _Home, setting: Setting, *, mutant: str) -> list[str]:
        """Runs fetchd without faults until there is nothing left to do; returns what is wrong with that."""
        for _ in range(MOST_RUNS):
            before = self._server.record(home.user)
            code = self._run(home, setting, mutant=mutant).code
            if code != 0:
                return [f"a clean run ended with {code}: {_output(home)}"]
            after = self._server.record(home.user)
            if (after.left, after.retrieved) == (before.left, before.retrieved):
                return []
        return [f"not idle after {MOST_RUNS} runs"]


@contextmanager
def machine(place: Path, kind: str) -> Iterator[Machine]:
    """Sets up a machine whose disks have file systems of one kind; what it notes lies in ``place``.

    Raises:
        UnavailableError: there can be no such disks here.
    """
    with ExitStack() as stack:
        mail, other = stack.enter_context(disks(kind, "mail", "other"))
        shim = compile_shim(place)
        server = stack.enter_context(serving(place / "server"))
        zygote = stack.enter_context(Zygote(shim))
        yield Machine(place, server=server, zygote=zygote, mail=mail, other=other)


def _was_as_told(run: Run, number: int) -> bool:
    return run.report.fired and run.code == _KILLED if number else run.code == 0


def _output(home: _Home) -> str:
    return (home.beside / "output").read_text(errors="replace")[-2000:]
