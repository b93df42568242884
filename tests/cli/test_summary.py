"""fetchd.cli.summary: the last line of a run."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fetchd.cli.summary
from fetchd.cli.summary import human_size, summary
from fetchd.model import PollResult, SkipReason


@pytest.mark.parametrize(
    ("results", "failed", "line"),
    [
        ([], [], "no accounts"),
        ([PollResult("a")], [], "1 account: nothing new"),
        ([PollResult("a", 1, 512)], [], "1 account: 1 new message (512 bytes)"),
        ([PollResult("a", 0, 0, 1)], [], "1 account: nothing new, 1 deleted"),
        (
            [PollResult("a", 10, 2_000_000, 5), PollResult("b", 7, 1_400_000), PollResult("c")],
            ["c"],
            "3 accounts: 17 new messages (3.4 MB), 5 deleted, 1 account failed",
        ),
        ([PollResult("a"), PollResult("b")], ["b", "a"], "2 accounts: nothing new, 2 accounts failed"),
        ([PollResult("a", 1, 1)], ["b"], "2 accounts: 1 new message (1 byte), 1 account failed"),
        ([PollResult("a", 2, 900)], ["a"], "1 account: 2 new messages (900 bytes), 1 account failed"),
        (
            [PollResult("a", skipped={SkipReason.TOO_LARGE: 1, SkipReason.OVER_LIMIT: 1200})],
            [],
            "1 account: nothing new, 1,201 skipped",
        ),
        ([PollResult("a", 123_456, 12_345_678_901)], [], "1 account: 123,456 new messages (12.3 GB)"),
    ],
)
def test_the_summary(results: list[PollResult], failed: list[str], line: str) -> None:
    assert summary(results, failed) == line


def test_results_may_come_as_they_are_made() -> None:
    assert summary(result for result in [PollResult("a", 1, 1)]) == "1 account: 1 new message (1 byte)"


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1049, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (3_400_000, "3.4 MB"),
        (2_147_483_648, "2.1 GB"),
        (999_999_999_999, "1.0 TB"),
        (10**19, "10,000.0 PB"),
    ],
)
def test_sizes_are_decimal_with_one_decimal(octets: int, shown: str) -> None:
    assert human_size(octets) == shown


@given(st.integers(min_value=0, max_value=10**15))
def test_a_size_is_within_a_rounding_of_the_truth(octets: int) -> None:
    number, unit = human_size(octets).split()
    scale = {"byte": 1, "bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}[unit]
    assert abs(float(number) * scale - octets) <= 0.05 * scale + 1
    assert float(number) < 1000


def test_the_docstrings_tell_the_truth() -> None:
    assert doctest.testmod(fetchd.cli.summary) == (0, 1)
