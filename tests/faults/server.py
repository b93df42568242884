"""An honest POP3 server on loopback that misbehaves exactly where a test tells it to, and sees what a client does.

Whatever ``faults`` says nothing about, it answers as RFC 1939 wants: so a test names its one fault, and does not depend
on the order in which the client asks. A fault stands under a whole line (``b"RETR 3"``), a verb (``b"RETR"``; but
``b"LIST"`` is the listing alone, for ``LIST n`` is another command), or :data:`GREETING`; it is octets, a step, a list
of these, or a function of the session that returns one::

    server.faults[b"RETR 2"] = [b"+OK\\r\\nSubj", Close()]

Every session runs in a thread of its own, until the client has left: :meth:`FaultyServer.settle` waits for that, and
fails where a client does not close its end.
"""

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Final, Self

from tests.faults.steps import GREETING, Cut, Drip, Flood, Handshake, Honest, digest, listed, stuffed, verb_of
from tests.servers.scripted import Close, Goodbye, Reset, Silence

PATIENCE: Final = 30.0
"""Seconds after which a session gives up on a client that neither speaks nor leaves."""
_CREDENTIAL_VERBS: Final = frozenset({b"USER", b"PASS", b"APOP", b"AUTH"})
_BOUNDARIES: Final = frozenset({b"STLS", b"PASS", b"APOP", b"AUTH"})
_ENDLESS: Final = 4 * 2**30


Step = bytes | Honest | Cut | Flood | Drip | Handshake | Silence | Close | Goodbye | Reset
Answer = Step | Sequence[Step] | Callable[["Session"], "Answer | None"]


class FaultyServer:
    """See the module.

    Attributes:
        mail: (unique-id, message with CRLF line ends), in the order of message numbers.
        capabilities: CAPA's lines; STLS is added while there is ``stls`` and no TLS.
        tls, stls: the contexts for TLS from the start, or on STLS.
        spell: what becomes of every honest answer on its way out.
        segment: octets in a segment, each taken by the client before the next goes out.
        drops_input: whether what a client has sent ahead is thrown away when a command is answered.
        retrieved: the unique-ids that RETR was asked for, in order; ``deleted`` those that are gone.
        ever: of each unique-id, the digests of whatever counts as that message on disk.
        violations: what clients did that no client may do.
        may_delete: asked at each DELE whether the unique-id may go; returns a complaint, or "".
    """

    host: Final = "127.0.0.1"

    def __init__(self, *, buffers: int | None = None) -> None:
        self.mail: list[tuple[bytes, bytes]] = []
        self.faults: dict[bytes, Answer] = {}
        self.capabilities = ["TOP", "UIDL", "USER"]
        self.tls: ssl.SSLContext | None = None
        self.stls: ssl.SSLContext | None = None
        self.spell: Callable[[bytes], bytes] = bytes
        self.segment: int | None = None
        self.drops_input = False
        self.linger = 0.0
        self.read_octets = 65536
        self.sessions: list[Session] = []
        self.retrieved: list[bytes] = []
        self.deleted: list[bytes] = []
        self.ever: dict[bytes, set[bytes]] = {}
        self.violations: list[str] = []
        self.settling = threading.Event()
        self.may_delete: Callable[[bytes], str] = lambda uid: ""
        self._listener = socket.create_server((self.host, 0), backlog=16)
        if buffers is not None:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._listener.setsockopt(socket.SOL_SOCKET, option, buffers)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="faulty server", daemon=True)

    @property
    def uids(self) -> list[bytes]:
        return [uid for uid, _ in self.mail]

    @property
    def lines(self) -> list[bytes]:
        """Every command of every session, in the order of the sessions."""
        return [line for session in self.sessions for line in session.lines]

    def count(self, verb: bytes) -> int:
        return sum(1 for line in self.lines if verb_of(line) == verb)

    def allow(self, uid: bytes, *stored: bytes) -> None:
        """Says what else counts as a message on disk, where a fault sends something else than the maildrop holds."""
        self.ever.setdefault(uid, set()).update(digest(one) for one in stored)

    def credentials(self, *secrets: bytes) -> list[bytes]:
        """Returns whatever a client sent of its credentials: commands that begin a login, and octets of the secrets."""
        told = [line for line in self.lines if verb_of(line) in _CREDENTIAL_VERBS]
        shapes = [*secrets, *(b64encode(secret).rstrip(b"=") for secret in secrets)]
        return told + [shape for shape in shapes for session in self.sessions if shape in session.received]

    def settle(self) -> None:
        """Returns once every client has left, and has been seen to leave."""
        self.settling.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive(), "a session does not end"
        self._threads.clear()
        self.settling.clear()

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(PATIENCE)
        for session in self.sessions:
            session.abort()
        self.settle()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            session = Session(self, sock)
            self.sessions.append(session)
            thread = threading.Thread(target=session.run, name="faulty session", daemon=True)
            self._threads.append(thread)
            thread.start()


class _OverError(Exception):
    """The session is over, and the client has left."""


class Session:
    """One connection: what came in, what was answered.

    Attributes:
        lines: the commands, without line ends; ``received`` every octet after TLS was undone.
        late: what came in on a plain line after the server had ended the session.
        ahead: the commands that had come in behind the one that is answered; ``waiting`` the most there ever were.
    """

    def __init__(self, server: FaultyServer, sock: socket.socket) -> None:
        self.server = server
        self.lines: list[bytes] = []
        self.received = bytearray()
        self.late = b""
        self.waiting = 0
        self.ahead: list[bytes] = []
        self.mail: list[tuple[bytes, bytes]] = []
        self.over_tls = False
        self._sock = sock
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.settimeout(PATIENCE)
        self._ports = (sock.getsockname()[1], sock.getpeername()[1])
        self._unread = b""
        self._held = b""
        self._marked: set[int] = set()
        self._ended = False

    # ── its life ─────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        try:
            if self.server.tls is not None:
                self.handshake(self.server.tls)
            self._answer(GREETING)
            while (line := self._read_line()) is not None:
                self._check_boundary(line)
                self.ahead = self._unread.split(b"\r\n")[:-1]
                self.waiting = max(self.waiting, len(self.ahead))
                self.lines.append(line)
                self._answer(line)
                if self.server.drops_input:
                    self._drop_input()
        except (_OverError, ConnectionError, ssl.SSLError):
            pass  # the client has left
        except TimeoutError:
            self._complain("the client neither speaks nor leaves")
        except Exception as error:  # noqa: BLE001 - a mistake in a test, told by the test
            self._complain(f"{type(error).__name__}: {error}")
        finally:
            self._sock.close()

    def abort(self) -> None:
        """Ends a session that a test has left open."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def handshake(self, context: ssl.SSLContext) -> None:
        self._sock = context.wrap_socket(self._sock, server_side=True)
        self.over_tls = True

    def _complain(self, what: str) -> None:
        self.server.violations.append(what)

    def _check_boundary(self, line: bytes) -> None:
        """Nothing may follow STLS or a login's last command before that is answered (RFC 2595 §4, RFC 2449 §6.8)."""
        if verb_of(line) not in _BOUNDARIES:
            return
        ready, _, _ = select.select([self._sock], [], [], self.server.linger)
        if ready and not self._unread:
            with contextlib.suppress(OSError):
                self._unread += self._receive()
        if self._unread:
            self._complain(f"{self._unread!r} was sent before {verb_of(line)!r} was answered")

    def _drop_input(self) -> None:
        # What comes later, say a command that was sent when the reply was seen, is no pipelining.
        self._unread = b""

    def hear(self) -> None:
        """Waits for the client to say something, and does not read it."""
        if not select.select([self._sock], [], [], PATIENCE)[0]:
            raise TimeoutError

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on in the handshake."""
        return self._sock.selected_alpn_protocol() if isinstance(self._sock, ssl.SSLSocket) else None

    def log_in(self) -> bytes:
        """Lets the client in: it sees the maildrop as it is now."""
        self.mail = list(self.server.mail)
        for uid, message in self.mail:
            self.server.allow(uid, message.replace(b"\r\n", b"\n"))
        return b"+OK\r\n"

    def ask(self, challenge: bytes) -> bytes:
        """Sends octets and returns the client's next line, which is no command."""
        self.send(challenge)
        line = self._read_line()
        if line is None:
            raise _OverError
        return line

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, line: bytes) -> None:
        faults = self.server.faults
        of_verb = Honest() if line.upper().startswith(b"LIST ") else faults.get(verb_of(line), Honest())
        self.play(faults.get(line, of_verb), line)

    def play(self, answer: Answer, line: bytes = b"") -> None:
        if callable(answer):
            answer = answer(self) or []
        steps = list(answer) if isinstance(answer, list | tuple) else [answer]
        for step in steps:
            self._step(step, line)

    def _step(self, step: Step, line: bytes) -> None:
        match step:
            case bytes():
                self.send(step)
            case Honest():
                self._play_honest(step, line)
            case Cut(pieces):
                self._send_pieces(pieces)
            case Flood(piece, times):
                for _ in range(_ENDLESS // len(piece) if times is None else times):
                    self._sock.sendall(piece)
                if times is None:
                    self._complain("the client took octets without end")
            case Drip(octets, every):
                for octet in cycle(octets):
                    self._sock.sendall(bytes([octet]))
                    time.sleep(every)
            case Handshake(context):
                self.handshake(context)
            case _:
                self._end(step)

    def _play_honest(self, step: Honest, line: bytes) -> None:
        answer = self.server.spell(self.honest(line))
        if step.held:
            self._held += answer
        elif step.cuts:
            edges = [0, *sorted(len(answer) - cut for cut in step.cuts), len(answer)]
            self._send_pieces([answer[start:stop] for start, stop in pairwise(edges)])
        elif step.send:
            self.send(answer)
        if verb_of(line) == b"STLS" and self.server.stls is not None:
            self.handshake(self.server.stls)
        if verb_of(line) == b"QUIT" and step.send:
            self._end(Close())

    def send(self, octets: bytes) -> None:
        octets, self._held = self._held + octets, b""
        size = self.server.segment
        if size is None:
            self._sock.sendall(octets)
        else:
            self._send_pieces([octets[start : start + size] for start in range(0, len(octets), size)])

    def _send_pieces(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self._sock.sendall(piece)
            self.wait_until_taken()

    def wait_until_taken(self) -> None:
        """Waits until the client's program has read all that was sent: two segments are then two reads."""
        deadline = time.monotonic() + PATIENCE
        while self.unread_by_client():
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.0001)

    def unread_by_client(self) -> int:
        """Returns how many octets have arrived at the client's socket and were not read."""
        return _unread_by_client(*self._ports)

    def _end(self, step: Silence | Close | Goodbye | Reset) -> None:
        match step:
            case Silence():
                self._wait_until_left()
            case Reset():
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise _OverError
            case Goodbye():
                assert isinstance(self._sock, ssl.SSLSocket)
                self._sock.settimeout(0)
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._sock.unwrap()
                self._sock.settimeout(PATIENCE)
        # The other direction stays open: so it shows whether the client closes its end too.
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # ENOTCONN: what was sent came to a client that had left already
            raise _OverError from None
        while data := self._sock.recv(65536):
            self.late += b"" if self.over_tls else data  # what comes there is records
        raise _OverError

    def _wait_until_left(self) -> None:
        """Waits for the client's FIN or RST, and only then reads what it sent, so that a full window stays full.

        A FIN does not come through a full window: so it also stops waiting when the test wants to see clients leave.
        """
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        while not poll.poll(10) and not self.server.settling.is_set():
            pass
        while self._receive():
            pass
        raise _OverError

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_line(self) -> bytes | None:
        while b"\r\n" not in self._unread:
            data = self._receive()
            if not data:
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\r\n")
        return line

    def _receive(self) -> bytes:
        data = self._sock.recv(self.server.read_octets)
        self.received += data
        return data

    # ── RFC 1939 ─────────────────────────────────────────────────────────────────────────────────────────────────

    def honest(self, line: bytes) -> bytes:
        """Does what a command asks for, and returns the answer."""
        if line == GREETING:
            return b"+OK ready\r\n"
        verb, _, rest = line.partition(b" ")
        answers: dict[bytes, Callable[[bytes], bytes]] = {
            b"CAPA": lambda _: listed(*self._capabilities()),
            b"STLS": lambda _: b"+OK\r\n" if self.server.stls else b"-ERR no TLS\r\n",
            b"USER": lambda _: b"+OK\r\n",
            b"PASS": lambda _: self.log_in(),
            b"STAT": lambda _: b"+OK %d %d\r\n" % (len(self.mail), sum(len(message) for _, message in self.mail)),
            b"LIST": self._list,
            b"UIDL": lambda _: listed(*(b"%d %b" % (n, uid) for n, (uid, _) in enumerate(self.mail, 1))),
            b"RETR": lambda number: self._retrieve(int(number)),
            b"DELE": lambda number: self._delete(int(number)),
            b"NOOP": lambda _: b"+OK\r\n",
            b"RSET": lambda _: self._reset(),
            b"QUIT": lambda _: self._quit(),
        }
        return answers.get(verb.upper(), lambda _: b"-ERR unknown command\r\n")(rest)

    def _capabilities(self) -> Iterator[bytes]:
        if self.server.stls is not None and not self.over_tls:
            yield b"STLS"
        yield from (line.encode("latin-1") for line in self.server.capabilities)

    def _list(self, number: bytes) -> bytes:
        if number:
            return b"+OK %d %d\r\n" % (int(number), len(self.mail[int(number) - 1][1]))
        return listed(*(b"%d %d" % (n, len(message)) for n, (_, message) in enumerate(self.mail, 1)))

    def _retrieve(self, number: int) -> bytes:
        uid, message = self.mail[number - 1]
        self.server.retrieved.append(uid)
        return b"+OK %d octets\r\n" % len(message) + stuffed(message)

    def _delete(self, number: int) -> bytes:
        uid = self.mail[number - 1][0]
        complaint = self.server.may_delete(uid)
        if complaint:
            self._complain(complaint)
        self._marked.add(number)
        return b"+OK\r\n"

    def _reset(self) -> bytes:
        self._marked.clear()
        return b"+OK\r\n"

    def _quit(self) -> bytes:
        gone = [entry for number, entry in enumerate(self.mail, 1) if number in self._marked]
        self.server.deleted += [uid for uid, _ in gone]
        for entry in gone:
            self.server.mail.remove(entry)
        return b"+OK bye\r\n"


def _unread_by_client(ours: int, theirs: int) -> int:
    """Returns how many octets lie in the receive queue of the client's socket; 0 where it is gone."""
    ends = f":{theirs:04X}", f":{ours:04X}"
    for row in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = row.split()
        if (local[8:], remote[8:]) == ends:
            return int(queues.partition(":")[2], 16)
    return 0
