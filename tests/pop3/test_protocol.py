"""The protocol without a socket: bytes in, events out."""

import doctest
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchd.errors import AccountError, NetworkError, ProtocolError, UsageError
from fetchd.model import Reply
from fetchd.pop3 import protocol as protocol_module
from fetchd.pop3.commands import CAPA, LIST, NOOP, QUIT, STAT, STLS, UIDL, Command, dele, password, retr, top, user
from fetchd.pop3.events import NEED_DATA, BodyChunk, Event, Greeting, ListLines, ReplyEnded, StatusReply
from fetchd.pop3.protocol import LEGAL, Limits, Pop3Protocol, State
from tests.pop3.feeding import Cut, cut_at, events, joined, octet_by_octet, transaction, whole

ways = pytest.mark.parametrize("cut", [whole, octet_by_octet])
OK = Reply(ok=True)


def greeted(greeting: bytes = b"+OK\r\n", *, login_pipelining: bool = False) -> Pop3Protocol:
    """A protocol in the AUTHORIZATION state."""
    protocol = Pop3Protocol(login_pipelining=login_pipelining)
    assert isinstance(next(events(protocol, [greeting])), Greeting)
    return protocol


def answered(protocol: Pop3Protocol, command: Command, wire: bytes) -> list[Event]:
    """What a command's reply gives."""
    protocol.send(command)
    return joined(events(protocol, [wire]))


def test_docstring() -> None:
    """The example runs."""
    result = doctest.testmod(protocol_module)
    assert result.attempted
    assert not result.failed


# ── a session ────────────────────────────────────────────────────────────────────────────────────────────────────


@ways
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_whole_session(cut: Cut, line_end: bytes) -> None:
    """FAULTS 7, 11, 12: every kind of reply, in segments of any size, on either kind of line."""

    def wire(text: bytes) -> list[bytes]:
        return cut(text.replace(b"|", line_end))

    protocol = Pop3Protocol()
    assert list(events(protocol, wire(b"+OK hi|"))) == [Greeting(Reply(ok=True, text=b"hi"))]
    assert protocol.state is State.AUTHORIZATION
    secret = password(b"s")
    for command, state in ((user(b"joe"), State.AUTHORIZATION), (secret, State.TRANSACTION)):
        assert protocol.send(command) == command.encode()
        assert list(events(protocol, wire(b"+OK|"))) == [StatusReply(command, OK)]
        assert protocol.state is state
    protocol.send(UIDL)
    assert joined(events(protocol, wire(b"+OK|1 a|2 b|.|"))) == [
        StatusReply(UIDL, OK),
        ListLines(UIDL, [b"1 a", b"2 b"]),
        ReplyEnded(UIDL),
    ]
    message = retr(1)
    protocol.send(message)
    assert joined(events(protocol, wire(b"+OK|a|..b|.|"))) == [
        StatusReply(message, OK),
        BodyChunk(message, b"a|.b|".replace(b"|", line_end)),
        ReplyEnded(message),
    ]
    protocol.send(QUIT)
    assert protocol.state is State.UPDATE
    assert list(events(protocol, wire(b"+OK|"))) == [StatusReply(QUIT, OK)]
    assert protocol.state is State.CLOSED
    protocol.receive_eof()


@ways
def test_pipelined_replies_are_matched_in_order(cut: Cut) -> None:
    """FAULTS 49: a refusal in the middle shifts nothing."""
    protocol = transaction()
    commands = [retr(1), retr(2), STAT, retr(3), LIST]
    assert b"".join(map(protocol.send, commands)) == b"RETR 1\r\nRETR 2\r\nSTAT\r\nRETR 3\r\nLIST\r\n"
    assert protocol.outstanding == 5
    wire = b"+OK\r\none\r\n.\r\n-ERR no\r\n+OK 3 9\r\n+OK\r\n.\r\n+OK\r\n1 3\r\n.\r\n"
    assert joined(events(protocol, cut(wire))) == [
        StatusReply(commands[0], OK),
        BodyChunk(commands[0], b"one\r\n"),
        ReplyEnded(commands[0]),
        StatusReply(commands[1], Reply(ok=False, text=b"no")),
        StatusReply(STAT, Reply(ok=True, text=b"3 9")),
        StatusReply(commands[3], OK),
        ReplyEnded(commands[3]),
        StatusReply(LIST, OK),
        ListLines(LIST, [b"1 3"]),
        ReplyEnded(LIST),
    ]
    assert protocol.outstanding == 0


def test_many_lines_are_one_event() -> None:
    """100,000 lines must not be 100,000 events."""
    protocol = transaction()
    protocol.send(UIDL)
    wire = b"+OK\r\n" + b"".join(b"%d uid%d\r\n" % (number, number) for number in range(1, 10_001)) + b".\r\n"
    found = list(events(protocol, [wire]))
    assert [type(event) for event in found] == [StatusReply, ListLines, ReplyEnded]


@ways
def test_negative_reply_to_a_list_or_a_message_is_one_line(cut: Cut) -> None:
    """RFC 1939 §3."""
    protocol = transaction()
    for command in (UIDL, LIST, CAPA, retr(1), top(1, 0)):
        protocol.send(command)
        assert list(events(protocol, cut(b"-ERR no\r\n"))) == [StatusReply(command, Reply(ok=False, text=b"no"))]
        assert protocol.state is State.TRANSACTION


def test_error_text_in_a_body_is_body() -> None:
    """FAULTS 26: whether it is an error nobody can tell from the octets."""
    protocol = transaction()
    message = retr(1)
    found = answered(protocol, message, b"+OK\r\nabc\r\n-ERR disk error\r\n.\r\n")
    assert found[1] == BodyChunk(message, b"abc\r\n-ERR disk error\r\n")


@ways
@pytest.mark.parametrize("greeting", [b"-ERR\r\n", b"-ERR [SYS/TEMP] too many\r\n"])
def test_negative_greeting_closes_the_session(greeting: bytes, cut: Cut) -> None:
    """RFC 1939 §3: nothing can follow it."""
    protocol = Pop3Protocol()
    (event,) = events(protocol, cut(greeting))
    assert isinstance(event, Greeting)
    assert not event.reply.ok
    assert protocol.state is State.CLOSED
    with pytest.raises(UsageError):
        protocol.send(QUIT)
    protocol.receive_eof()


# ── the state table ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", [*LEGAL, "CAPA", "QUIT", "LANG", "XTND"])
@pytest.mark.parametrize(
    ("state", "make"),
    [
        (State.GREETING, Pop3Protocol),
        (State.AUTHORIZATION, greeted),
        (State.TRANSACTION, transaction),
        (State.UPDATE, lambda: _after_quit(b"")),
        (State.CLOSED, lambda: _after_quit(b"+OK\r\n")),
    ],
)
def test_command_is_legal_where_the_table_says(verb: str, state: State, make: Callable[[], Pop3Protocol]) -> None:
    """RFC 1939 §4-6: anything else is refused before an octet is made, and changes nothing."""
    protocol = make()
    assert protocol.state is state
    before = protocol.outstanding
    legal = LEGAL.get(verb, {State.AUTHORIZATION, State.TRANSACTION})
    if state in legal:
        assert protocol.send(Command(verb)) == verb.encode() + b"\r\n"
    else:
        with pytest.raises(UsageError, match=verb):
            protocol.send(Command(verb))
        assert (protocol.state, protocol.outstanding) == (state, before)


def _after_quit(reply: bytes) -> Pop3Protocol:
    protocol = transaction()
    protocol.send(QUIT)
    list(events(protocol, [reply]))
    return protocol


def test_refused_login_leaves_the_state() -> None:
    """RFC 1939 §4: one may try again."""
    protocol = greeted()
    assert answered(protocol, password(b"x"), b"-ERR\r\n") == [StatusReply(password(b"x"), Reply(ok=False))]
    assert protocol.state is State.AUTHORIZATION
    protocol.send(user(b"joe"))


def test_quit_closes_even_if_it_is_refused() -> None:
    """RFC 1939 §6: the server closes whether or not it could delete."""
    protocol = _after_quit(b"-ERR some deleted messages not removed\r\n")
    assert protocol.state is State.CLOSED


def test_quit_in_the_authorization_state_deletes_nothing() -> None:
    """RFC 1939 §4: it does not lead to the UPDATE state."""
    protocol = greeted()
    protocol.send(QUIT)
    assert protocol.state is State.AUTHORIZATION
    with pytest.raises(UsageError):
        protocol.send(NOOP)


@pytest.mark.parametrize(
    ("first", "second"),
    [(STLS, CAPA), (CAPA, STLS), (password(b"s"), STAT), (user(b"a"), password(b"s")), (password(b"s"), CAPA)],
)
def test_nothing_is_pipelined_with_stls_or_a_login(first: Command, second: Command) -> None:
    """FAULTS 52; TESTBENCH c: Courier loses what follows PASS."""
    protocol = greeted()
    protocol.send(first)
    with pytest.raises(UsageError, match=r"pipelined|not in the"):
        protocol.send(second)
    assert protocol.outstanding == 1


def test_login_is_pipelined_where_the_server_is_known_to_take_it() -> None:
    """SPEED: a poll in one round trip less; a refusal refuses all that follows."""
    protocol = greeted(login_pipelining=True)
    commands = [user(b"joe"), password(b"s"), STAT, UIDL]
    for command in commands:
        protocol.send(command)
    found = joined(events(protocol, [b"+OK\r\n+OK\r\n+OK 0 0\r\n+OK\r\n.\r\n"]))
    assert [event.command for event in found if isinstance(event, StatusReply)] == commands
    assert protocol.state is State.TRANSACTION

    protocol = greeted(login_pipelining=True)
    for command in commands:
        protocol.send(command)
    found = joined(events(protocol, [b"+OK\r\n-ERR\r\n-ERR\r\n-ERR\r\n"]))
    assert len(found) == 4
    assert protocol.state is State.AUTHORIZATION
    with pytest.raises(UsageError):
        protocol.send(STAT)


# ── STLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@ways
@pytest.mark.parametrize("injected", [b"+OK injected\r\n", b"+O", b"\r\n", b"x"])
def test_octet_behind_stls_is_fatal(injected: bytes, cut: Cut) -> None:
    """FAULTS 71, 72; RFC 2595 §8: in the same segment or in its own, with a line end or without."""
    protocol = greeted()
    protocol.send(STLS)
    with pytest.raises(ProtocolError, match="tampering"):
        list(events(protocol, cut(b"+OK begin\r\n" + injected)))
    assert protocol.state is State.BROKEN


def test_tls_must_be_started_before_anything_is_sent() -> None:
    """No command goes out in plain text once STLS was accepted; afterwards the session goes on."""
    protocol = greeted()
    answered(protocol, STLS, b"+OK\r\n")
    with pytest.raises(UsageError, match="TLS has to be started"):
        protocol.send(CAPA)
    protocol.tls_started()
    assert answered(protocol, user(b"a"), b"+OK\r\n")


def test_refused_stls_changes_nothing() -> None:
    """What that means is the session's affair."""
    protocol = greeted()
    answered(protocol, STLS, b"-ERR\r\n")
    assert protocol.send(CAPA) == b"CAPA\r\n"


# ── what breaks a session ────────────────────────────────────────────────────────────────────────────────────────


def _broken(protocol: Pop3Protocol, segments: list[bytes], why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        list(events(protocol, segments))
    assert protocol.state is State.BROKEN
    for call in (
        lambda: protocol.send(QUIT),
        lambda: protocol.receive_data(b"+OK\r\n"),
        protocol.next_event,
        protocol.receive_eof,
    ):
        with pytest.raises(NetworkError, match="the session is broken"):
            call()


@ways
@pytest.mark.parametrize(
    "greeting",
    [b"+NOPE\r\n", b"OK\r\n", b"+OKAY\r\n", b"* OK IMAP4\r\n", b"\x15\x03\x01\0\x02\x02\x28", b"\r\n", b"+OK\0\r\n"],
)
def test_greeting_that_is_none_breaks_the_session(greeting: bytes, cut: Cut) -> None:
    """FAULTS 5, 6, 9: and everything after it raises."""
    _broken(Pop3Protocol(), cut(greeting), "in the greeting")


@ways
@pytest.mark.parametrize("wire", [b"+NOPE\r\n", b"\r\n", b"+OK\0\r\n", b"+OK\n", b"A" * 9000, b"abc\r\n"])
def test_reply_that_is_none_breaks_the_session(wire: bytes, cut: Cut) -> None:
    """FAULTS 3, 6, 7, 9: the message says to which command."""
    protocol = transaction()
    protocol.send(STAT)
    _broken(protocol, cut(wire), "in the reply to STAT")


def test_reply_line_of_8_kib_is_taken() -> None:
    """FAULTS 3: that much, its end included, and no more."""
    protocol = transaction()
    line = b"+OK " + b"a" * 8186 + b"\r\n"
    assert len(line) == 8192
    assert len(answered(protocol, STAT, line)) == 1
    protocol.send(STAT)
    _broken(protocol, [b"+OK " + b"a" * 8187 + b"\r\n"], "longer than 8192 octets")


@ways
@pytest.mark.parametrize("extra", [b"+OK\r\n", b"-ERR idle\r\n", b"\r\n", b"x"])
def test_reply_that_no_command_asked_for_breaks_the_session(extra: bytes, cut: Cut) -> None:
    """FAULTS 10, 50: doubled replies and greetings of many lines never shift the replies that follow."""
    _broken(Pop3Protocol(), cut(b"+OK hi\r\n" + extra), "no command asked for")
    protocol = transaction()
    protocol.send(STAT)
    _broken(protocol, cut(b"+OK 1 1\r\n" + extra), "no command asked for")


def test_reply_that_no_command_asked_for_stops_the_next_command() -> None:
    """FAULTS 10: also where nobody looked between the reply and the next command."""
    protocol = transaction()
    protocol.send(STAT)
    protocol.receive_data(b"+OK 1 1\r\n-ERR and so on\r\n")
    assert isinstance(protocol.next_event(), StatusReply)
    with pytest.raises(ProtocolError, match="-ERR and so on"):
        protocol.send(NOOP)
    assert protocol.state is State.BROKEN


@pytest.mark.parametrize("octets", [b"+OK\r\n", b"abc", b""])
def test_what_follows_the_answer_to_quit_is_nobodys(octets: bytes) -> None:
    """FACTS §2: POCO's server ends its replies in a stray line; after QUIT that harms nobody."""
    protocol = _after_quit(b"+OK\r\n" + octets)
    protocol.receive_data(octets)
    assert protocol.next_event() is NEED_DATA
    assert protocol.state is State.CLOSED


@pytest.mark.parametrize(
    ("command", "wire", "what"),
    [
        (STAT, b"", "the reply to STAT is incomplete"),
        (STAT, b"+OK 1", "the reply to STAT is incomplete"),
        (UIDL, b"+OK\r\n1 a\r\n", "the reply to UIDL is incomplete"),
        (retr(2), b"+OK\r\nabc\r\n", "the reply to RETR 2 is incomplete"),
        (retr(2), b"+OK\r\nabc\r\n.", "the reply to RETR 2 is incomplete"),
        (retr(2), b"+OK\r\nabc\r\n.\r", "the reply to RETR 2 is incomplete"),
        (retr(2), b"+OK\r\n-ERR disk error\r\n", "the reply to RETR 2 is incomplete"),
        (dele(1), b"", "the reply to DELE 1 is incomplete"),
        (QUIT, b"", "the reply to QUIT is incomplete"),
    ],
)
def test_end_of_the_stream_in_a_reply_is_an_error(command: Command, wire: bytes, what: str) -> None:
    """FAULTS 22, 26, 33, 56: half a message is none."""
    protocol = transaction()
    protocol.send(command)
    assert not any(isinstance(event, ReplyEnded) for event in events(protocol, [wire]))
    with pytest.raises(NetworkError, match=what):
        protocol.receive_eof()
    assert protocol.state is State.BROKEN


def test_end_of_the_stream_in_the_greeting_shows_what_there_was() -> None:
    """It may say why."""
    protocol = Pop3Protocol(peer="pop.x:110")
    protocol.receive_data(b"too many conn\x1b")
    assert protocol.next_event() is NEED_DATA
    with pytest.raises(NetworkError, match=r'^pop\.x:110: .*the greeting is incomplete.*"too many conn\\x1b"'):
        protocol.receive_eof()


def test_end_of_the_stream_between_commands_is_an_error_too() -> None:
    """The server left."""
    with pytest.raises(NetworkError, match="closed the connection"):
        transaction().receive_eof()


def test_abandoned_session_is_broken() -> None:
    """For faults on our side: a sink that raises."""
    protocol = transaction()
    protocol.send(retr(1))
    protocol.abandon("disk full")
    assert protocol.outstanding == 0
    with pytest.raises(NetworkError, match="disk full"):
        protocol.send(QUIT)
    protocol.abandon("something else")
    with pytest.raises(NetworkError, match="disk full"):
        protocol.next_event()


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────


@ways
@pytest.mark.parametrize(
    ("command", "limits"),
    [
        (UIDL, Limits(list_lines=3)),
        (UIDL, Limits(list_octets=11)),
        (CAPA, Limits(capability_lines=3)),
        (UIDL, Limits(line=8)),
        (retr(1), Limits(body=19)),
    ],
)
def test_limit_is_where_it_says(command: Command, limits: Limits, cut: Cut) -> None:
    """FAULTS 21, 32: one line or octet more is an error; without an end to the reply."""
    within = {
        "list_lines": b"1 a\r\n2 b\r\n3 c\r\n",
        "list_octets": b"1 aa\r\n2 bbbbb\r\n",
        "capability_lines": b"A\r\nB\r\nC\r\n",
        "line": b"1 abcd\r\n",
        "body": b"..3456789012345678\r\n",
    }
    name = next(name for name in within if getattr(limits, name) != getattr(Limits(), name))
    protocol = transaction(limits=limits)
    protocol.send(command)
    assert isinstance(list(events(protocol, cut(b"+OK\r\n" + within[name] + b".\r\n")))[-1], ReplyEnded)
    protocol.send(command)
    beyond = within[name].replace(b"\r\n", b"x\r\n", 1) + b"4 d\r\n4 d\r\n"
    _broken(protocol, cut(b"+OK\r\n" + beyond), "longer than")


def test_a_million_lines_are_within_the_default_limits() -> None:
    """Nobody's maildrop is refused for its size: 32 octets are more than the unique-ids of real servers have."""
    assert Limits().list_lines >= 1_000_000
    assert Limits().list_octets >= 1_000_000 * len(b"1000000 " + b"u" * 32)


# ── any octets ───────────────────────────────────────────────────────────────────────────────────────────────────

_wire_pieces = [b"+OK", b"-ERR", b" ", b"\r\n", b"\n", b"\r", b".", b"1 a", b"\0", b"\x16", b"x", b".\r\n", b"+OK\r\n"]
_wires = st.lists(st.sampled_from(_wire_pieces), max_size=25).map(b"".join) | st.binary()
_commands = st.lists(st.sampled_from([STAT, UIDL, LIST, CAPA, NOOP, retr(1), top(1, 0), dele(1)]), max_size=4)


def _outcome(commands: list[Command], segments: list[bytes], *, logged_in: bool) -> tuple[list[Event], str]:
    protocol = transaction() if logged_in else Pop3Protocol()
    if logged_in:
        for command in commands:
            protocol.send(command)
    found: list[Event] = []
    try:
        for event in events(protocol, segments):
            found.append(event)  # noqa: PERF402 - those before an error count
    except ProtocolError:
        return joined(iter(found)), "broken"
    return joined(iter(found)), protocol.state


@given(_wires, _commands, st.booleans())
def test_any_octets_give_events_or_a_protocol_error(wire: bytes, commands: list[Command], logged_in: bool) -> None:
    """And an end of the stream after them a NetworkError; nothing else, whatever the server sends."""
    protocol = transaction() if logged_in else Pop3Protocol()
    for command in commands if logged_in else []:
        protocol.send(command)
    raised: AccountError | None = None
    try:
        list(events(protocol, [wire]))
        protocol.receive_eof()
    except AccountError as error:
        raised = error
    assert protocol.state is State.CLOSED if raised is None else type(raised) in {ProtocolError, NetworkError}
    assert str(raised).isprintable()


@given(_wires, _commands, st.lists(st.integers(0, 60), max_size=5), st.booleans())
def test_events_do_not_depend_on_the_cut(
    wire: bytes, commands: list[Command], cuts: list[int], logged_in: bool
) -> None:
    """FAULTS 11-13: the same events and the same end; before an error, chunks may or may not have been given out."""
    one, how_one_ended = _outcome(commands, [wire], logged_in=logged_in)
    for segments in (cut_at(wire, cuts), octet_by_octet(wire)):
        other, how_other_ended = _outcome(commands, segments, logged_in=logged_in)
        assert how_other_ended == how_one_ended
        if how_one_ended == "broken":
            one = [event for event in one if not isinstance(event, ListLines | BodyChunk)]
            other = [event for event in other if not isinstance(event, ListLines | BodyChunk)]
        assert other == one
