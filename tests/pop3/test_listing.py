"""What LIST and UIDL say, in little memory."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import ProtocolError
from fetchd.pop3 import listing
from fetchd.pop3.listing import Sizes, UniqueIds
from tests.faults.bounds import MB, bounded_resident

MANY = 1_000_000

numbers = st.one_of(
    st.integers(0, 30).map(lambda count: list(range(1, count + 1))),
    st.lists(st.integers(1, 2**32 - 1), unique=True, max_size=30),
    st.lists(st.integers(1, 40), unique=True, max_size=30),
    st.lists(st.integers(1, 60), unique=True, max_size=30).map(sorted),
)
kinds = pytest.mark.parametrize("kind", [Sizes, UniqueIds])


def batches(lines: list[bytes], cuts: list[int]) -> list[list[bytes]]:
    edges = sorted({min(cut, len(lines)) for cut in cuts} | {0, len(lines)})
    return [lines[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
@given(listed=numbers, cuts=st.lists(st.integers(0, 30), max_size=4))
def test_what_is_listed_is_what_is_told(small: bool, listed: list[int], cuts: list[int]) -> None:
    """FAULTS 30: in any order, with gaps, in any batches; a mapping like the dict it stands for, small or large."""
    sizes = {number: number % 7 for number in listed}
    uids = {number: b"u" * (number % 3) + b"%d" % (number % 5) for number in listed}
    found = Sizes(), UniqueIds()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_BLOCK_OCTETS", 5)
        patch.setattr(listing, "_BATCH", 4)
        patch.setattr(listing, "_ROWS", 3)
        if not small:
            patch.setattr(listing, "SMALL_LINES", -1)
        for batch in batches([b"%d %d" % pair for pair in sizes.items()], cuts):
            found[0].add(batch)
        for batch in batches([b"%d %b" % pair for pair in uids.items()], cuts):
            found[1].add(batch)
        mappings = [one.mapping() for one in found]
        assert [isinstance(mapping, dict) for mapping in mappings] == [small, small]
        for mapping, expected, one in zip(mappings, (sizes, uids), found, strict=True):
            assert list(one.pairs()) == list(expected.items())
            assert list(mapping) == list(expected)
            assert list(mapping.items()) == list(expected.items())
            assert list(mapping.values()) == list(expected.values())
            assert (1, expected.get(1)) in mapping.items() or 1 not in expected
            assert dict(mapping) == expected
            assert len(mapping) == len(expected)
            for number in (0, -1, 1, 2, 31, 2**32, *expected):
                assert mapping.get(number) == expected.get(number)
                assert (number in mapping) == (number in expected)
            with pytest.raises(KeyError):
                mapping[0]
            assert "1" not in mapping


@kinds
@pytest.mark.parametrize(
    "lines",
    [
        ([b"1 5", b"1 6"],),
        ([b"1 5"], [b"1 5"]),
        ([b"1 5", b"2 6"], [b"4 1", b"2 6"]),
        ([b"3 5", b"1 5"], [b"2 1"], [b"4 1", b"5 1"], [b"3 1"]),
        ([b"3 5", b"1 5"], [b"2 1", b"2 1"]),
    ],
)
def test_a_number_listed_twice_is_an_error(kind: type[Sizes | UniqueIds], lines: tuple[list[bytes], ...]) -> None:
    """FAULTS 30: in LIST and in UIDL, at once and later, in order and out of it."""
    found = kind()
    *good, bad = lines
    for batch in good:
        found.add(batch)
    with pytest.raises(ProtocolError, match=r"message [1-3] is listed twice"):
        found.add(bad)


@kinds
def test_a_number_that_no_maildrop_has_is_an_error(kind: type[Sizes | UniqueIds]) -> None:
    """FAULTS 28: 19 digits are a number, but nobody's message."""
    with pytest.raises(ProtocolError, match="no message number: 4294967296"):
        kind().add([b"1 1", b"4294967296 1"])


def test_a_size_that_no_file_has_is_none() -> None:
    """FAULTS 29: it allocates nothing, and whoever stores it is not surprised."""
    sizes = Sizes()
    sizes.add([b"1 9223372036854775807", b"2 9223372036854775808", b"3 9999999999999999999", b"4 99999999999999999999"])
    assert sizes.mapping() == {1: 2**63 - 1, 2: 0, 3: 0, 4: 0}


def test_a_unique_id_listed_twice_is_two_messages() -> None:
    """FAULTS 37: RFC 1939 §7 permits it."""
    uids = UniqueIds()
    uids.add([b"1 a", b"2 a"])
    assert uids.mapping() == {1: b"a", 2: b"a"}


@kinds
def test_few_lines_may_be_out_of_order(kind: type[Sizes | UniqueIds], monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 32: for of those a table has to be kept."""
    monkeypatch.setattr(listing, "UNORDERED_LINES", 5)
    found = kind()
    found.add([b"2 1", b"1 1", b"3 1", b"4 1", b"5 1"])
    with pytest.raises(ProtocolError, match="not in ascending order"):
        found.add([b"6 1"])
    found = kind()
    found.add([b"%d 1" % number for number in range(1, 10)])
    with pytest.raises(ProtocolError, match="not in ascending order"):
        found.add([b"1 1"])


def test_a_million_messages_are_held_in_what_their_lists_take_on_the_wire() -> None:
    """FAULTS 44: 32 octets of unique-id each; both lists, and what parsing them takes in between."""
    uids, sizes = UniqueIds(), Sizes()
    with bounded_resident(64 * MB):
        for start in range(1, MANY, 10_000):
            uids.add([b"%d %032x" % (number, number) for number in range(start, start + 10_000)])
        for start in range(1, MANY, 10_000):
            sizes.add([b"%d 4096" % number for number in range(start, start + 10_000)])
        found, octets = uids.mapping(), sizes.mapping()
    assert len(found) == len(octets) == MANY
    assert found[MANY] == b"%032x" % MANY
    assert octets[MANY] == 4096
