"""fetchd.discovery.web against a real https server: verified, bounded, never in the clear."""

import pytest

from fetchd.discovery.web import Web, WebError
from tests.clocks import FakeClock
from tests.discovery.servers import Page, serving_pages
from tests.servers.pki import TestAuthority

HOST = "autoconfig.example.org"
URL = f"https://{HOST}/config.xml"
LIMIT = 64 * 1024


def get(pages: dict[str, Page], authority: TestAuthority, *names: str, url: str = URL) -> bytes | None:
    with serving_pages(pages, authority, *(names or (HOST,))) as served:
        return Web(served.transport).get(url, limit=LIMIT, seconds=30)


def test_a_file_comes_as_it_is(authority: TestAuthority) -> None:
    assert get({URL: Page(b"<x/>")}, authority) == b"<x/>"


def test_a_file_that_is_not_there_is_none(authority: TestAuthority) -> None:
    assert get({}, authority) is None
    assert get({URL: Page(b"oops", 500)}, authority) is None


def test_a_redirect_within_https_is_followed(authority: TestAuthority) -> None:
    other = "https://www.example.net/x.xml"
    pages = {URL: Page(b"", 302, {"Location": other}), other: Page(b"<there/>")}
    assert get(pages, authority, HOST, "www.example.net") == b"<there/>"


@pytest.mark.parametrize("where", ["http://autoconfig.example.org/config.xml", "ftp://x/"])
def test_a_redirect_to_an_unprotected_line_is_refused(where: str, authority: TestAuthority) -> None:
    with pytest.raises(WebError, match="nothing protects"):
        get({URL: Page(b"", 301, {"Location": where})}, authority)


def test_redirects_without_end_are_refused(authority: TestAuthority) -> None:
    with pytest.raises(WebError, match="again and again"):
        get({URL: Page(b"", 302, {"Location": URL})}, authority)


def test_ten_megabytes_are_refused_at_the_bound(authority: TestAuthority) -> None:
    with pytest.raises(WebError, match="more than 64 KiB"):
        get({URL: Page(b"x" * 10_000_000)}, authority)


def test_a_certificate_for_another_host_is_refused(authority: TestAuthority) -> None:
    with pytest.raises(WebError, match="certificate is not to be trusted"):
        get({URL: Page(b"<x/>")}, authority, "autoconfig.example.com")


def test_a_compressed_answer_is_not_unpacked(authority: TestAuthority) -> None:
    """A few octets of gzip can become any number."""
    assert get({URL: Page(b"\x1f\x8bxyz", headers={"Content-Encoding": "gzip"})}, authority) == b"\x1f\x8bxyz"


def test_a_host_that_does_not_answer_is_said_to(authority: TestAuthority) -> None:
    with serving_pages({}, authority, HOST) as served:
        served.port = 1  # nobody listens there
        with pytest.raises(WebError, match="does not answer"):
            Web(served.transport).get(URL, limit=LIMIT, seconds=30)


def test_a_body_that_comes_after_the_deadline_is_too_slow(authority: TestAuthority) -> None:
    clock = FakeClock()

    def late() -> float:
        clock.advance(20)
        return clock.monotonic()

    with serving_pages({URL: Page(b"<x/>")}, authority, HOST) as served, pytest.raises(WebError, match="too slow"):
        Web(served.transport, clock=late).get(URL, limit=LIMIT, seconds=10)
