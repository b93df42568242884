"""fetchd login and fetchd --once, as processes, against npm's oidc-provider and a Dovecot that asks it about tokens."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.dovecot import Dovecot
from tests.servers.oidc import CLIENT_SECRET, OidcProvider, UnavailableError, installed
from tests.servers.pki import TestAuthority

pytestmark = pytest.mark.oauth

MESSAGE = b"From: a@example.org\r\nSubject: one\r\n\r\nhello\r\n"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/auth\?\S+")


@pytest.fixture(scope="module")
def oidc() -> Iterator[OidcProvider]:
    try:
        installed()
    except UnavailableError as error:
        pytest.skip(str(error))
    with OidcProvider(access_seconds=8) as provider:
        yield provider


@pytest.fixture(scope="module")
def dovecot(oidc: OidcProvider, authority: TestAuthority) -> Iterator[Dovecot]:
    with Dovecot(authority, introspection=oidc.introspection) as server:
        yield server


@dataclass
class Fetchd:
    """One account's fetchd, by its command line."""

    home: Path
    user: str
    oidc: OidcProvider
    output: str = ""

    @property
    def tokens(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.file.read_text())
        return found

    @property
    def file(self) -> Path:
        return self.home / "state" / "tokens" / "acc.json"

    @property
    def delivered(self) -> int:
        new = self.home / "Maildir" / "new"
        return len(list(new.iterdir())) if new.exists() else 0

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "fetchd", "-c", str(self.home / "fetchd.yaml"), *arguments]

    def run(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        said = done.stdout + done.stderr
        self.output += said
        return done.returncode, said

    @contextmanager
    def login(self, *arguments: str) -> Iterator["Login"]:
        process = subprocess.Popen(
            self.command("login", "acc", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        running = Login(process)
        try:
            yield running
        finally:
            process.kill()
            process.communicate()
            self.output += running.said


@dataclass
class Login:
    """A ``fetchd login`` that runs."""

    process: "subprocess.Popen[str]"
    said: str = ""

    def read_until(self, pattern: "re.Pattern[str]") -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if found := pattern.search(line):
                return found[found.lastindex or 0]
        raise AssertionError(f"not said: {pattern.pattern}\n{self.said}")

    def end(self, pasted: str | None = None) -> int:
        rest, _ = self.process.communicate(pasted, timeout=60)
        self.said += rest
        return self.process.returncode


@pytest.fixture
def fetchd(request: pytest.FixtureRequest, tmp_path: Path, oidc: OidcProvider, dovecot: Dovecot) -> Iterator[Fetchd]:
    oidc.do("mode", m="ok")
    user = f"user{abs(hash(request.node.name))}"
    dovecot.add_user(user, "no password of any use").put(MESSAGE)
    options = {"mechanism": "auto", "client": "client_id: fetchd"} | getattr(request, "param", {})
    (tmp_path / "fetchd.yaml").write_text(f"""
state: {tmp_path}/state/
accounts:
  acc:
    host: localhost
    port: {dovecot.tls_port}
    tls: {{mode: implicit, ca_file: {dovecot.directory}/etc/ca.pem}}
    user: {user}
    oauth:
      provider: custom
      {options["client"]}
      scope: openid offline_access mail
      authorization_endpoint: {oidc.url}/auth
      token_endpoint: {oidc.url}/token
      device_authorization_endpoint: {oidc.url}/device/auth
    mechanism: {options["mechanism"]}
    deliver: {{maildir: {tmp_path}/Maildir}}
""")
    (tmp_path / "fetchd.yaml").chmod(0o600)
    (tmp_path / "state").mkdir()
    fetchd = Fetchd(tmp_path, user, oidc)
    yield fetchd
    if fetchd.file.exists():
        for key in ("access_token", "refresh_token"):
            assert fetchd.tokens[key] not in fetchd.output
    assert CLIENT_SECRET not in fetchd.output


def log_in_by_device(fetchd: Fetchd) -> str:
    with fetchd.login() as login:
        fetchd.oidc.do("approve", user_code=login.read_until(re.compile(r"the code (\S+)")), sub=fetchd.user)
        assert login.end() == 0, login.said
        return login.said


def expire(fetchd: Fetchd) -> None:
    """Makes the time come at which the access token is renewed."""
    fetchd.file.write_text(json.dumps({**fetchd.tokens, "renew_at": 1.0, "expires_at": 2.0}))


@pytest.mark.parametrize("fetchd", [{"mechanism": "XOAUTH2"}, {"mechanism": "OAUTHBEARER"}], indirect=True)
def test_a_login_by_device_fetches_mail(fetchd: Fetchd) -> None:
    code, said = fetchd.run("--once")
    assert (code, "acc has not been logged in: run fetchd login acc" in said) == (1, True), said
    log_in_by_device(fetchd)
    assert stat.S_IMODE(fetchd.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(fetchd.file.parent.stat().st_mode) == 0o700
    code, said = fetchd.run("--once", "-v")
    assert (code, fetchd.delivered) == (0, 1), said
    mechanism = (fetchd.home / "fetchd.yaml").read_text().split("mechanism: ")[1].split()[0]
    assert re.search(rf'"mechanism": ?"{mechanism}"', said), said


def test_somebody_who_declines_is_told_so(fetchd: Fetchd) -> None:
    with fetchd.login("--device") as login:
        fetchd.oidc.do("deny", user_code=login.read_until(re.compile(r"the code (\S+)")))
        assert login.end() == 1
        assert "somebody declined" in login.said
    assert not fetchd.file.exists()


def test_a_login_by_browser_with_pkce_fetches_mail(fetchd: Fetchd) -> None:
    with fetchd.login("--browser", "--no-browser") as login:
        url = login.read_until(ADDRESS)
        assert "code_challenge_method=S256" in url
        assert "fetchd has what it needs" in fetchd.oidc.browse(url)
        assert login.end() == 0, login.said
    assert fetchd.run("--once")[0] == 0
    assert fetchd.delivered == 1


@pytest.mark.parametrize(
    "fetchd", [{"client": f"client_id: secretive\n      client_secret: {CLIENT_SECRET}"}], indirect=True
)
def test_over_ssh_the_address_is_pasted(fetchd: Fetchd) -> None:
    """The browser is on another machine, where it ends at an address that it cannot open."""
    with fetchd.login("--browser", "--no-browser") as login:
        landed = fetchd.oidc.end_of(login.read_until(ADDRESS))
        assert login.end(pasted=f"nonsense\n{landed}\n") == 0, login.said
        assert "not the one" in login.said
    assert fetchd.run("--once")[0] == 0
    assert fetchd.delivered == 1


def test_a_browser_that_declines(fetchd: Fetchd) -> None:
    fetchd.oidc.do("mode", m="deny")
    with fetchd.login("--browser", "--no-browser") as login:
        assert "not allowed" in fetchd.oidc.browse(login.read_until(ADDRESS))
        assert login.end() == 1
        assert "somebody declined" in login.said


def test_a_token_is_renewed_ahead_and_the_rotated_one_kept(fetchd: Fetchd) -> None:
    log_in_by_device(fetchd)
    before = fetchd.tokens
    for _ in range(3):
        expire(fetchd)
        assert fetchd.run("--once")[0] == 0
    after = fetchd.tokens
    assert after["refresh_token"] != before["refresh_token"]
    assert after["access_token"] != before["access_token"]


def test_an_expired_token_that_looks_good_is_renewed_once_after_the_refusal(fetchd: Fetchd) -> None:
    """Dovecot cannot tell expired from wrong."""
    log_in_by_device(fetchd)
    spoilt = {**fetchd.tokens, "access_token": "x" * 43, "obtained_at": 1.0, "renew_at": 9e12, "expires_at": 9e12}
    fetchd.file.write_text(json.dumps(spoilt))
    code, said = fetchd.run("--once", "-v")
    assert (code, fetchd.delivered) == (0, 1), said
    assert said.count("oauth.renewed") == 1
    assert fetchd.run("--once")[0] == 0


def test_a_revoked_login_is_one_clear_message_and_heals_by_a_new_one(fetchd: Fetchd) -> None:
    log_in_by_device(fetchd)
    fetchd.oidc.do("revoke", sub=fetchd.user)
    fetchd.file.write_text(json.dumps({**fetchd.tokens, "obtained_at": 1.0}))
    for _ in range(2):
        code, said = fetchd.run("--once")
        assert code == 1
        assert "accepts the login no more" in said
        assert "run fetchd login acc" in said
        assert "was refused" not in said, "no wrong password is counted"
    log_in_by_device(fetchd)
    code, said = fetchd.run("--once")
    assert (code, fetchd.delivered) == (0, 1), said


def test_a_provider_that_is_down_is_no_wrong_password(fetchd: Fetchd) -> None:
    log_in_by_device(fetchd)
    expire(fetchd)
    fetchd.oidc.do("mode", m="down")
    code, said = fetchd.run("--once")
    assert code == 1
    assert "cannot answer now (HTTP 503)" in said
    assert re.search(r'"outcome": ?"network"', said), said
    assert re.search(r'"retry": ?"soon"', said), said
    fetchd.oidc.do("mode", m="ok")
    assert fetchd.run("--once")[0] == 0


def test_introspection_that_is_down_is_no_wrong_token(fetchd: Fetchd) -> None:
    log_in_by_device(fetchd)
    before = fetchd.tokens["refresh_token"]
    fetchd.oidc.do("mode", m="down")
    code, said = fetchd.run("--once")
    assert code == 1
    assert "[SYS/TEMP]" in said
    assert re.search(r'"retry": ?"soon"', said), said
    assert fetchd.tokens["refresh_token"] == before, "there was nothing to renew"
    fetchd.oidc.do("mode", m="ok")
    assert fetchd.run("--once")[0] == 0


def test_a_command_may_print_the_token(fetchd: Fetchd) -> None:
    """``password: {command: …}`` with a mechanism that takes a token."""
    log_in_by_device(fetchd)
    token = fetchd.home / "token"
    token.write_text(fetchd.tokens["access_token"] + "\n")
    config = fetchd.home / "fetchd.yaml"
    text = re.sub(r"    oauth:\n(      .*\n)+", f"    password: {{command: cat {token}}}\n", config.read_text())
    config.write_text(text.replace("mechanism: auto", "mechanism: xoauth2"))
    code, said = fetchd.run("--once")
    assert (code, fetchd.delivered) == (0, 1), said


def test_two_processes_that_renew_at_once_spend_the_refresh_token_once(fetchd: Fetchd) -> None:
    log_in_by_device(fetchd)
    expire(fetchd)
    script = (
        "import os, random\nfrom pathlib import Path\nfrom fetchd.sessions import Secrets, SystemClock\n"
        "from fetchd.config import load\n"
        f"settings = load(Path({str(fetchd.home / 'fetchd.yaml')!r}), environ=os.environ)\n"
        "secrets = Secrets(settings.state, clock=SystemClock(), emit=lambda event: None)\n"
        "print(secrets.reveal(settings.accounts['acc'].password).reveal().decode())"
    )
    running = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(4)]
    printed = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 4
    assert printed == {fetchd.tokens["access_token"].encode() + b"\n"}
    assert fetchd.run("--once")[0] == 0
