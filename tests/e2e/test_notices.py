"""Notices of the real daemon: into the account's own Maildir and by a command, once, also over a restart."""

import email
import json
import signal
import sys
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from fetchd.demo import DemoServer
from tests.e2e.running import Running, fetchd, write_config

MAIL = b"Subject: one\n\nx\n"
_TELL = """
import json, os, sys
with open(sys.argv[1], "a") as told:
    print(json.dumps(dict(os.environ)), file=told)
print("told")
"""


def write_secret(tmp_path: Path, password: str) -> Path:
    secret = tmp_path / "secret"
    secret.write_text(f"{password}\n")
    secret.chmod(0o600)
    return secret


def account(server: DemoServer, tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "tls": "none",
        "user": "alice",
        "password": {"file": str(tmp_path / "secret")},
        "interval": "1h",
        "deliver": {"maildir": str(tmp_path / "Maildir")},
        **more,
    }


def mail(tmp_path: Path) -> dict[str, EmailMessage]:
    """Returns subject → message of all that is in the Maildir; a subject that is there twice is an error."""
    found: dict[str, EmailMessage] = {}
    for file in (tmp_path / "Maildir" / "new").iterdir():
        message = email.message_from_bytes(file.read_bytes(), policy=policy.default)
        assert message["Subject"] not in found
        assert b"\r" not in file.read_bytes()
        found[message["Subject"]] = message
    return found


def command(tmp_path: Path) -> list[str]:
    """Returns a command that appends its environment to a file."""
    script = tmp_path / "tell.py"
    script.write_text(_TELL)
    return [sys.executable, str(script), str(tmp_path / "told")]


def told(tmp_path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]


def fail_again(daemon: Running, times: int) -> None:
    """Has every account polled now; each failure writes what is counted, so the log at debug is asked."""
    for _ in range(times):
        so_far = len(daemon.events("poll.next"))
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for_event("poll.next", so_far + 1)


def test_a_failing_account_is_told_once_over_restarts_and_so_is_its_recovery(tmp_path: Path) -> None:
    write_secret(tmp_path, "wrong")
    with DemoServer({"alice": ("demo", [(b"one", MAIL)])}) as server:
        notices = {"after": 3, "deliver": True, "command": command(tmp_path)}
        accounts = {"alice": account(server, tmp_path)}
        config = write_config(tmp_path, accounts, notices=notices, log="debug")
        with Running(tmp_path, ["-c", str(config)]) as daemon:
            daemon.wait_for_event("poll.next")
            fail_again(daemon, 1)
            assert not daemon.events("notice.given")
            fail_again(daemon, 1)
            daemon.wait_for_event("notice.given", 2)
            fail_again(daemon, 2)
            assert daemon.stop() == 0
        with Running(tmp_path, ["-c", str(config)]) as daemon:
            daemon.wait_for_event("daemon.started", 2)
            fail_again(daemon, 4)
            assert len(daemon.events("notice.given")) == 2
            write_secret(tmp_path, "demo")
            daemon.signal(signal.SIGUSR1)
            daemon.wait_for_event("notice.given", 4)
            daemon.signal(signal.SIGUSR1)
            daemon.wait_for_event("poll.done", 2)
            assert daemon.stop() == 0
    found = mail(tmp_path)
    failing = found.pop("fetchd cannot fetch the mail of alice")
    well = found.pop("fetchd fetches the mail of alice again")
    assert list(found) == ["one"], "the notices are no mail of the account's, and its mail came once"
    assert failing["Auto-Submitted"] == well["Auto-Submitted"] == "auto-generated"
    assert "The server refuses the login, 3 times in a row" in failing.get_content()
    said = told(tmp_path)
    events = [(one["FETCHD_EVENT"], one["FETCHD_ACCOUNT"]) for one in said]
    assert events == [("failing", "alice"), ("recovered", "alice")]
    assert said[0]["FETCHD_FAILURES"] == "3"
    assert said[0]["FETCHD_SINCE"] == said[1]["FETCHD_SINCE"]
    given = daemon.events("notice.given")
    assert [(one["about"], one["by"], one.get("output")) for one in given] == [
        ("failing", "command", "told"),
        ("failing", "message", None),
        ("recovered", "command", "told"),
        ("recovered", "message", None),
    ]
    assert not [one for one in ("store.older", "store.lost", "delivery.recovered") if daemon.events(one)]


def test_runs_from_a_timer_are_told_of_like_the_daemon(tmp_path: Path) -> None:
    """``--once``: the store counts, and the run waits for the notice."""
    write_secret(tmp_path, "wrong")
    with DemoServer({"alice": ("demo", [(b"one", MAIL)])}) as server:
        accounts = {"alice": account(server, tmp_path)}
        config = write_config(tmp_path, accounts, notices={"after": 2, "command": command(tmp_path)})
        assert [fetchd(tmp_path, "-c", str(config), "--once").code for _ in range(3)] == [1, 1, 1]
        assert [one["FETCHD_EVENT"] for one in told(tmp_path)] == ["failing"]
        write_secret(tmp_path, "demo")
        ended = fetchd(tmp_path, "-c", str(config), "--once")
        assert ended.code == 0
        assert [one["FETCHD_EVENT"] for one in told(tmp_path)] == ["failing", "recovered"]


def test_a_notice_for_an_mbox_or_a_full_disk_is_a_line_in_the_log(tmp_path: Path) -> None:
    write_secret(tmp_path, "wrong")
    (tmp_path / "file").write_text("")
    with DemoServer({"alice": ("demo", [])}) as server:
        accounts = {
            "mbox": account(server, tmp_path, deliver={"mbox": str(tmp_path / "mbox")}),
            "nowhere": account(server, tmp_path, deliver={"maildir": str(tmp_path / "file" / "Maildir")}),
        }
        config = write_config(tmp_path, accounts, notices={"after": 1, "deliver": True})
        ended = fetchd(tmp_path, "-c", str(config), "--once")
    failed = {one["account"]: one for one in ended.events if one["event"] == "notice.failed"}
    assert failed["mbox"]["error"].startswith("notices go into a Maildir only")
    assert "Maildir" in failed["nowhere"]["error"]
    assert not (tmp_path / "mbox").exists()


@pytest.mark.parametrize(
    ("notices", "says"),
    [
        ({"deliver": True}, "nobody is told of it"),
        ({"deliver": True, "command": "x"}, "the command alone tells of it"),
        ({"command": "x"}, ""),
    ],
)
def test_an_account_that_delivers_into_an_mbox_is_warned_of(tmp_path: Path, notices: dict[str, Any], says: str) -> None:
    write_secret(tmp_path, "demo")
    with DemoServer({"alice": ("demo", [])}) as server:
        accounts = {
            "alice": account(server, tmp_path),
            "bob": account(server, tmp_path, deliver={"mbox": str(tmp_path / "mbox")}),
        }
        ended = fetchd(tmp_path, "-c", str(write_config(tmp_path, accounts, notices=notices)), "check")
    assert ended.code == 0
    said = [line for line in (ended.out + ended.err).splitlines() if "takes no notices" in line]
    assert len(said) == bool(says)
    assert all("notices.deliver: " in line and "bob" in line and says in line for line in said)


@pytest.mark.parametrize(
    ("notices", "says"),
    [
        ({"after": 3}, "notices: nobody is told: give `command`, or `deliver: true`"),
        ({"command": "x", "afer": 3}, "did you mean"),
        ({"command": "x", "after": 0}, "notices.after: must be at least 1"),
    ],
)
def test_what_tells_nobody_is_an_error(tmp_path: Path, notices: dict[str, Any], says: str) -> None:
    write_secret(tmp_path, "demo")
    with DemoServer({"alice": ("demo", [])}) as server:
        config = write_config(tmp_path, {"alice": account(server, tmp_path)}, notices=notices)
        ended = fetchd(tmp_path, "-c", str(config), "check")
    assert ended.code == 78
    assert says in ended.out + ended.err
