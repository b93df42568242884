"""The rows of fetchd alone: many accounts that idle, many that are configured, maildrops that grew for years."""

import os
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.benchmarks.bench import PASSWORD, Bench
from tests.benchmarks.bulk import BulkServer, free_port
from tests.benchmarks.clients import Account, Fetchd, state
from tests.benchmarks.corpus import small
from tests.benchmarks.latency import Distance
from tests.benchmarks.measure import USER, Cost, environment, give_away, run, tail
from tests.benchmarks.rows import skipped

IDLE: Final = 1000
CONFIGURED: Final = 10_000
UNIQUE_ID: Final = 16
"""Octets of a unique-id of :class:`bulk.BulkServer`."""

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PATIENCE: Final = 300.0


def row_9(bench: Bench) -> None:
    """What grows, of every version of fetchd: figures that stand beside the goals."""
    for client in bench.versions:
        facts = bench.results.facts.setdefault("growth", {}).setdefault(client.name, {})
        bench.disk.renew()
        for measure in (_round_trips, _idle, _configured, _seen):
            for name, value in measure(bench, client):
                facts[name] = value
                print(f"  9  {client.name}: {name} = {value:,.4g}", flush=True)


# ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Daemon:
    """fetchd in the background, watched from outside through its own endpoint and through /proc."""

    def __init__(self, client: Fetchd, home: Path, accounts: Sequence[Account]) -> None:
        self.home = home
        client.prepare(home, accounts)
        self._http = f"127.0.0.1:{free_port()}"
        client.configure(home, accounts, http=self._http, defaults={"interval": "12h"})
        give_away(home)
        self.began = time.monotonic()
        with (home / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fetchd", "-c", "fetchd.yaml"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=home,
                env=environment(home) | {"PYTHONPATH": str(client.tree)},
                user=USER[0] if os.geteuid() == 0 else None,
                group=USER[1] if os.geteuid() == 0 else None,
                extra_groups=[] if os.geteuid() == 0 else None,
            )

    def get(self, path: str) -> str:
        """Returns what the endpoint says; "" while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self._http}{path}", timeout=60) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def polls(self) -> int:
        """Returns how many polls have ended."""
        found = re.findall(r"^fetchd_polls_total\{[^}]*\} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return int(sum(float(value) for value in found))

    def wait_for(self, what: Callable[[], bool], seconds: float = 0.1) -> None:
        """Returns once ``what()`` is true."""
        deadline = time.monotonic() + _PATIENCE
        while not what():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the daemon does not get there: {tail(self.home)}")
            time.sleep(seconds)

    @property
    def cpu(self) -> float:
        """Seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    @property
    def rss(self) -> int:
        """Octets right now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def stop(self) -> None:
        """Ends it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def _running(bench: Bench, client: Fetchd, label: str, accounts: Sequence[Account]) -> Iterator[Daemon]:
    daemon = Daemon(client, bench.disk.fresh(label), accounts)
    try:
        yield daemon
    finally:
        daemon.stop()


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────────────────

Facts = Iterator[tuple[str, float]]


def _round_trips(bench: Bench, client: Fetchd) -> Facts:
    """A poll that finds nothing: how often the client waits for the server, TCP's handshake not counted."""
    corpus = small(10, "handful")
    bench.fill(corpus.name, corpus)
    for tls in (False, True):
        port = bench.server.tls_port if tls else bench.server.port
        kind = "tls" if tls else "plain"
        with Distance((bench.server.host, port), 0.1) as line:
            account = bench.account(corpus.name, tls=tls, port=line.port)
            home = bench.disk.fresh("trips")
            for _ in range(2):
                run(client.prepare(home, [account]), home)
            yield f"round_trips_once_{kind}", line.sessions[-1].round_trips
            with _running(bench, client, "trips", [account]) as daemon:
                daemon.wait_for(lambda: daemon.polls() >= 1)
                daemon.process.send_signal(signal.SIGUSR1)
                daemon.wait_for(lambda: daemon.polls() >= 2)
                yield f"round_trips_{kind}", line.sessions[-1].round_trips


def _idle(bench: Bench, client: Fetchd) -> Facts:
    """Polls of many accounts that find nothing: CPU seconds an account."""
    corpora = {f"idle{number:04d}": small(2, f"idle{number:04d}") for number in range(IDLE)}
    bench.fill_all(corpora)
    for tls in (False, True):
        accounts = [bench.account(user, tls=tls) for user in corpora]
        with _running(bench, client, "idle", accounts) as daemon:
            daemon.wait_for(lambda: daemon.polls() >= IDLE)
            costs = []
            for number in range(2, 2 + bench.runs):
                before = daemon.cpu
                daemon.process.send_signal(signal.SIGUSR1)
                daemon.wait_for(lambda: daemon.polls() >= number * IDLE, seconds=1.0)  # noqa: B023 - called right here
                costs.append((daemon.cpu - before) / IDLE)
        yield f"idle_cpu_{'tls' if tls else 'plain'}", statistics.median(costs)


def _configured(bench: Bench, client: Fetchd) -> Facts:
    """Many configured accounts: memory, start-up, and what a scrape takes after all were polled."""
    with BulkServer(3) as server:
        accounts = [Account(f"user{number:05d}", PASSWORD, server.host, server.port) for number in range(CONFIGURED)]
        with _running(bench, client, "configured", accounts) as daemon:
            daemon.wait_for(lambda: bool(daemon.get("/healthz")), seconds=0.02)
            yield "configured_startup", time.monotonic() - daemon.began
            yield "configured_rss_at_start", daemon.rss
            daemon.wait_for(lambda: daemon.polls() >= CONFIGURED, seconds=2.0)
            scrapes = []
            for _ in range(3):
                at = time.monotonic()
                daemon.get("/metrics")
                scrapes.append(time.monotonic() - at)
            yield "configured_scrape", statistics.median(scrapes)
            yield "configured_rss", daemon.rss


def _seen(bench: Bench, client: Fetchd) -> Facts:
    """A poll of a maildrop in which all is seen: CPU beyond that of an empty one, memory, size of the store."""
    sizes, costs = {}, {}
    for count in (0, 100_000) if bench.quick else (0, 100_000, 1_000_000):
        with BulkServer(count) as server:
            account = Account(f"grown{count}", PASSWORD, server.host, server.port)
            home = skipped(bench, client, account).parent
            found: list[Cost] = []
            for _ in range(bench.runs):
                cost = run(client.prepare(home, [account]), home)
                assert cost is not None
                found.append(cost)
        costs[count] = statistics.median(cost.cpu for cost in found)
        sizes[count] = sum(path.stat().st_size for path in state(home).glob("fetchd.db*"))
        if count:
            yield f"seen_{count}_cpu", costs[count] - costs[0]
            yield f"seen_{count}_process_cpu", costs[count]
            yield f"seen_{count}_rss", statistics.median(cost.peak_rss for cost in found)
            yield f"seen_{count}_store_octets", (sizes[count] - sizes[0]) / count - UNIQUE_ID
