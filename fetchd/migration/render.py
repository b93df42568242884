"""The YAML of a new configuration, with a comment for everything that was not carried over. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from fetchd.migration.accounts import Note, OldAccount, OldConfiguration
from fetchd.model import Tls, TlsMode

_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*")
_WORDS: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))
_SIZES: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"))


def render(tool: str, configurations: Sequence[OldConfiguration], *, secrets: Mapping[str, str]) -> str:
    """Returns a whole configuration file.

    Args:
        tool: whose accounts these are.
        configurations: names of accounts are unique over all of them.
        secrets: account → the file that its password was written to.
    """
    sources = ", ".join(configuration.source for configuration in configurations)
    lines = [
        f"# fetchd's configuration, made by: fetchd import {tool}",
        f"# from {_comment(sources)}",
        "# Look through it, above all at lines that say CHECK THIS. Then, with the old fetcher stopped:",
        "#   fetchd -c THIS check",
        f"#   fetchd -c THIS import {tool} --seen",
        "#   fetchd -c THIS --once",
    ]
    for configuration in configurations:
        lines += _notes(configuration.notes, "")
    active = [account for one in configurations for account in one.accounts if not account.unused]
    lines.append("accounts:" if active else "accounts: {}")
    for configuration in configurations:
        for account in configuration.accounts:
            lines += ["", *_account(account, source=configuration.source, secret=secrets.get(account.name, ""))]
    return "\n".join(lines) + "\n"


def scalar(text: str) -> str:
    r"""Returns a text as a YAML scalar: plain where it can only be read as that text, else in double quotes.

    >>> scalar("alice"), scalar("no"), scalar('a"\x1b')
    ('alice', '"no"', '"a\\"\\u001b"')
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"


def _account(account: OldAccount, *, source: str, secret: str) -> list[str]:
    lines = [f"  # {_comment(account.origin)}"]
    body = list(_body(account, source=source, secret=secret))
    if not account.unused:
        return [*lines, *body]
    return [*lines, f"  # not polled: {_comment(account.unused)}", *(f"  # {line.removeprefix('  ')}" for line in body)]


def _body(account: OldAccount, *, source: str, secret: str) -> Iterator[str]:
    yield f"  {scalar(account.name)}:"
    for key, value in _keys(account, source, secret):
        remark = account.remarks.get(key)
        if remark:
            yield f"    # {_comment(remark)}"
        yield value if value.startswith("    ") else f"    {key}: {value}"
    yield from _notes(account.notes, "    ")


def _keys(account: OldAccount, source: str, secret: str) -> Iterator[tuple[str, str]]:
    yield "host", scalar(account.host)
    if account.port is not None:
        yield "port", str(account.port)
    if account.tls != Tls() or "tls" in account.remarks:
        yield "tls", _tls(account.tls)
    yield "user", scalar(account.user)
    if account.mechanism:
        yield "mechanism", account.mechanism
    yield from _password(account, source, secret)
    yield "deliver", _deliver(account)
    yield "leave_on_server", _leave(account.delete_after)
    for key, number in (("interval", account.interval), ("timeout", account.timeout)):
        if number is not None:
            yield key, duration(number)
    if account.max_size is not None:
        yield "max_size", size(account.max_size)
    if account.max_messages is not None:
        yield "max_messages", str(account.max_messages)
    if account.source_address:
        yield "source_address", scalar(account.source_address)
    if account.proxy:
        yield "proxy", scalar(account.proxy)


def _password(account: OldAccount, source: str, secret: str) -> Iterator[tuple[str, str]]:
    if account.password_command:
        yield "password", f"{{command: [{', '.join(map(scalar, account.password_command))}]}}"
        return
    if not secret:
        secret = f"secrets/{account.name}"
        if account.password is not None:
            what = f"the password stands in {source}: write it into this file, beside this one, chmod 600"
        else:
            what = "the old configuration does not hold the password: write it into this file, chmod 600"
        yield "", f"    # {_comment(what)}"
    yield "password", f"{{file: {scalar(secret)}}}"


def _deliver(account: OldAccount) -> str:
    deliver = account.deliver
    owner = f", owner: {scalar(deliver.owner)}" if deliver.owner else ""
    return f"{{{deliver.kind}: {scalar(deliver.path)}{owner}}}"


def _leave(seconds: int | None) -> str:
    return "true" if seconds is None else duration(seconds) if seconds else "false"


def _tls(tls: Tls) -> str:
    given = {
        "ca_file": tls.ca_file and str(tls.ca_file),
        "fingerprint": tls.fingerprint and tls.fingerprint.hex(),
        "client_cert": tls.client_cert and str(tls.client_cert),
        "client_key": tls.client_key and str(tls.client_key),
        "server_name": tls.server_name,
    }
    more = [f"{key}: {scalar(value)}" for key, value in given.items() if value]
    mode = tls.mode.value if tls.mode is not TlsMode.NONE else "none"
    return f"{{{', '.join([f'mode: {mode}', *more])}}}" if more else mode


def _notes(notes: Sequence[Note], indent: str) -> list[str]:
    told = [note for note in dict.fromkeys(notes) if note.why]
    if not told:
        return []
    return [
        f"{indent}# Not carried over:",
        *(f"{indent}#   {_comment(note.option)}: {_comment(note.why)}" for note in told),
    ]


def _comment(text: str) -> str:
    """Returns a text that stays on its line, whatever is in it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def duration(seconds: int) -> str:
    """Returns a duration as fetchd's configuration has it, in the largest unit that is exact."""
    for factor, unit in _UNITS:
        if seconds % factor == 0:
            return f"{seconds // factor}{unit}"
    return f"{seconds}s"


def size(octets: int) -> str:
    """Returns a size as fetchd's configuration has it."""
    for factor, unit in _SIZES:
        if octets % factor == 0:
            return f"{octets // factor}{unit}"
    return str(octets)
