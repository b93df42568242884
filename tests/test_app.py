"""What app.py wires: the line to a server by every key of an account, the clock, the log; and nothing outlives it."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from freezegun import freeze_time

from fetchd import events
from fetchd.app import App, SystemClock, _Connector, log_to
from fetchd.errors import NetworkError, SecretError
from fetchd.model import LogSettings, Proxy, ProxyKind, Secret, SecretCommand, Tls, TlsMode, parse_proxy
from fetchd.pop3.session import POP3Session
from tests.accounts import make_account, make_settings
from tests.conftest import MakeMailbox
from tests.servers.dovecot import Dovecot
from tests.servers.pki import TestAuthority
from tests.servers.proxies import Credentials, Socks5Proxy


def test_every_key_of_the_line_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is forgotten on the way from the configuration to the transport."""
    asked: dict[str, object] = {}

    def connect(host: str, port: int, **wishes: object) -> None:
        asked.update(wishes, host=host, port=port)
        raise NetworkError("as far as this test goes")

    monkeypatch.setattr(POP3Session, "connect", connect)
    keys = {
        "host": "pop.x",
        "port": 1110,
        "tls": Tls(TlsMode.STARTTLS, server_name="pop.y"),
        "timeout": 7.0,
        "login_timeout": 8.0,
        "session_timeout": 9.0,
        "minimum_rate": 10,
        "source_address": "192.0.2.1",
        "proxy": Proxy(ProxyKind.HTTP, "proxy.x", 3128),
    }
    with pytest.raises(NetworkError):
        _Connector()(make_account(**keys), Secret(b"secret"))
    assert {key: asked[key] for key in keys} == keys


def test_account_behind_a_proxy_is_reached_and_logged_in_to(
    dovecot: Dovecot, mailbox: MakeMailbox, authority: TestAuthority
) -> None:
    """With a real server, whose name only the proxy knows, and a proxy that wants a password."""
    box = mailbox(b"Subject: x\r\n\r\n")
    route = {("localhost", 995): (dovecot.host, dovecot.tls_port)}
    account = make_account(host="localhost", port=995, tls=Tls(ca_file=authority.ca_file), user=box.user)
    with Socks5Proxy(route, Credentials("me", "s3same")) as proxy:
        account = replace(account, proxy=parse_proxy(proxy.url))
        with _Connector()(account, Secret(box.password.encode())) as maildrop:
            assert maildrop.stat()[0] == 1
        assert proxy.asked == [("localhost", 995)]
    assert "s3same" not in repr(account)


def test_a_password_command_that_hangs_does_not_outlive_the_app(tmp_path: Path) -> None:
    """A worker that was abandoned at the end still waits for it."""
    started = tmp_path / "started"
    os.mkfifo(started)
    command = SecretCommand(("sh", "-c", f"echo > '{started}'; sleep 600"))
    settings = make_settings([make_account(password=command)], state=tmp_path / "fetchd.db")
    with ThreadPoolExecutor() as pool:
        with App(settings, renderers=[], load=lambda: settings) as app:
            waiting = pool.submit(app._secrets.reveal, command)
            started.read_text()
        with pytest.raises(SecretError, match="was ended by signal 9"):
            waiting.result()


def test_the_system_clock_is_the_machines_own() -> None:
    """The one place where time comes from outside; everywhere else a clock is handed in."""
    clock = SystemClock()
    with freeze_time("2026-11-24 05:52:21", tz_offset=0) as frozen:
        assert clock.wall() == 1795499541.0
        before = clock.monotonic()
        frozen.tick(90.0)
        assert (clock.wall(), clock.monotonic()) == (1795499631.0, before + 90.0)


def test_a_log_line_bears_the_time_of_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with freeze_time("2026-11-24 05:52:21.5"):
        log_to(sys.stderr, LogSettings(format="json"))(events.PollAllRequested())
    assert '"timestamp": "2026-11-24T05:52:21.500Z"' in capsys.readouterr().err
