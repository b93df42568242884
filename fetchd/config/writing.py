"""A configuration as text: a new file, or one more account in a file that somebody wrote. Pure.

What stands in a file already stays as it is, octet by octet: an account is a run of lines that goes in at one place.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import yaml

from fetchd.config.document import parse
from fetchd.config.nodes import Entry, plain
from fetchd.config.units import format_duration
from fetchd.errors import UsageError
from fetchd.model import TlsMode
from fetchd.values import value

_STEP: Final = "  "
_ENDS: Final = re.compile(r"(?:\.\.\.|---)(?:\s|$)")
_LINE_ENDS: Final = re.compile("(?<=\n)|(?<=\r)(?!\n)|(?<=[\x85\u2028\u2029])")
"""What ends a line for YAML 1.1, and so counts in the places that the parser gives."""
_MARK: Final = "\ufeff"

_HEAD: Final = """\
# fetchd's configuration, begun by "fetchd init". After a change: "fetchd check"; a fetchd that runs takes it on SIGHUP.
# More accounts: "fetchd init --add". Every key is explained in docs/configuration.md.
"""


@value
class NewAccount:
    """What is written of one account.

    Attributes:
        name: its name; a sound one.
        host, port, tls, user: as in :class:`fetchd.model.Account`.
        secret: ``password`` or ``oauth``, and that key's mapping.
        deliver: the mapping of that key.
        leave_on_server: as written: ``true``, ``false`` or an age such as ``14d``.
        interval: seconds.
        allow_plaintext_password: whether the password may go over an unprotected line.
        source: who says where the server is, one printable line; "" where nobody has to be named.
    """

    name: str
    host: str
    port: int
    tls: TlsMode
    user: str
    secret: tuple[str, Mapping[str, object]]
    deliver: Mapping[str, str | bool]
    leave_on_server: str = "true"
    interval: int = 300
    allow_plaintext_password: bool = False
    source: str = ""


def written(value: object) -> str:
    """Returns a value as YAML on one line, in quotes where it needs them: within ``{}`` or ``[]`` too.

    >>> written("no"), written({"file": "/run/a, b"})
    ("'no'", "{file: '/run/a, b'}")
    """
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{written(key)}: {written(one)}' for key, one in value.items())}}}"
    # What does not print, a line break of whatever kind among it, is written as escapes.
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    # As the one item of a list, for what stands in one needs the most quotes.
    text = yaml.safe_dump(
        [value], default_flow_style=True, default_style=style, allow_unicode=style is None, width=1 << 20
    )
    return text.strip()[1:-1]


def new_file(account: NewAccount, *, state: Path | None = None) -> str:
    """Returns a whole configuration with one account in it; ``state`` where the store has to be named."""
    lines = [_HEAD]
    if state is not None:
        lines.append(
            f"# What was fetched is remembered here; lose it, and mail comes twice.\nstate: {written(str(state))}\n"
        )
    return "".join([*lines, "accounts:\n", *_lines(account, _STEP, _STEP)])


def with_account(text: str, account: NewAccount, source: Path) -> str:
    """Returns a configuration's text with one more account behind those that it has; all else stays as it is.

    Args:
        text: the file, a sound configuration.
        account: one whose name the file does not have.
        source: the file's name, for messages.

    Raises:
        ConfigError: the text is no YAML.
        UsageError: the accounts are not written as a block of lines, so that nothing can be put among them.
    """
    mark, text = (_MARK, text.removeprefix(_MARK)) if text.startswith(_MARK) else ("", text)
    root = parse(text, source).root.value
    lines = _lines_of(text)
    if not isinstance(root, dict) or not _has_block(root, lines):
        raise _not_addable(account, source)
    section = root["accounts"]
    accounts = section.node.value
    assert isinstance(accounts, dict), "a block of entries"
    first = next(iter(accounts.values()))
    indent = " " * (first.column - 1)
    step = " " * max(1, _inner_column(accounts.values(), first) - first.column)
    at = _end_of(section, root.values(), lines, len(indent))
    newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
    added = [line.removesuffix("\n") + newline for line in _lines(account, indent, step)]
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += newline
    whole = "".join([*lines[:at], newline, *added, *lines[at:]])
    if not _differ_by(account.name, plain(parse(text, source).root), plain(parse(whole, source).root)):
        raise _not_addable(account, source)
    return mark + whole


def require_block(text: str, source: Path) -> None:
    """Sees whether :func:`with_account` will find a place, before anybody is asked for an account.

    Raises:
        ConfigError: the text is no YAML.
        UsageError: it will not.
    """
    text = text.removeprefix(_MARK)
    root = parse(text, source).root.value
    if not isinstance(root, dict) or not _has_block(root, _lines_of(text)):
        raise UsageError(
            f"{source}: its accounts are not written one below the other, and --add leaves every line as it is: add "
            "the account by hand; docs/configuration.md has the keys"
        )


def _not_addable(account: NewAccount, source: Path) -> UsageError:
    """Returns what to say where an account cannot be put in: the lines, for somebody to do it."""
    lines = "".join(_lines(account, _STEP, _STEP))
    return UsageError(f"{source}: its accounts are not written one below the other; add this one by hand:\n{lines}")


def _differ_by(name: str, before: object, after: object) -> bool:
    """Whether one account is all that came into a configuration, and nothing that was in it changed its meaning."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return False
    accounts = dict(after.get("accounts") or {})
    return accounts.pop(name, None) is not None and {**after, "accounts": accounts} == before


def _lines_of(text: str) -> list[str]:
    """Returns the lines, each with its end."""
    lines = _LINE_ENDS.split(text)
    return lines if lines[-1] else lines[:-1]


def _has_block(root: Mapping[str, Entry], lines: list[str]) -> bool:
    """Whether the accounts are a mapping below the key, line by line: not ``{…}``, not an alias, not empty."""
    section = root.get("accounts")
    if section is None:
        return False
    accounts = section.node.value
    if not isinstance(accounts, dict) or not accounts or section.node.line <= section.line:
        return False
    return not lines[section.node.line - 1][section.node.column - 1 :].startswith("{")


def _inner_column(accounts: Iterable[Entry], first: Entry) -> int:
    """Returns the column where the keys of an account stand; of one that is written as a block."""
    for one in accounts:
        if isinstance(one.node.value, dict) and one.node.line > one.line:
            return one.node.column
    return first.column + len(_STEP)


def _end_of(section: Entry, others: Iterable[Entry], lines: list[str], indent: int) -> int:
    """Returns how many lines stand before the place for another account.

    Blank lines, and comments that stand further to the left than the accounts, belong to what follows.
    """
    after = [entry.line - 1 for entry in others if entry.line > section.line]
    ends = [number for number, line in enumerate(lines) if number >= section.line and _ENDS.match(line)]
    at = min([*after, *ends], default=len(lines))
    while at > section.line and _is_of_what_follows(lines[at - 1], indent):
        at -= 1
    return at


def _is_of_what_follows(line: str, indent: int) -> bool:
    stripped = line.lstrip(" ")
    return not stripped.strip() or (stripped.startswith("#") and len(line) - len(stripped) < indent)


def _lines(account: NewAccount, indent: str, step: str) -> list[str]:
    inner = f"{indent}{step}"
    return [f"{indent}{written(account.name)}:\n", *(f"{inner}{line}\n" for line in _keys(account))]


def _keys(account: NewAccount) -> list[str]:
    key, secret = account.secret
    deliver = {name: value for name, value in account.deliver.items() if value not in ("", False)}
    said = f"From {account.source}." if account.source else ""
    line = {
        TlsMode.IMPLICIT: "The line is TLS, and the certificate is verified.",
        TlsMode.STARTTLS: "The line turns to TLS before the login, and the certificate is verified.",
        TlsMode.NONE: "Nothing protects the line.",
    }[account.tls]
    lines = [
        f"# {said} {line}".replace("#  ", "# "),
        f"host: {written(account.host)}",
        f"port: {account.port}",
        f"tls: {written(account.tls.value)}",
    ]
    if account.allow_plaintext_password:
        lines.append("allow_plaintext_password: true")
    lines += [
        f"user: {written(account.user)}",
        _SECRETS.get(next(iter(secret)), "# How fetchd logs in."),
        f"{key}: {written(dict(secret))}",
        "# Where the mail goes; created where it is missing.",
        f"deliver: {written(deliver)}",
        "# true: mail stays on the server. 14d: it is deleted there 14 days after fetchd first saw it. false: at once.",
        f"leave_on_server: {account.leave_on_server}",
        f"interval: {format_duration(account.interval)}",
    ]
    return lines


_SECRETS: Final[Mapping[str, str]] = {
    "file": "# A file that holds the password and nothing else. It is read anew at every login.",
    "env": "# An environment variable that holds the password.",
    "provider": '# Tokens instead of a password: "fetchd login" gets them.',
}
"""What is said above a secret, by its first key."""
