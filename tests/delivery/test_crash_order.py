"""The order of system calls on which "never lost, never twice" hangs (DESIGN §4): nothing is vouched for before it is
on disk.

A kill shows only what the kernel was told; what a power cut leaves is decided by the fsyncs, and where they stand.
"""

import errno
import os
import re

import pytest

from fetchd.delivery import directory, flushing, kernel
from fetchd.delivery.staging import CHUNK
from fetchd.errors import DeliveryError
from fetchd.model import Committed, Placement
from fetchd.names import account_digest
from fetchd.ports import Delivery
from tests.delivery.doubles import Bench, MemoryJournal, new_name
from tests.delivery.syscalls import Recorder, watch

LONG = b"Subject: x\n\n" + b"x" * CHUNK
BODY = b"Subject: x\r\n\r\nbody\r\n"
STAGED = f",S={len(BODY) - 3}"
STAGING = [
    "open STAGE/NAME1",
    "write STAGE/NAME1",
    "open STAGE/NAME2",
    "write STAGE/NAME2",
    "fsync STAGE/NAME1",
    "fsync STAGE/NAME2",
    "fsync STAGE",
    "commit",
]
MAILDIR = [
    "rename STAGE/NAME1 → new/NAME1",
    "rename STAGE/NAME2 → new/NAME2",
    "fsync new",
    "fsync STAGE",
    "fsync LOCK",
    "settle",
]
MBOX = [
    "open mbox",
    "fsync .",
    "unlink mbox.lock.fetchd",
    "open mbox.lock.fetchd",
    "write mbox.lock.fetchd",
    "link mbox.lock.fetchd → mbox.lock",
    "journal appending",
    "write mbox",
    "fsync mbox",
    "journal appended",
    "unlink mbox.lock",
    "unlink mbox.lock.fetchd",
    "unlink STAGE/NAME1",
    "unlink STAGE/NAME2",
    "fsync STAGE",
    "settle",
]


class RecordedJournal(MemoryJournal):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def appending(self, placement: Placement) -> None:
        self._recorder.mark("journal appending")
        super().appending(placement)

    def appended(self, placement: Placement) -> None:
        self._recorder.mark("journal appended")
        super().appended(placement)

    def commit(self, batch: list[Committed]) -> None:  # type: ignore[override]
        self._recorder.mark("commit")
        super().commit(batch)

    def settle(self, names: list[str]) -> None:  # type: ignore[override]
        self._recorder.mark("settle")
        super().settle(names)


def recorder_for(bench: Bench, names: list[str]) -> Recorder:
    stage = os.path.relpath(bench.staging, bench.root)
    lock = f"tmp/.fetchd-{account_digest('alice')}.lock"
    short = {STAGED: "", lock: "LOCK"} | {name: f"NAME{number}" for number, name in enumerate(names, 1)}
    return Recorder(bench.root, {stage: "STAGE"} | short | {"Maildir/": ""})


def stage_and_commit(
    delivery: Delivery, journal: MemoryJournal, names: list[str], body: bytes = BODY
) -> list[Committed]:
    batch = []
    for name in names:
        file = delivery.stage(name)
        file.write(body)
        batch.append(Committed(None, file.finish()))
    delivery.flush_batch([committed.staged for committed in batch])
    journal.commit(batch)
    return batch


def test_the_order_of_a_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and names before the commit, commit before publishing, publishing before the settling."""
    names = [new_name(uid=b"1"), new_name(uid=b"2")]
    recorder = recorder_for(bench, names)
    journal = RecordedJournal(recorder)
    delivery = bench.prepared()
    with monkeypatch.context() as patch:
        watch(patch, recorder)
        batch = stage_and_commit(delivery, journal, names)
        delivery.publish(batch, journal)
        delivery.seal()
        journal.settle([committed.staged.name for committed in batch])
    assert recorder.calls == STAGING + (MAILDIR if bench.kind == "maildir" else MBOX)


def test_a_long_message_gets_its_name_when_it_is_whole(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not fit into memory; until then its name ends in .part, and the next session sweeps it away."""
    recorder = recorder_for(bench, [name := new_name()])
    delivery = bench.prepared()
    with monkeypatch.context() as patch:
        watch(patch, recorder)
        stage_and_commit(delivery, RecordedJournal(recorder), [name], LONG)
    long = f"STAGE/NAME1,S={len(LONG)}"
    assert recorder.calls == [
        "open STAGE/NAME1.part",
        "write STAGE/NAME1.part",
        f"rename STAGE/NAME1.part → {long}",
        f"fsync {long}",
        "fsync STAGE",
        "commit",
    ]


def test_many_files_are_flushed_by_one_call(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the commit; it flushes names too. Where the file system's syncfs is not to be trusted, one by one."""
    for trusted, flushes in (
        (True, ["syncfs STAGE", "fsync STAGE/NAME"]),
        (False, ["fsync STAGE/NAME"] * 9 + ["fsync STAGE"]),
    ):
        names = [new_name(uid=b"%d" % number) for number in range(9)]
        recorder = recorder_for(bench, names)
        delivery = bench.prepared()
        with monkeypatch.context() as patch:
            watch(patch, recorder)
            patch.setattr(kernel, "can_flush_file_system", lambda _, trusted=trusted: trusted)
            batch = stage_and_commit(delivery, RecordedJournal(recorder), names)
        delivery.discard([committed.staged.name for committed in batch])
        assert [re.sub(r"\d$", "", call) for call in recorder.calls[18:]] == [*flushes, "commit"]


def test_a_batch_is_sealed_by_the_flush_of_the_next(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One flush of everything covers the renames of the batch before; where it is not to be had, seal() does."""
    monkeypatch.setattr(kernel, "can_flush_file_system", lambda _: True)
    delivery, journal = bench.prepared(), MemoryJournal()
    flushes = []
    for turn in range(2):
        names = [new_name(uid=b"%d %d" % (turn, number)) for number in range(9)]
        batch = []
        for name in names:
            file = delivery.stage(name)
            file.write(BODY)
            batch.append(Committed(None, file.finish()))
        flushes.append(delivery.flush_batch([committed.staged for committed in batch]))
        journal.commit(batch)
        delivery.publish(batch, journal)
    recorder = recorder_for(bench, [])
    with monkeypatch.context() as patch:
        watch(patch, recorder)
        delivery.seal()
        delivery.seal()
    assert flushes == [True, True]
    assert recorder.calls == {"maildir": ["fsync new", "fsync STAGE", "fsync LOCK"], "mbox": []}[bench.kind]
    assert len(bench.messages()) == 18


def test_a_slow_flush_of_everything_is_not_made_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It carries the data of others: the rest of the session goes file by file."""
    delivery = bench.prepared()
    monkeypatch.setattr(kernel, "can_flush_file_system", lambda _: True)
    seconds = iter([0.0, 2.5])
    monkeypatch.setattr(flushing, "monotonic", lambda: next(seconds))
    recorders = []
    for turn in range(2):
        names = [new_name(uid=b"%d %d" % (turn, number)) for number in range(9)]
        recorders.append(recorder_for(bench, names))
        with monkeypatch.context() as patch:
            watch(patch, recorders[-1])
            stage_and_commit(delivery, MemoryJournal(), names)
    assert [sum("syncfs" in call for call in recorder.calls) for recorder in recorders] == [1, 0]


def test_a_failed_flush_of_everything_gives_the_batch_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names no file (FAULTS G 97), and is not tried again; recovery settles what is there."""
    delivery = bench.prepared()
    monkeypatch.setattr(kernel, "can_flush_file_system", lambda _: True)
    failing = Failing("syncfs", errno.EIO)
    with monkeypatch.context() as patch:
        watch(patch, failing)
        with pytest.raises(DeliveryError, match=r"cannot flush the file system of .*: the disk reports an error"):
            stage_and_commit(delivery, MemoryJournal(), [new_name(uid=b"%d" % number) for number in range(9)])
    assert len(bench.staged()) == 9
    assert failing.calls.count("syncfs") == 1


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_a_sandbox_forbids_to_flush_everything_files_are_flushed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    delivery = bench.prepared()
    monkeypatch.setattr(kernel, "can_flush_file_system", lambda _: True)
    failing = Failing("syncfs", code)
    with monkeypatch.context() as patch:
        watch(patch, failing)
        for turn in range(2):
            stage_and_commit(delivery, MemoryJournal(), [new_name(uid=b"%d %d" % (turn, n)) for n in range(9)])
    assert (failing.calls.count("syncfs"), failing.calls.count("fsync")) == (1, 20)


def test_a_file_that_is_gone_when_the_batch_is_flushed_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed, it would be taken for published, and deleted on the server."""
    delivery = bench.prepared()
    monkeypatch.setattr(kernel, "can_flush_file_system", lambda _: True)
    batch = []
    for number in range(9):
        file = delivery.stage(new_name(uid=b"%d" % number))
        file.write(BODY)
        batch.append(file.finish())
    (bench.staging / batch[4].name).unlink()
    with pytest.raises(DeliveryError, match="staged file vanished"):
        delivery.flush_batch(batch)


def test_recovery_flushes_also_what_it_finds_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run before may have been killed between the rename, or the unlink, and the flush; then the names are
    settled, and a power cut must not bring the staged file back.
    """
    names = [new_name()]
    journal = MemoryJournal()
    first = bench.prepared()
    first.publish(stage_and_commit(first, journal, names), journal)
    recorder = recorder_for(bench, names)
    delivery = bench.open()
    delivery.prepare(create=False)
    with monkeypatch.context() as patch:
        watch(patch, recorder)
        delivery.recover(journal.outbox, journal)
    flushes = {"maildir": ["fsync new", "fsync STAGE", "fsync LOCK"], "mbox": ["fsync STAGE"]}
    assert [call for call in recorder.calls if call.startswith("fsync")] == flushes[bench.kind]


def test_created_directories_are_flushed_into_their_parents(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a message is staged in them."""
    recorder = recorder_for(bench, [])
    with monkeypatch.context() as patch:
        watch(patch, recorder)
        bench.prepared()
    if bench.kind == "mbox":
        assert recorder.calls == ["mkdir state", "fsync .", "mkdir STAGE", "fsync state"]
    else:
        built = recorder.calls[0].removeprefix("mkdir ")
        calls = [call.replace(built, "BUILT") for call in recorder.calls]
        assert calls == [
            "mkdir BUILT",
            "mkdir BUILT/new",
            "mkdir BUILT/cur",
            "mkdir BUILT/tmp",
            "fsync BUILT",
            "rename BUILT → Maildir",
            "fsync .",
            "open LOCK",
            "mkdir STAGE",
            "fsync tmp",
            "rename STAGE/.fetchd-trial → new/.fetchd-trial",
        ]


def test_adopting_a_file_makes_sure_that_it_is_on_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is committed next, on the strength of having been found."""
    names = [new_name()]
    stage_and_commit(bench.prepared(), MemoryJournal(), names)
    recorder = recorder_for(bench, names)
    delivery = bench.prepared()
    with monkeypatch.context() as patch:
        watch(patch, recorder)
        delivery.adopt(names[0] + STAGED)
    assert recorder.calls == ["fsync STAGE/NAME1", "fsync STAGE"]


def test_discarding_is_durable(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A discarded file that came back later might not be listed any more, and would be published beside its twin."""
    names = [new_name()]
    stage_and_commit(bench.prepared(), MemoryJournal(), names)
    recorder = recorder_for(bench, names)
    delivery = bench.prepared()
    with monkeypatch.context() as patch:
        watch(patch, recorder)
        delivery.discard([names[0] + STAGED])
    assert recorder.calls == ["unlink STAGE/NAME1", "fsync STAGE"]


# ── errors at each call: FAULTS G 97, 98 ─────────────────────────────────────────────────────────────────────────


class Failing:
    """Lets the n-th call of one kind fail, once."""

    def __init__(self, call: str, code: int, *, number: int = 1) -> None:
        self._call = call
        self._left = number
        self._code = code
        self.calls: list[str] = []

    def __call__(self, name: str, args: object, kwargs: object) -> None:
        self.calls.append(name)
        if name == self._call:
            self._left -= 1
            if self._left == 0:
                raise OSError(self._code, os.strerror(self._code))


@pytest.mark.parametrize(
    ("call", "code"),
    [("open", errno.EMFILE), ("write", errno.EDQUOT), ("rename", errno.ENOSPC)],
)
def test_a_message_that_cannot_be_staged_leaves_no_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    delivery = bench.prepared()
    failing = Failing(call, code)
    with monkeypatch.context() as patch:
        watch(patch, failing)
        with pytest.raises(DeliveryError) as caught:
            stage_and_commit(delivery, MemoryJournal(), [new_name()], LONG if call == "rename" else BODY)
    assert bench.staged() == []
    assert isinstance(caught.value.__cause__, OSError)


def test_a_failed_close_is_a_failed_message(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a network file system tells of its errors."""

    class Closing(directory.FileIO):
        def close(self) -> None:
            first = not self.closed
            super().close()
            if first:
                raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setattr(directory, "FileIO", Closing)
    with pytest.raises(DeliveryError, match=r"cannot complete .*quota of uid"):
        stage_and_commit(bench.prepared(), MemoryJournal(), [new_name()], LONG)
    assert bench.staged() == []


def test_a_batch_that_is_not_on_disk_stays_for_recovery(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed fsync is not tried again: the second would say that all is well (FAULTS G 97)."""
    delivery = bench.prepared()
    stage_and_commit(delivery, MemoryJournal(), [other := new_name(uid=b"other")])
    failing = Failing("fsync", errno.EIO, number=3)
    with monkeypatch.context() as patch:
        watch(patch, failing)
        with pytest.raises(DeliveryError, match=r"cannot flush .*: the disk reports an error"):
            stage_and_commit(delivery, MemoryJournal(), [new_name(uid=b"1"), new_name(uid=b"2")])
    assert other + STAGED in bench.staged()
    assert len(bench.staged()) == 3
    assert failing.calls.count("fsync") == 3


def test_a_short_write_is_carried_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """write(2) may take less than it was given."""
    write = os.write
    journal = MemoryJournal()
    delivery = bench.prepared()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, octets: write(descriptor, bytes(octets[:7])))
        batch = stage_and_commit(delivery, journal, [new_name()])
        delivery.publish(batch, journal)
    assert bench.messages() == [b"Subject: x\n\nbody\n"]


@pytest.mark.parametrize("number", range(1, 12))
@pytest.mark.parametrize("call", ["fsync", "rename", "write", "unlink", "link", "open"])
def test_whatever_fails_while_publishing_recovery_makes_good(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """A DeliveryError, the batch committed and staged or published; then once each."""
    names = [new_name(uid=b"1"), new_name(uid=b"2")]
    journal = MemoryJournal()
    delivery = bench.prepared()
    batch = stage_and_commit(delivery, journal, names)
    failing = Failing(call, errno.EIO, number=number)
    with monkeypatch.context() as patch:
        watch(patch, failing)
        try:
            delivery.publish(batch, journal)
        except DeliveryError:
            assert call in failing.calls
        else:
            assert failing.calls.count(call) < number
    again = bench.open()
    again.prepare(create=False)
    again.recover(journal.outbox, journal)
    assert bench.messages() == [b"Subject: x\n\nbody\n"] * 2
    assert bench.staged() == []
    assert not bench.root.joinpath("mbox.lock").exists()
