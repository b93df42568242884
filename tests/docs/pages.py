"""The pages of the documentation, taken apart: fenced blocks, code in the text, links, headings."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w+-]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_SPAN: Final = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK: Final = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
_HEADING: Final = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its page from the root of the tree, the line of its first line, its language or ""."""

    page: str
    line: int
    language: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """What ``decisions.py`` knows the block by: the page, and its first line."""
        return self.page, self.text.partition("\n")[0].strip()

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Returns the names of the pages, the README first."""
    return ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str) -> list[Block]:
    """Returns the fenced blocks of a page, in its order, without the indentation of the fence."""
    text = text_of(page)
    return [
        Block(page, text.count("\n", 0, found.start("text")) + 1, found["language"], textwrap.dedent(found["text"]))
        for found in _FENCE.finditer(text)
    ]


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks(page)]


def prose(page: str) -> str:
    """Returns a page without its fenced blocks."""
    return _FENCE.sub("", text_of(page))


def spans(page: str) -> list[str]:
    """Returns what stands in backticks in the text of a page, line breaks as blanks."""
    return [" ".join(found[2].split()) for found in _SPAN.finditer(prose(page))]


def links(page: str) -> list[str]:
    """Returns the targets of a page's links and pictures."""
    return _LINK.findall(_SPAN.sub("", prose(page)))


def anchors(page: str) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    return set(_numbered(map(_slug, _HEADING.findall(prose(page)))))


def _slug(heading: str) -> str:
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


def _numbered(slugs: Iterator[str]) -> Iterator[str]:
    seen = Counter[str]()
    for slug in slugs:
        yield f"{slug}-{seen[slug]}" if seen[slug] else slug
        seen[slug] += 1
