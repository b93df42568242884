"""One bench for all tests of this directory, and the table at the end."""

import os
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.crash.tally import Tally
from tests.crash.trials import Bench, bench

_TALLY: Final = pytest.StashKey[Tally]()
WORKERS: Final = min(os.cpu_count() or 1, 8)


@pytest.fixture(scope="session")
def crash_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The bench, with as many workers as there are processors."""
    with bench(tmp_path_factory.mktemp("crash"), workers=WORKERS) as built:
        yield built


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts all trials of this session, but not those of mutants."""
    counts = request.config.stash.setdefault(_TALLY, Tally())
    began = time.monotonic()
    yield counts
    counts.seconds = time.monotonic() - began


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table."""
    counts = config.stash.get(_TALLY, None)
    if counts is not None:
        terminalreporter.section("crash harness")
        for line in counts.lines():
            terminalreporter.write_line(line)
