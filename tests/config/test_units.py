"""Durations and sizes: what is read, what is refused and how the refusal helps."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.config.units import (
    LARGEST,
    LONGEST,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    quoted,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("14d", 1209600),
        ("1w", 604800),
        ("5 m", 300),
        (" 5m ", 300),
        ("0s", 0),
        ("0", 0),
        (0, 0),
        ("36525d", LONGEST),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str | int, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (300, "300 has no unit: write 300s or 5m where seconds are meant"),
        ("300", "300 has no unit: write 300s or 5m where seconds are meant"),
        (7, "7 has no unit: write 7s where seconds are meant"),
        (-5, '"-5" is not a duration: write a whole number and a unit, as in 30s, 5m, 2h, 14d or 1w'),
        ("", '"" is not a duration: write a whole number and a unit, as in 30s, 5m, 2h, 14d or 1w'),
        ("soon", '"soon" is not a duration: write a whole number and a unit, as in 30s, 5m, 2h, 14d or 1w'),
        ("1.5h", '"1.5h" is not a duration: write a whole number and a unit, as in 30s, 5m, 2h, 14d or 1w'),
        ("1h30m", '"1h30m" is not a duration: write a whole number and a unit, as in 30s, 5m, 2h, 14d or 1w'),
        ("5x", '"5x" is not a duration: write a whole number and a unit, as in 30s, 5m, 2h, 14d or 1w'),
        ("٣s", '"٣s" is not a duration: write a whole number and a unit, as in 30s, 5m, 2h, 14d or 1w'),
        ("5 minutes", '"5 minutes" is not a duration: write 5m'),
        ("90sec", '"90sec" is not a duration: write 90s'),
        ("3 Hours", '"3 Hours" is not a duration: write 3h'),
        ("14days", '"14days" is not a duration: write 14d'),
        ("2D", '"2D" is not a duration: write 2d'),
        ("36526d", '"36526d" is longer than a hundred years'),
        ("9" * 20 + "w", f'"{"9" * 20}w" is longer than a hundred years'),
    ],
)
def test_what_is_not_a_duration_is_refused_with_what_to_write(text: str | int, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("1000", 1000),
        (1000, 1000),
        ("512KB", 512_000),
        ("512kb", 512_000),
        ("512KiB", 512 * 1024),
        ("50MB", 50_000_000),
        ("50 MB", 50_000_000),
        ("1GiB", 2**30),
        ("2TB", 2 * 10**12),
        ("7B", 7),
        ("0", 0),
        (LARGEST, LARGEST),
    ],
)
def test_a_size_is_a_number_and_perhaps_a_unit(text: str | int, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("50M", '"50M" is not a size: write 50MB (powers of 1000) or 50MiB (powers of 1024)'),
        ("1g", '"1g" is not a size: write 1GB (powers of 1000) or 1GiB (powers of 1024)'),
        ("big", '"big" is not a size: write a whole number and a unit, as in 512KB, 50MB or 1GiB'),
        ("1.5GB", '"1.5GB" is not a size: write a whole number and a unit, as in 512KB, 50MB or 1GiB'),
        (-1, '"-1" is not a size: write a whole number and a unit, as in 512KB, 50MB or 1GiB'),
        ("5XB", '"5XB" is not a size: write a whole number and a unit, as in 512KB, 50MB or 1GiB'),
        ("99999999999TB", '"99999999999TB" is larger than any message can be'),
    ],
)
def test_what_is_not_a_size_is_refused_with_what_to_write(text: str | int, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        parse_size(text)


@given(st.integers(0, LONGEST))
def test_a_formatted_duration_reads_back_as_itself(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(
    st.integers(0, LARGEST) | st.builds(lambda n, k, b: n * b**k, st.integers(0, 999), st.integers(0, 4), st.just(1000))
)
def test_a_formatted_size_reads_back_as_itself(octets: int) -> None:
    assert parse_size(format_size(octets)) == octets


@given(st.integers(1, 999), st.sampled_from(["s", "m", "h", "d", "w"]))
def test_a_duration_is_shown_at_least_as_short_as_it_was_written(number: int, unit: str) -> None:
    assert len(format_duration(parse_duration(f"{number}{unit}"))) <= len(f"{number}{unit}")


def outcome(parse: Callable[[str | int], int], value: str | int) -> int | str:
    try:
        return parse(value)
    except ValueError as refused:
        return str(refused)


@given(st.text() | st.integers())
def test_any_text_is_a_duration_and_a_size_or_refused_in_one_printable_line(value: str | int) -> None:
    for found in (outcome(parse_duration, value), outcome(parse_size, value)):
        assert found >= 0 if isinstance(found, int) else found.isprintable() and len(found) < 250


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", '"plain"'),
        ("grün", '"grün"'),
        ("a\x1b[31mb\r\n", '"a\\x1b[31mb…"'),
        ("\x07\x9b", '"\\x07\\x9b"'),
        ("host.example hunter2", '"host.example…"'),
        ("\u202e\ud800", '"\\u202e\\ud800"'),
        ("x" * 61, '"' + "x" * 60 + '…"'),
    ],
)
def test_a_quoted_text_cannot_steer_a_terminal_or_fill_one(text: str, shown: str) -> None:
    assert quoted(text) == shown
