"""The same faults in the plain program, ``python -m fetchd --once``: no fork, nothing patched."""

import subprocess
from pathlib import Path

import pytest

from tests.crash.shim import Fault, Report, compile_shim, order
from tests.crash.tally import Tally
from tests.crash.trials import Bench, Home, Outcome, Setting
from tests.e2e.running import command, environment

PLAIN = Setting(False, "maildir", 0, pipelined=True)


def run(home: Home, shim: Path, fault: Fault | None) -> tuple[int, Report]:
    """Runs the program with the shim told by its environment."""
    report = home.beside / f"plain{home.runs}"
    told = " ".join(map(str, order(fault, root=home.root, report=report)))
    with (home.beside / "output").open("ab") as output:
        process = subprocess.run(
            command("-c", str(home.config), "--once"),
            env=environment(home.root, {"LD_PRELOAD": str(shim), "CRASH_SHIM": told}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    return process.returncode, Report.read(report)


def test_the_plain_program_makes_the_same_calls(crash_bench: Bench, tmp_path: Path) -> None:
    """On a loaded machine a batch may close by time, which makes more calls: one run of five is like the other."""
    shim = compile_shim(tmp_path)
    expected = [call.name for call in crash_bench.run(crash_bench.home(PLAIN)).report.calls]
    seen = []
    while expected not in seen:
        assert len(seen) < 5, seen
        plain = crash_bench.home(PLAIN)
        code, report = run(plain, shim, None)
        assert code == 0, plain.output
        seen.append([call.name for call in report.calls])


@pytest.mark.parametrize("part", [0.3, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["kill", "torn", "EIO"])
def test_the_plain_program_survives(crash_bench: Bench, tally: Tally, tmp_path: Path, kind: str, part: float) -> None:
    shim = compile_shim(tmp_path)
    calls = crash_bench.run(crash_bench.home(PLAIN)).report.calls
    number = next(n for n, call in enumerate(calls, 1) if n >= part * len(calls) and call.can_be_torn)
    fault = Fault(kind, number)  # type: ignore[arg-type]
    home = crash_bench.home(PLAIN)
    _, report = run(home, shim, fault)
    assert report.fired
    problems = crash_bench.settle(home, taken=[])
    verdict = crash_bench.judge(home)
    verdict.problems[:0] = problems
    tally.add(Outcome(PLAIN, [fault], [report.fired], verdict, []))
    assert verdict.problems == []
