"""``fetchd check``: warnings, exit codes, and with --connect a real Dovecot and servers that misbehave."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fetchd.cli.trials import picture, plain, summary
from fetchd.model import Capabilities
from fetchd.trial import Channel, Outlook, State, Trial
from tests.accounts import make_account
from tests.conftest import MakeMailbox
from tests.e2e.running import PATIENCE, Ended, command, environment, fetchd, write_config
from tests.servers.dovecot import Dovecot
from tests.servers.pki import TestAuthority
from tests.servers.scripted import Expect, ScriptedServer, Send, Silence, Step

MESSAGE = b"Subject: one\n\nhello\n"
BUSY: list[Step] = [
    Send(b"+OK hello\r\n"),
    Expect(b"USER u"),
    Send(b"+OK\r\n"),
    Expect(b"PASS secret"),
    Send(b"-ERR [IN-USE] another session has it\r\n"),
]
REFUSED: list[Step] = [*BUSY[:4], Send(b"-ERR [AUTH] \x1b[31mno\r\n")]
"""A script cannot follow whatever the client wishes to try: mechanism USER keeps it simple."""


def account(home: Path, port: int, **more: object) -> dict[str, object]:
    secret = home / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    return {
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "mechanism": "USER",
        "user": "u",
        "password": {"file": str(secret)},
        "deliver": {"maildir": str(home / "Maildir")},
        **more,
    }


def check(home: Path, config: Path, *options: str, env: dict[str, str] | None = None) -> Ended:
    return fetchd(home, "-c", str(config), "check", *options, env=env)


def connected(home: Path, config: Path, *options: str) -> tuple[int, dict[str, dict[str, object]]]:
    ended = check(home, config, "--connect", "--json", *options)
    return ended.code, {entry["name"]: entry for entry in json.loads(ended.out)["accounts"]}


# ── the file alone ───────────────────────────────────────────────────────────────────────────────────────────────


def test_warnings_are_counted_and_count_as_failure_only_where_that_is_asked_for(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"alice": account(tmp_path, 995, host="pop.gmail.com", tls="implicit")})
    ended = check(tmp_path, config)
    assert ended.code == 0
    assert "accounts.alice: Gmail locks out who comes more often than every 10m" in ended.err
    count = len(ended.err.splitlines())
    assert f"1 account, no errors, {count} warning" in ended.out
    assert check(tmp_path, config, "--strict").code == 1
    quiet = check(tmp_path, config, "--strict", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (1, "", "")


def test_an_account_that_was_never_logged_in_is_named_with_the_command(tmp_path: Path) -> None:
    oauth = {"provider": "custom", "client_id": "id", "token_endpoint": "http://127.0.0.1:1/token"}
    oauth["device_authorization_endpoint"] = "http://127.0.0.1:1/device"
    one = account(tmp_path, 995, tls="implicit", oauth=oauth, mechanism="XOAUTH2")
    del one["password"]
    config = write_config(tmp_path, {"alice": one})
    ended = check(tmp_path, config)
    assert ended.code == 0
    line = "warning: accounts.alice.oauth: alice has not been logged in: run fetchd login alice"
    assert line in ended.err.splitlines()
    assert f"{len(ended.err.splitlines())} warning" in ended.out
    assert check(tmp_path, config, "--strict").code == 1
    assert line not in check(tmp_path, config, "--connect").err.splitlines(), "there the account itself fails"


def test_a_bad_configuration_is_78_and_nobody_is_logged_in(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"alice": account(tmp_path, 1, hots="x")})
    ended = check(tmp_path, config, "--connect")
    assert (ended.code, ended.out) == (78, "")
    assert 'did you mean "host"?' in ended.err


@pytest.mark.parametrize("options", [["-a", "alice"], ["--json"]], ids=" ".join)
def test_options_of_connect_do_not_go_without_it(options: list[str], tmp_path: Path) -> None:
    ended = check(tmp_path, write_config(tmp_path, {"alice": account(tmp_path, 1)}), *options)
    assert (ended.code, ended.err) == (2, "fetchd: -a and --json go with --connect\n")


def test_no_terminal_obeys_what_stands_in_a_configuration(tmp_path: Path) -> None:
    """An administrator looks at a user's file: a path may hold anything. (In a pipe, click takes colours away.)"""
    config = tmp_path / "fetchd.yaml"
    for secret, code in ("secret", 0), ("no\x07ne", 78):
        one = account(tmp_path, 1, deliver={"maildir": "/nowhere/\x07/y"})
        one["password"] = {"file": str(tmp_path / secret)}
        config.write_text(json.dumps({"state": f"{tmp_path}/a\x07.db", "accounts": {"alice": one}}))
        ended = check(tmp_path, config)
        assert ended.code == code
        assert "\x07" not in ended.out + ended.err
        assert r"\x07" in ended.err


# ── a real server ────────────────────────────────────────────────────────────────────────────────────────────────


def test_dovecot_by_tls_by_stls_and_in_the_clear(
    tmp_path: Path, dovecot: Dovecot, authority: TestAuthority, mailbox: MakeMailbox
) -> None:
    box = mailbox(MESSAGE, MESSAGE, password="secret")
    secured = {"host": "localhost", "user": box.user, "mechanism": "auto"}
    tls = {"mode": "implicit", "ca_file": str(authority.ca_file)}
    config = write_config(
        tmp_path,
        {
            "implicit": account(tmp_path, dovecot.tls_port, tls=tls, **secured),
            "starttls": account(tmp_path, dovecot.port, tls={**tls, "mode": "starttls"}, **secured),
            "plain": account(tmp_path, dovecot.port, **secured, leave_on_server=False),
            "wrong": account(tmp_path, dovecot.port, **{**secured, "user": "nobody@example.org"}),
        },
    )
    code, found = connected(tmp_path, config)
    assert code == 1
    for name in ("implicit", "starttls"):
        one = found[name]
        assert (one["state"], one["tls"], one["mechanism"]) == ("ok", "TLSv1.3", "SCRAM-SHA-256")
        assert str(one["cipher"]).startswith("TLS_")
        assert one["certificate_days"] == 0
        assert one["remarks"] == ["the server's certificate runs out within two days"]
        assert one["next_poll"] == {
            "is_first": True,
            "fetch": 2,
            "fetch_octets": 2 * len(MESSAGE) + 6,
            "delete": 0,
            "mark_as_seen": 0,
            "skip": {},
        }
    assert (found["plain"]["tls"], found["plain"]["certificate_expires"], found["plain"]["remarks"]) == ("", None, [])
    plan = found["plain"]["next_poll"]
    assert isinstance(plan, dict)
    assert (plan["fetch"], plan["delete"]) == (2, 2)
    assert (found["wrong"]["state"], found["wrong"]["outcome"]) == ("failed", "auth")
    assert box.messages() == [MESSAGE, MESSAGE], "nothing was deleted"
    assert not (tmp_path / "Maildir").exists(), "nothing was fetched"
    assert not (tmp_path / "state").exists(), "nothing was written down"


def test_what_was_fetched_before_is_known_and_the_store_is_left_as_it_is(
    tmp_path: Path, dovecot: Dovecot, mailbox: MakeMailbox
) -> None:
    box = mailbox(MESSAGE, password="secret")
    config = write_config(tmp_path, {"alice": account(tmp_path, dovecot.port, user=box.user, mechanism="auto")})
    assert fetchd(tmp_path, "-c", str(config), "--once").code == 0
    box.put(MESSAGE)
    before = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir() if path.is_file()}
    code, found = connected(tmp_path, config)
    plan = found["alice"]["next_poll"]
    assert isinstance(plan, dict)
    assert (code, found["alice"]["messages"], plan["fetch"], plan["is_first"]) == (0, 2, 1, False)
    after = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir() if path.name in before}
    assert after == before


def test_in_a_pipe_it_is_a_table_of_plain_text_and_a_sentence(
    tmp_path: Path, dovecot: Dovecot, mailbox: MakeMailbox
) -> None:
    box = mailbox(MESSAGE, password="secret")
    config = write_config(tmp_path, {"alice": account(tmp_path, dovecot.port, user=box.user, mechanism="auto")})
    ended = check(tmp_path, config, "--connect", "-a", "alice")
    heads, line, total = ended.out.splitlines()
    assert heads.split("  ")[0] == "ACCOUNT"
    assert re.fullmatch(
        rf"alice +127\.0\.0\.1:{dovecot.port} +none +– +SCRAM-SHA-256 +UIDL PIPELINING +1 message, 23 bytes"
        r" +fetches 1 \(23 bytes\)",
        line,
    )
    assert (total, ended.code) == ("1 account: 1 well", 0)
    assert "\x1b" not in ended.out + ended.err


@pytest.mark.parametrize("no_colour", [False, True])
def test_on_a_terminal_it_is_a_table_in_colour_unless_that_is_not_wanted(
    no_colour: bool, tmp_path: Path, dovecot: Dovecot, mailbox: MakeMailbox
) -> None:
    box = mailbox(MESSAGE, password="secret")
    config = write_config(tmp_path, {"alice": account(tmp_path, dovecot.port, user=box.user, mechanism="auto")})
    shown = on_terminal(tmp_path, config, {"NO_COLOR": "1"} if no_colour else {})
    assert "alice" in shown
    assert "fetches 1 (23" in shown
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)) is not no_colour


def on_terminal(home: Path, config: Path, env: dict[str, str]) -> str:
    """Returns what a terminal of 160 columns is sent."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command("-c", str(config), "check", "--connect"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment(home), "TERM": "xterm", "COLUMNS": "160", "LINES": "40", **env},
    )
    os.close(slave)
    text = b""
    with open(master, "rb", buffering=0) as screen:
        while True:
            try:
                more = screen.read(65536)
            except OSError:  # EIO: nobody has the terminal open any more
                break
            if not more:
                break
            text += more
    assert process.wait(PATIENCE) == 0
    return text.decode()


# ── servers that misbehave ───────────────────────────────────────────────────────────────────────────────────────


def test_a_busy_server_is_said_to_be_busy_and_is_no_failure(tmp_path: Path) -> None:
    with ScriptedServer([*BUSY]) as server:
        ended = check(tmp_path, write_config(tmp_path, {"alice": account(tmp_path, server.port)}), "--connect")
    assert ended.code == 0
    assert "1 account: 1 busy" in ended.out
    assert "alice: not tried to the end, and nothing is wrong with it: 127.0.0.1:" in ended.out


def test_a_refused_login_is_one_login_and_one_line_without_tricks(tmp_path: Path) -> None:
    """The script takes one login: a second one would fail it. What the server says cannot colour a terminal."""
    with ScriptedServer([*REFUSED]) as server:
        config = write_config(tmp_path, {"alice": account(tmp_path, server.port)})
        ended = check(tmp_path, config, "--connect", "-q")
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err == (
        rf"alice: 127.0.0.1:{server.port}: the login by USER was refused: -ERR [AUTH] \x1b[31mno" + "\n"
    )


@pytest.mark.parametrize(
    "script", [[Send(b"HTTP/1.1 400 Bad Request\r\n")], [Send(b"-ERR go away\r\n")]], ids=["http", "err"]
)
def test_whatever_a_server_says_there_is_no_traceback(script: Sequence[Step], tmp_path: Path) -> None:
    with ScriptedServer(script) as server:
        ended = check(tmp_path, write_config(tmp_path, {"alice": account(tmp_path, server.port)}), "--connect")
    assert ended.code == 1
    assert "1 account: 1 failed" in ended.out
    assert "Traceback" not in ended.out + ended.err


def test_ctrl_c_ends_it_at_once_and_cleanly(tmp_path: Path) -> None:
    """The server would keep it for ten minutes: the test's patience ends before that."""
    with ScriptedServer([Silence()]) as server:
        config = write_config(tmp_path, {"alice": account(tmp_path, server.port, timeout="10m")})
        process = subprocess.Popen(
            [sys.executable, "-c", _TELLING, "-c", str(config), "check", "--connect"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(tmp_path),
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line == "connected\n":
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "1 account: 1 not finished\n")
    assert "Traceback" not in err


_TELLING = """
import os
from fetchd.cli import main
from fetchd.pop3.transport import SocketTransport
connect = SocketTransport.connect.__func__
def telling(cls, *args, **more):
    transport = connect(cls, *args, **more)
    os.write(2, b"connected" + os.linesep.encode())  # no lock of a stream is held when the main thread ends the process
    return transport
SocketTransport.connect = classmethod(telling)
main()
"""
"""fetchd, with a line on standard error once it is connected, and waits for a greeting."""


def test_a_store_that_cannot_be_looked_at_is_no_bug(tmp_path: Path) -> None:
    """As it is where somebody runs the check who may not search the service's directory; root may search them all."""
    state = tmp_path / ("x" * 300) / "fetchd.db"
    config = write_config(tmp_path, {"alice": account(tmp_path, 1)}, state=str(state))
    ended = check(tmp_path, config, "--connect")
    assert ended.code == 1
    assert f"alice: store {state} cannot be used" in ended.out


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_names_and_servers_are_shown_without_tricks() -> None:
    """A capability's parameters come from the server, and so may anything."""
    evil = Capabilities({"UIDL": (), "LOGIN-DELAY": ("9\x1b[31m",), "IMPLEMENTATION": ("x",)})
    trial = Trial(
        make_account(host="pop.x"),
        channel=Channel("TLSv1.3", "AES", 200_000.0, "USER"),
        capabilities=evil,
        outlook=Outlook(messages=1200, octets=5_000_000, is_first=True, fetch=1000, fetch_octets=4_000_000, delete=7),
        remarks=("look",),
    )
    heads, line, remark = plain([trial], now=100_000.0)
    assert heads.startswith("ACCOUNT  SERVER")
    assert r"UIDL LOGIN-DELAY 9\x1b[31m" in line
    assert "TLSv1.3 AES" in line
    assert "1 day " in line
    assert line.endswith("1,200 messages, 5.0 MB  fetches 1,000 (4.0 MB), deletes 7")
    assert remark == "alice: look"


@pytest.mark.parametrize("columns", [60, 80, 120, 240])
def test_no_name_and_no_word_is_broken_however_narrow_the_terminal(columns: int) -> None:
    """A table where it fits; else a block of lines an account, which says the same."""
    trial = Trial(
        make_account(name="alice-at-her-office", host="outlook.office365.com"),
        channel=Channel("TLSv1.3", "TLS_AES_256_GCM_SHA384", 5_300_000.0, "SCRAM-SHA-256"),
        capabilities=Capabilities({"UIDL": (), "PIPELINING": ()}),
        outlook=Outlook(messages=3, octets=15_100, is_first=True, fetch=3, fetch_octets=15_100),
    )
    failed = Trial(make_account(name="bob"), State.FAILED, error="no such luck")
    console = Console(width=columns, file=StringIO(), record=True)
    console.print(picture([trial, failed], now=100_000.0, console=console))
    shown = console.export_text()
    whole = (
        *("alice-at-her-office", "outlook.office365.com:", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "60 days"),
        *("SCRAM-SHA-256", "UIDL PIPELINING", "3 messages, 15.1 kB", "fetches 3 (15.1 kB)", "failed", "no such luck"),
    )
    assert [text for text in whole if text not in shown] == []
    assert (shown.splitlines()[0].split()[0] == "Account") is (columns == 240)


def test_the_summary_counts_what_was_not_finished() -> None:
    well, bad = Trial(make_account("a")), Trial(make_account("b"), State.FAILED, error="no")
    assert summary([well, bad], 3) == "3 accounts: 1 well, 1 failed, 1 not finished"
    assert summary([well], 1) == "1 account: 1 well"
