"""Text as the source of a manual page, in the macros of man(7), as groff and mandoc both read them. Pure."""

import re
import textwrap
from collections.abc import Iterable, Iterator

AS_IT_IS = "\b"
"""What stands before a paragraph whose lines are not to be broken anew, as click has it."""
_CODE = re.compile(r"`([^`]+)`")
_WIDTH = 78


def escaped(text: str) -> str:
    r"""Returns a text that roff prints as it is.

    >>> escaped("-c …")
    '\\-c \\[u2026]'
    """
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)


def inline(text: str) -> str:
    """Returns a text, over as many lines as it takes, in which a span of code comes out bold."""
    marked = "".join(f"\\fB{escaped(part)}\\fP" if is_code else escaped(part) for part, is_code in _parts(text))
    words = (_breakable(word) for word in marked.split(" "))
    lines = textwrap.wrap(" ".join(words), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(_guarded, lines))


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    for index, part in enumerate(_CODE.split(text)):
        if part:
            yield part, bool(index % 2)


def _breakable(word: str) -> str:
    """A fingerprint is longer than a narrow page: it may break behind its colons."""
    return word.replace(":", ":\\:") if len(word) > _WIDTH else word


def _guarded(line: str) -> str:
    """A dot or an apostrophe at its beginning would make a request of it."""
    return f"\\&{line}" if line[:1] in {".", "'"} else line


def head(name: str, section: int, *, date: str, source: str) -> Iterator[str]:
    """Yields how a page begins."""
    yield f'.TH {escaped(name.upper())} {section} "{date}" "{source}" "fetchd"'
    yield ".nh"
    yield ".ad l"


def heading(text: str) -> str:
    """Returns a section's heading."""
    return f'.SH "{escaped(text.upper())}"'


def subheading(text: str) -> str:
    """Returns a heading within a section."""
    return f'.SS "{escaped(text)}"'


def paragraphs(texts: Iterable[str]) -> Iterator[str]:
    """Yields paragraphs, as they follow a heading; each text is one. Of some the lines stay as they are."""
    for index, text in enumerate(texts):
        if index:
            yield ".PP"
        if text.startswith(AS_IT_IS):
            lines = text.removeprefix(AS_IT_IS).strip("\n").splitlines()
            yield from (".nf", *(_guarded(escaped(line)) for line in lines), ".fi")
        else:
            yield inline(text)


def entry(term: str, texts: Iterable[str]) -> Iterator[str]:
    """Yields a term, set off, and what there is to say about it, in lines that are broken apart."""
    yield ".TP"
    yield _guarded(f"\\fB{escaped(term)}\\fP")
    for index, text in enumerate(texts):
        if index:
            yield ".br"
        yield inline(text)
