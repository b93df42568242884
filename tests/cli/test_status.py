"""``fetchd status``: with the daemon and without it, for a terminal, for a pipe and for a program."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchd.control import ControlServer
from fetchd.model import Committed, HttpAddress, PollResult, Staged, UniqueId
from fetchd.observe.http import HttpServer
from fetchd.observe.pages import document_page
from fetchd.observe.status import Status, to_json
from fetchd.store.sqlite import SqliteStore
from tests.observe.statuses import failing, make_status, make_status_of

COMMAND = [sys.executable, "-m", "fetchd"]
TOLD = make_status(make_status_of("alice", delivered_today=3, delivered=1234), failing("bob"))


def write(tmp_path: Path, *, http: str = "false") -> Path:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    account = f"{{host: pop.example, user: u, password: {{file: {secret}}}, deliver: {{maildir: {tmp_path}/M}}}}"
    path = tmp_path / "fetchd.yaml"
    accounts = f"{{alice: {account}, bob: {account.replace('user: u', 'user: v')}}}"
    path.write_text(f"state: {tmp_path}/fetchd.db\nhttp: {http}\naccounts: {accounts}\n")
    return path


def remember(tmp_path: Path, now: int) -> None:
    with SqliteStore.open(tmp_path / "fetchd.db") as store:
        store.configure({"alice": ("pop.example", "u"), "bob": ("pop.example", "v"), "gone": ("pop.example", "w")})
        store.commit("alice", [Committed(UniqueId(b"1"), Staged("1", size=1))], now=now)
        store.poll_ended("alice", PollResult("alice"), error="", now=now)
        store.poll_ended("bob", PollResult("bob"), error="no \x1b[31mroute", now=now)


def run(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "-c", str(config), "status", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)


@pytest.fixture
def daemon() -> Iterator[HttpServer]:
    """What a daemon answers."""
    pages = {"/status": document_page(lambda: to_json(TOLD), "application/json")}
    with HttpServer(HttpAddress("127.0.0.1", 0), pages) as server:
        yield server


def test_a_running_daemon_is_asked(tmp_path: Path, daemon: HttpServer) -> None:
    done = run(write(tmp_path, http=str(daemon.address.port)))
    assert done.stdout.splitlines() == [
        "1 of 2 accounts fails: bob; 3 messages today.",
        "",
        "ACCOUNT  STATE    LAST SUCCESS  NEXT POLL  TODAY   EVER",
        f"bob      failing  3 min ago     in 2 min       0      0  {TOLD.accounts[0].reason} (no route to host)",
        "alice    fetched  3 min ago     in 2 min       3  1,234",
    ]
    assert (done.returncode, done.stderr) == (1, "")


def test_without_a_daemon_the_store_is_asked(tmp_path: Path) -> None:
    remember(tmp_path, int(time.time()))
    done = run(write(tmp_path, http="1"))
    lines = done.stdout.splitlines()
    assert lines[0].startswith("1 of 2 accounts fails: bob; ")
    assert lines[1] == "As the store has it: no fetchd answers at 127.0.0.1:1."
    assert re.fullmatch(r"bob +failing +never +– +0 +0  The last poll failed\. \(no \\x1b\[31mroute\)", lines[4])
    assert re.fullmatch(r"alice +fetched +(\d+ s ago|just now) +– +[01] +1", lines[5])
    assert len(lines) == 6, "an account that is not configured any more is not shown"


def test_without_http_the_daemon_is_asked_at_its_control_socket(tmp_path: Path) -> None:
    config = write(tmp_path)
    remember(tmp_path, 1_795_000_000)
    assert "As the store has it: no fetchd that would tell us runs" in run(config).stdout
    with ControlServer(
        tmp_path / "control", source=config, post=print, status=lambda: to_json(TOLD), health=lambda: (True, "ok")
    ):
        assert json.loads(run(config, "--json").stdout) == json.loads(to_json(TOLD))


def test_the_json_is_that_of_the_daemon_or_tells_that_it_is_the_stores(tmp_path: Path, daemon: HttpServer) -> None:
    done = run(write(tmp_path, http=str(daemon.address.port)), "--json")
    assert json.loads(done.stdout) == json.loads(to_json(TOLD))
    remember(tmp_path, 1_795_000_000)
    document = json.loads(run(write(tmp_path), "--json").stdout)
    assert (document["source"], document["started"], document["well"]) == ("store", None, False)
    assert [account["next_poll"] for account in document["accounts"]] == [None, None]


def test_all_is_well_is_exit_code_0(tmp_path: Path) -> None:
    with SqliteStore.open(tmp_path / "fetchd.db"):
        pass
    done = run(write(tmp_path))
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "None of 2 accounts is polled yet.")


def test_before_the_first_poll_every_account_is_new(tmp_path: Path) -> None:
    """Who has just written a configuration asks this first: there is no store yet, and nothing is wrong."""
    done = run(write(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Nothing was polled yet: there is no store at {tmp_path}/fetchd.db." in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()[-2:]] == [["alice", "not"], ["bob", "not"]]
    assert not (tmp_path / "fetchd.db").exists()


def test_a_store_that_cannot_be_read_and_no_daemon_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "fetchd.db").mkdir()
    (tmp_path / "fetchd.db" / "fetchd.db").write_text("no store")
    done = run(write(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_locale_without_a_letter_of_ours_is_no_error(tmp_path: Path) -> None:
    """The table has a dash that Latin-1 does not have."""
    command = [*COMMAND, "-c", str(write(tmp_path)), "status"]
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, capture_output=True, env=env, timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"never         \\u2013" in done.stdout


def test_watching_needs_a_terminal(tmp_path: Path) -> None:
    done = run(write(tmp_path), "--watch")
    assert (done.returncode, done.stderr) == (2, "fetchd: --watch needs a terminal, and does not go with --json\n")


# ── on a terminal ────────────────────────────────────────────────────────────────────────────────────────────────


class Terminal:
    """A command on a pseudo-terminal of 100 columns."""

    def __init__(self, config: Path, *options: str, environ: dict[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        environment = {**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm-256color", **(environ or {})}
        command = [*COMMAND, "-c", str(config), "status", *options]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)
        self.seen = b""
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: the last who had it open is gone
                break
            with self._grown:
                self.seen += data
                self._grown.notify_all()

    def wait_for(self, text: bytes) -> None:
        with self._grown:
            found = self._grown.wait_for(lambda: text in self.seen, 30)
        if not found:
            self.process.kill()
            self.end()
        assert found, self.seen

    def end(self) -> int:
        """Returns the exit code; what is still there after 30 seconds is killed."""
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            os.close(self._master)


def test_on_a_terminal_it_is_a_coloured_table(tmp_path: Path, daemon: HttpServer) -> None:
    terminal = Terminal(write(tmp_path, http=str(daemon.address.port)))
    assert terminal.end() == 1
    assert b"\x1b[1;31mfailing" in terminal.seen
    text = re.sub(rb"\x1b\[[0-9;]*m", b"", terminal.seen).decode()
    assert re.search(r"bob +failing +3 min ago +in 2 min +0 +0", text)
    assert "2 times in a row" in text


def test_no_color_is_honoured(tmp_path: Path, daemon: HttpServer) -> None:
    """https://no-color.org"""
    terminal = Terminal(write(tmp_path, http=str(daemon.address.port)), environ={"NO_COLOR": "1"})
    terminal.end()
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]", terminal.seen)
    assert b"failing" in terminal.seen


def test_watching_looks_again_until_ctrl_c(tmp_path: Path) -> None:
    """The account that fails at first is well at the second look."""
    looks: list[Status] = [TOLD, make_status(make_status_of("alice", delivered_today=77), make_status_of("bob"))]
    pages = {
        "/status": document_page(lambda: to_json(looks.pop(0) if len(looks) > 1 else looks[0]), "application/json")
    }
    with HttpServer(HttpAddress("127.0.0.1", 0), pages) as server:
        terminal = Terminal(write(tmp_path, http=str(server.address.port)), "--watch")
        terminal.wait_for(b"1 of 2 accounts fails: bob")
        terminal.wait_for(b"Both accounts are fetched; 77 messages today.")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
    assert b"Traceback" not in terminal.seen
