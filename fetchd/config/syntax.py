"""What is wrong with a text that is not YAML, in words that say what to type instead. Pure.

The parser's own texts are used to tell the cases apart and are never shown: they differ between libyaml and the
Python parser, speak of tokens and nodes, and may quote the line, which may hold a password.
"""

import re
from collections.abc import Callable
from typing import Final

import yaml

from fetchd.values import value

_SECOND_COLON: Final = re.compile(r"\s*(?:- )?[^\s#'\"{\[][^#]*?: .*$")
_NO_SPACE_AFTER_COLON: Final = re.compile(r"\s*[A-Za-z0-9_.@+-]+:[^\s/]")


@value
class _Trouble:
    """A parse error: the parser's words, and the 0-based lines and columns it points at."""

    words: str
    lines: list[str]
    line: int
    column: int
    opened: int

    def text(self) -> str:
        return self.lines[self.line] if self.line < len(self.lines) else ""

    def before(self) -> str:
        return self.text()[: self.column]


def explain_syntax(error: yaml.YAMLError, text: str) -> tuple[int, int, str]:
    """Returns the line and column, both from 1, and what to do about it, without quoting the text."""
    mark = getattr(error, "problem_mark", None)
    opened = getattr(error, "context_mark", None) or mark
    trouble = _Trouble(
        words=f"{getattr(error, 'context', None) or ''}: {getattr(error, 'problem', None) or ''}",
        lines=text.splitlines(),
        line=mark.line if mark else 0,
        column=mark.column if mark else 0,
        opened=opened.line if opened else 0,
    )
    for needles, explain in _CASES:
        if all(needle in trouble.words for needle in needles):
            line, said = explain(trouble)
            return line + 1, trouble.column + 1 if line == trouble.line else 1, said
    return trouble.line + 1, trouble.column + 1, "this is not YAML: check the quotes and the indentation around here"


def _token(trouble: _Trouble) -> tuple[int, str]:
    indentation = re.match(r"\s*", trouble.text())
    if indentation and "\t" in indentation[0]:
        return trouble.line, "a tab in the indentation: YAML wants spaces"
    return trouble.line, "a value cannot begin with @, % or `: put it in quotes"


def _colon(trouble: _Trouble) -> tuple[int, str]:
    if _SECOND_COLON.fullmatch(trouble.before()):
        return trouble.line, 'a value that contains ": " must stand in quotes'
    above = trouble.line - 1
    while above > 0 and not trouble.lines[above].strip():
        above -= 1
    if above >= 0 and _NO_SPACE_AFTER_COLON.match(trouble.lines[above]):
        return above, 'a space is missing after the ":"'
    return trouble.line, "this line is indented deeper than the one above allows: line it up with its neighbours"


def _block(trouble: _Trouble) -> tuple[int, str]:
    if trouble.before().strip():
        return (
            trouble.line,
            "text follows a closing quote or bracket: quote the value as a whole; ' within '…' is written ''",
        )
    if trouble.text().lstrip().startswith("- "):
        return trouble.line, 'a list item ("- ") stands where a "key: value" is expected'
    return trouble.line, "this line does not line up with the ones above: check its indentation"


def _content(trouble: _Trouble) -> tuple[int, str]:
    if re.search(r"\[[0-9A-Fa-f]*:", trouble.text()):
        return trouble.line, 'an IPv6 address in brackets must stand in quotes: "[::1]:9725"'
    return trouble.line, "a bracket or a comma stands where a value is expected: put the value in quotes"


_CASES: Final[tuple[tuple[tuple[str, ...], Callable[[_Trouble], tuple[int, str]]], ...]] = (
    (("cannot start any token",), _token),
    (("found a tab character",), lambda t: (t.line, "a tab in the indentation: YAML wants spaces")),
    (("quoted scalar", "end of stream"), lambda t: (t.opened, "a quote is opened here and never closed")),
    (("quoted scalar", "document"), lambda t: (t.opened, "a quote is opened here and never closed")),
    (
        ("quoted scalar",),
        lambda t: (t.line, r"within double quotes a backslash begins an escape: write \\, or use single quotes"),
    ),
    (("mapping values",), _colon),
    (("simple key",), lambda t: (t.opened, 'this line should read "key: value"')),
    (("block scalar",), lambda t: (t.line, "a value cannot begin with | or >: put it in quotes")),
    (("alphabetic",), lambda t: (t.line, "a value cannot begin with * or &: put it in quotes")),
    (("block mapping",), _block),
    (("block collection",), _block),
    (("flow mapping",), lambda t: (t.opened, 'a comma is missing after this "{", or it is never closed by "}"')),
    (("flow sequence",), lambda t: (t.opened, 'a comma is missing after this "[", or it is never closed by "]"')),
    (("parsing", "node content"), _content),
    (("tag",), lambda t: (t.line, "a value cannot begin with !: put it in quotes")),
    (("YAML document",), lambda t: (t.line, "a %YAML line other than %YAML 1.1 or 1.2 is not understood: remove it")),
)
