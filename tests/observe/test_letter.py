"""fetchd.observe.letter: a notice is a message that any mail reader shows and no machine answers."""

import email
from email import policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import Retry
from fetchd.model import Failing, Outcome
from fetchd.observe.letter import Notice, subject, text, variables, written

SINCE = 1_795_514_155


def notice(**changes: Any) -> Notice:
    values = {"account": "alice", "about": "failing", "host": "mx1.example.org", "now": SINCE + 7300}
    failed = {"outcome": "auth", "error": "pop.example.org:995: the login was refused: -ERR no", "retry": "later"}
    return Notice(**(values | failed | {"failing": Failing(SINCE, 3, told=True)} | changes))


def recovered() -> Notice:
    return notice(about="recovered", outcome="", error="", retry="")


@pytest.mark.parametrize("one", [notice(), recovered()])
def test_it_is_a_message_of_rfc_5322_that_says_that_a_machine_wrote_it(one: Notice) -> None:
    """RFC 5322 §3.6, RFC 3834 §5."""
    octets = written(one)
    assert octets.count(b"\n") == octets.count(b"\r\n")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(octets, policy=policy.default)
    assert not [part.defects for part in message.walk() if part.defects]
    for header in ("From", "To", "Date", "Message-ID", "Subject"):
        assert len(message.get_all(header, [])) == 1, header
        assert not message[header].defects
    assert message["From"].addresses[0].addr_spec == "fetchd@mx1.example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.timestamp() == SINCE + 7300
    assert message["Subject"] == subject(one)
    assert message.get_content().replace("\r\n", "\n") == text(one)


def test_it_says_what_is_wrong_since_when_and_what_to_do() -> None:
    said = text(notice())
    assert "cannot fetch the mail of the account alice since\nTue, 24 Nov 2026 09:55:55 +0000" in said
    assert "pop.example.org:995: the login was refused: -ERR no" in said
    assert "The server refuses the login, 3 times in a row" in said
    assert "systemctl reload fetchd" in said
    assert "No mail is lost" in said
    assert "It had failed since Tue, 24 Nov 2026 09:55:55 +0000, for 2 h." in text(recovered())


def test_failing_and_recovered_are_two_messages_with_identifiers_of_their_own() -> None:
    three = (notice(), recovered(), notice(account="bob"))
    assert len({email.message_from_bytes(written(one))["Message-ID"] for one in three}) == 3


@pytest.mark.parametrize("outcome", [one.value for one in Outcome if one not in {Outcome.OK, Outcome.INTERRUPTED}])
@pytest.mark.parametrize("retry", ["", *Retry])
def test_there_are_words_for_every_outcome(outcome: str, retry: str) -> None:
    assert "The last poll failed" not in text(notice(outcome=outcome, retry=str(retry)))


@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=300), st.text(max_size=30))
def test_no_error_and_no_host_name_breaks_out_of_its_place(error: str, host: str) -> None:
    """What is in an error is printable (``errors.printable``); a host may be called anything."""
    message = email.message_from_bytes(written(notice(error=error, host=host)), policy=policy.default)
    assert set(message.keys()) == {*email.message_from_bytes(written(notice())).keys()}
    assert message["From"].addresses[0].username == "fetchd"


def test_a_command_is_told_by_its_environment() -> None:
    told = variables(notice())
    assert told == {
        "FETCHD_EVENT": "failing",
        "FETCHD_ACCOUNT": "alice",
        "FETCHD_HOST": "mx1.example.org",
        "FETCHD_SINCE": "2026-11-24T09:55:55Z",
        "FETCHD_FAILURES": "3",
        "FETCHD_OUTCOME": "auth",
        "FETCHD_ERROR": "pop.example.org:995: the login was refused: -ERR no",
        "FETCHD_SUBJECT": "fetchd cannot fetch the mail of alice",
        "FETCHD_TEXT": text(notice()),
    }
    assert variables(recovered()).keys() == told.keys()
