"""A POP3 session, step by step: what a program that fetches mail wants to say to a server."""

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from functools import partial
from io import BytesIO
from socket import socket
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from fetchd.errors import (
    LoginDelayError,
    MailboxBusyError,
    NetworkError,
    PolicyError,
    POP3Error,
    ProtocolError,
    TlsError,
)
from fetchd.model import (
    POP3_PORT,
    POP3S_PORT,
    Capabilities,
    MessageInfo,
    Proxy,
    Reply,
    Secret,
    Tls,
    TlsMode,
    UniqueId,
    parse_proxy,
)
from fetchd.pop3 import messages
from fetchd.pop3.choice import Credentials
from fetchd.pop3.commands import LIST, NOOP, QUIT, RSET, STAT, UIDL, UTF8, Command, by_hand
from fetchd.pop3.conversation import Conversation
from fetchd.pop3.deadlines import MINIMUM_RATE
from fetchd.pop3.dial import Resolve
from fetchd.pop3.listing import Sizes, UniqueIds
from fetchd.pop3.login import credentials_for, log_in, offered, secret_of
from fetchd.pop3.mechanisms import apop_timestamp
from fetchd.pop3.memory import ServerMemory
from fetchd.pop3.opening import ask_capabilities, greet, start_tls
from fetchd.pop3.pipeline import WINDOW
from fetchd.pop3.protocol import Limits, State
from fetchd.pop3.refusals import refusal
from fetchd.pop3.replies import parse_stat
from fetchd.pop3.survey import survey, survey_at_once
from fetchd.pop3.trace import Trace, TraceTo, trace_to
from fetchd.pop3.transport import SocketTransport, Transport
from fetchd.ports import Deleted, InStep, Retrieved, Survey, Write

if TYPE_CHECKING:
    from email.message import EmailMessage


class BinaryFile(Protocol):
    """What a message can be written to."""

    def write(self, data: bytes | bytearray | memoryview, /) -> object:
        """Writes octets."""
        ...


class POP3Session:
    """One session with a POP3 server, from the greeting to QUIT.

    Make one with :meth:`connect` or :meth:`from_socket`. As a context manager it quits on success and drops the line
    without QUIT on an exception, so that an unwinding stack never commits a deletion.

    Every method raises ``NetworkError`` (``TlsError``) or ``ProtocolError``, after which the session is broken: no
    further command is sent and every method raises ``NetworkError``; or ``POP3Error`` where the server says ``-ERR``,
    after which the session goes on; or ``UsageError`` for what cannot be asked now, before anything is sent.

    Not for use by several threads at a time.

    Args:
        transport: connected, and secured where TLS is implicit; the greeting is not read yet.
        limits: how much the server may make us hold.
        window: the most RETR or DELE in flight.
        login_timeout: seconds that the login may take as a whole; None for twice the transport's timeout.
        memory: what earlier sessions taught of this server; this one adds to it.
        trace: see :meth:`connect`.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        limits: Limits | None = None,
        window: int = WINDOW,
        login_timeout: float | None = None,
        memory: ServerMemory | None = None,
        trace: TraceTo | Trace | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._conversation = Conversation(transport, limits=self._limits, trace=trace_to(trace))
        self._window = window
        self._login_timeout = login_timeout
        self._memory = memory or ServerMemory()
        self._capabilities: Capabilities | None = None
        self._before_login: Capabilities | None = None
        self._timestamp: bytes | None = None
        self._mechanism = ""
        self._closed = False

    # ── beginning ────────────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def connect(
        cls,
        host: str,
        port: int | None = None,
        *,
        tls: str | TlsMode | Tls = TlsMode.NONE,
        timeout: float = 60.0,
        session_timeout: float | None = None,
        context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        window: int = WINDOW,
        login_timeout: float | None = None,
        memory: ServerMemory | None = None,
        minimum_rate: int = MINIMUM_RATE,
        source_address: str | None = None,
        proxy: str | Proxy | None = None,
        resolve: Resolve | None = None,
        trace: TraceTo | Trace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Connects, secures the line, and reads the greeting.

        Args:
            host: a name or an address, which the certificate is verified for unless ``tls`` names something else; or
                ``unix:`` and the path of a Unix socket.
            port: by default 995 where TLS is implicit, else 110.
            tls: "none", "implicit", "starttls", or settings. What is asked for is had, or there is no session.
            timeout: seconds that connecting, the TLS handshake, the greeting, and every single read or write may take.
            session_timeout: seconds that the session may take as a whole; None for no such limit.
            context: made from the same settings; share one, for making one costs 30 ms (``tls.TlsContexts``).
            limits: how much the server may make us hold.
            window: the most RETR or DELE in flight, where the server can take it.
            login_timeout: seconds that the login may take as a whole; None for twice the timeout.
            memory: what earlier sessions taught of this server, for the caller to keep between sessions.
            minimum_rate: octets a second; a reply that comes in slower for a minute is an error. 0: no such limit.
            source_address: the IP address of ours to connect from.
            proxy: ``socks5://[user:password@]host:port``, or ``http://…`` for CONNECT; it resolves ``host``.
            resolve: ``resolve(host, port, seconds)`` returns what ``socket.getaddrinfo`` does, or raises ``OSError``;
                by default the system's resolver is asked, which may take longer than the timeout.
            trace: ``trace(direction, line)`` is told of every line that is sent (``>``) or received (``<``), without a
                secret in it and of some 200 characters at most; of messages it is told how many octets they have. A
                :class:`~fetchd.pop3.trace.Trace` masks more secrets than the password, and from the greeting on.
            clock: seconds that only grow.

        Raises:
            TlsError: no secure line; not a credential was sent.
            NetworkError, ProtocolError, POP3Error: no connection, or no POP3 server that will have us.
            ValueError: ``proxy`` is no such URL.
        """
        settings = tls if isinstance(tls, Tls) else Tls(mode=TlsMode(tls))
        if port is None:
            port = POP3S_PORT if settings.mode is TlsMode.IMPLICIT else POP3_PORT
        transport = SocketTransport.connect(
            host,
            port,
            timeout=timeout,
            session_timeout=session_timeout,
            minimum_rate=minimum_rate,
            source_address=source_address,
            proxy=parse_proxy(proxy) if isinstance(proxy, str) else proxy,
            resolve=resolve,
            clock=clock,
        )
        return cls.over(
            transport,
            tls=settings,
            context=context,
            limits=limits,
            window=window,
            login_timeout=login_timeout,
            memory=memory,
            trace=trace,
        )

    @classmethod
    def from_socket(
        cls,
        sock: socket,
        *,
        timeout: float = 60.0,
        session_timeout: float | None = None,
        limits: Limits | None = None,
        window: int = WINDOW,
        login_timeout: float | None = None,
        memory: ServerMemory | None = None,
        minimum_rate: int = MINIMUM_RATE,
        trace: TraceTo | Trace | None = None,
    ) -> Self:
        """Takes over a connected socket, which may be an ``ssl.SSLSocket``, and reads the greeting.

        See :meth:`connect` for the arguments and the errors.
        """
        transport = SocketTransport(sock, timeout=timeout, session_timeout=session_timeout, minimum_rate=minimum_rate)
        return cls.over(
            transport,
            tls=Tls(mode=TlsMode.NONE),
            limits=limits,
            window=window,
            login_timeout=login_timeout,
            memory=memory,
            trace=trace,
        )

    @classmethod
    def over(
        cls,
        transport: Transport,
        *,
        tls: Tls,
        context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        window: int = WINDOW,
        login_timeout: float | None = None,
        memory: ServerMemory | None = None,
        trace: TraceTo | Trace | None = None,
    ) -> Self:
        """Secures any connected transport as ``tls`` says, and reads the greeting. Closes it if that fails."""
        try:
            if tls.mode is TlsMode.IMPLICIT:
                transport.start_tls(tls, context)
            session = cls(
                transport, limits=limits, window=window, login_timeout=login_timeout, memory=memory, trace=trace
            )
            greeting = greet(session._conversation)
            if tls.mode is TlsMode.STARTTLS:
                start_tls(session._conversation, tls, context)
            else:
                # A timestamp that came before STLS may be anybody's.
                session._timestamp = apop_timestamp(greeting.text)
        except BaseException:
            transport.close()
            raise
        return session

    def login(
        self,
        user: str | bytes,
        password: str | bytes | Secret,
        *,
        mechanism: str = "",
        allow_plaintext: bool = False,
        is_token: bool = False,
    ) -> None:
        """Logs in by the strongest way that the server offers; the session is then in the TRANSACTION state.

        Args:
            user: a ``str`` goes over the wire as UTF-8.
            password: likewise; an access token for ``XOAUTH2`` and ``OAUTHBEARER``, of no meaning for ``EXTERNAL``.
            mechanism: the one way to use: a SASL mechanism, ``APOP``, or ``USER``; "" for any that takes a password.
            allow_plaintext: password or token may go over a line that is neither encrypted nor on this host.
            is_token: ``password`` is an access token: only ways that take one are used.

        Raises:
            TlsError: the line is not encrypted, and that is not allowed; nothing was sent.
            SecretError: the password holds CR, LF or NUL; nothing was sent.
            PolicyError: the server offers no way that fits; nothing was sent.
            AuthenticationError, MailboxBusyError, LoginDelayError, POP3Error: the server refused, and what it meant.
        """
        credentials = credentials_for(mechanism, user, password, is_token=is_token)
        self._conversation.hide(secret_of(credentials), user=user.encode() if isinstance(user, str) else user)
        with self._login_deadline():
            self._conversation.check_state(State.AUTHORIZATION)
            log_in_by = partial(self._log_in, credentials, wish=mechanism, allow_plaintext=allow_plaintext)
            if mechanism.upper() == "USER":
                log_in_by(Capabilities())  # whoever wants USER and PASS needs to know nothing of the server
            elif not self._log_in_as_before(log_in_by):
                log_in_by(self.capabilities())
        self._before_login, self._capabilities = self._memory.offered_before(self.tls_version), None

    # ── what is known of the session ─────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._conversation.state

    @property
    def mechanism(self) -> str:
        """The way in which the login succeeded, for example ``SCRAM-SHA-256`` or ``USER``; "" before."""
        return self._mechanism

    @property
    def tls_version(self) -> str:
        """The TLS protocol in use, for example ``TLSv1.3``; "" on a plain line."""
        return self._conversation.transport.tls_version

    @property
    def tls_cipher(self) -> str:
        """The cipher suite in use, as OpenSSL names it; "" on a plain line."""
        return self._conversation.transport.tls_cipher

    @property
    def certificate_expires(self) -> float | None:
        """When the server's certificate runs out, Unix seconds; None on a plain line, and where it is pinned."""
        return self._conversation.transport.certificate_expires

    @property
    def timeout(self) -> float:
        """Seconds that every single read or write may take."""
        return self._conversation.transport.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._conversation.transport.timeout = seconds

    def capabilities(self) -> Capabilities:
        """Returns what CAPA says in this state (RFC 2449 §5); empty where the server has no CAPA. Asked for once."""
        if self._capabilities is None:
            self._capabilities = Capabilities() if self._memory.has_no_capa else self._ask_capabilities()
        return self._capabilities

    # ── the maildrop ─────────────────────────────────────────────────────────────────────────────────────────────

    def stat(self) -> tuple[int, int]:
        """Returns the number of messages and their octets, as the server claims."""
        reply = self._ask(STAT)
        with self._conversation.unbroken("the reply to STAT"):
            return parse_stat(reply.text)

    def message_count(self) -> int:
        """Returns the number of messages in the maildrop."""
        return self.stat()[0]

    def list_messages(self) -> list[MessageInfo]:
        """Returns number and size of every message. A size that the server does not give as a number is 0."""
        listed = Sizes()
        self._ask_lines(LIST, listed.add)
        return [MessageInfo(number, size) for number, size in listed.pairs()]

    def unique_ids(self) -> dict[int, UniqueId]:
        """Returns the unique-id of every message by its number. UIDL is tried even if CAPA does not list it.

        Several messages may have the same unique-id (RFC 1939 §7).

        Raises:
            POP3Error: the server has no UIDL.
        """
        listed = UniqueIds()
        self._ask_lines(UIDL, listed.add)
        return dict(listed.pairs())

    def survey(self) -> Survey:
        """Returns what STAT, UIDL and LIST say, asked in one go where the server can take it; then CAPA goes with them.

        Raises:
            POP3Error: the server refuses STAT or LIST; a refused UIDL is part of what is returned.
        """
        if self._capabilities is None and self._takes_several(self._before_login):
            self._capabilities, found = survey_at_once(self._conversation, memory=self._memory)
            return found
        return survey(self._conversation, pipelined=self._usable_window() > 1, memory=self._memory)

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────

    def retrieve(self, number: int, out: BinaryFile | Write) -> int:
        """Writes a message to ``out`` as it comes in, and returns its octets.

        Half a message never counts as one: unless this returns, throw away what was written. If ``out`` raises, that
        passes through and the session is broken.

        Args:
            number: the message number.
            out: a binary file, or a function that takes octets.

        Raises:
            MessageRefusedError: the server does not give this message; the session goes on.
        """
        write = out if callable(out) else out.write
        [retrieved] = messages.retrieve_each(
            self._conversation, [number], lambda _: write, window=1, memory=self._memory
        )
        if retrieved.refused is not None:
            raise retrieved.refused
        return retrieved.octets

    def retrieve_each(self, numbers: Sequence[int], sink: Callable[[int], Write]) -> Iterator[Retrieved]:
        """Retrieves messages in order, several in flight where the server can; yields as each one is complete.

        Nothing is sent before the first one is asked for. Leaving the iterator while replies are outstanding breaks the
        session, as does whatever the sink or its write raises.

        Args:
            numbers: the message numbers.
            sink: called with a message's number once its first octets are at hand, or its end where it has none;
                returns where they go. Not called for a message that is refused.
        """
        yield from messages.retrieve_each(
            self._conversation, numbers, sink, window=self._usable_window(), memory=self._memory
        )

    def retrieve_proven(
        self, numbers: Sequence[int], sink: Callable[[int], Write], *, proofs: AbstractSet[int]
    ) -> Iterator[Retrieved | InStep]:
        """Retrieves messages as :meth:`retrieve_each` does, with proof that none is taken for another.

        Args:
            numbers: the message numbers.
            sink: see :meth:`retrieve_each`.
            proofs: of these numbers, those behind which the server has to show that it is in step.

        Raises:
            ProtocolError: it is not.
        """
        yield from messages.retrieve_proven(
            self._conversation, numbers, sink, proofs=proofs, window=self._usable_window(), memory=self._memory
        )

    def retrieve_message(
        self, number: int, *, on_part: "Callable[[EmailMessage], object] | None" = None
    ) -> "EmailMessage":
        """Returns a message parsed, with the policy ``email.policy.SMTP`` (line ends are CRLF).

        The message is whole in memory; parsing begins when it is, so that no defect disturbs the session.

        Args:
            number: the message number.
            on_part: called for every leaf part of a multipart message, in their order.

        Raises:
            MessageRefusedError: the server does not give this message; the session goes on.
        """
        from fetchd.pop3.mime import leaf_parts, parse_message  # noqa: PLC0415 - the email package: only where asked for

        out = BytesIO()
        self.retrieve(number, out)
        message = parse_message(out.getvalue())
        if on_part is not None:
            for part in leaf_parts(message):
                on_part(part)
        return message

    def retrieve_header(self, number: int) -> "EmailMessage":
        """Returns a message's header, by TOP; what a server sends beyond the header is dropped.

        Raises:
            MessageRefusedError: the server does not give this header; the session goes on.
        """
        return messages.header(self._conversation, number, most=self._limits.header)

    def check_in_step(self) -> None:
        """Returns if the server has answered everything once and nothing twice, which a NOOP shows.

        Raises:
            ProtocolError: something else came than one line in answer to it.
        """
        self._conversation.ask(NOOP)
        self._conversation.check_silent()

    def delete_message(self, number: int) -> None:
        """Marks a message for deletion; QUIT deletes it.

        Raises:
            MessageRefusedError: the server does not; the session goes on.
        """
        [deleted] = messages.delete_each(self._conversation, [number], window=1, memory=self._memory)
        if deleted.refused is not None:
            raise deleted.refused

    def delete_each(self, numbers: Sequence[int]) -> Iterator[Deleted]:
        """Marks messages for deletion in order, several in flight where the server can; yields as each is answered."""
        yield from messages.delete_each(self._conversation, numbers, window=self._usable_window(), memory=self._memory)

    # ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────

    def set_language(self, tag: str) -> None:
        """Asks for the texts of replies in a language (LANG, RFC 6856 §3), for example ``de`` or ``i-default``.

        Raises:
            POP3Error: the server does not know that language, or LANG.
        """
        self._ask(Command("LANG", tag.encode("ascii", "replace")))

    def noop(self) -> None:
        """Does nothing, and so keeps the server from logging us out."""
        self._ask(NOOP)

    def reset(self) -> None:
        """Takes back every deletion that was asked for in this session (RSET)."""
        self._ask(RSET)

    def send_command(self, command: str, *args: str | bytes | int) -> Reply:
        """Sends any command whose reply is one line, and returns that reply, be it positive or negative.

        Raises:
            UsageError: the command has a reply of many lines, or a method of its own because it changes the session; or
                an argument holds CR, LF or NUL. Nothing was sent.
        """
        return self._conversation.ask(by_hand(command, *args))

    def quit(self) -> None:
        """Sends QUIT, and returns when the server has confirmed that it deleted what was marked; closes the line.

        Does nothing where QUIT was answered before.

        Raises:
            POP3Error: the server says that it did not delete everything.
            NetworkError: the confirmation did not come: what was deleted is not known; or the session is broken.
        """
        if self.state is State.CLOSED:
            self.close()
            return
        try:
            reply = self._conversation.ask(QUIT)
        finally:
            self.close()
        if not reply.ok:
            raise refusal(reply, self._conversation.failed(QUIT))

    def leave(self) -> None:
        """Sends QUIT, closes the line, and waits for no answer: where nothing was marked for deletion.

        Does nothing where the session is over or broken.

        Raises:
            UsageError: :meth:`delete_each` or :meth:`retrieve_each` is still under way.
        """
        try:
            if self.state is State.TRANSACTION:
                # What has arrived is read before, for a line that is closed with octets unread is reset: whatever comes
                # now answers QUIT, which no reset can overtake then.
                self._conversation.check_idle()
                self._conversation.send(QUIT)
        except (NetworkError, ProtocolError):
            pass  # it is gone, or says what nobody asked for: there is nothing left to be said
        finally:
            self.close()

    def close(self) -> None:
        """Drops the line without a word. Deletes nothing, never raises, may be called twice."""
        self._closed = True
        self._conversation.drop("it was closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._closed:
            self.quit()
        else:
            self.close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _log_in(
        self, credentials: Credentials, capabilities: Capabilities, *, wish: str, allow_plaintext: bool
    ) -> None:
        self._memory.before_login = None
        if "UTF8" in capabilities:
            self._conversation.ask(UTF8)  # refused, everything is as it was
        self._mechanism = log_in(
            self._conversation,
            credentials,
            offer=offered(self._conversation.transport, capabilities, timestamp=self._timestamp),
            timestamp=self._timestamp,
            allow_plaintext=allow_plaintext,
            wish=wish,
            memory=self._memory,
        )
        if wish.upper() != "USER":
            self._memory.before_login = (self.tls_version, capabilities)

    def _log_in_as_before(self, log_in_by: Callable[[Capabilities], None]) -> bool:
        """Logs in by what the server offered the last time, without asking; returns False where that is not known.

        Also where it offers something else now. A refusal is believed only if it offers the same, and only then is one
        login tried, so that no account collects failed ones.
        """
        remembered = self._memory.offered_before(self.tls_version) if self._capabilities is None else None
        if remembered is None:
            return False
        try:
            log_in_by(remembered)
        except (MailboxBusyError, LoginDelayError):
            raise
        except (POP3Error, PolicyError, TlsError) as refused:
            try:
                is_outdated = self.capabilities() != remembered
            except (NetworkError, ProtocolError):
                raise refused from None
            if not is_outdated:
                raise
            return False
        return True

    def _login_deadline(self) -> AbstractContextManager[None]:
        seconds = 2 * self.timeout if self._login_timeout is None else self._login_timeout
        return self._conversation.transport.within(seconds, "the login")

    def _ask_capabilities(self) -> Capabilities:
        """Some servers hang up, or fall silent, when they are asked: after two such sessions nobody asks any more."""
        try:
            capabilities = ask_capabilities(self._conversation)
        except NetworkError:
            self._memory.capa_failures += 1
            raise
        self._memory.capa_works = True
        return capabilities

    def _usable_window(self) -> int:
        return self._window if self._takes_several(self.capabilities()) else 1

    def _takes_several(self, capabilities: Capabilities | None) -> bool:
        """Returns whether commands may be sent ahead, by what the server says and what it turned out to do."""
        if capabilities is None or self._window == 1 or self._memory.is_lock_step:
            return False
        return "PIPELINING" in capabilities

    def _ask(self, command: Command) -> Reply:
        return self._positive(self._conversation.ask(command), command)

    def _ask_lines(self, command: Command, take: Callable[[list[bytes]], object]) -> None:
        self._positive(self._conversation.ask_lines(command, take), command)

    def _positive(self, reply: Reply, command: Command) -> Reply:
        if not reply.ok:
            raise refusal(reply, self._conversation.failed(command))
        return reply
