"""The fault at the n-th state call, from the outside: what is asked of ``shim.c``, and what it reports."""

import errno
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pytest

FaultKind = Literal["kill", "torn", "term", "EIO", "ENOSPC", "EDQUOT", "full", "dying", "dying at a flush"]
"""SIGKILL before the call; half of a write, then SIGKILL; SIGTERM; an error in place of the call; ENOSPC from that call
on, wherever space is taken; EIO from that call on, wherever something is written or flushed; the same, where only calls
of fdatasync(2) are counted: those of the store, which come in the same order each time."""

KINDS: Final[tuple[FaultKind, ...]] = ("kill", "torn", "term", "EIO", "ENOSPC", "EDQUOT", "full", "dying")
ERRORS: Final = frozenset({"EIO", "ENOSPC", "EDQUOT"})

_LETTER: Final = {"kill": "k", "torn": "t", "term": "s", "full": "f", "dying": "d", "dying at a flush": "c"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault at the state call of that number, counted from 1."""

    kind: FaultKind
    number: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.number}"


@dataclass(frozen=True, slots=True)
class Call:
    """A state call.

    Attributes:
        name: of the C function, without its variants.
        what: its path; ``SOURCE -> TARGET`` of two, ``-`` of a send.
        can_be_torn: whether it carries more than one octet, so that half of it can be done.
    """

    name: str
    what: str
    can_be_torn: bool

    @property
    def takes_space(self) -> bool:
        """Whether a full disk, or quota, makes it fail."""
        return self.name in ("open", "write", "pwrite", "writev", "mkdir", "rename", "link", "ftruncate")

    @property
    def flushes(self) -> bool:
        """Whether it returns when something is on disk."""
        return self.name in ("fsync", "fdatasync", "syncfs")


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did: its calls in order, and whether its fault fired."""

    calls: Sequence[Call]
    fired: bool

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Reads a report; that of a run without a state call is empty."""
        lines = path.read_text(errors="surrogateescape").splitlines() if path.exists() else []
        words = [line.split(" ", 4) for line in lines]
        calls = [Call(word[3], word[4], can_be_torn=word[2] == "t") for word in words if word[0] == "CALL"]
        return cls(calls, any(word[0] == "FIRED" for word in words))


def compile_shim(directory: Path) -> Path:
    """Returns the compiled shim; skips the test where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs gcc, to build the shim that injects the faults: apt-get install gcc libc6-dev")
    built = directory / "shim.so"
    source = Path(__file__).with_name("shim.c")
    command = [compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(built), str(source)]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return built


def order(
    fault: Fault | None, *, root: Path, report: Path, with_data: bool = False
) -> tuple[int, str, int, int, str, str]:
    """Returns what the shim is told: call number, kind, errno, whether to report octets, root, report."""
    if fault is None:
        return 0, ".", 0, int(with_data), str(root), str(report)
    names = {"full": "ENOSPC", "dying": "EIO", "dying at a flush": "EIO"}
    number = getattr(errno, names.get(fault.kind, fault.kind), 0)
    return fault.number, _LETTER.get(fault.kind, "e"), number, int(with_data), str(root), str(report)
