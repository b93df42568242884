"""FAULTS §2 G: the daemon as a process: reload, signals, a large message, output that nobody takes (110 to 113)."""

import fcntl
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml

from tests.e2e.running import PATIENCE, Running, command, environment, fetchd, maildir_content
from tests.faults.bench import message, stored, uid
from tests.faults.bounds import MB
from tests.faults.processes import account, write_accounts
from tests.faults.server import Answer, FaultyServer, Session
from tests.faults.steps import Flood, Honest
from tests.servers.scripted import Silence

# ── the configuration changes ────────────────────────────────────────────────────────────────────────────────────


def change(config: Path, **changes: Any) -> None:
    """Changes keys of the account ``alice``."""
    document = yaml.safe_load(config.read_text())
    document["accounts"]["alice"].update(changes)
    config.write_text(yaml.safe_dump(document))


def delivered_first(server: FaultyServer, home: Path) -> None:
    """The server takes a DELE amiss of what is not in the Maildir."""
    mail = dict(server.mail)
    server.may_delete = lambda name: (
        "" if mail[name].replace(b"\r\n", b"\n") in maildir_content(home / "Maildir") else f"DELE of {name!r}"
    )


@pytest.mark.parametrize("mode", [{"max_size": 1000}, {"first_poll": "skip"}], ids=["too large", "skipped"])
def test_keep_turned_to_delete_deletes_what_was_delivered_and_nothing_else(
    tmp_path: Path, server: FaultyServer, mode: dict[str, Any]
) -> None:
    """FAULTS 110: neither a message that was too large nor one that ``first_poll: skip`` passed over."""
    large = (uid(1), message(1) + b"x" * 2000 + b"\r\n")
    server.mail.append(large)
    config = write_accounts(tmp_path, alice=account(tmp_path, server, leave_on_server=True, **mode))
    with Running(tmp_path, ["-c", str(config), "-v"]) as daemon:
        daemon.wait_for_event("poll.done")
        server.mail += [(uid(2), message(2)), (uid(3), message(3))]
        delivered_first(server, tmp_path)
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for(lambda: maildir_content(tmp_path / "Maildir") == stored(2, 3))
        assert server.deleted == []
        change(config, leave_on_server=False)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(lambda: len(server.deleted) == 2)
        assert daemon.stop() == 0
    server.settle()
    assert (server.violations, server.deleted, server.mail) == ([], [uid(2), uid(3)], [large])
    assert maildir_content(tmp_path / "Maildir") == stored(2, 3)


def test_a_configuration_that_cannot_be_used_leaves_the_old_one_running(tmp_path: Path, server: FaultyServer) -> None:
    """FAULTS 110: no YAML, no accounts, deleted, at SIGHUP: polls go on as they did, until there is a good file."""
    config = write_accounts(tmp_path, alice=account(tmp_path, server, leave_on_server=True))
    good = config.read_text()
    spoils: list[Callable[[], object]] = [
        lambda: config.write_text("accounts: [\n"),
        lambda: config.write_text("accounts: {}\n"),
        config.unlink,
    ]
    with Running(tmp_path, ["-c", str(config), "-v"]) as daemon:
        daemon.wait_for_event("poll.done")
        for number, spoil in enumerate(spoils, 1):
            spoil()
            daemon.signal(signal.SIGHUP)
            failed = daemon.wait_for_event("config.reload_failed", number)[-1]
            assert "fetchd.yaml" in failed["problems"][0]
            server.mail.append((uid(number), message(number)))
            daemon.signal(signal.SIGUSR1)
            daemon.wait_for(lambda number=number: delivered(tmp_path) == stored(*range(1, number + 1)))
        assert daemon.events("config.reloaded") == []
        config.write_text(good)
        config.chmod(0o600)
        change(config, leave_on_server=False)
        delivered_first(server, tmp_path)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_event("config.reloaded")
        daemon.wait_for(lambda: len(server.deleted) == len(spoils))
        assert daemon.stop() == 0
    server.settle()
    assert server.violations == []
    assert delivered(tmp_path) == stored(1, 2, 3)


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Halt:
    """A server that stands still where it is told to, until the test lets it go on, or for good."""

    def __init__(self, then: Answer, before: bytes = b"") -> None:
        self.reached, self.go_on = Event(), Event()
        self._then, self._before = then, before

    def __call__(self, session: Session) -> Answer:
        if self._before:
            session.send(self._before)
        self.reached.set()
        assert self.go_on.wait(PATIENCE)
        return self._then


HALF = b"+OK\r\nSubject: 2\r\n"
REST = b"\r\nBody 2\r\n.\r\n"


@pytest.mark.parametrize(
    ("when", "halt"),
    [
        (b"RETR 2", lambda: Halt(REST, HALF)),
        (b"LIST 3", lambda: Halt(Honest())),
        (b"DELE 2", lambda: Halt(Honest())),
        (b"QUIT", lambda: Halt(Honest())),
    ],
    ids=["RETR", "proof", "DELE", "QUIT"],
)
def test_a_stop_lets_the_message_in_hand_come_in(
    tmp_path: Path, server: FaultyServer, when: bytes, halt: Callable[[], Halt]
) -> None:
    """FAULTS 111: one signal; what goes on within the grace is finished, and the next run has the rest."""
    stopped_and_again(tmp_path, server, when, halt(), [signal.SIGTERM], goes_on=True)


@pytest.mark.parametrize(
    ("when", "before"), [(b"RETR 2", HALF), (b"DELE 2", b""), (b"QUIT", b"")], ids=["RETR", "DELE", "QUIT"]
)
def test_a_second_stop_ends_a_session_that_hangs(
    tmp_path: Path, server: FaultyServer, when: bytes, before: bytes
) -> None:
    """FAULTS 111: in the middle of a message, at DELE, at QUIT; nothing is lost, and nothing comes twice."""
    stopped_and_again(tmp_path, server, when, Halt(Silence(), before), [signal.SIGTERM] * 2, goes_on=False)


def stopped_and_again(
    home: Path, server: FaultyServer, when: bytes, halt: Halt, signals: list[signal.Signals], *, goes_on: bool
) -> None:
    """Stops a daemon at one instant of a session, and has ``fetchd --once`` do the rest."""
    server.mail += [(uid(number), message(number)) for number in range(1, 5)]
    server.faults[when] = halt
    delivered_first(server, home)
    config = write_accounts(home, alice=account(home, server, leave_on_server=False))
    with Running(home, ["-c", str(config)]) as daemon:
        daemon.wait_for(halt.reached.is_set)
        for number in signals:
            daemon.signal(number)
            daemon.wait_for_event("daemon.stopping")
        if goes_on:
            halt.go_on.set()
        assert daemon.process.wait(PATIENCE) == 0
        halt.go_on.set()
        assert "Traceback" not in daemon.log
        (stopped,) = daemon.events("daemon.stopped")
        assert len(stopped["abandoned"]) <= (not goes_on)
    server.settle()
    server.faults.clear()
    assert fetchd(home, "-c", str(config), "--once").code == 0
    server.settle()
    assert (server.violations, server.mail) == ([], [])
    assert maildir_content(home / "Maildir") == stored(1, 2, 3, 4)


def test_a_stop_does_not_wait_for_a_store_that_others_lock(tmp_path: Path, server: FaultyServer) -> None:
    """FAULTS 111: in the middle of a COMMIT that waits for another program's lock."""
    server.mail += [(uid(number), message(number)) for number in range(1, 5)]
    delivered_first(server, tmp_path)
    config = write_accounts(tmp_path, alice=account(tmp_path, server, leave_on_server=False))
    halt = Halt(Honest())
    server.faults[b"RETR 1"] = halt
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        daemon.wait_for(halt.reached.is_set)
        with closing(sqlite3.connect(tmp_path / "state" / "fetchd.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            halt.go_on.set()
            daemon.wait_for(lambda: len(server.retrieved) >= 1)
            for _ in range(2):
                daemon.signal(signal.SIGTERM)
                daemon.wait_for_event("daemon.stopping")
            assert daemon.process.wait(PATIENCE) == 0
    server.settle()
    server.faults.clear()
    assert (server.deleted, server.violations) == ([], [])
    assert fetchd(tmp_path, "-c", str(config), "--once").code == 0
    server.settle()
    assert (server.violations, server.mail) == ([], [])
    assert maildir_content(tmp_path / "Maildir") == stored(1, 2, 3, 4)


# ── a large message ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("target", ["maildir", "mbox"])
def test_a_large_message_needs_no_more_memory_than_a_small_one(
    tmp_path: Path, server: FaultyServer, target: str
) -> None:
    """FAULTS 112: 40 MB, of which 16 at most are ever held; 2 GB are no different."""
    line = b"x" * 98 + b"\r\n"
    pieces, size = 400, 1000 * len(line)
    server.mail.append((uid(1), message(1)))
    path = tmp_path / ("Maildir" if target == "maildir" else "mbox")
    settings = account(tmp_path, server, leave_on_server=True, max_size="1GB", deliver={target: str(path)})
    config = write_accounts(tmp_path, alice=settings)
    small = fetchd(tmp_path, "-c", str(config), "--once")
    server.mail.append((uid(2), message(2)))
    server.faults[b"RETR 2"] = [b"+OK\r\nSubject: 2\r\n\r\n", Flood(1000 * line, times=pieces), b".\r\n"]
    large = fetchd(tmp_path, "-c", str(config), "--once")
    assert (small.code, large.code) == (0, 0), large.err
    files = list((path / "new").iterdir()) if target == "maildir" else [path]
    stored_octets = pieces * (size - 1000)
    assert stored_octets < sum(file.stat().st_size for file in files) < stored_octets + 1000
    assert large.peak_rss - small.peak_rss < 16 * MB
    for file in files:
        file.unlink()


# ── output that nobody takes ─────────────────────────────────────────────────────────────────────────────────────


def test_a_log_that_nobody_reads_holds_up_no_mail(tmp_path: Path, server: FaultyServer) -> None:
    """FAULTS 113: standard error is a pipe that is full; once it is read, ``log.lost`` says how much is missing."""
    server.mail += [(uid(number), message(number)) for number in range(100)]
    config = write_accounts(tmp_path, alice=account(tmp_path, server, leave_on_server=True))
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(reads, "rb", buffering=0) as log:
        process = subprocess.Popen(
            command("-c", str(config), "-v"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=writes,
            env=environment(tmp_path),
        )
        os.close(writes)
        try:
            wait_for(process, lambda: delivered(tmp_path) == stored(*range(100)))
            wait_for(process, lambda: server.sessions and server.lines[-1] == b"QUIT")
            said: list[bytes] = []
            reader = Thread(target=lambda: said.extend(iter(lambda: log.read(4096), b"")))
            reader.start()
            server.mail.append((uid(100), message(100)))
            process.send_signal(signal.SIGUSR1)
            wait_for(process, lambda: delivered(tmp_path) == stored(*range(101)))
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
            reader.join(PATIENCE)
            assert b"log.lost" in b"".join(said)
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("once", [True, False], ids=["once", "daemon"])
def test_closed_output_holds_up_no_mail(tmp_path: Path, server: FaultyServer, once: bool) -> None:
    """FAULTS 113: started without standard output and error; no file of the process's takes their place."""
    server.mail.append((uid(1), message(1)))
    config = write_accounts(tmp_path, alice=account(tmp_path, server, leave_on_server=False))
    arguments = command("-c", str(config), *(["--once"] if once else []))
    process = subprocess.Popen(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *arguments], env=environment(tmp_path))
    try:
        wait_for(process, lambda: not server.mail, ended=once)
        if not once:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    assert delivered(tmp_path) == stored(1)
    with closing(sqlite3.connect(tmp_path / "state" / "fetchd.db")) as db:
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def delivered(home: Path) -> list[bytes]:
    return maildir_content(home / "Maildir") if (home / "Maildir" / "cur").exists() else []


def wait_for(process: subprocess.Popen[bytes], what: Callable[[], Any], *, ended: bool = False) -> None:
    """Waits until that is so; ``ended`` where the process may end before."""
    pause = Event()
    for _ in range(int(PATIENCE * 50)):
        if what():
            return
        assert ended or process.poll() is None, "it ended"
        pause.wait(0.02)
    raise AssertionError("never came about")
