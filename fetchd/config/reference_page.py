"""docs/configuration.md: the reference of the configuration as a page of Markdown. Pure."""

from collections.abc import Iterator

from fetchd.config.reference import INTRODUCTION, Key, Section, reference


def reference_page() -> str:
    """Returns the page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# The configuration: every key"
    yield ""
    yield "<!-- Made by `make reference` from fetchd/config/schema.py and sections.py; edit those. -->"
    yield ""
    for paragraph in INTRODUCTION:
        yield from (paragraph, "")
    yield "[config/fetchd.yaml](../config/fetchd.yaml) shows nearly all of it at work, and"
    yield "[config/minimal.yaml](../config/minimal.yaml) the least that fetchd needs."
    yield ""
    for section in reference():
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield {"": "## The file", "account": "## An account"}.get(section.title, f"## `{section.title}`")
    yield ""
    for paragraph in section.meaning:
        yield from (paragraph, "")
    for key in section.keys:
        yield from _key(key)


def _key(key: Key) -> Iterator[str]:
    yield f"### `{key.name}`"
    yield ""
    yield key.meaning
    yield ""
    below = f": see [{key.below}](#{_anchor(key.below)})" if key.below else ""
    yield f"- Takes {key.type}{below}."
    if key.default:
        yield f"- Default: `{key.default}`"
    yield f"- Example: `{key.example}`"
    yield ""


def _anchor(title: str) -> str:
    return "an-account" if title == "account" else title
