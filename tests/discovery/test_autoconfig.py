"""fetchd.discovery.autoconfig: the format, and what a stranger may send instead of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.discovery.address import LAST_PORT, is_host, is_user, parse_address
from fetchd.discovery.autoconfig import LIMIT_OCTETS, AutoconfigError, parse_autoconfig
from fetchd.discovery.finding import Finding, Findings, Rank
from fetchd.model import TlsMode

ALICE = parse_address("Alice@example.org")


def server(
    host: str = "pop.example.org",
    port: str = "995",
    socket: str = "SSL",
    user: str = "%EMAILADDRESS%",
    *ways: str,
    kind: str = "pop3",
) -> str:
    said = "".join(f"<authentication>{way}</authentication>" for way in ways or ("password-cleartext",))
    return (
        f'<incomingServer type="{kind}"><hostname>{host}</hostname><port>{port}</port>'
        f"<socketType>{socket}</socketType><username>{user}</username>{said}"
        "<pop3><leaveMessagesOnServer>true</leaveMessagesOnServer><port>1</port></pop3></incomingServer>"
    )


def config(*servers: str, head: str = "") -> bytes:
    inner = f'<emailProvider id="x"><domain>example.org</domain>{"".join(servers)}<outgoingServer type="smtp">'
    tail = "<hostname>smtp.example.org</hostname></outgoingServer></emailProvider>"
    return f'<?xml version="1.0"?>{head}<clientConfig version="1.1">{inner}{tail}</clientConfig>'.encode()


def read(text: bytes) -> Findings:
    return parse_autoconfig(text, ALICE, source="autoconfig", rank=Rank.DOMAIN)


@pytest.mark.parametrize(
    ("text", "host", "port", "tls", "user"),
    [
        (server(), "pop.example.org", 995, TlsMode.IMPLICIT, "Alice@example.org"),
        (server(socket="STARTTLS", port="110"), "pop.example.org", 110, TlsMode.STARTTLS, "Alice@example.org"),
        (server(socket="plain", port="110"), "pop.example.org", 110, TlsMode.NONE, "Alice@example.org"),
        (server(user="%EMAILLOCALPART%"), "pop.example.org", 995, TlsMode.IMPLICIT, "Alice"),
        (server(user="%EMAILLOCALPART%#%EMAILDOMAIN%"), "pop.example.org", 995, TlsMode.IMPLICIT, "Alice#example.org"),
        (server(host=" POP.%EMAILDOMAIN%. "), "pop.example.org", 995, TlsMode.IMPLICIT, "Alice@example.org"),
        (server(user=""), "pop.example.org", 995, TlsMode.IMPLICIT, ""),
    ],
)
def test_a_pop3_server_is_read(text: str, host: str, port: int, tls: TlsMode, user: str) -> None:
    found = read(config(server(kind="imap"), text))
    assert found == Findings((Finding(host, port, tls, "autoconfig", Rank.DOMAIN, user=user, is_vouched=True),))


def test_what_a_placeholder_brings_is_not_filled_in_again() -> None:
    """The address is the user's; a local part of ``%EMAILDOMAIN%`` stays one."""
    odd = parse_address("%EMAILDOMAIN%@example.org")
    (found,) = parse_autoconfig(config(server()), odd, source="x", rank=Rank.DOMAIN).servers
    assert found.user == "%EMAILDOMAIN%@example.org"


def test_a_server_for_tokens_alone_is_told_from_one_that_takes_passwords_too() -> None:
    only, both = read(
        config(
            server("a.org", "995", "SSL", "", "OAuth2"),
            server("b.org", "995", "SSL", "", "OAuth2", "password-cleartext"),
        )
    ).servers
    assert (only.wants_oauth, both.wants_oauth) == (True, False)


def test_a_provider_with_imap_alone_is_said_to_have_no_pop3() -> None:
    assert read(config(server(kind="imap"))) == Findings(notes=("autoconfig names no POP3 server, only IMAP",))


@pytest.mark.parametrize(
    "broken",
    [
        server(host="pop.exa&#10;mple.org"),
        server(host="pop.example.org&#155;31m"),
        server(host="192.0.2.1"),
        server(host="-x"),
        server(host=""),
        *(server(port=port) for port in ("0", "65536", "-1", "99999999999999999999", "x", "", "٣", "1 2")),
        server(socket="tls-if-available"),
        server(socket=""),
        server(user="alice&#13;&#10;DELE 1"),
        server(user="x" * 300),
    ],
)
def test_a_server_that_is_none_is_left_out_and_said_so_in_printable_words(broken: str) -> None:
    found = read(config(broken))
    assert found.servers == ()
    (note,) = found.notes
    assert "cannot be used" in note
    assert note.isprintable()
    assert len(note) < 400


LAUGHS = (
    "<!DOCTYPE lolz ["
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "lol">' for n in range(10))
    + "]>"
)


@pytest.mark.parametrize(
    "text",
    [
        config(server(host="&l9;"), head=LAUGHS),
        config(server(), head='<!DOCTYPE x SYSTEM "file:///etc/passwd">'),
        config(server(host="&e;"), head='<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
        config(server(), head="<!DOCTYPE clientConfig>").decode().replace('<?xml version="1.0"?>', "").encode("utf-16"),
        config(server(host="&undefined;")),
        config(server())[:-5],
        config(*[server()] * 21),
        config(server(host="a" * 2000)),
        b"<clientConfig>" * 1000 + b"</clientConfig>" * 1000,
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b"<html><body>404</body></html>",
        b"",
        b"\x1f\x8b\x08",
        b"<a>" + b" " * LIMIT_OCTETS + b"</a>",
    ],
)
def test_what_is_no_autoconfig_or_a_hostile_one_ends_at_once(text: bytes) -> None:
    """Billion laughs, external entities, depth, size: nothing of it is expanded, opened or kept."""
    with pytest.raises(AutoconfigError) as caught:
        read(text)
    assert str(caught.value).isprintable()


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_octets_give_findings_or_one_error(text: bytes) -> None:
    try:
        said = read(text).notes
    except AutoconfigError as error:
        said = (str(error),)
    assert all(one.isprintable() for one in said)


VALUE = st.text(max_size=30).map(lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace("]]>", ""))


@given(host=VALUE | st.just("pop.example.org"), port=VALUE | st.just("995"), user=VALUE)
def test_whatever_a_server_is_called_what_comes_out_is_a_host_a_port_and_a_user(
    host: str, port: str, user: str
) -> None:
    try:
        found = read(config(server(host, port, "SSL", user)))
    except AutoconfigError:
        return
    for one in found.servers:
        assert is_host(one.host)
        assert 0 < one.port <= LAST_PORT
        assert one.user == "" or is_user(one.user)
    assert all(note.isprintable() for note in found.notes)
