"""What stands around a delivery in these tests: a store of the smallest kind, names, and the two targets to try."""

import json
import mailbox
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

from fetchd.delivery.locking import Patience
from fetchd.delivery.maildir import STAGE, Maildir
from fetchd.delivery.mbox import Mbox
from fetchd.model import Committed, Placement, Staged, UniqueId
from fetchd.names import message_name
from fetchd.ports import Delivery

_NONCES = count(0x10000000)
SECONDS = 1_795_461_986


def new_name(account: str = "alice", uid: bytes = b"uid", *, seconds: int = SECONDS) -> str:
    return message_name(account, UniqueId(uid), seconds=seconds, nonce=next(_NONCES), host="mx1")


def unquoted(octets: bytes) -> bytes:
    """What a reader that knows mboxrd makes of a body."""
    return re.sub(rb"(?m)^>(>*From )", rb"\1", octets)


class MemoryJournal:
    """``ports.Journal`` in memory, and the two lists of the store that a delivery's caller keeps."""

    def __init__(self) -> None:
        self.kept: list[Placement] = []
        self.outbox: list[Committed] = []
        self.seen: list[str] = []

    def appending(self, placement: Placement) -> None:
        self.kept.append(placement)
        self.save()

    def appended(self, placement: Placement) -> None:
        at = self.kept.index(placement)
        self.kept[at] = replace(placement, done=True)
        self.save()

    def placements(self) -> Sequence[Placement]:
        return tuple(self.kept)

    def commit(self, batch: Sequence[Committed]) -> None:
        self.outbox += batch
        self.seen += [committed.uid.decode() for committed in batch if committed.uid is not None]
        self.save()

    def settle(self, names: Sequence[str]) -> None:
        self.outbox = [committed for committed in self.outbox if committed.staged.name not in names]
        self.kept = [placement for placement in self.kept if not set(placement.names) <= set(names)]
        self.save()

    def save(self) -> None:
        """Nothing to do in memory."""


class FileJournal(MemoryJournal):
    """The same, on disk, so that it outlives a killed process; ``before_save`` lets a test kill it there too."""

    def __init__(self, path: Path, before_save: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._path = path
        self._before_save = before_save
        if path.exists():
            kept = json.loads(path.read_text())
            self.seen = kept["seen"]
            for one in kept["placements"]:
                digest, names = bytes.fromhex(one["digest"]), tuple(one["names"])
                self.kept.append(Placement(**(one | {"digest": digest, "names": names})))
            for uid, name, size in kept["outbox"]:
                self.outbox.append(Committed(UniqueId(uid.encode()), Staged(name, size)))

    def save(self) -> None:
        self._before_save()
        placements = [asdict(placement) | {"digest": placement.digest.hex()} for placement in self.kept]
        outbox = [((one.uid or b"").decode(), one.staged.name, one.staged.size) for one in self.outbox]
        new = self._path.with_suffix(".new")
        with new.open("w") as file:
            json.dump({"seen": self.seen, "placements": placements, "outbox": outbox}, file)
        new.replace(self._path)


@dataclass(frozen=True)
class Bench:
    """One kind of target in a directory of its own."""

    kind: str
    root: Path

    @property
    def path(self) -> Path:
        return self.root / ("Maildir" if self.kind == "maildir" else "mbox")

    @property
    def staging(self) -> Path:
        return self.path / "tmp" / STAGE if self.kind == "maildir" else self.root / "state" / "staging"

    def open(self, account: str = "alice") -> Delivery:
        """A new delivery, as a new session has; not prepared."""
        if self.kind == "maildir":
            return Maildir(self.path, account)
        return Mbox(self.path, account, staging=self.staging)

    def prepared(self, account: str = "alice") -> Delivery:
        delivery = self.open(account)
        delivery.prepare()
        return delivery

    def messages(self) -> list[bytes]:
        """What a mail reader sees, in no order; of an mbox, with the quoting undone."""
        if not self.path.exists():
            return []
        if self.kind == "maildir":
            return [file.read_bytes() for sub in ("new", "cur") for file in sorted((self.path / sub).iterdir())]
        box = mailbox.mbox(self.path, create=False)
        try:
            return [unquoted(box.get_bytes(key)) for key in box.keys()]  # type: ignore[arg-type]  # noqa: SIM118
        finally:
            box.close()

    def staged(self) -> list[str]:
        return sorted(file.name for file in self.staging.iterdir()) if self.staging.exists() else []


def stage(delivery: Delivery, *bodies: bytes, account: str = "alice") -> list[Committed]:
    """Stages and flushes messages as a session does."""
    batch = []
    for number, body in enumerate(bodies):
        uid = UniqueId(f"uid-{number}".encode())
        file = delivery.stage(new_name(account, uid))
        file.write(body)
        batch.append(Committed(uid, file.finish()))
    delivery.flush_batch([committed.staged for committed in batch])
    return batch


def deliver(delivery: Delivery, journal: MemoryJournal, *bodies: bytes, account: str = "alice") -> list[Committed]:
    """The whole way of a batch, without its settling."""
    batch = stage(delivery, *bodies, account=account)
    journal.commit(batch)
    delivery.publish(batch, journal)
    return batch


NOW = float(SECONDS)


class Waiting:
    """A clock that only ``sleep`` moves; ``then`` happens while somebody sleeps for the first time."""

    def __init__(self, then: object = None) -> None:
        self.slept = 0.0
        self._then = then

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        then, self._then = self._then, None
        if callable(then):
            then()

    def patience(self, timeout: float = 30.0) -> Patience:
        return Patience(timeout, self.sleep, lambda: NOW + self.slept)
