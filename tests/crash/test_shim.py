"""The faults strike where they are told to, and as they are told to: one that did not would prove nothing."""

from pathlib import Path

import pytest

from tests.crash.plan import turning_points
from tests.crash.shim import Call, Fault, FaultKind
from tests.crash.test_every_call import reference
from tests.crash.trials import Bench, Setting

PLAIN = Setting(True, "maildir", 3, pipelined=True)


def test_a_run_makes_every_kind_of_state_call(crash_bench: Bench) -> None:
    """Else one of them is not seen any more, and nothing is tried there."""
    seen = {call.name for call in reference(crash_bench, PLAIN)}
    seen |= {call.name for call in reference(crash_bench, Setting(False, "mbox", 3, pipelined=True))}
    wanted = {"open", "write", "pwrite", "fsync", "fdatasync", "rename", "link", "unlink", "ftruncate", "mkdir", "send"}
    assert wanted <= seen


def test_a_large_batch_is_flushed_with_its_file_system(crash_bench: Bench) -> None:
    """Unless it is on one where that cannot be trusted."""
    calls = reference(crash_bench, Setting(False, "maildir", 6, pipelined=True, letters=6))
    names = [call.name for call in calls]
    assert "syncfs" in names or names.count("fsync") > 6


def test_a_kill_comes_before_the_call(crash_bench: Bench) -> None:
    home = crash_bench.home(PLAIN)
    run = crash_bench.run(home, Fault("kill", 1))
    assert (run.code, run.report.fired, [call.name for call in run.report.calls]) == (-9, True, ["mkdir"])
    assert not home.places.store.parent.exists()


def test_a_torn_write_is_half_done(crash_bench: Bench) -> None:
    """The first write is the process id, with a line end, in the lock file of the store."""
    calls = reference(crash_bench, PLAIN)
    number = next(n for n, call in enumerate(calls, 1) if call.can_be_torn)
    home = crash_bench.home(PLAIN)
    run = crash_bench.run(home, Fault("torn", number))
    assert (run.code, run.report.fired) == (-9, True)
    assert Path(run.report.calls[-1].what).read_text().isdecimal()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("EIO", "Input/output error"),
        ("ENOSPC", "No space left on device"),
        ("EDQUOT", "Disk quota exceeded"),
        ("full", "No space left on device"),
        ("dying", "Input/output error"),
    ],
)
def test_an_error_comes_in_place_of_the_call(crash_bench: Bench, kind: FaultKind, text: str) -> None:
    home = crash_bench.home(PLAIN)
    run = crash_bench.run(home, Fault(kind, 1))
    assert (run.code, run.report.fired) == (1, True)
    assert text in home.output
    assert not home.places.store.parent.exists()


def test_a_signal_comes_at_the_call(crash_bench: Bench) -> None:
    """Before fetchd listens to it, it ends the process; after that, fetchd ends by itself."""
    home = crash_bench.home(PLAIN)
    assert crash_bench.run(home, Fault("term", 1)).code == -15
    number = len(reference(crash_bench, PLAIN)) * 2 // 3
    late = crash_bench.home(PLAIN)
    assert crash_bench.run(late, Fault("term", number)).report.fired
    assert "SIGTERM" in late.output


def test_a_fault_beyond_the_last_call_does_not_fire(crash_bench: Bench) -> None:
    run = crash_bench.run(crash_bench.home(PLAIN), Fault("kill", 10_000))
    assert (run.code, run.report.fired) == (0, False)


def test_turning_points_leave_out_what_repeats() -> None:
    one, two = Call("write", "a", can_be_torn=True), Call("write", "b", can_be_torn=True)
    assert turning_points([one, one, one, two, one]) == [1, 3, 4, 5]
