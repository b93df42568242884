"""fetchmail's configuration, by its own ``--configdump`` and by our parser: the same accounts."""

import os
import pwd
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import ConfigError
from fetchd.migration.accounts import OldConfiguration
from fetchd.migration.fetchmail import from_dump, from_rc
from fetchd.migration.fetchmail_rc import parse_rc
from fetchd.migration.fetchmail_words import unescape
from fetchd.model import Secret, TlsMode
from tests.migration.here import HERE, ROOT
from tests.migration.samples import FETCHMAILRC


def read(text: str) -> OldConfiguration:
    return from_rc(text.encode(), "/home/joe/.fetchmailrc", here=HERE)


@pytest.mark.skipif(shutil.which("fetchmail") is None, reason="fetchmail is not installed: sh .ci/need fetchmail")
@pytest.mark.parametrize("name", FETCHMAILRC)
def test_our_parser_reads_what_fetchmail_itself_reads(name: str, tmp_path: Path) -> None:
    rc = tmp_path / "fetchmailrc"
    rc.write_text(FETCHMAILRC[name])
    rc.chmod(0o600)
    caller = pwd.getpwuid(os.geteuid())
    here = replace(HERE, user=caller.pw_name)
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "USER": caller.pw_name, "LOGNAME": caller.pw_name}
    command = ["fetchmail", "--configdump", "--fetchmailrc", str(rc)]
    done = subprocess.run(command, env=env, capture_output=True, check=True, timeout=30)
    dumped = from_dump(done.stdout.decode("latin-1"), str(rc), here=here)
    assert from_rc(rc.read_bytes(), str(rc), here=here) == dumped
    assert dumped.accounts


def test_the_documented_sample_says_all_of_it() -> None:
    joe, ann, everyone, old = read(FETCHMAILRC["documented"]).accounts
    assert (joe.host, joe.port, joe.user, joe.password) == ("10.0.0.5", 995, "joe@example.net", Secret(b"hunter2"))
    assert (joe.interval, joe.timeout, joe.max_size, joe.max_messages) == (600, 60, 20_000_000, 50)
    assert (joe.delete_after, joe.deliver.path, joe.tls.mode) == (None, "/home/joe/Maildir", TlsMode.IMPLICIT)
    assert (ann.delete_after, ann.interval) == (0, 600)
    assert {"localdomains", "sslfingerprint", "no sslcertck"} < {note.option for note in everyone.notes}
    assert "skip" in old.unused


def test_mail_is_deleted_unless_keep_says_otherwise() -> None:
    """fetchmail(1): the default is nokeep."""
    assert read("poll h proto pop3 user a pass b").accounts[0].delete_after == 0
    assert read("poll h proto pop3 user a pass b keep").accounts[0].delete_after is None


@pytest.mark.parametrize(
    ("options", "host", "mode"),
    [
        ("ssl", "h", TlsMode.IMPLICIT),
        ("", "h", TlsMode.STARTTLS),
        ("sslproto ''", "h", TlsMode.STARTTLS),
        ("sslproto tls1.2", "h", TlsMode.STARTTLS),
        ("", "localhost", TlsMode.NONE),
        ("", "127.0.0.1", TlsMode.NONE),
        ("", "localhost.example.org", TlsMode.STARTTLS),
    ],
)
def test_a_password_never_goes_over_a_plain_line_to_another_machine(options: str, host: str, mode: TlsMode) -> None:
    assert read(f"poll {host} proto pop3 user a pass b {options}").accounts[0].tls.mode is mode


def test_a_password_that_no_pop3_command_can_carry_is_left_to_the_user() -> None:
    for password in (r"a\nb", r"a\rb", r"\x00"):
        assert read(f'poll h proto pop3 user a pass "{password}"').accounts[0].password is None
    assert read(r'poll h proto pop3 user a pass "\xe9"').accounts[0].password == Secret(b"\xe9")


def test_root_delivers_as_the_local_user() -> None:
    account = from_rc(b"poll h proto pop3 user a pass b is joe here", "rc", here=ROOT).accounts[0]
    assert (account.deliver.path, account.deliver.owner) == ("/home/joe/Maildir", "joe")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("poll a\nb c", ":2: poll, skip, defaults or set is expected here"),
        (
            "poll h user a pass b\n\nproto pop3",
            ':3: "proto": this is an option of the server: it stands before the first user',
        ),
        ("poll h proto pop4", ":1: a protocol is expected here"),
        ("poll h\nport pop3s", ":2: a number is expected here"),
        ("poll", ":1: the file ends: a name or a text"),
        ("poll h user a keep pass no keep", None),
        ("set\nkeep", ':2: "keep": an option that can be set is expected here'),
        ("poll h no via x", ':1: "via": "no" cannot stand before this'),
    ],
)
def test_an_error_says_where(text: str, said: str | None) -> None:
    if said is None:
        assert read(text)
        return
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert str(refused.value).startswith(f"/home/joe/.fetchmailrc{said}")


def test_an_error_does_not_show_a_password() -> None:
    for text in ('poll h user a pass b "hunter2"', "poll h user a pass b 4711", 'poll h port "hunter2"'):
        with pytest.raises(ConfigError) as refused:
            read(text)
        assert "hunter2" not in str(refused.value)
        assert "4711" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "fetchmailrc = 1", "fetchmailrc = {", "fetchmailrc = {'servers': [3]}", "x(" * 300]
)
def test_a_dump_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        from_dump(text, "rc", here=HERE)


def dumped(auth: str, password: str) -> str:
    user = f"{{'remote': 'joe', 'password': {password}}}"
    return f"fetchmailrc = {{'servers': [{{'pollname': 'h', 'active': TRUE, {auth} 'users': [{user}]}}]}}"


def test_a_dump_with_octets_that_fetchmail_garbles_is_refused() -> None:
    r"""fetchmail 6.4 prints é in a password as ``\0x^^3``: not what it was."""
    with pytest.raises(ConfigError, match="cannot be read"):
        from_dump(dumped("'auth': 'any',", r"'h\0x^^3llo'"), "rc", here=HERE)


def test_a_password_that_fetchmail_made_up_is_none() -> None:
    """fetchmail prints the user's name where a way to log in needs no password, and leaves ``external`` out."""
    (external,) = from_dump(dumped("", "'joe'"), "rc", here=HERE).accounts
    assert (external.mechanism, external.password) == ("EXTERNAL", None)
    (poor,) = from_dump(dumped("'auth': 'any',", "'joe'"), "rc", here=HERE).accounts
    assert (poor.mechanism, poor.password) == ("", Secret(b"joe"))


def test_another_idfile_is_to_be_named() -> None:
    for idfile, noted in (("/x/ids", True), ("/home/joe/.fetchids", False)):
        notes = read(f"set idfile {idfile}\npoll h proto pop3 user a pass b").notes
        assert any(note.option == "set idfile" for note in notes) is noted


def test_a_dump_is_read_and_never_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    with pytest.raises(ConfigError):
        from_dump(f"fetchmailrc = {{'servers': open({str(victim)!r}, 'w')}}", "rc", here=HERE)
    assert not victim.exists()


WORDS = st.sampled_from(
    [
        *(
            "poll",
            "skip",
            "defaults",
            "set",
            "h",
            "user",
            "pass",
            "is",
            "to",
            "here",
            "there",
            "no",
            "keep",
            "nokeep",
            "ssl",
            "=",
        ),
        *(
            "daemon",
            "300",
            "proto",
            "pop3",
            "port",
            "limit",
            "*",
            "'q'",
            '"',
            "#",
            "\n",
            "\\",
            "auth",
            "password",
            "envelope",
        ),
    ]
)


@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join)))
def test_any_text_gives_accounts_or_an_error_with_its_place(text: str) -> None:
    try:
        read(text)
    except ConfigError as error:
        assert str(error).startswith("/home/joe/.fetchmailrc:")  # noqa: PT017 - both ways are well


@given(st.text(st.characters(min_codepoint=1, max_codepoint=255), min_size=1))
def test_quoting_round_trips(text: str) -> None:
    r"""fetchmail(1): ``\xhh`` is an octet."""
    quoted = "".join(f"\\x{ord(character):02x}" for character in text)
    assert unescape(quoted) == text
    user = parse_rc(f'poll h user "{quoted}" pass {quoted}', "rc").servers[0].users[0]
    assert (user["remote"], user["password"]) == (text, text)
