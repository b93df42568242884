"""getmail's configuration: an INI file whose values are Python, read and never run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import ConfigError
from fetchd.migration.accounts import OldAccount
from fetchd.migration.getmail import from_getmailrc
from fetchd.model import Secret, TlsMode
from tests.migration.here import HERE, ROOT
from tests.migration.samples import GETMAILRC

RC = (
    "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = h\nusername = u\n{}"
    "[destination]\ntype = Maildir\npath = /m/\n"
)


def read(text: str) -> OldAccount:
    return from_getmailrc(text.encode(), "/home/joe/.getmail/getmailrc", here=HERE).accounts[0]


def test_the_documented_sample_says_all_of_it() -> None:
    account = read(GETMAILRC["documented"])
    assert (account.host, account.user, account.deliver.path) == ("pop.example.net", "joe@example.net", "~/Maildir")
    assert (account.password, account.password_command) == (None, ("/usr/bin/pass", "mail/joe"))
    assert account.tls.ca_file == Path("/etc/ssl/certs/ca-certificates.crt")
    assert account.delete_after == 14 * 86_400
    assert "leave_on_server" in account.remarks


def test_a_plain_one_says_all_of_it() -> None:
    account = read(GETMAILRC["plain"])
    assert (account.port, account.tls.mode, account.mechanism) == (1100, TlsMode.STARTTLS, "APOP")
    assert (account.password, account.delete_after, account.timeout) == (Secret(b"hunter%2"), 0, 60)
    assert (account.max_size, account.max_messages) == (1_000_000, 10)
    assert (account.deliver.kind, account.deliver.path) == ("mbox", "/var/mail/joe")
    assert {note.option for note in account.notes} == {
        "locktype",
        "max_bytes_per_session",
        "[filter-1]",
        "read_all",
    }


def test_a_token_is_asked_of_the_same_command() -> None:
    account = read(GETMAILRC["a token"])
    assert (account.mechanism, account.password_command) == ("XOAUTH2", ("/usr/local/bin/token", "it's"))


def test_mail_stays_unless_delete_says_otherwise() -> None:
    """getmail's configuration.html: delete is false by default."""
    assert read(RC.format("")).delete_after is None


def test_another_user_is_the_owner_where_root_delivers() -> None:
    rc = RC.format("") + "user = joe\n"
    assert from_getmailrc(rc.encode(), "rc", here=ROOT).accounts[0].deliver.owner == "joe"
    assert read(rc).deliver.owner == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = hunter2", ":1: a section such as [retriever] is expected before this line"),
        ("[retriever]\nhunter2", ":2: name = value is expected here"),
        ("[retriever]\ntype = a\ntype = hunter2", ":3: this stands twice in the file"),
        ("[options]\nread_all = true", ':1: there is no section "[retriever]" with a type'),
        (RC.format("port = hunter2\n"), ":5: port: this is neither a number nor a tuple of texts"),
        (RC.format("port = 'hunter2'\n"), ":5: port: a whole number is expected"),
        (RC.format("use_apop = hunter2\n"), ":5: use_apop: yes or no is expected"),
        (RC.format("password_command = (1, 'hunter2')\n"), ":5: password_command: a tuple of texts is expected"),
        (RC.format("password_command = open('hunter2')\n"), ":5: password_command: this is neither a number nor"),
    ],
)
def test_an_error_says_where_and_shows_no_value(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert str(refused.value).startswith(f"/home/joe/.getmail/getmailrc{said}")
    assert "hunter2" not in str(refused.value)


LINES = st.sampled_from(
    [
        *(
            "[retriever]",
            "[options]",
            "[destination]",
            "[filter-1]",
            "type = SimplePOP3Retriever",
            "server = h",
            "username = u",
        ),
        *(
            "port = ((",
            "port = 9" + "9" * 30,
            "delete = maybe",
            "delete_after = -1",
            "password_command = ()",
            "path = \x00",
            " x",
        ),
    ]
)


@given(st.one_of(st.text(), st.lists(LINES).map("\n".join), st.text().map(lambda text: RC.format(text + "\n"))))
def test_any_text_gives_an_account_or_an_error_with_its_place(text: str) -> None:
    try:
        read(text)
    except ConfigError as error:
        assert str(error).startswith("/home/joe/.getmail/getmailrc:")  # noqa: PT017 - both ways are well
