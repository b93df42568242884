"""``fetchd completion``: the shells there are, each with our script in it, at a terminal."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CONFIG = """\
accounts:
  alice@gmx.net: {host: pop.gmx.net}
  alice@work: {host: pop.example.org, a mistake: 1}
  bob: {host: pop.example.net}
"""
NAMES = ["alice@gmx.net", "alice@work", "bob"]
PATIENCE = 60.0

bash, zsh, fish = (
    pytest.mark.skipif(shutil.which(name) is None, reason=f"needs {name}") for name in ("bash", "zsh", "fish")
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Returns an environment in which there is a fetchd, and a configuration for it."""
    program = tmp_path / "bin/fetchd"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fetchd "$@"\n')
    program.chmod(0o755)
    config = tmp_path / "fetchd.yaml"
    config.write_text(CONFIG)
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(tmp_path), "FETCHD_CONFIG": str(config), "LANG": "C.UTF-8", "TERM": "dumb"}


def fetchd(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["fetchd", *arguments], env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def completed(environ: dict[str, str], line: str) -> list[str]:
    """Returns what is proposed where a line ends, as our script for bash asks for it."""
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_FETCHD_COMPLETE": "bash_complete"}
    told = fetchd(environ | asked)
    assert (told.returncode, told.stderr) == (0, "")
    return [answer.removeprefix("plain,") for answer in told.stdout.splitlines() if answer]


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        ("fetchd poll ", NAMES),
        ("fetchd poll alice@", NAMES[:2]),
        ("fetchd poll bob ", NAMES[:2]),
        ("fetchd --once -a ", NAMES),
        ("fetchd --once -a bob -a ", NAMES[:2]),
        ("fetchd login b", ["bob"]),
        ("fetchd completion ", ["bash", "zsh", "fish"]),
        ("fetchd st", ["status"]),
        ("fetchd --onc", ["--once"]),
    ],
)
def test_what_is_proposed(line: str, proposed: list[str], environ: dict[str, str]) -> None:
    """Accounts of a file with a mistake in it, too: it may be the one that somebody looks into."""
    assert completed(environ, line) == proposed


@pytest.mark.parametrize("text", ["accounts: [", "accounts: 5\n", "", "\0", "accounts: {$HOME: {}, '*': {}}\n"])
def test_a_configuration_that_cannot_be_read_proposes_nothing_and_says_nothing(
    text: str, environ: dict[str, str]
) -> None:
    Path(environ["FETCHD_CONFIG"]).write_text(text)
    assert completed(environ, "fetchd poll ") == []


def test_a_configuration_that_is_not_there_proposes_nothing_and_says_nothing(environ: dict[str, str]) -> None:
    assert completed(environ, "fetchd -c /nonexistent poll ") == []
    assert completed(environ | {"FETCHD_CONFIG": "/nonexistent"}, "fetchd poll ") == []


def test_another_configuration_is_looked_into_where_it_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("accounts: {carol: {}}\n")
    assert completed(environ, f"fetchd -c {tmp_path}/other.yaml poll ") == ["carol"]


def test_nonsense_from_a_shell_is_no_traceback(environ: dict[str, str]) -> None:
    for asked in ("bash_complete", "tcsh_complete", "", "bash_"):
        told = fetchd(environ | {"_FETCHD_COMPLETE": asked})
        assert (told.returncode, told.stdout, told.stderr) == (1, "", "")


# ── in a shell ───────────────────────────────────────────────────────────────────────────────────────────────────


class Shell:
    """A shell at a terminal."""

    def __init__(self, argv: list[str], environ: dict[str, str]) -> None:
        self._terminal, inner = pty.openpty()
        self.process = subprocess.Popen(
            argv, stdin=inner, stdout=inner, stderr=inner, env=environ, start_new_session=True
        )
        os.close(inner)
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, text: bytes) -> None:
        """Reads until the terminal shows a text that it has not shown before."""
        begin, deadline = len(self.seen), time.monotonic() + PATIENCE
        while text not in self.seen[begin:]:
            assert select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))[0], self.seen
            self.seen += os.read(self._terminal, 65536)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)


@contextmanager
def shell(argv: list[str], environ: dict[str, str], *lines: str) -> Iterator[Shell]:
    """A shell that has run these lines."""
    opened = Shell(argv, environ)
    try:
        for line in lines:
            opened.type(f"{line}\n")
        opened.type("echo is-$((40 + 2))-ready\n")
        opened.wait_for(b"is-42-ready")
        yield opened
    finally:
        opened.end()


@bash
def test_bash_completes_a_name_with_an_at_sign_in_it(environ: dict[str, str]) -> None:
    """By its own habits it would take that for the end of a word."""
    with shell(["bash", "--norc", "--noprofile", "-i"], environ, 'eval "$(fetchd completion bash)"') as opened:
        opened.type("fetchd poll alice@g\t")
        opened.wait_for(b"alice@gmx.net ")
        opened.type("b\t")
        opened.wait_for(b"bob")
    assert b"Traceback" not in opened.seen


@zsh
def test_zsh_completes_names(environ: dict[str, str]) -> None:
    lines = ["autoload -U compinit && compinit -u -D", 'eval "$(fetchd completion zsh)"']
    with shell(["zsh", "-f", "-i"], environ | {"TERM": "xterm"}, *lines) as opened:
        opened.type("fetchd poll alice@g\t")
        opened.wait_for(b"mx.net")
    assert b"Traceback" not in opened.seen


@fish
def test_fish_completes_names(environ: dict[str, str]) -> None:
    script = "fetchd completion fish | source; complete -C 'fetchd poll alice@'"
    told = subprocess.run(
        ["fish", "--no-config", "-c", script], env=environ, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert (sorted(told.stdout.split()), told.stderr) == (NAMES[:2], "")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_scripts_are_what_click_prints_itself(name: str, environ: dict[str, str]) -> None:
    """Ours and nothing before it: whoever evaluates it in a start-up file would see every word more."""
    script = fetchd(environ, "completion", name)
    assert (script.returncode, script.stderr) == (0, "")
    own = fetchd(environ | {"_FETCHD_COMPLETE": f"{name}_source"})
    assert own.stdout.strip() in script.stdout
