"""One case: every tool in turn, again and again, each run in a fresh directory, all that was delivered verified."""

import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.clients import Account, Client, maildir
from tests.benchmarks.filesystem import Disk
from tests.benchmarks.measure import ToolError, run
from tests.benchmarks.verify import Verdict, verify


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run; ``wall`` and ``cpu`` in seconds, ``peak_rss`` in octets.

    Attributes:
        factor: how many times smaller than asked for the work was; times are as measured.
        idle_wall, idle_cpu: where it was smaller, what the next run took, which found nothing to do.
        verdict: what verification found; "" where there was nothing to deliver.
        clean: nothing is lost, doubled or changed.
    """

    case: str
    tool: str
    wall: float
    cpu: float
    peak_rss: int
    factor: float = 1.0
    verdict: str = ""
    clean: bool = True
    idle_wall: float = 0.0
    idle_cpu: float = 0.0

    @property
    def whole_wall(self) -> float:
        """Seconds for the whole of the work, extrapolated where it was smaller."""
        return self.idle_wall + (self.wall - self.idle_wall) * self.factor

    @property
    def whole_cpu(self) -> float:
        """CPU seconds for the whole of the work, extrapolated where it was smaller."""
        return self.idle_cpu + (self.cpu - self.idle_cpu) * self.factor


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured.

    Attributes:
        key: ``row.variant``; results are found by it.
        title: for the table.
        messages: how many messages a run brings in, and ``octets`` how much that is; 0: neither matters.
        accounts: how many accounts a run polls.
    """

    key: str
    title: str
    messages: int = 0
    octets: int = 0
    accounts: int = 1


@dataclass(frozen=True, slots=True)
class Course:
    """What one tool is sent over.

    Attributes:
        accounts: where it fetches from.
        expected: user → digests of what must be there afterwards.
        factor: how many times smaller this is than the case says. Fewer messages: the run after it, which finds nothing
            to do, is measured too, and taken off before multiplying; not so with fewer accounts (in a case with a
            ``then``), where all of the time is in proportion.
        before: called with the fresh directory, before the clock starts.
    """

    accounts: Sequence[Account]
    expected: Mapping[str, Mapping[int, bytes]]
    factor: float = 1.0
    before: Callable[[Path], None] | None = None

    def verify(self, home: Path) -> Verdict:
        """Returns what a tool that ran in ``home`` has delivered."""
        return sum((verify(maildir(home, each), self.expected[each.user]) for each in self.accounts), Verdict())


@dataclass
class Results:
    """All that was measured, in order."""

    cases: dict[str, Case] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def of(self, case: str, tool: str) -> list[Sample]:
        """Returns the runs of a tool."""
        return [sample for sample in self.samples if (sample.case, sample.tool) == (case, tool)]

    def tools(self, case: str) -> list[str]:
        """Returns the tools that were measured, in the order of their first runs."""
        return list(dict.fromkeys(sample.tool for sample in self.samples if sample.case == case))

    def wall(self, case: str, tool: str) -> float | None:
        """Returns the median of the seconds, extrapolated where the work was smaller; None without a run."""
        return _median(sample.whole_wall for sample in self.of(case, tool))

    def cpu(self, case: str, tool: str) -> float | None:
        """Returns the median of the CPU seconds, extrapolated like :meth:`wall`."""
        return _median(sample.whole_cpu for sample in self.of(case, tool))

    def peak_rss(self, case: str, tool: str) -> float | None:
        """Returns the median of the peak of the memory, in octets."""
        return _median(float(sample.peak_rss) for sample in self.of(case, tool))

    def as_json(self) -> dict[str, Any]:
        """Returns everything as JSON has it."""
        return {
            "cases": [asdict(case) for case in self.cases.values()],
            "samples": [asdict(sample) for sample in self.samples],
            "facts": self.facts,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Results":
        """Returns what :meth:`as_json` gave."""
        cases = {case["key"]: Case(**case) for case in data["cases"]}
        return cls(cases, [Sample(**sample) for sample in data["samples"]], dict(data["facts"]))


def race(
    results: Results,
    case: Case,
    courses: Mapping[Client, Course],
    *,
    disk: Disk,
    runs: int,
    slow_runs: int,
    keep: bool = True,
    then: Case | None = None,
) -> None:
    """Runs all tools in turn, ``runs`` times; another one begins each time.

    Args:
        results: gets a sample a run.
        case: what is measured.
        courses: which tools, and over what.
        disk: where they deliver to.
        runs: how often; ``slow_runs``: how often the slow ones.
        keep: leave what was delivered; False for mail that would fill the disk.
        then: measured right afterwards in the same directory: there is nothing new any more.
    """
    results.cases[case.key] = case
    if then:
        results.cases[then.key] = then
    tools = list(courses)
    left = {client: slow_runs if client.slow else runs for client in tools}
    for number in range(runs):
        turn = number % len(tools)
        for client in tools[turn:] + tools[:turn]:
            if left[client]:
                is_well = _once(results, case, client, courses[client], disk=disk, keep=keep, then=then)
                left[client] = left[client] - 1 if is_well else 0


def _once(
    results: Results, case: Case, client: Client, course: Course, *, disk: Disk, keep: bool, then: Case | None
) -> bool:
    home = disk.fresh(f"{case.key}-{client.name.split()[0].rstrip(':')}")
    try:
        if course.before:
            course.before(home)
        sample = _sample(case, client, course, home, disk)
        if course.factor != 1 and not then:
            idle = _sample(case, client, course, home, disk)
            sample = replace(sample, idle_wall=idle.wall, idle_cpu=idle.cpu)
        results.samples.append(sample)
        say(sample)
        client.report(home)
        if then:
            results.samples.append(_sample(then, client, course, home, disk))
            say(results.samples[-1])
    except ToolError as error:
        print(f"  {client.name}: {error}", file=sys.stderr)
        results.facts.setdefault("failed", {})[f"{case.key} {client.name}"] = str(error)[-300:]
        return False
    finally:
        if not keep:
            shutil.rmtree(home)
    return True


def _sample(case: Case, client: Client, course: Course, home: Path, disk: Disk) -> Sample:
    job = client.prepare(home, course.accounts)
    disk.settle()
    cost = run(job, home)
    assert cost is not None  # nobody wanted it killed
    verdict, text = Verdict(), ""
    if course.expected and client.delivers:
        verdict = course.verify(home)
        text = str(verdict)
    return Sample(
        case.key, client.name, cost.wall, cost.cpu, cost.peak_rss, course.factor, verdict=text, clean=verdict.is_clean
    )


def say(sample: Sample) -> None:
    """Prints one run as it ends."""
    extrapolated = f" (1/{sample.factor:g} of the work)" if sample.factor != 1 else ""
    print(
        f"  {sample.case:<18} {sample.tool:<24} {sample.wall:8.3f} s  CPU {sample.cpu:7.3f} s "
        f"{sample.peak_rss / 1e6:6.0f} MB  {sample.verdict}{extrapolated}",
        flush=True,
    )


def _median(values: Iterator[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None
