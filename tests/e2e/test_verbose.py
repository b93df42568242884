"""``fetchd --verbose``: the whole session, line by line, with a real Dovecot; and not one secret."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeMailbox
from tests.e2e.running import fetchd, maildir_content, write_config
from tests.servers.dovecot import Mailbox
from tests.servers.pki import TestAuthority

WAYS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "APOP", "PLAIN", "LOGIN", "USER"]
PASSWORD = "m4rk3d p4ss/w0rd+%"
WRONG = "wr0ng-m4rk3d-one"
MAIL = b"Subject: s3cr3t business\r\n\r\nOf no concern to a log.\r\n"


def account(box: Mailbox, authority: TestAuthority, tmp_path: Path, way: str, **more: Any) -> dict[str, Any]:
    return {
        "host": box.server.host,
        "port": box.server.tls_port,
        "tls": {"mode": "implicit", "ca_file": str(authority.ca_file)},
        "user": box.user,
        "password": box.password,
        "mechanism": way,
        "deliver": {"maildir": str(tmp_path / f"Maildir-{way}")},
        **more,
    }


def forms(secret: str) -> list[str]:
    """A secret as it is, and as base64 and hexadecimal, alone and within something longer."""
    raw = secret.encode()
    within = [b64encode(b"\0" * shift + raw).decode()[4:-4] for shift in range(3)]
    return [secret, raw.hex(), b64encode(raw).decode().rstrip("="), *within]


@pytest.mark.parametrize("asked", ["--verbose", "log: debug"])
def test_every_line_is_logged_and_no_secret(
    asked: str, mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    """FAULTS 89: by every way to log in, with the right password and with a wrong one."""
    accounts = {way.lower(): account(mailbox(MAIL, password=PASSWORD), authority, tmp_path, way) for way in WAYS}
    for way in ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "USER"):
        box = mailbox(password=PASSWORD)
        wrong = account(box, authority, tmp_path, way, password=WRONG)
        accounts[f"{way.lower()}-wrong"] = wrong
    top = {} if asked == "--verbose" else {"log": "debug"}
    config = write_config(tmp_path, accounts, **top)
    ended = fetchd(tmp_path, "-c", str(config), "--once", *([asked] if asked == "--verbose" else []))
    assert ended.code == 1, ended.err  # the wrong ones

    for way in WAYS:
        traced = [
            event for event in ended.events if event["event"] == "session.trace" and event["account"] == way.lower()
        ]
        assert {event["level"] for event in traced} == {"debug"}
        text = "\n".join(f"{event['direction']} {event['line']}" for event in traced)
        assert text.startswith("= connected to 127.0.0.1:"), text
        assert " by TLSv1.3\n< +OK" in text
        said = {"USER": "> USER ***\n< +OK\n> PASS ***", "APOP": "> APOP ***"}.get(way, f"> AUTH {way}")
        assert said in text
        assert "\n> RETR 1\n> LIST 1\n< +OK" in text
        assert f" octets\n< ({len(MAIL)} octets)\n< .\n< +OK 1 " in text
        assert text.endswith("\n> QUIT"), "nobody waits for its answer where nothing is deleted"
        assert maildir_content(tmp_path / f"Maildir-{way}") == [MAIL.replace(b"\r\n", b"\n")]

    everything = ended.out + ended.err
    for secret in (PASSWORD, WRONG):
        for form in forms(secret):
            assert form.lower() not in everything.lower()
    assert "s3cr3t business" not in everything


def test_without_being_asked_nothing_is_traced(mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path) -> None:
    box = mailbox(MAIL, password=PASSWORD)
    config = write_config(tmp_path, {"a": account(box, authority, tmp_path, "USER")})
    ended = fetchd(tmp_path, "-c", str(config), "--once")
    assert ended.code == 0
    assert "session.trace" not in ended.err
