"""fetchd.cli.login: what somebody sees who logs in; what is kept; and that no secret is in any of it."""

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from fetchd import cli
from tests.oauth.endpoint import GRANT, Endpoint, Say, forms, refusal

BEGUN = {
    "device_code": "hunter2-device",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://example.org/device",
    "expires_in": 60,
    "interval": 0.01,
}
TOKENS = {**GRANT, "access_token": "hunter2-access", "refresh_token": "hunter2-refresh"}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(Say(TOKENS)) as endpoint:
        yield endpoint


@pytest.fixture
def config(tmp_path: Path, endpoint: Endpoint) -> Path:
    (tmp_path / "secret").write_text("hunter2-client\n")
    (tmp_path / "secret").chmod(0o600)
    path = tmp_path / "fetchd.yaml"
    custom = f"provider: custom, client_id: id, client_secret: {{file: {tmp_path}/secret}}"
    custom += f", token_endpoint: '{endpoint.url}/token'"
    accounts = {
        "alice": f"oauth: {{{custom}, device_authorization_endpoint: '{endpoint.url}/device', "
        f"authorization_endpoint: '{endpoint.url}/auth'}}",
        "bob": f"oauth: {{{custom}, authorization_endpoint: '{endpoint.url}/auth'}}",
        "dora": f"oauth: {{{custom}, device_authorization_endpoint: '{endpoint.url}/device'}}",
        "gina": "oauth: {provider: google, client_id: id}",
        "paul": "password: {env: P}",
    }
    text = "".join(
        f"  {name}: {{host: pop.example.org, user: {name}, deliver: {{maildir: {tmp_path}/{name}}}, {how}}}\n"
        for name, how in accounts.items()
    )
    path.write_text(f"state: {tmp_path}/fetchd.db\naccounts:\n{text}")
    return path


def run(capfd: pytest.CaptureFixture[str], config: Path, *arguments: str) -> tuple[int, str]:
    code = cli.invoke(["-c", str(config), "login", *arguments])
    said = "".join(capfd.readouterr())
    assert "hunter2" not in said
    return code, said


def kept(config: Path, account: str = "alice") -> dict[str, object]:
    found: dict[str, object] = json.loads((config.parent / "tokens" / f"{account}.json").read_text())
    return found


def test_by_a_code_on_any_device(capfd: pytest.CaptureFixture[str], config: Path, endpoint: Endpoint) -> None:
    endpoint.script = [Say(BEGUN), refusal("authorization_pending"), Say(TOKENS)]
    code, said = run(capfd, config, "alice")
    assert code == 0, said
    assert said == (
        "To let fetchd fetch the mail of alice, open this page on any device:\n\n"
        "    https://example.org/device\n\n"
        "and enter the code ABCD-EFGH\n"
        "alice is logged in.\n"
        "A fetchd that runs takes the token at its next poll of alice; at once after: fetchd poll alice\n"
    )
    assert (kept(config)["access_token"], kept(config)["refresh_token"]) == ("hunter2-access", "hunter2-refresh")
    file = config.parent / "tokens" / "alice.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert all("client_secret" not in form for form in forms(endpoint))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal("access_denied"), "somebody declined at"),
        (refusal("expired_token"), "nobody entered the code in time"),
        (refusal("invalid_client", "hunter2-client"), "does not accept this client"),
        (Say(b"<html>hunter2-device"), "no JSON object"),
        (Say({"access_token": "hunter2 \x1b"}), "access_token that holds a blank"),
    ],
)
def test_what_goes_wrong_is_one_line_and_keeps_nothing(
    capfd: pytest.CaptureFixture[str], config: Path, endpoint: Endpoint, answer: Say, expected: str
) -> None:
    endpoint.script = [Say(BEGUN), answer]
    code, said = run(capfd, config, "alice")
    assert (code, said.splitlines()[-1].startswith("fetchd: ")) == (1, True)
    assert expected in said.splitlines()[-1]
    assert not (config.parent / "tokens" / "alice.json").exists()


def test_a_failed_login_leaves_the_one_before(
    capfd: pytest.CaptureFixture[str], config: Path, endpoint: Endpoint
) -> None:
    endpoint.script = [Say(BEGUN), Say(TOKENS), Say(BEGUN), refusal("access_denied")]
    assert run(capfd, config, "alice")[0] == 0
    assert run(capfd, config, "alice")[0] == 1
    assert kept(config)["refresh_token"] == "hunter2-refresh"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("alicia",), "no account 'alicia'; did you mean \"alice\"?"),
        (("paul",), "paul logs in with a password"),
        (("gina", "--device"), "Google's device flow is not open to the scope of mail; use --browser"),
        (("bob", "--device"), "no device_authorization_endpoint is configured; use --browser"),
        (("dora", "--browser"), "no authorization_endpoint is configured; use --device"),
        (("alice", "--device", "--port", "5"), "--port goes with --browser"),
        (("alice", "--port", "70000"), "70000 is not in the range"),
    ],
)
def test_what_cannot_be_is_exit_code_2(
    capfd: pytest.CaptureFixture[str], config: Path, arguments: tuple[str, ...], expected: str, endpoint: Endpoint
) -> None:
    code, said = run(capfd, config, *arguments)
    assert (code, endpoint.asked) == (2, [])
    assert expected in said


def test_a_bad_configuration_is_exit_code_78(capfd: pytest.CaptureFixture[str], config: Path) -> None:
    config.write_text("accounts: 5\n")
    assert run(capfd, config, "alice")[0] == 78


def test_where_nothing_can_be_kept_nobody_is_asked(
    capfd: pytest.CaptureFixture[str], config: Path, endpoint: Endpoint
) -> None:
    (config.parent / "tokens").write_text("in the way")
    code, said = run(capfd, config, "alice")
    assert (code, endpoint.asked) == (1, [])
    assert "tokens/alice.json: Not a directory" in said


def test_nor_where_there_is_no_room_for_it(
    capfd: pytest.CaptureFixture[str], config: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    code, said = run(capfd, config, "alice")
    assert (code, endpoint.asked) == (1, [])
    assert "tokens/alice.json: No space left on device" in said


def test_a_credential_of_the_service_can_be_shown_to_it(
    capfd: pytest.CaptureFixture[str], config: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    config.write_text(config.read_text().replace(f"{{file: {config.parent}/secret}}", "{credential: secret}"))
    code, said = run(capfd, config, "alice")
    assert (code, endpoint.asked) == (1, [])
    assert said == (
        'fetchd: client_secret: the systemd credential "secret" is there for the service alone: run '
        "CREDENTIALS_DIRECTORY=DIR fetchd login alice, with the directory in which a file of that name holds it\n"
    )
    endpoint.script = [Say(BEGUN), Say(TOKENS)]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(config.parent))
    assert run(capfd, config, "alice")[0] == 0


def test_a_provider_without_refresh_tokens_is_pointed_out(
    capfd: pytest.CaptureFixture[str], config: Path, endpoint: Endpoint
) -> None:
    endpoint.script = [Say(BEGUN), Say({"access_token": "hunter2-access", "expires_in": 3600})]
    code, said = run(capfd, config, "alice")
    assert code == 0
    assert "gave no refresh token" in said


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        (None, ""),
        ("mail.read", ""),
        ("mail.read offline_access extra", ""),
        ("profile", "mail.read"),
        ("MAIL.READ", ""),
        (5, ""),
    ],
)
def test_a_right_that_was_not_granted_is_named(
    capfd: pytest.CaptureFixture[str], config: Path, endpoint: Endpoint, granted: object, missing: str
) -> None:
    """RFC 6749 §5.1: `scope` is in the answer where it is not what was asked for."""
    config.write_text(
        config.read_text().replace("custom, client_id", "custom, scope: mail.read offline_access, client_id")
    )
    endpoint.script = [Say(BEGUN), Say({**TOKENS, "scope": granted})]
    code, said = run(capfd, config, "alice")
    assert (code, kept(config)["refresh_token"]) == (0, "hunter2-refresh")
    assert ("did not grant" in said) is bool(missing)
    assert f"did not grant {missing}, without which" in said or not missing


class Browser:
    """``fetchd login NAME --browser`` as a process, and who sits at it."""

    def __init__(self, config: Path, account: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "fetchd", "-c", str(config), "login", account, "--no-browser", *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.said = ""

    def address(self) -> dict[str, str]:
        """Returns the parameters of the page that is to be opened."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if found := re.search(r"http://\S+/auth\?(\S+)", line):
                return {name: value[0] for name, value in parse_qs(found[1]).items()}
        raise AssertionError(self.said)

    def end(self, pasted: str | None = None) -> int:
        rest, _ = self.process.communicate(pasted, timeout=30)
        self.said += rest
        assert "hunter2" not in self.said
        return self.process.returncode


def test_by_a_browser_that_is_sent_back_here(config: Path, endpoint: Endpoint) -> None:
    browser = Browser(config, "bob")
    asked = browser.address()
    assert (asked["response_type"], asked["code_challenge_method"], asked["login_hint"]) == ("code", "S256", "bob")
    assert urlsplit(asked["redirect_uri"]).hostname == "127.0.0.1"
    arguments = Path(f"/proc/{browser.process.pid}/cmdline").read_text()
    with urllib.request.urlopen(
        f"{asked['redirect_uri']}?code=hunter2-code&state={asked['state']}", timeout=20
    ) as page:
        assert "close this page" in page.read().decode()
    assert browser.end() == 0, browser.said
    (form,) = forms(endpoint)
    assert (form["code"], form["grant_type"]) == ("hunter2-code", "authorization_code")
    assert form["redirect_uri"] == asked["redirect_uri"]
    assert len(form["code_verifier"]) >= 43
    assert form["code_verifier"] not in browser.said
    assert "hunter2" not in arguments
    assert "client_secret" not in form
    assert kept(config, "bob")["refresh_token"] == "hunter2-refresh"


def test_over_ssh_its_last_address_is_pasted(config: Path, endpoint: Endpoint) -> None:
    browser = Browser(config, "bob")
    asked = browser.address()
    pasted = f"what?\n{asked['redirect_uri']}?code=hunter2-code&state={asked['state']}\n"
    assert browser.end(pasted) == 0, browser.said
    assert "That address is not the one that this login ends at." in browser.said
    assert forms(endpoint)[0]["code"] == "hunter2-code"


def test_a_browser_in_which_somebody_declined(config: Path, endpoint: Endpoint) -> None:
    browser = Browser(config, "bob")
    asked = browser.address()
    assert browser.end(f"{asked['redirect_uri']}?error=access_denied&state={asked['state']}\n") == 1
    assert "somebody declined at" in browser.said
    assert endpoint.asked == []


def test_ctrl_c_is_clean(config: Path, endpoint: Endpoint) -> None:
    browser = Browser(config, "bob")
    browser.address()
    browser.process.send_signal(signal.SIGINT)
    assert browser.end() == 130
    assert "Traceback" not in browser.said
    assert not (config.parent / "tokens" / "bob.json").exists()


def test_ctrl_c_while_a_code_is_waited_for(config: Path, endpoint: Endpoint) -> None:
    asked = threading.Event()
    endpoint.script = [Say({**BEGUN, "interval": 1}), Say({"error": "authorization_pending"}, 400, before=asked.set)]
    browser = Browser(config, "dora")
    assert asked.wait(30)
    browser.process.send_signal(signal.SIGINT)
    assert browser.end() == 130
    assert "Traceback" not in browser.said
