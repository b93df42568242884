"""mpop's accounts in fetchd's terms, from an ``mpoprc``: one command a line. Pure; ``eval`` is not run."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from fetchd.migration import accounts
from fetchd.migration.accounts import Deliver, Here, Note, OldAccount, OldConfiguration, refused
from fetchd.model import LOGIN_WAYS, Tls, TlsMode

Commands = dict[str, str]

_TIMEOUT: Final = 180
_DAY: Final = 86_400
_UNITS: Final = MappingProxyType({"h": 3600, "d": _DAY, "w": 7 * _DAY})
_SIZES: Final = MappingProxyType({"": 1, "k": 2**10, "m": 2**20})
_BLANKS: Final = re.compile(r"[ \t]+")
_QUOTED: Final = re.compile(r'"(.*)"')
_SHELL: Final = re.compile(r"[$`|&;<>()*?\[\]~#!{}\\\n]")

_KNOWN: Final = frozenset(
    (
        *("host", "port", "source_ip", "proxy_host", "proxy_port", "socket", "timeout", "pipelining"),
        *("auth", "user", "password", "passwordeval", "ntlmdomain"),
        *("tls", "tls_starttls", "tls_nostarttls", "tls_trust_file", "tls_crl_file", "tls_fingerprint"),
        *("tls_key_file", "tls_cert_file", "tls_certcheck", "tls_priorities", "tls_host_override"),
        *("tls_min_dh_prime_bits", "tls_force_sslv3"),
        *("delivery", "uidls_file", "only_new", "keep", "killsize", "skipsize", "filter", "received_header"),
    )
)
_NOTES: Final[Mapping[str, tuple[tuple[str, ...], str]]] = MappingProxyType(
    {
        "pipelining": (("", "auto", "on"), "fetchd finds out by itself whether the server takes several commands"),
        "ntlmdomain": (("",), "fetchd does not have NTLM"),
        "tls_crl_file": (("",), "fetchd does not check whether a certificate was revoked"),
        "tls_priorities": (("",), "the system's OpenSSL decides; fetchd takes TLS 1.2 and newer"),
        "tls_min_dh_prime_bits": (("",), "the system's OpenSSL decides"),
        "tls_force_sslv3": (("", "off"), "fetchd takes TLS 1.2 and newer"),
        "only_new": (("", "on"), "fetchd fetches every message once, whatever it is set to"),
        "killsize": (("", "off"), "fetchd deletes only what it has delivered: what is too large stays (max_size)"),
        "filter": (("",), "fetchd filters nothing: let the mail reader or Sieve do that"),
        "received_header": (("", "on", "off"), ""),
        "uidls_file": (
            ("", "~/.mpop_uidls/%u_at_%h"),
            "its unique-ids are taken over by: fetchd import mpop --seen THAT-FILE",
        ),
    }
)


@dataclass(slots=True)
class _Section:
    """One ``account``: its commands and those of its bases, the defaults until there, and where it begins."""

    name: str
    line: int
    commands: Commands = field(default_factory=dict)
    evals: int = 0
    defaults: Commands = field(default_factory=dict)


def from_mpoprc(octets: bytes, source: str, *, here: Here) -> OldConfiguration:
    """Returns the accounts of an ``mpoprc``.

    Raises:
        ConfigError: with file and line.
    """
    sections = _sections(accounts.plain(octets), source)
    found = [_account(section, source, here=here) for section in sections]
    return OldConfiguration(source, accounts.named(found))


def _sections(text: str, source: str) -> list[_Section]:
    defaults = current = _Section("defaults", 0)
    found: dict[str, _Section] = {}
    for number, command, argument in _lines(text):
        if command == "defaults":
            current = defaults  # a second section adds to the first
        elif command == "account":
            name, bases = _heading(argument, number, source)
            if name in found:
                raise refused(source, number, "there is an account of this name above")
            current = found[name] = _Section(name, number, evals=defaults.evals, defaults=defaults.commands.copy())
            for base in bases:
                if base not in found:
                    raise refused(source, number, "an account that this one builds on is not defined above")
                current.commands |= found[base].commands
        elif command == "eval":
            current.evals += 1
        elif command not in _KNOWN:
            raise refused(source, number, "mpop has no such command")
        else:
            current.commands[command] = argument
    for section in found.values():  # what a base has from its defaults is not handed on
        section.commands = section.defaults | section.commands
    # "account default : NAME" only says which one is taken where none is named.
    return [section for section in found.values() if not _is_alias(section, found)]


def _is_alias(section: _Section, found: Mapping[str, _Section]) -> bool:
    return section.name == "default" and any(
        other.commands == section.commands for other in found.values() if other is not section
    )


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        command, argument = [*_BLANKS.split(line.strip(" \t\r"), maxsplit=1), ""][:2]
        if not command or command.startswith("#"):
            continue
        # A quote that is opened and never closed is a part of the text, such as a password.
        quoted = _QUOTED.fullmatch(argument)
        yield number, command, quoted[1] if quoted else argument


def _heading(argument: str, number: int, source: str) -> tuple[str, list[str]]:
    name, _, bases = argument.partition(":")
    if not name.strip():
        raise refused(source, number, "an account needs a name")
    return name.strip(), [base.strip() for base in bases.split(",") if base.strip()]


def _account(section: _Section, source: str, *, here: Here) -> OldAccount:
    rc = section.commands
    host, user = rc.get("host", ""), rc.get("user", "") or here.user
    if _is_socket(rc):
        host = f"unix:{rc['socket']}"
    remarks: dict[str, str] = {}
    notes = [Note(name, why) for name, (usual, why) in _NOTES.items() if rc.get(name, "").lower() not in usual]
    if section.evals:
        notes.append(Note("eval", "fetchd runs nothing to read its configuration: write out what the commands print"))
    port = _port(rc, section, source)
    proxy = _proxy(rc, notes)
    tls = _tls(rc, host, port, far=bool(proxy), directory=os.path.dirname(source), remarks=remarks, notes=notes)
    timeout = rc.get("timeout", "")
    deliver = _deliver(rc, here, remarks=remarks, notes=notes)
    return OldAccount(
        name=section.name if section.name != "default" else accounts.address_name(user, host),
        origin=f"account {section.name}",
        host=host,
        user=user,
        deliver=deliver,
        port=None if _is_socket(rc) else port,
        tls=tls,
        password=accounts.secret(rc.get("password")),
        password_command=_password_command(rc.get("passwordeval", "")),
        mechanism=_mechanism(rc, notes),
        delete_after=_delete_after(rc, remarks),
        max_size=_size(rc.get("skipsize", ""), section, source),
        timeout=accounts.patience(int(timeout), _TIMEOUT) if _is_number(timeout) else None,
        source_address=_source(rc, notes),
        proxy=proxy,
        remarks=remarks,
        notes=tuple(notes),
        unused=accounts.check_address("localhost" if _is_socket(rc) else host, user),
    )


def _is_socket(rc: Commands) -> bool:
    path = rc.get("socket", "")
    return path.startswith("/") and path.isprintable()


def _port(rc: Commands, section: _Section, source: str) -> int | None:
    text = rc.get("port", "")
    if not text:
        return None
    if not _is_number(text) or not 0 < int(text) < 2**16:
        raise refused(source, section.line, "port: a port's number is expected")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16  # noqa: PLR2004 - digits


def _on(value: str | None, *, default: bool) -> bool:
    return default if value is None else value.lower() in {"", "on"}


def _tls(
    rc: Commands, host: str, port: int | None, *, far: bool, directory: str, remarks: dict[str, str], notes: list[Note]
) -> Tls:
    starts = _on(rc.get("tls_starttls"), default=True) and not _on(rc.get("tls_nostarttls"), default=False)
    wanted = TlsMode.NONE if not _on(rc.get("tls"), default=False) else TlsMode.STARTTLS if starts else TlsMode.IMPLICIT
    mode, remark = accounts.secured(wanted, "behind.proxy" if far else host, port)
    if remark:
        remarks["tls"] = remark
    if mode is TlsMode.NONE or _is_socket(rc):
        return Tls(TlsMode.NONE)
    if not _on(rc.get("tls_certcheck"), default=True):
        notes.append(Note("tls_certcheck off", "fetchd always verifies: tls: {fingerprint: …} pins a certificate"))
    pin = rc.get("tls_fingerprint", "")
    if pin and accounts.octets_of(pin) is None:
        notes.append(Note("tls_fingerprint", "it is no SHA-256 fingerprint: tls: {fingerprint: …} wants one"))
    name = rc.get("tls_host_override", "")
    if name and not accounts.is_host(name):
        notes.append(Note("tls_host_override", "it is no host name"))
    trusted, certificate, key = (
        accounts.path_of(rc.get(name, "").removeprefix("system"), directory)
        for name in ("tls_trust_file", "tls_cert_file", "tls_key_file")
    )
    return Tls(
        mode,
        ca_file=trusted,
        fingerprint=accounts.octets_of(pin),
        client_cert=certificate,
        client_key=key if certificate else None,
        server_name=name if accounts.is_host(name) else None,
    )


def _mechanism(rc: Commands, notes: list[Note]) -> str:
    way = rc.get("auth", "").upper()
    if way in {"", "ON"} or way in LOGIN_WAYS:
        return way if way in LOGIN_WAYS else ""
    notes.append(Note("auth", "fetchd does not have this way to log in; it takes the best it has"))
    return ""


def _password_command(command: str) -> tuple[str, ...]:
    """The shell runs it for mpop; fetchd does without where the words say the same."""
    if not command or "\0" in command:
        return ()
    if not _SHELL.search(command):
        try:
            words = tuple(shlex.split(command))
        except ValueError:
            words = ()
        if words and words[0] and "=" not in words[0]:
            return words
    return ("/bin/sh", "-c", command)


def _delete_after(rc: Commands, remarks: dict[str, str]) -> int | None:
    keep = rc.get("keep")
    if keep is None or keep.lower() == "off":
        return 0
    if _on(keep, default=True):
        return None
    age = re.fullmatch(r"([0-9]{1,6})([hdw])", keep)
    if age is None or int(age[1]) * _UNITS[age[2]] > 36_500 * _DAY:
        remarks["leave_on_server"] = "mpop had keep for some time: write that time, as in 14d, instead of true"
        return None
    return int(age[1]) * _UNITS[age[2]]


def _size(text: str, section: _Section, source: str) -> int | None:
    if text.lower() in {"", "off"}:
        return None
    size = re.fullmatch(r"([0-9]{1,12})([kKmM]?)", text)
    if size is None:
        raise refused(source, section.line, "skipsize: a size is expected, such as 500k")
    return int(size[1]) * _SIZES[size[2].lower()] or None


def _source(rc: Commands, notes: list[Note]) -> str:
    address = rc.get("source_ip", "")
    if not address or _is_socket(rc):
        return ""
    if not accounts.is_address(address):
        notes.append(Note("source_ip", "it is no IP address"))
        return ""
    return address


def _proxy(rc: Commands, notes: list[Note]) -> str:
    host, port = rc.get("proxy_host", ""), rc.get("proxy_port", "") or "1080"
    if not host or _is_socket(rc):
        return ""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", host) or not _is_number(port) or not 0 < int(port) < 2**16:
        notes.append(Note("proxy_host", "write proxy: socks5://HOST:PORT"))
        return ""
    return f"socks5://{host}:{port}"


def _deliver(rc: Commands, here: Here, *, remarks: dict[str, str], notes: list[Note]) -> Deliver:
    kind, _, path = rc.get("delivery", "").partition(" ")
    path = accounts.written_out(path.strip().strip('"'), here)
    if kind in {"maildir", "mbox"} and path != "/" and path:
        return Deliver(kind, path)
    notes.append(Note("delivery", f"fetchd delivers into a Maildir or an mbox, not by {kind or 'nothing'}"))
    deliver, remarks["deliver"] = accounts.local_maildir(here.user, here)
    return deliver
