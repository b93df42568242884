"""fetchd.command: a command is ended by its deadline with all that it started, and its output is bounded."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from fetchd.command import Command, Ended, Excess, Stderr

ENVIRON = {"PATH": os.environ["PATH"], "FETCHD_ACCOUNT": "alice"}
LIMIT = 2048


def run(*argv: str, seconds: float = 30.0, excess: Excess = Excess.DROP, stderr: Stderr = Stderr.WITH_OUTPUT) -> Ended:
    return Command(argv, environ=ENVIRON, stderr=stderr).wait(seconds, limit=LIMIT, excess=excess)


def test_what_it_prints_is_told_and_it_sees_its_environment_alone() -> None:
    assert run("sh", "-c", 'echo "$FETCHD_ACCOUNT"; echo "and $HOME" >&2') == Ended("", 0, b"alice\nand \n")


def test_what_it_says_on_standard_error_is_dropped_where_that_may_be_a_secret(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run("sh", "-c", "echo a; echo b >&2", stderr=Stderr.DROPPED) == Ended("", 0, b"a\n")
    assert capfd.readouterr() == ("", "")


def test_a_failure_says_how() -> None:
    assert run("sh", "-c", "echo no; exit 3") == Ended("failed with exit code 3", 3, b"no\n")
    assert run("sh", "-c", "kill -TERM $$") == Ended("was ended by signal 15", -15, b"")


def test_it_is_given_no_input() -> None:
    assert run("cat") == Ended("", 0, b"")


def test_no_repr_shows_what_it_printed() -> None:
    assert "hunter2" not in repr(run("echo", "hunter2"))


def test_a_command_that_prints_without_end_is_neither_stopped_nor_kept() -> None:
    assert run(sys.executable, "-c", "print('x' * 5_000_000)") == Ended("", 0, b"x" * LIMIT)


def test_more_than_the_limit_is_refused_where_a_part_is_of_no_use() -> None:
    """It would print for ever."""
    assert run("yes", excess=Excess.REFUSE) == Ended("printed more than 2 KiB", None, b"y\n" * (LIMIT // 2))


def test_as_much_as_the_limit_is_not_too_much() -> None:
    octets = b"x" * LIMIT
    assert run("printf", octets.decode(), excess=Excess.REFUSE) == Ended("", 0, octets)


def test_one_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    """A child that holds the output keeps nobody waiting either."""
    ended = run("sh", "-c", f"sleep 1000 & echo $! >{tmp_path}/pid; echo begun; wait", seconds=0.5)
    assert ended == Ended("did not end within 0.5 s", None, b"begun\n")
    child = Path("/proc") / (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 20
    while child.exists() and "(zombie)" not in (child / "status").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert time.monotonic() < deadline


def test_it_can_be_ended_from_another_thread() -> None:
    command = Command(["sleep", "1000"], environ=ENVIRON, stderr=Stderr.DROPPED)
    threading.Timer(0.05, command.kill).start()
    assert command.wait(60, limit=LIMIT, excess=Excess.DROP) == Ended("was ended by signal 9", -9, b"")
    command.kill()


def test_one_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        run("/nonexistent/command")


def test_a_word_with_a_nul_is_an_error() -> None:
    with pytest.raises(ValueError, match="null byte"):
        run("echo", "a\0b")
