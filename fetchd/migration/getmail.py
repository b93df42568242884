"""getmail's accounts in fetchd's terms: a ``getmailrc`` is one account in an INI file. Pure.

Some values are Python there; they are read as literals, never run.
"""

import ast
import configparser
import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fetchd.errors import ConfigError
from fetchd.migration import accounts
from fetchd.migration.accounts import Deliver, Here, Note, OldAccount, OldConfiguration, refused
from fetchd.model import Tls, TlsMode

_DAY: Final = 86_400
_TYPE: Final = re.compile(r"(?:Simple|BrokenUIDL|Multidrop)POP3(SSL)?Retriever|MultidropSDPSRetriever")
_TRUE: Final = ("1", "yes", "true", "on")
_FALSE: Final = ("0", "no", "false", "off")
_TIMEOUT: Final = 180

_RIGHT: Final = "fetchd delivers each message as the server sent it, and adds no header"
_LOG: Final = "fetchd logs to standard error; see log: and docs/logs.md"
_NOTES: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("retriever", "delete_dup_msgids"): "fetchd counts messages that share a unique-id, and fetches all of them",
        ("retriever", "envelope_recipient"): "fetchd delivers the mail of one account into one mailbox: sort it there",
        ("retriever", "ssl_version"): "the system's OpenSSL decides; fetchd takes TLS 1.2 and newer",
        ("retriever", "ssl_ciphers"): "the system's OpenSSL decides",
        ("retriever", "record_mailbox"): _RIGHT,
        ("destination", "filemode"): "fetchd delivers with mode 0600",
        ("destination", "locktype"): "fetchd takes both locks, fcntl and dot lock",
        ("options", "delete_bigger_than"): "fetchd deletes only what it has delivered",
        ("options", "max_bytes_per_session"): "fetchd has no such limit; max_messages and max_size are what it has",
        ("options", "message_log"): _LOG,
        ("options", "message_log_verbose"): _LOG,
        ("options", "message_log_syslog"): _LOG,
        ("options", "logfile"): _LOG,
        ("options", "use_netrc"): "fetchd reads no .netrc: put the password into the file that is named above",
        ("options", "netrc_file"): "fetchd reads no .netrc: put the password into the file that is named above",
    }
)
_NOTHING: Final = ("", "0", "none", "()", *_FALSE)


def from_getmailrc(octets: bytes, source: str, *, here: Here) -> OldConfiguration:
    """Returns the account of a ``getmailrc``.

    Raises:
        ConfigError: with file and line.
    """
    rc = _Rc(octets, source)
    kind = rc.text("retriever", "type")
    if not kind:
        raise refused(source, 1, 'there is no section "[retriever]" with a type: this is no getmailrc')
    speaks = _TYPE.fullmatch(kind)
    host, user = rc.text("retriever", "server"), rc.text("retriever", "username")
    remarks: dict[str, str] = {}
    notes = [Note(name, why) for (section, name), why in _NOTES.items() if rc.says(section, name)]
    notes += [Note(f"[{one}]", "fetchd filters nothing") for one in rc.sections if one.startswith("filter")]
    deliver = _deliver(rc, here, remarks=remarks, notes=notes)
    port = rc.number("retriever", "port")
    tls = _tls(rc, host, port or None, encrypted=bool(speaks and speaks[1]), remarks=remarks, notes=notes)
    if rc.flag("options", "read_all", default=True):
        notes.append(Note("read_all", "fetchd fetches every message once, whatever it is set to"))
    timeout = rc.number("retriever", "timeout", default=_TIMEOUT)
    account = OldAccount(
        name=accounts.address_name(user, host),
        origin=os.path.basename(source),
        host=host,
        user=user,
        deliver=deliver,
        port=port if 0 < port < 2**16 else None,
        tls=tls,
        password=accounts.secret(rc.text("retriever", "password")),
        password_command=rc.words("retriever", "password_command"),
        mechanism=_mechanism(rc),
        delete_after=_delete_after(rc, remarks),
        max_size=accounts.limit(rc.number("options", "max_message_size")),
        max_messages=accounts.limit(rc.number("options", "max_messages_per_session")),
        timeout=accounts.patience(timeout, _TIMEOUT),
        remarks=remarks,
        notes=tuple(notes),
        unused=accounts.check_address(host, user) if speaks else f"it is a {kind}, and fetchd speaks POP3",
    )
    return OldConfiguration(source, accounts.named([account]))


class _Rc:
    """The file's sections and values."""

    def __init__(self, octets: bytes, source: str) -> None:
        self.source = source
        self._parser = configparser.RawConfigParser()
        text = accounts.plain(octets)
        self._lines = text.splitlines()
        try:
            self._parser.read_string(text, source)
        except configparser.Error as error:
            # The error itself quotes the line, which may hold a password.
            line, said = _explained(error)
            raise refused(source, line, said) from None
        self.sections = self._parser.sections()

    def text(self, section: str, name: str) -> str:
        return self._parser.get(section, name, fallback="").strip() if self._parser.has_section(section) else ""

    def says(self, section: str, name: str) -> bool:
        return self.text(section, name).lower() not in _NOTHING

    def flag(self, section: str, name: str, *, default: bool = False) -> bool:
        value = self.text(section, name).lower()
        if not value:
            return default
        if value not in _TRUE + _FALSE:
            raise self._refused(section, name, "yes or no is expected")
        return value in _TRUE

    def number(self, section: str, name: str, *, default: int = 0) -> int:
        value = self.text(section, name)
        if not value:
            return default
        found = self._literal(section, name)
        if isinstance(found, bool) or not isinstance(found, int) or abs(found) >= 2**63:
            raise self._refused(section, name, "a whole number is expected")
        return found

    def words(self, section: str, name: str) -> tuple[str, ...]:
        """Returns a tuple of texts; a text alone is one."""
        if not self.text(section, name):
            return ()
        found = self._literal(section, name)
        words = found if isinstance(found, tuple) else (found,)
        if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0]:
            raise self._refused(section, name, "a tuple of texts is expected")
        return words

    def _literal(self, section: str, name: str) -> object:
        try:
            return ast.literal_eval(self.text(section, name))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            raise self._refused(section, name, "this is neither a number nor a tuple of texts") from None

    def _refused(self, section: str, name: str, text: str) -> ConfigError:
        return refused(self.source, self._line(section, name), f"{name}: {text}")

    def _line(self, section: str, name: str) -> int:
        within = ""
        for number, line in enumerate(self._lines, 1):
            head = re.match(r"\[([^\]]+)\]", line)
            within = head[1] if head else within
            if within == section and re.match(rf"\s*{re.escape(name)}\s*[=:]", line, re.IGNORECASE):
                return number
        return 1


def _explained(error: configparser.Error) -> tuple[int, str]:
    match error:
        case configparser.DuplicateSectionError() | configparser.DuplicateOptionError():
            return error.lineno or 1, "this stands twice in the file"
        case configparser.MissingSectionHeaderError():
            return error.lineno, "a section such as [retriever] is expected before this line"
        case configparser.ParsingError():
            return (error.errors[0][0] if error.errors else 1), "name = value is expected here"
    return 1, "this is no getmailrc"


def _mechanism(rc: _Rc) -> str:
    if rc.flag("retriever", "use_xoauth2"):
        return "XOAUTH2"
    return "APOP" if rc.flag("retriever", "use_apop") else ""


def _delete_after(rc: _Rc, remarks: dict[str, str]) -> int | None:
    days = rc.number("options", "delete_after")
    at_once = rc.flag("options", "delete")
    if 0 < days <= 36_500:  # noqa: PLR2004 - a hundred years
        if at_once:
            remarks["leave_on_server"] = "getmail has delete and delete_after, and deletes at once: false does so"
        return days * _DAY
    return 0 if at_once else None


def _tls(rc: _Rc, host: str, port: int | None, *, encrypted: bool, remarks: dict[str, str], notes: list[Note]) -> Tls:
    mode, remark = accounts.secured(TlsMode.IMPLICIT if encrypted else TlsMode.NONE, host, port)
    directory = os.path.dirname(rc.source)
    pins = [accounts.octets_of(pin) for pin in _pins(rc)]
    if encrypted and not rc.text("retriever", "ca_certs") and not pins:
        remark = remark or "getmail verified no certificate here; fetchd does, or write tls: {mode: …, fingerprint: …}"
    if remark:
        remarks["tls"] = remark
    if len(pins) > 1 or None in pins:
        notes.append(Note("ssl_fingerprints", "fetchd takes one SHA-256 fingerprint: tls: {fingerprint: …}"))
    name = rc.text("retriever", "ssl_cert_hostname")
    if name and not accounts.is_host(name):
        notes.append(Note("ssl_cert_hostname", "it is no host name"))
    if mode is TlsMode.NONE:
        return Tls(mode)
    files = {
        key: accounts.path_of(rc.text("retriever", name), directory)
        for key, name in (("ca_file", "ca_certs"), ("client_cert", "certfile"), ("client_key", "keyfile"))
    }
    return Tls(
        mode,
        ca_file=files["ca_file"],
        fingerprint=pins[0] if len(pins) == 1 else None,
        client_cert=files["client_cert"],
        client_key=files["client_key"] if files["client_cert"] else None,
        server_name=name if accounts.is_host(name) else None,
    )


def _pins(rc: _Rc) -> tuple[str, ...]:
    text = rc.text("retriever", "ssl_fingerprints")
    return rc.words("retriever", "ssl_fingerprints") if text.startswith(("(", "'", '"')) else (text,) if text else ()


def _deliver(rc: _Rc, here: Here, *, remarks: dict[str, str], notes: list[Note]) -> Deliver:
    kind, path = rc.text("destination", "type"), accounts.written_out(rc.text("destination", "path"), here)
    wanted = {"Maildir": "maildir", "Mboxrd": "mbox"}.get(kind, "")
    user = rc.text("destination", "user")
    if not wanted or path in {"", "/"}:
        notes.append(Note("[destination]", f"fetchd delivers into a Maildir or an mbox, not by {kind or 'nothing'}"))
        deliver, remarks["deliver"] = accounts.local_maildir(here.user, here)
        return deliver
    if user and not here.is_root:
        notes.append(Note("user", "fetchd delivers as another user only where it runs as root: deliver: {owner: …}"))
    owner = user if here.is_root and here.home(user) is not None else ""
    return Deliver(wanted, path, owner)
