"""How text from elsewhere is shown: as one line that no terminal obeys and that forges nothing."""

from typing import Final

UNIQUE_ID_LIMIT: Final = 70
"""The most characters of a unique-id that are shown; a lawful one has at most 70 octets (RFC 1939 §7)."""


def shown_text(text: str) -> str:
    r"""Returns text with everything escaped that is not a printable character or a plain space.

    Line ends, C0 and C1 control characters, direction marks and lone surrogates come out as ``\n``, ``\x1b``,
    ``\u202e``; letters of every script stay. A backslash stays too: a server's text was escaped before it came here.

    >>> shown_text("Zoë\x1b[31m\r\n")
    'Zoë\\x1b[31m\\r\\n'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shown_unique_id(uid: bytes) -> str:
    r"""Returns a unique-id as printable ASCII, other octets as ``\xNN``; what passes the limit becomes ``…``.

    >>> shown_unique_id(b"4f0a\x00")
    '4f0a\\x00'
    """
    if len(uid) <= UNIQUE_ID_LIMIT and uid.isascii() and (text := uid.decode("ascii")).isprintable():
        return text
    shown = ""
    for octet in uid:
        char = chr(octet) if 0x20 <= octet < 0x7F else f"\\x{octet:02x}"  # noqa: PLR2004 - printable ASCII
        if len(shown) + len(char) > UNIQUE_ID_LIMIT:
            return shown + "…"
        shown += char
    return shown


def shown_value(value: object) -> str:
    """Returns a field's value as people read it: unquoted where it is one plain word, else in quotes."""
    match value:
        case bool():
            return str(value).lower()
        case list():
            return ",".join(map(shown_value, value)) or "-"
        case dict():
            return ",".join(f"{key}:{shown_value(item)}" for key, item in value.items()) or "-"
        case str() if not value or any(char in value for char in ' "=,'):
            return '"' + value.replace('"', '\\"') + '"'
        case _:
            return str(value)
