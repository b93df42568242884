"""Where fetchd's time goes in a row: its functions by their own time, and its system calls (``--profile``)."""

import pstats
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.benchmarks.clients import Account, Fetchd
from tests.benchmarks.measure import Job

TOP: Final = 25


class Profiled(Fetchd):
    """fetchd under cProfile: slower, above all where small functions are called often."""

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`clients.Client.job`."""
        job = super().job(home, accounts)
        script = str(Path(__file__).with_name("profiled.py"))
        return replace(job, commands=[[sys.executable, script, str(home / "profile"), *job.commands[0][3:]]])

    def report(self, home: Path) -> None:
        """Prints the functions in which the time was spent."""
        pstats.Stats(str(home / "profile")).sort_stats("tottime").print_stats(TOP)


class Traced(Fetchd):
    """fetchd under ``strace -c``: counts its system calls; the times in it are mostly strace's own."""

    @property
    def is_installed(self) -> bool:
        """Whether there is a strace."""
        return shutil.which("strace") is not None

    def job(self, home: Path, accounts: Sequence[Account]) -> Job:
        """See :meth:`clients.Client.job`."""
        job = super().job(home, accounts)
        return replace(job, commands=[["strace", "-c", "-f", "-o", str(home / "calls"), *job.commands[0]]])

    def report(self, home: Path) -> None:
        """Prints the system calls."""
        lines = (home / "calls").read_text().splitlines()
        print("\n".join(lines[: TOP + 2]), flush=True)
