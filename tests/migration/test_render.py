"""The YAML of a new configuration: what comes out is taken as it is, and tells no password."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fetchd.config import examine
from fetchd.errors import ConfigError
from fetchd.migration import accounts
from fetchd.migration.accounts import Here, OldConfiguration
from fetchd.migration.fetchmail import from_rc
from fetchd.migration.getmail import from_getmailrc
from fetchd.migration.mpop import _KNOWN, from_mpoprc
from fetchd.migration.render import duration, render, scalar, size
from fetchd.model import SecretCommand, Settings
from tests.migration import test_fetchmail
from tests.migration.here import HERE, ROOT
from tests.migration.samples import SAMPLES

READERS = {"fetchmail": from_rc, "getmail": from_getmailrc, "mpop": from_mpoprc}


ODD_VALUES = (
    "",
    "x",
    "a b",
    "-1",
    "0",
    "1",
    "999999999999999999",
    "300",
    "~bob/x",
    "$HOME/x",
    "${X}/y",
    "\x00",
    "é",
    "/",
)
ODD_HOSTS = ("1.2.3", "::1", "localhost", "127.0.0.1", "a..b", "h.example", "unix:/x", "fe80::1%lo")
FETCHMAILRC = "poll h.example proto pop3 user joe pass x "
MPOPRC = "account a\nhost h.example\nuser joe\n"


def options(names: Sequence[str], form: str) -> st.SearchStrategy[str]:
    return st.builds(form.format, st.sampled_from(names), st.sampled_from(ODD_VALUES + ODD_HOSTS))


OPTIONS = {
    "fetchmail": st.one_of(
        st.sampled_from(["ssl", "keep", "poll h.example", "poll localhost port 995", "set daemon 9", "no sslcertck"]),
        options(
            ["user", "pass", "is", "mda", "sslproto", "sslcommonname", "sslcertfile", "sslcert", "sslkey"], '{} "{}"'
        ),
        options(["poll", "via", "service"], '{} "{}"'),
        options(["limit", "fetchlimit", "set daemon", "port", "timeout", "interval"], "{} {}"),
    ),
    "mpop": options(sorted(_KNOWN), "{} {}")
    | options(["delivery maildir", "delivery mbox"], "{} {}")
    | st.sampled_from(["tls on", "tls_starttls off", "port 995", "port 110", "proxy_host localhost", "socket /x"]),
    "getmail": options(
        [
            *("server", "port", "username", "password", "ca_certs", "certfile", "keyfile", "ssl_cert_hostname"),
            *("timeout", "ssl_fingerprints", "/type", "/path", "/user"),
            *("+max_message_size", "+max_messages_per_session", "+delete_after"),
        ],
        "{} = {}",
    ),
}


def getmailrc(lines: list[str]) -> str:
    """Lines of the retriever; of the destination those that begin with /, of the options those with +."""
    given = {"retriever": ["type = SimplePOP3SSLRetriever"], "destination": ["type = Maildir"], "options": []}
    for line in lines:
        section = {"/": "destination", "+": "options"}.get(line[0], "retriever")
        name = line.lstrip("/+").split(" ")[0]
        given[section] = [one for one in given[section] if not one.startswith(f"{name} ")] + [line.lstrip("/+")]
    if not any(line.startswith("username") for line in given["retriever"]):
        given["retriever"].append("username = joe")
    if not any(line.startswith("server") for line in given["retriever"]):
        given["retriever"].append("server = h.example")
    return "".join(f"[{section}]\n" + "".join(f"{line}\n" for line in own) for section, own in given.items())


def converted(tool: str, text: str, here: Here = HERE) -> str:
    found: OldConfiguration = READERS[tool](text.encode(), "/home/joe/rc", here=here)
    return render(tool, [found], secrets={})


def checked(text: str, directory: Path) -> Settings:
    path = directory / "fetchd.yaml"
    path.write_text(text)
    path.chmod(0o600)
    found = examine(path, environ={"HOME": "/home/joe"})
    assert found.problems == ()
    assert found.settings is not None
    return found.settings


@pytest.mark.parametrize(("tool", "name", "text"), SAMPLES, ids=[f"{tool}: {name}" for tool, name, _ in SAMPLES])
def test_every_sample_passes_fetchd_check_as_it_is_and_tells_no_password(
    tool: str, name: str, text: str, tmp_path: Path
) -> None:
    made = converted(tool, text)
    assert "hunter" not in made
    if name == "imap":
        assert "and fetchd speaks POP3" in made
        return
    assert checked(made, tmp_path).accounts
    without = Here("joe", is_root=True, home=lambda _: None)  # nobody is known: no owner that check would refuse
    checked(converted(tool, text, without), tmp_path)


def test_what_fetchd_has_comes_through_the_yaml(tmp_path: Path) -> None:
    samples = {f"{tool}: {name}": (tool, text) for tool, name, text in SAMPLES}
    joe = checked(converted(*samples["fetchmail: documented"]), tmp_path).accounts["joe@example.net"]
    assert (joe.host, joe.port, joe.interval, joe.timeout) == ("10.0.0.5", 995, 600, 60)
    assert (joe.policy.delete_after, joe.policy.max_size, joe.policy.max_messages) == (None, 20_000_000, 50)
    token = checked(converted(*samples["getmail: a token"]), tmp_path).accounts["joe@example.org"]
    assert (token.mechanism, token.password) == ("XOAUTH2", SecretCommand(("/usr/local/bin/token", "it's")))
    aged = checked(converted(*samples["getmail: documented"]), tmp_path).accounts["joe@example.net"]
    assert aged.policy.delete_after == 14 * 86_400
    pinned = checked(converted(*samples["mpop: certificates"]), tmp_path).accounts["c"]
    assert (pinned.tls.fingerprint or b"").hex().startswith("00112233")


def test_what_root_delivers_for_others_has_an_owner() -> None:
    assert "{maildir: /home/joe/Maildir, owner: joe}" in converted(
        "fetchmail", "poll h.example proto pop3 user a pass b is joe here ssl", ROOT
    )


def test_what_is_skipped_is_a_comment_that_can_be_used(tmp_path: Path) -> None:
    rc = "poll i.example proto pop3 user joe pass hunter ssl skip h.example proto pop3 user joe pass hunter ssl"
    made = converted("fetchmail", rc)
    assert list(checked(made, tmp_path).accounts) == ["joe@i.example"]
    lines = made.splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip() == "# joe@h.example:")
    used = [*lines[:at], *(line.replace("# ", "", 1) for line in lines[at:])]
    assert list(checked("\n".join(used), tmp_path).accounts) == ["joe@i.example", "joe@h.example"]


def test_names_are_valid_and_nobody_elses(tmp_path: Path) -> None:
    text = "".join(f'poll h.example proto pop3 port {port} user "{user}" pass b ssl\n' for port, user in ODD)
    names = list(checked(converted("fetchmail", text), tmp_path).accounts)
    assert names == ["a@h.example", "a@h.example-2", "x-y@h.example", "account", "a" * 64, "a" * 62 + "-2"]


ODD = [(1, "a"), (2, "a"), (3, "x/y"), (4, "@@@"), (5, "a" * 80), (6, "a" * 80)]


@pytest.mark.parametrize("end", ["\r", "\x85", "\u2028", "\u2029"])
def test_no_word_of_the_old_file_ends_a_comment(end: str, tmp_path: Path) -> None:
    """Each is a line's end in YAML 1.1."""
    made = converted("getmail", f"{getmailrc([])}\n[filter{end}metrics: {{listen: 0.0.0.0:1}}]\n")
    assert "filter?metrics" in made
    assert len(checked(made, tmp_path).accounts) == 1


def test_two_files_share_no_name() -> None:
    one = from_mpoprc(b"account a\nhost h\nuser u", "one", here=HERE)
    found = accounts.apart([one, from_mpoprc(b"account a\nhost i\nuser u", "two", here=HERE)])
    assert [account.name for each in found for account in each.accounts] == ["a", "a-2"]


@given(
    st.one_of(
        st.tuples(st.just("fetchmail"), st.lists(test_fetchmail.WORDS, min_size=3).map(" ".join)),
        st.tuples(st.just("fetchmail"), st.lists(OPTIONS["fetchmail"]).map(" ".join).map(FETCHMAILRC.__add__)),
        st.tuples(st.just("mpop"), st.lists(OPTIONS["mpop"]).map("\n".join).map(MPOPRC.__add__)),
        st.tuples(st.just("getmail"), st.lists(OPTIONS["getmail"], unique=True).map(getmailrc)),
    )
)
def test_whatever_can_be_read_passes_fetchd_check(made: tuple[str, str]) -> None:
    tool, text = made
    try:
        found = READERS[tool](text.encode(), "/home/joe/rc", here=HERE)
    except ConfigError:
        return
    if any(not account.unused for account in found.accounts):
        with tempfile.TemporaryDirectory() as directory:
            checked(render(tool, [found], secrets={}), Path(directory))


@given(st.text())
def test_a_scalar_is_read_as_the_text_that_it_was(text: str) -> None:
    assert yaml.safe_load(f"[{scalar(text)}]") == [text]


@pytest.mark.parametrize(
    "text", ["no", "Null", "1", "1e3", "~", "-", "<<", "a: b", "#", "é", "\x85", "\ufeff", "😀", "2026-01-01"]
)
def test_a_scalar_that_looks_like_something_else_is_a_text(text: str) -> None:
    assert yaml.safe_load(f"[{scalar(text)}]") == [text]


def test_numbers_have_units() -> None:
    assert [duration(seconds) for seconds in (1, 60, 90, 3600, 86_400)] == ["1s", "1m", "90s", "1h", "1d"]
    assert [size(octets) for octets in (1, 1000, 1024, 5_000_000)] == ["1", "1KB", "1024", "5MB"]
