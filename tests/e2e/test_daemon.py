"""The daemon as a process: 50 accounts, a server that never answers, signals, metrics, an exit in time."""

import json
import signal
import socket
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import MakeMailbox
from tests.e2e.running import Running, http_get, maildir_content, write_config
from tests.servers.dovecot import Mailbox
from tests.servers.pki import TestAuthority


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never says a word (FAULTS 1)."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def account(box: Mailbox, authority: TestAuthority, maildir: Path, **more: Any) -> dict[str, Any]:
    return {
        "host": "localhost",
        "port": box.server.tls_port,
        "tls": {"mode": "implicit", "ca_file": str(authority.ca_file)},
        "user": box.user,
        "password": box.password,
        "interval": "1s",
        "deliver": {"maildir": str(maildir)},
        **more,
    }


def samples(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    text = http_get(address, "/metrics")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def http_address(daemon: Running) -> str:
    (listening,) = daemon.wait_for_event("http.listening")
    return listening["address"]


def test_fifty_accounts_are_polled_though_one_server_is_silent_and_one_password_wrong(
    mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path, silent_server: int
) -> None:
    """DESIGN §1.3: by the time that anyone was polled six times, nobody else was left behind."""
    boxes = [mailbox(b"Subject: one\n\n", b"Subject: two\n\n") for _ in range(3)]
    good = {f"good{n:02}": account(boxes[n % 3], authority, tmp_path / f"good{n:02}") for n in range(48)}
    silent = account(boxes[0], authority, tmp_path / "silent", host="127.0.0.1", port=silent_server, tls="none")
    wrong = account(boxes[1], authority, tmp_path / "wrong", password="not this one")
    config = write_config(
        tmp_path,
        {"silent": silent, "wrong": wrong, **good},
        http="127.0.0.1:0",
        workers=12,
        sessions_per_host=8,
    )
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        address = http_address(daemon)

        def polls() -> dict[str, float]:
            found = samples(address)
            return {name: found[("fetchd_polls_total", (name, "ok"))] for name in good}

        daemon.wait_for(lambda: max(polls().values()) >= 6)
        counted = polls()
        assert min(counted.values()) >= 4
        found = samples(address)
        assert found[("fetchd_account_up", ("wrong",))] == 0
        assert found[("fetchd_polls_total", ("wrong", "auth"))] >= 1
        assert ("fetchd_account_up", ("silent",)) not in found
        assert all(found[("fetchd_account_up", (name,))] == 1 for name in good)
        assert all(found[("fetchd_messages_delivered_total", (name,))] == 2 for name in good)
        assert daemon.stop() == 0
    assert all(maildir_content(tmp_path / name) == [b"Subject: one\n\n", b"Subject: two\n\n"] for name in good)
    (stopped,) = daemon.events("daemon.stopped")
    assert stopped["abandoned"] == ["silent"]
    assert "Traceback" not in daemon.log


def test_new_mail_comes_by_itself_and_on_sigusr1(
    mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    box = mailbox(b"Subject: one\n\n")
    config = write_config(tmp_path, {"alice": account(box, authority, tmp_path / "Maildir", interval="1h")})
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        daemon.wait_for_event("poll.done")
        box.put(b"Subject: two\n\n")
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for_event("poll.done", 2)
        assert maildir_content(tmp_path / "Maildir") == [b"Subject: one\n\n", b"Subject: two\n\n"]
        assert daemon.stop() == 0


def test_sighup_reloads_and_a_bad_file_changes_nothing(
    mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    first, second = mailbox(b"Subject: one\n\n"), mailbox(b"Subject: two\n\n")
    accounts = {"first": account(first, authority, tmp_path / "first")}
    config = write_config(tmp_path, accounts, http="127.0.0.1:0")
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        address = http_address(daemon)
        daemon.wait_for_event("poll.done")
        good = config.read_text()
        config.write_text(good.replace("interval:", "intervall:"))
        daemon.signal(signal.SIGHUP)
        (failed,) = daemon.wait_for_event("config.reload_failed")
        assert "did you mean `interval`" in failed["problems"][0].replace("'", "`").replace('"', "`")
        config.write_text(
            yaml.safe_dump(
                yaml.safe_load(good) | {"accounts": {"second": account(second, authority, tmp_path / "second")}}
            )
        )
        daemon.signal(signal.SIGHUP)
        (reloaded,) = daemon.wait_for_event("config.reloaded")
        assert (reloaded["added"], reloaded["removed"], reloaded["changed"]) == (["second"], ["first"], [])
        daemon.wait_for(lambda: ("fetchd_account_up", ("second",)) in samples(address))
        assert ("fetchd_account_up", ("first",)) not in samples(address)
        assert daemon.stop() == 0
    assert maildir_content(tmp_path / "second") == [b"Subject: two\n\n"]


def test_health_is_that_of_the_store(mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path) -> None:
    config = write_config(tmp_path, {"alice": account(mailbox(), authority, tmp_path / "Maildir")}, http="127.0.0.1:0")
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        address = http_address(daemon)
        assert http_get(address, "/healthz") == "ok\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            http_get(address, "/nothing")
        assert daemon.stop() == 0


def test_a_second_daemon_on_one_store_is_refused(
    mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    """FAULTS 108."""
    config = write_config(tmp_path, {"alice": account(mailbox(), authority, tmp_path / "Maildir")})
    other = tmp_path / "other"
    other.mkdir()
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        daemon.wait_for_event("daemon.started")
        with Running(other, ["-c", str(config)]) as second:
            assert second.process.wait(timeout=60) == 1
        assert f"another fetchd (pid {daemon.process.pid})" in second.log
        assert "Traceback" not in second.log
        assert daemon.stop() == 0


def test_a_taken_port_is_one_clear_line(mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path) -> None:
    """FAULTS 114."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write_config(
            tmp_path, {"alice": account(mailbox(), authority, tmp_path / "Maildir")}, http=f"127.0.0.1:{port}"
        )
        with Running(tmp_path, ["-c", str(config)]) as daemon:
            assert daemon.process.wait(timeout=60) == 78
    assert daemon.log.splitlines()[-1].startswith(f"http: cannot listen on 127.0.0.1:{port}: address in use")


def test_ctrl_c_is_a_clean_end(mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path) -> None:
    config = write_config(tmp_path, {"alice": account(mailbox(), authority, tmp_path / "Maildir")})
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        daemon.wait_for_event("daemon.started")
        daemon.signal(signal.SIGINT)
        assert daemon.process.wait(timeout=60) == 0
    assert "Traceback" not in daemon.log
    assert json.loads(daemon.log.splitlines()[-1])["event"] == "daemon.stopped"
