"""The kinds of values that the configuration knows, each a function from what YAML gave to what fetchd needs. Pure.

Every function here raises ``ValueError`` with a text that says what to write instead. A text repeats the value it
complains of only where no password can stand.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Final

from fetchd.config.units import format_duration, parse_duration, parse_size, quoted
from fetchd.model import LOGIN_WAYS, FirstPoll, TlsMode, UniqueIdsChanged

ACCOUNT_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"
OWNER: Final = r"^[^:\s/]{1,64}(:[^:\s/]{1,64})?$"
STORE_NAME: Final = "fetchd.db"
AUTO: Final = "AUTO"
LOG_FORMATS: Final = ("auto", "console", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
OAUTH_PROVIDERS: Final = ("google", "microsoft", "custom")

_NAME: Final = re.compile(ACCOUNT_NAME.removesuffix("$"))
_OWNER: Final = re.compile(OWNER.removesuffix("$"))
_NOT_ONE_LINE: Final = re.compile("[\r\n\0\ud800-\udfff]")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_ONE_WORD: Final = re.compile(r"[\x21-\x7e]{1,1000}")
_CREDENTIAL: Final = re.compile(r"[^/\x00-\x20]{1,255}")
_ELSEWHERE: Final[Mapping[str, str]] = {
    "ssl": "implicit",
    "tls": "implicit",
    "ssl/tls": "implicit",
    "pop3s": "implicit",
    "true": "implicit",
    "stls": "starttls",
    "start_tls": "starttls",
    "plain": "none",
    "false": "none",
    "warn": "warning",
    "critical": "error",
    "text": "console",
}
"""What other programs call one of our choices."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns the known word that is closest to this one, or "" where none is close."""
    import difflib  # noqa: PLC0415 - only where something is wrong

    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[close[0]] if close else ""


def listed(words: Iterable[str], last: str = "or") -> str:
    """Returns ``a, b or c``."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


def choice(value: object, known: Iterable[str]) -> str:
    """Returns one of the known words."""
    words = tuple(known)
    if isinstance(value, str) and value in words:
        return value
    close = _ELSEWHERE.get(str(value).lower(), "")
    if close not in words:
        close = nearest(value, words) if isinstance(value, str) else ""
    shown = f"{quoted(value)} is not one of {listed(words)}" if isinstance(value, str) else f"write {listed(words)}"
    raise ValueError(f'{shown}; did you mean "{close}"?' if close else shown)


def tls_mode(value: object) -> TlsMode:
    """Returns the mode that a word names."""
    return TlsMode(choice(value, TlsMode))


def first_poll(value: object) -> FirstPoll:
    """Returns the policy that a word names."""
    return FirstPoll(choice(value, FirstPoll))


def unique_ids_changed(value: object) -> UniqueIdsChanged:
    """Returns the policy that a word names."""
    return UniqueIdsChanged(choice(value, UniqueIdsChanged))


def log_short(value: object) -> object:
    """Returns ``debug`` as ``{level: debug}`` and ``json`` as ``{format: json}``; a mapping as it is."""
    if isinstance(value, dict):
        return value
    word = choice(value, (*LOG_LEVELS, *LOG_FORMATS))
    return {"level" if word in LOG_LEVELS else "format": word}


def short_for(value: object, *, key: str) -> object:
    """Returns a text as the mapping that has it under ``key``; anything else as it is."""
    return {key: value} if isinstance(value, str) else value


def mechanism(value: object) -> str:
    """Returns a mechanism's name in upper case; "" for ``auto``, the strongest that is offered."""
    word = choice(value.upper() if isinstance(value, str) else value, (AUTO, *LOGIN_WAYS))
    return "" if word == AUTO else word


def account_name(value: str) -> str:
    """Returns a name that can be a metric's label and a part of a file's name."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            "a name is 1 to 64 of the characters A-Z a-z 0-9 . _ @ + - and begins with a letter or a digit"
        )
    return value


def one_line(value: str) -> str:
    """Returns a text that a POP3 command, or a file's name, can carry: not empty, no CR, LF or NUL."""
    if not value:
        raise ValueError("is empty")
    unfit = _NOT_ONE_LINE.search(value)
    if unfit:
        surrogate = unfit[0] >= "\ud800"
        raise ValueError(
            "is not valid Unicode text" if surrogate else "holds a line break or a NUL: write it as one line"
        )
    return value


def one_word(value: str) -> str:
    """Returns a text that goes into a request as it is: ASCII, without a blank."""
    if not _ONE_WORD.fullmatch(value):
        raise ValueError("one word of ASCII letters, digits and signs is expected")
    return value


def tenant(value: str) -> str:
    """Returns the name of a tenant of Microsoft's: a word, a domain or an id, which becomes a part of a URL."""
    if not _TENANT.fullmatch(value):
        raise ValueError("expected common, organizations, consumers, or an organisation's domain or id")
    return value


def file_path(value: str) -> str:
    """Returns a path's text. Never repeats it in an error: a password's file may be the password by mistake."""
    one_line(value)
    if value.startswith("$"):
        raise ValueError("variables are not expanded: write the path out, or begin it with ~/")
    if value.startswith("~") and not value.startswith("~/"):
        raise ValueError("only a leading ~/ is expanded: write the path out")
    return value


def owner(value: object) -> str:
    """Returns ``USER`` or ``USER:GROUP``, each a name or a number."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _OWNER.fullmatch(text):
        raise ValueError("a user's name or number is expected, or USER:GROUP, as in owner: alice")
    return text


def state_file(value: object) -> object:
    """Returns the path's text of the store's file, where a text ends in ``/`` and so means its directory."""
    return f"{value}{STORE_NAME}" if isinstance(value, str) and value.endswith("/") else value


def _written(value: object) -> str | int:
    """Returns what a duration or a size is read from; what cannot be one comes out as a text that is none either."""
    match value:
        case bool() | float():
            return str(value).lower()
        case str() | int():
            return value
        case _:
            return "[…]" if isinstance(value, list) else "{…}"


def duration(value: object, *, least: int, most: int) -> int:
    """Returns seconds, between the two bounds."""
    seconds = parse_duration(_written(value))
    if not least <= seconds <= most:
        edge = f"at least {format_duration(least)}" if seconds < least else f"at most {format_duration(most)}"
        raise ValueError(f"must be {edge}")
    return seconds


def leave_on_server(value: object) -> int | None:
    """Returns seconds after which a message is deleted on the server: None for never, 0 for at once."""
    match value:
        case bool():
            return None if value else 0
        case "true" | "false":
            raise ValueError(f"write {value} without quotes, or an age such as 14d")
        case int() if value > 0:
            raise ValueError(f"{value} has no unit: write {value}d for days; true never deletes, false deletes at once")
    try:
        return parse_duration(_written(value))
    except ValueError as error:
        raise ValueError(f"{error}; true never deletes, false deletes at once") from None


def size_limit(value: object) -> int | None:
    """Returns octets; None for ``none``, no limit."""
    if value == "none":
        return None
    octets = parse_size(_written(value))
    if octets < 1:
        raise ValueError("must be at least 1 octet; none means no limit")
    return octets


def count_limit(value: object) -> object:
    """Returns None for ``none``, no limit; anything else as it is."""
    return None if value == "none" else value


def rate(value: object) -> int:
    """Returns octets a second; 0 for ``none``, no limit."""
    return 0 if value == "none" else parse_size(_written(value))


def variable(value: str) -> str:
    """Returns the name of an environment variable. Never repeats the value: it may be the password itself."""
    if not _VARIABLE.fullmatch(value):
        raise ValueError("the name of an environment variable is expected, without $, as in GMX_PASSWORD")
    return value


def credential(value: str) -> str:
    """Returns the name of a systemd credential, as in LoadCredential=. Never repeats the value."""
    if not _CREDENTIAL.fullmatch(value) or value in {".", ".."}:
        raise ValueError("the name of a systemd credential is expected, as in LoadCredential=NAME:…, without a /")
    return value


def command(value: object) -> tuple[str, ...]:
    """Returns a command's words; a text is split as a shell would split it, and no shell is run."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError:
            raise ValueError("a quote within the command is never closed") from None
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError("a text or a list of texts is expected: put numbers in quotes")
    if not value or not value[0]:
        raise ValueError("names no command")
    if any("\0" in word for word in value):
        raise ValueError("holds a NUL, which no command can be given")
    return tuple(value)
