"""fetchd.oauth.browser: where the browser lands, what is pasted, and what is not for us (RFC 8252, RFC 6749 §10.12)."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import SecretError, UsageError
from fetchd.model import Secret
from fetchd.oauth.browser import Landing, Returned, parse_returned
from fetchd.oauth.client import OAuthClient, new_state, new_verifier
from fetchd.oauth.providers import provider_of
from tests.oauth.test_device import source

CODE = Returned(Secret(b"hunter2"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:5/?code=hunter2&state=S", CODE),
        ("/?state=S&code=hunter2&session_state=x", CODE),
        ("  /?code=hunter2&state=S \n", CODE),
        ("/?code=hun%74er2&state=S", CODE),
        ("/?error=access_denied&state=S", Returned(None, "access_denied")),
        ("/?error=%1b%5b31m&state=S", Returned(None, "\\x1b[31m")),
        ("/?state=S", Returned(None, "no code")),
        ("/?code=a&code=b&state=S", Returned(None, "no code")),
        ("/?code=hunter2&state=T", None),
        ("/?code=hunter2&state=S&state=S", None),
        ("/?code=hunter2", None),
        ("/?code=hunter2&state=", None),
        ("/favicon.ico", None),
        ("", None),
        ("http://[", None),
        ("/?" + "&".join("abcdefgh" * 9) + "&state=S", None),
    ],
)
def test_what_an_address_says(address: str, expected: Returned | None) -> None:
    assert parse_returned(address, state="S") == expected


@given(st.text(max_size=300))
def test_any_text_is_an_answer_or_none(text: str) -> None:
    assert parse_returned(text, state=new_state()) is None


def test_the_question_carries_state_and_a_hashed_verifier() -> None:
    """RFC 7636 appendix B has the numbers."""
    verifier = Secret(b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    asks = OAuthClient(source(), provider_of(source()))
    url = asks.authorization_url(state="S T", verifier=verifier, redirect="http://127.0.0.1:5/")
    assert "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256" in url
    assert "state=S+T" in url or "state=S%20T" in url
    assert "redirect_uri=http%3A%2F%2F127.0.0.1%3A5%2F" in url
    assert verifier.reveal().decode() not in url
    assert len(new_verifier().reveal()) >= 43
    assert new_state() != new_state()


@dataclass
class Waiting:
    """A landing that waits in a thread of its own."""

    port: int
    said: list[object] = field(default_factory=list)
    strays: list[int] = field(default_factory=list)

    def send(self, *parts: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as line:
            for part in parts:
                line.sendall(part)
            answer = b""
            while chunk := line.recv(4096):
                answer += chunk
        return answer


@contextmanager
def waiting(
    *, terminal: int | None = None, seconds: float = 20.0, meanwhile: Callable[[], object] = int
) -> Iterator[Waiting]:
    with Landing() as landing:
        found = Waiting(landing.port)

        def wait() -> None:
            stream = None if terminal is None else open(terminal, closefd=False)  # noqa: SIM115 - closed below
            try:
                found.said.append(
                    landing.wait(
                        state="S",
                        terminal=stream,
                        tick=lambda _: meanwhile(),
                        on_stray=lambda: found.strays.append(1),
                        seconds=seconds,
                    )
                )
            except SecretError as error:
                found.said.append(error)
            finally:
                if stream is not None:
                    stream.close()

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            yield found
        finally:
            thread.join(20)
            assert not thread.is_alive()


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_the_browser_brings_the_code_and_gets_a_page() -> None:
    with waiting() as landing:
        page = landing.send(get("/?code=hunter2&state=S"))
    assert landing.said == [CODE]
    assert page.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"close this page" in page
    assert b"Referrer-Policy: no-referrer" in page
    assert b"hunter2" not in page


def test_what_is_not_ours_is_turned_away_and_the_wait_goes_on() -> None:
    """A state that is not ours is somebody else's login (RFC 6749 §10.12)."""
    with waiting() as landing:
        for target in ("/favicon.ico", "/?code=evil&state=T", "/?code=evil"):
            assert landing.send(get(target)).startswith(b"HTTP/1.1 404")
        assert landing.send(b"POST /?code=evil&state=S HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404")
        assert landing.send(b"\x16\x03\x01\n\n").startswith(b"HTTP/1.1 404")
        assert landing.said == []
        landing.send(get("/?code=hunter2&state=S"))
    assert landing.said == [CODE]


def test_a_request_may_come_in_pieces_beside_connections_that_say_nothing() -> None:
    """Browsers open some ahead of time."""
    with waiting() as landing:
        silent = [socket.create_connection(("127.0.0.1", landing.port)) for _ in range(30)]
        silent[0].settimeout(5)
        assert silent[0].recv(1) == b"", "the first of too many is closed"
        whole = get("/?code=hunter2&state=S")
        landing.send(*[whole[n : n + 1] for n in range(len(whole))])
        for line in silent:
            line.close()
    assert landing.said == [CODE]


def test_a_request_without_end_is_dropped() -> None:
    with waiting() as landing:
        with socket.create_connection(("127.0.0.1", landing.port), timeout=5) as line, suppress(ConnectionError):
            line.sendall(b"x" * (64 << 10))
            assert line.recv(1) == b"", "not only once its patience ends"
        landing.send(get("/?code=hunter2&state=S"))
    assert landing.said == [CODE]


def test_a_browser_that_declined_is_told_so() -> None:
    with waiting() as landing:
        assert b"not allowed" in landing.send(get("/?error=access_denied&state=S"))
    assert landing.said == [Returned(None, "access_denied")]


@pytest.mark.parametrize("pieces", [[b"http://x/?code=hunter2&state=S\n"], [b"http://x/?code=hun", b"ter2&state=S\n"]])
def test_an_address_may_be_pasted(pieces: list[bytes]) -> None:
    reader, writer = os.pipe()
    with waiting(terminal=reader) as landing:
        os.write(writer, b"\nhello\n")
        for piece in pieces:
            os.write(writer, piece)
    assert landing.said == [CODE]
    assert landing.strays == [1]
    os.close(writer)
    os.close(reader)


def test_without_a_terminal_to_paste_into_the_browser_is_waited_for() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    with waiting(terminal=null) as landing:
        landing.send(get("/?code=hunter2&state=S"))
    assert landing.said == [CODE]
    os.close(null)


def test_nobody_came() -> None:
    with waiting(seconds=0.05) as landing:
        pass
    assert str(landing.said[0]) == "the browser did not come back in time: run the command again"


def test_a_port_that_is_taken_is_named() -> None:
    with Landing() as landing, pytest.raises(UsageError, match=f"port {landing.port}: .* choose another --port"):
        Landing(landing.port)
