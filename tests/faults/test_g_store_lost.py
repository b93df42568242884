"""FAULTS §2 G 104: a store that is lost, or restored from a backup: told loudly; what file names tell comes once."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fetchd import events
from fetchd.errors import Retry, UniqueIdsChangedError
from fetchd.model import Fate, Policy, SkipReason, UniqueId, UniqueIdsChanged
from fetchd.recovery import FLOOD
from fetchd.store.sqlite import SqliteStore
from tests.faults.bench import DELETE, KEEP, Bench, message, stored, uid
from tests.faults.server import FaultyServer


def stop(bench: Bench) -> Path:
    """Ends this fetchd; returns its state directory."""
    bench.store.close()
    return bench.root / "state"


def start(bench: Bench) -> None:
    """Begins another one, with what is in the state directory by now."""
    bench.store = SqliteStore.open(bench.root / "state" / "fetchd.db")
    bench.world = replace(bench.world, store=bench.store)


def lose(bench: Bench) -> None:
    shutil.rmtree(stop(bench))
    start(bench)
    assert bench.store.created


def test_a_lost_store_is_rebuilt_from_the_names_of_files(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 104: the recreated container: read mail and mail in folders is recognised; new mail comes."""
    bench.fill(*range(1, 31))
    bench.poll(policy=KEEP)
    maildir = bench.root / "Maildir"
    (maildir / ".Archive" / "cur").mkdir(parents=True)
    for number, file in enumerate(sorted(bench.files())):
        box = (".Archive/cur", "cur", "new")[number % 3]
        file.rename(maildir / box / (file.name if box == "new" else f"{file.name}:2,S"))
    lose(bench)
    bench.fill(31)
    assert bench.poll(policy=KEEP).delivered == 1
    (lost,) = bench.said(events.UnknownAccountHasMail)
    assert (lost.recognised, lost.unrecognised, lost.marked, lost.level) == (30, 1, 0, "error")
    assert server.retrieved == [uid(number) for number in range(1, 32)]
    assert bench.poll(policy=KEEP).delivered == 0


def test_after_a_loss_nothing_that_only_a_name_tells_of_is_deleted(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 104, 43: a unique-id may name another message by now."""
    bench.fill(1, 2)
    bench.poll(policy=KEEP)
    lose(bench)
    server.mail[0] = (uid(1), message(3))
    assert bench.poll(policy=DELETE).skipped == {SkipReason.UNPROVEN: 2}
    assert bench.said(events.DeletionWithheld)[0].count == 2
    assert (server.uids, server.count(b"DELE")) == ([uid(1), uid(2)], 0)


def test_a_loss_that_would_bring_a_flood_waits_for_a_decision(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 104: most of the mail was moved or deleted by its reader, and is not recognised."""
    bench.fill(*range(1, FLOOD + 2))
    bench.poll(policy=KEEP)
    for file in sorted(bench.files(), key=lambda file: int(file.read_bytes().split()[1]))[:FLOOD]:
        file.unlink()
    lose(bench)
    bench.fill(99)
    says = (
        rf"state directory been lost\? 1 of the {FLOOD + 2} .* {FLOOD} older ones are not.*`unique_ids_changed: skip`"
    )
    bench.fails(UniqueIdsChangedError, says, retry=Retry.HOLD, policy=KEEP)
    assert bench.mail() == stored(FLOOD + 1)
    assert bench.poll(policy=Policy(unique_ids_changed=UniqueIdsChanged.SKIP)).delivered == 1
    assert bench.mail() == stored(FLOOD + 1, 99)


def test_an_older_store_doubles_nothing_that_was_delivered_since(bench: Bench, server: FaultyServer) -> None:
    """FAULTS 104: a backup of the store, put back: what came after it is listed, and the store does not know it."""
    bench.fill(1, 2)
    bench.poll(policy=KEEP)
    state = stop(bench)
    shutil.copytree(state, bench.root / "backup")
    start(bench)
    bench.clock.advance(60)
    bench.fill(3, 4)
    bench.poll(policy=KEEP)
    stop(bench)
    shutil.rmtree(state)
    shutil.copytree(bench.root / "backup", state)
    start(bench)
    assert not bench.store.created
    bench.fill(5)
    assert bench.poll(policy=KEEP).delivered == 1
    assert [event.recognised for event in bench.said(events.StoreIsOlder)] == [2]
    assert server.retrieved == [uid(number) for number in range(1, 6)]
    assert bench.mail() == stored(1, 2, 3, 4, 5)
    assert bench.store.seen("alice")[UniqueId(uid(1))].fate is Fate.UNPROVEN
    assert bench.poll(policy=KEEP).delivered == 0
    assert bench.said(events.StoreIsOlder) == []


@pytest.mark.parametrize("step", [0, -86_400])
def test_a_store_that_is_as_it_was_left_is_not_taken_for_an_older_one(
    bench: Bench, server: FaultyServer, step: int
) -> None:
    """FAULTS 104, 106: not after a restart, and not where the clock stepped back."""
    bench.fill(1)
    bench.poll(policy=KEEP)
    bench.clock.wall_now += step
    bench.fill(2)
    bench.poll(policy=KEEP)
    stop(bench)
    start(bench)
    bench.poll(policy=KEEP)
    assert bench.said(events.StoreIsOlder) == []
    assert {entry.fate for entry in bench.store.seen("alice").values()} == {Fate.DELIVERED}
