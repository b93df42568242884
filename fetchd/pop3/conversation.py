"""Question and answer: where the protocol meets the transport.

A reply is read to its end or not at all: whatever interrupts it, be it the network, the server's nonsense, a caller's
sink or Ctrl-C, drops the line, and nothing more is sent on it; not even QUIT, which would commit deletions.
"""

import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Final, NoReturn

from fetchd.errors import AccountError, NetworkError, ProtocolError, UsageError
from fetchd.model import Reply, Tls
from fetchd.pop3.commands import Command
from fetchd.pop3.events import NEED_DATA, BodyChunk, Challenge, Event, Greeting, ListLines, ReplyEnded, StatusReply
from fetchd.pop3.protocol import Limits, Pop3Protocol, State
from fetchd.pop3.trace import Mask, Trace
from fetchd.pop3.transport import FEW_OCTETS, RECEIVE_OCTETS, Transport
from fetchd.ports import Write

WINDOW_OCTETS: Final = 16 * 1024
"""The most octets of commands in flight. A server may stop reading because it waits for us to take its bodies; all that
is in flight then fits into our own socket's buffer (``transport.SEND_BUFFER``): so we never wait for each other."""


class Conversation:
    """One session's commands and replies over a transport."""

    def __init__(self, transport: Transport, *, limits: Limits, trace: Trace | None = None) -> None:
        self.transport = transport
        self._trace = trace
        self._secret = b""
        self._most = FEW_OCTETS
        self._protocol = Pop3Protocol(peer=transport.peer, limits=limits, trace=trace)

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._protocol.state

    @property
    def outstanding(self) -> int:
        """How many commands are not answered in full."""
        return self._protocol.outstanding

    def failed(self, command: Command) -> str:
        """Returns how a message begins that says a command was refused."""
        return f"{self.transport.peer}: {command} failed"

    def greeting(self) -> Reply:
        """Reads the greeting; all of it may take as long as any other single read."""
        if self._trace is not None:
            self._trace.note(f"connected to {self.transport.peer}{self._by_tls()}")
        with self.unbroken("the greeting"), self.transport.within(self.transport.timeout, "the greeting"):
            event = self._next()
            if not isinstance(event, Greeting):
                _out_of_step(event)
            return event.reply

    def ask(self, command: Command) -> Reply:
        """Sends a command and returns its status line."""
        self.check_idle()
        self.send(command)
        return self.read_status()

    def ask_lines(self, command: Command, take: Callable[[list[bytes]], object]) -> Reply:
        """Sends a command and hands the lines of its positive reply to ``take``, many at a time."""
        self.check_idle()
        self.send(command)
        return self.read_lines(command, take)

    def read_lines(self, command: Command, take: Callable[[list[bytes]], object]) -> Reply:
        """Reads the reply to the oldest command in flight, which is this one and asked for a list."""
        with self.unbroken(f"the reply to {command}"):
            reply = self._status()
            while reply.ok:
                event = self._next()
                if isinstance(event, ReplyEnded):
                    break
                if not isinstance(event, ListLines):
                    _out_of_step(event)
                take(event.lines)
            return reply

    def exchange(self, command: Command, answer: Callable[[bytes], bytes]) -> Reply:
        """Sends AUTH, answers the server's challenges, and returns the status line at the end.

        Args:
            command: AUTH.
            answer: returns the line that answers a challenge, given what follows its ``+``. Where it raises, the
                exchange is cancelled (``*``, RFC 5034 §4) and the line is dropped.
        """
        self.check_idle()
        self.send(command)
        with self.unbroken():
            while True:
                event = self._next()
                if isinstance(event, StatusReply):
                    return self._without_secret(event.reply)
                if not isinstance(event, Challenge):
                    _out_of_step(event)
                self._send_answer(self._answered(event, answer))

    def _answered(self, challenge: Challenge, answer: Callable[[bytes], bytes]) -> bytes:
        try:
            return answer(challenge.text)
        except AccountError:
            with suppress(NetworkError):
                self._send_answer(b"*")
            raise

    def _send_answer(self, line: bytes) -> None:
        data = self._protocol.answer(line)
        if self._trace is not None:
            self._trace.answered(line)
        self.transport.send(data)

    def send(self, *commands: Command) -> None:
        """Sends commands with one write; their replies are then due, in that order.

        Raises:
            UsageError: they are not legal now; nothing was sent.
        """
        state = self._protocol.state
        if not self._protocol.outstanding and (state is State.TRANSACTION or state is State.AUTHORIZATION):
            self.check_silent()
        data = b"".join([self._protocol.send(command) for command in commands])
        with self.unbroken():
            if self._trace is not None:
                self._trace.sent(commands)
            self.transport.send(data)

    def read_status(self) -> Reply:
        """Returns the status line for the oldest command in flight, one whose reply is one line."""
        with self.unbroken():
            return self._status()

    def read_body(self, opened: Callable[[], Write]) -> tuple[Reply, int]:
        """Reads the reply to the oldest command in flight, one that asked for a message.

        Args:
            opened: called once the message's first octets are at hand, or its end where it has none; returns where
                they go.

        Returns:
            The status line, and how many octets were written.
        """
        try:
            reply = self._status()
            return reply, self._body(opened) if reply.ok else 0
        except BaseException as error:
            self._broke(error)
            raise

    def _body(self, opened: Callable[[], Write]) -> int:
        octets = 0
        write = None
        while True:
            event = self._next()
            if isinstance(event, BodyChunk):
                data = event.data
                write = opened() if write is None else write
                write(data)
                octets += len(data)
            elif isinstance(event, ReplyEnded):
                if write is None:
                    opened()
                return octets
            else:
                _out_of_step(event)

    def start_tls(self, settings: Tls, context: ssl.SSLContext | None) -> None:
        """Goes over to TLS after a positive reply to STLS."""
        with self.unbroken():
            self.transport.start_tls(settings, context)
            self._protocol.tls_started()
            if self._trace is not None:
                self._trace.note(f"secured{self._by_tls()}")

    def hide(self, secret: bytes, *, user: bytes) -> None:
        """Says what no refusal that is returned, and no trace, may show wherever it turns up.

        In a trace that is the user's name too, if it is an address.
        """
        self._secret = secret
        if self._trace is not None:
            self._trace.hide(secret)
            if b"@" in user:
                self._trace.hide(user)

    def expect_messages(self, count: int) -> None:
        """Says how many messages STAT claims, so that an endless list is cut off early."""
        self._protocol.expect_messages(count)

    def check_state(self, state: State) -> None:
        """Refuses what belongs into another state.

        Raises:
            UsageError: the session is in another one.
            NetworkError: it is broken.
        """
        self._protocol.check_usable()
        if self.state is not state:
            raise UsageError(f"{self.transport.peer}: not in the {self.state} state")

    def check_idle(self) -> None:
        """Refuses to ask while replies are outstanding that somebody else waits for.

        Raises:
            UsageError: they are.
        """
        if self._protocol.outstanding:
            raise UsageError(f"{self.transport.peer}: retrieve_each or delete_each is still under way")

    def drop(self, reason: str) -> None:
        """Closes the connection without a word; the session is BROKEN unless it is over already."""
        self._protocol.abandon(reason)
        self.transport.close()

    def unbroken(self, what: str = "") -> AbstractContextManager[None]:
        """Drops the line on whatever is raised inside; ``what`` was being read when the server broke the protocol."""
        return _Unbroken(self._broke, what)

    def _broke(self, error: BaseException, what: str = "") -> None:
        """Drops the line; raises a ``ProtocolError`` that says whose it is and where, if this one does not."""
        if not isinstance(error, ProtocolError):
            self.drop(str(error) or type(error).__name__)
        elif self.state is State.BROKEN:
            self.transport.close()
        else:
            where = f" in {what}:" if what else ""
            raised = ProtocolError(f"{self.transport.peer}:{where} {error}")
            self.drop(str(raised))
            raise raised from error

    def check_silent(self) -> None:
        """Makes an error of what the server said, or of its leaving, while nothing was asked (a "-ERR idle" often)."""
        with self.unbroken():
            self._protocol.next_event()
            early = self.transport.recv_ready(FEW_OCTETS)
            if early is not None:
                self._receive(early)
                self._protocol.next_event()

    def _by_tls(self) -> str:
        return f" by {self.transport.tls_version}" if self.transport.tls_version else ""

    def _status(self) -> Reply:
        self.transport.reply_due()
        event = self._next()
        if not isinstance(event, StatusReply):
            _out_of_step(event)
        return self._without_secret(event.reply)

    def _without_secret(self, reply: Reply) -> Reply:
        """Some servers repeat in ``-ERR`` what they were sent, and that text ends up in errors."""
        if reply.ok or not self._secret:
            return reply
        mask = Mask()  # made only here, for most sessions never need one
        mask.hide(self._secret)
        return replace(reply, text=mask(reply.text))

    def _next(self) -> Event:
        while True:
            event = self._protocol.next_event()
            if event is not NEED_DATA:
                return event
            try:
                data = self.transport.recv(self._most)
            except NetworkError as error:
                lost = self._protocol.awaiting
                raise type(error)(f"{error}: {lost} is incomplete", retry=error.retry) from error
            # Room for a large read is a mapping of its own, which costs more than a small read does.
            self._most = RECEIVE_OCTETS if len(data) >= FEW_OCTETS else FEW_OCTETS
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()


class _Unbroken:
    """Tells of whatever is raised inside. A generator would do as well, and cost four times as much."""

    __slots__ = ("_broke", "_what")

    def __init__(self, broke: Callable[[BaseException, str], None], what: str) -> None:
        self._broke = broke
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._broke(error, self._what)


def _out_of_step(event: Event) -> NoReturn:
    raise AssertionError(f"the protocol gave an event that cannot come here: {type(event).__name__}")
