"""``fetchd init`` on a real terminal: what is asked, what is shown of a password, and how Ctrl-C leaves it."""

import signal
import subprocess
from pathlib import Path

import pytest

from fetchd.config import load
from fetchd.model import MboxTarget, TlsMode
from tests.e2e.running import command, environment
from tests.servers.terminal import TerminalProgram


def start(home: Path, *options: str) -> TerminalProgram:
    return TerminalProgram(
        command("init", str(home / "fetchd.yaml"), "--offline", *options), env=environment(home), cwd=home
    )


def files(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def test_the_whole_interview(tmp_path: Path) -> None:
    """A wrong answer is explained and asked for again; a password is not shown; a check is offered."""
    (tmp_path / "box").write_text("")
    with start(tmp_path) as terminal:
        terminal.answer("E-mail address: ", "alice")
        terminal.expect("an e-mail address is expected")
        terminal.answer("E-mail address: ", "Alice@bücher.example")
        terminal.answer("POP3 server [pop.xn--bcher-kva.example]: ", "pop3s://x")
        terminal.expect("a host is expected, not a URL")
        terminal.answer("POP3 server [", "127.0.0.1")
        terminal.answer("Port [995]: ", "0")
        terminal.answer("Port [995]: ", "1")
        terminal.answer("User name [Alice@bücher.example]: ", "")
        terminal.expect("(not shown): ")
        assert not terminal.echoes
        terminal.type("")
        terminal.expect("the password is empty")
        terminal.expect("(not shown): ")
        assert not terminal.echoes
        terminal.type("hunter2 ü")
        terminal.answer("Deliver into [~/Maildir]: ", "box")
        terminal.expect("box")
        terminal.answer("Leave the mail on the server? [Y/n]: ", "maybe")
        terminal.expect("  y or n is expected")
        terminal.answer("Leave the mail on the server? [Y/n]: ", "n")
        terminal.answer("Ask for new mail every [5m]: ", "5")
        terminal.expect("5 has no unit")
        terminal.answer("Ask for new mail every [5m]: ", "10m")
        terminal.answer("Try it now?", "n")
        assert terminal.end() == 0
        assert terminal.echoes
        assert "hunter2" not in terminal.text
        assert f"fetchd -c {tmp_path}/fetchd.yaml check --connect -a alice-xn--bcher-kva" in terminal.text
    (account,) = load(tmp_path / "fetchd.yaml", environ={"HOME": str(tmp_path)}).accounts.values()
    assert (account.host, account.port, account.tls.mode) == ("127.0.0.1", 1, TlsMode.IMPLICIT)
    assert (account.user, account.interval, account.policy.delete_after) == ("Alice@bücher.example", 600, 0)
    assert account.target == MboxTarget(tmp_path / "box")
    assert (tmp_path / "secrets" / "alice-xn--bcher-kva").read_bytes() == "hunter2 ü\n".encode()


@pytest.mark.parametrize("stream", [0, 1])
def test_without_a_standard_stream_nobody_is_asked(stream: int, tmp_path: Path) -> None:
    """As cron and some supervisors start programs."""
    shell = f'exec "$@" {stream}>&-'
    options = ("--offline", "--address", "a@example.org", "--host", "pop.example.org", "--yes")
    ended = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", *command("init", "fetchd.yaml", *options)],
        env=environment(tmp_path),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "nobody can be asked here, and this is missing:" in ended.stderr


QUESTIONS = [
    "E-mail address: ",
    "User name [alice@example.org]: ",
    "(not shown): ",
    "Deliver into [~/Maildir]: ",
    "Leave the mail on the server? [Y/n]: ",
    "Ask for new mail every [5m]: ",
]


@pytest.mark.parametrize("last", QUESTIONS)
def test_ctrl_c_at_any_question_leaves_nothing_and_a_terminal_that_shows_what_is_typed(
    last: str, tmp_path: Path
) -> None:
    answers = dict(zip(QUESTIONS, ("alice@example.org", "", "hunter2", "", "", ""), strict=True))
    before = files(tmp_path)
    with start(tmp_path, "--host", "pop.example.org") as terminal:
        for question, answer in answers.items():
            terminal.expect(question)
            if question == last:
                break
            terminal.type(answer)
        terminal.interrupt()
        assert terminal.end() == 130
        assert terminal.echoes
        assert "Stopped: nothing was written." in terminal.text
        assert "Traceback" not in terminal.text
    assert files(tmp_path) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_at_the_password_gives_the_echo_back(number: signal.Signals, code: int, tmp_path: Path) -> None:
    with start(tmp_path, "--address", "a@example.org", "--host", "pop.example.org", "--user", "a") as terminal:
        terminal.expect("(not shown): ")
        assert not terminal.echoes
        terminal.signal(number)
        assert terminal.end() == code
        assert terminal.echoes
    assert files(tmp_path) == []


def test_ctrl_d_is_a_stop_too(tmp_path: Path) -> None:
    with start(tmp_path) as terminal:
        terminal.expect("E-mail address: ")
        terminal.end_of_input()
        assert terminal.end() == 130
    assert files(tmp_path) == []


def test_yes_asks_only_what_nobody_can_guess(tmp_path: Path) -> None:
    for box in ("cur", "new", "tmp"):
        (tmp_path / ".maildir" / box).mkdir(parents=True)
    options = ("--yes", "--host", "127.0.0.1", "--port", "1", "--password-env", "X")
    with start(tmp_path, *options) as terminal:
        terminal.answer("E-mail address: ", "alice@example.org")
        terminal.expect("~/.maildir is there already")
        terminal.end()
    (account,) = load(tmp_path / "fetchd.yaml", environ={"HOME": str(tmp_path)}).accounts.values()
    assert account.target.path == tmp_path / ".maildir"


def test_yes_is_no_yes_to_a_line_in_the_clear(tmp_path: Path) -> None:
    options = ("--yes", "--host", "pop.example.org", "--tls", "none", "--password-env", "X")
    with start(tmp_path, *options) as terminal:
        terminal.answer("E-mail address: ", "alice@example.org")
        terminal.expect("add --allow-plaintext-password")
        assert terminal.end() == 2
    assert files(tmp_path) == []


def test_a_file_that_exists_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "fetchd.yaml").write_text("mine")
    with start(tmp_path) as terminal:
        assert terminal.end() == 2
        assert "E-mail" not in terminal.text
    assert (tmp_path / "fetchd.yaml").read_text() == "mine"


def test_a_terminal_is_not_read_for_a_password_that_it_would_show(tmp_path: Path) -> None:
    options = ("--yes", "--address", "a@example.org", "--host", "pop.example.org", "--password-stdin")
    with start(tmp_path, *options) as terminal:
        terminal.expect("--password-stdin: a terminal would show it")
        assert terminal.end() == 2
    assert files(tmp_path) == []
