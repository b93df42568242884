"""The numbers that a run of the harness ends with."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

from tests.crash.judge import Verdict
from tests.crash.shim import KINDS
from tests.crash.trials import Outcome


@dataclass(slots=True)
class Tally:
    """Counts trials, from any thread.

    Attributes:
        trials: of which ``counted`` had every fault fire.
        fired: faults, by kind.
        states: disks of modelled power cuts that fetchd recovered from.
        cuts: real power cuts, of file systems under fetchd; their trials are among the others.
        worst_refetch: the most RETRs that the faults of one trial cost.
    """

    trials: int = 0
    counted: int = 0
    lost: int = 0
    doubled: int = 0
    spoiled: int = 0
    refetched: int = 0
    worst_refetch: int = 0
    bad: int = 0
    states: int = 0
    cuts: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def add(self, outcome: Outcome) -> None:
        """Counts a trial."""
        with self._lock:
            self.trials += 1
            self.counted += outcome.counts
            self.fired.update(fault.kind for fault, did in zip(outcome.faults, outcome.fired, strict=True) if did)
            self._add(outcome.verdict)

    def add_state(self, verdict: Verdict) -> None:
        """Counts a disk that a modelled power cut left."""
        with self._lock:
            self.states += 1
            self._add(verdict)

    def _add(self, verdict: Verdict) -> None:
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        self.spoiled += verdict.spoiled
        self.refetched += verdict.refetched
        self.worst_refetch = max(self.worst_refetch, verdict.refetched)
        self.bad += bool(verdict.problems)

    def lines(self) -> Iterator[str]:
        """Yields the table."""
        yield f"trials                {self.trials:7}   of which every fault fired: {self.counted}"
        for kind in KINDS:
            yield f"  {kind:8} fired      {self.fired[kind]:7}"
        yield f"modelled power cuts   {self.states:7}"
        yield f"real power cuts       {self.cuts:7}"
        yield f"lost                  {self.lost:7}"
        yield f"delivered twice       {self.doubled:7}"
        yield f"spoiled               {self.spoiled:7}"
        yield f"fetched again         {self.refetched:7}   at most {self.worst_refetch} in one trial"
        yield f"trials that went wrong{self.bad:7}"
        yield f"minutes               {self.seconds / 60:7.1f}"
