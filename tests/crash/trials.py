"""A trial: a fault in a run of fetchd, clean runs until it is idle, and the verdict."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.crash.judge import Kind, Places, Verdict, judge
from tests.crash.letters import user_name
from tests.crash.model import CrashState, crash_states
from tests.crash.server import EMPTIED, PASSWORD, CrashServer, Record, serving
from tests.crash.shim import Fault, Report, compile_shim
from tests.crash.zygote import Zygote, request
from tests.e2e.running import write_config

MOST_RUNS: Final = 3
"""Clean runs until nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How fetchd is configured, and what the server can do."""

    keep: bool
    kind: Kind
    batch: int
    pipelined: bool
    letters: int = 3

    def __str__(self) -> str:
        words = ("keep" if self.keep else "delete", self.kind, f"batch {self.batch}")
        return ", ".join((*words, "pipelined" if self.pipelined else "lock-step"))

    @property
    def most_refetched(self) -> int:
        """How many RETRs one fault may cost.

        Two batches are in flight: one is being put on disk and published while the next comes in. Where RETRs are
        pipelined, the server may have been asked for any more besides.
        """
        return self.letters if self.pipelined else min(2 * self.batch, self.letters)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial. ``fired`` says of each fault whether it did."""

    setting: Setting
    faults: Sequence[Fault]
    fired: Sequence[bool]
    verdict: Verdict
    calls: Sequence[int]
    """State calls of each faulty run."""

    @property
    def counts(self) -> bool:
        """Whether the trial proves anything."""
        return all(self.fired)

    def __str__(self) -> str:
        return f"{self.setting}, {' then '.join(map(str, self.faults))}: {'; '.join(self.verdict.problems) or 'well'}"


class Home:
    """One trial's directories and user.

    Attributes:
        root: where faults strike: the state and the target are in it.
        beside: where nothing strikes: configuration, output, reports.
    """

    def __init__(self, beside: Path, user: str, setting: Setting, server: CrashServer) -> None:
        self.beside = beside
        self.root = beside / "home"
        self.user = user
        self.password = PASSWORD
        self.setting = setting
        self.server = server
        self.runs = 0
        self.sends = 0
        self.in_model = False
        target = "Maildir" if setting.kind == "maildir" else "mbox"
        self.places = Places(setting.kind, self.root / target, self.root / "state" / "fetchd.db")
        self.root.mkdir(parents=True)
        self.enter_world(PASSWORD)

    def enter_world(self, password: str) -> None:
        """Writes the configuration, for the maildrop that a password opens: see ``server.py``."""
        self.password = password
        account = {
            "host": self.server.host,
            "port": self.server.port(pipelined=self.setting.pipelined),
            "tls": "none",
            "allow_plaintext_password": True,
            "user": self.user,
            "password": password,
            "leave_on_server": self.setting.keep,
            "deliver": {self.setting.kind: str(self.places.target)},
        }
        self.config = write_config(self.beside, {"alice": account}, state=str(self.places.store))

    def record(self) -> Record:
        """Returns what the server wrote down."""
        return self.server.record(self.user, self.password)

    @property
    def output(self) -> str:
        """All that fetchd printed and logged."""
        path = self.beside / "output"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of fetchd that has ended."""

    code: int
    report: Report


Between = Callable[[Home], Sequence[bytes]]
"""A mail reader: works on the target between two runs, and returns the messages that it took away."""


def nobody(home: Home) -> Sequence[bytes]:
    """No mail reader."""
    return ()


class Bench:
    """Server, zygotes and a place for trials; ``trial`` may be called from as many threads as there are zygotes."""

    def __init__(self, place: Path, server: CrashServer, zygotes: Sequence[Zygote]) -> None:
        self.server = server
        self._place = place
        self._numbers = count(1)
        self._idle: SimpleQueue[Zygote] = SimpleQueue()
        for zygote in zygotes:
            self._idle.put(zygote)

    def home(self, setting: Setting) -> Home:
        """Returns a new home, with a user of its own."""
        name = f"t{next(self._numbers)}"
        return Home(self._place / name, user_name(name, setting.letters), setting, self.server)

    def run(self, home: Home, fault: Fault | None = None, *, mutant: str = "", with_data: bool = False) -> Run:
        """Runs ``fetchd --once`` in a home."""
        home.runs += 1
        report = home.beside / f"report{home.runs}"
        wanted = request(
            home.config,
            root=home.root,
            output=home.beside / "output",
            report=report,
            fault=fault,
            batch=home.setting.batch,
            mutant=mutant,
            with_data=with_data,
            one_inode=with_data or home.in_model,
        )
        zygote = self._idle.get()
        try:
            code = zygote.run(wanted)
        finally:
            self._idle.put(zygote)
        return Run(code, Report.read(report))

    def trial(
        self, setting: Setting, faults: Sequence[Fault], *, between: Between = nobody, mutant: str = ""
    ) -> Outcome:
        """Runs fetchd once with each fault, then without until it is idle, and judges."""
        home = self.home(setting)
        runs: list[Run] = []
        taken: list[bytes] = []
        for fault in faults:
            runs.append(self.run(home, fault, mutant=mutant))
            taken += between(home)
        problems = self.settle(home, between=between, taken=taken, mutant=mutant)
        verdict = self.judge(home, taken=taken, faults=len(faults))
        verdict.problems[:0] = problems
        fired = [run.report.fired for run in runs]
        outcome = Outcome(setting, faults, fired, verdict, [len(run.report.calls) for run in runs])
        if not verdict.problems:
            shutil.rmtree(home.beside)
        return outcome

    def survive(self, home: Home, state: CrashState, *, world: str) -> Verdict:
        """Puts a disk as a power cut may have left it into a home, runs fetchd until it is idle, and judges.

        The server is as it was at that moment: where fetchd deletes, its last word to the server was QUIT.
        """
        shutil.rmtree(home.root)
        home.root.mkdir()
        state.put(home.root)
        emptied = not home.setting.keep and state.sends == home.sends
        home.enter_world(world + (EMPTIED if emptied else ""))
        problems = self.settle(home, taken=[])
        verdict = self.judge(home)
        verdict.problems[:0] = problems
        return verdict

    def record_run(self, setting: Setting, *, mutant: str = "") -> tuple[Home, Iterator[CrashState]]:
        """Runs fetchd once without a fault; returns its home, and all that a power cut may leave of that run."""
        home = self.home(setting)
        run = self.run(home, mutant=mutant, with_data=True)
        if run.code:
            raise AssertionError(home.output)
        home.in_model = True
        home.sends = sum(call.name == "send" for call in run.report.calls)
        return home, crash_states(home.beside / f"report{home.runs}", home.root)

    def settle(self, home: Home, *, between: Between = nobody, taken: list[bytes], mutant: str = "") -> list[str]:
        """Runs fetchd without faults until there is nothing left to do; returns what is wrong with that."""
        for _ in range(MOST_RUNS):
            before = home.record()
            code = self.run(home, mutant=mutant).code
            taken += between(home)
            if code != 0:
                return [f"a clean run ended with {code}: {home.output[-2000:]}"]
            after = home.record()
            if (after.left, after.retrieved) == (before.left, before.retrieved):
                return []
        return [f"not idle after {MOST_RUNS} runs"]

    def judge(self, home: Home, *, taken: Sequence[bytes] = (), faults: int = 1) -> Verdict:
        """Returns the verdict on a home."""
        setting = home.setting
        return judge(
            home.user,
            home.places,
            home.record(),
            keep=setting.keep,
            most_refetched=faults * setting.most_refetched,
            taken=taken,
        )


@contextmanager
def bench(place: Path, *, workers: int = 2) -> Iterator[Bench]:
    """Sets up a bench in a directory; skips the test where there is no compiler."""
    shim = compile_shim(place)
    with ExitStack() as stack:
        server = stack.enter_context(serving(place / "server"))
        zygotes = [stack.enter_context(Zygote(shim)) for _ in range(workers)]
        yield Bench(place, server, zygotes)
