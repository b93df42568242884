"""The words of a ``fetchmailrc``: its lexer, and which option takes what. Pure.

The longest match wins, as in a lexer of flex's; fetchmail(1), "THE RUN CONTROL FILE". Text is Latin-1 here, one
character an octet.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fetchd.values import value


@value
class Token:
    """A word of the grammar by its own name, or a ``text``, a ``number``, a ``protocol name``, a ``way`` to log in."""

    kind: str
    text: str
    line: int


_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "server": "poll",
        "local": "localdomains",
        "protocol": "proto",
        "preauth": "auth",
        "preauthenticate": "auth",
        "authenticate": "auth",
        "username": "user",
        "password": "pass",
        "folders": "folder",
        "smtp": "smtphost",
        "pre": "preconnect",
        "post": "postconnect",
        "pass8": "pass8bits",
        "mimedec": "mimedecode",
    }
)
GLOBAL_TEXT: Final = ("logfile", "idfile", "pidfile", "postmaster", "properties")
GLOBAL_FLAGS: Final = ("bouncemail", "spambounce", "softbounce", "syslog", "invisible", "showdots")
SERVER: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("via", "qvirtual", "interface", "monitor", "plugin", "plugout"), "text"),
        **dict.fromkeys(("principal", "esmtpname", "esmtppassword"), "text"),
        **dict.fromkeys(("timeout", "interval"), "number"),
        **dict.fromkeys(("uidl", "dns", "checkalias", "tracepolls"), "flag"),
        **dict.fromkeys(("aka", "localdomains"), "texts"),
        "proto": "proto",
        "auth": "auth",
        "port": "port",
        "service": "service",
        "envelope": "envelope",
        "bad-header": "badheader",
    }
)
USER: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("pass", "smtpaddress", "smtpname", "mda", "bsmtp", "preconnect", "postconnect"), "text"),
        **dict.fromkeys(("sslkey", "sslcert", "sslproto", "sslcertfile", "sslcertpath", "sslcommonname"), "text"),
        **dict.fromkeys(("sslfingerprint", "properties"), "text"),
        **dict.fromkeys(("keep", "flush", "limitflush", "fetchall", "rewrite", "forcecr", "stripcr"), "flag"),
        **dict.fromkeys(("pass8bits", "dropstatus", "dropdelivered", "mimedecode", "idle", "forceidle"), "flag"),
        **dict.fromkeys(("ssl", "sslcertck", "lmtp"), "flag"),
        **dict.fromkeys(("limit", "warnings", "fetchlimit", "fetchsizelimit", "fastuidl"), "number"),
        **dict.fromkeys(("batchlimit", "expunge"), "number"),
        **dict.fromkeys(("folder", "smtphost", "fetchdomains"), "texts"),
        "antispam": "numbers",
        "is": "mapping",
        "to": "mapping",
    }
)
_OTHERS: Final = ("set", "daemon", "defaults", "poll", "skip", "user", "here", "there", "no", "accept", "reject")
_WORDS: Final = frozenset({*GLOBAL_TEXT, *GLOBAL_FLAGS, *SERVER, *USER, *_OTHERS})
_NOISE: Final = frozenset({"and", "with", "has", "wants", "options"})
_PROTOCOLS: Final = frozenset({"auto", "pop2", "sdps", "pop3", "imap", "apop", "rpop", "etrn", "odmr", "kpop"})
_WAYS: Final = re.compile(
    r"any|gssapi|kerberos(?:(?:_v)?[45])?|ssh|implicit|external|otp|opie|cram(?:-md5)?|msn|ntlm", re.ASCII
)
_NEGATED: Final = re.compile(
    r"no(?:bouncemail|spambounce|uidl|checkalias|dns|envelope|keep|flush|limitflush|fetchall|rewrite|forcecr|stripcr"
    r"|pass8(?:bits)?|dropstatus|dropdelivered|mimedec(?:ode)?|idle|forceidle)"
)
_NAMES_FOLLOW: Final = frozenset({"user", "pass", "is", "to"})
_QUOTED: Final = re.compile("\"[^\"]*\"|'[^']*'")
_WORD: Final = re.compile(r"[^=;:, \t\r\n]+")
_LINE_END: Final = re.compile(r"(?:#[^\n]*)?\\?(?:\n|\Z)")
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_ESCAPE: Final = re.compile(r"\\(?:[xX]([0-9A-Fa-f]{0,2})|(0[0-7]{0,2})|([1-9][0-9]{0,2})|(.)|\Z)", re.DOTALL)
_CONTROLS: Final = MappingProxyType({"n": "\n", "t": "\t", "b": "\b", "r": "\r", "\n": ""})


def unescape(text: str) -> str:
    r"""Returns a string with its escapes undone: ``\n``, decimal ``\123``, octal ``\0ooo``, hex ``\xhh``.

    A string ends at a NUL, as in C.

    >>> unescape(r"\101\x41\0101\"\q")
    'eA\x081"q'
    """
    return _ESCAPE.sub(_unescaped, text).partition("\0")[0]


def _unescaped(match: re.Match[str]) -> str:
    hexadecimal, octal, decimal, other = match.groups()
    if hexadecimal is not None:
        return chr(int(hexadecimal or "0", 16))
    if octal is not None:
        return chr(int(octal, 8) & 0xFF)
    if decimal is not None:
        return chr(int(decimal) & 0xFF)
    return _CONTROLS.get(other, other) if other else ""


def tokens(text: str) -> list[Token]:
    """Returns the words of a file, without noise; there is no text that cannot be read so."""
    found: list[Token] = []
    position, line, state = 0, 1, ""
    while position < len(text):
        character = text[position]
        end = _LINE_END.match(text, position)
        if end is not None and end[0]:
            position, line = end.end(), line + end[0].count("\n")
        elif character in " \t\r;:,":
            position += 1
        elif character == "=":
            found.append(Token("=", "=", line))
            position, state = position + 1, "name"
        else:
            token, length, state = _token(text, position, line, state)
            if token is not None:
                found.append(token)
            line += text.count("\n", position, position + length)
            position += length
    return found


def _token(text: str, position: int, line: int, state: str) -> tuple[Token | None, int, str]:
    """Returns the token that begins here (None for a noise word), how long it is, and the state after it."""
    quoted, word = _QUOTED.match(text, position), _WORD.match(text, position)
    assert word is not None, "every other character was taken before"
    if quoted is not None and len(quoted[0]) >= len(word[0]):
        return Token("text", unescape(quoted[0][1:-1]), line), len(quoted[0]), ""
    written = word[0]
    if state == "name":
        return Token("text", unescape(written), line), len(written), ""
    if written in _NOISE:
        return None, len(written), state
    if _NEGATED.fullmatch(written):
        return Token("no", "no", line), 2, state
    return _plain(written, line, state)


def _plain(written: str, line: int, state: str) -> tuple[Token, int, str]:
    length = len(written)
    if _WAYS.fullmatch(written) or (state == "auth" and written == "password"):
        return Token("way", written, line), length, ""
    known = _ALIASES.get(written, written)
    if known in _WORDS:
        after = "name" if known in _NAMES_FOLLOW else "auth" if known == "auth" else state
        return Token(known, written, line), length, after
    if written in _PROTOCOLS or (written.isupper() and written.lower() in _PROTOCOLS):
        return Token("protocol name", written.lower(), line), length, state
    if _NUMBER.fullmatch(written):
        return Token("number", written, line), length, state
    return Token("text", unescape(written), line), length, ""
