"""A warm Python that forks a fetchd for each request: a fresh process, without the price of its imports.

The child sets the arguments and calls :func:`fetchd.cli.main`, as ``python -m fetchd`` does. What it may be given
besides are smaller batches (through the composition root) and a mutation (:mod:`tests.crash.mutants`).

``python -m tests.crash.zygote SHIM`` reads requests from standard input and answers each with an exit status, a line of
JSON each.
"""

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from tests.crash.mutants import mutate
from tests.crash.shim import Fault, order

_LONGEST_RUN: Final = 60
"""Seconds after which a run is ended by SIGALRM: it hangs."""


@dataclass(frozen=True, slots=True)
class Request:
    """One run of fetchd.

    Attributes:
        arguments: of the command line.
        home: $HOME and the working directory.
        output: the file that takes standard output and error.
        shim: what :func:`tests.crash.shim.order` returns.
        batch: messages in a batch; 0 leaves fetchd's own limits.
        mutant: the name of a mutation, or "".
        one_inode: whether an mbox has the same inode number, always: fetchd knows its file by that, and a disk that a
            model of a power cut put together anew would have another.
    """

    arguments: Sequence[str]
    home: str
    output: str
    shim: Sequence[int | str]
    batch: int = 0
    mutant: str = ""
    one_inode: bool = False


# ── as the tests see it ──────────────────────────────────────────────────────────────────────────────────────────


class Zygote:
    """The forking process; one run at a time. A context manager."""

    def __init__(self, shim: Path) -> None:
        environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote", str(shim)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=environment,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.wait(timeout=_LONGEST_RUN)
            self._process.stdout.close()

    def run(self, request: Request) -> int:
        """Runs fetchd; returns its exit code, or the number of the signal that ended it, negative."""
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("pipes were asked for")
        self._process.stdin.write(json.dumps(asdict(request)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def request(
    config: Path,
    *,
    root: Path,
    output: Path,
    report: Path,
    fault: Fault | None = None,
    batch: int = 0,
    mutant: str = "",
    with_data: bool = False,
    one_inode: bool = False,
) -> Request:
    """Returns the request for one ``fetchd --once``.

    Args:
        config: the configuration file.
        root: the directory under which calls are counted.
        output: the file that takes what is printed and logged.
        report: the file that takes the shim's report.
        fault: what is to happen; None for nothing.
        batch: messages in a batch.
        mutant: the name of a mutation.
        with_data: whether the report is to hold the octets written.
        one_inode: see :class:`Request`.
    """
    told = order(fault, root=root, report=report, with_data=with_data)
    return Request(["-c", str(config), "--once"], str(root), str(output), told, batch, mutant, one_inode)


# ── within its process ───────────────────────────────────────────────────────────────────────────────────────────


def serve(shim: Path) -> None:
    """Forks for each request; for ever."""
    import fetchd.app  # noqa: PLC0415 - only in this process: pytest's has another
    import fetchd.cli  # noqa: PLC0415
    import fetchd.observe.logs  # noqa: PLC0415 - fetchd loads it when it is needed, which is always

    library = ctypes.CDLL(str(shim))
    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        wanted = Request(**json.loads(line))
        child = os.fork()
        if child == 0:
            _be(wanted, shim=library, main=fetchd.cli.main)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _be(wanted: Request, *, shim: ctypes.CDLL, main: Callable[[], None]) -> NoReturn:
    """Is fetchd, up to its exit. Taking down the interpreter, which takes longer than most runs, is left out."""
    code: str | int | None = 1
    try:
        _become(wanted)
        if wanted.batch:
            limit_batches(wanted.batch)
        if wanted.one_inode:
            give_one_inode()
        if wanted.mutant:
            mutate(wanted.mutant, mute=shim.crash_mute, home=Path(wanted.home))
        _arm(shim.crash_arm, wanted.shim)
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - the child of a loop must end here, whatever happens
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def _become(wanted: Request) -> None:
    """Makes this forked process what a new one is."""
    signal.alarm(_LONGEST_RUN)
    sys.argv = ["fetchd", *wanted.arguments]
    os.environ["HOME"] = wanted.home
    os.chdir(wanted.home)
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(wanted.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, standard in ((null, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, standard)


def limit_batches(messages: int) -> None:
    """Makes the composition root put batches of that many messages into the world."""
    import fetchd.app  # noqa: PLC0415
    from fetchd.ports import BatchLimits, World  # noqa: PLC0415

    root: Any = fetchd.app
    root.World = partial(World, limits=BatchLimits(messages=messages))


def give_one_inode() -> None:
    """Makes every mbox have the same inode number."""
    from fetchd.delivery.appending import MboxFile  # noqa: PLC0415

    patched: Any = MboxFile
    patched.inode = property(lambda _: 4711)


def _arm(arm: Callable[..., int], told: Sequence[int | str]) -> None:
    number, kind, error, with_data, root, report = told
    texts = [str(text).encode() for text in (kind, root, report)]
    if arm(texts[1], ctypes.c_long(int(number)), texts[0], int(error), int(with_data), texts[2]):
        raise OSError("the shim cannot open its report")


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
