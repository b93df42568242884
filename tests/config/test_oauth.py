"""``oauth:``: what may stand there, what it becomes, and what it does not go together with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd.config.loader import load
from fetchd.errors import ConfigError
from fetchd.model import Account, Secret, SecretEnv, SecretFile, SecretOAuth, SecretValue

ENVIRON = {"HOME": "/h", "STATE_DIRECTORY": "/s", "PATH": "/bin", "X": "x"}
ENDPOINTS = "token_endpoint: 'https://l.example.org/t', device_authorization_endpoint: 'https://l.example.org/d'"


@pytest.fixture
def account(tmp_path: Path) -> Callable[..., Account]:
    def account(oauth: str, *more: str, defaults: str = "", mode: int = 0o600) -> Account:
        path = tmp_path / "f.yaml"
        lines = "".join(f"    {line}\n" for line in (oauth, *more) if line)
        path.write_text(
            f"defaults: {{{defaults}}}\naccounts:\n  alice:\n    host: pop.example.org\n    user: a@example.org\n"
            f"    deliver: {{maildir: /m}}\n{lines}"
        )
        path.chmod(mode)
        return load(path, environ=ENVIRON).accounts["alice"]

    return account


def test_a_provider_that_is_known_takes_a_client_id(account: Callable[..., Account]) -> None:
    assert account("oauth: {provider: google, client_id: i, client_secret: {env: X}}").password == SecretOAuth(
        "alice", "a@example.org", "google", "i", client_secret=SecretEnv("X")
    )
    made = account("oauth: {provider: microsoft, client_id: i, tenant: example.org, scope: a b}").password
    assert made == SecretOAuth("alice", "a@example.org", "microsoft", "i", tenant="example.org", scope="a b")


def test_another_provider_has_endpoints_of_its_own(account: Callable[..., Account]) -> None:
    made = account(f"oauth: {{provider: custom, client_id: i, {ENDPOINTS}, client_secret: geheim}}").password
    assert isinstance(made, SecretOAuth)
    assert (made.token_endpoint, made.client_secret) == ("https://l.example.org/t", SecretValue(Secret(b"geheim")))
    assert "geheim" not in repr(made)


def test_the_defaults_may_say_it_for_all_and_an_account_otherwise(account: Callable[..., Account]) -> None:
    everybody = "oauth: {provider: microsoft, client_id: i}"
    assert isinstance(account("", defaults=everybody).password, SecretOAuth)
    assert account("password: {env: X}", defaults=everybody).password == SecretEnv("X")
    made = account("oauth: {provider: google, client_id: j}", defaults=everybody).password
    assert isinstance(made, SecretOAuth)
    assert (made.provider, made.client_id) == ("google", "j")
    assert isinstance(account(everybody, defaults="password: {env: X}").password, SecretOAuth)


@pytest.mark.parametrize("mechanism", ["auto", "XOAUTH2", "oauthbearer"])
def test_a_token_goes_by_a_mechanism_for_tokens(account: Callable[..., Account], mechanism: str) -> None:
    account("oauth: {provider: google, client_id: i}", f"mechanism: {mechanism}")


@pytest.mark.parametrize(
    ("oauth", "more", "text"),
    [
        ("oauth: {}", "", "oauth: provider and client_id are missing"),
        ("oauth: {provider: google}", "", "oauth: client_id is missing"),
        ("oauth: {provider: gogle, client_id: i}", "", '"gogle" is not one of google, microsoft or custom'),
        ("oauth: google", "", "a mapping is expected, as in oauth: {provider: microsoft, client_id: …}"),
        ("oauth: {provider: google, client_id: i, tenant: x}", "", "a tenant goes with provider: microsoft"),
        ("oauth: {provider: microsoft, client_id: i, tenant: a/b}", "", "an organisation's domain or id"),
        (f"oauth: {{provider: google, client_id: i, {ENDPOINTS}}}", "", "token_endpoint goes with provider: custom"),
        ("oauth: {provider: custom, client_id: i}", "", "provider: custom needs a token_endpoint, and"),
        (
            "oauth: {provider: custom, client_id: i, token_endpoint: 'https://x/'}",
            "",
            "provider: custom needs a token_endpoint, and",
        ),
        (f"oauth: {{provider: custom, client_id: 'i i', {ENDPOINTS}}}", "", "one word of ASCII"),
        (
            f"oauth: {{provider: custom, client_id: i, {ENDPOINTS.replace('https', 'http')}}}",
            "",
            "https:// is expected",
        ),
        (
            f"oauth: {{provider: custom, client_id: i, {ENDPOINTS.replace('https://', 'https://u:geheim@')}}}",
            "",
            "a URL is expected",
        ),
        ("oauth: {provider: google, client_id: i, cilent_secret: geheim}", "", 'did you mean "client_secret"?'),
        ("oauth: {provider: google, client_id: i, client_secret: {geheim}}", "", "a plain password stands in quotes"),
        (
            "oauth: {provider: google, client_id: i}",
            "password: {env: X}",
            "password and oauth are both given: remove one of them",
        ),
        (
            "oauth: {provider: google, client_id: i}",
            "mechanism: PLAIN",
            "mechanism: PLAIN takes no token, and oauth gives one: write OAUTHBEARER or XOAUTH2, or remove this line",
        ),
        ("oauth: {provider: google, client_id: i}", "tls: none", "the token would go to pop.example.org over a plain"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(account: Callable[..., Account], oauth: str, more: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        account(oauth, more)
    assert text in str(caught.value)
    assert "geheim" not in str(caught.value).replace("cilent_secret", "")


@pytest.mark.parametrize("where", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:5"])
def test_a_provider_on_this_machine_needs_no_tls(account: Callable[..., Account], where: str) -> None:
    account(f"oauth: {{provider: custom, client_id: i, {ENDPOINTS.replace('https://l.example.org', where)}}}")


def test_a_client_s_secret_in_a_file_that_others_can_read_is_an_error(account: Callable[..., Account]) -> None:
    secret = "oauth: {provider: google, client_id: i, client_secret: geheim}"
    account(secret)
    with pytest.raises(ConfigError, match="others can read it") as caught:
        account(secret, mode=0o644)
    assert "oauth.client_secret" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_neither_password_nor_oauth_is_missing_by_the_usual_name(account: Callable[..., Account]) -> None:
    with pytest.raises(ConfigError, match="password is missing"):
        account("")


def test_a_file_for_a_client_s_secret_is_found_like_a_password_s(
    account: Callable[..., Account], tmp_path: Path
) -> None:
    made = account("oauth: {provider: google, client_id: i, client_secret: {file: s}}").password
    assert isinstance(made, SecretOAuth)
    assert made.client_secret == SecretFile(tmp_path / "s")
