"""What app.py wires: the line to a server by every key of an account, the clock, the log; and nothing outlives it."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from freezegun import freeze_time

from fetchd import events
from fetchd.app import App, _pages, log_to
from fetchd.config import SecretReader
from fetchd.errors import NetworkError, SecretError
from fetchd.inbox import Knock
from fetchd.model import (
    HttpAddress,
    LogSettings,
    Proxy,
    ProxyKind,
    Secret,
    SecretCommand,
    SecretFile,
    Tls,
    TlsMode,
    parse_proxy,
)
from fetchd.observe.pages import Request
from fetchd.pop3.session import POP3Session
from fetchd.pop3.trace import Trace
from fetchd.sessions import Connector, SystemClock
from tests.accounts import make_account, make_settings
from tests.conftest import MakeMailbox
from tests.e2e.running import http_get
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
        Connector()(make_account(**keys), Secret(b"secret"))
    assert {key: asked[key] for key in keys} == keys


def test_workers_that_start_together_share_one_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEED: a context costs 40 ms and 1 MB; 64 workers that each find none would make 64."""
    made: list[object] = []
    contexts: list[object] = []
    together = threading.Barrier(8)

    def make(settings: Tls) -> object:
        made.append(settings)
        time.sleep(0.05)  # as long as the real one takes, so that the others come meanwhile
        return object()

    def connect(host: str, port: int, *, context: object, **more: object) -> NoReturn:
        contexts.append(context)
        raise NetworkError("as far as this test goes")

    monkeypatch.setattr("fetchd.pop3.tls.client_context", make)
    monkeypatch.setattr(POP3Session, "connect", connect)
    connector = Connector()

    def poll(name: str) -> None:
        together.wait()
        with pytest.raises(NetworkError):
            connector(make_account(name, tls=Tls(TlsMode.IMPLICIT)), Secret(b"secret"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(poll, map(str, range(8))))
    assert len(made) == 1
    assert len(contexts) == 8
    assert len(set(contexts)) == 1


def test_account_behind_a_proxy_is_reached_and_logged_in_to(
    dovecot: Dovecot, mailbox: MakeMailbox, authority: TestAuthority
) -> None:
    """With a real server, whose name only the proxy knows, and a proxy that wants a password."""
    box = mailbox(b"Subject: x\r\n\r\n")
    route = {("localhost", 995): (dovecot.host, dovecot.tls_port)}
    account = make_account(host="localhost", port=995, tls=Tls(ca_file=authority.ca_file), user=box.user)
    with Socks5Proxy(route, Credentials("me", "s3same")) as proxy:
        account = replace(account, proxy=parse_proxy(proxy.url))
        with Connector()(account, Secret(box.password.encode())) as maildrop:
            assert maildrop.stat()[0] == 1
        assert proxy.asked == [("localhost", 995)]
    assert "s3same" not in repr(account)


def test_a_proxys_password_is_read_anew_for_every_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stands in no trace."""
    said: list[str] = []

    def connect(host: str, port: int, *, proxy: Proxy, trace: Trace, **wishes: object) -> NoReturn:
        assert proxy.password is not None
        trace.status(b"-ERR " + proxy.password.reveal())
        said.append(proxy.password.reveal().decode())
        raise NetworkError("as far as this test goes")

    monkeypatch.setattr(POP3Session, "connect", connect)
    secret = tmp_path / "proxy"
    account = make_account(proxy=Proxy(ProxyKind.HTTP, "p.x", 3128, user="u"), proxy_password=SecretFile(secret))
    traced: list[events.Event] = []
    connector = Connector(trace_to=traced.append, reveal=SecretReader({}).reveal)
    for password in ("oldproxypass", "newproxypass"):
        secret.write_text(password)
        with pytest.raises(NetworkError):
            connector(account, Secret(b"secret"))
    assert said == ["oldproxypass", "newproxypass"]
    assert len(traced) == 2
    assert "proxypass" not in repr(traced)
    secret.unlink()
    with pytest.raises(SecretError, match="No such file"):
        connector(account, Secret(b"secret"))


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


class Stuck:
    """An inbox that nobody reads."""

    def put(self, message: object) -> None:
        pass


class Turning:
    """An inbox whose main loop answers at once."""

    def put(self, message: Knock) -> None:
        message.answer()


def health(tmp_path: Path, inbox: object, *, closed: bool = False) -> tuple[int, str]:
    settings = make_settings([make_account()], state=tmp_path / "fetchd.db", http=HttpAddress("127.0.0.1", 0))
    with App(settings, renderers=[], load=lambda: settings, serve_http=True) as app:
        assert app._board is not None
        assert app._metrics is not None
        if closed:
            app._store.close()
        pages = _pages(app._board, app._metrics, store=app._store, inbox=inbox)  # type: ignore[arg-type]
        answer = pages["/healthz"](Request())
    return answer.status, answer.body.decode()


def test_health_is_a_main_loop_that_answers_and_a_store_that_can_be_written(tmp_path: Path) -> None:
    assert health(tmp_path, Turning()) == (200, "ok\n")


def test_a_main_loop_that_does_not_answer_is_not_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetchd.app._PATIENCE_OF_HEALTH", 0.01)
    assert health(tmp_path, Stuck()) == (503, "the main loop has not answered for 0 s\n")


def test_a_store_that_cannot_be_used_is_not_healthy(tmp_path: Path) -> None:
    status, text = health(tmp_path, Turning(), closed=True)
    assert status == 503
    assert "is closed" in text


def test_the_first_scrape_finds_every_account(tmp_path: Path) -> None:
    """The endpoint is up before the main loop turns: a scrape in between must not make all series look lost."""
    settings = make_settings([make_account("alice")], state=tmp_path / "fetchd.db", http=HttpAddress("127.0.0.1", 0))
    heard: list[events.Event] = []
    with App(settings, renderers=[heard.append], load=lambda: settings, serve_http=True):
        (listening,) = (one for one in heard if isinstance(one, events.HttpListening))
        page = http_get(listening.address, "/metrics")
    assert 'fetchd_polls_total{account="alice",outcome="ok"} 0' in page
    assert 'fetchd_account_interval_seconds{account="alice"} 300.0' in page
