"""fetchd.oauth.reader: tokens are renewed ahead, once, by whoever comes first; and what each refusal leads to."""

import base64
import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch
from urllib.parse import quote_plus

import pytest

from fetchd import events
from fetchd.errors import AccountError, NetworkError, ProtocolError, Retry, SecretError
from fetchd.model import Secret, SecretOAuth, SecretSource, SecretValue
from fetchd.oauth.files import TokenFiles
from fetchd.oauth.reader import ASK_AGAIN, TOO_YOUNG, TokenReader, why_not
from fetchd.oauth.tokens import Tokens
from tests.clocks import FakeClock
from tests.oauth.endpoint import GRANT, Endpoint, Say, forms, refusal

SECRETS = ("access-", "refresh-", "client-hunter2")


def client_secret(source: SecretSource) -> Secret:
    assert isinstance(source, SecretValue)
    return source.value


@dataclass
class Bench:
    """One account, its provider and its files."""

    endpoint: Endpoint
    directory: Path
    clock: FakeClock = field(default_factory=FakeClock)
    said: list[events.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = SecretOAuth("alice", "alice", "custom", "id", token_endpoint=f"{self.endpoint.url}/token")
        self.files = TokenFiles(self.directory)
        self.reader = self.another()

    def another(self) -> TokenReader:
        return TokenReader(
            self.files, reveal=client_secret, clock=self.clock, chance=lambda: 0.0, emit=self.said.append
        )

    def log_in(self, **changes: object) -> Tokens:
        now = self.clock.wall()
        tokens = Tokens(
            "alice",
            "id",
            self.source.token_endpoint,
            access_token=Secret(b"access-0"),
            refresh_token=Secret(b"refresh-0"),
            obtained_at=now,
            expires_at=now + 3600,
            renew_at=now + 3300,
        )
        tokens = replace(tokens, **changes)  # type: ignore[arg-type]
        with self.files.locked("alice") as file:
            file.write(tokens)
        return tokens

    def token(self) -> bytes:
        return self.reader.reveal(self.source).reveal()

    def fails(self, kind: type[AccountError], text: str) -> AccountError:
        with pytest.raises(kind, match=text) as caught:
            self.token()
        assert not any(secret in str(caught.value) for secret in SECRETS)
        return caught.value

    def kept(self) -> Tokens:
        tokens = self.files.read("alice")
        assert tokens is not None
        return tokens

    def told(self, kind: type[events.Event]) -> list[events.Event]:
        return [event for event in self.said if isinstance(event, kind)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Endpoint(Say()) as endpoint:
        yield Bench(endpoint, tmp_path / "tokens")


def test_without_a_login_the_error_says_what_to_run(bench: Bench) -> None:
    error = bench.fails(SecretError, "^alice has not been logged in: run fetchd login alice$")
    assert error.retry is Retry.SOON, "the file is looked for again soon: that costs nothing"
    bench.log_in()
    assert bench.token() == b"access-0"


def test_a_good_token_asks_nobody(bench: Bench) -> None:
    bench.log_in()
    bench.clock.advance(3299)
    assert bench.token() == b"access-0"
    assert bench.endpoint.asked == []


def test_a_token_is_renewed_ahead_and_kept(bench: Bench) -> None:
    bench.log_in()
    bench.clock.advance(3300)
    assert bench.token() == b"access-1"
    assert forms(bench.endpoint) == [{"grant_type": "refresh_token", "refresh_token": "refresh-0", "client_id": "id"}]
    assert (bench.kept().access_token, bench.kept().refresh_token) == (Secret(b"access-1"), Secret(b"refresh-1"))
    assert bench.told(events.TokenRenewed) == [events.TokenRenewed("alice", bench.clock.wall() + 3600)]
    assert bench.another().reveal(bench.source) == Secret(b"access-1")
    assert len(bench.endpoint.asked) == 1


def test_each_rotated_token_is_stored_before_it_is_used(bench: Bench) -> None:
    """RFC 9700 §4.14.2: whoever uses a rotated one again ends the login."""
    bench.log_in()
    stored: list[Secret | None] = []
    bench.endpoint.script = [
        Say({**GRANT, "refresh_token": f"refresh-{n}"}, before=lambda: stored.append(bench.kept().refresh_token))
        for n in (1, 2, 3)
    ]
    for _ in range(3):
        bench.clock.advance(3300)
        bench.token()
    used = [form["refresh_token"] for form in forms(bench.endpoint)]
    assert used == ["refresh-0", "refresh-1", "refresh-2"]
    assert stored == [Secret(one.encode()) for one in used]


def test_a_client_s_secret_goes_into_the_header(bench: Bench) -> None:
    """RFC 6749 §2.3.1."""
    bench.source = replace(bench.source, client_secret=SecretValue(Secret(b"client-hunter2")))
    bench.log_in(renew_at=0.0)
    bench.token()
    assert "client-hunter2" not in str(bench.endpoint.asked[0].form)
    assert bench.endpoint.asked[0].headers["Authorization"] == "Basic aWQ6Y2xpZW50LWh1bnRlcjI="


@pytest.mark.parametrize("secret", ["a+b/c=", "50%:x y", "pä€"])
def test_a_secret_in_the_header_is_form_encoded(bench: Bench, secret: str) -> None:
    """RFC 6749 §2.3.1: id and secret are encoded by application/x-www-form-urlencoded before they are joined."""
    bench.source = replace(bench.source, client_secret=SecretValue(Secret(secret.encode())))
    bench.log_in(renew_at=0.0)
    bench.token()
    scheme, _, coded = bench.endpoint.asked[0].headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(coded).decode()) == ("Basic", f"id:{quote_plus(secret)}")


def test_a_secret_that_is_no_text_is_named_and_not_quoted(bench: Bench) -> None:
    bench.source = replace(bench.source, client_secret=SecretValue(Secret(b"client-hunter2\xff")))
    bench.log_in(renew_at=0.0, expires_at=bench.clock.wall())
    error = bench.fails(SecretError, "^the client_secret is no text: UTF-8 is expected$")
    assert error.__cause__ is None
    assert bench.endpoint.asked == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"expires_at": 5.0, "renew_at": 5.0}, ""),
        ({"refused_at": 5.0}, "accepts the login no more: it has run out or was revoked: run fetchd login alice$"),
        ({"client_id": "other"}, "its user, client_id or token endpoint has changed .* run fetchd login alice$"),
        ({"refresh_token": None}, ""),
        ({"refresh_token": None, "expires_at": 5.0}, "has run out, and there is no refresh token: run fetchd login"),
    ],
)
def test_without_asking_anybody_it_can_say_that_a_login_is_missing(
    bench: Bench, changes: dict[str, object], text: str
) -> None:
    assert why_not(bench.source, bench.files, now=bench.clock.wall()) == (
        "alice has not been logged in: run fetchd login alice"
    )
    assert not bench.directory.exists()
    bench.log_in(**changes)
    said = why_not(bench.source, bench.files, now=bench.clock.wall())
    assert re.search(text, said) if text else said == ""
    assert bench.endpoint.asked == []


@pytest.mark.parametrize(
    ("say", "kind", "text"),
    [
        (Say({}, 503), NetworkError, r"cannot answer now \(HTTP 503\)"),
        (Say({}, 429), NetworkError, r"cannot answer now \(HTTP 429\)"),
        (Say(b"<html>"), ProtocolError, "no JSON object"),
        (Say({"token_type": "Bearer"}), ProtocolError, "without a usable access_token"),
        (Say(b"x" * (1 << 20)), NetworkError, "more than 256 KiB"),
        (Say({}, 302, {"Location": "http://example.org/"}), NetworkError, "redirects elsewhere"),
        (Say(b"{", length=99), NetworkError, "cannot be reached"),
    ],
)
def test_a_provider_in_trouble_costs_nothing_while_the_token_is_good(
    bench: Bench, say: Say, kind: type[AccountError], text: str
) -> None:
    """FAULTS 84: the token endpoint is down, slow, answers 10 MB, redirects to http."""
    bench.log_in()
    bench.endpoint.script = [say]
    bench.clock.advance(3301)
    assert bench.token() == b"access-0"
    (failed,) = bench.told(events.RenewalFailed)
    assert isinstance(failed, events.RenewalFailed)
    assert "refresh-0" not in failed.error
    bench.clock.advance(300)
    assert bench.fails(kind, text).retry is Retry.SOON
    assert bench.kept().refresh_token == Secret(b"refresh-0")
    bench.endpoint.script = [Say()]
    assert bench.token() == b"access-1"


@pytest.mark.parametrize("code", ["invalid_grant", "interaction_required", "consent_required"])
def test_a_login_that_was_revoked_is_one_clear_message(bench: Bench, code: str) -> None:
    bench.log_in(renew_at=0.0)
    bench.endpoint.script = [refusal(code, "refresh-0 is no good")]
    error = bench.fails(SecretError, r"accepts the login no more.*run fetchd login alice$")
    assert error.retry is Retry.SOON
    assert bench.told(events.LoginExpires)[-1] == events.LoginExpires("alice", bench.clock.wall())
    for _ in range(5):
        bench.clock.advance(300)
        bench.fails(SecretError, "run fetchd login alice")
    assert len(bench.endpoint.asked) == 1, "the provider is left alone for an hour"
    bench.log_in()
    assert bench.token() == b"access-0", "and a new login heals at once"
    assert bench.told(events.LoginExpires)[-1] == events.LoginExpires("alice", None)


def test_a_provider_that_comes_to_its_senses_is_believed(bench: Bench) -> None:
    bench.log_in(renew_at=0.0)
    bench.endpoint.script = [refusal("invalid_grant"), Say()]
    bench.fails(SecretError, "run fetchd login")
    bench.clock.advance(ASK_AGAIN)
    assert bench.token() == b"access-1"
    assert bench.kept().refused_at is None


@pytest.mark.parametrize(
    ("code", "text"),
    [("invalid_client", "look at client_id and client_secret"), ("invalid_scope", "refuses to give a token")],
)
def test_settings_that_are_wrong_are_no_end_of_the_login(bench: Bench, code: str, text: str) -> None:
    bench.log_in(renew_at=0.0, expires_at=1.0)
    bench.endpoint.script = [refusal(code), Say()]
    assert bench.fails(SecretError, text).retry is Retry.LATER
    assert bench.token() == b"access-1"


def test_settings_that_changed_send_the_token_nowhere(bench: Bench) -> None:
    bench.log_in(renew_at=0.0)
    with Endpoint(Say()) as other:
        bench.source = replace(bench.source, token_endpoint=f"{other.url}/token")
        bench.fails(SecretError, "has changed since somebody logged in: run fetchd login alice")
        assert other.asked == []


def test_without_a_refresh_token_a_login_lasts_as_long_as_its_token(bench: Bench) -> None:
    bench.log_in(refresh_token=None)
    bench.clock.advance(3400)
    assert bench.token() == b"access-0"
    bench.clock.advance(200)
    bench.fails(SecretError, "there is no refresh token: run fetchd login alice")
    assert bench.endpoint.asked == []


# ── after a server's refusal ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_refused_token_is_renewed_once(bench: Bench) -> None:
    """FAULTS 84: refresh once, not in a loop."""
    bench.log_in()
    bench.clock.advance(TOO_YOUNG)
    assert bench.reader.renew(bench.source, Secret(b"access-0")) == Secret(b"access-1")
    assert bench.reader.renew(bench.source, Secret(b"access-1")) is None, "a new one would be refused, too"
    assert len(bench.endpoint.asked) == 1


def test_a_token_that_another_process_renewed_is_taken(bench: Bench) -> None:
    bench.log_in(access_token=Secret(b"access-9"))
    assert bench.reader.renew(bench.source, Secret(b"access-0")) == Secret(b"access-9")
    assert bench.endpoint.asked == []


def test_a_refused_token_of_a_revoked_login_is_not_shown_to_the_server_again(bench: Bench) -> None:
    bench.log_in()
    bench.endpoint.script = [refusal("invalid_grant")]
    bench.clock.advance(TOO_YOUNG)
    with pytest.raises(SecretError, match="run fetchd login alice"):
        bench.reader.renew(bench.source, Secret(b"access-0"))
    bench.fails(SecretError, "run fetchd login alice")


def test_a_clock_that_was_set_back_keeps_no_token_for_ever(bench: Bench) -> None:
    bench.log_in(obtained_at=bench.clock.wall() + 1e6)
    assert bench.reader.renew(bench.source, Secret(b"access-0")) == Secret(b"access-1")


# ── what can go wrong in between ─────────────────────────────────────────────────────────────────────────────────────


def test_threads_spend_a_refresh_token_once(bench: Bench) -> None:
    bench.log_in(renew_at=0.0)
    found = []
    threads = [threading.Thread(target=lambda: found.append(bench.another().reveal(bench.source))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Secret(b"access-1")] * 8
    assert len(bench.endpoint.asked) == 1


def test_where_nothing_can_be_stored_nothing_is_asked_for(bench: Bench) -> None:
    bench.log_in(renew_at=0.0, expires_at=1.0)
    with patch("os.posix_fallocate", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        bench.fails(SecretError, "No space left on device")
    assert bench.endpoint.asked == []


def test_tokens_that_could_not_be_stored_after_all_are_stored_by_the_next_poll(bench: Bench) -> None:
    bench.log_in(renew_at=0.0, expires_at=1.0)
    with patch("os.rename", side_effect=OSError(errno.EIO, "Input/output error")):
        bench.fails(SecretError, "Input/output error")
    assert bench.kept().refresh_token == Secret(b"refresh-0")
    assert bench.token() == b"access-1"
    assert bench.kept().refresh_token == Secret(b"refresh-1")
    assert len(bench.endpoint.asked) == 1


def test_a_login_made_meanwhile_counts_more_than_what_could_not_be_stored(bench: Bench) -> None:
    bench.log_in(renew_at=0.0, expires_at=1.0)
    with patch("os.rename", side_effect=OSError(errno.EIO, "Input/output error")):
        bench.fails(SecretError, "Input/output error")
    bench.clock.advance(10)
    bench.log_in(access_token=Secret(b"access-7"))
    assert bench.token() == b"access-7"
    assert bench.kept().access_token == Secret(b"access-7")


def test_a_kill_between_rotation_and_store_leaves_a_clear_state(bench: Bench) -> None:
    """What the provider has granted and nobody could store is lost; what is left is whole, and says what to do."""
    bench.log_in(renew_at=0.0)
    script = f"""
from pathlib import Path
from fetchd.sessions import Secrets, SystemClock
from fetchd.model import SecretOAuth
source = SecretOAuth("alice", "alice", "custom", "id", token_endpoint={bench.source.token_endpoint!r})
Secrets(Path({str(bench.directory.parent / "fetchd.db")!r}), clock=SystemClock(), emit=print).reveal(source)
"""
    spent = threading.Event()
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.DEVNULL)

    def kill() -> None:
        os.kill(process.pid, signal.SIGKILL)
        spent.set()

    bench.endpoint.script = [Say(before=kill), refusal("invalid_grant")]
    assert process.wait(30) == -signal.SIGKILL
    assert spent.is_set()
    bench.fails(SecretError, "run fetchd login alice")
    assert [form["refresh_token"] for form in forms(bench.endpoint)] == ["refresh-0", "refresh-0"]
    assert sorted(path.name for path in bench.directory.iterdir()) == ["alice.json", "alice.lock"]


def test_when_a_login_ends_is_told_when_it_changes(bench: Bench) -> None:
    bench.log_in(login_expires_at=5e9)
    bench.token()
    bench.token()
    assert bench.told(events.LoginExpires) == [events.LoginExpires("alice", 5e9)]
    bench.log_in(login_expires_at=6e9)
    bench.token()
    assert len(bench.told(events.LoginExpires)) == 2


def test_no_event_holds_a_secret(bench: Bench) -> None:
    bench.source = replace(bench.source, client_secret=SecretValue(Secret(b"client-hunter2")))
    bench.log_in(renew_at=0.0)
    bench.endpoint.script = [refusal("x", "refresh-0 client-hunter2"), Say(), refusal("invalid_grant", "refresh-1")]
    bench.token()
    bench.token()
    bench.clock.advance(5000)
    bench.fails(SecretError, "run fetchd login")
    assert len(bench.said) > 2
    assert not any(secret in repr(event) for event in bench.said for secret in SECRETS)
