"""fetchd.discovery.search: all sources at once, over real sockets, and which of them is believed."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from dns.resolver import Resolver

from fetchd.discovery import Finding, Findings, guesses, parse_address, search
from fetchd.discovery.finding import Rank, ordered
from fetchd.discovery.probe import ProbeError
from fetchd.discovery.web import Web
from fetchd.model import TlsMode
from tests.discovery.servers import Page, serving_names, serving_pages
from tests.discovery.test_autoconfig import config, server
from tests.servers.pki import TestAuthority

ALICE = parse_address("alice+x@example.org")
OWN = "https://autoconfig.example.org/mail/config-v1.1.xml"
WELL_KNOWN = "https://example.org/.well-known/autoconfig/mail/config-v1.1.xml"
LIST = "https://autoconfig.thunderbird.net/v1.1"
NAMES = ("autoconfig.example.org", "example.org", "autoconfig.thunderbird.net")
SRV = ("_pop3s._tcp.example.org.", "SRV")
MX = ("example.org.", "MX")


def nobody(guess: Finding, *, seconds: float) -> Finding:
    raise ProbeError("")


def look_for(
    authority: TestAuthority,
    pages: Mapping[str, Page] | None = None,
    records: Mapping[tuple[str, str], tuple[str, ...]] | None = None,
    look: Any = nobody,
) -> tuple[Findings, list[str]]:
    """Returns what is found, and which pages were asked for."""
    with serving_names(records or {}) as names, serving_pages(pages or {}, authority, *NAMES) as served:
        found = search(ALICE, seconds=30, names=names.resolver, web=Web(served.transport), look=look)
    return found, served.asked


def shown(found: Findings) -> list[tuple[str, int, str, bool]]:
    return [(one.host, one.port, one.tls.value, one.is_vouched) for one in found.servers]


def test_nobody_knows_a_domain_that_nobody_has(authority: TestAuthority) -> None:
    found, asked = look_for(authority)
    assert found == Findings()
    assert len(asked) == 3


@pytest.mark.parametrize("url", [OWN, WELL_KNOWN, f"{LIST}/example.org"])
def test_autoconfig_is_looked_for_at_its_three_places(url: str, authority: TestAuthority) -> None:
    found, _ = look_for(authority, {url: Page(config(server()))})
    assert shown(found) == [("pop.example.org", 995, "implicit", True)]
    assert found.servers[0].user == "alice+x@example.org"


def test_the_address_is_told_to_its_own_domain_alone(authority: TestAuthority) -> None:
    _, asked = look_for(authority)
    assert [url for url in asked if "alice" in url] == [f"{OWN}?emailaddress=alice%2Bx%40example.org"]


def test_what_srv_records_and_autoconfig_agree_on_is_one_finding(authority: TestAuthority) -> None:
    records = {SRV: ("0 0 995 pop.example.org.",)}
    found, _ = look_for(authority, {OWN: Page(config(server(user="%EMAILLOCALPART%")))}, records)
    (one,) = found.servers
    assert (one.user, one.source) == (
        "alice+x",
        "the SRV records of example.org and https://autoconfig.example.org",
    )


def test_a_silent_answer_to_one_record_does_not_cost_the_other(authority: TestAuthority) -> None:
    """Some name servers drop questions that they do not like."""
    over = threading.Event()

    class Half:
        def __init__(self, whole: Resolver) -> None:
            self._whole = whole

        def resolve(self, name: str, kind: str, **more: Any) -> Any:
            if name.startswith("_pop3."):
                over.wait(60)
            return self._whole.resolve(name, kind, **more)

    def half(seconds: float) -> Any:
        return Half(names.resolver(seconds))

    records = {SRV: ("0 0 995 pop.example.org.",)}
    try:
        with serving_names(records) as names, serving_pages({}, authority, *NAMES) as served:
            found = search(ALICE, seconds=2, names=half, web=Web(served.transport), look=nobody)
            over.set()
    finally:
        over.set()
    assert shown(found) == [("pop.example.org", 995, "implicit", True)]


def test_a_vouched_finding_goes_before_what_unsigned_dns_says(authority: TestAuthority) -> None:
    """RFC 6186 §6: a target outside of the domain may be anybody's."""
    records = {SRV: ("0 0 995 pop.evil.example.",)}
    found, _ = look_for(authority, {f"{LIST}/example.org": Page(config(server()))}, records)
    assert shown(found) == [
        ("pop.example.org", 995, "implicit", True),
        ("pop.evil.example", 995, "implicit", False),
    ]


def test_tls_goes_before_starttls_and_a_plain_line_comes_last(authority: TestAuthority) -> None:
    text = config(server(socket="plain", port="110"), server(socket="STARTTLS", port="110"), server())
    found, _ = look_for(authority, {OWN: Page(text)}, {SRV: ("0 0 995 elsewhere.example.net.",)})
    assert [one.tls.value for one in found.servers] == ["implicit", "starttls", "implicit", "none"]


def test_the_provider_behind_the_exchanger_is_asked_for_and_never_vouched_for(authority: TestAuthority) -> None:
    """Which hosts take a domain's mail is the word of DNS alone."""
    pages = {f"{LIST}/example.net": Page(config(server("pop.example.net")))}
    found, asked = look_for(authority, pages, {MX: ("10 mx1.in.example.net.",)})
    assert shown(found) == [("pop.example.net", 995, "implicit", False)]
    assert f"{LIST}/in.example.net" in asked
    assert not any("alice" in url for url in asked if url.startswith(LIST))


def test_a_guess_counts_where_nobody_knows_anything(authority: TestAuthority) -> None:
    def look(guess: Finding, *, seconds: float) -> Finding:
        if guess.host != "mail.example.org" or guess.tls is not TlsMode.IMPLICIT:
            raise ProbeError("its certificate is not to be trusted: expired" if guess.host == "pop.example.org" else "")
        return replace(guess, is_vouched=True)

    found, _ = look_for(authority, look=look)
    assert shown(found) == [("mail.example.org", 995, "implicit", True)]
    assert "pop.example.org, port 995, is of no use: its certificate is not to be trusted: expired" in found.notes
    known, _ = look_for(authority, {OWN: Page(config(server()))}, look=look)
    assert [one.rank for one in known.servers] == [Rank.DOMAIN]


def test_hostile_answers_become_notes(authority: TestAuthority) -> None:
    pages = {
        OWN: Page(b"x" * 10_000_000),
        WELL_KNOWN: Page(b"", 301, {"Location": "http://example.org/plain.xml"}),
        f"{LIST}/example.org": Page(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
    }
    found, _ = look_for(authority, pages, {SRV: (r"0 0 995 \027[31m.example.org.",)})
    assert found.servers == ()
    assert len(found.notes) == 4
    assert all(note.isprintable() for note in found.notes)


def test_a_page_for_every_address_is_no_autoconfig_and_not_worth_a_word(authority: TestAuthority) -> None:
    found, _ = look_for(authority, {WELL_KNOWN: Page(b"<!doctype html><p>Welcome")})
    assert found == Findings()


def test_who_does_not_answer_is_left_behind(authority: TestAuthority) -> None:
    asked, over = threading.Event(), threading.Event()

    def hangs(guess: Finding, *, seconds: float) -> Finding:
        asked.set()
        over.wait()
        raise ProbeError("")

    with serving_names({SRV: ("0 0 995 pop.example.org.",)}) as names, serving_pages({}, authority, *NAMES) as served:
        try:
            found = search(ALICE, seconds=1, names=names.resolver, web=Web(served.transport), look=hangs)
        finally:
            over.set()
    assert asked.is_set()
    assert shown(found) == [("pop.example.org", 995, "implicit", True)]


def test_a_source_that_breaks_takes_no_other_along(authority: TestAuthority) -> None:
    def broken(seconds: float) -> Any:
        raise RuntimeError("no resolv.conf")

    with serving_pages({OWN: Page(config(server()))}, authority, *NAMES) as served:
        found = search(ALICE, seconds=30, names=broken, web=Web(served.transport), look=nobody)
    assert shown(found) == [("pop.example.org", 995, "implicit", True)]


def test_a_name_without_a_dot_is_nobody_s_to_ask_about() -> None:
    assert search(parse_address("root@localhost")) == Findings()


def test_the_usual_names_are_guessed_with_tls() -> None:
    assert [(one.host, one.tls) for one in guesses(ALICE)] == [
        (f"{name}.example.org", TlsMode.IMPLICIT) for name in ("pop", "mail", "pop3")
    ]


def test_more_findings_than_anybody_wants_are_cut() -> None:
    many = [Finding(f"h{number}.org", 995, TlsMode.IMPLICIT, "x", Rank.SRV) for number in range(99)]
    assert len(ordered(many)) == 6
