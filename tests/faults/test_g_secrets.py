"""FAULTS §2 G: passwords that cannot be had (115)."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fetchd.config import SecretReader
from fetchd.errors import Retry, SecretError
from fetchd.model import SecretCommand, SecretFile, SecretSource
from tests.faults.bench import PASSWORD, Bench
from tests.faults.bounds import MB, bounded_resident


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "not a regular file"),
        (Path.mkdir, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (loop, "[Tt]oo many levels of symbolic links"),
        (lambda path: None, "No such file or directory"),
        (Path.touch, "is empty"),
        (lambda path: path.write_bytes(b"x" * MB), "larger than 64 KiB"),
    ],
    ids=["FIFO", "directory", "device", "loop", "missing", "empty", "large"],
)
def test_a_password_file_that_is_none(bench: Bench, make: Callable[[Path], object], says: str) -> None:
    """FAULTS 115: nobody is called, and nobody waits for a FIFO's other end; when it is put right, mail comes."""
    path = bench.root / "password"
    make(path)
    bench.fill(1)
    fails_and_heals(bench, SecretFile(path), rf"password file .*/password:? {says}")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (SecretCommand(("sleep", "600")), r"did not end within 0\.3 s"),
        (SecretCommand(("sh", "-c", "sleep 600 & sleep 600")), r"did not end within 0\.3 s"),
        (SecretCommand(("sh", "-c", "exec head -c 1000000000 /dev/zero")), "printed more than 64 KiB"),
        (SecretCommand(("sh", "-c", "echo m4rk3d-p4ssw0rd >&2; exit 3")), "failed with exit code 3"),
        (SecretCommand(("sh", "-c", "kill -9 $$")), "was ended by signal 9"),
        (SecretCommand(("/nonexistent/pass",)), "cannot be run: No such file or directory"),
        (SecretCommand(("true",)), "is empty"),
    ],
    ids=["hangs", "children hang", "1 GB", "fails", "killed", "missing", "silent"],
)
def test_a_password_command_that_fails(bench: Bench, command: SecretCommand, says: str) -> None:
    """FAULTS 115: it is ended, by its deadline or at 64 KiB; what it says on standard error is told to nobody."""
    bench.world = replace(bench.world, secrets=SecretReader({"PATH": os.environ["PATH"]}, timeout=0.3))
    bench.fill(1)
    with bounded_resident(16 * MB):
        fails_and_heals(bench, command, f'password command "[a-z]+" {says}')


def fails_and_heals(bench: Bench, source: SecretSource, says: str) -> None:
    """Polls in vain, twice, and then with the right password."""
    for _ in range(2):
        bench.fails(SecretError, says, retry=Retry.LATER, told=False, password=source)
    assert bench.server.sessions == []
    (bench.root / "right").write_bytes(PASSWORD + b"\n")
    bench.heals(1, password=SecretFile(bench.root / "right"))
