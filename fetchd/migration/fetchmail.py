"""fetchmail's accounts in fetchd's terms: from its own ``--configdump``, or from ``fetchmail_rc.py``. Pure."""

import ast
import os
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from fetchd.errors import ConfigError
from fetchd.migration import accounts
from fetchd.migration.accounts import Deliver, Here, Note, OldAccount, OldConfiguration
from fetchd.migration.fetchmail_rc import parse_rc
from fetchd.model import Tls, TlsMode

_PORTS: Final = MappingProxyType({"pop3": 110, "pop-3": 110, "pop3s": 995})
_LONGEST_INTERVAL: Final = 366 * 86_400
_TIMEOUT: Final = 300
_PROTOCOLS: Final = ("POP3", "APOP", "auto", "SDPS", "")
_MECHANISMS: Final = MappingProxyType({"cram-md5": "CRAM-MD5", "cram": "CRAM-MD5", "external": "EXTERNAL"})
_AGREEING: Final = ("any", "password")

_RIGHT: Final = "fetchd delivers each message as the server sent it"
_ELSEWHERE: Final = "fetchd has no hooks: let a systemd unit or a script around fetchd --once do that"
_LIMITS: Final = "fetchd has no such limit; max_messages and max_size are what it has"
_SMTP: Final = "fetchd delivers into a Maildir or an mbox, not by SMTP or LMTP"
_MULTIDROP: Final = "fetchd delivers the mail of one account into one mailbox: sort it there (Sieve, maildrop)"
_MD5: Final = (
    "it is an MD5 digest; fetchd wants SHA-256: openssl s_client -connect HOST:995 </dev/null | openssl x509 -noout "
    "-fingerprint -sha256, and then tls: {fingerprint: …}"
)
_DNS: Final = "only multidrop needs it, which fetchd does not have"

_USER_NOTES: Final[Mapping[str, tuple[Any, str]]] = MappingProxyType(
    {
        "mda": (None, "fetchd pipes mail into no program: deliver into the Maildir that it would have delivered into"),
        "bsmtp": (None, _SMTP),
        "lmtp": (False, _SMTP),
        "smtphunt": (["localhost"], _SMTP),
        "smtpaddress": (None, _SMTP),
        "smtpname": (None, _SMTP),
        "fetchdomains": ([], _SMTP),
        "antispam": ("", _SMTP),
        "batchlimit": (0, _SMTP),
        "fetchall": (False, "fetchd fetches every message once, whatever others have read"),
        "flush": (False, "fetchd deletes only what it has delivered"),
        "limitflush": (False, "fetchd deletes only what it has delivered: what is too large stays on the server"),
        "forcecr": (False, _RIGHT),
        "pass8bits": (False, _RIGHT),
        "dropstatus": (False, _RIGHT),
        "dropdelivered": (False, _RIGHT),
        "mimedecode": (False, _RIGHT),
        "idle": (False, "POP3 has no IDLE: interval says how often to ask"),
        "preconnect": (None, _ELSEWHERE),
        "postconnect": (None, _ELSEWHERE),
        "warnings": (3600, "fetchd says in its log, and counts in its metrics, what is too large"),
        "fetchsizelimit": (100, _LIMITS),
        "fastuidl": (4, "fetchd asks for all unique-ids at once"),
        "expunge": (0, "fetchd deletes at the end of each session, when all is on disk"),
        "properties": (None, "fetchd has no such thing"),
        "mailboxes": ([], "POP3 has no folders"),
        "sslcertpath": (None, "fetchd takes one file of authorities: tls: {ca_file: …}"),
        "sslfingerprint": (
            None,
            _MD5,
        ),
    }
)
_SERVER_NOTES: Final[Mapping[str, tuple[Any, str]]] = MappingProxyType(
    {
        "envskip": (0, _MULTIDROP),
        "qvirtual": (None, _MULTIDROP),
        "aka": ([], _MULTIDROP),
        "localdomains": ([], _MULTIDROP),
        "interface": (None, "fetchd has no such condition; source_address says where to connect from"),
        "monitor": (None, "fetchd has no such condition"),
        "plugin": (None, "fetchd connects by itself; through a SOCKS or HTTP proxy with proxy:"),
        "plugout": (None, _SMTP),
        "dns": (True, _DNS),
        "tracepolls": (False, "fetchd adds no header; its log tells which account a message came from"),
    }
)
_GLOBAL_NOTES: Final[Mapping[str, tuple[Any, str]]] = MappingProxyType(
    {
        "logfile": (None, "fetchd logs to standard error; see log: and docs/logs.md"),
        "syslog": (False, "fetchd logs to standard error, which systemd takes into its journal"),
        "bouncemail": (True, "fetchd bounces nothing"),
        "spambounce": (False, "fetchd bounces nothing"),
        "softbounce": (True, "fetchd bounces nothing: what cannot be delivered stays on the server"),
        "invisible": (False, _RIGHT),
        "properties": (None, "fetchd has no such thing"),
    }
)
_IDFILE: Final = Note("set idfile", "its unique-ids are taken over by: fetchd import fetchmail --seen THAT-FILE")


def from_rc(octets: bytes, source: str, *, here: Here) -> OldConfiguration:
    """Returns what a ``fetchmailrc`` says, read by fetchd's own parser.

    Raises:
        ConfigError: with file and line.
    """
    rc = parse_rc(octets.decode("latin-1"), source)
    servers = [
        {**server.options, "pollname": server.name, "active": server.active, "users": server.users}
        for server in rc.servers
    ]
    return _configuration({**rc.options, "servers": servers}, source, here=here)


def from_dump(text: str, source: str, *, here: Here) -> OldConfiguration:
    """Returns what ``fetchmail --configdump`` printed for a ``fetchmailrc``; its Python is read, never run.

    Args:
        text: standard output, decoded as Latin-1.
        source: the ``fetchmailrc``.
        here: this machine.

    Raises:
        ConfigError: it is not what fetchmail prints.
    """
    try:
        return _configuration(_mended(_dumped(text)), source, here=here)
    except (SyntaxError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # The error itself may quote a password.
        raise ConfigError(f"{source}: what fetchmail --configdump printed cannot be read") from None


class _Flags(ast.NodeTransformer):
    """``TRUE`` and ``FALSE`` are names that the dump defines in its first line."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(node.id == "TRUE") if node.id in {"TRUE", "FALSE"} else node


_PASSWORD_IS_USED: Final = ("any", "password", "cram-md5", "ntlm", "msn")


def _mended(dump: dict[str, Any]) -> dict[str, Any]:
    """Returns a dump as it should be.

    fetchmail leaves ``auth external`` out, and for a way to log in without a password it prints the user's name as one.
    """
    for server in dump["servers"]:
        way = server.setdefault("auth", "external")
        for user in server["users"]:
            if way not in _PASSWORD_IS_USED and user.get("password") == user.get("remote"):
                user["password"] = None
    return dump


def _dumped(text: str) -> dict[str, Any]:
    if "\\0x" in text:
        raise ValueError("octets beyond ASCII, which fetchmail does not print as they are")
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "fetchmailrc":
            found = ast.literal_eval(_Flags().visit(statement.value))
            if isinstance(found, dict):
                return found
    raise ValueError("no fetchmailrc = {…}")


def _configuration(dump: Mapping[str, Any], source: str, *, here: Here) -> OldConfiguration:
    daemon = dump.get("poll_interval") or 0
    found = [
        _account(server, user, daemon=daemon, source=source, here=here)
        for server in dump["servers"]
        for user in server["users"]
    ]
    notes = [Note(f"set {name}", why) for name, why in _differing(dump, _GLOBAL_NOTES)]
    if os.path.basename(dump.get("idfile") or ".fetchids") != ".fetchids":
        notes.append(_IDFILE)
    return OldConfiguration(source, accounts.named(found), tuple(notes))


def _account(server: Mapping[str, Any], user: Mapping[str, Any], *, daemon: int, source: str, here: Here) -> OldAccount:
    host = _text(server.get("via") or server["pollname"])
    name = _text(user.get("remote") or here.user)
    remarks: dict[str, str] = {}
    port, port_note = _port(server.get("service"))
    tls, tls_notes = _tls(user, host, port, directory=os.path.dirname(source), remarks=remarks)
    mechanism, way_note = _mechanism(server)
    password = accounts.secret(_octets(user.get("password")))
    deliver = _deliver(user, here=here, remarks=remarks)
    timeout = server.get("timeout", _TIMEOUT)
    interval = max(daemon, 0) * max(server.get("interval", 0), 1)
    notes = [
        *(Note(option, why) for option, why in _differing(server, _SERVER_NOTES)),
        *(Note(option, why) for option, why in _differing(user, _USER_NOTES)),
        *port_note,
        *tls_notes,
        *way_note,
    ]
    if _is_multidrop(user):
        notes.append(Note("is … here (several)", _MULTIDROP))
    return OldAccount(
        name=accounts.address_name(name, host),
        origin=f"{'poll' if server.get('active', True) else 'skip'} {_text(server['pollname'])}, user {name}",
        host=host,
        user=name,
        deliver=deliver,
        port=port,
        tls=tls,
        password=password,
        mechanism=mechanism,
        delete_after=None if user.get("keep", False) else 0,
        max_size=accounts.limit(user.get("limit")),
        max_messages=accounts.limit(user.get("fetchlimit")),
        interval=min(interval, _LONGEST_INTERVAL) or None,
        timeout=accounts.patience(timeout, _TIMEOUT),
        remarks=remarks,
        notes=tuple(notes),
        unused=_unused(server, host, name),
    )


def _unused(server: Mapping[str, Any], host: str, user: str) -> str:
    protocol = server.get("protocol", "auto")
    if protocol not in _PROTOCOLS:
        return f"it is {_text(protocol)}, and fetchd speaks POP3"
    if not server.get("active", True):
        return 'it is "skip" there: remove the # before each line to have fetchd poll it'
    return accounts.check_address(host, user)


def _port(service: object) -> tuple[int | None, list[Note]]:
    if service is None:
        return None, []
    text = str(service)
    port = int(text) if re.fullmatch("[0-9]{1,5}", text) else _PORTS.get(text.lower(), 0)
    if 0 < port < 2**16:
        return port, []
    return None, [Note("service", "its port's number is not known here: add port:")]


def _tls(
    user: Mapping[str, Any], host: str, port: int | None, *, directory: str, remarks: dict[str, str]
) -> tuple[Tls, list[Note]]:
    # Without ssl, sslproto asks for STLS; unset, it is taken where it is offered; empty, never.
    wanted = TlsMode.IMPLICIT if user.get("ssl") else TlsMode.STARTTLS if user.get("sslproto") else TlsMode.NONE
    mode, remark = accounts.secured(wanted, host, port)
    if mode is TlsMode.STARTTLS and wanted is TlsMode.NONE and user.get("sslproto") is None:
        remark = (
            "fetchmail encrypted this line only where the server offered to; fetchd insists on it. Where the server "
            'has no TLS, write "tls: none" and "allow_plaintext_password: true": everyone on the way can read it then'
        )
    if remark:
        remarks["tls"] = remark
    notes = []
    if not user.get("sslcertck", True):
        notes.append(
            Note("no sslcertck", "fetchd always verifies; for a self-signed certificate give tls: {fingerprint: …}")
        )
    certificate, key, authorities = (
        accounts.path_of(_text(user.get(option) or ""), directory) for option in ("sslcert", "sslkey", "sslcertfile")
    )
    name = _text(user.get("sslcommonname") or "")
    if name and not accounts.is_host(name):
        notes.append(Note("sslcommonname", "it is no host name"))
    if mode is TlsMode.NONE:
        return Tls(mode), notes
    return (
        Tls(
            mode,
            ca_file=authorities,
            client_cert=certificate,
            client_key=key if certificate else None,
            server_name=name if accounts.is_host(name) else None,
        ),
        notes,
    )


def _mechanism(server: Mapping[str, Any]) -> tuple[str, list[Note]]:
    if server.get("protocol") == "APOP":
        return "APOP", []
    way = server.get("auth", "any")
    if way in _AGREEING:
        return "", []
    known = _MECHANISMS.get(way, "")
    return known, [] if known else [Note("auth", "fetchd does not have this way to log in; it takes the best it has")]


def _deliver(user: Mapping[str, Any], *, here: Here, remarks: dict[str, str]) -> Deliver:
    names = user.get("localnames") or [here.user]
    first = next((name for name in names if name != "*"), here.user)
    local = first if isinstance(first, str) else first[1]
    deliver, remark = accounts.local_maildir(_text(local), here)
    how = "an MDA" if user.get("mda") else "SMTP or LMTP"
    remarks["deliver"] = f"{remark}; fetchmail delivered by {how}"
    return deliver


def _is_multidrop(user: Mapping[str, Any]) -> bool:
    names = user.get("localnames") or []
    return len(names) > 1 or any(not isinstance(name, str) or name == "*" for name in names)


def _differing(options: Mapping[str, Any], known: Mapping[str, tuple[Any, str]]) -> Iterator[tuple[str, str]]:
    """Yields what is not as it is by default, in our table's order."""
    for name, (default, why) in known.items():
        if options.get(name) not in (None, default):
            yield name, why


def _octets(text: object) -> bytes | None:
    return text.encode("latin-1", "replace") if isinstance(text, str) else None


def _text(value: object) -> str:
    """Returns text that was read as Latin-1: as UTF-8 where it is that."""
    text = str(value)
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
