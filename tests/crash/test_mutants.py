"""With one of its rules taken out, fetchd loses mail or delivers it twice, and this harness sees it."""

from dataclasses import replace

import pytest

from tests.crash.judge import Kind, Verdict
from tests.crash.model import FLUSHED
from tests.crash.shim import Fault
from tests.crash.test_every_call import reference
from tests.crash.trials import Bench, Setting

DELETING: dict[Kind, Setting] = {
    "maildir": Setting(False, "maildir", 3, pipelined=True),
    "mbox": Setting(False, "mbox", 3, pipelined=True),
}
TOGETHER: dict[Kind, Setting] = {kind: replace(setting, batch=6, letters=6) for kind, setting in DELETING.items()}
"""So many that they are flushed together."""


def worst_cut(bench: Bench, setting: Setting, mutant: str) -> Verdict | None:
    """Returns the verdict on the latest power cut that did harm to mail; None where none did."""
    home, states = bench.record_run(setting, mutant=mutant)
    flushed = [state for state in states if state.what == FLUSHED]
    for number, state in enumerate(reversed(flushed)):
        verdict = bench.survive(home, state, world=f"world{number}")
        if verdict.lost or verdict.doubled or verdict.spoiled:
            return verdict
    return None


@pytest.mark.parametrize("setting", [DELETING["maildir"], DELETING["mbox"], TOGETHER["maildir"]], ids=str)
@pytest.mark.parametrize("mutant", ["no file flush", "no directory flush"])
def test_a_missing_flush_harms_mail_at_a_power_cut(crash_bench: Bench, setting: Setting, mutant: str) -> None:
    """Only a power cut shows it: see FAULTS §3."""
    assert worst_cut(crash_bench, setting, mutant) is not None


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_publishing_before_the_commit_is_found(crash_bench: Bench, kind: Kind) -> None:
    """Between the two the message is there, and nobody knows: it comes twice.

    From a Maildir recovery can tell by the names that the store knows less than was done, and does not fetch again; but
    neither does it delete on the server what it has no record of.
    """
    setting = replace(DELETING[kind], batch=1)
    length = len(reference(crash_bench, setting))
    outcomes = (
        crash_bench.trial(setting, [Fault("kill", number)], mutant="publish before commit")
        for number in range(length // 2, length)
    )
    assert any(outcome.verdict.doubled or outcome.verdict.problems for outcome in outcomes)


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_unlinking_on_a_failed_commit_loses_mail(crash_bench: Bench, kind: Kind) -> None:
    """A COMMIT that reports an error may have happened: its rows are there, and their files are gone (FAULTS §4).

    One error does not show it, for SQLite takes the commit back. A disk that is dying lets it take nothing back.
    """
    setting = DELETING[kind]
    flushes = sum(call.name == "fdatasync" for call in reference(crash_bench, setting))
    outcomes = (
        crash_bench.trial(setting, [Fault("dying at a flush", number)], mutant="unlink on a failed commit")
        for number in range(flushes, 0, -1)
    )
    assert any(outcome.verdict.lost for outcome in outcomes)
