"""A YAML document as a tree that knows its places. Pure."""

from fetchd.values import value

Scalar = str | int | float | bool | None
Steps = tuple[str | int, ...]
"""The keys and list indices from the root to a value."""


@value
class Node:
    """One value and where it stands.

    Attributes:
        line, column: from 1.
        value: a scalar, a tuple of nodes, or a dict of name → :class:`Entry`.
        size: values in it, itself included, aliases expanded.
        depth: levels in it; 1 for a scalar.
    """

    line: int
    column: int
    value: "Scalar | tuple[Node, ...] | dict[str, Entry]"
    size: int = 1
    depth: int = 1


@value
class Entry:
    """One ``name: value`` of a mapping; line and column, from 1, are the name's."""

    line: int
    column: int
    node: Node


@value
class Remark:
    """Something to say about one value. Where ``path`` is empty it is about the place alone."""

    line: int
    column: int
    path: Steps
    text: str


@value
class Document:
    """A parsed configuration file.

    Attributes:
        root: the outermost value.
        duplicates: names given twice in one mapping; the first one counts.
        odd_numbers: plain scalars whose value as a YAML 1.1 number is not what the eye reads (``0123`` is 83,
            ``1:30`` is 90); they are kept as text.
    """

    root: Node
    duplicates: tuple[Remark, ...] = ()
    odd_numbers: tuple[Remark, ...] = ()

    def place(self, path: Steps) -> tuple[int, int, Steps]:
        """Returns line and column of the value at a path, or of the nearest one above it; and that one's path."""
        node, line, column = self.root, self.root.line, self.root.column
        for index, step in enumerate(path):
            if isinstance(node.value, dict) and step in node.value:
                entry = node.value[str(step)]
                node, line, column = entry.node, entry.line, entry.column
            elif isinstance(node.value, tuple) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line, column = node.line, node.column
            else:
                return line, column, path[:index]
        return line, column, path

    def node(self, path: Steps) -> Node | None:
        """Returns the value at a path, or None where there is none."""
        node = self.root
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                node = node.value[str(step)].node
            elif isinstance(node.value, tuple) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            else:
                return None
        return node


def plain(node: Node) -> object:
    """Returns a value as dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {name: plain(entry.node) for name, entry in node.value.items()}
    if isinstance(node.value, tuple):
        return [plain(item) for item in node.value]
    return node.value
