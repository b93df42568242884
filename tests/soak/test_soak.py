"""A short soak, and that a long one would see what grows."""

from pathlib import Path

from tests.soak.run import Soak
from tests.soak.watch import Sample, complaints

MB = 2**20


def _run(*, rss: float = 0, descriptors: float = 0, threads: float = 0) -> list[Sample]:
    """Returns a run of 5,000 polls in which these grow by so much in all, beside what comes and goes."""
    return [
        Sample(
            float(n),
            50 * n,
            int(60 * MB + (n % 7) * 100_000 + rss * n / 100),
            int(40 + n % 5 + descriptors * n / 100),
            int(30 + n % 3 + threads * n / 100),
            8192,
        )
        for n in range(101)
    ]


def test_what_grows_is_seen() -> None:
    """A leak of 1 KB a poll, of a descriptor or thread every 200 polls: each is told; what wavers is not."""
    assert complaints(_run()) == []
    assert "RSS grows" in complaints(_run(rss=10 * MB))[0]
    assert "descriptors grow" in complaints(_run(descriptors=25))[0]
    assert "threads grow" in complaints(_run(threads=25))[0]


def test_a_short_soak_loses_nothing_and_hoards_nothing(tmp_path: Path) -> None:
    """Two dozen accounts, half of them in trouble: all mail once, no descriptor or thread left over, exit 0."""
    outcome = Soak(tmp_path, polls=150).run()
    assert outcome.wrong == []
    assert outcome.code == 0
    assert outcome.messages > 0
    assert set(outcome.polls) > {"ok", "auth"}
