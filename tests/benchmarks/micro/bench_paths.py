"""The hot paths on their own, with pytest-benchmark: ``make bench-micro``. Figures to read, nothing is asserted.

pytest does not collect this file by itself: its name does not begin with ``test_``.
"""

from itertools import count
from pathlib import Path

import pytest

from fetchd.delivery import open_delivery
from fetchd.model import Committed, Fate, MaildirTarget, MessageRef, Policy, Seen, Staged, UniqueId
from fetchd.names import message_name
from fetchd.plan import make_plan
from fetchd.pop3.framing import encode_body
from fetchd.store.sqlite import SqliteStore
from tests.benchmarks.corpus import small
from tests.benchmarks.pop3 import body

NOW = 1_795_461_986
BATCH = 256
LISTED = 100_000


@pytest.fixture(scope="module")
def mail() -> list[bytes]:
    return list(small(BATCH).messages())


def test_framing(benchmark, mail):
    """A batch of small messages: dots unstuffed, the terminator found."""
    replies = [b"+OK\r\n" + encode_body(message.replace(b"\n", b"\r\n")) for message in mail]
    benchmark(lambda: [body(reply) for reply in replies])


def test_framing_large(benchmark, mail):
    """10 MB in one message."""
    reply = b"+OK\r\n" + encode_body((b"x" * 74 + b"\r\n") * (10_000_000 // 76))
    benchmark(lambda: body(reply))


@pytest.mark.parametrize("known", [0, LISTED - 10, LISTED])
def test_planning(benchmark, known):
    """A maildrop of many messages, of which none, most or all are known."""
    uids = [UniqueId(b"%032x" % number) for number in range(LISTED)]
    listing = [MessageRef(number, uid, 1000) for number, uid in enumerate(uids, 1)]
    seen = {uid: Seen(copies=1, first_seen=NOW, fate=Fate.DELIVERED) for uid in uids[:known]}
    benchmark.pedantic(lambda: make_plan(listing, seen, policy=Policy(), known=bool(known), now=NOW), rounds=3)


def test_staging(benchmark, mail, tmp_path: Path):
    """A batch is staged and flushed: as it comes from the wire, in one piece each."""
    delivery = open_delivery("alice", MaildirTarget(tmp_path / "Maildir"), mbox_staging=tmp_path)
    delivery.prepare()
    wire = [message.replace(b"\n", b"\r\n") for message in mail]
    numbers = count()

    def batch() -> None:
        staged = []
        for message in wire:
            number = next(numbers)
            uid = UniqueId(b"%032x" % number)
            file = delivery.stage(message_name("alice", uid, seconds=NOW, nonce=number, host="bench"))
            file.write(message)
            staged.append(file.finish())
        delivery.flush(staged)

    benchmark.pedantic(batch, rounds=8)


def test_store_commit(benchmark, tmp_path: Path):
    """A batch is committed, and with it the one before settled."""
    numbers = count()
    with SqliteStore.open(tmp_path / "fetchd.db") as store:
        settled: list[str] = []

        def batch() -> None:
            rows = [_committed(next(numbers)) for _ in range(BATCH)]
            store.commit("alice", rows, now=NOW, settled=settled)
            settled[:] = [row.staged.name for row in rows]

        benchmark.pedantic(batch, rounds=20)


def test_store_seen(benchmark, tmp_path: Path):
    """What is remembered of a large maildrop is read."""
    with SqliteStore.open(tmp_path / "fetchd.db") as store:
        store.mark("alice", [UniqueId(b"%032x" % number) for number in range(LISTED)], fate=Fate.SKIPPED, now=NOW)
        benchmark.pedantic(lambda: len(dict(store.seen("alice"))), rounds=3)


def _committed(number: int) -> Committed:
    uid = UniqueId(b"%032x" % number)
    return Committed(uid=uid, staged=Staged(message_name("alice", uid, seconds=NOW, nonce=number, host="bench"), 6000))
