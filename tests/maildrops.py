"""An honest POP3 server without a network: what ``fetch.py`` sees of one, and the ways in which it may let us down."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from fetchd.errors import MessageRefusedError, NetworkError, POP3Error, ProtocolError
from fetchd.model import Account, Capabilities, Reply, Secret, UniqueId
from fetchd.ports import Deleted, InStep, Retrieved, Survey, Write


@dataclass
class FakeServer:
    """One maildrop. Deletes only at QUIT (RFC 1939 §6) and remembers what it was asked.

    Attributes:
        mail: (unique-id, message with CRLF line ends) in the order of message numbers.
        has_uidl: whether UIDL works; ``has_capa`` whether CAPA does.
        refuse: unique-ids whose RETR is refused.
        cut: unique-id → how many octets of it arrive before the line breaks.
        quits: how often it was quit; ``left`` how often without waiting for the answer.
        lose_quit: "" or "before" or "after": whether QUIT's answer is lost before or after the deletions.
        sizes: unique-id → the size that LIST claims.
        capabilities: what CAPA lists besides TOP and UIDL.
        during: called before each RETR with its unique-id, and with b"QUIT" before QUIT.
    """

    mail: list[tuple[bytes, bytes]] = field(default_factory=list)
    has_uidl: bool = True
    has_capa: bool = True
    refuse: set[bytes] = field(default_factory=set)
    cut: dict[bytes, int] = field(default_factory=dict)
    lose_quit: str = ""
    sizes: dict[bytes, int] = field(default_factory=dict)
    during: Callable[[bytes], None] = lambda uid: None
    capabilities: dict[str, tuple[str, ...]] = field(default_factory=dict)
    retrieved: list[bytes] = field(default_factory=list)
    sessions: int = 0
    quits: int = 0
    left: int = 0
    checks: int = 0
    can_prove: bool = True
    out_of_step_at: bytes = b""
    proofs: list[list[int]] = field(default_factory=list)
    refuse_deletion: set[bytes] = field(default_factory=set)
    open: int = 0

    def connect(self, account: Account, password: Secret) -> "FakeMaildrop":
        self.sessions += 1
        self.open += 1
        return FakeMaildrop(self)

    @property
    def uids(self) -> list[bytes]:
        return [uid for uid, _ in self.mail]


class FakeMaildrop:
    """One session with a :class:`FakeServer`; satisfies :class:`fetchd.ports.Maildrop`."""

    tls_version = tls_cipher = ""
    certificate_expires = None
    mechanism = "USER"

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._mail = list(server.mail)
        self._deleted: set[int] = set()
        self._closed = False
        self._broken = False

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        if not self._closed and error is None:
            self.quit()
        self.close()

    def capabilities(self) -> Capabilities:
        if not self._server.has_capa:
            return Capabilities()
        listed: dict[str, tuple[str, ...]] = {"TOP": (), **self._server.capabilities}
        return Capabilities(listed | {"UIDL": ()} if self._server.has_uidl else listed)

    def survey(self) -> Survey:
        octets = sum(len(message) for _, message in self._mail)
        sizes = {
            number: self._server.sizes.get(uid, len(message)) for number, (uid, message) in enumerate(self._mail, 1)
        }
        if not self._server.has_uidl:
            refusal = POP3Error("UIDL: unknown command", Reply(ok=False, text=b"unknown command"))
            return Survey(len(self._mail), octets, None, sizes, refusal)
        uids = {number: UniqueId(uid) for number, (uid, _) in enumerate(self._mail, 1)}
        return Survey(len(self._mail), octets, uids, sizes)

    def retrieve_proven(
        self, numbers: Sequence[int], sink: Callable[[int], Write], *, proofs: AbstractSet[int]
    ) -> Iterator[Retrieved | InStep]:
        self._server.proofs.append(sorted(proofs))
        for item in self._retrieve_each(numbers, sink):
            yield item
            if item.number in proofs:
                if self._server.out_of_step_at == self._mail[item.number - 1][0]:
                    self._broken = True
                    raise ProtocolError("it names another message")
                yield InStep(proven=self._server.can_prove)

    def _retrieve_each(self, numbers: Sequence[int], sink: Callable[[int], Write]) -> Iterator[Retrieved]:
        assert not self._broken, "a command on a broken session"
        for number in numbers:
            uid, message = self._mail[number - 1]
            self._server.during(uid)
            self._server.retrieved.append(uid)
            if uid in self._server.refuse:
                refused = MessageRefusedError("-ERR no such message", Reply(ok=False, text=b"no such message"))
                yield Retrieved(number, refused=refused)
                continue
            try:
                if message:
                    self._send(uid, message, sink(number))
            except BaseException:
                self._broken = True
                raise
            yield Retrieved(number, octets=len(message))

    def _send(self, uid: bytes, message: bytes, write: Write) -> None:
        whole = self._server.cut.get(uid)
        for start in range(0, len(message), 7):
            if whole is not None and start >= whole:
                break
            write(message[start : start + 7])
        if whole is not None:
            raise NetworkError("the server closed the connection in the middle of a message")

    def check_in_step(self) -> None:
        assert not self._broken, "a command on a broken session"
        self._server.checks += 1

    def delete_each(self, numbers: Sequence[int]) -> Iterator[Deleted]:
        assert not self._broken, "a command on a broken session"
        for number in numbers:
            if self._mail[number - 1][0] in self._server.refuse_deletion:
                refused = MessageRefusedError("DELE failed: -ERR read-only", Reply(ok=False, text=b"read-only"))
                yield Deleted(number, refused=refused)
                continue
            self._deleted.add(number)
            yield Deleted(number)

    def quit(self) -> None:
        assert not self._broken, "QUIT on a broken session"
        assert not self._closed
        self._server.during(b"QUIT")
        self.close()
        self._server.quits += 1
        if self._server.lose_quit != "before":
            self._server.mail[:] = [
                entry for number, entry in enumerate(self._mail, 1) if number not in self._deleted
            ] + self._server.mail[len(self._mail) :]
        if self._server.lose_quit:
            raise NetworkError("no answer to QUIT")

    def leave(self) -> None:
        assert not self._deleted, "what is marked for deletion, and nobody waits for QUIT's answer"
        if not (self._broken or self._closed):
            self._server.during(b"QUIT")
            self._server.quits += 1
            self._server.left += 1
        self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._server.open -= 1
