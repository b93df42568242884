"""fetchd.discovery.srv: RFC 6186 and MX, asked of a real DNS server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.discovery.address import is_host
from fetchd.discovery.finding import Finding, Findings, Rank
from fetchd.discovery.srv import MOST_RECORDS, Service, ask_exchangers, ask_services, domains_above, judge_records
from fetchd.model import TlsMode
from tests.discovery.servers import serving_names

SOURCE = "the SRV records of example.org"


def found(host: str, port: int, tls: TlsMode = TlsMode.IMPLICIT, *, vouched: bool = True) -> Finding:
    return Finding(host, port, tls, SOURCE, Rank.SRV, is_vouched=vouched)


def test_pop3s_and_pop3_are_asked_for_and_the_second_means_starttls() -> None:
    """RFC 6186 §3.3. A record that nobody signed must not take TLS away."""
    records = {
        ("_pop3s._tcp.example.org.", "SRV"): ("10 0 995 Second.example.org.", "5 1 1995 first.example.org."),
        ("_pop3._tcp.example.org.", "SRV"): ("0 0 110 first.example.org.",),
    }
    with serving_names(records) as names:
        answer = ask_services("example.org", names.resolver(5))
    assert answer.servers == (
        found("first.example.org", 1995),
        found("second.example.org", 995),
        found("first.example.org", 110, TlsMode.STARTTLS),
    )


def test_a_domain_without_records_gives_nothing() -> None:
    with serving_names({}) as names:
        assert ask_services("example.org", names.resolver(5)) == Findings()
        assert ask_exchangers("example.org", names.resolver(5)) == []


def test_a_server_that_never_answers_gives_nothing_when_the_time_is_over() -> None:
    with serving_names({}) as names:
        resolver = names.resolver(0.2)
        resolver.port = 1  # nobody listens there
        assert ask_services("example.org", resolver) == Findings()


def test_a_dot_says_that_there_is_no_such_service() -> None:
    """RFC 2782: a target of "."."""
    with serving_names({("_pop3s._tcp.example.org.", "SRV"): ("0 0 0 .",)}) as names:
        assert ask_services("example.org", names.resolver(5)) == Findings()


def test_a_target_outside_of_the_domain_is_not_vouched_for() -> None:
    """RFC 6186 §6: anybody on the way can have put it in."""
    assert judge_records(
        [Service(0, 0, 995, "pop.evilexample.org.")], "example.org", mode=TlsMode.IMPLICIT
    ).servers == (found("pop.evilexample.org", 995, vouched=False),)


@pytest.mark.parametrize(
    "record",
    [
        "0 0 0 pop.example.org.",
        r"0 0 995 p\007op\010.example.org.",
        r"0 0 995 \027[31mpop.example.org.",
        "0 0 995 192.0.2.1.",
    ],
)
def test_a_hostile_record_is_refused_in_printable_words(record: str) -> None:
    with serving_names({("_pop3s._tcp.example.org.", "SRV"): (record,)}) as names:
        answer = ask_services("example.org", names.resolver(5))
    assert answer.servers == ()
    (note,) = answer.notes
    assert "which is no server" in note
    assert note.isprintable()


SERVICES = st.builds(Service, st.integers(0, 9), st.integers(0, 9), st.integers(-1, 70000), st.text(max_size=20))


@given(st.lists(SERVICES, max_size=20))
def test_whatever_records_say_few_sound_servers_come_out(records: list[Service]) -> None:
    answer = judge_records(records, "example.org", mode=TlsMode.IMPLICIT)
    assert len(answer.servers) <= MOST_RECORDS
    assert all(is_host(one.host) and 0 < one.port < 65536 for one in answer.servers)
    assert all(note.isprintable() for note in answer.notes)


def test_exchangers_come_by_their_preference_and_only_hosts_do() -> None:
    mx = ("20 b.example.net.", "10 a.example.net.", "0 .", r"5 \027[31m.example.net.")
    with serving_names({("example.org.", "MX"): mx}) as names:
        assert ask_exchangers("example.org", names.resolver(5)) == ["a.example.net", "b.example.net"]


@pytest.mark.parametrize(
    ("host", "above"),
    [
        ("aspmx.l.google.com", ("l.google.com", "google.com")),
        ("mx.example.net", ("example.net",)),
        ("a.b.mail.example.co.uk", ("b.mail.example.co.uk", "example.co.uk", "co.uk")),
        ("example.net", ()),
    ],
)
def test_a_provider_s_domain_is_looked_for_above_its_exchanger(host: str, above: tuple[str, ...]) -> None:
    assert domains_above(host) == above
