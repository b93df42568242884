"""fetchd.observe.reach: who may call us by which name (DNS rebinding)."""

import pytest

from fetchd.model import HttpAddress
from fetchd.observe.reach import is_our_name, shown_address

HERE = HttpAddress("127.0.0.1", 9725)


def ours(host: str | None, address: HttpAddress = HERE) -> bool:
    return is_our_name(host, address, lambda: {"mail.example.org", "Box"})


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:9725", "LOCALHOST", "fetchd.localhost:9725", "127.0.0.1", "127.0.0.1:9725"),
        *("192.0.2.7:9725", "[::1]", "[::1]:9725", "[2001:db8::7]:80", "fetchd:9725", "box"),
        *("mail.example.org", "MAIL.example.org.:9725", None),
    ],
)
def test_addresses_names_without_a_dot_and_our_own_names_are_ours(host: str | None) -> None:
    assert ours(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:9725",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "mail.example.org.evil",
        ),
        *("xlocalhost.example", "", ":9725", "[evil.example]", "a:b", "x" * 300, "1.2.3", "evil.example:x"),
    ],
)
def test_a_name_that_anybody_may_own_is_not(host: str) -> None:
    assert not ours(host)


def test_the_configured_name_is_ours() -> None:
    assert ours("status.example.net:80", HttpAddress("Status.example.net", 80))


def test_through_a_unix_socket_every_name_is() -> None:
    address = HttpAddress("unix:/run/fetchd/http.sock", 0)
    assert ours("evil.example", address)
    assert shown_address(address) == "unix:/run/fetchd/http.sock"


def test_the_dns_is_asked_only_where_nothing_else_decides() -> None:
    def never() -> set[str]:
        raise AssertionError

    assert is_our_name("localhost:9725", HERE, never)
    assert is_our_name("127.0.0.1:9725", HERE, never)
