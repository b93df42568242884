"""fetchd.wording: numbers with their nouns."""

import doctest

import fetchd.wording
from fetchd.wording import counted


def test_one_is_singular_and_all_else_plural() -> None:
    assert [counted(number, "account") for number in (0, 1, 2)] == ["0 accounts", "1 account", "2 accounts"]


def test_the_examples_hold() -> None:
    assert doctest.testmod(fetchd.wording) == (0, 1)
