"""A YAML text as plain data that remembers, for every value, where it stands. Pure.

The tree is composed here from the parser's events (libyaml's where PyYAML has it: 10,000 accounts take seconds, not
a quarter of a minute), and not by the library's composer, because that drops duplicate keys and positions, recurses
as deep as the text says, and expands aliases without bound. Only plain YAML comes out: mappings with text keys, lists,
text, whole numbers, floats, booleans and nulls; anchors, aliases and ``<<`` work within :data:`LIMIT_VALUES`.
"""

import re
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from fetchd.config.nodes import Document, Entry, Node, Remark, Scalar, Steps
from fetchd.config.syntax import explain_syntax
from fetchd.errors import ConfigError

LIMIT_VALUES: Final = 1_000_000
"""The most values a document may hold, counting an aliased value at each place where it is used."""
LIMIT_DEPTH: Final = 16
"""The deepest nesting; a configuration needs five."""

LOADER: Final[type] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_YAML: Final = "tag:yaml.org,2002:"
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_NOT_PRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ODD: Final = "YAML reads this as another number than stands here: put it in quotes"


def parse(text: str, source: Path, *, loader: type = LOADER) -> Document:
    """Returns the document in a text.

    Args:
        text: the whole file.
        source: its name, for messages.
        loader: the PyYAML loader class whose events are used.

    Raises:
        ConfigError: the text is not YAML, not one mapping, or too large; one line, ``source:line: …``.
    """
    control = _NOT_PRINTABLE.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        raise ConfigError(f"{source}:{line}: a control character stands here (U+{ord(control[0]):04X}): remove it")
    composer = _Composer(loader(text))
    try:
        root = composer.document()
    except yaml.YAMLError as error:
        line, _, said = explain_syntax(error, text)
    except _Refused as refused:
        line, said = refused.line, refused.text
    else:
        return Document(root, tuple(composer.duplicates), tuple(composer.odd_numbers))
    finally:
        composer.loader.dispose()
    # Raised out here, without a context: the parser's error may quote the line, and the line may hold a password.
    raise ConfigError(f"{source}:{line}: {said}")


class _Refused(Exception):  # noqa: N818 - becomes a ConfigError before it leaves this module
    """YAML that is not for configurations."""

    def __init__(self, mark: Any, text: str) -> None:
        super().__init__(text)
        self.line = mark.line + 1
        self.text = text


class _Loader(Protocol):
    """The part of a PyYAML loader that is used; its stubs leave these untyped."""

    def get_event(self) -> Any: ...
    def resolve(self, kind: type, value: str, implicit: tuple[bool, bool]) -> str: ...
    def dispose(self) -> None: ...


class _Composer:
    """Builds nodes from one loader's events."""

    def __init__(self, loader: _Loader) -> None:
        self.loader = loader
        self.duplicates: list[Remark] = []
        self.odd_numbers: list[Remark] = []
        self._anchors: dict[str, Node] = {}
        self._spread: list[_Refused] = []

    def document(self) -> Node:
        """Returns the root of the only document."""
        start = self.loader.get_event().start_mark  # StreamStart
        event = self.loader.get_event()
        if isinstance(event, yaml.StreamEndEvent):
            raise _Refused(start, 'the file is empty: it needs at least an "accounts:" section')
        root = self._node(self.loader.get_event(), ())
        self.loader.get_event()  # DocumentEnd
        event = self.loader.get_event()
        if not isinstance(event, yaml.StreamEndEvent):
            raise _Refused(event.start_mark, 'a second document begins here ("---"): one file holds one document')
        if root.value is None:
            raise _Refused(start, 'the file is empty: it needs at least an "accounts:" section')
        if self._spread:
            raise self._spread[0]
        return root

    def _node(self, event: Any, path: Steps) -> Node:
        mark, anchor = event.start_mark, event.anchor
        if len(path) > LIMIT_DEPTH:
            raise _Refused(mark, f"nested more than {LIMIT_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            found = self._anchors.get(anchor)
            if found is None:
                raise _Refused(mark, "a value that begins with * must stand in quotes (there is no such anchor above)")
            return found
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, path)
        else:
            self._refuse_tag(event)
            node = self._mapping(event, path) if isinstance(event, yaml.MappingStartEvent) else self._list(event, path)
        if node.depth > LIMIT_DEPTH:
            raise _Refused(mark, f"nested more than {LIMIT_DEPTH} levels deep")
        if anchor:
            self._anchors[anchor] = node
        return node

    def _list(self, start: Any, path: Steps) -> Node:
        items: list[Node] = []
        size = 1
        while not isinstance(event := self.loader.get_event(), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
            size = self._bounded(event, size + items[-1].size)
        depth = 1 + max((item.depth for item in items), default=0)
        return Node(start.start_mark.line + 1, start.start_mark.column + 1, tuple(items), size, depth)

    def _mapping(self, start: Any, path: Steps) -> Node:
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        size, depth = 1, 1
        while not isinstance(event := self.loader.get_event(), yaml.MappingEndEvent):
            name, line, column = self._name(event), event.start_mark.line + 1, event.start_mark.column + 1
            node = self._node(self.loader.get_event(), (*path, name))
            size, depth = self._bounded(event, size + 1 + node.size), max(depth, 1 + node.depth)
            if name == "<<" and event.implicit[0]:
                merged.append(node)
            elif name in entries:
                said = f"given twice, first on line {entries[name].line}"
                self.duplicates.append(Remark(line, column, (*path, name), said))
            else:
                entries[name] = Entry(line, column, node)
        for node in merged:
            self._merge(node, start.start_mark, entries)
        return Node(start.start_mark.line + 1, start.start_mark.column + 1, entries, size, depth)

    @staticmethod
    def _merge(node: Node, mark: Any, entries: dict[str, Entry]) -> None:
        """What a mapping says itself wins over what it merges; of several merged ones the first wins."""
        for source in node.value if isinstance(node.value, tuple) else (node,):
            if not isinstance(source.value, dict):
                raise _Refused(mark, '"<<" takes a mapping, or a list of mappings')
            for name, entry in source.value.items():
                entries.setdefault(name, entry)

    def _name(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise _Refused(event.start_mark, "a plain name is expected before the colon: put it in quotes")
        if not event.value:
            raise _Refused(event.start_mark, "a name is missing before the colon")
        self._refuse_tag(event)
        return event.value

    def _scalar(self, event: Any, path: Steps) -> Node:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        self._refuse_tag(event)
        self._note_lines(event)
        # A tag, "!" or "!!str", and a quoted or block style say: this is text.
        is_plain = event.implicit[0] and event.tag is None
        tag = self.loader.resolve(yaml.ScalarNode, event.value, (True, False)) if is_plain else f"{_YAML}str"
        value = _value(tag.removeprefix(_YAML), event.value)
        if tag == f"{_YAML}int" and isinstance(value, str):
            self.odd_numbers.append(Remark(line, column, path, _ODD))
        return Node(line, column, value)

    @staticmethod
    def _refuse_tag(event: Any) -> None:
        if event.tag not in {None, "!", f"{_YAML}str", f"{_YAML}map", f"{_YAML}seq"}:
            raise _Refused(event.start_mark, "a value cannot begin with !: put it in quotes")

    def _note_lines(self, event: Any) -> None:
        """No value needs several lines, but a line without its colon, or a quote left open, swallows the next ones.

        Where that makes the rest unreadable, the parser's error has the better words: this waits for the end.
        """
        if event.start_mark.line == event.end_mark.line or event.style in {"|", ">"}:
            return
        if event.style in {'"', "'"}:
            refused = _Refused(event.start_mark, "the quote opened here is closed only on a later line: close it here")
        else:
            refused = _Refused(event.end_mark, 'this line continues the value above it: it should read "key: value"')
        self._spread.append(refused)

    @staticmethod
    def _bounded(event: Any, size: int) -> int:
        if size > LIMIT_VALUES:
            raise _Refused(event.start_mark, f"more than {LIMIT_VALUES:,} values, aliases included")
        return size


def _value(kind: str, text: str) -> Scalar:
    """Returns a plain scalar's value; a number that is not plainly decimal, a date and the like stay text."""
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"yes", "true", "on"}
    if kind == "int":
        digits = text.replace("_", "")
        return int(digits) if _DECIMAL.fullmatch(digits) else text
    return _float(text) if kind == "float" else text


def _float(text: str) -> float | str:
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return text
