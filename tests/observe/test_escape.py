"""fetchd.observe.escape: one printable line, whatever came in."""

import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fetchd.observe.escape
from fetchd.observe.escape import UNIQUE_ID_LIMIT, shown_text, shown_unique_id


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_shown_text_is_printable_and_stays_so(text: str) -> None:
    """FAULTS 8: no control character, line end, direction mark or surrogate gets through."""
    shown = shown_text(text)
    assert shown.isprintable()
    assert shown_text(shown) == shown
    shown.encode()  # no lone surrogate is left


@given(st.text(st.characters(categories=("L", "M", "N", "P", "S"))))
def test_letters_of_every_script_stay(text: str) -> None:
    assert shown_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\nc", "a\\nb\\r\\nc"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\x9b31m\x85\x7f", "\\x9b31m\\x85\\x7f"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("caf\udce9", "caf\\udce9"),
        ("already \\x1b shown", "already \\x1b shown"),
        ("/srv/mail/Zoë/日本語", "/srv/mail/Zoë/日本語"),
    ],
)
def test_shown_text_by_example(text: str, shown: str) -> None:
    assert shown_text(text) == shown


@given(st.binary())
def test_a_unique_id_is_shown_as_short_printable_ascii(uid: bytes) -> None:
    """FAULTS 35: unique-ids are opaque octets."""
    shown = shown_unique_id(uid)
    body = shown.removesuffix("…")
    assert body.isascii()
    assert body.isprintable()
    assert len(body) <= UNIQUE_ID_LIMIT
    assert shown.endswith("…") == (sum(1 if 0x20 <= octet < 0x7F else 4 for octet in uid) > UNIQUE_ID_LIMIT)


def test_a_unique_id_is_never_cut_inside_an_escape() -> None:
    assert shown_unique_id(b"a" * 68 + b"\xff") == "a" * 68 + "…"
    assert shown_unique_id(b"a" * 66 + b"\xff") == "a" * 66 + "\\xff"
    assert shown_unique_id(b"a" * 70) == "a" * 70


def test_the_examples_cover_both_ranges_of_control_characters() -> None:
    """C0 and C1 are exactly the category Cc."""
    controls = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cc"]
    assert all(shown_text(char).startswith("\\") for char in controls)
    assert len(controls) == 65


def test_the_docstrings_tell_the_truth() -> None:
    assert doctest.testmod(fetchd.observe.escape) == (0, 2)
