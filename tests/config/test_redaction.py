"""A password in the configuration comes out of nothing that we say, however the file is broken."""

import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchd.config.loader import Examined, examine, load
from fetchd.errors import ConfigError

MARKER = "xyzzyhunter2"
ENVIRON = {"HOME": "/h", "STATE_DIRECTORY": "/s", "MARKER": MARKER}

TEXT = f"""\
http: 127.0.0.1:9725
defaults:
  interval: 5m
  password: {MARKER}
accounts:
  alice:
    host: pop.gmx.net
    tls: implicit
    user: alice@gmx.net
    password: "{MARKER}"
    deliver: {{maildir: /home/alice/Maildir}}
  bob:
    host: pop.example.org
    password: '{MARKER}'
    user: bob
    deliver:
      mbox: /var/mail/bob
    leave_on_server: 14d
    proxy: socks5://bob:{MARKER}@proxy.example:1080
  carol:
    user: carol
    password:
      command: [echo, {MARKER}]
    host: pop.example.org
    deliver: {{mbox: /var/mail/carol}}
  dave: {{user: d, host: d.x, password: {MARKER}, deliver: {{mbox: m}}}}
  frank:
    user: frank
    host: f.x
    password: {{keyring: {{service: gmx, user: frank}}}}
    deliver: {{mbox: /var/mail/frank}}
    proxy: {{url: "http://frank@proxy.example:1080", password: {MARKER}}}
  eve: {{user: e, host: e.x, password: {{command: "echo {MARKER}"}}, deliver: {{mbox: m}}}}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all the examples of a property."""
    made = tmp_path_factory.mktemp("redaction") / "f.yaml"
    made.touch(0o600)
    return made


def said(path: Path, text: str) -> str:
    """Returns everything that anyone could print of loading a text: lines, reprs, the error with its whole chain."""
    path.write_text(text, encoding="utf-8")
    found = examine(path, environ=ENVIRON)
    printed = [*found.problems, *found.warnings, repr(without_commands(found))]
    try:
        load(path, environ=ENVIRON)
    except ConfigError as error:
        printed += traceback.format_exception(error)
        link: BaseException | None = error
        while link is not None:
            printed.append(f"{link!r} {link.args!r} {vars(link)!r}")
            link = link.__cause__ or link.__context__
    return "\n".join(printed)


def without_commands(found: Examined) -> Examined:
    """A command's words are shown in its repr: they stand in `ps` anyway."""
    return found if found.settings is None else Examined(None, found.problems, found.settings.warnings)


def test_the_whole_file_loads_so_that_breaking_it_means_something(path: Path) -> None:
    path.write_text(TEXT)
    assert set(load(path, environ=ENVIRON).accounts) == {"alice", "bob", "carol", "dave", "eve", "frank"}
    assert MARKER not in said(path, TEXT)


def test_settings_show_no_plain_password(path: Path) -> None:
    path.write_text(TEXT.partition("  carol:")[0])
    loaded = load(path, environ=ENVIRON)
    assert MARKER not in f"{loaded!r} {loaded}"
    assert loaded.accounts["alice"].password.value.reveal() == MARKER.encode()


BREAKS = [
    ("password", "pasword"),
    ("password", "passwordd"),
    ("password: ", "password:"),
    ("password: ", "password="),
    (", password: ", ", password "),
    (", password: ", ", passwo "),
    (", password: ", ", password"),
    (", password: ", ", passwor"),
    (", password: ", " password "),
    ("{command: ", "{command"),
    (", password: ", ", password:"),
    ("{command: ", "{command:"),
    ("{command: ", "{command "),
    ("password: ", "password "),
    ("password: ", "password: *"),
    ("password: ", "password: &"),
    ("password: ", "password: !"),
    ("password: ", "password: !!"),
    ("password: ", "password: @"),
    ("password: ", "password: |"),
    ("password: ", "password: >"),
    ("password: ", "password: %"),
    ("password: ", "password: {"),
    ("password: ", "password: ["),
    ("password: ", "password: - "),
    ("password: ", "password: ? "),
    ("password: ", "password: file: "),
    ("password: ", "password: \n      "),
    ("password: ", "password:\n      - "),
    ("password: ", "password:\n      file: \0"),
    ("password: ", "  password: "),
    ("  password: ", "password: "),
    ("    password: ", "\tpassword: "),
    ("password: ", "password: \t"),
    ("proxy: ", "proxi: "),
    ("proxy: ", "proxy:"),
    ("proxy: ", "proxy "),
    ("proxy: socks5", "proxy: ftp"),
    ("proxy: {url: ", "proxy: {"),
    ('1080", password: ', '1080", '),
    ('"http://frank@proxy.example:1080", ', ""),
    ("url: ", "urll: "),
    ("{keyring: {service: ", "{keyring: {"),
    ("{keyring: {", "{keyring: [{"),
    ("proxy: socks5://", "proxy: "),
    (":1080", ":port"),
    (":1080", ":99999"),
    (":1080", ""),
    (":1080", ":1080/path"),
    ("@proxy", "@[proxy"),
    ("bob:", ":"),
    ("proxy: socks5://", "proxy: {socks5: "),
    ("proxy: socks5://", "host: pop3://"),
    ("    password: '", "    host: 'bob:"),
    ("host: pop.example.org\n    password: '", "host: 'pop3://bob:"),
    ("http: 127.0.0.1", f"http: u:{MARKER}@127.0.0.1"),
    ("http: 127.0.0.1:9725", f"http: u:{MARKER}@"),
    ("host: pop.gmx.net", f"host: u:{MARKER}@pop.gmx.net"),
    ("host: pop.gmx.net", f"host: pop3://u:{MARKER}@pop.gmx.net/"),
    ("password:", "user:"),
    ("password:", "deliver:"),
    ("password:", "interval:\n    timeout: 5\n    pw:"),
    (MARKER, MARKER + ": x"),
    (MARKER, MARKER + ": "),
    (MARKER, "{" + MARKER + "}"),
    (MARKER, "{" + MARKER + ": {" + MARKER + ": x}}"),
    (MARKER, "{file: [" + MARKER + "]}"),
    (MARKER, "{env: $" + MARKER + "}"),
    (MARKER, "{env: '" + MARKER + "!'}"),
    (MARKER, "{credential: " + MARKER + "/x}"),
    (MARKER, "{command: '" + MARKER + '"' + "'}"),
    (MARKER, "{command: [1, " + MARKER + "]}"),
    (MARKER, "{file: $" + MARKER + "}"),
    (MARKER, "{file: ~" + MARKER + "}"),
    (MARKER, "[" + MARKER + "]"),
    (MARKER, MARKER + "\\0"),
    (MARKER, MARKER + "\\q"),
    (MARKER, MARKER + "\\ud800"),
    (MARKER, MARKER + "\x07"),
    (MARKER, MARKER + '"'),
    (MARKER, MARKER + "'"),
    (MARKER, MARKER + "}"),
    (MARKER, MARKER + " #"),
    (MARKER, MARKER + "\n" + MARKER),
    (MARKER, MARKER + "\n      " + MARKER),
    (MARKER, "0123456789" + MARKER),
    (MARKER + '"', MARKER),
    ('"' + MARKER, MARKER),
]


@pytest.mark.parametrize(("old", "new"), BREAKS)
def test_no_typical_break_brings_it_out(old: str, new: str, path: Path) -> None:
    assert old in TEXT
    assert MARKER not in said(path, TEXT.replace(old, new))
    assert MARKER not in said(path, TEXT.replace(old, new, 1))


@settings(deadline=None, max_examples=400)
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(TEXT)),
            st.integers(0, 3),
            st.text(alphabet=" \n\t:-[]{},&*!|>'\"%@`#ab01~?\\é\x07\u2028", max_size=3),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_no_slip_of_the_finger_brings_it_out(edits: list[tuple[int, int, str]], path: Path) -> None:
    text = TEXT
    for at, length, new in edits:
        text = text[:at] + new + text[at + length :]
    assert MARKER not in said(path, text)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_moved_lost_or_reindented_line_brings_it_out(data: st.DataObject, path: Path) -> None:
    lines = TEXT.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "indent", "move"])):
            case "drop" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "indent":
                lines[at] = " " * data.draw(st.integers(0, 8)) + lines[at].strip()
            case _:
                lines.insert(data.draw(st.integers(0, len(lines) - 1)), lines.pop(at))
    assert MARKER not in said(path, "\n".join(lines) + "\n")


def test_octets_that_are_not_utf_8_bring_nothing_out(path: Path) -> None:
    path.write_bytes(TEXT.encode() + b"\xff")
    with pytest.raises(ConfigError) as refused:
        load(path, environ=ENVIRON)
    assert MARKER not in "".join(traceback.format_exception(refused.value))
    assert refused.value.__context__ is None


def test_a_file_that_we_may_not_read_brings_nothing_out(path: Path) -> None:
    path.write_text(TEXT)
    path.chmod(0)
    try:
        if os.access(path, os.R_OK):
            assert MARKER not in repr(examine(path, environ=ENVIRON).problems)
        else:
            assert examine(path, environ=ENVIRON).problems == (f"{path}: Permission denied",)
    finally:
        path.chmod(0o600)
