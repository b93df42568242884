"""FAULTS §2 B: numbers, listings, unique-ids."""

import pytest

from fetchd.errors import NetworkError, PolicyError, ProtocolError, Retry, UniqueIdsChangedError
from fetchd.model import FirstPoll, Policy, SkipReason
from tests.faults.bench import KEEP, Bench, message, stored, uid
from tests.faults.bounds import BOUND, MB, bounded, bounded_resident, resident
from tests.faults.server import Answer, FaultyServer, Session
from tests.faults.steps import listed
from tests.servers.scripted import Close

DAY = 86400
HUGE = b"1" + b"0" * 30


# ── STAT ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        b"7",
        b"seven 1",
        b"7 #octets",
        b"-1 5",
        b"1 " + HUGE,
        b"1" * 5000 + b" 1",
        b"0x1 5",
        "٣ 5".encode(),
        b"",
        b"1 -5",
    ],
    ids=["one", "words", "hash", "negative", "10^30", "5000-digits", "hex", "arabic", "none", "negative-size"],
)
def test_stat_without_two_numbers_is_an_error(bench: Bench, server: FaultyServer, text: bytes) -> None:
    """FAULTS 28: ``[0-9]{1,19}`` on octets, and nothing else."""
    bench.fill(1)
    server.faults[b"STAT"] = b"+OK " + text + b"\r\n"
    bench.fails(ProtocolError, "in the reply to STAT")
    assert (bench.mail(), server.deleted) == ([], [])
    bench.heals(1)


# ── LIST ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [b"0", b"1", HUGE, b"-1", b"9999999999999999999"])
def test_sizes_that_lie_change_nothing(bench: Bench, server: FaultyServer, size: bytes) -> None:
    """FAULTS 29: they allocate nothing, and end no message."""
    bench.fill(1)
    server.faults[b"LIST"] = listed(b"1 " + size)
    with bounded(8 * MB):
        bench.poll()
    assert bench.mail() == stored(1)
    assert server.mail == []


@pytest.mark.parametrize("size", [b"0", b"1", b"-1"])
def test_sizes_that_lie_let_nothing_through(bench: Bench, server: FaultyServer, size: bytes) -> None:
    """FAULTS 29: octets are counted."""
    server.mail = [(b"u", b"x" * 5000 + b"\r\n")]
    server.faults[b"LIST"] = listed(b"1 " + size)
    bench.fails(ProtocolError, "longer than max_size", policy=Policy(delete_after=0, max_size=1000))
    assert (bench.mail(), server.deleted) == ([], [])


@pytest.mark.parametrize(
    "lines",
    [
        (b"1 9", b"2 9", b"4 9"),
        (b"4 9", b"1 9", b"2 9"),
        (b"1", b"2 ", b"4 9"),
        (b"1 9", b"2 9", b"4 9", b"77 9"),
        (),
    ],
    ids=["gap", "order", "no-size", "beyond-stat", "nothing"],
)
def test_a_listing_may_be_strange(bench: Bench, server: FaultyServer, lines: tuple[bytes, ...]) -> None:
    """FAULTS 30: what UIDL names is there, and is fetched by its number; LIST says how large it may be."""
    bench.fill(1, 2, 3, 4)
    server.faults[b"STAT"] = b"+OK 3 99\r\n"
    server.faults[b"UIDL"] = listed(b"4 uid4", b"1 uid1", b"2 uid2")
    server.faults[b"LIST"] = listed(*lines)
    bench.poll()
    assert bench.mail() == stored(1, 2, 4)
    assert server.uids == [uid(3)]


@pytest.mark.parametrize("verb", ["UIDL", "LIST"])
@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((b"1 9", b"2 9", b"1 8"), "listed twice"),
        ((b"0 9", b"1 9"), "no message number"),
        ((b"-1 9", b"1 9"), "no message number"),
        ((HUGE + b" 9",), "no message number"),
        ((b"\xd9\xa3 9",), "no message number"),
        ((b"",), "no (message number|unique-id)"),
    ],
    ids=["duplicate", "zero", "negative", "10^30", "arabic", "empty"],
)
def test_a_message_number_that_is_none_is_an_error(
    bench: Bench, server: FaultyServer, lines: tuple[bytes, ...], says: str, verb: str
) -> None:
    """FAULTS 30: for we should ask by it."""
    bench.fill(1, 2)
    server.faults[verb.encode()] = listed(*lines)
    bench.fails(ProtocolError, f"in the reply to {verb}: .*{says}")
    bench.heals(1, 2)


@pytest.mark.parametrize("lines", [0, 1, 3])
def test_a_listing_of_another_length_than_announced(bench: Bench, server: FaultyServer, lines: int) -> None:
    """FAULTS 31: the lines count, not ``+OK 2 messages``; whatever is not listed stays, and comes later."""
    bench.fill(1, 2, 3)
    server.faults[b"STAT"] = b"+OK 2 18\r\n"
    for verb, what in ((b"UIDL", b"%d uid%d"), (b"LIST", b"%d 9%d")):
        rows = b"".join(what % (n, n) + b"\r\n" for n in range(1, lines + 1))
        server.faults[verb] = b"+OK 2 messages\r\n" + rows + b".\r\n"
    bench.poll()
    assert bench.mail() == stored(*range(1, lines + 1))
    bench.heals(1, 2, 3)


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("CAPA", b"X-%d\r\n"),
        ("CAPA", b"X-%d " + b"word " * 1600 + b"\r\n"),
        ("UIDL", b"%d u\r\n"),
        ("UIDL", b"%d " + b"u" * 8000 + b"\r\n"),
        ("LIST", b"%d 1\r\n"),
        ("LIST", b"%d 1 " + b"x" * 8000 + b"\r\n"),
        ("LIST", b"%d 1" + b"x" * 9000 + b"\r\n"),
    ],
    ids=["capa", "capa-wide", "uidl", "uidl-wide", "list", "list-wide", "list-line"],
)
def test_an_endless_list_is_cut_at_the_limit(bench: Bench, server: FaultyServer, verb: str, line: bytes) -> None:
    """FAULTS 32: in lines, in octets, in octets of a line; and what it made us hold is bounded."""
    bench.fill(1)
    server.faults[verb.encode()] = endless(line)
    with bounded_resident():
        bench.fails(ProtocolError, "longer than")
    bench.heals(1)


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("UIDL", b"%d u\r\n"),
        ("UIDL", b"%d " + b"u" * 32 + b"\r\n"),
        ("UIDL", b"%d " + b"u" * 8000 + b"\r\n"),
        ("LIST", b"%d 1\r\n"),
    ],
    ids=["uidl", "uidl-32", "uidl-wide", "list"],
)
def test_an_endless_list_that_was_announced_is_cut_at_the_limit(
    bench: Bench, server: FaultyServer, verb: str, line: bytes
) -> None:
    """FAULTS 32: who lies in UIDL may lie in STAT too."""
    bench.fill(1)
    server.faults[b"STAT"] = b"+OK 9999999999999999999 1\r\n"
    server.faults[verb.encode()] = endless(line)
    with bounded_resident():
        bench.fails(ProtocolError, "longer than")
    bench.heals(1)


def test_two_lists_as_long_as_may_be_are_within_the_bound(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 32, 44: a million messages as they may really be, of which as much is held as of any; then a lie."""
    bench.fill(1)
    server.faults[b"STAT"] = b"+OK 1000000 1\r\n"
    server.faults[b"UIDL"] = many_lines(b"%d " + b"u" * 32 + b"\r\n", 1_000_000)
    server.faults[b"LIST"] = endless(b"%d 4096\r\n")
    with bounded_resident():
        bench.fails(ProtocolError, "in the reply to LIST: the list is longer than")
    bench.heals(1)


def many_lines(line: bytes, count: int) -> Answer:
    """A list with an end."""

    def answer(session: Session) -> Answer:
        session.send(b"+OK\r\n")
        for start in range(1, count + 1, 1000):
            session.send(b"".join([line % number for number in range(start, min(start + 1000, count + 1))]))
        return b".\r\n"

    return answer


def endless(line: bytes) -> Answer:
    """A list whose lines have ever other numbers; without a number twice, which would end it."""

    def answer(session: Session) -> Answer:
        session.send(b"+OK\r\n")
        most = resident() + 2 * BOUND
        many = max(1, 65536 // len(line))
        for start in range(1, 10**9, many):
            session.send(b"".join([line % number for number in range(start, start + many)]))
            if resident() > most:
                raise AssertionError("the client holds more than it may by far")
        raise AssertionError("the client took a list without end")

    return answer


def test_a_list_cut_off_is_an_error_and_the_next_session_is_good(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 33: EOF in UIDL; what was listed before it does not count, and nothing is known of the account yet."""
    bench.fill(1, 2, 3)
    server.faults[b"UIDL"] = [b"+OK\r\n1 uid1\r\n2 ui", Close()]
    bench.fails(NetworkError, "the reply to UIDL is incomplete")
    assert not bench.store.knows("alice")
    bench.heals(1, 2, 3)


# ── unique-ids ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("line", [b"1 ", b"1", b"1   "])
def test_an_empty_unique_id_is_an_error(bench: Bench, server: FaultyServer, line: bytes) -> None:
    """FAULTS 34: it could not be told from another."""
    bench.fill(1)
    server.faults[b"UIDL"] = listed(line)
    bench.fails(ProtocolError, "no unique-id")
    bench.heals(1)


@pytest.mark.parametrize("size", [71, 1024, 8000])
def test_a_long_unique_id_is_one(bench: Bench, server: FaultyServer, size: int) -> None:
    """FAULTS 34: 70 octets are the most that RFC 1939 permits; real servers send more."""
    server.mail = [(b"u" * size, message(1)), (b"u" * (size - 1) + b"v", message(2))]
    assert bench.poll(policy=KEEP).delivered == 2
    assert bench.mail() == stored(1, 2)
    assert bench.poll(policy=KEEP).delivered == 0


def test_a_unique_id_of_a_megabyte_is_an_error(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 34: beyond the limit for a line, and not kept."""
    server.mail = [(b"u" * MB, message(1))]
    with bounded(16 * MB):
        bench.fails(ProtocolError, "a line is longer than 8192 octets")


WEIRD = [
    b"../../../etc/passwd",
    b"/absolute",
    b"a b",
    b"$(id)`id`;id|id",
    b"';DROP TABLE seen;--",
    b"%s%n%d{0}",
    bytes(range(0x80, 0x100)),
    b"\x1b[31m\x07\x7f\x01",
    b".",
    b"..",
    b"uid:2,S",
    b"-rf",
    b"u" * 300,
]


def test_a_unique_id_is_opaque(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 35: any octets: no path, no format, no SQL, no shell, no terminal."""
    server.mail = [(name, message(number)) for number, name in enumerate(WEIRD, 1)]
    before = {entry.name for entry in bench.root.iterdir()}
    assert bench.poll(policy=KEEP).delivered == len(WEIRD)
    assert bench.mail() == stored(*range(1, len(WEIRD) + 1))
    assert set(bench.store.seen("alice")) == set(WEIRD)
    assert {entry.name for entry in bench.root.iterdir()} == before | {"Maildir"}
    assert bench.poll(policy=KEEP).delivered == 0
    assert bench.poll().deleted == len(WEIRD)


def test_a_unique_id_with_nul_is_an_error(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 35: no server may send one, and the store marks its own with it."""
    server.mail = [(b"\0abc", message(1))]
    bench.fails(ProtocolError, "NUL")


def test_unique_ids_are_compared_octet_by_octet(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 36: case and trailing blanks make another one; so does what folds or normalises to the same text."""
    names = [b"abc", b"ABC", b"abc ", b"abc  ", b"\xc3\xa9", b"e\xcc\x81", b"1", b"01", b"1.0", b"abc\t"]
    server.mail = [(name, message(number)) for number, name in enumerate(names, 1)]
    assert bench.poll(policy=KEEP).delivered == len(names)
    assert set(bench.store.seen("alice")) == set(names)
    assert bench.poll(policy=KEEP).delivered == 0


def test_a_unique_id_may_stand_for_several_messages(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 37: RFC 1939 §7 permits it for identical copies; each counts, none comes for ever."""
    server.mail = [(b"same", message(1)), (b"other", message(2)), (b"same", message(1))]
    assert bench.poll(policy=KEEP).delivered == 3
    assert bench.mail() == stored(1, 1, 2)
    assert bench.poll(policy=KEEP).delivered == 0
    server.mail.append((b"same", message(1)))
    assert bench.poll(policy=KEEP).delivered == 1
    assert bench.poll(policy=KEEP).delivered == 0
    assert bench.poll().deleted == 4
    assert server.mail == []
    assert bench.mail() == stored(1, 1, 1, 2)


def test_without_uidl_only_deleting_works(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 38: keeping mail there is refused, clearly, before anything is fetched."""
    bench.fill(1, 2)
    server.capabilities.remove("UIDL")
    server.faults[b"UIDL"] = b"-ERR unknown command\r\n"
    bench.fails(PolicyError, "no UIDL.*leave_on_server: false", retry=Retry.HOLD, policy=KEEP)
    assert (bench.mail(), server.retrieved) == ([], [])
    server.allow(b"", *stored(1, 2))  # no unique-id stands for every message
    server.may_delete = lambda name: "" if stored(int(name[3:]))[0] in bench.mail() else "DELE of what is not there"
    assert bench.poll().deleted == 2
    assert bench.mail() == stored(1, 2)


@pytest.mark.parametrize("messages", [2, 4], ids=["more-listed", "fewer-listed"])
def test_another_count_than_stat_gives_loses_nothing(bench: Bench, server: FaultyServer, messages: int) -> None:
    """FAULTS 39: what is listed is fetched, and only that is deleted."""
    bench.fill(1, 2, 3)
    server.faults[b"STAT"] = b"+OK %d 99\r\n" % messages
    assert bench.poll().deleted == 3
    assert bench.mail() == stored(1, 2, 3)
    bench.fill(4)
    bench.heals(1, 2, 3, 4)


def test_messages_are_known_by_unique_id_and_not_by_number(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 40: all are renumbered between two sessions."""
    bench.fill(1, 2, 3)
    bench.poll(policy=KEEP)
    del server.mail[0]
    server.mail.reverse()
    server.mail.insert(1, (uid(4), message(4)))
    assert bench.poll(policy=KEEP).delivered == 1
    assert bench.mail() == stored(1, 2, 3, 4)
    assert bench.poll().deleted == 3


def test_when_all_unique_ids_change_nothing_is_fetched(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 41: a migrated server; a human decides before all mail comes again."""
    bench.fill(*range(1, 21))
    bench.poll(policy=KEEP)
    server.mail = [(b"new-" + name, text) for name, text in server.mail]
    for _ in range(2):
        bench.fails(UniqueIdsChangedError, "unique_ids_changed: skip", retry=Retry.HOLD)
    assert bench.mail() == stored(*range(1, 21))
    assert (len(server.retrieved), server.deleted) == (20, [])
    server.mail = [(name.removeprefix(b"new-"), text) for name, text in server.mail]
    assert bench.poll(policy=KEEP).delivered == 0


@pytest.mark.parametrize("hidden", ["all", "some", "uidl"])
def test_unique_ids_that_vanish_and_come_back_are_known(bench: Bench, server: FaultyServer, hidden: str) -> None:
    """FAULTS 42: Gmail's windows, a restored server, one empty listing: remembered for 89 days at least."""
    bench.fill(*range(1, 8))
    bench.poll(policy=KEEP)
    mail = list(server.mail)
    if hidden == "uidl":
        server.faults[b"UIDL"] = listed()
    else:
        server.mail = mail[:2] if hidden == "some" else []
    for _ in range(3):
        assert bench.poll(policy=KEEP).delivered == 0
        bench.clock.advance(29 * DAY)
    server.faults.clear()
    server.mail = mail
    assert bench.poll(policy=KEEP).delivered == 0
    assert bench.mail() == stored(*range(1, 8))


def test_a_unique_id_that_names_another_message_now(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 43: cannot be told from the old one: it is not fetched, and stays where it is kept."""
    bench.fill(1, 2)
    bench.poll(policy=KEEP)
    server.mail[0] = (uid(1), message(3))
    assert bench.poll(policy=KEEP).delivered == 0
    assert bench.mail() == stored(1, 2)
    assert server.uids == [uid(1), uid(2)]


MANY = 100_000


def test_a_hundred_thousand_messages(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 44: listed, marked and known again, in bounded memory and a handful of queries."""
    server.faults[b"STAT"] = b"+OK %d 99\r\n" % MANY
    server.faults[b"UIDL"] = listed(*(b"%d %032x" % (n, n) for n in range(1, MANY + 1)))
    server.faults[b"LIST"] = listed(*(b"%d 4096" % n for n in range(1, MANY + 1)))
    policy = Policy(first_poll=FirstPoll.SKIP)
    assert bench.poll(policy=policy).skipped == {SkipReason.FIRST_POLL: MANY}
    queries: list[str] = []
    with bench.store._database.reading() as db:
        db.set_trace_callback(queries.append)
    with bounded(50 * MB):
        assert bench.poll(policy=policy).skipped == {}
    assert 0 < len(queries) < 100
    assert server.retrieved == []
