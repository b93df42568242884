"""A Maildir that nothing has happened to since it was looked at: one look at its staging directory is enough."""

import os
import shutil
from pathlib import Path

import pytest

from fetchd.delivery.maildir import STAGE, Maildir
from fetchd.delivery.sightings import Sightings
from fetchd.errors import DeliveryError
from tests.delivery.doubles import Bench, MemoryJournal, deliver, new_name, stage


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench("maildir", tmp_path)


@pytest.fixture(params=["the same process", "another process"])
def sightings(bench: Bench, request: pytest.FixtureRequest) -> Sightings:
    """After a session that found nothing left behind; another process knows only what it sees itself."""
    sightings = Sightings()
    first = Maildir(bench.path, "alice", sightings=sightings)
    first.prepare(waiting=False)
    assert first.leftovers() == []
    first.close()
    return sightings if request.param == "the same process" else Sightings()


def session(bench: Bench, sightings: Sightings, account: str = "alice") -> Maildir:
    delivery = Maildir(bench.path, account, sightings=sightings)
    delivery.prepare(create=False, waiting=False)
    return delivery


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_is_opened_until_there_is_something_to_do(bench: Bench, sightings: Sightings) -> None:
    before = descriptors()
    delivery = session(bench, sightings)
    assert delivery.leftovers() == []
    assert descriptors() == before
    delivery.ready()
    assert descriptors() > before
    delivery.close()


def test_what_is_delivered_then_arrives(bench: Bench, sightings: Sightings, journal: MemoryJournal) -> None:
    deliver(session(bench, sightings), journal, b"one\n")
    deliver(session(bench, sightings), journal, b"two\n")
    assert sorted(bench.messages()) == [b"one\n", b"two\n"]


def test_a_maildir_that_is_gone_is_refused_at_once(bench: Bench, sightings: Sightings) -> None:
    """FAULTS G 99."""
    bench.path.rename(bench.root / "unmounted")
    with pytest.raises(DeliveryError, match="is missing, and mail was delivered into it"):
        session(bench, sightings)


def test_another_maildir_in_its_place_is_looked_at_closely(bench: Bench, sightings: Sightings) -> None:
    """FAULTS G 99: one that an IMAP server made, say."""
    bench.path.rename(bench.root / "unmounted")
    shutil.copytree(bench.root / "unmounted", bench.path)
    (bench.path / "cur").rmdir()
    with pytest.raises(DeliveryError, match="has no cur"):
        session(bench, sightings)


def test_what_is_wrong_elsewhere_is_found_before_anything_is_fetched(bench: Bench, sightings: Sightings) -> None:
    (bench.path / "new").rmdir()
    with pytest.raises(DeliveryError, match="has no new"):
        session(bench, sightings).ready()


@pytest.mark.parametrize("name", ["tmp", "new", "cur"])
def test_a_directory_that_is_everybodys_is_found_by_another_process_at_once(bench: Bench, name: str) -> None:
    """Whoever starts fetchd is told then, and not when there is mail."""
    bench.prepared().close()
    (bench.path / name).chmod(0o777)
    with pytest.raises(DeliveryError, match="everybody may write to"):
        session(bench, Sightings())


def test_a_staging_directory_that_is_a_symbolic_link_is_found_by_another_process_at_once(bench: Bench) -> None:
    bench.prepared().close()
    staging, elsewhere = bench.path / "tmp" / STAGE, bench.path.with_name("elsewhere")
    staging.rename(elsewhere)
    staging.symlink_to(elsewhere)
    with pytest.raises(DeliveryError, match="is a symbolic link"):
        session(bench, Sightings())


def test_what_a_session_left_behind_is_found_by_the_next(bench: Bench, sightings: Sightings) -> None:
    delivery = session(bench, sightings)
    [left] = stage(delivery, b"not committed\n")
    delivery.close()
    assert session(bench, sightings).leftovers() == [left.staged.name]


def test_what_a_session_left_behind_is_found_even_if_the_directory_shows_no_other_time(
    bench: Bench, sightings: Sightings
) -> None:
    """The kernel's clock for it ticks every few milliseconds: our own doings are not judged by it."""
    before = bench.staging.stat()
    delivery = session(bench, sightings)
    [left] = stage(delivery, b"not committed\n")
    delivery.close()
    os.utime(bench.staging, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert session(bench, sightings).leftovers() == [left.staged.name]


def test_a_half_written_file_is_swept_away_by_the_next_session(bench: Bench, sightings: Sightings) -> None:
    (bench.staging / f"{new_name()}.part").write_bytes(b"x")
    assert session(bench, sightings).leftovers() == []
    assert bench.staged() == []


def test_what_came_from_elsewhere_is_found(bench: Bench, sightings: Sightings) -> None:
    """A backup that was put back."""
    name = f"{new_name()},S=2"
    (bench.staging / name).write_bytes(b"x\n")
    assert session(bench, sightings).leftovers() == [name]


def test_waiting_mail_is_looked_for_in_any_case(bench: Bench, sightings: Sightings) -> None:
    before = descriptors()
    delivery = Maildir(bench.path, "alice", sightings=sightings)
    delivery.prepare(create=False, waiting=True)
    assert descriptors() > before
    delivery.close()


def test_each_account_looks_for_itself(bench: Bench, sightings: Sightings) -> None:
    [left] = stage(bench.prepared("bob"), b"bob's\n", account="bob")
    first = Maildir(bench.path, "alice", sightings=sightings)
    first.prepare(create=False, waiting=False)
    assert first.leftovers() == []
    assert session(bench, sightings, "bob").leftovers() == [left.staged.name]
