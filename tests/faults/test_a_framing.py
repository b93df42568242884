"""FAULTS §2 A: where replies, lines and messages begin and end."""

import hashlib
import ssl
import time
from dataclasses import replace
from itertools import combinations

import pytest

from fetchd import events
from fetchd.errors import NetworkError, POP3Error, ProtocolError, Retry
from fetchd.model import Policy, SkipReason, Tls
from fetchd.pop3.transport import RECEIVE_OCTETS
from tests.faults.bench import KEEP, Bench, message, stored, uid
from tests.faults.bounds import MB, bounded
from tests.faults.server import Answer, FaultyServer, Session
from tests.faults.steps import GREETING, Cut, Drip, Flood, Honest
from tests.servers.scripted import Close, Goodbye, Reset, Silence


def lf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n")


# ── the greeting ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_silence_instead_of_a_greeting_ends_by_the_deadline(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 1: accept, silence."""
    server.faults[GREETING] = Silence()
    bench.fails(NetworkError, r"longer than 0\.2 s.*the greeting is incomplete", timeout=0.2, told=False)


def test_a_dripping_greeting_ends_by_the_deadline_of_the_session(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 2: each octet comes in time, the greeting as a whole never does."""
    server.faults[GREETING] = Drip(b"+OK aaaa", every=0.05)
    bench.fails(NetworkError, r"took longer than 0\.[56] s", timeout=0.5, session_timeout=0.6, told=False)


def test_an_endless_greeting_is_cut_at_the_limit(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 3: at 8 KiB, and nothing of it is kept."""
    server.faults[GREETING] = [b"+OK ", Flood(b"A" * 65536)]
    with bounded(8 * MB):
        bench.fails(ProtocolError, "a line is longer than 8192 octets", told=False)


@pytest.mark.parametrize(
    ("greeting", "retry"),
    [
        (b"-ERR [SYS/TEMP] try again", Retry.SOON),
        (b"-ERR [sys/temp] try again", Retry.SOON),
        (b"-ERR [SYS/PERM] you have no maildrop here", Retry.LATER),
        (b"-ERR [sys/perm]", Retry.LATER),
    ],
)
def test_a_refusal_in_the_greeting_says_when_to_come_back(
    bench: Bench, server: FaultyServer, greeting: bytes, retry: Retry
) -> None:
    """FAULTS 4: RFC 3206 codes, in any case."""
    server.faults[GREETING] = [greeting + b"\r\n", Close()]
    bench.fails(POP3Error, r"\[SYS/(TEMP|PERM)\]", retry=retry, told=False)


@pytest.mark.parametrize("code", [b"[SYS/TEMP]", b"[sys/perm]"])
def test_a_response_code_in_a_positive_reply_means_nothing(bench: Bench, server: FaultyServer, code: bytes) -> None:
    """FAULTS 4: tolerated inside ``+OK``, in every reply."""
    bench.fill(1)
    server.spell = lambda octets: octets.replace(b"+OK", b"+OK " + code, 1) if octets.startswith(b"+OK") else octets
    server.faults[b"STAT"] = b"+OK 1 9\r\n"
    bench.heals(1)


@pytest.mark.parametrize(
    ("greeting", "hint"),
    [
        (b"* OK IMAP4rev1 ready\r\n", "IMAP"),
        (b"220 mx.example.org ESMTP\r\n", "SMTP"),
        (b"HTTP/1.1 400 Bad Request\r\n", "web server"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"\x16\x03\x03\x00\x7a", "TLS"),
    ],
    ids=["imap", "smtp", "http", "ssh", "tls-alert", "tls-handshake"],
)
def test_another_protocol_is_named(bench: Bench, server: FaultyServer, greeting: bytes, hint: str) -> None:
    """FAULTS 5: the likely mistake, without a wait for more."""
    server.faults[GREETING] = [greeting, Silence()]
    bench.fails(ProtocolError, f"not a POP3 reply.*{hint}", told=False)


@pytest.mark.parametrize("place", ["greeting", "STAT", "RETR", "DELE"])
@pytest.mark.parametrize("word", ["+NOPE", "+O", "OK", "+OKAY"])
def test_a_status_that_is_neither_ok_nor_err_is_no_reply(
    bench: Bench, server: FaultyServer, word: str, place: str
) -> None:
    """FAULTS 6: at the greeting and in a session; nothing is delivered or deleted on its strength."""
    bench.fill(1)
    server.faults[place.encode()] = word.encode() + b" 1 9\r\n"
    bench.fails(ProtocolError, "not a POP3 reply", told=place != "greeting")
    assert server.deleted == []
    assert bench.mail() == (stored(1) if place == "DELE" else [])
    bench.heals(1)


@pytest.mark.parametrize("word", [b"+ok", b"+Ok", b"+OK"])
def test_a_bare_status_and_one_in_lower_case_are_accepted(bench: Bench, server: FaultyServer, word: bytes) -> None:
    """FAULTS 6: wherever a text may be left out."""
    bench.fill(1)
    server.spell = lambda octets: word + octets[octets.index(b"\r\n") :] if octets.startswith(b"+OK") else octets
    server.faults[b"STAT"] = word + b" 1 9\r\n"
    bench.poll()
    assert bench.mail() == stored(1)
    assert server.mail == []


# ── line ends ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_session_of_bare_lf_works_throughout(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 7: where the greeting ended in one."""
    bench.fill(1, 2)
    server.spell = lf
    bench.poll()
    assert bench.mail() == stored(1, 2)
    assert server.mail == []


@pytest.mark.parametrize(
    ("spell", "faults", "says"),
    [
        (lf, {b"STAT": b"+OK 1 9\r\n"}, "ends in CRLF"),
        (lf, {b"UIDL": b"+OK\n1 uid1\r\n.\n"}, "ends in CRLF"),
        (bytes, {b"STAT": b"+OK 1 9\n"}, "bare LF"),
        (bytes, {b"UIDL": b"+OK\r\n1 uid1\n.\r\n"}, "bare LF"),
        (bytes, {b"CAPA": b"+OK\r\nUIDL\n.\r\n"}, "bare LF"),
    ],
)
def test_line_ends_are_never_mixed(bench: Bench, server: FaultyServer, spell, faults, says: str) -> None:
    """FAULTS 7: a line that ends otherwise than the greeting did."""
    bench.fill(1)
    server.spell = spell
    server.faults |= faults
    bench.fails(ProtocolError, says)


@pytest.mark.parametrize(
    ("spell", "body"), [(lf, b"+OK\nabc\r\n.\r\n"), (bytes, b"+OK\r\nabc\n.\n")], ids=["crlf-in-lf", "lf-in-crlf"]
)
def test_a_message_does_not_end_in_the_other_line_end(bench: Bench, server: FaultyServer, spell, body: bytes) -> None:
    """FAULTS 7: it is incomplete then."""
    bench.fill(1)
    server.spell = spell
    server.faults[b"RETR"] = [body, Silence()]
    bench.fails(NetworkError, r"the reply to RETR 1 is incomplete", timeout=0.2)
    server.spell = bytes
    bench.heals(1)


# ── octets that do not belong there ──────────────────────────────────────────────────────────────────────────────

NASTY = b"\x1b[31mred\x07\xff\xfe\xc3\xa9\x9b2J\x7f \x1b]0;owned\x07"


@pytest.mark.parametrize("place", ["greeting", "PASS", "STAT", "UIDL"])
def test_terminal_controls_in_a_refusal_are_escaped(bench: Bench, server: FaultyServer, place: str) -> None:
    """FAULTS 8: in the error, the journal, JSON, the console, the store."""
    bench.fill(1)
    server.faults[place.encode()] = b"-ERR [SYS/TEMP] " + NASTY + b"\r\n"
    error = bench.fails(POP3Error, r"\\x1b\[31mred\\x07\\xff", told=place != "greeting")
    assert error.reply.text == NASTY


def test_terminal_controls_elsewhere_are_escaped(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 8: in capabilities, unique-ids, the refusal of a message, the answer to QUIT."""
    bench.fill(1)
    server.capabilities += [NASTY.decode("latin-1"), "X-" + NASTY.decode("latin-1")]
    server.mail.append((NASTY, message(2)))
    server.faults[b"RETR 1"] = b"-ERR " + NASTY + b"\r\n"
    server.faults[b"QUIT"] = [b"-ERR " + NASTY + b"\r\n", Close()]
    bench.poll()
    assert bench.mail() == stored(2)
    (skipped,) = bench.said(events.MessageSkipped)
    (unconfirmed,) = bench.said(events.DeletionUnconfirmed)
    for text in (skipped.text, unconfirmed.reason):
        assert r"\x1b[31mred" in text
        assert text.isprintable()


@pytest.mark.parametrize(
    ("place", "reply"),
    [
        (b"greeting", b"+OK re\0ady\r\n"),
        (b"STAT", b"+OK 1\0 9\r\n"),
        (b"CAPA", b"+OK\r\nUI\0DL\r\n.\r\n"),
        (b"UIDL", b"+OK\r\n1 uid\0one\r\n.\r\n"),
        (b"LIST", b"+OK\r\n1 9\0\r\n.\r\n"),
        (b"RETR", b"+OK \0\r\nabc\r\n.\r\n"),
    ],
)
def test_nul_in_a_line_is_an_error(bench: Bench, server: FaultyServer, place: bytes, reply: bytes) -> None:
    """FAULTS 9: in a status line, a unique-id, a capability."""
    bench.fill(1)
    server.faults[place] = reply
    bench.fails(ProtocolError, "holds NUL", told=place != b"greeting")
    assert bench.mail() == []


def test_nul_in_a_body_is_preserved(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 9: in header, body, at an end of line, alone."""
    body = b"Subject: a\0b\r\n\r\n\0\r\nx\0\0\r\n\0.\r\n"
    server.mail = [(b"u", body)]
    bench.poll()
    assert bench.mail() == [lf(body)]


@pytest.mark.parametrize("verb", ["greeting", "CAPA", "USER", "PASS", "STAT", "UIDL", "LIST", "RETR 1"])
@pytest.mark.parametrize("stray", [b"-ERR what?\r\n", b"+OK\r\n"], ids=["err", "ok"])
def test_octets_that_no_command_asked_for_shift_no_reply(
    bench: Bench, server: FaultyServer, verb: str, stray: bytes
) -> None:
    """FAULTS 10: a greeting of two lines, a reply that comes twice (CPython's test server sends -ERR and +OK)."""
    bench.fill(1, 2)
    server.faults[verb.encode()] = [Honest(held=True), stray]
    bench.fails(ProtocolError, "which no command asked for", told=verb != "greeting")
    assert server.deleted == []
    assert bench.mail() == [], "delivered, though the server is out of step"
    assert server.count(b"QUIT") == 0
    bench.heals(1, 2)


def test_octets_that_no_command_asked_for_after_dele_are_no_confirmation(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 10: QUIT is not sent then, so nothing is deleted; the next session does it."""
    bench.fill(1)
    server.faults[b"DELE"] = [Honest(held=True), b"+OK\r\n"]
    assert bench.poll().deleted == 0
    assert "which no command asked for" in bench.said(events.DeletionUnconfirmed)[0].reason
    assert (server.count(b"QUIT"), server.deleted) == (0, [])
    assert bench.heals(1).deleted == 1
    assert server.retrieved == [uid(1)]


@pytest.mark.parametrize("stray", [b"-ERR idle\r\n", b"+OK\r\n", b"-"])
def test_octets_that_come_later_shift_no_reply_either(bench: Bench, server: FaultyServer, stray: bytes) -> None:
    """FAULTS 10: in a segment of their own, while we are busy with something else."""
    bench.fill(1)

    def talk(session: Session) -> Answer:
        session.play(Honest(), b"LIST")
        session.wait_until_taken()
        return stray

    def busy(event: events.Event) -> None:
        if isinstance(event, events.LoggedIn):
            while not server.sessions[-1].unread_by_client():
                time.sleep(0.001)
        emit(event)

    emit = bench.world.emit
    bench.world = replace(bench.world, emit=busy)
    server.faults[b"LIST"] = talk
    bench.fails(ProtocolError, "which no command asked for")
    bench.world = replace(bench.world, emit=emit)
    bench.heals(1)


# ── segments ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_octet_a_segment(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 11: the whole session; each octet is read before the next is sent."""
    server.segment = 1
    server.mail = [(b"u", b"Subject: x\r\n\r\n.\r\n..dots\r\n")]
    bench.poll()
    assert bench.mail() == [b"Subject: x\n\n.\n..dots\n"]
    assert server.mail == []


def test_everything_in_one_segment(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 12: all replies to a window of commands at once."""
    server.capabilities.append("PIPELINING")
    bench.fill(*range(1, 11))
    for number in range(1, 10):
        server.faults[b"RETR %d" % number] = server.faults[b"DELE %d" % number] = Honest(held=True)
    bench.poll()
    assert bench.mail() == stored(*range(1, 11))
    assert server.mail == []


def test_the_terminator_may_be_cut_anywhere(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 13: CRLF . CRLF in two and in three segments, at every place."""
    places = range(6)
    cuts = [*combinations(places, 1), *combinations(places, 2)]
    for number, cut in enumerate(cuts, 1):
        bench.fill(number)
        server.faults[b"RETR %d" % number] = Honest(cuts=cut)
    bench.poll()
    assert bench.mail() == stored(*range(1, len(cuts) + 1))


# ── dots ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def raw(bench: Bench, body: bytes, stored_as: bytes, then: tuple[Answer, ...] = ()) -> None:
    """A maildrop of one message, which is sent as this."""
    bench.server.mail = [(b"u", b"")]
    bench.server.allow(b"u", stored_as)
    bench.server.faults[b"RETR"] = [b"+OK\r\n" + body, *then]


def test_stuffed_dots_are_taken_off(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 14: ``..`` is a dot, ``...`` two, ``.x`` is x."""
    raw(bench, b"..\r\n...\r\n.x\r\n..y\r\na.\r\na..b\r\n.\r\n", b".\n..\nx\n.y\na.\na..b\n")
    bench.poll()
    assert bench.mail() == [b".\n..\nx\n.y\na.\na..b\n"]


def test_a_dot_between_bare_lf_ends_nothing(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 15: any sender can write one; poplib ends the message there."""
    raw(bench, b"abc\n.\nDEF\r\n.\r\n", b"abc\n.\nDEF\n")
    bench.poll()
    assert bench.mail() == [b"abc\n.\nDEF\n"]


@pytest.mark.parametrize(
    ("inside", "kept"),
    [(b"\r.\r", b"\r.\r"), (b"\n.\r\n", b"\n.\n"), (b"\r\n.\r\r\n", b"\n\r\n"), (b"\r\n.\n", b"\n\n")],
    ids=["cr-dot-cr", "lf-dot-crlf", "crlf-dot-crcrlf", "crlf-dot-lf"],
)
def test_what_looks_like_a_terminator_ends_nothing(bench: Bench, inside: bytes, kept: bytes) -> None:
    """FAULTS 16: a line that begins with a dot and is not the dot alone loses that dot, as RFC 1939 §3 says."""
    raw(bench, b"abc" + inside + b"DEF\r\n.\r\n", b"abc" + kept + b"DEF\n")
    bench.poll()
    assert bench.mail() == [b"abc" + kept + b"DEF\n"]


def test_a_message_that_begins_with_a_dot(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 17: the first line follows the status line, in the same segment or not."""
    server.mail = [(b"one", b".first\r\nline\r\n"), (b"two", b".\r\n"), (b"three", b"..\r\n")]
    server.faults[b"RETR 2"] = Cut((b"+OK\r\n", b"..\r\n.\r\n"))
    bench.poll()
    assert bench.mail() == sorted([b".first\nline\n", b".\n", b"..\n"])


def test_dots_at_the_edge_of_the_read_buffer(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 17: the terminator, and a stuffed dot, half in one buffer and half in the next."""
    status = b"+OK %d octets\r\n"
    for number, before in enumerate([1, 2, 3, 4, 1, 2, 3], 1):
        body = b"x" * (RECEIVE_OCTETS - len(status % RECEIVE_OCTETS) - before)
        body += b"\r\n" if number <= 4 else b"\r\n.dot\r\n"
        server.mail.append((uid(number), body))
        whole = status % len(body) + body.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        assert whole[RECEIVE_OCTETS - before :].startswith(b"\r\n.\r\n" if number <= 4 else b"\r\n..")
        server.faults[b"RETR %d" % number] = Cut((whole[:RECEIVE_OCTETS], whole[RECEIVE_OCTETS:]))
    bodies = sorted(lf(body) for _, body in server.mail)
    bench.poll()
    assert bench.mail() == bodies


# ── messages that are strange, and whole ─────────────────────────────────────────────────────────────────────────


def test_an_empty_message_is_delivered(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 18: nothing of it is lost, and it does not come again."""
    raw(bench, b".\r\n", b"")
    assert bench.poll(policy=KEEP).delivered == 1
    assert bench.mail() == [b""]
    assert bench.poll(policy=KEEP).delivered == 0


def test_a_message_need_not_look_like_one(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 19: no header; no blank line; no line end at its end, where the terminator needs one."""
    server.mail = [(b"one", b"\r\nno header\r\n"), (b"two", b"no blank line\r\n"), (b"three", b"Subject: x\r\n\r\nend")]
    server.allow(b"three", b"Subject: x\n\nend\n")
    bench.poll()
    assert bench.mail() == sorted([b"\nno header\n", b"no blank line\n", b"Subject: x\n\nend\n"])


def test_a_dot_at_the_end_of_a_line_is_no_terminator(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 19: no line end before the dot, so the message is not at its end."""
    bench.fill(1)
    server.faults[b"RETR"] = [b"+OK\r\nabc.\r\n", Silence()]
    bench.fails(NetworkError, "the reply to RETR 1 is incomplete", timeout=0.2)
    bench.heals(1)


def test_a_line_of_100_mb_is_streamed(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 20: there is no limit to a line of a body, and no buffer for one."""
    piece, times = b"x" * 65536, 100 * MB // 65536
    server.mail = [(b"u", b"")]
    server.faults[b"RETR"] = [b"+OK\r\n", Flood(piece, times), b"\r\n.\r\n"]
    whole = hashlib.sha256()
    for _ in range(times):
        whole.update(piece)
    whole.update(b"\n")
    server.ever[b"u"] = {whole.digest()}
    with bounded(8 * MB):
        result = bench.poll()
    assert (result.delivered, result.octets, result.deleted) == (1, 100 * MB + 1, 1)
    bench.files()[0].unlink()  # pytest keeps directories of several runs


def test_an_endless_message_is_cut_at_max_size_and_the_rest_comes_first_next_time(
    bench: Bench, server: FaultyServer
) -> None:
    """FAULTS 21: octets are counted, whatever LIST says; neither recorded nor deleted, and it holds up no other."""
    bench.fill(1, 2, 3)
    server.faults[b"RETR 1"] = [b"+OK\r\n", Flood(b"x" * 1022 + b"\r\n")]
    policy = Policy(delete_after=0, max_size=100_000)
    with bounded(8 * MB):
        bench.fails(ProtocolError, "message 1 is longer than max_size", policy=policy)
    assert (bench.mail(), server.deleted) == ([], [])
    assert bench.poll(policy=policy).skipped == {SkipReason.TROUBLED: 1}
    assert (bench.mail(), server.uids) == (stored(2, 3), [uid(1)])
    bench.fails(ProtocolError, "message 1 is longer than max_size", policy=policy)
    bench.fill(4)
    assert bench.poll(policy=policy).skipped == {SkipReason.TROUBLED: 1}
    assert (bench.mail(), server.uids) == (stored(2, 3, 4), [uid(1)])
    assert server.retrieved == [uid(2), uid(3), uid(4)]
    bench.heals(1, 2, 3, 4)


# ── messages that are not whole ──────────────────────────────────────────────────────────────────────────────────

CUT_OFF = [b"", b"Subject: x\r\n\r\nhal", b"Subject: x\r\n\r\nhalf\r\n", b"half\r\n.", b"half\r\n.\r"]
CUT_OFF_IDS = ["at-once", "in-a-line", "after-a-line", "after-the-dot", "before-the-last-octet"]


def cut_off(bench: Bench, body: bytes, ending: Answer, says: str, **changes) -> None:
    """The second of three messages is cut off: the first is delivered, nothing is deleted, and all come in the end."""
    bench.fill(1, 2, 3)
    bench.server.faults[b"RETR 2"] = [b"+OK\r\n" + body, ending]
    bench.fails(NetworkError, says, **changes)
    assert (bench.mail(), bench.server.deleted) == (stored(1), [])
    assert all(session.late == b"" for session in bench.server.sessions), "said after the line was broken"
    bench.heals(1, 2, 3, **changes)
    assert sorted(bench.server.retrieved) == [uid(1), uid(2), uid(3)]


@pytest.mark.parametrize("body", CUT_OFF, ids=CUT_OFF_IDS)
def test_a_message_cut_off_by_eof_is_none(bench: Bench, body: bytes) -> None:
    """FAULTS 22: wherever it is cut."""
    cut_off(bench, body, Close(), "closed the connection: the reply to RETR 2 is incomplete")


@pytest.mark.parametrize("body", CUT_OFF, ids=CUT_OFF_IDS)
def test_a_message_cut_off_by_rst_is_none(bench: Bench, body: bytes) -> None:
    """FAULTS 23: likewise."""
    cut_off(bench, body, Reset(), "reset by peer: the reply to RETR 2 is incomplete")


@pytest.mark.parametrize("body", CUT_OFF, ids=CUT_OFF_IDS)
def test_a_message_cut_off_by_a_valid_end_of_tls_is_none(
    bench: Bench, server: FaultyServer, body: bytes, implicit: Tls, good_context: ssl.SSLContext
) -> None:
    """FAULTS 24: close_notify says that the stream is whole, not that the message is."""
    server.tls = good_context
    cut_off(bench, body, Goodbye(), "closed the connection: the reply to RETR 2 is incomplete", tls=implicit)


@pytest.mark.parametrize("body", CUT_OFF, ids=CUT_OFF_IDS)
def test_a_message_cut_off_by_the_end_of_tcp_under_tls_is_none(
    bench: Bench, server: FaultyServer, body: bytes, implicit: Tls, good_context: ssl.SSLContext
) -> None:
    """FAULTS 25: no close_notify; Python's ``suppress_ragged_eofs`` would hide it."""
    server.tls = good_context
    cut_off(bench, body, Close(), "the TLS stream was cut off: the reply to RETR 2 is incomplete", tls=implicit)


def test_an_error_in_the_middle_of_a_message_and_the_end_leave_it_incomplete(
    bench: Bench, server: FaultyServer
) -> None:
    """FAULTS 26: the server's words are part of a message that never ends."""
    cut_off(bench, b"Subject: x\r\n\r\nha-ERR disk error\r\n", Close(), "the reply to RETR 2 is incomplete")


def test_a_message_of_another_size_than_listed_is_warned_of(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 26: the error in its middle, and then a terminator: only the size tells that something is wrong."""
    bench.fill(1, 2, 3)
    server.allow(uid(2), b"Subject: 2\n\nBo-ERR disk error\n")
    server.faults[b"RETR 2"] = b"+OK\r\nSubject: 2\r\n\r\nBo-ERR disk error\r\n.\r\n"
    bench.poll()
    assert bench.said(events.SizesDiffer) == [events.SizesDiffer("alice", 1, of=3)]
    assert any('"level":"warning"' in line.replace(" ", "") for line in bench.log if "sizes_differ" in line)


def test_a_message_that_is_refused_is_skipped(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 27: counted, told, left on the server; the others come, and it comes when nothing else is left to do."""
    bench.fill(1, 2, 3)
    server.faults[b"RETR 2"] = b"-ERR [SYS/TEMP] cannot open message\r\n"
    result = bench.poll()
    assert (result.delivered, result.deleted, result.skipped) == (2, 2, {SkipReason.REFUSED: 1})
    assert b'fetchd_messages_skipped_total{account="alice",reason="refused"} 1' in bench.metrics.render()
    (skipped,) = bench.said(events.MessageSkipped)
    assert (skipped.uid, "cannot open message" in skipped.text) == (uid(2), True)
    assert server.uids == [uid(2)]
    server.faults.clear()
    bench.fill(4)
    assert bench.poll().skipped == {SkipReason.TROUBLED: 1}
    assert bench.mail() == stored(1, 3, 4)
    bench.heals(1, 2, 3, 4)
    assert server.retrieved[-2:] == [uid(4), uid(2)]
