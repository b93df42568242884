r"""The POP3 client without its socket (RFC 1939, 2449, 2595): bytes in, events out.

:meth:`Pop3Protocol.send` turns a command into octets for the wire and remembers that its reply is due;
:meth:`Pop3Protocol.receive_data` takes what came from the wire; :meth:`Pop3Protocol.next_event` says what it means.
Sending several commands before their replies is pipelining; every reply is matched to its command in order, and one
too many is an error, never a shift.

>>> protocol = Pop3Protocol()
>>> protocol.receive_data(b"+OK ready\r\n")
>>> protocol.next_event()
Greeting(reply=Reply(ok=True, text=b'ready', code=''))
>>> protocol.next_event() is NEED_DATA
True
"""

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NoReturn

from fetchd.errors import AccountError, NetworkError, ProtocolError, UsageError, printable
from fetchd.model import Reply
from fetchd.pop3.commands import Command, ReplyKind
from fetchd.pop3.events import (
    NEED_DATA,
    BodyChunk,
    Challenge,
    Event,
    Greeting,
    ListLines,
    NeedData,
    ReplyEnded,
    StatusReply,
)
from fetchd.pop3.framing import CRLF, BodyDecoder, LineDecoder, take_line
from fetchd.pop3.multiline import BodyReply, ListReply
from fetchd.pop3.replies import parse_status, reject_tls_record
from fetchd.pop3.trace import Trace
from fetchd.values import value


class State(StrEnum):
    """Where a session stands (RFC 1939 §3)."""

    GREETING = "GREETING"
    """The server has not greeted yet."""
    AUTHORIZATION = "AUTHORIZATION"
    TRANSACTION = "TRANSACTION"
    UPDATE = "UPDATE"
    """QUIT was sent in the TRANSACTION state: the server deletes, and its reply is due."""
    CLOSED = "CLOSED"
    """QUIT was answered, or the greeting was ``-ERR``: nothing follows."""
    BROKEN = "BROKEN"
    """Nothing that comes from the server can be matched to a command any more."""


# Tuples, for a set would hash a State in Python, at every command.
_AUTHORIZATION: Final = (State.AUTHORIZATION,)
_TRANSACTION: Final = (State.TRANSACTION,)
_EITHER: Final = _AUTHORIZATION + _TRANSACTION

LEGAL: Final[Mapping[str, tuple[State, ...]]] = {
    "USER": _AUTHORIZATION,
    "PASS": _AUTHORIZATION,
    "APOP": _AUTHORIZATION,
    "AUTH": _AUTHORIZATION,
    "STLS": _AUTHORIZATION,
    "UTF8": _AUTHORIZATION,
    "STAT": _TRANSACTION,
    "LIST": _TRANSACTION,
    "UIDL": _TRANSACTION,
    "RETR": _TRANSACTION,
    "TOP": _TRANSACTION,
    "DELE": _TRANSACTION,
    "NOOP": _TRANSACTION,
    "RSET": _TRANSACTION,
    "LAST": _TRANSACTION,
}
"""Where a command is legal. One that is not here is legal in both states in which a client speaks."""

LIST_SLACK: Final = 1000
"""How many lines a list may have beyond twice what STAT claims: mail may come in between."""

_LOGIN: Final = frozenset({"PASS", "APOP", "AUTH"})
_INJECTED: Final = "octets followed the +OK to STLS in plain text: someone may be tampering with the line"


@value
class Limits:
    """How much a server may make us hold, in octets and lines. What goes beyond is a ``ProtocolError``.

    Attributes:
        line: octets of one status line or list line, its end included. Lines of a message have no limit.
        list_lines: lines of one LIST or UIDL.
        list_octets: octets of one LIST or UIDL, or of any other list, without line ends; a million messages with
            unique-ids of 32 octets, or half a million with 70, the most that RFC 1939 permits.
        capability_lines: lines of one CAPA.
        capability_octets: octets of one CAPA.
        body: octets of one message as received, None for no limit.
        header: octets of what TOP may send before the empty line.
        challenge: octets of one line within AUTH, its end included.
        challenges: how often the server may ask back within one AUTH; SCRAM, the longest, takes three.
    """

    line: int = 8192
    list_lines: int = 1_000_000
    list_octets: int = 40 * 1024 * 1024
    capability_lines: int = 1000
    capability_octets: int = 64 * 1024
    body: int | None = None
    header: int = 1024 * 1024
    challenge: int = 64 * 1024
    challenges: int = 8


class Pop3Protocol:
    """One session's state.

    Args:
        peer: how error messages name the server.
        limits: see :class:`Limits`.
        login_pipelining: this server is known to take commands that are sent before PASS or APOP is answered.
        trace: is told of every line that came from the server, before it is parsed.

    An error that it raises while receiving leaves it BROKEN: every further call raises ``NetworkError``. A
    ``UsageError`` changes nothing.
    """

    def __init__(
        self,
        *,
        peer: str = "the server",
        limits: Limits | None = None,
        login_pipelining: bool = False,
        trace: Trace | None = None,
    ) -> None:
        self.state = State.GREETING
        self._outlook = State.GREETING  # the state once all that is pending is answered
        self._peer = peer
        self._limits = limits or Limits()
        self._login_pipelining = login_pipelining
        self._trace = trace
        self._reason = ""
        self._tls_due = False
        self._answer_due = False
        self._messages: int | None = None
        self._challenges = 0
        self._line_end: bytes | None = None
        self._pending: deque[Command] = deque()
        self._data = b""
        self._at = 0
        self._reply: ListReply | BodyReply | None = None

    @property
    def outstanding(self) -> int:
        """How many commands are not answered in full."""
        return len(self._pending)

    @property
    def awaiting(self) -> str:
        """What is due from the server now, for messages: "the greeting", "the reply to RETR 3", or ""."""
        if self.state is State.GREETING:
            return "the greeting"
        return f"the reply to {self._pending[0]}" if self._pending else ""

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, command: Command) -> bytes:
        """Notes that a command's reply is due, and returns the octets to send.

        Raises:
            UsageError: the command is not legal now; nothing has changed.
            ProtocolError: the server said something that no command asked for; the session is BROKEN.
            NetworkError: the session is BROKEN or over.
        """
        self.check_usable()
        if self._at < len(self._data) and not self._pending and self.state is not State.GREETING:
            self._fail(ProtocolError(f"{self._peer}: {self._unasked()}"))
        self._check_legal(command)
        if command.verb == "QUIT":
            self.state = State.UPDATE if self.state is State.TRANSACTION else self.state
            self._outlook = State.CLOSED
        elif command.verb in _LOGIN:
            self._outlook = State.TRANSACTION
        self._pending.append(command)
        return command.encode()

    def answer(self, line: bytes) -> bytes:
        """Returns the octets that answer a :class:`~fetchd.pop3.events.Challenge`; ``line`` has no end of its own.

        Raises:
            UsageError: no challenge is to be answered, or the line holds CR, LF or NUL; nothing has changed.
            NetworkError: the session is BROKEN or over.
        """
        self.check_usable()
        if not self._answer_due:
            raise UsageError("there is no challenge to be answered")
        if any(octet in line for octet in b"\r\n\0"):
            raise UsageError("an answer to a challenge must not hold CR, LF or NUL")
        self._answer_due = False
        return line + CRLF

    def expect_messages(self, count: int) -> None:
        """Says how many messages STAT claims: lists that go far beyond that are cut off as endless."""
        self._messages = count

    def tls_started(self) -> None:
        """Says that the handshake after STLS is done: the session goes on over TLS (RFC 2595 §4)."""
        self._tls_due = False

    def _check_legal(self, command: Command) -> None:
        state = self._outlook
        if self._tls_due:
            raise UsageError(f"{command}: STLS was accepted, TLS has to be started first")
        if state not in LEGAL.get(command.verb, _EITHER):
            raise UsageError(f"{command}: not in the {state} state")
        if not self._pending:
            return
        verb, before = command.verb, self._pending[-1].verb
        if verb == "STLS" or before == "STLS":
            raise UsageError(f"{command}: nothing is pipelined with STLS")
        if not self._login_pipelining and (verb in _LOGIN or before in _LOGIN):
            raise UsageError(f"{command}: nothing is pipelined with a login on this server")

    # ── receiving ────────────────────────────────────────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes) -> None:
        """Takes octets that came from the server; then ask :meth:`next_event` until it needs more.

        Raises:
            ProtocolError: they came between STLS's ``+OK`` and the handshake: someone injected them (RFC 2595 §8).
            NetworkError: the session is BROKEN.
        """
        if self.state is State.CLOSED:
            return
        self.check_usable()
        if self._tls_due and data:
            self._fail(ProtocolError(f"{self._peer}: {_INJECTED}"))
        self._data = data if self._at == len(self._data) else self._data[self._at :] + data
        self._at = 0

    def receive_eof(self) -> None:
        """Takes note that the server closed the connection. After QUIT was answered that is as it should be.

        Raises:
            NetworkError: it is not; the message says which reply is incomplete.
        """
        if self.state is State.CLOSED:
            return
        self.check_usable()
        rest = self._data[self._at :]
        missing = f": {self.awaiting} is incomplete" if self.awaiting else ""
        said = f' (so far: "{printable(rest)}")' if rest and self._reply is None else ""
        self._fail(NetworkError(f"{self._peer}: the server closed the connection{missing}{said}"))

    def next_event(self) -> Event | NeedData:
        """Returns what the octets received so far say next.

        Raises:
            ProtocolError: nothing that POP3 allows; the session is BROKEN.
            NetworkError: the session was BROKEN before.
        """
        state = self.state
        if state is State.CLOSED:
            return NEED_DATA
        if state is State.BROKEN:
            self.check_usable()
        try:
            return self._advance()
        except ProtocolError as error:
            where = f" in {self.awaiting}:" if self.awaiting else ""
            self._fail(ProtocolError(f"{self._peer}:{where} {error}"), cause=error)

    def abandon(self, reason: str) -> None:
        """Makes the session BROKEN for a reason of the caller's; nothing changes where it is over already."""
        if self.state not in {State.CLOSED, State.BROKEN}:
            self._break(reason)

    def _advance(self) -> Event | NeedData:
        if self._reply is not None:
            return self._continue_reply(self._reply)
        if self._at == len(self._data):
            return NEED_DATA
        if self.state is State.GREETING:
            return self._greeting()
        if self._pending and not self._answer_due:
            return self._status()
        raise ProtocolError(self._unasked())

    def _take_line(self, limit: int | None = None) -> bytes | None:
        most = limit or self._limits.line
        taken = take_line(self._data, self._at, limit=most, line_end=self._line_end)
        if taken is None:
            return None
        line, self._line_end, self._at = taken
        return line

    def _greeting(self) -> Event | NeedData:
        reject_tls_record(self._data[self._at])
        line = self._take_line()
        if line is None:
            return NEED_DATA
        if self._trace is not None:
            self._trace.status(line)
        reply = parse_status(line)
        self.state = self._outlook = State.AUTHORIZATION if reply.ok else State.CLOSED
        return Greeting(reply)

    def _status(self) -> Event | NeedData:
        command = self._pending[0]
        in_exchange = command.kind is ReplyKind.EXCHANGE
        line = self._take_line(self._limits.challenge if in_exchange else None)
        if line is None:
            return NEED_DATA
        if in_exchange and (line == b"+" or line.startswith(b"+ ")):
            return self._challenge(command, line[1:])
        if self._trace is not None:
            self._trace.status(line, command)
        reply = self._parse_status(line, command)
        kind = command.kind
        if reply.ok and (kind is ReplyKind.LINES or kind is ReplyKind.BODY):  # a set of them would hash in Python
            self._reply = self._multi_line(command)
        else:
            self._pending.popleft()
            self._change_state(command, reply)
        return StatusReply(command, reply)

    @staticmethod
    def _parse_status(line: bytes, command: Command) -> Reply:
        """What answers a login is never quoted where it is no reply: it may repeat the password."""
        try:
            return parse_status(line)
        except ProtocolError:
            if command.verb in _LOGIN:
                raise ProtocolError("not a POP3 reply (not quoted, since it may repeat a secret)") from None
            raise

    def _challenge(self, command: Command, text: bytes) -> Challenge:
        if self._trace is not None:
            self._trace.challenged()
        self._challenges += 1
        if self._challenges > self._limits.challenges:
            raise ProtocolError(f"more than {self._limits.challenges} challenges")
        self._answer_due = True
        return Challenge(command, text)

    def _multi_line(self, command: Command) -> ListReply | BodyReply:
        line_end = self._line_end or CRLF
        if command.kind is ReplyKind.BODY:
            return BodyReply(command, BodyDecoder(line_end), most=self._limits.body)
        limits = self._limits
        most_lines, most_octets = limits.list_lines, limits.list_octets
        if command.verb == "CAPA":
            most_lines, most_octets = limits.capability_lines, limits.capability_octets
        elif self._messages is not None:
            most_lines = min(most_lines, 2 * self._messages + LIST_SLACK)
            most_octets = min(most_octets, most_lines * limits.line)
        decoder = LineDecoder(line_end, limit=limits.line)
        return ListReply(command, decoder, most_lines=most_lines, most_octets=most_octets)

    def _change_state(self, command: Command, reply: Reply) -> None:
        if command.verb == "QUIT":
            self.state = State.CLOSED
        elif command.verb in _LOGIN:
            self._challenges = 0
            if reply.ok:
                self.state = State.TRANSACTION
            elif self._outlook is State.TRANSACTION:
                self._outlook = self.state
        elif command.verb == "STLS" and reply.ok:
            self._tls_due = True
            if self._at < len(self._data):
                raise ProtocolError(_INJECTED)

    def _continue_reply(self, reply: ListReply | BodyReply) -> Event | NeedData:
        if not reply.ended:
            if self._at == len(self._data):
                return NEED_DATA
            event, self._at = reply.feed(self._data, self._at)
            if event is not None:
                if self._trace is not None:
                    _show(event, self._trace)
                return event
            if not reply.ended:
                return NEED_DATA
        self._reply = None
        self._pending.popleft()
        if self._trace is not None:
            self._trace.ended(is_message=reply.command.kind is ReplyKind.BODY)
        return ReplyEnded(reply.command)

    # ── breaking ─────────────────────────────────────────────────────────────────────────────────────────────────

    def check_usable(self) -> None:
        """Raises ``NetworkError`` where the session is BROKEN."""
        if self.state is State.BROKEN:
            raise NetworkError(f"{self._peer}: the session is broken: {self._reason}")

    def _unasked(self) -> str:
        said = printable(self._data[self._at :].rstrip(b"\r\n"))
        return f'the server sent "{said}", which no command asked for'

    def _fail(self, error: AccountError, *, cause: Exception | None = None) -> NoReturn:
        self._break(str(error))
        raise error from cause

    def _break(self, reason: str) -> None:
        self.state = self._outlook = State.BROKEN
        self._reason = reason
        self._data, self._at = b"", 0
        self._pending.clear()
        self._reply = None


def _show(event: Event, trace: Trace) -> None:
    if isinstance(event, ListLines):
        trace.listed(event.lines)
    elif isinstance(event, BodyChunk):
        trace.received(len(event.data))
