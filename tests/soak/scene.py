"""The accounts of a soak: some with a real Dovecot, some with servers that misbehave in every third session."""

import random
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.faults.conftest import server_context
from tests.faults.server import Answer, FaultyServer, Session
from tests.faults.steps import GREETING, Honest
from tests.servers.dovecot import Dovecot
from tests.servers.pki import TestAuthority
from tests.servers.scripted import Close, Reset, Silence

HOST: Final = "localhost"
HONEST: Final = 13
"""Accounts with Dovecot."""
TROUBLED: Final = 3
"""Every so many sessions of a faulty server, one goes wrong."""

_HALF: Final = b"+OK\r\nSubject: cut off\r\n\r\nonly half of"

FAULTS: Final[Mapping[str, tuple[bytes, Answer]]] = {
    "login-refused": (b"PASS", b"-ERR [AUTH] not today\r\n"),
    "login-in-use": (b"PASS", b"-ERR [IN-USE] somebody else reads this maildrop\r\n"),
    "silent-greeting": (GREETING, Silence()),
    "silent-body": (b"RETR", [_HALF, Silence()]),
    "reset-body": (b"RETR", [_HALF, Reset()]),
    "closed-body": (b"RETR", [_HALF, Close()]),
    "out-of-step": (b"UIDL", [Honest(), b"+OK that nobody asked for\r\n"]),
    "half-listing": (b"UIDL", [b"+OK\r\n1 aa", Close()]),
    "quit-unanswered": (b"QUIT", [Honest(send=False), Reset()]),
    "quit-unheard": (b"QUIT", Reset()),
    "stls-refused": (b"STLS", b"-ERR not today\r\n"),
    "tls-expired": (GREETING, Honest()),
}
"""What goes wrong with an account of this name, and where. The certificate of ``tls-expired`` is changed in place."""


@dataclass(slots=True)
class Box:
    """An account, and all that was ever sent to it.

    Attributes:
        rate: messages a round, on average.
        put: puts a message with LF line ends into the maildrop.
    """

    name: str
    keys: dict[str, Any]
    maildir: Path
    rate: float
    put: Callable[[bytes], None]
    sent: list[bytes] = field(default_factory=list)

    def send(self, chance: random.Random) -> None:
        message = _message(self.name, len(self.sent), chance)
        self.sent.append(message)
        self.put(message)

    @property
    def arrived(self) -> list[bytes]:
        return [path.read_bytes() for path in (self.maildir / "new").iterdir()]


class Scene:
    """All servers and accounts.

    Attributes:
        boxes: the accounts by name.
        faulty: whether the faulty servers misbehave.
        servers: the faulty ones.
    """

    def __init__(self, home: Path, authority: TestAuthority, stack: ExitStack) -> None:
        self.faulty = True
        self._home = home
        self._authority = authority
        self._stack = stack
        self.servers: list[FaultyServer] = []
        self._good = server_context(authority.issue(HOST))
        self._expired = server_context(authority.issue(HOST, expired=True))
        dovecot = stack.enter_context(Dovecot(authority))
        boxes = [self._real(dovecot, number) for number in range(HONEST)]
        boxes += [self._troubled(name, verb, answer) for name, (verb, answer) in FAULTS.items()]
        self.boxes = {box.name: box for box in boxes}

    def _box(self, name: str, keys: dict[str, Any], rate: float, put: Callable[[bytes], None]) -> Box:
        maildir = self._home / "mail" / name
        common = {"interval": "1s", "deliver": {"maildir": str(maildir), "create_parents": True}}
        return Box(name, {**common, **keys}, maildir, rate, put)

    def _real(self, dovecot: Dovecot, number: int) -> Box:
        user = dovecot.add_user(f"real{number:02}@example.org", "open sesame")
        plain, leave = number % 3 == 2, number % 4 == 3
        keys = {
            "host": HOST,
            "port": dovecot.port if plain else dovecot.tls_port,
            "tls": "none" if plain else {"mode": "implicit", "ca_file": str(self._authority.ca_file)},
            "user": user.user,
            "password": user.password,
            "leave_on_server": leave,
        }
        # What is left on the server is in every listing, and is remembered: it has to grow. So let it grow slowly.
        return self._box(f"real{number:02}", keys, 0.02 if leave else 0.25, user.put)

    def _troubled(self, name: str, verb: bytes, answer: Answer) -> Box:
        server = self._stack.enter_context(FaultyServer())
        self.servers.append(server)
        tls: Any = "none"
        if name.startswith(("stls", "tls")):
            tls = {
                "mode": "starttls" if name.startswith("stls") else "implicit",
                "ca_file": str(self._authority.ca_file),
            }
        if name.startswith("stls"):
            server.stls = self._good
        if name.startswith("tls"):
            server.tls = self._good
            self._good.sni_callback = self._swap(server)

        def trouble(session: Session) -> Answer:
            return answer if self.faulty and len(session.server.sessions) % TROUBLED == 0 else Honest()

        server.faults[verb] = trouble

        def put(message: bytes) -> None:
            uid = f"{name}-{len(box.sent)}".encode()
            server.mail.append((uid, message.replace(b"\n", b"\r\n")))

        keys = {
            "host": HOST,
            "port": server.port,
            "tls": tls,
            "user": name,
            "password": "open sesame",
            "leave_on_server": False,
            "timeout": "2s",
        }
        box = self._box(name, keys, 0.2, put)
        return box

    def _swap(self, server: FaultyServer) -> Callable[[ssl.SSLObject, str, ssl.SSLContext], None]:
        def swap(line: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
            if self.faulty and len(server.sessions) % TROUBLED == 0:
                line.context = self._expired

        return swap


@contextmanager
def scene(home: Path) -> Iterator[Scene]:
    """Starts the servers, and stops them in the end."""
    (home / "pki").mkdir()
    with ExitStack() as stack:
        yield Scene(home, TestAuthority(home / "pki"), stack)


def _message(name: str, number: int, chance: random.Random) -> bytes:
    """Returns a message like no other, mostly small, sometimes of 200 KiB; LF line ends."""
    octets = chance.choice((500, 2_000, 8_000, 30_000)) if chance.random() < 0.97 else 200_000
    body = f"{chance.getrandbits(256):064x}\n" * (octets // 65)
    head = f"From: soak@example.org\nTo: {name}@example.org\nSubject: {name} {number}\nMessage-ID: <{number}@{name}>\n"
    return f"{head}\n{body}".encode()
