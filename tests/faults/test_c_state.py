"""FAULTS §2 C: what a session remembers, several commands in flight, and what becomes of DELE."""

import socket
import ssl
from contextlib import suppress

import pytest

from fetchd import events
from fetchd.errors import NetworkError, POP3Error, ProtocolError
from fetchd.model import SkipReason, Tls
from tests.faults.bench import KEEP, MOST_POLLS, Bench, message, stored, uid
from tests.faults.server import Answer, FaultyServer, Session
from tests.faults.steps import Honest, listed, verb_of
from tests.servers.scripted import Close, Reset, Silence

TEN = range(1, 11)
PROVEN = (1, 3, 7, 10)
"""Of ten messages, those behind which the server is asked for proof that it is in step: after 1, 2, 4, … more."""


@pytest.fixture
def pipelining(server: FaultyServer) -> FaultyServer:
    """A server that takes commands in flight."""
    server.capabilities.append("PIPELINING")
    return server


# ── capabilities ─────────────────────────────────────────────────────────────────────────────────────────────────

MECHANISMS = b"SASL " + b" ".join(b"MECHANISM-%d" % n for n in range(60))


@pytest.mark.parametrize(
    "reply",
    [
        b"-ERR unknown command\r\n",
        listed(),
        listed(b"UIDL", b"UIDL", b"uidl", b"USER", b"USER", b"TOP x", b"TOP y"),
        listed(b"", b"   ", b"\xff\xfe", b"= =", b"\x1b[2J", b"USER"),
        listed(b"USER", MECHANISMS, MECHANISMS),
    ],
    ids=["refused", "empty", "duplicates", "garbage", "60-mechanisms"],
)
def test_whatever_capa_says_the_mail_comes(bench: Bench, server: FaultyServer, reply: bytes) -> None:
    """FAULTS 45: nothing that is needed hangs on it."""
    bench.fill(1)
    server.faults[b"CAPA"] = reply
    bench.poll()
    assert bench.mail() == stored(1)
    assert server.mail == []


@pytest.mark.parametrize("names", [300, 900])
def test_many_capabilities_do_not_fill_the_log(bench: Bench, server: FaultyServer, names: int) -> None:
    """FAULTS 45: of a server's text at most 200 octets are repeated."""
    bench.fill(1)
    server.faults[b"CAPA"] = listed(b"USER", *(b"X%d-" % n + b"x" * 190 for n in range(names)))
    with suppress(ProtocolError):
        bench.poll()
    bench.always()


@pytest.mark.parametrize("lines", [12, 200])
def test_many_parameters_do_not_stop_the_clock(bench: Bench, server: FaultyServer, lines: int) -> None:
    """FAULTS 45: a limit, or linear time; deadlines are not looked at while a reply is parsed."""
    bench.fill(1)
    words = [b"SASL " + b" ".join(b"%x" % (line * 1000 + n) for n in range(1000)) for line in range(lines)]
    server.faults[b"CAPA"] = listed(b"USER", *words)
    bench.patience = 3.0
    with suppress(ProtocolError):
        bench.poll()
    bench.always()


def test_capabilities_are_forgotten_after_stls(
    bench: Bench, server: FaultyServer, starttls: Tls, good_context: ssl.SSLContext
) -> None:
    """FAULTS 46: what was said in plain text may come from anybody (RFC 2595 §4)."""
    server.stls = good_context
    bench.fill(*TEN)
    server.faults[b"CAPA"] = lambda session: (
        Honest() if session.over_tls else listed(b"STLS", b"USER", b"PIPELINING", b"X-PLAIN")
    )
    bench.poll(tls=starttls)
    assert bench.mail() == stored(*TEN)
    (session,) = server.sessions
    assert session.waiting == 0, "commands in flight, which only the plain line offered"
    assert session.lines.index(b"STLS") < len(session.lines) - 1 - session.lines[::-1].index(b"CAPA")
    assert "X-PLAIN" not in bench.said(events.LoggedIn)[0].capabilities


def test_capabilities_are_forgotten_after_the_login(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 46: and asked again (RFC 2449 §5: they may change there), with the listing on the same trip."""
    bench.fill(*TEN)
    server.faults[b"CAPA"] = lambda session: (
        Honest() if any(line.startswith(b"PASS") for line in session.lines) else listed(b"USER", b"PIPELINING", b"X-1")
    )
    bench.poll()
    (session,) = server.sessions
    assert session.waiting == len((b"STAT", b"UIDL", b"LIST")), "more than the listing in flight"
    assert bench.said(events.LoggedIn)[0].capabilities == ("TOP", "UIDL", "USER")


# ── commands in flight ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_drops_input_is_served_in_lock_step(bench: Bench, pipelining: FaultyServer) -> None:
    """FAULTS 47: one session ends by its deadline; the next one knows better."""
    pipelining.drops_input = True
    bench.fill(*TEN)
    bench.fails(NetworkError, "is incomplete", timeout=0.3)
    bench.poll()
    assert bench.mail() == stored(*TEN)
    assert pipelining.sessions[1].waiting == 0
    bench.fill(11, 12)
    bench.poll()
    assert pipelining.sessions[2].waiting == 0


def proven_before(place: int) -> range:
    """Returns which of ten messages are proven to be what they are when the session breaks at this one."""
    return range(1, max((number for number in PROVEN if number < place), default=0) + 1)


@pytest.mark.parametrize("ending", [Close(), Reset()], ids=["close", "reset"])
@pytest.mark.parametrize("place", [1, 2, 5, 10])
def test_a_server_that_leaves_among_commands_in_flight(
    bench: Bench, pipelining: FaultyServer, place: int, ending: Answer
) -> None:
    """FAULTS 48: what was proven before it is delivered, the rest next time, nothing twice."""
    bench.fill(*TEN)
    pipelining.faults[b"RETR %d" % place] = ending
    bench.fails(NetworkError, f"the reply to RETR {place} is incomplete" if ending == Close() else "")
    if ending == Close():
        assert bench.mail() == stored(*proven_before(place))
    assert pipelining.deleted == []
    bench.heals(*TEN)


def test_a_refusal_among_commands_in_flight_concerns_that_message_only(bench: Bench, pipelining: FaultyServer) -> None:
    """FAULTS 49: the ninth of ten others is the tenth message."""
    bench.fill(*TEN)
    pipelining.faults[b"RETR 3"] = b"-ERR no such message\r\n"
    result = bench.poll()
    assert (result.delivered, result.skipped) == (9, {SkipReason.REFUSED: 1})
    assert bench.mail() == stored(*(n for n in TEN if n != 3))
    assert pipelining.uids == [uid(3)]
    assert pipelining.sessions[0].waiting > 0, "nothing was in flight"
    bench.heals(*TEN)


TOO_MANY_OR_FEW: dict[str, Answer] = {
    "err-too-many": [Honest(held=True), b"-ERR what?\r\n"],
    "ok-too-many": [Honest(held=True), b"+OK\r\n"],
    "twice": [Honest(held=True), Honest()],
    "too-few": [],
}


def shifts_nothing(bench: Bench, fault: Answer, verb: str, *numbers: int) -> None:
    """No message is recorded under the unique-id of another, and none is deleted for it."""
    bench.fill(*numbers)
    bench.server.faults[verb.encode()] = fault
    with suppress(ProtocolError, NetworkError, POP3Error):
        bench.poll(timeout=0.3)
    bench.always()
    assert bench.server.deleted == []
    bench.heals(*numbers)


@pytest.mark.parametrize("verb", ["STAT", "UIDL", "LIST", "RETR 1", "RETR 3", "RETR 10", "LIST 1", "LIST 3", "LIST 10"])
@pytest.mark.parametrize("fault", TOO_MANY_OR_FEW)
def test_a_reply_too_many_or_too_few_shifts_nothing_in_flight(
    bench: Bench, pipelining: FaultyServer, verb: str, fault: str
) -> None:
    """FAULTS 50: messages of different sizes."""
    shifts_nothing(bench, TOO_MANY_OR_FEW[fault], verb, *TEN)


@pytest.mark.parametrize("verb", ["RETR 1", "RETR 2", "RETR 3", "RETR 9", "LIST 1", "LIST 3"])
@pytest.mark.parametrize("fault", TOO_MANY_OR_FEW)
def test_a_reply_too_many_or_too_few_shifts_nothing_of_the_same_size(
    bench: Bench, pipelining: FaultyServer, verb: str, fault: str
) -> None:
    """FAULTS 50: reports, say, that differ in a date: what LIST announced says nothing of their order."""
    shifts_nothing(bench, TOO_MANY_OR_FEW[fault], verb, *range(1, 10))


@pytest.mark.parametrize("fault", [[Honest(held=True), b"-ERR what?\r\n"], [Honest(held=True), Honest()], []])
def test_a_reply_too_many_or_too_few_shifts_nothing_in_lock_step(
    bench: Bench, server: FaultyServer, fault: Answer
) -> None:
    """FAULTS 50: too many is an error, too few the end by the deadline."""
    bench.fill(*TEN)
    server.faults[b"RETR 3"] = fault
    bench.fails(ProtocolError if fault else NetworkError, "no command asked for|incomplete", timeout=0.3)
    assert bench.mail() == stored(*proven_before(3))
    bench.heals(*TEN)


@pytest.mark.parametrize("lock_step", [True, False], ids=["lock-step", "in-flight"])
@pytest.mark.parametrize(
    "reply", [b"-ERR unknown command\r\n", b"+OK\r\n", b"+OK message follows\r\n"], ids=["refused", "bare", "words"]
)
def test_a_server_that_proves_nothing_is_asked_otherwise(
    bench: Bench, pipelining: FaultyServer, reply: bytes, lock_step: bool
) -> None:
    """FAULTS 50: LIST for one message is refused, or names none: a NOOP at the end has to be answered once."""
    if lock_step:
        pipelining.capabilities.remove("PIPELINING")
    bench.fill(*TEN)
    pipelining.faults |= {b"LIST %d" % number: reply for number in TEN}
    assert bench.poll().deleted == len(TEN)
    assert bench.mail() == stored(*TEN)
    assert pipelining.count(b"NOOP") == 1


@pytest.mark.parametrize("verb", ["RETR 1", "RETR 3", "RETR 9"])
@pytest.mark.parametrize("fault", TOO_MANY_OR_FEW)
def test_without_proof_a_reply_too_many_or_too_few_shifts_nothing_either(
    bench: Bench, pipelining: FaultyServer, verb: str, fault: str
) -> None:
    """FAULTS 50: where LIST for one message is refused, of messages of one size."""
    pipelining.faults |= {b"LIST %d" % number: b"-ERR unknown command\r\n" for number in TEN}
    shifts_nothing(bench, TOO_MANY_OR_FEW[fault], verb, *range(1, 10))


def test_a_proof_that_names_another_message_is_none(bench: Bench, pipelining: FaultyServer) -> None:
    """FAULTS 50: what came since the last proof is not delivered."""
    bench.fill(*TEN)
    pipelining.faults[b"LIST 7"] = b"+OK 6 22\r\n"
    bench.fails(ProtocolError, "reply to LIST 7.*names another message")
    assert (bench.mail(), pipelining.deleted) == (stored(1, 2, 3), [])
    bench.heals(*TEN)


@pytest.mark.parametrize("fault", ["twice", "too-few"])
def test_what_was_not_proven_makes_no_message_known(bench: Bench, pipelining: FaultyServer, fault: str) -> None:
    """FAULTS 50: not even where the next listing is empty and the one after it is not (FAULTS 42)."""
    bench.fill(1, 2, 3)
    pipelining.faults[b"RETR 2"] = TOO_MANY_OR_FEW[fault]
    with suppress(ProtocolError, NetworkError):
        bench.poll(timeout=0.3)
    bench.always()
    assert bench.mail() == stored(1)
    pipelining.faults = {b"UIDL": listed()}
    polls = 0
    while pipelining.mail and polls < MOST_POLLS:
        bench._poll({})  # whatever becomes of the file that was not proven
        pipelining.faults.clear()
        polls += 1
    missing = {*stored(1, 2, 3)} - {*bench.mail()}
    assert not missing, f"deleted on the server, and never delivered: {missing}"


def test_full_windows_both_ways_do_not_block(narrow: Bench) -> None:
    """FAULTS 51: the server reads no command while it sends a message that nobody takes."""
    many = range(1, 2001)
    narrow.fill(*many)
    narrow.poll(timeout=5.0)
    assert len(narrow.files()) == len(many)
    assert narrow.server.mail == []


def test_nothing_is_in_flight_across_stls_and_login(
    bench: Bench, pipelining: FaultyServer, starttls: Tls, good_context: ssl.SSLContext
) -> None:
    """FAULTS 52: the server waits before it answers STLS and PASS, and nothing more comes."""
    pipelining.stls = good_context
    pipelining.linger = 0.1
    bench.fill(*TEN)
    bench.poll(tls=starttls)
    assert bench.mail() == stored(*TEN)
    assert pipelining.sessions[0].waiting > 0, "nothing was in flight elsewhere"


# ── RST at every step ────────────────────────────────────────────────────────────────────────────────────────────


def test_rst_at_connect(bench: Bench) -> None:
    """FAULTS 53: nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    bench.fails(NetworkError, f"127.0.0.1:{port}: cannot connect: .*refused", told=False, port=port)


@pytest.mark.parametrize("step", ["greeting", "CAPA", "STLS", "handshake", "USER", "PASS", "STAT", "UIDL", "LIST"])
def test_rst_before_the_first_message(
    bench: Bench, server: FaultyServer, step: str, starttls: Tls, good_context: ssl.SSLContext
) -> None:
    """FAULTS 53: at each step on the way there."""
    server.stls = good_context
    bench.fill(1, 2)
    verb = b"STLS" if step == "handshake" else step.encode()
    server.faults[verb] = [b"+OK\r\n", Reset()] if step == "handshake" else Reset()
    told = step not in {"greeting", "CAPA", "STLS", "handshake"}
    error = bench.fails(NetworkError, "reset by peer", tls=starttls, told=told)
    assert step in {"greeting", "handshake"} or verb.decode() in str(error)
    assert (bench.mail(), server.deleted) == ([], [])
    server.settle()
    bench.heals(1, 2, tls=starttls)


@pytest.mark.parametrize(
    "reply", [b"", b"+OK 99 oct", b"+OK 99 octets\r\n", b"+OK\r\nSubject: x\r\n\r\nha"], ids=["", "status", "", "body"]
)
def test_rst_at_retr(bench: Bench, server: FaultyServer, reply: bytes) -> None:
    """FAULTS 53: in its status line and in its body."""
    bench.fill(1, 2, 3)
    server.faults[b"RETR 2"] = [reply, Reset()]
    bench.fails(NetworkError, "reset by peer: the reply to RETR 2 is incomplete")
    assert (bench.mail(), server.deleted) == (stored(1), [])
    bench.heals(1, 2, 3)


@pytest.mark.parametrize("step", ["DELE 1", "DELE 2", "QUIT"])
def test_rst_at_dele_and_quit(bench: Bench, server: FaultyServer, step: str) -> None:
    """FAULTS 53: nothing is deleted, as far as we know; the next session does it, and fetches nothing again."""
    bench.fill(1, 2)
    server.faults[step.encode()] = Reset()
    if step == "QUIT":
        assert bench.poll().deleted == 0
        assert bench.said(events.DeletionUnconfirmed)[0].count == 2
    else:
        bench.fails(NetworkError, f"reset by peer: the reply to {step} is incomplete")
    assert bench.mail() == stored(1, 2)
    assert bench.heals(1, 2).deleted == 2
    assert server.retrieved == [uid(1), uid(2)]


# ── DELE and what becomes of it ──────────────────────────────────────────────────────────────────────────────────


def test_a_refused_dele_is_asked_again_next_time(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 54: the message is known, so it is not fetched again."""
    bench.fill(1, 2)
    server.faults[b"DELE 1"] = b"-ERR read-only\r\n"
    assert bench.poll().deleted == 1
    assert server.uids == [uid(1)]
    assert bench.heals(1, 2).deleted == 1
    assert server.retrieved == [uid(1), uid(2)]


def test_a_refused_quit_is_no_confirmation(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 55: some deleted messages not removed (RFC 1939 §6): which, the next listing tells."""
    bench.fill(1, 2)
    server.faults[b"QUIT"] = [b"-ERR some deleted messages not removed\r\n", Close()]
    assert bench.poll().deleted == 0
    (unconfirmed,) = bench.said(events.DeletionUnconfirmed)
    assert "some deleted messages not removed" in unconfirmed.reason
    del server.mail[0]
    assert bench.heals(1, 2).deleted == 1
    assert server.retrieved == [uid(1), uid(2)]


@pytest.mark.parametrize("happened", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("ending", [Close(), Reset(), Silence()], ids=["close", "reset", "silence"])
def test_a_lost_answer_to_quit_is_settled_by_the_next_listing(
    bench: Bench, server: FaultyServer, ending: Answer, happened: bool
) -> None:
    """FAULTS 56: deleted or not, nothing is fetched again."""
    bench.fill(1, 2)
    server.faults[b"QUIT"] = [*([Honest(send=False)] if happened else []), ending]
    assert bench.poll(timeout=0.3).deleted == 0
    assert bench.said(events.DeletionUnconfirmed)[0].count == 2
    assert server.uids == ([] if happened else [uid(1), uid(2)])
    bench.fill(3)
    bench.heals(1, 2, 3)
    assert server.retrieved == [uid(1), uid(2), uid(3)]


def test_without_quit_nothing_is_deleted(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 57: the line is lost after DELE was confirmed: no UPDATE state (RFC 1939 §6)."""
    bench.fill(1, 2)
    server.faults[b"DELE 2"] = [Honest(), Close()]
    assert bench.poll().deleted == 0
    assert server.uids == [uid(1), uid(2)]
    assert bench.heals(1, 2).deleted == 2
    assert server.retrieved == [uid(1), uid(2)]


def test_a_server_that_deletes_on_retr_is_asked_for_one_at_a_time(bench: Bench, pipelining: FaultyServer) -> None:
    """FAULTS 58: EXPIRE 0 (RFC 2449 §6.7): the next RETR only once the last message is in the Maildir."""
    pipelining.capabilities.append("EXPIRE 0")
    bench.fill(1, 2, 3)
    unsafe: list[bytes] = []

    def retrieve(session: Session) -> Answer:
        number = int(session.lines[-1].split()[1])
        if any(verb_of(line) == b"RETR" for line in session.ahead) or len(bench.files()) < number - 1:
            unsafe.append(session.lines[-1])
        return Honest()

    pipelining.faults[b"RETR"] = retrieve
    bench.poll()
    assert bench.mail() == stored(1, 2, 3)
    assert unsafe == []


@pytest.mark.parametrize("verb", [b"STAT", b"UIDL", b"LIST"])
def test_mail_that_arrives_between_two_commands(bench: Bench, server: FaultyServer, verb: bytes) -> None:
    """FAULTS 59: comes now, or next time; once."""
    bench.fill(1, 2)

    def arrive(session: Session) -> Answer:
        session.play(Honest(), verb)
        session.mail.append((uid(3), message(3)))
        server.mail.append((uid(3), message(3)))
        server.allow(uid(3), *stored(3))
        return b""

    server.faults[verb] = arrive
    bench.poll()
    assert bench.mail() == (stored(1, 2, 3) if verb == b"STAT" else stored(1, 2))
    bench.heals(1, 2, 3)
    assert server.retrieved == [uid(1), uid(2), uid(3)]


def test_mail_that_is_never_deleted_is_asked_for_once_a_session(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 60: DELE and QUIT are confirmed, and the mail is still there: no loop, no second copy."""
    bench.fill(1, 2)
    server.faults[b"QUIT"] = [b"+OK bye\r\n", Close()]
    for sessions in range(1, 4):
        bench.poll()
        assert (server.count(b"DELE"), len(server.sessions)) == (2 * sessions, sessions)
    assert server.retrieved == [uid(1), uid(2)]
    assert bench.mail() == stored(1, 2)


def test_octets_of_another_message_are_warned_of(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 61: RETR 1 gives the octets of message 2: the session goes on, and only the size can tell."""
    server.mail = [(uid(1), b"x" * 500 + b"\r\n"), (uid(2), message(2))]
    server.allow(uid(1), *stored(2))
    server.faults[b"RETR 1"] = lambda session: session.honest(b"RETR 2")
    bench.poll(policy=KEEP)
    assert bench.mail() == stored(2, 2)
    assert bench.said(events.SizesDiffer) == [events.SizesDiffer("alice", 1, of=2)]
