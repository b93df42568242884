"""fetchd.providers: the table is sound, and docs/providers.md tells the same."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fetchd.config.units import format_duration
from fetchd.model import POP3_PORT, POP3S_PORT, TlsMode
from fetchd.providers import PROVIDERS, Provider, of_domain, of_host

DOCS = Path(__file__).parents[1] / "docs" / "providers.md"
NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


def test_no_two_providers_claim_one_key_host_or_domain() -> None:
    for attribute in ("hosts", "domains"):
        counts = Counter(name for one in PROVIDERS for name in getattr(one, attribute))
        assert [name for name, count in counts.items() if count > 1] == []
    assert len({one.key for one in PROVIDERS}) == len(PROVIDERS)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.key)
def test_a_provider_has_hosts_or_says_that_it_has_no_pop3(provider: Provider) -> None:
    assert bool(provider.hosts) is not bool(provider.no_pop3)
    assert all(NAME.fullmatch(name) for name in (*provider.hosts, *provider.domains))
    assert (provider.port, provider.tls) in {(POP3S_PORT, TlsMode.IMPLICIT), (POP3_PORT, TlsMode.STARTTLS)}
    for sentence in (provider.password, provider.enable, provider.refusal, provider.no_pop3):
        assert not sentence or (sentence[0].isalpha() and sentence.endswith(".") and "  " not in sentence)


def test_names_are_found_without_case_and_final_dot() -> None:
    found = of_host("POP.GMX.net.")
    assert found is not None
    assert found.key == "gmx"
    assert of_domain("GMX.de") is found
    assert of_host("gmx.de") is None
    assert of_domain("example.org") is None


def documented() -> list[tuple[str, ...]]:
    """Returns the cells of the table of docs/providers.md, without its head."""
    rows = re.findall(r"^\| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    table = [tuple(cell.strip() for cell in row.split(" | ")) for row in rows]
    start = next(index for index, cells in enumerate(table) if cells[0] == "Provider")
    return table[start + 1 :]


def row(provider: Provider) -> tuple[str, ...]:
    servers = ", ".join(f"`{host}`" for host in provider.hosts) or "none"
    login = (
        "–"
        if provider.no_pop3
        else "only OAuth"
        if provider.needs_oauth
        else "one for programs, or OAuth"
        if provider.oauth
        else "one for programs"
        if provider.password
        else "the usual one"
    )
    user = "–" if provider.no_pop3 else "before the @" if provider.local_part else "the address"
    interval = format_duration(provider.least_interval) if provider.least_interval else "–"
    return provider.name, servers, user, login, interval


def test_the_docs_have_every_provider_as_the_code_has_it() -> None:
    assert documented() == [row(one) for one in PROVIDERS]


def test_a_row_that_differs_would_be_found() -> None:
    """The comparison above compares something."""
    assert row(replace(PROVIDERS[0], least_interval=1)) != documented()[0]


@pytest.mark.parametrize("provider", [one for one in PROVIDERS if one.enable or one.refusal], ids=lambda one: one.key)
def test_who_needs_more_than_a_table_has_a_section_in_the_docs(provider: Provider) -> None:
    sections = re.findall(r"^## (.+)$", DOCS.read_text(), re.MULTILINE)
    assert any(provider.name in section for section in sections), provider.name
