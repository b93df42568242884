"""The grammar of a ``fetchmailrc``, for where fetchmail itself is not there to be asked. Pure.

What comes out has the shape and the names of ``fetchmail --configdump``. Text is Latin-1 here, one character an octet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from fetchd.migration.accounts import refused
from fetchd.migration.fetchmail_words import GLOBAL_FLAGS, GLOBAL_TEXT, SERVER, USER, Token, tokens

Options = dict[str, Any]
"""Names of ``--configdump`` → values, of what the file sets."""


@dataclass(slots=True)
class RcServer:
    """One ``poll`` or ``skip``: its own options, and those of each user."""

    name: str
    active: bool
    options: Options = field(default_factory=dict)
    users: list[Options] = field(default_factory=list)


@dataclass(slots=True)
class RcFile:
    """A whole file: what it ``set``, and its servers, into which ``defaults`` has been merged."""

    options: Options = field(default_factory=dict)
    servers: list[RcServer] = field(default_factory=list)


_DUMPED_AS: Final = MappingProxyType(
    {
        "pass": "password",
        "folder": "mailboxes",
        "smtphost": "smtphunt",
        "is": "localnames",
        "to": "localnames",
        "proto": "protocol",
        "port": "service",
        "bad-header": "badheader",
    }
)


def parse_rc(text: str, source: str) -> RcFile:
    """Returns what a ``fetchmailrc`` says.

    Args:
        text: the file, decoded as Latin-1.
        source: its name, for messages.

    Raises:
        ConfigError: ``source:line: …``.
    """
    return _Parser(tokens(text), source).file()


class _Parser:
    """Reads statements one after the other; a token that fits nowhere ends it."""

    def __init__(self, words: list[Token], source: str) -> None:
        last = words[-1].line if words else 1
        self._tokens = [*words, Token("end", "", last)]
        self._source = source
        self._at = 0
        self._file = RcFile()
        self._defaults = RcServer("defaults", active=True)

    def file(self) -> RcFile:
        while not self._is("end"):
            token = self._take()
            if token.kind == "set":
                self._global()
            elif token.kind in {"poll", "skip"}:
                self._server(RcServer(self._text(), active=token.kind == "poll"))
            elif token.kind == "defaults":
                self._defaults = RcServer("defaults", active=True)
                self._options_of(self._defaults)
            elif token.kind in SERVER:
                raise self._error(token, "this is an option of the server: it stands before the first user")
            else:
                raise self._error(token, "poll, skip, defaults or set is expected here")
        return self._file

    # ── statements ───────────────────────────────────────────────────────────────────────────────────────────────

    def _global(self) -> None:
        wanted = not self._skip("no")
        token = self._take()
        if token.kind in GLOBAL_FLAGS:
            self._file.options[token.kind] = wanted
        elif wanted and token.kind == "daemon":
            self._skip("=")
            self._file.options["poll_interval"] = self._number()
        elif wanted and token.kind in GLOBAL_TEXT:
            self._skip("=")
            self._file.options[token.kind] = self._text()
        else:
            raise self._error(token, "an option that can be set is expected here, such as daemon")

    def _server(self, server: RcServer) -> None:
        self._options_of(server)
        server.options = self._defaults.options | server.options
        common = self._defaults.users[0] if self._defaults.users else {}
        server.users = [common | user for user in server.users or [{}]]
        self._file.servers.append(server)

    def _options_of(self, server: RcServer) -> None:
        while self._begins(SERVER):
            self._option(SERVER, server.options)
        if self._begins(USER):
            server.users.append(self._user_options({}))
            return
        while self._is("user"):
            self._take()
            server.users.append(self._user_options(self._user()))

    def _user(self) -> Options:
        """Reads what follows ``user``: the remote name, or, up to ``here``, local ones."""
        start = self._at
        names = self._mapping()
        if self._skip("here"):
            return {"localnames": names}
        self._at = start
        user: Options = {"remote": self._text()}
        self._skip("there")
        return user

    def _user_options(self, user: Options) -> Options:
        while self._begins(USER):
            self._option(USER, user)
        return user

    # ── options ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _begins(self, options: Mapping[str, str]) -> bool:
        token = self._peek()
        return self._tokens[self._at + 1].kind in options if token.kind == "no" else token.kind in options

    def _option(self, options: Mapping[str, str], into: Options) -> None:
        negated = self._skip("no")
        token = self._take()
        kind = options[token.kind]
        name = _DUMPED_AS.get(token.kind, token.kind)
        if negated and kind not in {"flag", "envelope"}:
            raise self._error(token, '"no" cannot stand before this')
        if kind == "flag" or negated:
            into[name] = not negated
        elif kind == "mapping":
            self._names(into)
        elif kind == "envelope":
            into["envskip"] = self._number() if self._is("number") else 0
            into[name] = self._text()
        else:
            into[name] = self._value(kind)

    def _value(self, kind: str) -> object:
        readers: Mapping[str, Callable[[], object]] = {
            "text": self._text,
            "number": self._number,
            "port": lambda: str(self._number()),
            "service": lambda: str(self._number()) if self._is("number") else self._text(),
            "texts": lambda: self._many("text"),
            "numbers": lambda: " ".join(self._many("number")),
            "proto": self._protocol,
            "auth": lambda: self._expect("way", "a way to log in").text,
            "badheader": lambda: self._take().kind == "accept",
        }
        return readers[kind]()

    def _protocol(self) -> str:
        protocol = self._expect("protocol name", "a protocol").text
        return "auto" if protocol == "auto" else protocol.upper()

    def _names(self, into: Options) -> None:
        names = self._mapping()
        if self._skip("there"):
            into["remote"] = names[0] if isinstance(names[0], str) else names[0][1]
            return
        self._skip("here")
        into["localnames"] = [*into.get("localnames", []), *names]

    def _mapping(self) -> list[Any]:
        names: list[Any] = []
        while self._is("text") or not names:
            name = self._text()
            names.append((name, self._text()) if self._skip("=") else name)
        return sorted(names, key=lambda name: name == "*")  # fetchmail keeps the wildcard apart, and dumps it last

    def _many(self, kind: str) -> list[str]:
        found = [self._expect(kind, f"a {kind}").text]
        while self._is(kind):
            found.append(self._take().text)
        return found

    # ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _is(self, kind: str) -> bool:
        return self._tokens[self._at].kind == kind

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _skip(self, kind: str) -> bool:
        found = self._is(kind)
        if found:
            self._take()
        return found

    def _expect(self, kind: str, what: str) -> Token:
        token = self._take()
        if token.kind != kind:
            raise self._error(token, f"{what} is expected here")
        return token

    def _text(self) -> str:
        return self._expect("text", "a name or a text (in quotes, where it is a word or a number of fetchmail's)").text

    def _number(self) -> int:
        return int(self._expect("number", "a number").text)

    def _error(self, token: Token, text: str) -> Exception:
        """A word of the grammar is shown; a text is not, for it may be a password."""
        where = {"end": "the file ends: ", "text": "", "number": ""}.get(token.kind, f'"{token.text}": ')
        return refused(self._source, token.line, f"{where}{text}")
