"""fetchd.observe.hook: a command is ended by its deadline with all that it started, and its output is bounded."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from fetchd.observe.hook import OUTPUT_LIMIT, Ended, Hook

ENVIRON = {"PATH": os.environ["PATH"], "FETCHD_ACCOUNT": "alice"}


def run(*argv: str, seconds: float = 30.0) -> Ended:
    return Hook(argv, environ=ENVIRON).wait(seconds)


def test_what_it_prints_is_told_and_it_sees_its_environment_alone() -> None:
    assert run("sh", "-c", 'echo "$FETCHD_ACCOUNT"; echo "and $HOME" >&2') == Ended("", "alice\nand")


def test_a_failure_says_how() -> None:
    assert run("sh", "-c", "echo no; exit 3") == Ended("failed with exit code 3", "no")
    assert run("sh", "-c", "kill -TERM $$") == Ended("was ended by signal 15", "")


def test_it_is_given_no_input() -> None:
    assert run("cat") == Ended("", "")


def test_a_command_that_prints_without_end_is_neither_stopped_nor_kept() -> None:
    ended = run(sys.executable, "-c", "print('x' * 5_000_000)")
    assert ended == Ended("", "x" * OUTPUT_LIMIT)


def test_one_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    """A child that holds the output keeps nobody waiting either."""
    ended = run("sh", "-c", f"sleep 1000 & echo $! >{tmp_path}/pid; echo begun; wait", seconds=0.5)
    assert ended == Ended("did not end within 0.5 s", "begun")
    child = Path("/proc") / (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 20
    while child.exists() and "(zombie)" not in (child / "status").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert time.monotonic() < deadline


def test_it_can_be_ended_from_another_thread() -> None:
    hook = Hook(["sleep", "1000"], environ=ENVIRON)
    threading.Timer(0.05, hook.kill).start()
    assert hook.wait(60) == Ended("was ended by signal 9", "")
    hook.kill()


def test_one_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        Hook(["/nonexistent/command"], environ=ENVIRON)
