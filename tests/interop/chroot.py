"""A running Debian of its own for a server: a chroot in mount, PID and UTS namespaces, its changes in memory.

Nothing has to be tidied up, since nothing is left: the kernel ends the namespaces' processes and mounts along with
the first of these processes, and ends that one along with us, even on SIGKILL. The machine's network is shared.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SCRIPT: Final = Path(__file__).with_name("chroot.sh")
_SECONDS: Final = 60.0
_PATIENCE: Final = 0.02
_TAIL: Final = 2000
_SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ChrootError(Exception):
    """Something did not work in a chroot; the message holds what it said."""


def namespaces(*arguments: str) -> list[str]:
    """Returns the command that runs ``chroot.sh`` in namespaces of its own, which end with whoever starts it."""
    return [
        *("setpriv", "--pdeathsig=KILL", "--"),
        *("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child=KILL", "--"),
        *("sh", str(SCRIPT), *arguments),
    ]


def environment(*kept: str) -> dict[str, str]:
    """An environment with nothing of ours but the variables that are ``kept``."""
    own = {"PATH": _SEARCH, "HOME": "/root", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    return own | {key: os.environ[key] for key in kept if key in os.environ}


class Chroot:
    """A Debian made of layers that stay as they are.

    Args:
        layers: directories, the topmost first.
        mount_point: any directory; what is mounted there is seen only inside.
    """

    def __init__(self, layers: Sequence[Path], mount_point: Path) -> None:
        self._lower = ":".join(map(str, layers))
        self._mount_point = mount_point
        self._holder: subprocess.Popen[bytes] | None = None
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.pid = 0
        """The first process inside, by the number that it has outside."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Mounts it all, and starts a syslog in it.

        Raises:
            ChrootError: it cannot be.
        """
        self._holder = subprocess.Popen(
            namespaces("run", str(self._mount_point), self._lower),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd="/",
            start_new_session=True,
        )
        try:
            self.pid = _announced(self._holder)
            self.spawn("busybox", "syslogd", "-n", "-S", "-O", "/var/log/all")
            self.wait_for("/dev/log")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends all that runs inside; may be called twice.

        Raises:
            subprocess.TimeoutExpired: something outlives SIGKILL.
        """
        holder, self._holder = self._holder, None
        if holder is None:
            return
        # The kernel lets the first process go only after all the others; but before it is known, there is only unshare.
        os.kill(self.pid or holder.pid, signal.SIGKILL)
        for process in (holder, *self._daemons):
            process.wait(timeout=_SECONDS)
        for pipe in (holder.stdout, holder.stderr):
            assert pipe is not None
            pipe.close()
        self._daemons.clear()
        self.pid = 0

    # ── what is in it ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def root(self) -> Path:
        """Its file system, as it is seen from outside. (A symbolic link with an absolute target leads astray.)"""
        return Path(f"/proc/{self.pid}/root")

    def write(self, path: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Writes a file of root's."""
        file = self.root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)

    @property
    def log(self) -> str:
        """What its programs told syslog so far, and what they printed."""
        logs = self.root / "var" / "log"
        files = [logs / "all", *sorted(logs.glob("spawned.*"))] if self.pid else []
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    # ── what runs in it ──────────────────────────────────────────────────────────────────────────────────────────

    def run(self, *argv: str, stdin: bytes = b"") -> str:
        """Runs a command to its end, and returns its output.

        Raises:
            ChrootError: it failed.
        """
        done = subprocess.run(
            self._inside(*argv),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            timeout=_SECONDS,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        if done.returncode:
            raise ChrootError(f"{argv[0]} ended with {done.returncode}: {output}{self.log[-_TAIL:]}")
        return output

    def spawn(self, *argv: str) -> None:
        """Starts a program that stays in the foreground and runs until the end."""
        with (self.root / "var" / "log" / f"spawned.{len(self._daemons)}").open("wb") as output:
            self._daemons.append(
                subprocess.Popen(
                    self._inside(*argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment()
                )
            )

    def wait_for(self, path: str) -> None:
        """Returns once there is such a file or socket.

        Raises:
            ChrootError: there never is.
        """
        deadline = time.monotonic() + _SECONDS
        while not (self.root / path.removeprefix("/")).exists():
            if time.monotonic() > deadline:
                raise ChrootError(f"{path} never came about:\n{self.log[-_TAIL:]}")
            time.sleep(_PATIENCE)

    def _inside(self, *argv: str) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--root", "--wd", "--", *argv]


def _announced(holder: subprocess.Popen[bytes]) -> int:
    """Returns the process number that ``chroot.sh run`` prints once everything is mounted."""
    assert holder.stdout is not None
    first = holder.stdout.readline()
    if not first:
        _, said = holder.communicate(timeout=_SECONDS)
        raise ChrootError(f"no chroot can be mounted: {said.decode(errors='replace').strip()}")
    return int(first)
