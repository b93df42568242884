"""docs/logs.md is true: every event is in it with its levels and fields, and nothing that is no event."""

import importlib
import pkgutil
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest

import fetchd
from fetchd.events import Event, PollDone
from fetchd.model import Outcome, PollResult, SkipReason
from fetchd.observe.logs import shown_fields

DOCS = Path(__file__).parents[2] / "docs" / "logs.md"
EVERYTHING = PollResult("a", skipped={SkipReason.REFUSED: 1}, more=True)
COUNTS = shown_fields(PollDone("a", EVERYTHING, took=1.0)).keys() - {"account", "took"}
"""What a ``PollResult`` is logged as."""
GAINED = {"poll.done": {"recovered"}, "poll.next": {"text"}}
"""Fields that come from what was said before, see ``observe/repeats.py``."""
BESIDE = {"log.lost": ({"warning"}, {"lines"})}
"""What the log renderer says of itself, which is no event."""
HELD_BACK = {
    "poll.done": {"debug"},
    "poll.failed": {"debug", "info"},
    "poll.next": {"warning"},
    "message.skipped": {"debug"},
    "internal.error": {"debug"},
}
"""The other levels of events that are weighed by what was said before."""


@dataclass
class Described:
    text: str = ""
    fields: set[str] = field(default_factory=set)

    @property
    def levels(self) -> set[str]:
        return set(re.findall(r"`(debug|info|warning|error)`", self.text.partition("Level:")[2]))


def events() -> set[type[Event]]:
    """Returns every class of an event that a module of fetchd has: ``__subclasses__`` has their unslotted twins too."""
    found: set[type[Event]] = set()
    for module in pkgutil.walk_packages(fetchd.__path__, "fetchd."):
        if not module.name.startswith(("fetchd.__main__", "fetchd.cli")):  # where nothing is said, only shown
            found |= {
                one
                for one in vars(importlib.import_module(module.name)).values()
                if isinstance(one, type) and issubclass(one, Event) and one.name
            }
    return found


def said() -> dict[str, tuple[set[str], set[str]]]:
    """Returns name → (levels, fields) as the code has them."""
    found = {name: (set(levels), set(names)) for name, (levels, names) in BESIDE.items()}
    for event in events():
        if event.level == "never":
            continue
        levels, names = found.setdefault(event.name, (set(), set()))
        levels |= {event.level} | HELD_BACK.get(event.name, set())
        for one in fields(event):
            names |= COUNTS if one.name == "result" else {one.name}
        names |= GAINED.get(event.name, set())
        names.discard("account")
    return found


def described() -> dict[str, Described]:
    found: dict[str, Described] = {}
    current = Described()
    for line in DOCS.read_text().splitlines():
        if line.startswith("### "):
            current = found[line.removeprefix("### ")] = Described()
        elif line.startswith("#"):
            current = Described()
        elif line.startswith("- "):
            current.fields |= set(re.findall(r"`([a-z_]+)`", line.partition(":")[0]))
        elif not current.fields:
            current.text += f"{line}\n"
    return found


def test_every_event_is_described_and_nothing_else() -> None:
    assert sorted(described()) == sorted(said())


@pytest.mark.parametrize("name", sorted(said()))
def test_levels_and_fields_are_those_of_the_code(name: str) -> None:
    levels, names = said()[name]
    assert described()[name].levels == levels
    assert described()[name].fields == names


@pytest.mark.parametrize("name", sorted(said()))
def test_it_is_said_when_an_event_is_said(name: str) -> None:
    assert len(described()[name].text.partition("Level:")[0].strip()) > 5


@pytest.mark.parametrize(("value", "event"), [(Outcome, "poll.failed"), (SkipReason, "message.skipped")])
def test_each_value_of_a_fixed_set_is_named(value: Any, event: str) -> None:
    section = DOCS.read_text().partition(f"### {event}\n")[2].partition("###")[0]
    apart = {Outcome.OK, Outcome.INTERNAL}  # neither is a poll.failed
    assert [one.value for one in value if one not in apart and f"`{one.value}`" not in section] == []
