"""What every delivery promises, whatever its target (``ports.Delivery``, DESIGN §4)."""

import os
import threading
from collections.abc import Callable

import pytest

from fetchd.delivery import open_delivery
from fetchd.delivery.maildir import Maildir
from fetchd.delivery.mbox import Mbox
from fetchd.errors import DeliveryError
from fetchd.model import Committed, MaildirTarget, MboxTarget, Staged, UniqueId
from fetchd.ports import Delivery, StagedFile
from tests.delivery.doubles import Bench, MemoryJournal, deliver, new_name, stage

PLAIN = b"Subject: hello\n\nhi\n"
BODIES = {
    "plain": PLAIN,
    "NUL": b"Subject: a\0b\n\n\0\0\n",
    "bare CR": b"a\rb\r\rc\n\r",
    "8-bit": bytes(range(128, 256)) + b"\n",
    "lone dots": b".\n..\n.x\n",
    "From lines": b"From x\n>From y\n\nFrom z\n>>From \n",
    "no final newline": b"Subject: x\n\nend",
    "ends in From": b"Subject: x\n\nFrom",
    "empty": b"",
    "blank lines only": b"\n\n\n",
    "trailing blank lines": b"Subject: x\n\nbody\n\n\n",
}


def as_read(bench: Bench, body: bytes) -> bytes:
    """An mbox ends every line."""
    ended = not body or body.endswith(b"\n")
    return body if bench.kind == "maildir" or ended else body + b"\n"


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_message_comes_out_octet_by_octet(bench: Bench, journal: MemoryJournal, body: bytes) -> None:
    """FAULTS F 90, 91."""
    deliver(bench.prepared(), journal, body)
    assert bench.messages() == [as_read(bench, body)]


def test_the_size_is_of_the_octets_on_disk(bench: Bench) -> None:
    """After CRLF → LF, with chunks cut anywhere; adopting the file finds the same."""
    delivery = bench.prepared()
    name = new_name()
    file = delivery.stage(name)
    for chunk in (b"Subject: x\r", b"\n\r\nbare \r CR\r", b"\r\nend\r\n"):
        file.write(chunk)
    staged = file.finish()
    body = b"Subject: x\n\nbare \r CR\r\nend\n"
    assert staged == Staged(f"{name},S={len(body)}", len(body))
    assert delivery.adopt(staged.name) == staged


def test_a_line_of_ten_megabytes_goes_through(bench: Bench, journal: MemoryJournal) -> None:
    """FAULTS A 20; in one write and in many."""
    body = b"Subject: long\n\n" + b"x" * 10_000_000 + b"\n"
    delivery = bench.prepared()
    file = delivery.stage(new_name())
    for at in range(0, len(body), 300_001):
        file.write(memoryview(body)[at : at + 300_001])
    batch = [Committed(None, file.finish()), *stage(delivery, body)]
    journal.commit(batch)
    delivery.publish(batch, journal)
    assert bench.messages() == [body, body]


def test_a_buffer_is_not_kept_beyond_the_call(bench: Bench, journal: MemoryJournal) -> None:
    """``ports.Write``: it is the caller's again as soon as write returns."""
    delivery = bench.prepared()
    file = delivery.stage(new_name())
    buffer = bytearray(b"first\n")
    file.write(buffer)
    buffer[:] = b"XXXXX\n"
    batch = [Committed(None, file.finish())]
    delivery.publish(batch, journal)
    assert bench.messages() == [b"first\n"]


def test_a_batch_is_invisible_before_it_is_published(bench: Bench, journal: MemoryJournal) -> None:
    delivery = bench.prepared()
    batch = stage(delivery, b"one\n", b"two\n")
    assert bench.messages() == []
    assert not delivery.has_mail()
    delivery.publish(batch, journal)
    assert sorted(bench.messages()) == [b"one\n", b"two\n"]
    assert delivery.has_mail()
    assert bench.staged() == []


def test_publishing_again_after_it_succeeded_changes_nothing(bench: Bench, journal: MemoryJournal) -> None:
    delivery = bench.prepared()
    batch = deliver(delivery, journal, b"one\n", b"two\n")
    delivery.publish(batch, journal)
    assert sorted(bench.messages()) == [b"one\n", b"two\n"]


def test_an_empty_batch_touches_nothing(bench: Bench, journal: MemoryJournal) -> None:
    """Not even an mbox is made for it."""
    delivery = bench.prepared()
    delivery.flush_batch([])
    delivery.publish([], journal)
    assert delivery.recover([], journal) == 0
    assert bench.messages() == []
    assert bench.kind == "maildir" or not bench.path.exists()


def test_publishing_what_is_nowhere_is_an_error(bench: Bench, journal: MemoryJournal) -> None:
    """Never silently: a committed message is not fetched again."""
    delivery = bench.prepared()
    batch = stage(delivery, b"one\n")
    (bench.staging / batch[0].staged.name).unlink()
    with pytest.raises(DeliveryError, match=r"staged file vanished: .*mx1"):
        delivery.publish(batch, journal)


# ── what an earlier run left ─────────────────────────────────────────────────────────────────────────────────────


def staged_only(delivery: Delivery, journal: MemoryJournal) -> list[Committed]:
    batch = stage(delivery, b"one\n", b"two\n")
    journal.commit(batch)
    return batch


def published(delivery: Delivery, journal: MemoryJournal) -> list[Committed]:
    return deliver(delivery, journal, b"one\n", b"two\n")


@pytest.mark.parametrize(("crash_after", "to_do"), [(staged_only, 2), (published, 0)])
def test_recovery_publishes_what_was_committed_once(
    bench: Bench,
    journal: MemoryJournal,
    crash_after: Callable[[Delivery, MemoryJournal], list[Committed]],
    to_do: int,
) -> None:
    """FAULTS §4.1, the table; the calls in between are ``test_kill.py``'s."""
    crash_after(bench.prepared(), journal)
    for expected in (to_do, 0):
        delivery = bench.open()
        delivery.prepare(create=False)
        assert delivery.recover(journal.outbox, journal) == expected
        assert sorted(bench.messages()) == [b"one\n", b"two\n"]
        assert bench.staged() == []


def test_without_its_staging_what_waits_there_is_not_taken_for_published(bench: Bench, journal: MemoryJournal) -> None:
    """FAULTS G 99: an unmounted file system looks like one from which all was published."""
    staged_only(bench.prepared(), journal)
    bench.staging.rename(bench.root / "away")
    with pytest.raises(DeliveryError, match=r"and mail waits in it"):
        bench.open().prepare(create=False)
    assert not bench.staging.exists()
    (bench.root / "away").rename(bench.staging)
    delivery = bench.open()
    delivery.prepare(create=False)
    assert delivery.recover(journal.outbox, journal) == 2


def test_half_written_files_are_swept_and_complete_ones_are_leftovers(bench: Bench) -> None:
    delivery = bench.prepared()
    batch = stage(delivery, b"complete\n")
    half = delivery.stage(new_name())
    half.write(b"half")
    half.abandon()
    cut = delivery.stage(new_name())
    cut.write(b"cut" * 200_000)
    assert len(bench.staged()) == 2
    again = bench.prepared()
    assert again.leftovers() == [batch[0].staged.name] == bench.staged()
    cut.abandon()


def test_a_leftover_is_discarded_or_adopted(bench: Bench, journal: MemoryJournal) -> None:
    stage(bench.prepared(), b"unknown 1\n", b"unknown 2\n")
    delivery = bench.prepared()
    first, second = delivery.leftovers()
    delivery.discard([first])
    delivery.discard([])
    assert delivery.leftovers() == [second]
    orphan = Committed(UniqueId(b"\0digest"), delivery.adopt(second))
    journal.commit([orphan])
    delivery.publish([orphan], journal)
    assert bench.messages() == [b"unknown 2\n"]
    assert bench.staged() == []


def test_discarding_what_is_gone_already_is_no_error(bench: Bench) -> None:
    delivery = bench.prepared()
    delivery.discard([new_name()])
    assert delivery.leftovers() == []


def test_other_accounts_files_are_not_touched(bench: Bench, journal: MemoryJournal) -> None:
    """Several accounts stage into one directory: half-written and complete files of others stay."""
    bob = bench.prepared("bob")
    theirs = stage(bob, b"bob's\n", account="bob")
    writing = bob.stage(new_name("bob"))
    writing.write(b"b" * 300_000)
    foreign = bench.staging / "not-ours.part"
    foreign.write_bytes(b"")

    alice = bench.prepared("alice")
    assert alice.leftovers() == []
    deliver(alice, journal, b"alice's\n")
    assert bench.prepared("alice").leftovers() == []
    batch = [*theirs, Committed(None, writing.finish())]
    bob.publish(batch, journal)
    assert sorted(bench.messages(), key=len) == [
        b"bob's\n",
        b"alice's\n",
        b"b" * 300_000 + b"\n" * (bench.kind == "mbox"),
    ]
    assert bench.staged() == ["not-ours.part"]


def test_many_threads_deliver_into_one_target(bench: Bench) -> None:
    """Of different accounts, as the daemon's workers do; every message is there once, whole."""
    bodies = {
        account: [f"{account} {number}\n".encode() + b"x" * number * 40_000 + b"\n" for number in range(6)]
        for account in ("alice", "bob", "carol", "dave", "erin", "frank")
    }
    errors: list[Exception] = []

    def work(account: str) -> None:
        journal = MemoryJournal()
        try:
            delivery = bench.prepared(account)
            for at in range(0, 6, 2):
                deliver(delivery, journal, *bodies[account][at : at + 2], account=account)
        except Exception as error:  # noqa: BLE001 - a thread's errors are told by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(account,)) for account in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(bench.messages()) == sorted(body for one in bodies.values() for body in one)
    assert bench.staged() == []


# ── names, order of calls ────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_of_another_account_is_refused(bench: Bench) -> None:
    """Recovery would never find it."""
    with pytest.raises(ValueError, match="not a name of this account"):
        bench.prepared("alice").stage(new_name("bob"))


def test_a_name_is_never_staged_twice(bench: Bench) -> None:
    """FAULTS G 101: neither over a half-written long file nor over a complete one."""
    delivery = bench.prepared()
    for body in (b"first\n", b"first\n" * 100_000):
        name = new_name()
        first, second = delivery.stage(name), delivery.stage(name)
        first.write(body)
        staged = first.finish()
        with pytest.raises(DeliveryError, match=r"exists|cannot create"):
            finished(second, b"other\n" * (len(body) // 6))
        assert (bench.staging / staged.name).read_bytes() == body
        third = delivery.stage(name)
        if len(body) > 6:
            fourth = delivery.stage(name)
            third.write(body)
            with pytest.raises(DeliveryError, match="cannot create"):
                fourth.write(body)
        third.abandon()


def finished(file: StagedFile, body: bytes) -> Staged:
    file.write(body)
    return file.finish()


def test_what_a_power_cut_made_shorter_is_no_message(bench: Bench) -> None:
    """Its name says how long it is, and it may never have been flushed; the whole one is there for recovery."""
    delivery = bench.prepared()
    whole, cut = stage(delivery, b"1\n", b"22\n")
    os.truncate(bench.staging / cut.staged.name, 2)
    assert bench.prepared().leftovers() == [whole.staged.name]
    assert bench.staged() == [whole.staged.name]


def test_a_finished_file_takes_no_more(bench: Bench) -> None:
    file = bench.prepared().stage(new_name())
    file.finish()
    with pytest.raises(ValueError, match="finished"):
        file.write(b"x" * 300_000)
    file.abandon()
    assert len(bench.staged()) == 1


def test_nothing_works_before_prepare(bench: Bench) -> None:
    with pytest.raises(ValueError, match=r"prepare\(\) comes first"):
        bench.open().stage(new_name())


def test_opening_touches_nothing(bench: Bench) -> None:
    """``ports.OpenDelivery``."""
    target = MaildirTarget(bench.path) if bench.kind == "maildir" else MboxTarget(bench.path)
    delivery = open_delivery("alice", target, mbox_staging=bench.staging)
    assert isinstance(delivery, Maildir if bench.kind == "maildir" else Mbox)
    assert not delivery.has_mail()
    assert list(delivery.delivered()) == []
    assert list(bench.root.iterdir()) == []


# ── the target's surroundings ────────────────────────────────────────────────────────────────────────────────────


def in_missing_directory(bench: Bench) -> Bench:
    return Bench(bench.kind, bench.root / "not" / "there")


def test_missing_parents_are_an_error(bench: Bench) -> None:
    """FAULTS G 99: they may be a missing mount."""
    inner = in_missing_directory(bench)
    with pytest.raises(DeliveryError, match=r"not/there is not a directory; create it, mount"):
        inner.open().prepare()
    assert not (bench.root / "not").exists()


def test_missing_parents_are_created_where_that_is_asked_for(bench: Bench, journal: MemoryJournal) -> None:
    inner = in_missing_directory(bench)
    target = MaildirTarget if bench.kind == "maildir" else MboxTarget
    delivery = open_delivery("alice", target(inner.path, create_parents=True), mbox_staging=inner.staging)
    delivery.prepare()
    deliver(delivery, journal, b"x\n")
    assert inner.messages() == [b"x\n"]
    for made in (bench.root / "not", inner.path, inner.staging):
        assert made.stat().st_mode & 0o077 == 0


def test_files_and_directories_are_private(bench: Bench, journal: MemoryJournal) -> None:
    """Mode 0600 and 0700, also where a staging directory was found open to others."""
    bench.prepared()
    bench.staging.chmod(0o777)
    deliver(bench.prepared(), journal, b"x\n")
    assert bench.staging.stat().st_mode & 0o777 == 0o700
    mail = next((bench.path / "new").iterdir()) if bench.kind == "maildir" else bench.path
    assert mail.stat().st_mode & 0o777 == 0o600


def test_a_staging_directory_that_is_a_symbolic_link_is_refused(bench: Bench) -> None:
    """Whoever can put a link there would read the mail, or feed us theirs."""
    bench.prepared()
    bench.staging.rename(bench.root / "elsewhere")
    bench.staging.symlink_to(bench.root / "elsewhere")
    with pytest.raises(DeliveryError, match=r"cannot open directory"):
        bench.open().prepare()


def test_staged_files_that_are_links_are_not_followed(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file to be adopted is a regular one."""
    delivery = bench.prepared()
    secret = tmp_path_factory.mktemp("other") / "secret"
    secret.write_text("secret")
    name = new_name()
    (bench.staging / name).symlink_to(secret)
    with pytest.raises(DeliveryError, match=r"symbolic link"):
        delivery.adopt(name)


def test_a_full_disk_loses_nothing_and_delivery_goes_on_by_itself(small_disk: object, bench: Bench) -> None:
    """FAULTS G 96, a real ENOSPC while writing."""
    full = Bench(bench.kind, bench.root / "disk")
    journal = MemoryJournal()
    delivery = full.prepared()
    deliver(delivery, journal, b"before\n")
    file = delivery.stage(new_name())
    with pytest.raises(DeliveryError, match=r"cannot write to .*: the disk is full"):
        file.write(b"x" * 2_000_000)
    assert full.staged() == []
    file.abandon()
    deliver(delivery, journal, b"after\n")
    assert sorted(full.messages()) == [b"after\n", b"before\n"]
    del delivery, file
