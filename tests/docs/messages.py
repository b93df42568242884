"""Messages: those that docs/troubleshooting.md quotes, and every text in fetchd's source that may become one."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.docs.pages import ROOT, text_of

PAGE: Final = "docs/troubleshooting.md"
_ROW: Final = re.compile(r"^\| (`.+?) \| ", re.MULTILINE)
_QUOTED: Final = re.compile(r"(`+)(.+?)\1")
HOLE: Final = "\0"
"""Stands for what is filled in."""
_FIELD: Final = re.compile(r"\{\w*\}")


def quoted() -> list[str]:
    """Returns the quotes in the first cells of the page's tables; "…" stands for what is filled in."""
    cells = _ROW.findall(text_of(PAGE))
    return [quote.strip() for cell in cells for _, quote in _QUOTED.findall(cell)]


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and the module that it stands in, from the root of the tree."""

    module: str
    text: str


@cache
def texts() -> tuple[Text, ...]:
    """Returns the texts of all modules but their documentation."""
    found = []
    for path in sorted((ROOT / "fetchd").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        found += [Text(name, text) for text in _texts(ast.parse(path.read_text()))]
    return tuple(found)


def raised(path: Path, errors: frozenset[str]) -> Iterator[str]:
    """Yields the texts with which a module raises one of these errors."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors and node.args:
            text = _text(node.args[0])
            if text.strip(f"{HOLE} :"):
                yield text


def _texts(tree: ast.Module) -> Iterator[str]:
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            yield _text(node)


def _text(node: ast.expr) -> str:
    """Returns a text as it stands in the source; a hole for all that is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return _FIELD.sub(HOLE, text)
        case ast.JoinedStr(values=parts):
            return "".join(map(_text, parts))
        case _:
            return HOLE
