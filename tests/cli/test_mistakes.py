"""Issue 7: each typical mistake gives one line that helps, with its place, and exit code 78, from ``fetchd check``."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd import cli
from tests.config.mistakes import MISTAKES, SECRET, good

ENVIRON = {"HOME": "/home/fetchd", "STATE_DIRECTORY": "/var/lib/fetchd", "PATH": "/usr/bin:/bin", "ALICE": "x"}

Check = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs ``fetchd check`` on a text in f.yaml, where we are; returns its exit code, its output and its errors."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)

    def check(text: str, mode: int = 0o600) -> tuple[int, str, list[str]]:
        path = Path("f.yaml")
        path.write_text(text)
        path.chmod(mode)
        code = cli.invoke(["-c", "f.yaml", "check"])
        told = capsys.readouterr()
        return code, told.out, told.err.splitlines()

    return check


@pytest.mark.parametrize(("text", "lines"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_typical_mistake_is_told_with_its_place_and_exit_code_78(text: str, lines: list[str], check: Check) -> None:
    assert check(text) == (78, "", [f"f.yaml:{line}" for line in lines])


def test_there_are_twenty_of_them_and_more() -> None:
    """Those that issue 7 names are among them, but for the ones below, which are about the machine."""
    one_line = {name for name, _, lines in MISTAKES if len(lines) == 1}
    assert len(one_line) >= 20
    named = {
        *("a tab", "a line too deep", "keys beside their account", "a misspelt key", "an account twice", "a key twice"),
        *("no unit", "no duration", "implicit TLS on 110", "STARTTLS on 995", "tls: ssl", "ssl", "a port in the host"),
        *("two targets", "no host", "a password in braces", "a lost colon", "user: no", "a URL"),
    }
    assert named <= one_line


MISSING = "No such file or directory: put the password into it, and nothing else"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (good(SECRET, "{file: gmx}"), f"5: accounts.alice.password.file: HERE/gmx: {MISSING}"),
        (good(SECRET, "{file: /}"), "5: accounts.alice.password.file: /: not a regular file"),
        (good(SECRET, "{command: no-such-command}"), "5: accounts.alice.password.command: there is no such command"),
        (
            good(after="tls: {ca_file: ca.pem}"),
            "7: accounts.alice.tls.ca_file: HERE/ca.pem: No such file or directory",
        ),
        (
            good("Maildir}", "Maildir, owner: nobody-of-that-name}"),
            '6: accounts.alice.deliver.owner: there is no user "nobody-of-that-name" on this machine',
        ),
    ],
    ids=["a missing secret file", "a directory", "a missing command", "a missing authority", "an unknown owner"],
)
def test_what_is_missing_on_the_machine_is_a_mistake_too(text: str, said: str, check: Check, tmp_path: Path) -> None:
    code, out, errors = check(text)
    assert (code, out, errors) == (78, "", [f"f.yaml:{said.replace('HERE', str(tmp_path))}"])


def test_a_plain_password_that_others_can_read_is_a_mistake_with_its_fix(check: Check) -> None:
    at = "f.yaml:5: accounts.alice.password"
    said = "a password stands here in plain text and others can read it (mode 0644)"
    code, _, errors = check(good(SECRET, "hunter2"), mode=0o644)
    assert (code, errors) == (78, [f"{at}: {said}: chmod 600 f.yaml, or write password: {{file: …}}"])


def test_a_file_that_is_not_there_is_exit_code_78(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["-c", "none.yaml", "check"]) == 78
    assert capsys.readouterr().err == "none.yaml: No such file or directory\n"
