"""The order of system calls on which "never lost, never twice" hangs (DESIGN §4): nothing is vouched for before it is
on disk.

A kill shows only what the kernel was told; what a power cut leaves is decided by the fsyncs, and where they stand.
"""

import errno
import os

import pytest

from fetchd.delivery import directory
from fetchd.errors import DeliveryError
from fetchd.model import Committed, Placement
from fetchd.ports import Delivery
from tests.delivery.doubles import Bench, MemoryJournal, new_name
from tests.delivery.syscalls import Recorder, watch

STAGING = [
    "open STAGE/NAME1.part",
    "write STAGE/NAME1.part",
    "fsync STAGE/NAME1.part",
    "rename STAGE/NAME1.part → STAGE/NAME1",
    "open STAGE/NAME2.part",
    "write STAGE/NAME2.part",
    "fsync STAGE/NAME2.part",
    "rename STAGE/NAME2.part → STAGE/NAME2",
    "fsync STAGE",
    "commit",
]
MAILDIR = [
    "rename STAGE/NAME1 → new/NAME1",
    "rename STAGE/NAME2 → new/NAME2",
    "fsync new",
    "fsync STAGE",
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
    short = {name: f"NAME{number}" for number, name in enumerate(names, 1)}
    return Recorder(bench.root, {stage: "STAGE"} | short | {"Maildir/": ""})


def stage_and_commit(delivery: Delivery, journal: MemoryJournal, names: list[str]) -> list[Committed]:
    batch = []
    for name in names:
        file = delivery.stage(name)
        file.write(b"Subject: x\r\n\r\nbody\r\n")
        batch.append(Committed(None, file.finish()))
    delivery.flush([committed.staged for committed in batch])
    journal.commit(batch)
    return batch


def test_the_order_of_a_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """File before its name, names before the commit, commit before publishing, publishing before the settling."""
    names = [new_name(uid=b"1"), new_name(uid=b"2")]
    recorder = recorder_for(bench, names)
    journal = RecordedJournal(recorder)
    delivery = bench.prepared()
    with monkeypatch.context() as patch:
        watch(patch, recorder)
        batch = stage_and_commit(delivery, journal, names)
        delivery.publish(batch, journal)
        journal.settle(names)
    assert recorder.calls == STAGING + (MAILDIR if bench.kind == "maildir" else MBOX)


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
    flushes = {"maildir": ["fsync new", "fsync STAGE"], "mbox": ["fsync STAGE"]}
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
        delivery.adopt(names[0])
    assert recorder.calls == ["fsync STAGE/NAME1", "fsync STAGE"]


def test_discarding_is_durable(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A discarded file that came back later might not be listed any more, and would be published beside its twin."""
    names = [new_name()]
    stage_and_commit(bench.prepared(), MemoryJournal(), names)
    recorder = recorder_for(bench, names)
    delivery = bench.prepared()
    with monkeypatch.context() as patch:
        watch(patch, recorder)
        delivery.discard(names)
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
    [("open", errno.EMFILE), ("write", errno.EDQUOT), ("fsync", errno.EIO), ("rename", errno.ENOSPC)],
)
def test_a_message_that_cannot_be_staged_leaves_no_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """And a failed fsync is not tried again: the second would say that all is well."""
    delivery = bench.prepared()
    failing = Failing(call, code)
    with monkeypatch.context() as patch:
        watch(patch, failing)
        with pytest.raises(DeliveryError) as caught:
            stage_and_commit(delivery, MemoryJournal(), [new_name()])
    assert bench.staged() == []
    assert isinstance(caught.value.__cause__, OSError)
    assert failing.calls.count("fsync") <= 1


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
        stage_and_commit(bench.prepared(), MemoryJournal(), [new_name()])
    assert bench.staged() == []


def test_a_batch_whose_names_are_not_on_disk_is_undone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """``ports.Delivery.flush``; the other batch stays."""
    delivery = bench.prepared()
    stage_and_commit(delivery, MemoryJournal(), [other := new_name(uid=b"other")])
    failing = Failing("fsync", errno.EIO, number=3)
    with monkeypatch.context() as patch:
        watch(patch, failing)
        with pytest.raises(DeliveryError, match=r"cannot flush .*: the disk reports an error"):
            stage_and_commit(delivery, MemoryJournal(), [new_name(uid=b"1"), new_name(uid=b"2")])
    assert bench.staged() == [other]
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
