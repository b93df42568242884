"""kill -9 at every call that changes the disk, in forked processes: each message once, whole (FAULTS §3).

The process is a session as ``fetch.py`` runs it: recover, fetch what is not known yet, stage, flush, commit, publish,
settle. The server keeps its mail. Between the kill and the next run a mail reader may be at work.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd.model import Committed, UniqueId
from tests.delivery.doubles import Bench, FileJournal, MemoryJournal, deliver, new_name
from tests.delivery.syscalls import Killer, in_child, watch

BODIES = {
    "uid-1": b"Subject: 1\n\nFrom one\n",
    "uid-2": b"Subject: 2\n\n" + b"two " * 10_000 + b"\n",
    "uid-3": b"Subject: 3\n\n>From three\n",
}
STRIDE = 1 if os.environ.get("FETCHD_TEST_EVERY_KILL") else 9
FIRST_KILL = 1 if STRIDE == 1 else 14
FOREIGN = b"Subject: theirs\n\nfrom another program\n"


def session(bench: Bench, before: Callable[[], object] = lambda: None, *, batch_of: int = 2) -> None:
    """One poll of a server that lists all of ``BODIES`` and deletes nothing."""
    journal = FileJournal(bench.root / "journal.json", before)
    delivery = bench.open()
    waiting = list(journal.outbox)
    delivery.prepare(create=not waiting)
    if waiting:
        delivery.recover(waiting, journal)
        journal.settle([committed.staged.name for committed in waiting])
    delivery.discard(delivery.leftovers())
    wanted = [uid for uid in BODIES if uid not in journal.seen]
    for at in range(0, len(wanted), batch_of):
        batch = []
        for uid in wanted[at : at + batch_of]:
            file = delivery.stage(new_name(uid=uid.encode()))
            file.write(BODIES[uid].replace(b"\n", b"\r\n"))
            batch.append(Committed(UniqueId(uid.encode()), file.finish()))
        delivery.flush_batch([committed.staged for committed in batch])
        journal.commit(batch)
        delivery.publish(batch, journal)
        delivery.seal()
        journal.settle([committed.staged.name for committed in batch])


def killed_session(bench: Bench, number: int) -> bool:
    """Runs a session that is killed before its n-th call; returns False where it came to its end before."""

    def work() -> None:
        killer = Killer(number)
        with pytest.MonkeyPatch.context() as patch:
            watch(patch, killer)
            session(bench, lambda: killer("save", (), {}))

    status = in_child(work)
    assert status in (0, -9)
    return status == -9


# ── what goes on between two runs ────────────────────────────────────────────────────────────────────────────────


def nobody(bench: Bench) -> list[bytes]:
    return []


def reader_moves(bench: Bench) -> list[bytes]:
    """new/ → cur/; of an mbox it only reads, under its lock."""
    if bench.kind == "maildir" and (bench.path / "new").exists():
        for file in (bench.path / "new").iterdir():
            file.rename(bench.path / "cur" / f"{file.name}:2,S")
    return []


def reader_takes(bench: Bench) -> list[bytes]:
    """It reads and deletes messages of a Maildir; returns what it took."""
    taken = []
    if bench.kind == "maildir" and bench.path.exists():
        for file in (bench.path / "new").iterdir():
            taken.append(file.read_bytes())
            file.unlink()
    return taken


def another_delivers(bench: Bench) -> list[bytes]:
    """Another account's session, into the same target, before ours recovers."""
    deliver(bench.prepared("bob"), MemoryJournal(), FOREIGN, account="bob")
    return []


def check(bench: Bench, taken: list[bytes], foreign: int) -> None:
    messages = bench.messages() + taken
    counts = {uid: messages.count(body) for uid, body in BODIES.items()}
    assert counts == dict.fromkeys(BODIES, 1)
    assert messages.count(FOREIGN) == foreign
    torn = [message for message in messages if message not in (*BODIES.values(), FOREIGN)]
    # What others appended behind a torn batch is theirs: then, and only then, its beginning stays in an mbox.
    assert torn == [] or (bench.kind == "mbox" and foreign and len(torn) == 1), torn
    assert bench.staged() == []
    beside = {path.name for path in bench.root.iterdir()} - {"Maildir", "mbox", "state", "journal.json", "journal.new"}
    assert {name for name in beside if not name.startswith("Maildir.fetchd-")} == set()


def trial(tmp_path: Path, kind: str, number: int) -> Bench:
    root = tmp_path / str(number)
    root.mkdir()
    return Bench(kind, root)


@pytest.mark.parametrize(
    ("kind", "between"),
    [
        ("maildir", nobody),
        ("maildir", reader_moves),
        ("maildir", reader_takes),
        ("maildir", another_delivers),
        ("mbox", nobody),
        ("mbox", another_delivers),
    ],
)
def test_killed_at_any_call_each_message_comes_once(
    tmp_path: Path, kind: str, between: Callable[[Bench], list[bytes]]
) -> None:
    """Writes are torn: half of the octets are there."""
    for number in range(1, 200):
        bench = trial(tmp_path, kind, number)
        killed = killed_session(bench, number)
        taken = between(bench)
        session(bench)
        check(bench, taken, foreign=between is another_delivers)
        if not killed:
            break
    assert 30 < number < 199


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
@pytest.mark.parametrize("first", range(FIRST_KILL, 60, STRIDE))
def test_killed_again_while_recovering_each_message_comes_once(tmp_path: Path, kind: str, first: int) -> None:
    """The run after a kill is killed too, anywhere; ``FETCHD_TEST_EVERY_KILL=1`` tries all pairs."""
    for second in range(1 + first % STRIDE, 200, STRIDE):
        bench = trial(tmp_path, kind, second)
        killed_session(bench, first)
        killed = killed_session(bench, second)
        session(bench)
        check(bench, [], foreign=0)
        if not killed:
            break
