"""fetchd.observe.words: one sentence says whether all is well."""

import doctest

import pytest

from fetchd.errors import Retry
from fetchd.model import Outcome
from fetchd.observe import words
from fetchd.observe.status import AccountStatus, State
from tests.observe.statuses import make_status_of


def some(number: int, state: State = State.OK, today: int = 0) -> list[AccountStatus]:
    return [make_status_of(f"a{place}", state=state, delivered_today=today) for place in range(number)]


@pytest.mark.parametrize(
    ("accounts", "sentence"),
    [
        ([], "No accounts are configured."),
        (some(1, today=1), "The account is fetched; 1 message today."),
        (some(2), "Both accounts are fetched; 0 messages today."),
        (some(12, today=100), "All 12 accounts are fetched; 1,200 messages today."),
        (some(1, State.NEW), "The account is not polled yet."),
        (some(12, State.NEW), "None of 12 accounts is polled yet."),
        ([*some(2), *some(1, State.NEW)], "2 of 3 accounts are fetched, the others not polled yet; 0 messages today."),
        (some(1, State.FAILING), "The account fails: a0; 0 messages today."),
        ([*some(1, State.HELD), *some(2, today=3)], "1 of 3 accounts fails: a0; 6 messages today."),
        ([*some(2, State.FAILING), *some(1)], "2 of 3 accounts fail: a0, a1; 0 messages today."),
        (some(1200, State.FAILING), "1,200 of 1,200 accounts fail: a0, a1, a2 and 1,197 more; 0 messages today."),
    ],
)
def test_the_summary_is_one_sentence(accounts: list[AccountStatus], sentence: str) -> None:
    assert words.summary(accounts) == sentence


@pytest.mark.parametrize(
    "outcome", [outcome for outcome in Outcome if outcome not in (Outcome.OK, Outcome.INTERRUPTED)]
)
@pytest.mark.parametrize("retry", list(Retry))
def test_every_failure_has_a_reason_in_words(outcome: Outcome, retry: Retry) -> None:
    text = words.reason(outcome, retry, 1)
    assert text.count(".") == 2
    assert outcome.value not in ("auth", "tls") or outcome.value not in text


def test_a_reason_counts_failures_in_a_row_and_says_what_is_next() -> None:
    assert words.reason("tls", "later", 4).startswith("There is no secure connection to the server, 4 times in a row. ")
    assert "lest the provider locks the account" in words.reason("auth", "hold", 5)
    assert words.reason("", "", 0) == "The last poll failed. It is tried again."


@pytest.mark.parametrize(
    ("polling", "at", "said"),
    [(True, 500.0, "polling now"), (False, None, "–"), (False, 1300.0, "in 5 min"), (False, 900.0, "due now")],
)
def test_the_next_poll_in_words(polling: bool, at: float | None, said: str) -> None:
    assert words.next_poll(make_status_of("a", polling=polling, next_poll=at), 1000.0) == said


def test_the_examples_are_true() -> None:
    assert doctest.testmod(words).failed == 0
