"""Runs processes and says what they cost: wall time, CPU time with all that they started, the peak of their memory."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATIENCE: Final = 1200.0
"""Seconds after which a tool is given up."""


USER: Final = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
"""User and group of the tools."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a tool is asked to do.

    Attributes:
        commands: the processes, one after the other, or all at once.
        together: all at once.
        codes: exit codes that are no failure.
        environment: what they need beyond the usual.
    """

    commands: Sequence[Sequence[str]]
    together: bool = False
    codes: frozenset[int] = frozenset({0})
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took: seconds of wall time and of CPU (user and system, children too), octets of the largest process."""

    wall: float
    cpu: float
    peak_rss: int


class ToolError(Exception):
    """A tool failed; the message holds the end of its output."""


_LAUNCHER: Final = """
import json, os, sys, time
report, together, uid, gid, *commands = json.load(open(sys.argv[1]))
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
devnull = os.open(os.devnull, os.O_RDONLY)
actions = [(os.POSIX_SPAWN_DUP2, devnull, 0)]
def start(command):
    return os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
def end(pid):
    _, status, usage = os.wait4(pid, 0)
    codes.append(os.waitstatus_to_exitcode(status))
    global cpu, peak
    cpu += usage.ru_utime + usage.ru_stime
    peak = max(peak, usage.ru_maxrss)
codes, cpu, peak = [], 0.0, 0
began = time.perf_counter()
if together:
    for pid in [start(command) for command in commands]:
        end(pid)
else:
    for command in commands:
        end(start(command))
wall = time.perf_counter() - began
with open(report, "w") as file:
    json.dump([wall, cpu, peak * 1024, codes], file)
"""
"""A small process of its own starts the tools: a child of ours would be charged with the memory of this one.

Where we are root the tools are not, for some refuse to work as root."""


def run(job: Job, home: Path, *, until: Callable[[], bool] | None = None) -> Cost | None:
    """Runs a job in ``home`` to its end, its output in ``home/output``.

    Args:
        job: what to run.
        home: where; also its ``HOME``.
        until: asked again and again; once it is true, all processes get SIGKILL.

    Returns:
        What it took; None where it was killed.

    Raises:
        ToolError: it ended with an exit code that says failure, or not within :data:`PATIENCE`.
    """
    report = home / "report.json"
    report.unlink(missing_ok=True)
    order = home / "job.json"
    order.write_text(json.dumps([str(report), job.together, *USER, *job.commands]))
    give_away(home)
    with (home / "output").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", _LAUNCHER, str(order)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(home) | dict(job.environment or {}),
            cwd=home,
            start_new_session=True,
        )
    try:
        killed = _wait(process, until)
    finally:
        _kill(process)
    if killed:
        return None
    if not report.exists():
        raise ToolError(f"{job.commands[0][0]} did not end: {tail(home)}")
    wall, cpu, peak, codes = json.loads(report.read_text())
    if wrong := set(codes) - job.codes:
        raise ToolError(f"{job.commands[0]} ended with {wrong}: {tail(home)}")
    return Cost(wall, cpu, peak)


def give_away(home: Path) -> None:
    """Makes the user of the tools the owner of ``home`` and of what is in it, but for the mail."""
    for path in (
        home,
        *home.iterdir(),
        *(home / "mail").glob("*"),
        *(home / "mail").glob("*/*"),
        *home.glob("state/*"),
    ):
        if path.stat().st_uid != USER[0]:
            os.chown(path, *USER)


def environment(home: Path) -> dict[str, str]:
    """Returns an environment in which a tool finds nothing of this machine's own mail."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(home)}


def tail(home: Path) -> str:
    """Returns the end of the output in ``home``."""
    return (home / "output").read_text(errors="replace")[-2000:]


def _wait(process: subprocess.Popen[bytes], until: Callable[[], bool] | None) -> bool:
    if until is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        return False
    while process.poll() is None:
        if until():
            return True
        time.sleep(0.005)
    return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
