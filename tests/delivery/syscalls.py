"""The system calls that change a disk, seen from within: recorded in order, or ended by a kill -9 before the n-th."""

import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fetchd.delivery import kernel

CALLS = ("open", "write", "fsync", "rename", "unlink", "link", "ftruncate", "mkdir", "fchmod")
Before = Callable[[str, tuple[Any, ...], dict[str, Any]], None]


def watch(patch: pytest.MonkeyPatch, before: Before) -> None:
    """Calls ``before(name, args, kwargs)`` ahead of every call that may change the disk."""

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name != "open" or args[1] & os.O_CREAT:
                before(name, args, kwargs)
            return real(*args, **kwargs)

        patch.setattr(os, name, call)

    for name in CALLS:
        wrap(name)
    rename_new, flush_file_system = kernel.rename_new, kernel.flush_file_system

    def rename(*args: Any, **kwargs: Any) -> None:
        before("rename", args, kwargs)
        rename_new(*args, **kwargs)

    def syncfs(descriptor: int) -> None:
        before("syncfs", (descriptor,), {})
        flush_file_system(descriptor)

    patch.setattr(kernel, "rename_new", rename)
    patch.setattr(kernel, "flush_file_system", syncfs)


class Recorder:
    """Writes down calls as ``fsync new``, ``rename STAGE/NAME1.part → STAGE/NAME1``, with short names."""

    def __init__(self, root: Path, short: dict[str, str]) -> None:
        self.calls: list[str] = []
        self._root = root
        self._short = short

    def mark(self, text: str) -> None:
        """Writes down something that is not a system call."""
        self.calls.append(text)

    def __call__(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if name == "rename":
            source = self._show(args[0], kwargs.get("src_dir_fd"))
            self.calls.append(f"rename {source} → {self._show(args[1], kwargs.get('dst_dir_fd'))}")
        elif name == "link":
            self.calls.append(f"link {self._show(args[0])} → {self._show(args[1])}")
        else:
            call = f"{name} {self._show(args[0], kwargs.get('dir_fd'))}"
            if call != self.calls[-1:] and not (name == "write" and self.calls[-1:] == [call]):
                self.calls.append(call)

    def _show(self, what: int | str | os.PathLike[str], dir_fd: int | None = None) -> str:
        if isinstance(what, int):
            path = os.readlink(f"/proc/self/fd/{what}")
        elif dir_fd is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), what)
        else:
            path = os.fspath(what)
        shown = os.path.relpath(path, self._root)
        for long, short in self._short.items():
            shown = shown.replace(long, short)
        return shown


class Killer:
    """Ends this process by SIGKILL before its n-th call; if that is a write, half of it is done first (torn)."""

    def __init__(self, number: int) -> None:
        self.count = 0
        self._number = number
        self._write = os.write

    def __call__(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.count += 1
        if self.count == self._number:
            if name == "write":
                self._write(args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], object]) -> int:
    """Runs ``work`` in a forked child; returns its exit status, -9 where it was killed, 1 where it raised."""
    with warnings.catch_warnings():  # of threads of other tests' servers: the child touches nothing of theirs
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a child of pytest must end here, whatever happens
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
