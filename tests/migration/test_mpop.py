"""mpop's configuration: a command a line, accounts that build on each other."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import ConfigError
from fetchd.migration.accounts import OldAccount
from fetchd.migration.mpop import from_mpoprc
from fetchd.model import Secret, TlsMode
from tests.migration.here import HERE
from tests.migration.samples import MPOPRC


def read(text: str) -> tuple[OldAccount, ...]:
    return from_mpoprc(text.encode(), "/home/joe/.mpoprc", here=HERE).accounts


def test_the_documented_sample_says_all_of_it() -> None:
    work, home = read(MPOPRC["documented"])
    assert (work.name, work.host, work.user, work.password) == (
        "work",
        "pop.example.org",
        "joe@example.org",
        Secret(b"hunter 2"),
    )
    assert (work.tls.mode, work.delete_after, work.max_size) == (TlsMode.IMPLICIT, None, 512_000)
    assert (home.name, home.delete_after, home.proxy, home.source_address) == (
        "home",
        0,
        "socks5://127.0.0.1:9050",
        "192.0.2.1",
    )
    assert home.password_command == ("/bin/sh", "-c", "gpg --quiet --decrypt ~/.secret.gpg")
    assert (home.deliver.kind, home.deliver.path) == ("mbox", "/var/mail/joe")


def test_a_command_is_run_without_a_shell_where_its_words_say_the_same() -> None:
    account = read(MPOPRC["much without counterpart"])[0]
    assert account.password_command == ("pass", "show", "mail/joe")
    assert account.delete_after == 30 * 86_400
    assert {note.option for note in account.notes} == {
        *("auth", "tls_certcheck off", "tls_fingerprint", "tls_priorities", "delivery", "killsize", "filter"),
        *("only_new", "pipelining"),
    }


def test_certificates_are_carried_over() -> None:
    account = read(MPOPRC["certificates"])[0]
    assert (account.tls.ca_file, account.tls.server_name) == (Path("/home/joe/ca.pem"), "mail.example.org")
    assert (account.tls.fingerprint or b"").hex() == "00112233445566778899aabbccddeeff" * 2
    assert (account.mechanism, account.delete_after) == ("EXTERNAL", None)
    assert "leave_on_server" in account.remarks


def test_mail_is_deleted_unless_keep_says_otherwise() -> None:
    """mpop(1): keep is off by default."""
    assert read("account a\nhost h\nuser u")[0].delete_after == 0


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (b'"in quotes "', b"in quotes "),
        (b'"opened', b'"opened'),
        (b'"', b'"'),
        (b'a"b"', b'a"b"'),
        (b"tab\there", b"tab\there"),
        (b"h\xe9llo", b"h\xe9llo"),
        ("h\u00e9llo".encode(), "h\u00e9llo".encode()),
        ("a\u2028b\x0cc".encode(), "a\u2028b\x0cc".encode()),
        (b"a #b ", b"a #b"),
        (b"secret\r", b"secret"),
    ],
)
def test_a_password_is_the_one_that_mpop_sends(written: bytes, sent: bytes) -> None:
    """Each was seen on the wire with mpop 1.4.18, but for the last."""
    text = b"account a\nhost h\nuser joe\npassword " + written + b"\ntls on\n"
    (account,) = from_mpoprc(text, "rc", here=HERE).accounts
    assert account.password == Secret(sent)


def test_defaults_add_up_and_a_base_hands_on_only_what_is_its_own() -> None:
    """Seen with mpop 1.4.18 --pretend."""
    text = """
defaults
keep on
timeout 33
account a
host a.example
account h
host h.example
timeout 55
defaults
timeout 44
account b : a
account c : h, a
"""
    a, h, b, c = read(text)
    assert [one.timeout for one in (a, h, b, c)] == [33, 55, 44, 55]
    assert [one.delete_after for one in (a, h, b, c)] == [None] * 4
    assert c.host == "a.example"


def test_another_file_of_unique_ids_is_to_be_named() -> None:
    (account,) = read("account a\nhost h\nuser joe\nuidls_file ~/.mpop_uidls/%U_at_%H")
    assert not account.notes[1:]
    (account,) = read("account a\nhost h\nuser joe\nuidls_file /x")
    assert "uidls_file" in {note.option for note in account.notes}


def test_eval_is_not_run_and_is_said() -> None:
    assert "eval" in {note.option for note in read(MPOPRC["plain"])[0].notes}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("account a\nhunter2 x", ":2: mpop has no such command"),
        ("account", ":1: an account needs a name"),
        ("account a : b", ":1: an account that this one builds on is not defined above"),
        ("account a\naccount a", ":2: there is an account of this name above"),
        ("account a\nport hunter2", ":1: port: a port's number is expected"),
        ("account a\nskipsize hunter2", ":1: skipsize: a size is expected"),
    ],
)
def test_an_error_says_where_and_shows_no_value(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert str(refused.value).startswith(f"/home/joe/.mpoprc{said}")
    assert "hunter2" not in str(refused.value)


LINES = st.sampled_from(
    [
        *(
            "account a",
            "account b : a",
            "defaults",
            "host h",
            "user u",
            "port 9",
            "tls on",
            "keep 3d",
            "keep 9999999d",
            "keep",
        ),
        *(
            'password "',
            "passwordeval '",
            "skipsize 3k",
            "delivery maildir \x00",
            "timeout -1",
            "proxy_host :",
            "eval x",
        ),
    ]
)


@given(st.one_of(st.text(), st.lists(LINES).map("\n".join)))
def test_any_text_gives_accounts_or_an_error_with_its_place(text: str) -> None:
    try:
        read(text)
    except ConfigError as error:
        assert str(error).startswith("/home/joe/.mpoprc:")  # noqa: PT017 - both ways are well
