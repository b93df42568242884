"""How a log line looks to a human at a terminal: structlog's console renderer, in fetchd's columns."""

from collections.abc import Callable
from typing import Final

from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter

from fetchd.observe.escape import shown_value

RenderLine = Callable[[dict[str, object]], str]
"""Makes a line of its fields, ``event`` and ``level`` among them."""

_BELOW: Final = ("problems", "trace")
"""Fields of many lines: they stand under the event, indented, where they cannot pass for a log line."""

_LEVEL_COLOURS: Final = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[1;31m"}
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_CYAN: Final = "\x1b[36m"
_RESET: Final = "\x1b[0m"


def console_renderer(*, colour: bool) -> RenderLine:
    """Returns a renderer for lines such as ``14:03:07 info    poll.done  account=alice new=3 bytes=4711 took=0.82``."""
    bold, dim, cyan, reset = (_BOLD, _DIM, _CYAN, _RESET) if colour else ("", "", "", "")

    def level(key: str, value: object) -> str:  # noqa: ARG001 - structlog's signature
        return f"{_LEVEL_COLOURS.get(str(value), '') if colour else ''}{value:<7}{reset}"

    render = ConsoleRenderer(
        sort_keys=False,
        columns=[
            Column("timestamp", KeyValueColumnFormatter(None, dim, reset, str)),
            Column("level", level),
            Column("event", KeyValueColumnFormatter(None, bold, reset, str, postfix=" ")),
            Column("", KeyValueColumnFormatter(dim, cyan, reset, shown_value)),
        ],
    )

    def with_fields_below(fields: dict[str, object]) -> str:
        below = [line for field in _BELOW for line in _lines(fields.pop(field, ""))]
        return "\n    │ ".join([render(None, str(fields["level"]), fields), *below])

    return with_fields_below


def _lines(value: object) -> list[str]:
    return value if isinstance(value, list) else str(value).splitlines()
