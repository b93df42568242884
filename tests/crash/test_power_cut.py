"""A power cut at any state call, on real file systems: every message comes once, whole (FAULTS §3).

``make crash`` cuts at every call; without it, a slice is tried that is spread over all settings. Where file systems
cannot be made or mounted, the tests are skipped and say why.
"""

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from tests.crash.filesystems import KINDS, Disk, NotCutError, UnavailableError, cut_power, disks
from tests.crash.power import Cut, Machine, Trial, machine
from tests.crash.shim import Fault
from tests.crash.tally import Tally
from tests.crash.trials import Outcome, Setting
from tests.e2e.running import PATIENCE

MATRIX = [
    (Setting(keep, kind, batch, pipelined=True, letters=5), apart)
    for keep, kind, batch, apart in product((True, False), ("maildir", "mbox"), (2, 5), (False, True))
]
"""Batches that are flushed file by file, and with the whole file system; the state beside the mail, or elsewhere."""

MOST_MISSED = 0.06
"""As in ``test_every_call.py``."""


@pytest.fixture(scope="module", params=KINDS)
def powered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    try:
        with machine(tmp_path_factory.mktemp("power"), request.param) as made:
            yield made
    except UnavailableError as error:
        pytest.skip(f"no power cuts on {request.param} here: {error}")


def check(tally: Tally, trials: Iterable[Trial]) -> None:
    """Fails where a trial went wrong, or where too few processes were killed where they should."""
    done = list(trials)
    for trial in done:
        faults = [Fault("kill", number) for number in trial.cut.at if number]
        tally.cuts += len(trial.cut.at)
        tally.add(Outcome(trial.setting, faults, [trial.fired] * len(faults), trial.verdict, trial.calls))
    wrong = [str(trial) for trial in done if trial.verdict.problems]
    assert not wrong, f"{len(wrong)} of {len(done)} trials went wrong:\n" + "\n".join(wrong[:5])
    missed = [str(trial) for trial in done if not trial.fired]
    assert done
    assert len(missed) <= max(1, MOST_MISSED * len(done)), f"not killed at that call: {missed[:5]}"


# ── the cut itself ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_keeps_what_was_flushed_and_nothing_else(kind: str) -> None:
    """Octets of a flushed name that were not flushed themselves are gone too."""
    try:
        with disks(kind, "a") as (disk,):
            where = disk.path.parent
            _write_and_cut(disk)
            assert sorted(file.name for file in disk.path.iterdir() if file.name != "lost+found") == ["named", "whole"]
            assert (disk.path / "whole").read_bytes() == b"octets"
            assert (disk.path / "named").read_bytes() == b""
    except UnavailableError as error:
        pytest.skip(f"no power cuts on {kind} here: {error}")
    assert not where.exists()


def test_nothing_stays_mounted_when_the_tests_are_killed() -> None:
    """By SIGKILL: nobody gets to clean up but the keeper."""
    program = (
        "import os\nfrom tests.crash.filesystems import disks\n"
        "with disks('ext4', 'a') as (disk,):\n    print(disk.path.parent, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    if "UnavailableError" in done.stderr:
        pytest.skip(f"no power cuts on ext4 here: {done.stderr.splitlines()[-1]}")
    directory = Path(done.stdout.strip())
    assert directory.name.startswith("fetchd-disks-")
    deadline = time.monotonic() + PATIENCE
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not directory.exists()
    assert str(directory) not in Path("/proc/self/mounts").read_text()


def _write_and_cut(disk: Disk) -> None:
    (disk.path / "whole").write_bytes(b"octets")
    (disk.path / "named").touch()
    disk.flush()
    (disk.path / "named").write_bytes(b"octets")
    (disk.path / "neither").write_bytes(b"octets")
    try:
        cut_power(disk)
    except NotCutError as error:
        pytest.skip(str(error))


# ── fetchd ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_slice_of_power_cuts(powered: Machine, tally: Tally) -> None:
    """In each setting at a call of the half that matters most; and in some when fetchd has just ended well."""
    for offset, (setting, apart) in enumerate(MATRIX):
        half = powered.calls(setting, apart=apart) // 2
        at = [half + 7 * offset % half, *([0] if apart else [])]
        check(tally, [powered.trial(setting, Cut((number,), apart)) for number in at])


def test_a_slice_of_power_cuts_while_recovering(powered: Machine, tally: Tally) -> None:
    """The run after a cut is cut off too."""
    for offset, (setting, apart) in enumerate(MATRIX[::3]):
        first = 2 * powered.calls(setting, apart=apart) // 3 + offset
        check(tally, [powered.trial(setting, Cut((first, 20 + 6 * offset), apart))])


def test_a_missing_flush_loses_mail(powered: Machine) -> None:
    """These tests see it: messages are lost, or torn, that fetchd without the mutation keeps.

    That directories are not flushed loses nothing on these file systems: a file's flush carries its name, and what a
    lost rename leaves in staging is published. The model (``test_mutants.py``) promises less, and shows it.
    """
    setting = Setting(True, "maildir", 2, pipelined=True, letters=5)
    cut = Cut((0,), apart=True)
    assert powered.trial(setting, cut).verdict.problems == []
    assert powered.trial(setting, cut, mutant="no file flush").verdict.lost


# ── all of it ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.crash
@pytest.mark.parametrize(("setting", "apart"), MATRIX)
def test_a_power_cut_at_every_call(powered: Machine, tally: Tally, setting: Setting, apart: bool) -> None:
    calls = powered.calls(setting, apart=apart)
    check(tally, [powered.trial(setting, Cut((number,), apart)) for number in range(calls + 1)])


@pytest.mark.crash
@pytest.mark.parametrize(("setting", "apart"), MATRIX[::2])
def test_a_power_cut_anywhere_in_a_recovery(powered: Machine, tally: Tally, setting: Setting, apart: bool) -> None:
    """For one letter: after every fifth call, at every fifth call of the run that recovers."""
    one = replace(setting, letters=1)
    for first in range(5, powered.calls(one, apart=apart), 5):
        length = powered.trial(one, Cut((first, 0), apart)).calls[1]
        seconds = range(1 + first // 5 % 5, length + 1, 5)
        check(tally, [powered.trial(one, Cut((first, second), apart)) for second in seconds])
