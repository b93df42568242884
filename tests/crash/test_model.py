"""A power cut at any state call, on a disk that keeps what was flushed and perhaps more (``model.py``)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from tests.crash.conftest import WORKERS
from tests.crash.plan import MATRIX, TOGETHER
from tests.crash.tally import Tally
from tests.crash.trials import Bench, Setting

DELETING = [setting for setting in (*MATRIX, *TOGETHER) if not setting.keep and setting.pipelined]


def check_cuts(bench: Bench, tally: Tally, settings: Sequence[Setting], *, start: int = 0, step: int = 1) -> None:
    """Lets fetchd recover from what a power cut leaves; one run of each setting is cut, in every ``step``-th way."""

    def cut(setting: Setting) -> list[str]:
        home, states = bench.record_run(setting)
        wrong = []
        for number, state in enumerate(islice(states, start, None, step)):
            verdict = bench.survive(home, state, world=f"world{number}")
            tally.add_state(verdict)
            if verdict.problems:
                wrong.append(f"{setting}, power cut before call {state.before}, kept {state.what}: {verdict.problems}")
        return wrong

    with ThreadPoolExecutor(WORKERS) as pool:
        wrong = [line for lines in pool.map(cut, settings) for line in lines]
    assert not wrong, f"{len(wrong)} power cuts:\n" + "\n".join(wrong[:5])


def test_a_slice_of_power_cuts(crash_bench: Bench, tally: Tally) -> None:
    check_cuts(crash_bench, tally, [DELETING[1], DELETING[3]], start=3, step=11)


@pytest.mark.crash
def test_every_power_cut(crash_bench: Bench, tally: Tally) -> None:
    """Where mail is deleted on the server: what is not on disk then is gone."""
    check_cuts(crash_bench, tally, DELETING)
