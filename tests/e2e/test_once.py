"""``fetchd --once`` against a real Dovecot: byte for byte, once, over every kind of line, with the right exit code."""

import mailbox as mailboxes
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeMailbox
from tests.e2e.messages import MB, mixed_messages
from tests.e2e.running import PATIENCE, command, environment, fetchd, maildir_content, write_config
from tests.servers.dovecot import Dovecot, Mailbox
from tests.servers.pki import TestAuthority


def account(box: Mailbox, authority: TestAuthority, **more: Any) -> dict[str, Any]:
    return {
        "host": box.server.host,
        "port": box.server.tls_port,
        "tls": {"mode": "implicit", "ca_file": str(authority.ca_file)},
        "user": box.user,
        "password": box.password,
        **more,
    }


@pytest.fixture(scope="module")
def thousand(dovecot: Dovecot) -> Mailbox:
    box = dovecot.add_user("thousand@example.org", "open sesame")
    for message in mixed_messages(1000):
        box.put(message)
    return box


def wire_form(message: bytes) -> bytes:
    """What is left of a message that went over POP3: lines end in CRLF there, the last one too (RFC 1939 §3)."""
    lines = message.replace(b"\r\n", b"\n")
    return lines if lines.endswith(b"\n") else lines + b"\n"


def test_a_thousand_messages_come_into_a_maildir_byte_for_byte(
    thousand: Mailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    """1 KB to 30 MB, NUL, bare CR, 8-bit, a 10 MB line, lone dots, ``From `` lines; constant memory; once."""
    config = write_config(
        tmp_path, {"big": account(thousand, authority, deliver={"maildir": str(tmp_path / "Maildir")})}
    )
    first = fetchd(tmp_path, "-c", str(config), "--once")
    assert (first.code, first.out.split(" (")[0]) == (0, "1 account: 1,000 new messages"), first.err
    assert maildir_content(tmp_path / "Maildir") == sorted(map(wire_form, mixed_messages(1000)))
    assert first.peak_rss < 100 * MB
    second = fetchd(tmp_path, "-c", str(config), "--once")
    assert (second.code, second.out) == (0, "1 account: nothing new\n")
    assert len(maildir_content(tmp_path / "Maildir")) == 1000


def test_a_thousand_messages_come_into_an_mbox_that_the_library_reads_back(
    thousand: Mailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    config = write_config(tmp_path, {"big": account(thousand, authority, deliver={"mbox": str(tmp_path / "mbox")})})
    first = fetchd(tmp_path, "-c", str(config), "--once")
    assert (first.code, first.out.split(" (")[0]) == (0, "1 account: 1,000 new messages"), first.err
    assert first.peak_rss < 100 * MB
    box = mailboxes.mbox(tmp_path / "mbox", create=False)
    try:
        read = sorted(re.sub(rb"(?m)^>(>*From )", rb"\1", box.get_bytes(key)) for key in box.iterkeys())
    finally:
        box.close()
    assert read == sorted(map(wire_form, mixed_messages(1000)))
    second = fetchd(tmp_path, "-c", str(config), "--once")
    assert (second.code, second.out) == (0, "1 account: nothing new\n")


@pytest.mark.parametrize("mode", ["implicit", "starttls", "none"])
@pytest.mark.parametrize("leave", [True, False])
def test_every_kind_of_line(
    mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path, mode: str, leave: bool
) -> None:
    box = mailbox(*mixed_messages(20, large=False))
    settings = account(box, authority, leave_on_server=leave, deliver={"maildir": str(tmp_path / "Maildir")})
    settings |= {
        "port": box.server.tls_port if mode == "implicit" else box.server.port,
        "tls": mode if mode == "none" else {"mode": mode, "ca_file": str(authority.ca_file)},
    }
    ended = fetchd(tmp_path, "-c", str(write_config(tmp_path, {"alice": settings})), "--once")
    assert ended.code == 0, ended.err
    assert maildir_content(tmp_path / "Maildir") == sorted(map(wire_form, mixed_messages(20, large=False)))
    assert len(box.messages()) == (20 if leave else 0)


def test_an_unknown_authority_is_refused_before_a_password_is_sent(
    mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    box = mailbox(b"Subject: x\n\n")
    settings = account(box, authority, tls="implicit", deliver={"maildir": str(tmp_path / "Maildir")})
    ended = fetchd(tmp_path, "-c", str(write_config(tmp_path, {"alice": settings})), "--once")
    assert ended.code == 1
    (failed,) = [event for event in ended.events if event["event"] == "poll.failed"]
    assert failed["outcome"] == "tls"
    assert "certificate" in failed["error"]
    assert "Traceback" not in ended.err


def test_a_failed_account_is_exit_code_1_and_the_others_are_fetched(
    mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    good, bad = mailbox(b"Subject: x\n\n"), mailbox(b"Subject: y\n\n")
    accounts = {
        "bad": account(bad, authority, password="wr0ng-s3cret", deliver={"maildir": str(tmp_path / "bad")}),
        "good": account(good, authority, deliver={"maildir": str(tmp_path / "good")}),
    }
    ended = fetchd(tmp_path, "-c", str(write_config(tmp_path, accounts)), "--once")
    assert ended.code == 1
    assert ended.out.startswith("2 accounts: 1 new message (")
    assert ended.out.endswith("1 account failed\n")
    assert len(maildir_content(tmp_path / "good")) == 1
    (failed,) = [event for event in ended.events if event["event"] == "poll.failed"]
    assert (failed["account"], failed["outcome"]) == ("bad", "auth")
    assert "wr0ng-s3cret" not in ended.err + ended.out


def test_only_the_named_account_is_polled(mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path) -> None:
    accounts = {
        name: account(mailbox(b"Subject: x\n\n"), authority, deliver={"maildir": str(tmp_path / name)})
        for name in ("one", "two")
    }
    config = str(write_config(tmp_path, accounts))
    assert fetchd(tmp_path, "-c", config, "--once", "-a", "two").code == 0
    assert not (tmp_path / "one").exists()
    assert len(maildir_content(tmp_path / "two")) == 1
    ended = fetchd(tmp_path, "-c", config, "--once", "-a", "three")
    assert (ended.code, ended.err.splitlines()[-1]) == (2, "fetchd: no account 'three'; there are: one, two")


def test_a_bad_configuration_is_exit_code_78_with_every_error_on_its_line(tmp_path: Path) -> None:
    config = tmp_path / "fetchd.yaml"
    config.write_text(
        "accounts:\n  alice:\n    hots: pop.example.net\n    user: alice\n    password: {file: pw}\n"
        "    interval: 5 parsecs\n    deliver: {maildir: Maildir}\n"
    )
    ended = fetchd(tmp_path, "-c", str(config), "--once")
    assert ended.code == 78
    assert re.search(rf"^{re.escape(str(config))}:3: accounts\.alice\.hots: .*host", ended.err, re.MULTILINE)
    assert re.search(rf"^{re.escape(str(config))}:6: accounts\.alice\.interval: ", ended.err, re.MULTILINE)
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["-a", "alice"], ["nonsense"], ["--once", "check"]], ids=" ".join
)
def test_bad_usage_is_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    ended = fetchd(tmp_path, *arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_no_configuration_says_where_it_was_looked_for(tmp_path: Path) -> None:
    ended = fetchd(tmp_path, "--once")
    assert ended.code == 78
    assert str(tmp_path / ".config" / "fetchd" / "fetchd.yaml") in ended.err


def test_a_renamed_account_fetches_nothing_again(
    mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    settings = account(mailbox(b"Subject: x\n\n"), authority, deliver={"maildir": str(tmp_path / "Maildir")})
    assert fetchd(tmp_path, "-c", str(write_config(tmp_path, {"old": settings})), "--once").code == 0
    ended = fetchd(tmp_path, "-c", str(write_config(tmp_path, {"new": settings})), "--once")
    assert (ended.code, ended.out) == (0, "1 account: nothing new\n")
    assert [event["was"] for event in ended.events if event["event"] == "store.renamed"] == ["old"]


def test_a_lost_store_floods_nobody(mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path) -> None:
    """FACTS §3, 3: a container without a volume."""
    settings = account(
        mailbox(*mixed_messages(10, large=False)), authority, deliver={"maildir": str(tmp_path / "Maildir")}
    )
    config = str(write_config(tmp_path, {"alice": settings}))
    assert fetchd(tmp_path, "-c", config, "--once").code == 0
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    ended = fetchd(tmp_path, "-c", config, "--once")
    assert (ended.code, ended.out) == (0, "1 account: nothing new\n")
    loud = {event["event"]: event["level"] for event in ended.events}
    assert (loud["store.created"], loud["store.lost"]) == ("info", "error")
    assert len(maildir_content(tmp_path / "Maildir")) == 10


def test_check_reads_the_configuration_and_touches_nothing(tmp_path: Path) -> None:
    settings = {"host": "pop.example.net", "user": "a", "password": {"env": "PW"}, "deliver": {"maildir": "Maildir"}}
    config = write_config(tmp_path, {"alice": settings})
    ended = fetchd(tmp_path, "-c", str(config), "check")
    assert ended.code == 0
    assert ended.out.startswith(f"{config}: 1 account, no errors")  # and a warning that the state is in /tmp
    assert ended.out.endswith(f"; the store is {tmp_path / 'state' / 'fetchd.db'}\n")
    assert not (tmp_path / "state").exists()


def offline(home: Path, *names: str, port: int = 9) -> str:
    """A configuration whose servers are not there, or never say a word."""
    settings = {"host": "127.0.0.1", "port": port, "tls": "none", "user": "a", "password": {"env": "PW"}}
    settings |= {"deliver": {"maildir": str(home / "Maildir")}, "allow_plaintext_password": True}
    return str(write_config(home, dict.fromkeys(names, settings)))


def run_into(home: Path, stdout: int, *arguments: str) -> tuple[int, str]:
    """Runs fetchd with a standard output of the caller's, buffered as users have it."""
    ended = subprocess.run(
        command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**environment(home, {"PW": "x"}), "PYTHONUNBUFFERED": ""},
        cwd=home,
        timeout=PATIENCE,
        check=False,
    )
    return ended.returncode, ended.stderr.decode()


@pytest.mark.parametrize("arguments", [["check"], ["--once"], ["--help"], ["--version"]], ids=" ".join)
def test_output_on_a_full_disk_is_one_clear_line_and_exit_code_1(tmp_path: Path, arguments: list[str]) -> None:
    config = offline(tmp_path, "alice")
    with Path("/dev/full").open("wb") as full:
        code, err = run_into(tmp_path, full.fileno(), "-c", config, *arguments)
    said = [line for line in err.splitlines() if not line.startswith(("{", "warning: "))]
    assert (code, said) == (1, ["fetchd: cannot write the output: No space left on device"])


@pytest.mark.parametrize("arguments", [["check"], ["--once"], ["--help"]], ids=" ".join)
def test_output_into_a_closed_pipe_is_a_quiet_exit_code_1(tmp_path: Path, arguments: list[str]) -> None:
    config = offline(tmp_path, "alice")
    reads, writes = os.pipe()
    os.close(reads)
    try:
        code, err = run_into(tmp_path, writes, "-c", config, *arguments)
    finally:
        os.close(writes)
    assert (code, [line for line in err.splitlines() if not line.startswith(("{", "warning: "))]) == (1, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("names", [[], ["-a", "one", "-a", "two"]], ids=["all", "named"])
def test_once_interrupted_says_who_was_not_finished_and_its_exit_code_says_so_too(
    tmp_path: Path, number: signal.Signals, names: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        config = offline(tmp_path, "one", "two", "three", port=silent.getsockname()[1])
        process = subprocess.Popen(
            command("-c", config, "--once", *names),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(tmp_path, {"PW": "x"}),
        )
        connections = [silent.accept()[0] for _ in range(2 if names else 3)]
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
        for connection in connections:
            connection.close()
    count = 2 if names else 3
    assert (process.returncode, out.decode()) == (
        130 if number == signal.SIGINT else 1,
        f"{count} accounts: nothing new, {count} accounts not finished\n",
    ), err


def test_the_demo_shows_the_whole_job(tmp_path: Path) -> None:
    ended = fetchd(tmp_path, "demo", str(tmp_path / "demo"))
    assert ended.code == 0, ended.err
    assert "8 new messages" in ended.out
    assert "nothing new" in ended.out
    assert "8 of 8 messages are on disk, byte for byte" in ended.out
    again = fetchd(tmp_path, "demo", str(tmp_path / "demo"))
    assert again.code == 2
    assert "holds a Maildir already" in again.err
