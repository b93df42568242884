"""A fault at any state call of ``fetchd --once``: every message comes once, whole (FAULTS §3).

``make crash`` tries all of them; without it, a slice is tried that is spread over all settings and kinds.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.crash.conftest import WORKERS
from tests.crash.plan import MATRIX, TARGETS, TOGETHER, faults, slice_of, turning_points
from tests.crash.shim import Call, Fault
from tests.crash.tally import Tally
from tests.crash.trials import Bench, Outcome, Setting

ALL = [*MATRIX, *TOGETHER]
MOST_MISSED = 0.06
"""The share of trials whose fault may not fire: with several threads, calls do not come in the same order each time."""


def reference(bench: Bench, setting: Setting) -> Sequence[Call]:
    """Returns the state calls of a run that nothing befalls."""
    home = bench.home(setting)
    run = bench.run(home)
    assert run.code == 0, home.output
    assert bench.judge(home).problems == []
    return run.report.calls


def check(tally: Tally, trials: Iterable[Callable[[], Outcome]]) -> None:
    """Runs trials side by side; fails where one went wrong, or where too few faults fired, also when tried again."""
    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = list(pool.map(_tried, trials))
    for outcome in outcomes:
        tally.add(outcome)
    wrong = [str(outcome) for outcome in outcomes if outcome.verdict.problems]
    assert not wrong, f"{len(wrong)} of {len(outcomes)} trials went wrong:\n" + "\n".join(wrong[:5])
    missed = [str(outcome) for outcome in outcomes if not outcome.counts]
    assert outcomes
    assert len(missed) <= max(1, MOST_MISSED * len(outcomes)), f"faults that did not fire: {missed[:5]}"


def _tried(trial: Callable[[], Outcome]) -> Outcome:
    outcome = trial()
    for _ in range(2):
        if outcome.counts or outcome.verdict.problems:
            break
        outcome = trial()
    return outcome


def trials(bench: Bench, setting: Setting, wanted: Iterable[Sequence[Fault]]) -> list[Callable[[], Outcome]]:
    return [lambda faults=each: bench.trial(setting, faults) for each in wanted]  # type: ignore[misc]


@pytest.mark.parametrize("setting", ALL, ids=str)
def test_a_slice_of_all_faults(crash_bench: Bench, tally: Tally, setting: Setting) -> None:
    """Each setting has other faults; none is a run without one."""
    some = slice_of(reference(crash_bench, setting), offset=ALL.index(setting))
    check(tally, trials(crash_bench, setting, ([fault] for fault in some)))


def test_a_slice_of_kills_while_recovering(crash_bench: Bench, tally: Tally) -> None:
    """The run after a kill is killed too, anywhere: for one letter, some pairs of all."""
    for offset, setting in enumerate(one_letter(ALL[::2])):
        points = turning_points(reference(crash_bench, setting))
        firsts = points[len(points) // 3 + offset :: 17]
        pairs = [(first, second) for first in firsts for second in range(1 + (first + offset) % 13, 40, 13)]
        recovering = recoveries(crash_bench, setting, firsts)
        wanted = [
            [Fault("kill", first), Fault("kill", second)] for first, second in pairs if second <= recovering[first]
        ]
        check(tally, trials(crash_bench, setting, wanted))


@pytest.mark.crash
@pytest.mark.parametrize("setting", ALL, ids=str)
def test_every_fault_at_every_call(crash_bench: Bench, tally: Tally, setting: Setting) -> None:
    every = faults(reference(crash_bench, setting))
    check(tally, trials(crash_bench, setting, ([fault] for fault in every)))


@pytest.mark.crash
@pytest.mark.parametrize(
    "setting",
    [Setting(False, kind, 1, pipelined=True, letters=1) for kind in TARGETS],
    ids=str,
)
def test_killed_at_every_call_of_every_recovery(crash_bench: Bench, tally: Tally, setting: Setting) -> None:
    """All pairs for one letter. Of the repeated writes of a transaction, the first and the last."""
    firsts = turning_points(reference(crash_bench, setting))
    recovering = recoveries(crash_bench, setting, firsts)
    wanted = [
        [Fault("kill", first), Fault("kill", second)] for first in firsts for second in range(1, recovering[first] + 1)
    ]
    check(tally, trials(crash_bench, setting, wanted))


def one_letter(settings: Iterable[Setting]) -> list[Setting]:
    """Returns each target and mode once, with one letter."""
    return list(dict.fromkeys(replace(setting, letters=1, batch=1, pipelined=True) for setting in settings))


def recoveries(bench: Bench, setting: Setting, firsts: Iterable[int]) -> dict[int, int]:
    """Returns, for each call at which a run is killed, how many calls the run after it makes."""
    lengths = {}
    for first in firsts:
        home = bench.home(setting)
        bench.run(home, Fault("kill", first))
        lengths[first] = len(bench.run(home).report.calls)
    return lengths
