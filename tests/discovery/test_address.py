"""fetchd.discovery.address: addresses and host names as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.discovery.address import is_host, is_within, parse_address


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("alice@example.org", "alice", "example.org"),
        ("  Alice+Pop@GMX.Net ", "Alice+Pop", "gmx.net"),
        ('"john @ doe"@example.org', '"john @ doe"', "example.org"),
        ("alice@bücher.example", "alice", "xn--bcher-kva.example"),
        ("alice@BÜCHER.example", "alice", "xn--bcher-kva.example"),
        ("alice@straße.example", "alice", "xn--strae-oqa.example"),
        ("alice@例え.jp", "alice", "xn--r8jz45g.jp"),
        ("jürgen@example.org", "jürgen", "example.org"),
        ("o'neil@example.org.", "o'neil", "example.org"),
        ("root@localhost", "root", "localhost"),
    ],
)
def test_an_address_is_taken_apart(text: str, local: str, domain: str) -> None:
    """RFC 5321 §2.4: the local part's case is its owner's affair; RFC 5890: DNS knows a domain in ASCII."""
    address = parse_address(text)
    assert (address.text, address.local, address.domain) == (text.strip(), local, domain)


@pytest.mark.parametrize(
    "text",
    [
        *("", "alice", "@example.org", "alice@", "alice@@", "Alice <alice@example.org>", "a b@example.org"),
        *("alice@exa mple.org", "alice@-x.org", "alice@a..b", "alice@[192.0.2.1]", "alice@192.0.2.1", "alice@x_y.org"),
        *("alice@evil.org/x?", "alice@evil.org:99", "alice@user:pw@evil.org#", "a" * 65 + "@example.org"),
        *(
            "alice\x1b[31m@example.org",
            "ali\x07ce@example.org",
            "alice@exam\nple.org",
            '"un"quoted"@example.org',
            "alice@" + "a." * 130 + "org",
        ),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|domain"):
        parse_address(text)


@given(st.text())
def test_whatever_is_typed_gives_an_address_or_one_line(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError as error:
        said = str(error)
    else:
        assert is_host(address.domain)
        said = address.text
    assert said.isprintable()


@given(st.text(alphabet="a-.0Z\n\x00é_/", max_size=12))
def test_a_host_is_letters_digits_hyphens_and_dots(name: str) -> None:
    if is_host(name):
        assert all(label and label.strip("-") == label for label in name.split("."))
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


def test_a_name_that_ends_alike_is_not_within_a_domain() -> None:
    assert is_within("pop.example.org", "example.org")
    assert is_within("example.org", "example.org")
    assert not is_within("evilexample.org", "example.org")
