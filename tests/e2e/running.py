"""The real program as a process: written configuration, ``python -m fetchd``, what it used and what it said."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

PATIENCE = 60.0
"""Seconds after which a test gives up waiting for something that should take one."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended: its exit code, its output, and its peak resident set in octets."""

    code: int
    out: str
    err: str
    peak_rss: int

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log, as JSON lines."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which nothing of the machine's own fetchd can be found."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "PYTHONPATH") if key in os.environ}
    own = {"HOME": str(home), "XDG_STATE_HOME": str(home / ".local/state")}  # root's state would be the machine's
    return {**kept, **own, "PYTHONUNBUFFERED": "1", **(extra or {})}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fetchd", *arguments]


_MEASURED = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as report:
    print(usage.ru_maxrss, file=report)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts a program from a small process of its own: a child of pytest would be charged with pytest's memory."""


def fetchd(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """Runs fetchd to its end."""
    report = home / "peak-rss"
    process = subprocess.run(
        [sys.executable, "-S", "-c", _MEASURED, str(report), *command(*arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(home, env),
        cwd=home,
        timeout=10 * PATIENCE,
        check=False,
    )
    out, err = process.stdout.decode(errors="replace"), process.stderr.decode(errors="replace")
    return Ended(process.returncode, out, err, int(report.read_text()) * 1024)


def write_config(home: Path, accounts: Mapping[str, Mapping[str, Any]], **top: Any) -> Path:
    """Writes ``fetchd.yaml`` into ``home``, readable by its owner alone."""
    path = home / "fetchd.yaml"
    path.write_text(yaml.safe_dump({"state": str(home / "state" / "fetchd.db"), **top, "accounts": dict(accounts)}))
    path.chmod(0o600)
    return path


def maildir_content(maildir: Path) -> list[bytes]:
    return sorted(file.read_bytes() for box in ("new", "cur") for file in (maildir / box).iterdir())


@dataclass
class Running:
    """A daemon in the background; leaving the context kills what is left of it."""

    home: Path
    arguments: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._err = (self.home / "daemon.err").open("ab")
        self.process = subprocess.Popen(
            command(*self.arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._err,
            env=environment(self.home, self.env),
            cwd=self.home,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._err.close()

    @property
    def log(self) -> str:
        return (self.home / "daemon.err").read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def wait_for(self, what: Callable[[], Any]) -> Any:
        """Returns the first true value of ``what()``; fails when it never comes or the daemon ends."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            value = what()
            if value:
                return value
            assert self.process.poll() is None, f"the daemon ended: {self.log}"
            time.sleep(0.02)
        raise AssertionError(f"never came about; the log says:\n{self.log[-5000:]}")

    def wait_for_event(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        return self.wait_for(lambda: (found := self.events(name)) and len(found) >= count and found)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; returns the exit code. The promise is 10 seconds; a machine under load gets more."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)


def http_get(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as response:
        return response.read().decode()
