"""fetchd.fetch, intake and recovery: one poll against an honest server in memory, with real files on disk.

The server and the store are doubles that can fail at a chosen instant; the Maildir is real.
"""

import errno
import itertools
import mailbox
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from fetchd import events
from fetchd.delivery import open_delivery
from fetchd.delivery.maildir import STAGE, Maildir
from fetchd.delivery.mbox import Mbox
from fetchd.delivery.sightings import Sightings
from fetchd.delivery.staging import Staging
from fetchd.errors import (
    AccountError,
    AuthenticationError,
    DeliveryError,
    Interrupted,
    MailboxBusyError,
    NetworkError,
    PolicyError,
    POP3Error,
    ProtocolError,
    Retry,
    SecretError,
    StoreError,
    UniqueIdsChangedError,
)
from fetchd.fetch import poll_account
from fetchd.lane import InTurn
from fetchd.model import (
    Account,
    Deletion,
    Fate,
    FirstPoll,
    MaildirTarget,
    MboxTarget,
    Outcome,
    Policy,
    PollResult,
    Reply,
    Secret,
    SecretOAuth,
    SecretSource,
    SkipReason,
    UniqueId,
    UniqueIdsChanged,
)
from fetchd.ports import BatchLimits, Delivery, Maildrop, Survey, World
from fetchd.recovery import FLOOD
from tests.accounts import make_account
from tests.clocks import FakeClock
from tests.maildrops import FakeMaildrop, FakeServer
from tests.store.memory import MemoryStore

DAY = 86400
KEEP = Policy()
DELETE = Policy(delete_after=0)


class Patient:
    """A stop signal that nobody raises, unless the test does."""

    def __init__(self, *, requested: bool = False, overdue: bool = False) -> None:
        self.is_requested = requested
        self.is_overdue = overdue

    def requested(self) -> bool:
        return self.is_requested

    def overdue(self) -> bool:
        return self.is_overdue


class Passwords:
    def reveal(self, source: SecretSource) -> Secret:
        return Secret(b"secret")


class Bench:
    """A Maildir, a store, a server, and everything that was said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.server = FakeServer()
        self.store = MemoryStore()
        self.clock = FakeClock()
        self.sightings = Sightings()
        self.events: list[events.Event] = []
        self.stop = Patient()
        nonces = itertools.count(1)
        self.world = World(
            connect=self.server.connect,
            open_delivery=self.open_delivery,
            store=self.store,
            secrets=Passwords(),
            clock=self.clock,
            emit=self.events.append,
            nonce=lambda: next(nonces),
            host="mx",
            lane=InTurn,
        )
        self.account = make_account(target=MaildirTarget(root / "Maildir"))

    def open_delivery(self, account: Account) -> Delivery:
        return open_delivery(
            account.name, account.target, mbox_staging=self.root / "mbox-staging", sightings=self.sightings
        )

    def poll(self, policy: Policy = KEEP, **changes) -> PollResult:
        """Polls; a later poll with another policy is the same account, reconfigured."""
        self.events.clear()
        return poll_account(replace(self.account, policy=policy, **changes), self.stop, world=self.world)

    def mail(self, maildir: str = "Maildir") -> list[bytes]:
        return sorted(file.read_bytes() for box in ("new", "cur") for file in (self.root / maildir / box).iterdir())

    def staged(self) -> list[str]:
        return [file.name for file in (self.root / "Maildir" / "tmp").glob("*/*")]

    def said(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    assert bench.server.open == 0, "a session was left open"


def message(number: int) -> bytes:
    return b"Subject: %d\r\n\r\nBody %d\r\n" % (number, number)


def stored(*numbers: int) -> list[bytes]:
    return sorted(message(number).replace(b"\r\n", b"\n") for number in numbers)


def fill(bench: Bench, *numbers: int) -> None:
    bench.server.mail += [(b"uid%d" % number, message(number)) for number in numbers]


# ── the plain way ────────────────────────────────────────────────────────────────────────────────────────────────


def test_new_mail_is_delivered_once_and_stays_on_the_server(bench: Bench) -> None:
    fill(bench, 1, 2, 3)
    result = bench.poll()
    assert (result.delivered, result.octets) == (3, sum(map(len, stored(1, 2, 3))))
    assert bench.mail() == stored(1, 2, 3)
    assert bench.poll().delivered == 0
    fill(bench, 4)
    assert bench.poll().delivered == 1
    assert bench.mail() == stored(1, 2, 3, 4)
    assert bench.server.retrieved == [b"uid1", b"uid2", b"uid3", b"uid4"]
    assert bench.server.uids == [b"uid1", b"uid2", b"uid3", b"uid4"]
    assert bench.staged() == []


def test_delete_mode_empties_the_server(bench: Bench) -> None:
    fill(bench, 1, 2)
    assert bench.poll(DELETE).deleted == 2
    assert bench.server.mail == []
    assert bench.said(events.MessagesDeleted) == [events.MessagesDeleted("alice", 2)]


def test_mail_is_deleted_after_its_days_on_the_server(bench: Bench) -> None:
    policy = Policy(delete_after=14 * DAY)
    fill(bench, 1)
    bench.poll(policy)
    bench.clock.advance(10 * DAY)
    fill(bench, 2)
    assert bench.poll(policy).deleted == 0
    bench.clock.advance(4 * DAY)
    assert bench.poll(policy).deleted == 1
    assert bench.server.uids == [b"uid2"]


def test_mail_that_came_while_the_clock_was_ahead_has_its_days_from_when_it_is_set_back(bench: Bench) -> None:
    """FAULTS 106: it is not kept for the years that the clock was ahead; that is said once."""
    policy = Policy(delete_after=14 * DAY)
    bench.clock.wall_now += 3650 * DAY
    fill(bench, 1)
    bench.poll(policy)
    bench.clock.wall_now -= 3650 * DAY
    bench.poll(policy)
    assert bench.said(events.ClockWasAhead) == [events.ClockWasAhead("alice", 1)]
    bench.clock.advance(13 * DAY)
    assert (bench.poll(policy).deleted, bench.said(events.ClockWasAhead)) == (0, [])
    bench.clock.advance(DAY)
    assert bench.poll(policy).deleted == 1


def test_a_big_maildrop_goes_through_in_batches(bench: Bench) -> None:
    bench.world = replace(bench.world, limits=BatchLimits(messages=3))
    fill(bench, *range(10))
    assert bench.poll(DELETE).delivered == 10
    assert bench.mail() == stored(*range(10))
    assert bench.server.mail == []
    assert bench.store.outbox("alice") == []


def lessened(survey: Callable[[FakeMaildrop], Survey]) -> Callable[[FakeMaildrop], Survey]:
    """The same listing, of a maildrop in which there is one message more than that."""

    def one_more(self: FakeMaildrop) -> Survey:
        found = survey(self)
        return replace(found, messages=found.messages + 1)

    return one_more


def hiding(*numbers: int) -> Callable[[], object]:
    """Returns a context manager: UIDL leaves these messages out, though STAT counts them."""

    def survey(self: FakeMaildrop) -> Survey:
        found = whole(self)
        return replace(found, uids={number: uid for number, uid in found.uids.items() if number not in numbers})

    whole = FakeMaildrop.survey
    return lambda: patch.object(FakeMaildrop, "survey", survey)


def test_a_long_listing_that_is_all_known_is_not_compared_again_until_it_changes(bench: Bench) -> None:
    """The memory of 100,000 unique-ids is not read to find out that nothing is new; each change is noticed."""
    bench.server.mail = [(b"uid%d" % number, b"x") for number in range(1000)]
    bench.poll(Policy(first_poll=FirstPoll.SKIP))
    with patch.object(bench.store, "seen", wraps=bench.store.seen) as asked:
        bench.poll()
        assert asked.call_count == 1
        bench.poll()
        bench.poll(DELETE)
        assert asked.call_count == 1
        fill(bench, 1001)
        assert bench.poll(DELETE).delivered == 1
        assert bench.server.uids[-1] == b"uid999"
        bench.poll(DELETE)
        bench.poll(DELETE)
        assert asked.call_count == 4, "the one that settles what was deleted, the one that notes it down, and no more"
        with patch.object(FakeMaildrop, "survey", lessened(FakeMaildrop.survey)):
            bench.poll()
        assert asked.call_count == 5, "STAT tells of one more"
        del bench.server.mail[0]
        bench.poll()
        assert not bench.store.seen("alice")[UniqueId(b"uid0")].listed


def test_a_listing_all_of_which_was_fetched_is_not_compared_again(bench: Bench) -> None:
    """Nor one of which a part was known before; but one with a message that did not come is."""
    with patch.object(bench.store, "seen", wraps=bench.store.seen) as asked:
        fill(bench, 1, 2, 3)
        assert bench.poll().delivered == 3
        assert asked.call_count == 1
        bench.poll()
        assert asked.call_count == 1
        fill(bench, 4, 5)
        assert bench.poll().delivered == 2
        bench.poll()
        assert asked.call_count == 2
        fill(bench, 6)
        bench.server.refuse = {b"uid6"}
        bench.poll()
        assert asked.call_count == 3
        bench.poll()
        assert asked.call_count == 4


@pytest.mark.parametrize(("limits", "expected"), [(BatchLimits(octets=10), 3), (BatchLimits(seconds=0.0), 2)])
def test_a_batch_closes_by_octets_and_by_time_where_it_is_proven(
    bench: Bench, limits: BatchLimits, expected: int
) -> None:
    bench.world = replace(bench.world, limits=limits)
    fill(bench, 1, 2, 3)
    commits = []
    real = bench.store.commit
    with patch.object(bench.store, "commit", lambda *args, **more: (commits.append(args), real(*args, **more))):
        bench.poll()
    assert len(commits) == expected


def test_an_empty_message_is_a_message(bench: Bench) -> None:
    """FAULTS 18."""
    bench.server.mail = [(b"empty", b"")]
    assert bench.poll().delivered == 1
    assert bench.mail() == [b""]


def test_identical_copies_under_one_unique_id_all_come_and_come_once(bench: Bench) -> None:
    """FAULTS 37."""
    bench.server.mail = [(b"same", message(1)), (b"same", message(1))]
    assert bench.poll().delivered == 2
    bench.server.mail.append((b"same", message(1)))
    assert bench.poll().delivered == 1
    assert bench.poll(DELETE).deleted == 3
    assert len(bench.mail()) == 3


def test_a_poll_says_what_it_did_and_the_store_remembers(bench: Bench) -> None:
    fill(bench, 1)
    result = bench.poll()
    assert result == PollResult("alice", 1, len(stored(1)[0]), maildrop_messages=1, maildrop_octets=len(message(1)))
    assert [event.name for event in bench.events if event.level != "never"] == [
        "poll.start",
        "session.login",
        "account.first_poll",
        "poll.plan",
        "message.delivered",
        "poll.done",
    ]
    (record,) = bench.store.accounts()
    assert (record.last_success, record.last_error, record.delivered) == (1_795_000_000, "", 1)


# ── policy ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_first_poll_skip_fetches_only_what_comes_later_and_deletes_nothing_else(bench: Bench) -> None:
    policy = Policy(first_poll=FirstPoll.SKIP)
    fill(bench, 1, 2)
    assert bench.poll(policy).skipped == {SkipReason.FIRST_POLL: 2}
    fill(bench, 3)
    assert bench.poll(policy).delivered == 1
    assert bench.mail() == stored(3)
    assert bench.poll(DELETE).deleted == 1
    assert bench.server.uids == [b"uid1", b"uid2"]


def test_keep_turned_to_delete_deletes_what_was_delivered(bench: Bench) -> None:
    """FAULTS 110."""
    fill(bench, 1, 2)
    bench.poll()
    assert bench.poll(DELETE) == PollResult(
        "alice", deleted=2, maildrop_messages=2, maildrop_octets=2 * len(message(1))
    )
    assert bench.server.mail == []


def test_too_large_messages_are_left_and_told(bench: Bench) -> None:
    bench.server.mail = [(b"big", b"x" * 5000), (b"small", message(1))]
    result = bench.poll(Policy(delete_after=0, max_size=1000))
    assert (result.delivered, result.skipped) == (1, {SkipReason.TOO_LARGE: 1})
    assert bench.said(events.TooLarge) == [events.TooLarge("alice", UniqueId(b"big"), SkipReason.TOO_LARGE, 5000)]
    assert bench.server.uids == [b"big"]
    assert bench.poll().delivered == 1


def test_max_messages_leaves_more_for_the_next_poll(bench: Bench) -> None:
    fill(bench, 1, 2, 3)
    policy = Policy(max_messages=2)
    assert bench.poll(policy).more
    assert not bench.poll(policy).more
    assert bench.mail() == stored(1, 2, 3)


def test_a_body_beyond_max_size_ends_the_session_and_the_rest_comes_first_next_time(bench: Bench) -> None:
    """FAULTS 21: LIST lies; the octets are counted."""
    bench.server.mail = [(b"liar", b"x" * 5000), *[(b"uid%d" % n, message(n)) for n in (1, 2)]]
    bench.server.sizes = {b"liar": 10}
    policy = Policy(delete_after=0, max_size=1000)
    with pytest.raises(ProtocolError, match=r"message 1 is longer than max_size"):
        bench.poll(policy)
    assert bench.server.uids == [b"liar", b"uid1", b"uid2"]
    assert bench.poll(policy).deleted == 2
    with pytest.raises(ProtocolError):
        bench.poll(policy)
    assert bench.mail() == stored(1, 2)
    assert bench.server.retrieved == [b"liar", b"uid1", b"uid2", b"liar"]


def test_all_unique_ids_changed_fetches_nothing(bench: Bench) -> None:
    """FAULTS 41."""
    fill(bench, *range(10))
    bench.poll()
    bench.server.mail = [(b"new%d" % n, message(n)) for n in range(10)]
    for _ in range(2):
        with pytest.raises(UniqueIdsChangedError):
            bench.poll(DELETE)
    assert bench.mail() == stored(*range(10))
    assert len(bench.server.mail) == 10


def test_a_server_without_uidl(bench: Bench) -> None:
    """FAULTS 38: keep mode is refused, delete mode works."""
    bench.server.has_uidl = bench.server.has_capa = False
    fill(bench, 1, 2)
    with pytest.raises(PolicyError, match="no UIDL"):
        bench.poll()
    assert bench.mail() == []
    assert bench.poll(DELETE).deleted == 2
    assert bench.mail() == stored(1, 2)
    assert bench.store.outbox("alice") == []


@pytest.mark.parametrize("policy", [DELETE, KEEP])
def test_mail_without_unique_ids_is_no_empty_maildrop_of_which_all_is_known(bench: Bench, policy: Policy) -> None:
    """The maildrop moves, empty, to a server without UIDL: what comes there has no unique-ids to be compared."""
    fill(bench, 1)
    bench.poll(DELETE)
    for _ in range(2):
        bench.poll(DELETE)
    assert bench.store.all_known("alice") is not None
    bench.server.has_uidl = bench.server.has_capa = False
    fill(bench, 2)
    if policy == DELETE:
        assert bench.poll(policy).delivered == 1
        assert bench.mail() == stored(1, 2)
    else:
        with pytest.raises(PolicyError, match="no UIDL"):
            bench.poll(policy)


def test_a_server_that_deletes_what_was_retrieved_is_asked_for_one_message_at_a_time(bench: Bench) -> None:
    """FAULTS 58, RFC 2449 §6.7: EXPIRE 0; each message is published before the next one is retrieved."""
    bench.server.capabilities = {"EXPIRE": ("0", "USER")}
    fill(bench, 1, 2, 3)
    delivered = []
    bench.server.during = lambda uid: delivered.append(len(bench.mail()) if uid != b"uid1" else 0)
    assert bench.poll().delivered == 3
    assert delivered[:3] == [0, 1, 2]


@pytest.mark.parametrize(
    ("stated", "expected"), [(("60",), 60), (("60", "USER"), 60), ((), 0), (("soon",), 0), (("-1",), 0)]
)
def test_the_delay_that_a_server_wants_between_logins_is_part_of_the_result(
    bench: Bench, stated, expected: int
) -> None:
    """FAULTS 67, RFC 2449 §6.5."""
    bench.server.capabilities = {"LOGIN-DELAY": stated}
    assert bench.poll().login_delay == expected


def test_what_the_server_calls_itself_is_told(bench: Bench) -> None:
    """RFC 2449 §6.9; escaped, as everything that a server says."""
    bench.server.capabilities = {"IMPLEMENTATION": ("Evil\x1b[31m", "1.0")}
    bench.poll()
    (login,) = bench.said(events.LoggedIn)
    assert (login.mechanism, login.implementation) == ("USER", "Evil\\x1b[31m 1.0")


def test_proofs_come_after_one_two_four_messages_and_after_the_last(bench: Bench) -> None:
    """The shortest session makes progress; a long one asks once a batch."""
    bench.world = replace(bench.world, limits=BatchLimits(messages=4))
    fill(bench, *range(13))
    bench.poll()
    assert bench.server.proofs == [[1, 3, 7, 11, 13]]
    assert bench.server.checks == 0


def test_big_messages_have_a_proof_each(bench: Bench) -> None:
    bench.world = replace(bench.world, limits=BatchLimits(octets=10))
    fill(bench, *range(5))
    bench.poll()
    assert bench.server.proofs == [[1, 2, 3, 4, 5]]


def test_nothing_is_delivered_under_a_unique_id_that_may_be_anothers(bench: Bench) -> None:
    """FAULTS 50: the server has answered too often, somewhere in 4 to 7."""
    fill(bench, *range(1, 9))
    bench.server.out_of_step_at = b"uid7"
    with pytest.raises(ProtocolError):
        bench.poll(DELETE)
    assert bench.mail() == stored(1, 2, 3)
    assert len(bench.server.mail) == 8
    bench.server.out_of_step_at = b""
    for _ in range(3):
        bench.poll(DELETE)
    assert bench.mail() == stored(*range(1, 9))
    assert bench.server.mail == []
    assert bench.staged() == []


def test_a_server_that_is_always_out_of_step_at_one_message_gives_all_the_others(bench: Bench) -> None:
    """It sends surplus behind message 3; which one it is shows by and by."""
    fill(bench, 1, 2, 3, 4, 5)

    def surplus(uid: bytes) -> None:
        if uid == b"uid3":
            bench.server.out_of_step_at = bench.server.uids[bench.server.proofs[-1][0] - 1]

    real = bench.server.connect

    def connect(account: Account, password: Secret):
        bench.server.out_of_step_at = b"uid3"
        return real(account, password)

    bench.world = replace(bench.world, connect=connect)
    for _ in range(8):
        with suppress(ProtocolError):
            bench.poll()
    assert stored(1, 2, 4, 5) == [body for body in bench.mail() if body != stored(3)[0]]


def test_a_server_that_will_not_prove_it_is_asked_at_the_end(bench: Bench) -> None:
    """LIST n refused: a NOOP has to do, before anything is delivered."""
    fill(bench, 1, 2, 3)
    bench.server.can_prove = False
    assert bench.poll().delivered == 3
    assert bench.server.checks == 1


def test_a_server_that_will_not_prove_it_delivers_in_sessions_too_short_for_all_its_mail(bench: Bench) -> None:
    """It is asked at the end of each 64 messages, and these are delivered before the next are asked for."""
    fill(bench, *range(100, 260))
    bench.server.can_prove = False
    bench.server.cut = {b"uid235": 5}
    with pytest.raises(NetworkError):
        bench.poll()
    assert (len(bench.mail()), bench.server.checks) == (128, 2)
    bench.server.cut = {}
    bench.poll()
    bench.poll()
    assert len(bench.mail()) == 160


def test_a_server_that_proves_itself_is_asked_for_all_the_rest_at_once(bench: Bench) -> None:
    fill(bench, *range(100, 400))
    bench.poll()
    assert [len(bench.mail()), bench.server.checks] == [300, 0]
    assert [proofs[-1] for proofs in bench.server.proofs] == [64, 300]


def test_messages_of_another_size_than_announced_are_told_of(bench: Bench) -> None:
    """FAULTS 26, 61."""
    fill(bench, 1, 2)
    bench.server.sizes = {b"uid2": 4096}
    bench.poll()
    assert bench.said(events.SizesDiffer) == [events.SizesDiffer("alice", 1, of=2)]


def test_a_server_whose_sizes_are_never_exact_is_no_news(bench: Bench) -> None:
    """FACTS §5: Exchange, OpenMail, qmail-pop3d."""
    fill(bench, 1, 2)
    bench.server.sizes = {b"uid1": 1024, b"uid2": 1024}
    assert bench.poll().delivered == 2
    assert bench.said(events.SizesDiffer) == []


def test_more_is_said_only_where_something_came(bench: Bench) -> None:
    """Else an account whose messages are refused would be polled without a pause."""
    fill(bench, 1, 2, 3)
    bench.server.refuse = {b"uid1", b"uid2", b"uid3"}
    assert not bench.poll(Policy(max_messages=2)).more


def test_a_poisonous_message_does_not_keep_the_others_from_being_deleted(bench: Bench) -> None:
    fill(bench, 1, 2, 3)
    bench.server.cut = {b"uid2": 0}
    for _ in range(6):
        with suppress(NetworkError):
            bench.poll(DELETE)
    assert bench.mail() == stored(1, 3)
    assert bench.server.uids == [b"uid2"]


def test_a_refused_deletion_is_told_and_tried_again(bench: Bench) -> None:
    """FAULTS 54."""
    fill(bench, 1, 2)
    bench.server.refuse_deletion = {b"uid1"}
    assert bench.poll(DELETE).deleted == 1
    (refused,) = bench.said(events.DeletionRefused)
    assert (refused.count, refused.level) == (1, "warning")
    bench.server.refuse_deletion = set()
    assert bench.poll(DELETE).deleted == 1
    assert bench.mail() == stored(1, 2)


def test_uidl_refused_once_makes_no_known_mail_new(bench: Bench) -> None:
    fill(bench, 1, 2)
    bench.server.lose_quit = "before"
    bench.poll(DELETE)
    bench.server.has_uidl = False
    bench.server.lose_quit = ""
    with pytest.raises(POP3Error):
        bench.poll(DELETE)
    bench.server.has_uidl = True
    bench.poll(DELETE)
    assert bench.mail() == stored(1, 2)
    assert bench.server.mail == []


def test_without_uidl_all_is_delivered_at_the_end_or_nothing(bench: Bench) -> None:
    """What a broken session delivered could not be recognised at the next poll."""
    bench.server.has_uidl = False
    fill(bench, 1, 2, 3)
    bench.server.cut = {b"uid3": 5}
    for _ in range(3):
        with pytest.raises(NetworkError):
            bench.poll(DELETE)
    assert bench.mail() == []
    bench.server.cut = {}
    assert bench.poll(DELETE).deleted == 3
    assert bench.mail() == stored(1, 2, 3)
    assert bench.staged() == []


# ── the server lets us down ──────────────────────────────────────────────────────────────────────────────────────


def test_a_message_cut_off_is_not_delivered_and_what_was_whole_is(bench: Bench) -> None:
    """FAULTS 22: EOF mid-body."""
    fill(bench, 1, 2, 3)
    bench.server.cut = {b"uid2": 10}
    with pytest.raises(NetworkError) as caught:
        bench.poll(DELETE)
    assert caught.value.account == "alice"
    assert bench.mail() == stored(1)
    assert bench.staged() == []
    (failed,) = bench.said(events.PollFailed)
    assert (failed.outcome, failed.result.delivered) == (Outcome.NETWORK, 1)
    bench.server.cut = {}
    assert bench.poll(DELETE).delivered == 1
    assert bench.poll(DELETE).delivered == 1
    assert bench.mail() == stored(1, 2, 3)
    assert bench.server.retrieved == [b"uid1", b"uid2", b"uid3", b"uid2"]
    assert bench.server.mail == []


def test_a_failure_comes_with_what_is_known_of_the_provider(bench: Bench) -> None:
    """FACTS §5: GMX says "authentication failed" for POP3 that is switched off."""

    def connect(account: Account, password: Secret):
        raise AuthenticationError("refused", Reply(ok=False, text=b"authentication failed"))

    bench.world = replace(bench.world, connect=connect)
    for host, hint in (("pop.gmx.net", "GMX says the same"), ("pop.example.org", None)):
        with pytest.raises(AuthenticationError):
            bench.poll(host=host)
        failed = bench.said(events.PollFailed)[-1]
        assert failed.hint is None if hint is None else str(failed.hint).startswith(hint)


def test_a_refused_login_stays_one_where_nothing_more_can_be_loaded(bench: Bench) -> None:
    """A package that was upgraded under a running daemon: what is counted towards a hold is the refusal."""

    def connect(account: Account, password: Secret):
        raise AuthenticationError("refused", Reply(ok=False, text=b"authentication failed"))

    bench.world = replace(bench.world, connect=connect)
    with patch.dict(sys.modules, {"fetchd.hints": None}), pytest.raises(AuthenticationError):
        bench.poll(host="pop.gmx.net")
    assert bench.said(events.PollFailed)[-1].hint is None


def test_a_poisonous_message_never_keeps_the_others_from_coming(bench: Bench) -> None:
    """FACTS §0.3: it breaks every session in which it is tried."""
    fill(bench, 1, 2, 3)
    bench.server.cut = {b"uid1": 0}
    for _ in range(3):
        with suppress(NetworkError):
            bench.poll()
    assert bench.mail() == stored(2, 3)


def test_a_message_that_broke_one_session_comes_though_every_poll_has_other_work(bench: Bench) -> None:
    """FAULTS 54: a DELE that is refused at every poll."""
    fill(bench, 1, 2)
    bench.server.refuse_deletion = {b"uid1"}
    bench.server.cut = {b"uid2": 5}
    with pytest.raises(NetworkError):
        bench.poll(DELETE)
    bench.server.cut = {}
    assert bench.poll(DELETE).delivered == 0
    bench.clock.advance(DAY)
    assert bench.poll(DELETE).delivered == 1
    assert bench.mail() == stored(1, 2)


def test_a_refused_message_is_skipped_and_the_session_goes_on(bench: Bench) -> None:
    """FAULTS 27."""
    fill(bench, 1, 2, 3)
    bench.server.refuse = {b"uid2"}
    result = bench.poll(DELETE)
    assert (result.delivered, result.deleted, result.skipped) == (2, 2, {SkipReason.REFUSED: 1})
    assert bench.server.uids == [b"uid2"]
    bench.server.refuse = set()
    assert bench.poll(DELETE).delivered == 1


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_lost_answer_to_quit_is_settled_by_the_next_listing(bench: Bench, lost: str) -> None:
    """FAULTS 55–57: DELE again, never RETR again."""
    fill(bench, 1, 2)
    bench.server.lose_quit = lost
    result = bench.poll(DELETE)
    assert (result.delivered, result.deleted) == (2, 0)
    assert bench.said(events.DeletionUnconfirmed)[0].count == 2
    bench.server.lose_quit = ""
    bench.poll(DELETE)
    assert bench.server.mail == []
    assert bench.mail() == stored(1, 2)
    assert bench.server.retrieved == [b"uid1", b"uid2"]


def test_mail_that_the_server_does_not_delete_is_deleted_again_and_not_fetched_again(bench: Bench) -> None:
    """FAULTS 60."""
    fill(bench, 1)
    bench.poll(DELETE)
    fill(bench, 1)
    assert bench.poll(DELETE) == PollResult("alice", deleted=1, maildrop_messages=1, maildrop_octets=len(message(1)))
    assert bench.mail() == stored(1)


def another(number: int) -> bytes:
    return message(number).replace(b"Body", b"Another body")


def test_a_unique_id_of_a_deleted_message_may_name_another_one(bench: Bench) -> None:
    """FAULTS 43, RFC 1939 §7: what was deleted and is gone is forgotten; what has its unique-id then is new."""
    fill(bench, 1, 2)
    bench.poll(DELETE)
    bench.poll(DELETE)
    assert bench.store.seen("alice") == {}
    bench.server.mail = [(b"uid1", another(3))]
    assert (bench.poll(DELETE).delivered, bench.server.mail) == (1, [])
    assert bench.mail() == sorted([*stored(1, 2), another(3).replace(b"\r\n", b"\n")])


def test_a_unique_id_that_is_given_again_before_the_next_poll_is_told_by_the_size(bench: Bench) -> None:
    """FAULTS 43: as by servers whose unique-ids are message numbers."""
    fill(bench, 1)
    bench.poll(DELETE)
    bench.server.mail = [(b"uid1", another(3))]
    assert (bench.poll(DELETE).delivered, bench.server.mail) == (1, [])
    assert bench.server.retrieved == [b"uid1", b"uid1"]


@pytest.mark.parametrize("lost", ["before", "after"])
def test_whatever_became_of_quit_a_unique_id_that_was_gone_names_another_message(bench: Bench, lost: str) -> None:
    fill(bench, 1)
    bench.server.lose_quit = lost
    bench.poll(DELETE)
    bench.server.lose_quit = ""
    bench.poll(DELETE)
    bench.poll(DELETE)
    bench.server.mail = [(b"uid1", another(3))]
    assert (bench.poll(DELETE).delivered, bench.server.mail) == (1, [])


def test_a_kill_before_quit_was_answered_makes_no_other_message_known(bench: Bench) -> None:
    """What QUIT is going to delete is on record before it is sent."""
    fill(bench, 1)

    def die(uid: bytes) -> None:
        if uid == b"QUIT":
            assert bench.store.deletions("alice") == {UniqueId(b"uid1"): Deletion(1, len(message(1)))}
            raise KeyboardInterrupt

    bench.server.during = die
    with pytest.raises(KeyboardInterrupt):
        bench.poll(DELETE)
    bench.server.during = lambda uid: None
    bench.server.mail = []
    bench.poll(DELETE)
    bench.server.mail = [(b"uid1", another(3))]
    assert (bench.poll(DELETE).delivered, bench.server.mail) == (1, [])


@pytest.mark.parametrize("policy", [KEEP, DELETE], ids=["fetch", "delete"])
def test_a_target_that_was_only_glanced_at_is_looked_at_before_anything_is_fetched_or_deleted(
    bench: Bench, policy: Policy
) -> None:
    """FAULTS G 99: what nothing was to do for may be out of order without anybody knowing."""
    fill(bench, 1)
    for _ in range(3):
        bench.poll()
    (bench.root / "Maildir" / "cur").rmdir()
    bench.poll()
    if policy is KEEP:
        fill(bench, 2)
    with pytest.raises(DeliveryError, match="has no cur"):
        bench.poll(policy)
    assert bench.server.retrieved == [b"uid1"]
    assert b"uid1" in bench.server.uids


def test_the_answer_to_quit_is_awaited_where_something_hangs_on_it(bench: Bench) -> None:
    """A deletion, or a session that follows at once and would find the maildrop in use."""
    fill(bench, 1, 2, 3)
    assert bench.poll(Policy(max_messages=2)).more
    assert (bench.server.quits, bench.server.left) == (1, 0)
    bench.poll()
    bench.poll()
    assert (bench.server.quits, bench.server.left) == (3, 2)
    bench.poll(DELETE)
    assert (bench.server.quits, bench.server.left) == (4, 2)


def test_without_a_record_of_what_is_to_be_deleted_nothing_is(bench: Bench) -> None:
    fill(bench, 1)
    with patch.object(bench.store, "deleting", side_effect=StoreError("full")), pytest.raises(StoreError):
        bench.poll(DELETE)
    assert (bench.server.uids, bench.server.quits) == ([b"uid1"], 0)
    assert (bench.poll(DELETE).deleted, bench.mail()) == (1, stored(1))


def test_what_vanished_and_came_back_is_never_deleted_and_somebody_is_told(bench: Bench) -> None:
    """FAULTS 42, 43: it may be the same message, so it is not fetched; that is no proof, so it is not DELEd."""
    fill(bench, 1, 2)
    bench.poll()
    mail, bench.server.mail = bench.server.mail, bench.server.mail[:1]
    bench.poll()
    bench.server.mail = mail
    result = bench.poll(DELETE)
    assert (result.delivered, result.deleted, result.skipped) == (0, 1, {SkipReason.UNPROVEN: 1})
    assert bench.server.uids == [b"uid2"]
    (told,) = bench.said(events.DeletionWithheld)
    assert (told.count, told.level) == (1, "warning")
    assert bench.poll().skipped == {}


def test_a_listing_shorter_than_stat_says_settles_nothing(bench: Bench) -> None:
    """FAULTS 39: the server hides what it did not delete, once."""
    fill(bench, 1)
    bench.server.lose_quit = "before"
    bench.poll(DELETE)
    bench.server.lose_quit = ""
    with patch.object(FakeMaildrop, "survey", lambda self: Survey(1, 99, {}, {})):
        bench.poll(DELETE)
    bench.poll(DELETE)
    assert (bench.server.retrieved, bench.server.mail) == ([b"uid1"], [])


def test_a_copy_that_one_listing_hides_is_not_fetched_again(bench: Bench) -> None:
    """FAULTS 37, 39: two messages under one unique-id."""
    bench.server.mail = [(b"same", message(1)), (b"same", message(1))]
    bench.poll()
    with hiding(2)():
        bench.poll()
    assert bench.poll().delivered == 0


def test_a_first_listing_that_hides_old_mail_makes_none_of_it_new(bench: Bench) -> None:
    """FAULTS 39: ``first_poll: skip`` waits for a listing that is whole."""
    fill(bench, 1, 2)
    policy = Policy(first_poll=FirstPoll.SKIP)
    with hiding(2)(), pytest.raises(ProtocolError, match="first_poll: all"):
        bench.poll(policy)
    assert bench.poll(policy).skipped == {SkipReason.FIRST_POLL: 2}
    fill(bench, 3)
    assert (bench.poll(policy).delivered, bench.mail()) == (1, stored(3))


def test_mail_that_vanishes_and_comes_back_is_known(bench: Bench) -> None:
    """FAULTS 42: Gmail's windows, a restored server."""
    fill(bench, 1, 2)
    bench.poll()
    mail = list(bench.server.mail)
    bench.server.mail.clear()
    assert bench.poll().delivered == 0
    bench.server.mail += mail
    assert bench.poll().delivered == 0


def test_a_refused_login_leaves_everything_alone(bench: Bench) -> None:
    def connect(account: Account, password: Secret):
        raise AuthenticationError("refused", Reply(ok=False))

    bench.world = replace(bench.world, connect=connect)
    with pytest.raises(AuthenticationError):
        bench.poll()
    (record,) = bench.store.accounts()
    assert (record.last_error, record.last_failure, record.last_success) == ("refused", 1_795_000_000, None)
    assert bench.said(events.PollFailed)[0].outcome is Outcome.AUTH


def test_without_a_password_nobody_is_called(bench: Bench) -> None:
    class NoPassword:
        def reveal(self, source: SecretSource) -> Secret:
            raise SecretError("no such file")

    bench.world = replace(bench.world, secrets=NoPassword())
    with pytest.raises(SecretError):
        bench.poll()
    assert bench.server.sessions == 0


class Tokens:
    """``ports.Secrets`` for an account with ``oauth:``: what it gives, and what instead of a refused one."""

    def __init__(self, renewed: Secret | AccountError | None) -> None:
        self.renewed = renewed
        self.refused: list[Secret] = []

    def reveal(self, source: SecretSource | SecretOAuth) -> Secret:
        return Secret(b"old")

    def renew(self, source: SecretOAuth, refused: Secret) -> Secret | None:
        self.refused.append(refused)
        if isinstance(self.renewed, AccountError):
            raise self.renewed
        return self.renewed


def poll_with_tokens(bench: Bench, tokens: Tokens, *, good: bytes, error: type[POP3Error]) -> list[bytes]:
    """Polls at a server that takes one token alone; returns which ones it saw."""
    seen: list[bytes] = []
    connect = bench.server.connect

    def picky(account: Account, secret: Secret) -> Maildrop:
        seen.append(secret.reveal())
        if secret.reveal() != good:
            raise error("refused", Reply(ok=False, code="AUTH"), retry=Retry.HOLD)
        return connect(account, secret)

    bench.world = replace(bench.world, connect=picky, secrets=tokens)
    bench.poll(password=SecretOAuth("alice", "alice", "google", "id"))
    return seen


def test_a_refused_token_is_renewed_once_and_tried_in_a_new_session(bench: Bench) -> None:
    """FAULTS 84: a server cannot tell expired from wrong."""
    fill(bench, 1)
    tokens = Tokens(Secret(b"new"))
    assert poll_with_tokens(bench, tokens, good=b"new", error=AuthenticationError) == [b"old", b"new"]
    assert tokens.refused == [Secret(b"old")]
    assert bench.mail() == stored(1)


def test_a_renewed_token_that_is_refused_too_ends_the_poll(bench: Bench) -> None:
    """FAULTS 84: once, not in a loop."""
    tokens = Tokens(Secret(b"new"))
    with pytest.raises(AuthenticationError) as caught:
        poll_with_tokens(bench, tokens, good=b"neither", error=AuthenticationError)
    assert (caught.value.retry, len(tokens.refused)) == (Retry.HOLD, 1)


@pytest.mark.parametrize(
    ("renewed", "expected"),
    [(None, AuthenticationError), (SecretError("x"), SecretError), (NetworkError("x"), NetworkError)],
)
def test_where_there_is_no_other_token_the_server_is_not_asked_again(
    bench: Bench, renewed: AccountError | None, expected: type[AccountError]
) -> None:
    with pytest.raises(expected):
        poll_with_tokens(bench, Tokens(renewed), good=b"none", error=AuthenticationError)


def test_a_busy_server_has_not_refused_the_token(bench: Bench) -> None:
    tokens = Tokens(Secret(b"new"))
    with pytest.raises(MailboxBusyError):
        poll_with_tokens(bench, tokens, good=b"new", error=MailboxBusyError)
    assert tokens.refused == []


# ── asked to stop ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_between_messages_keeps_what_is_proven_and_says_no_quit(bench: Bench) -> None:
    fill(bench, 1, 2, 3)
    bench.server.during = lambda uid: setattr(bench.stop, "is_requested", uid == b"uid2")
    with pytest.raises(Interrupted):
        bench.poll(DELETE)
    assert bench.mail() == stored(1)
    assert bench.server.quits == 0
    bench.stop.is_requested = False
    bench.server.during = lambda uid: None
    bench.poll(DELETE)
    assert bench.mail() == stored(1, 2, 3)
    assert bench.server.mail == []
    assert bench.staged() == []


def test_a_stop_that_is_overdue_drops_the_message_in_hand(bench: Bench) -> None:
    fill(bench, 1, 2)
    bench.server.during = lambda uid: setattr(bench.stop, "is_overdue", uid == b"uid2")
    with pytest.raises(Interrupted, match="message 2 is dropped"):
        bench.poll()
    assert bench.mail() == stored(1)
    assert bench.staged() == []


# ── killed in the middle: every instant, by an exception that nobody catches ─────────────────────────────────────


class KilledError(BaseException):
    """Ends the poll as a SIGKILL would: nothing after it runs, but for what the kernel would do."""


def killing(owner: object, method: str, call: int, *, after: bool) -> Callable[[], object]:
    """Returns a context manager: the n-th call of a method is the last thing that happens, before or after it."""
    real = getattr(owner, method)
    calls = itertools.count(1)

    def killer(*args, **more):
        if next(calls) == call:
            if after:
                real(*args, **more)
            raise KilledError(method)
        return real(*args, **more)

    return lambda: patch.object(owner, method, killer)


INSTANTS = [
    ("store", "commit"),
    ("store", "settle"),
    ("store", "listed"),
    ("delivery", "prepare"),
    ("delivery", "stage"),
    ("delivery", "flush"),
    ("delivery", "publish"),
    ("delivery", "recover"),
    ("delivery", "discard"),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a killed process closes nothing
@pytest.mark.parametrize("policy", [KEEP, DELETE], ids=["keep", "delete"])
@pytest.mark.parametrize("target", ["maildir", "mbox"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize(("owner", "method"), INSTANTS, ids=[method for _, method in INSTANTS])
def test_killed_at_any_instant_every_message_is_there_exactly_once(
    tmp_path: Path, owner: str, method: str, call: int, after: bool, target: str, policy: Policy
) -> None:
    """DESIGN §4: at every step of the durable order, before and after it, in the first batch and in the second."""
    bench = Bench(tmp_path)
    bench.world = replace(bench.world, limits=BatchLimits(messages=2))
    if target == "mbox":
        bench.account = replace(bench.account, target=MboxTarget(tmp_path / "mbox"))
    fill(bench, 1, 2, 3)
    place = bench.store if owner == "store" else (Maildir if target == "maildir" else Mbox)
    try:
        with killing(place, method, call, after=after)():
            bench.poll(policy)
    except KilledError:
        pass
    for _ in range(2):
        bench.poll(policy)
    assert bench.server.uids == ([] if policy is DELETE else [b"uid1", b"uid2", b"uid3"])
    if target == "maildir":
        assert bench.mail() == stored(1, 2, 3)
    else:
        with closing(mailbox.mbox(tmp_path / "mbox", create=False)) as box:
            assert sorted(m["Subject"] for m in box) == ["1", "2", "3"]
    assert bench.store.outbox("alice") == []
    assert [file for file in tmp_path.rglob("*") if file.is_file() and "stag" in str(file.parent)] == []


def test_staged_but_never_committed_and_gone_from_the_server_is_published(bench: Bench) -> None:
    """DESIGN §4 recovery: ours may be the only copy. It makes nothing known: what comes back comes rather twice."""
    fill(bench, 1)
    with patch.object(bench.store, "commit", side_effect=KilledError), pytest.raises(KilledError):
        bench.poll()
    mail = list(bench.server.mail)
    bench.server.mail.clear()
    assert bench.poll().delivered == 1
    assert bench.mail() == stored(1)
    assert bench.said(events.Recovered) == [events.Recovered("alice", adopted=1)]
    bench.server.mail += mail
    assert bench.poll(DELETE).delivered == 1
    assert bench.mail() == stored(1, 1)


def take_back(bench: Bench) -> None:
    """Does what the recovery of a file system's log may do: a rename that was said to be on disk never happened."""
    for file in (bench.root / "Maildir" / "new").iterdir():
        file.rename(bench.root / "Maildir" / "tmp" / STAGE / file.name)


@pytest.mark.parametrize("policy", [KEEP, DELETE], ids=["keep", "delete"])
def test_a_message_that_the_file_system_took_back_after_all_was_settled_is_published_again(
    bench: Bench, policy: Policy
) -> None:
    """Its unique-id is known, so it is never retrieved again: what is staged is the only copy."""
    fill(bench, 1, 2)
    bench.server.lose_quit = "before"
    bench.poll(policy)
    bench.server.lose_quit = ""
    take_back(bench)
    assert bench.poll(policy).delivered == 2
    assert bench.said(events.Recovered) == [events.Recovered("alice", adopted=2)]
    bench.poll(policy)
    assert (bench.mail(), bench.staged()) == (stored(1, 2), [])
    assert bench.server.retrieved == [b"uid1", b"uid2"]


def test_of_copies_under_one_unique_id_what_is_fetched_again_is_discarded(bench: Bench) -> None:
    """RFC 1939 §7: one of two is known, and the other was staged when a kill came."""
    bench.server.mail = [(b"same", message(1)), (b"same", message(1))]
    bench.world = replace(bench.world, limits=BatchLimits(messages=1))
    with killing(bench.store, "commit", 2, after=False)(), pytest.raises(KilledError):
        bench.poll()
    bench.poll()
    assert bench.mail() == stored(1, 1)
    assert bench.said(events.Recovered)[0].discarded == 1


def test_a_staged_file_of_what_is_in_the_mbox_is_no_message(bench: Bench) -> None:
    """An mbox has its own copy: what was staged for it came back, for its removal was not on disk."""
    target = MboxTarget(bench.root / "mbox")
    fill(bench, 1)
    kept = {}

    def keep(self: Staging, names: Sequence[str]) -> None:
        kept.update({self.path / name: (self.path / name).read_bytes() for name in names})
        remove(self, names)

    remove = Staging.remove
    with patch.object(Staging, "remove", keep):
        bench.poll(target=target)
    for path, octets in kept.items():
        path.write_bytes(octets)
    assert bench.poll(target=target).delivered == 0
    with closing(mailbox.mbox(bench.root / "mbox", create=False)) as box:
        assert [m["Subject"] for m in box] == ["1"]
    assert [path.exists() for path in kept] == [False]


def test_what_a_listing_shorter_than_stat_says_does_not_show_stays_staged(bench: Bench) -> None:
    """FAULTS 39: it may be listed again, and fetched; then publishing it now would bring it twice."""
    fill(bench, 1, 2)
    with patch.object(bench.store, "commit", side_effect=StoreError("disk")), pytest.raises(StoreError):
        bench.poll()
    with hiding(1)():
        assert bench.poll().delivered == 1
    assert (bench.mail(), len(bench.staged())) == (stored(2), 1)
    assert bench.poll().delivered == 1
    assert (bench.mail(), bench.staged()) == (stored(1, 2), [])


def test_what_such_a_listing_shows_less_often_than_it_is_known_stays_staged_too(bench: Bench) -> None:
    """One of two copies under one unique-id is known and hidden; the other is the one that was staged."""
    bench.server.mail = [(b"same", message(1)), (b"same", message(1))]
    bench.world = replace(bench.world, limits=BatchLimits(messages=1))
    with killing(bench.store, "commit", 2, after=False)(), pytest.raises(KilledError):
        bench.poll()
    with hiding(1)():
        bench.poll()
    bench.poll()
    assert (bench.mail(), bench.staged()) == (stored(1, 1), [])


def test_what_was_staged_without_a_unique_id_is_fetched_again_though_the_server_has_uidl_by_now(bench: Bench) -> None:
    """FAULTS 38: nothing was deleted, so it is listed, under a unique-id that its name does not tell."""
    fill(bench, 1, 2)
    bench.server.has_uidl = False
    bench.server.cut = {b"uid2": 5}
    with pytest.raises(NetworkError):
        bench.poll(DELETE)
    assert len(bench.staged()) == 1
    bench.server.cut = {}
    bench.server.has_uidl = True
    assert bench.poll(DELETE).delivered == 2
    assert bench.mail() == stored(1, 2)


def test_a_failed_commit_is_never_taken_for_undone(bench: Bench) -> None:
    """FAULTS: a failed COMMIT is ambiguous; here it did happen."""
    fill(bench, 1)
    real = bench.store.commit

    def commit(*args, **more):
        real(*args, **more)
        raise StoreError("disk I/O error")

    with patch.object(bench.store, "commit", commit), pytest.raises(StoreError):
        bench.poll()
    assert bench.poll().delivered == 1, "without a second download"
    assert bench.mail() == stored(1)
    assert bench.server.retrieved == [b"uid1"]


def test_what_was_committed_goes_where_it_was_going_though_the_target_changed(bench: Bench) -> None:
    fill(bench, 1)
    with patch.object(Maildir, "publish", side_effect=KilledError), pytest.raises(KilledError):
        bench.poll()
    fill(bench, 2)
    bench.poll(target=MaildirTarget(bench.root / "Elsewhere"))
    assert bench.mail() == stored(1)
    assert bench.mail("Elsewhere") == stored(2)


def test_waiting_mail_whose_maildir_is_gone_is_an_error_not_a_new_maildir(bench: Bench) -> None:
    """FAULTS 99: a missing mount."""
    fill(bench, 1)
    with patch.object(Maildir, "publish", side_effect=KilledError), pytest.raises(KilledError):
        bench.poll()
    (bench.root / "Maildir").rename(bench.root / "unmounted")
    with pytest.raises(DeliveryError):
        bench.poll()
    assert not (bench.root / "Maildir").exists()
    (bench.root / "unmounted").rename(bench.root / "Maildir")
    bench.poll()
    assert bench.mail() == stored(1)
    assert bench.server.retrieved == [b"uid1"]


def test_a_full_disk_delivers_nothing_half_and_goes_on_when_there_is_room(bench: Bench) -> None:
    """FAULTS 96."""
    fill(bench, 1, 2)
    with patch.object(Staging, "flush", side_effect=DeliveryError("disk full")), pytest.raises(DeliveryError):
        bench.poll(DELETE)
    assert bench.mail() == []
    assert len(bench.server.mail) == 2
    assert bench.poll(DELETE).delivered == 2
    assert bench.mail() == stored(1, 2)
    assert bench.staged() == []


def test_a_message_that_no_file_can_hold_does_not_keep_the_others_from_coming(bench: Bench) -> None:
    """EFBIG (``ulimit -f``): it would stop every poll at the same place."""
    bench.server.mail = [(b"big", b"x" * 500 + b"\r\n"), (b"uid1", message(1)), (b"uid2", message(2))]
    write = os.write

    def limited(descriptor: int, octets: bytes) -> int:
        if len(octets) > 400:
            raise OSError(errno.EFBIG, "File too large")
        return write(descriptor, octets)

    with patch.object(os, "write", limited):
        with pytest.raises(DeliveryError, match="ulimit -f"):
            bench.poll(DELETE)
        assert bench.poll(DELETE).delivered == 2
        assert bench.server.uids == [b"big"]
    assert bench.poll(DELETE).delivered == 1
    assert bench.server.mail == []


# ── a lost store ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_store_is_told_loudly_and_known_mail_is_recognised(bench: Bench) -> None:
    """FACTS §3, 3: a recreated container floods nobody."""
    fill(bench, 1, 2, 3)
    bench.poll()
    read = next((bench.root / "Maildir" / "new").iterdir())
    read.rename(bench.root / "Maildir" / "cur" / f"{read.name}:2,S")
    bench.store = MemoryStore()
    bench.world = replace(bench.world, store=bench.store)
    fill(bench, 4)
    assert bench.poll().delivered == 1
    assert bench.mail() == stored(1, 2, 3, 4)
    (lost,) = bench.said(events.UnknownAccountHasMail)
    assert (lost.recognised, lost.unrecognised, lost.level) == (3, 1, "error")


def lose_store(bench: Bench) -> None:
    bench.store = MemoryStore()
    bench.world = replace(bench.world, store=bench.store)


def files(bench: Bench) -> dict[int, Path]:
    """Returns the file of each message by its number."""
    return {int(file.read_bytes().split()[1]): file for file in (bench.root / "Maildir" / "new").iterdir()}


def test_mail_is_recognised_in_subfolders_too(bench: Bench) -> None:
    """Maildir++ folders, and trees of folders."""
    fill(bench, 1, 2, 3)
    bench.poll()
    for number, folder in ((1, ".Archive.2026/cur"), (2, "Archive/2026/new")):
        (bench.root / "Maildir" / folder).mkdir(parents=True)
        file = files(bench)[number]
        file.rename(bench.root / "Maildir" / folder / f"{file.name}:2,S")
    lose_store(bench)
    assert bench.poll().delivered == 0
    (lost,) = bench.said(events.UnknownAccountHasMail)
    assert (lost.recognised, lost.unrecognised, lost.marked) == (3, 0, 0)


def test_what_is_recognised_by_a_name_alone_is_never_deleted(bench: Bench) -> None:
    """FAULTS 43: its unique-id may name another message by now, and nobody remembers that it was listed ever since."""
    fill(bench, 1)
    bench.poll()
    lose_store(bench)
    assert bench.poll(DELETE).skipped == {SkipReason.UNPROVEN: 1}
    assert (bench.server.uids, bench.store.seen("alice")[UniqueId(b"uid1")].fate) == ([b"uid1"], Fate.UNPROVEN)


def test_a_flood_of_what_was_probably_delivered_waits_for_somebody_to_decide(bench: Bench) -> None:
    """docker-mailserver#2832, Mailu#1223: 30 messages, of which the user has moved or deleted 20; and two new ones."""
    fill(bench, *range(1, 31))
    bench.poll()
    for number, file in files(bench).items():
        if number <= FLOOD:
            file.unlink()
    fill(bench, 31, 32)
    lose_store(bench)
    with pytest.raises(UniqueIdsChangedError, match=r"10 of the 32 messages listed are.*20 older ones are not") as stop:
        bench.poll()
    assert stop.value.retry is Retry.HOLD
    assert (bench.mail(), bench.store.knows("alice")) == (stored(*range(21, 31)), False)
    skipping = bench.poll(Policy(unique_ids_changed=UniqueIdsChanged.SKIP))
    assert (skipping.delivered, bench.mail()) == (2, stored(*range(21, 33)))
    (lost,) = bench.said(events.UnknownAccountHasMail)
    assert (lost.recognised, lost.marked, lost.unrecognised) == (10, 20, 2)
    assert bench.poll().delivered == 0


@pytest.mark.parametrize(
    ("policy", "again"),
    [
        (Policy(unique_ids_changed=UniqueIdsChanged.FETCH), 20),
        (Policy(first_poll=FirstPoll.SKIP), 0),
        (Policy(delete_after=0), 20),
    ],
)
def test_what_to_do_about_a_flood_is_in_the_policy(bench: Bench, policy: Policy, again: int) -> None:
    """Where mail is deleted at once, what is listed was not delivered."""
    fill(bench, *range(1, 31))
    bench.poll()
    for number, file in files(bench).items():
        if number <= FLOOD:
            file.unlink()
    fill(bench, 31)
    lose_store(bench)
    assert bench.poll(policy).delivered == again + 1


def test_a_few_that_are_not_recognised_are_fetched_again(bench: Bench) -> None:
    fill(bench, *range(1, 31))
    bench.poll()
    for number, file in files(bench).items():
        if number < FLOOD:
            file.unlink()
    lose_store(bench)
    assert bench.poll().delivered == FLOOD - 1


@pytest.mark.parametrize("delivered_since", [True, False])
def test_an_older_store_is_noticed_by_names_that_are_newer(bench: Bench, delivered_since: bool) -> None:
    """FAULTS 104: nothing comes twice that the names can tell, and what was delivered is ours to delete no more."""
    fill(bench, 1)
    bench.poll()
    backup = deepcopy(bench.store._accounts)
    bench.clock.advance(60)
    if delivered_since:
        fill(bench, 2, 3)
        bench.poll()
        files(bench)[3].unlink()
    lose_store(bench)
    bench.store._accounts = backup
    backup["alice"].is_listed = False
    fill(bench, 4)
    assert bench.poll(DELETE).delivered == (2 if delivered_since else 1)
    told = [event.recognised for event in bench.said(events.StoreIsOlder)]
    assert told == ([1] if delivered_since else [])
    assert bench.server.uids == ([b"uid1", b"uid2"] if delivered_since else [])
    bench.poll(DELETE)
    assert bench.said(events.StoreIsOlder) == []


def put_back(bench: Bench, backup: dict) -> None:
    lose_store(bench)
    bench.store._accounts = deepcopy(backup)
    bench.store._accounts["alice"].is_listed = False


class Late:
    """A second hand that is a batch behind, as a slow disk is."""

    def __init__(self) -> None:
        self._work: Callable[[], object] | None = None

    def start(self, work: Callable[[], object]) -> None:
        self.wait()
        self._work = work

    def wait(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work()


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_store_that_was_saved_between_two_batches_is_older(bench: Bench, seconds: float) -> None:
    """FAULTS 104: what was staged when it was saved has a name that is older than the commit, or as old."""
    bench.world = replace(bench.world, limits=BatchLimits(messages=4), lane=Late)
    fill(bench, *range(24))
    bench.server.during = lambda uid: bench.clock.advance(seconds)
    real, backups = bench.store.commit, []

    def commit(*args, **more) -> None:
        real(*args, **more)
        backups.append(deepcopy(bench.store._accounts))

    with patch.object(bench.store, "commit", commit):
        bench.poll()
    for backup in backups[:-1]:
        put_back(bench, backup)
        bench.clock.advance(60)
        assert bench.poll().delivered == 0
        assert len(bench.said(events.StoreIsOlder)) == 1
    put_back(bench, backups[-1])
    assert (bench.poll().delivered, bench.said(events.StoreIsOlder)) == (0, [])


def test_an_older_store_is_noticed_though_the_clock_was_ahead_once(bench: Bench) -> None:
    """FAULTS 104, 106: names from then are in the future, and stay there."""
    fill(bench, 1)
    bench.clock.wall_now += 400 * DAY
    bench.poll()
    bench.clock.wall_now -= 400 * DAY
    bench.poll()
    put_back(bench, bench.store._accounts)
    bench.poll()
    assert bench.said(events.StoreIsOlder) == [], "names that the store knows"
    backup = deepcopy(bench.store._accounts)
    fill(bench, 2)
    bench.clock.advance(100)
    bench.poll()
    put_back(bench, backup)
    bench.clock.advance(100)
    assert bench.poll().delivered == 0
    assert bench.said(events.StoreIsOlder) == [events.StoreIsOlder("alice", recognised=1)]


def test_what_recovery_publishes_does_not_hide_that_the_store_is_older(bench: Bench) -> None:
    """The target is looked at before anything is published into it."""
    fill(bench, 1)
    bench.poll()
    backup = deepcopy(bench.store._accounts)
    bench.clock.advance(60)
    fill(bench, 2)
    bench.poll()
    bench.clock.advance(60)
    fill(bench, 3)
    with patch.object(bench.store, "commit", side_effect=KilledError), pytest.raises(KilledError):
        bench.poll()
    bench.server.mail.pop()
    put_back(bench, backup)
    assert bench.poll().delivered == 1
    assert bench.mail() == stored(1, 2, 3)
    assert bench.said(events.StoreIsOlder) == [events.StoreIsOlder("alice", recognised=1)]


def test_a_first_poll_into_an_mbox_tells_of_mail_that_is_there(bench: Bench) -> None:
    """An mbox keeps no names, so nothing can be recognised in it."""
    fill(bench, 1)
    target = MboxTarget(bench.root / "mbox")
    bench.poll(target=target)
    assert bench.said(events.FirstPollOf) == [events.FirstPollOf("alice", 1)]
    lose_store(bench)
    bench.poll(target=target)
    assert bench.said(events.FirstPollAmidMail) == [events.FirstPollAmidMail("alice", 1)]


def test_a_first_poll_of_mail_that_stays_is_told(bench: Bench) -> None:
    fill(bench, 1, 2)
    bench.poll()
    assert bench.said(events.FirstPollOf) == [events.FirstPollOf("alice", messages=2)]
    bench.poll()
    assert bench.said(events.FirstPollOf) == []


def test_marked_mail_has_the_fate_that_protects_it(bench: Bench) -> None:
    fill(bench, 1)
    bench.poll(Policy(first_poll=FirstPoll.SKIP))
    assert bench.store.seen("alice")[UniqueId(b"uid1")].fate is Fate.SKIPPED
