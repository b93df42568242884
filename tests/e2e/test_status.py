"""The endpoints of the real daemon, with a real server: their contract, over real sockets (docs/status-page.md)."""

import json
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeMailbox
from tests.e2e.running import Running, fetchd, http_get, write_config
from tests.servers.dovecot import Mailbox
from tests.servers.pki import TestAuthority

MAIL = b"Subject: x\r\n\r\nbody\r\n"


def account(box: Mailbox, authority: TestAuthority, maildir: Path, **more: Any) -> dict[str, Any]:
    return {
        "host": box.server.host,
        "port": box.server.tls_port,
        "tls": {"mode": "implicit", "ca_file": str(authority.ca_file)},
        "user": box.user,
        "password": box.password,
        "deliver": {"maildir": str(maildir)},
        **more,
    }


def listening(daemon: Running) -> str:
    """Returns the address, once the accounts are known; the endpoint is up a moment before."""
    address = str(daemon.wait_for_event("http.listening")[-1]["address"])
    if not address.startswith("unix:"):
        daemon.wait_for(lambda: is_ready(address))
    return address


def is_ready(address: str) -> bool:
    try:
        return http_get(address, "/readyz").startswith("ready")
    except urllib.error.HTTPError as error:
        error.close()
        return False


def status(address: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(http_get(address, "/status"))
    return document


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {account["name"]: account for account in document["accounts"]}


@pytest.fixture
def config(tmp_path: Path, mailbox: MakeMailbox, authority: TestAuthority) -> Path:
    """An account with two messages, and one whose password is wrong."""
    accounts = {
        "alice": account(mailbox(MAIL, MAIL), authority, tmp_path / "A", leave_on_server=False),
        "bob": account(mailbox(), authority, tmp_path / "B", password="not this one"),
    }
    return write_config(tmp_path, accounts, http="127.0.0.1:0")


def test_all_endpoints_of_a_running_daemon(tmp_path: Path, config: Path) -> None:
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        address = listening(daemon)
        daemon.wait_for(
            lambda: {one["next_poll"] > status(address)["now"] for one in status(address)["accounts"]} == {True}
        )
        assert http_get(address, "/healthz") == "ok\n"
        assert http_get(address, "/readyz") == "ready: 2 accounts, 0 not polled yet\n"

        told = status(address)
        assert (told["source"], told["well"]) == ("daemon", False)
        assert told["summary"] == "1 of 2 accounts fails: bob; 2 messages today."
        alice, bob = by_name(told)["alice"], by_name(told)["bob"]
        assert (alice["state"], alice["delivered_today"], alice["delivered"], sum(alice["hours"])) == ("ok", 2, 2, 2)
        assert (bob["state"], bob["outcome"], bob["failures"]) == ("held", "auth", 1)
        assert bob["reason"].startswith("The server refuses the login. On hold for a day, lest the provider locks")
        assert told["counts"]["held"] == 1
        assert bob["next_poll"] - told["now"] > 70_000

        page = http_get(address, "/")
        assert told["summary"] in page
        for name in ("status.css", "status.js", "icon.svg"):
            assert http_get(address, f"/{name}")
        assert "fetchd_polls_total" in http_get(address, "/metrics")

        shown = fetchd(tmp_path, "-c", str(config), "status")
        assert shown.code == 1
        assert shown.out.startswith(told["summary"])
        assert daemon.stop() == 0


def test_after_a_restart_the_store_tells_what_came_today(tmp_path: Path, config: Path) -> None:
    """The messages are deleted on the server, and forgotten: the chart is not."""
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        daemon.wait_for_event("poll.done")
        daemon.wait_for_event("poll.failed")
        daemon.stop()
    before = len(daemon.events("http.listening"))
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        daemon.wait_for_event("http.listening", before + 1)
        alice = by_name(status(listening(daemon)))["alice"]
        assert (alice["delivered"], alice["delivered_today"], sum(alice["hours"]), alice["octets"]) == (2, 2, 2, 0)


def test_a_reload_changes_who_is_on_the_page(
    tmp_path: Path, config: Path, mailbox: MakeMailbox, authority: TestAuthority
) -> None:
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        address = listening(daemon)
        daemon.wait_for_event("poll.failed")
        write_config(tmp_path, {"carol": account(mailbox(), authority, tmp_path / "C")}, http="127.0.0.1:0")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(lambda: set(by_name(status(address))) == {"carol"})
        daemon.wait_for(lambda: by_name(status(address))["carol"]["state"] == "ok")
        assert status(address)["summary"] == "The account is fetched; 0 messages today."


def test_status_asks_the_daemon_through_its_unix_socket(tmp_path: Path, config: Path) -> None:
    text = config.read_text().replace("127.0.0.1:0", f"unix:{tmp_path}/http.sock")
    config.write_text(text)
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        assert listening(daemon) == f"unix:{tmp_path}/http.sock"
        daemon.wait_for_event("poll.done")
        document = json.loads(fetchd(tmp_path, "-c", str(config), "status", "--json").out)
        assert document["source"] == "daemon"
        assert daemon.stop() == 0
    assert not (tmp_path / "http.sock").exists()


def test_a_page_from_elsewhere_cannot_read_it_by_a_name_of_its_own(tmp_path: Path, config: Path) -> None:
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        host, _, port = listening(daemon).partition(":")
        for path, answer in (("/", b"421"), ("/status", b"421"), ("/metrics", b"421"), ("/healthz", b"200")):
            with socket.create_connection((host, int(port)), timeout=20) as sock:
                sock.sendall(b"GET %s HTTP/1.1\r\nHost: evil.example\r\n\r\n" % path.encode())
                assert sock.recv(12) == b"HTTP/1.0 " + answer


def test_listening_for_everybody_is_warned_of(tmp_path: Path, config: Path) -> None:
    config.write_text(config.read_text().replace("127.0.0.1:0", "0.0.0.0:0"))
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        warnings = [line["text"] for line in daemon.wait_for_event("config.warning")]
        assert any(
            "http: other machines can reach this, and the status page names the accounts" in text for text in warnings
        )
        assert "http: other machines" in fetchd(tmp_path, "-c", str(config), "check").err


def test_no_password_is_in_any_answer(tmp_path: Path, config: Path) -> None:
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        address = listening(daemon)
        daemon.wait_for_event("poll.done")
        daemon.wait_for_event("poll.failed")
        for path in ("/", "/status", "/metrics", "/healthz", "/readyz"):
            answer = http_get(address, path)
            assert "not this one" not in answer
            assert "open sesame" not in answer


def test_what_is_not_there_is_404(tmp_path: Path, config: Path) -> None:
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            http_get(listening(daemon), "/status.html")
        caught.value.close()


def test_fetchd_health_says_whether_the_daemon_works_without_any_endpoint(tmp_path: Path, config: Path) -> None:
    """An account that fails makes nobody unhealthy: a container would be restarted for it."""
    config.write_text(config.read_text().replace("http: 127.0.0.1:0\n", ""))
    assert "http" not in config.read_text()
    with Running(tmp_path, ["-c", str(config)]) as daemon:
        daemon.wait_for_event("poll.failed")
        asked = fetchd(tmp_path, "-c", str(config), "health")
        assert (asked.code, asked.out, asked.err) == (0, "healthy\n", "")
    gone = fetchd(tmp_path, "-c", str(config), "health")
    assert (gone.code, gone.err) == (1, "")
    assert gone.out.startswith("unhealthy: no fetchd runs with this configuration")
