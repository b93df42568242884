"""docs/troubleshooting.md is true: every message that it quotes is one of fetchd's, and no error is missing in it."""

import re
from collections import defaultdict
from functools import cache
from typing import Final

import pytest

from tests.docs.messages import HOLE, PAGE, quoted, raised, texts
from tests.docs.pages import ROOT

SERVERS: Final = re.compile(r"-ERR \[|login limit|too many|minutes apart|temporarily unavailable|authentication failed")
"""What the server says is not in our source; tests/pop3/test_refusals.py knows how it is taken."""
NAMES: Final = re.compile(r"[a-z_]+([.][a-z_]+)?")

ERRORS: Final = frozenset(
    {"NetworkError", "TlsError", "PolicyError", "SecretError", "DeliveryError", "StoreError", "UniqueIdsChangedError"}
)
ROOMS: Final = ("pop3", "delivery", "store", "config", "oauth")
NOT_THERE: Final = (
    # What only a program of one's own meets, which uses fetchd.pop3.
    "the server's certificate cannot be verified for no name: give its server_name",
    "source_address is not an IP address",
    "the session is broken",
    # Said at once by the loader of the configuration, before anything can meet it.
    "its words hold a NUL",
    "that is a path, not a name",
    # What nobody sees, since fetchd is ending then.
    "is not run: fetchd is ending",
    "is closed",
)


def parts(message: str) -> list[str]:
    """A message without what is filled in, of which the page says `…`."""
    return [part.strip() for part in message.split("…") if part.strip(" :,")]


@cache
def sources() -> list[str]:
    """All texts of a module as one, for each module: a message may be put together of several."""
    found = defaultdict[str, list[str]](list)
    for one in texts():
        found[one.module].append(one.text)
    return ["\n".join(lines) for lines in found.values()]


@pytest.mark.parametrize("message", quoted())
def test_every_quoted_message_is_in_the_source(message: str) -> None:
    if SERVERS.match(message):
        return
    assert any(all(part in source for part in parts(message)) for source in sources()), message


def test_the_page_quotes_quoted() -> None:
    """Else the test above would test nothing."""
    assert len(quoted()) > 60


# ── the other way round: whatever ends a poll is in the page ─────────────────────────────────────────────────────────


def raised_texts() -> list[tuple[str, str]]:
    """What the rooms that meet the world raise: the module, and the text."""
    return [
        (str(path.relative_to(ROOT)), text)
        for room in ROOMS
        for path in sorted((ROOT / "fetchd" / room).rglob("*.py"))
        for text in raised(path, ERRORS)
        if len(text.replace(HOLE, "").strip(" :()")) > len("store")
    ]


@pytest.mark.parametrize(("module", "text"), raised_texts())
def test_every_error_is_in_the_page(module: str, text: str) -> None:
    """At least by the words with which one of its messages is quoted there."""
    known = [part for message in quoted() for part in parts(message) if len(part) > 6]
    assert any(part in text for part in (*known, *NOT_THERE)), f"{module}: {text!r} is not in {PAGE}"
