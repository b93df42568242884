"""``owner``: root delivers into users' mailboxes and is led astray by nothing that a user can plant (FAULTS G 100).

With real users: numbers that nobody has, and processes that run as them.
"""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fetchd.delivery import open_delivery, rights
from fetchd.delivery.dotlock import DotLock
from fetchd.delivery.maildir import STAGE, Maildir
from fetchd.delivery.mbox import Mbox
from fetchd.delivery.rights import Rights
from fetchd.errors import DeliveryError, Retry
from fetchd.model import MaildirTarget, MboxTarget, Owner
from fetchd.ports import Delivery
from tests.delivery.doubles import MemoryJournal, Waiting, deliver, new_name, stage
from tests.delivery.syscalls import in_child

ALICE = Owner("alice", 40_001, 40_001, (40_001,))
BOB = Owner("bob", 40_002, 40_002, (40_002,))
MAIL_GROUP = 40_008
ALICE_AND_MAIL = Owner("alice:mail", 40_001, MAIL_GROUP, (40_001,))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can deliver as somebody else")


class Place:
    """A directory that everybody may enter, with homes, and root's own Maildir and file in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = self.owned(root / "alice", ALICE, 0o700)
        self.maildir = self.home / "Maildir"
        self.mbox = self.home / "mbox"
        self.staging = root / "state/mbox-staging"
        self.staging.parent.mkdir(mode=0o700)
        self.victim = root / "victim"
        for name in ("new", "cur", "tmp", f"tmp/{STAGE}"):
            (self.victim / name).mkdir(parents=True)
        self.shadow = self.victim / "shadow"
        self.shadow.write_text("From root: a secret\n")
        self.shadow.chmod(0o600)

    @staticmethod
    def owned(path: Path, owner: Owner, mode: int = 0o700) -> Path:
        path.mkdir(mode=mode)
        os.chown(path, owner.uid, owner.gid)
        return path

    def open(self, owner: Owner | None = ALICE, *, kind: str = "maildir", account: str = "alice") -> Delivery:
        target = MaildirTarget(self.maildir, owner=owner) if kind == "maildir" else MboxTarget(self.mbox, owner=owner)
        return open_delivery(account, target, mbox_staging=self.staging)

    def prepared(self, owner: Owner | None = ALICE, *, kind: str = "maildir") -> Delivery:
        delivery = self.open(owner, kind=kind)
        delivery.prepare()
        return delivery

    def state_of_victim(self) -> dict[str, Any]:
        """Names, content, owners, modes: all that somebody could have changed."""
        state = {}
        for path in sorted(self.victim.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            state[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, content)
        return state


@pytest.fixture
def place() -> Iterator[Place]:
    with TemporaryDirectory(prefix="fetchd-owner-") as directory:
        root = Path(directory)
        root.chmod(0o755)
        made = Place(root)
        before = made.state_of_victim()
        yield made
        assert made.state_of_victim() == before, "somebody else's files were touched"


def as_user(owner: Owner, code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-S", "-c", code, *map(str, arguments)],
        user=owner.uid,
        group=owner.gid,
        extra_groups=[],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )


def credentials() -> tuple[Any, ...]:
    return os.getresuid(), os.getresgid(), tuple(os.getgroups())


# ── the rights ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_of_roots_is_left_while_rights_are_taken() -> None:
    """No capability, no group; the saved user id stays root, so that the user can neither signal nor trace us."""
    before = credentials()
    with Rights(ALICE_AND_MAIL).taken():
        assert credentials() == ((0, 40_001, 0), (0, MAIL_GROUP, 0), (40_001,))
        status = Path("/proc/thread-self/status").read_text()
        assert "\nCapEff:\t0000000000000000\n" in status
    assert credentials() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, DeliveryError("full"), OSError(5, "EIO")])
def test_rights_are_laid_down_whatever_happens(error: BaseException | type[BaseException]) -> None:
    before = credentials()
    with pytest.raises(error if isinstance(error, type) else type(error)), Rights(ALICE).taken():
        raise error
    assert credentials() == before


def test_rights_are_one_threads_own() -> None:
    """Several accounts are delivered into at a time; the store, meanwhile, is root's to write."""
    barrier = threading.Barrier(3, timeout=20)
    seen: dict[str, int] = {}

    def work(owner: Owner) -> None:
        with Rights(owner).taken():
            barrier.wait()
            seen[owner.name] = os.geteuid()
            barrier.wait()

    threads = [threading.Thread(target=work, args=(owner,)) for owner in (ALICE, BOB)]
    for thread in threads:
        thread.start()
    barrier.wait()
    seen["root"] = os.geteuid()
    barrier.wait()
    for thread in threads:
        thread.join()
    assert seen == {"alice": 40_001, "bob": 40_002, "root": 0}


def test_without_root_nobody_elses_rights_are_to_be_had() -> None:
    def work() -> None:
        os.setgroups([])
        os.setgid(BOB.gid)
        os.setuid(BOB.uid)
        with pytest.raises(DeliveryError, match=r"`owner: alice`: fetchd runs as uid 40002, and only root") as caught:
            Rights(ALICE).taken().__enter__()
        assert caught.value.retry is Retry.LATER
        with Rights(BOB).taken():
            assert os.geteuid() == BOB.uid

    assert in_child(work) == 0


def test_without_the_capability_the_error_names_it() -> None:
    """As in a service whose CapabilityBoundingSet is empty."""
    code = (
        "import os\nfrom fetchd.delivery.rights import Rights\nfrom fetchd.errors import DeliveryError\n"
        "from fetchd.model import Owner\n"
        "try:\n    Rights(Owner('alice', 40001, 40001, (40001,))).taken().__enter__()\n"
        "except DeliveryError as error:\n    print(error, os.getresuid(), os.getresgid())"
    )
    command = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot take the rights of `owner: alice`: Operation not permitted; fetchd needs CAP_SETUID" in said
    assert said.endswith("(0, 0, 0) (0, 0, 0)\n")


def test_an_unknown_machine_is_an_error_and_no_call_of_another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    class Uname:
        machine = "m68k"

    rights._numbers.cache_clear()
    monkeypatch.setattr(os, "uname", Uname)
    monkeypatch.setattr(sys, "maxsize", 2**63 - 1)
    before = credentials()
    with pytest.raises(DeliveryError, match="does not know the system calls of m68k"), Rights(ALICE).taken():
        pass
    assert credentials() == before
    rights._numbers.cache_clear()


# ── a delivery with them ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_delivered_is_the_owners_from_the_beginning(place: Place) -> None:
    """And so is what is created on the way."""
    delivery = place.prepared()
    staged = stage(delivery, b"one\n")
    mine = [place.maildir, *place.maildir.rglob("*")]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in mine} == {(ALICE.uid, ALICE.gid)}
    delivery.publish(staged, MemoryJournal())
    (message,) = (place.maildir / "new").iterdir()
    assert (message.stat().st_uid, stat.S_IMODE(message.stat().st_mode)) == (ALICE.uid, 0o600)


def test_what_creates_a_maildir_is_loaded_before_rights_are_taken(place: Place) -> None:
    """Python may lie in /root (uv, pyenv), where no user can read it: nothing is imported with a user's rights."""
    code = """
import os, sys
from pathlib import Path
from fetchd.delivery import open_delivery
from fetchd.model import MaildirTarget, Owner
owner = Owner("alice", int(sys.argv[3]), int(sys.argv[3]), (int(sys.argv[3]),))
delivery = open_delivery("alice", MaildirTarget(Path(sys.argv[1]), owner=owner), mbox_staging=Path(sys.argv[2]))
class Unreadable:
    def find_spec(self, name, path=None, target=None):
        assert os.geteuid() == 0 or name in sys.builtin_module_names, f"{name}: with the rights of uid {os.geteuid()}"
sys.meta_path.insert(0, Unreadable())
delivery.prepare(create=True)
print("created")
"""
    arguments = [str(place.maildir), str(place.staging), str(ALICE.uid)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("created\n", "")


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_every_step_works_with_the_owners_rights(place: Place, kind: str) -> None:
    delivery = place.prepared(kind=kind)
    journal = MemoryJournal()
    assert not delivery.has_mail()
    journal.commit(stage(delivery, b"one\n", b"two\n"))
    delivery.stage(new_name()).abandon()
    delivery.stage(new_name()).write(b"half")
    again = place.open(kind=kind)
    again.prepare(create=False)
    assert again.recover(journal.outbox, journal) == 2
    orphan, rest = stage(again, b"three\n", b"four\n")
    assert sorted(again.leftovers()) == sorted([orphan.staged.name, rest.staged.name])
    assert again.adopt(orphan.staged.name) == orphan.staged
    again.discard([rest.staged.name])
    journal.commit([orphan])
    again.publish([orphan], journal)
    assert again.has_mail()
    assert again.leftovers() == []
    assert len(list(again.delivered())) == (3 if kind == "maildir" else 0)
    assert credentials() == ((0, 0, 0), (0, 0, 0), tuple(os.getgroups()))


def test_names_are_listed_with_the_owners_rights(place: Place) -> None:
    """All at once, when asked for: what is put off would be done as root."""
    delivery = place.prepared()
    os.chown(place.maildir / "new", 0, 0)
    with pytest.raises(DeliveryError, match="cannot list"):
        delivery.delivered()


@pytest.mark.parametrize(("kind", "moves"), [("maildir", True), ("mbox", False)])
def test_that_a_staged_file_may_be_the_only_copy_is_the_targets_kind_whosever_it_is(
    place: Place, kind: str, moves: bool
) -> None:
    for owner in (None, ALICE):
        assert place.open(owner, kind=kind).publishes_by_moving is moves


def test_an_mbox_is_the_owners_and_its_staging_roots(place: Place) -> None:
    """Nobody but root can see, or forge, what waits to be appended."""
    delivery = place.prepared(kind="mbox")
    journal = MemoryJournal()
    deliver(delivery, journal, b"one\n")
    status = place.mbox.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (ALICE.uid, ALICE.gid, 0o600)
    assert (place.staging.stat().st_uid, stat.S_IMODE(place.staging.stat().st_mode)) == (0, 0o700)
    assert sorted(path.name for path in place.home.iterdir()) == ["mbox"]


# ── root without an owner ────────────────────────────────────────────────────────────────────────────────────────


def by_alice(place: Place) -> Path:
    """Her Maildir."""
    place.prepared()
    return place.home


def in_her_home(place: Place) -> Path:
    """Root's Maildir, but she can put another in its place."""
    Maildir(place.root / "made", "alice").prepare()
    (place.root / "made").rename(place.maildir)
    return place.home


def through_her_link(place: Place) -> Path:
    """Root's Maildir, but the way to it is hers."""
    link = place.root / "way"
    link.symlink_to(place.home)
    (place.home / "Maildir").symlink_to(place.victim)
    place.maildir = link / "Maildir"
    return place.home


@pytest.mark.parametrize("made", [by_alice, in_her_home, through_her_link])
def test_root_delivers_to_no_user_unless_told_whose_it_is(place: Place, made: Callable[[Place], Path]) -> None:
    """One clear line that names ``owner``."""
    whose = made(place)
    with pytest.raises(DeliveryError) as caught:
        place.prepared(None)
    assert str(caught.value) == (
        f"{whose} belongs to 40001, and fetchd would deliver to {place.maildir} as root: say whose the mail is, as in "
        "`owner: 40001`, in the account's `deliver`"
    )
    assert caught.value.retry is Retry.LATER


def test_root_delivers_to_root(place: Place) -> None:
    """Also through a symbolic link of root's, and below a directory that is everybody's but sticky, such as /tmp."""
    (place.root / "tmp").mkdir()
    (place.root / "tmp").chmod(0o1777)
    (place.root / "tmp/mail").mkdir()
    place.maildir = place.root / "tmp/mail/Maildir"
    (place.root / "link").symlink_to("tmp/mail")
    place.maildir = place.root / "tmp/../link/Maildir"
    deliver(place.prepared(None), MemoryJournal(), b"one\n")
    assert len(list((place.root / "tmp/mail/Maildir/new").iterdir())) == 1


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_root_does_not_deliver_where_others_may_change_the_way(place: Place, mode: int) -> None:
    shared = place.root / "shared"
    shared.mkdir()
    os.chown(shared, 0, MAIL_GROUP)
    shared.chmod(mode)
    place.maildir = shared / "Maildir"
    with pytest.raises(DeliveryError, match=rf"{shared} may be changed by others than root, .* `owner: alice`"):
        place.prepared(None)
    assert list(shared.iterdir()) == []


def test_root_does_not_deliver_to_what_anybody_may_put_there_first(place: Place) -> None:
    """A name that is free in /tmp is anybody's."""
    (place.root / "tmp").mkdir()
    (place.root / "tmp").chmod(0o1777)
    place.maildir = place.root / "tmp/Maildir"
    with pytest.raises(DeliveryError, match=r"/tmp may be changed by others than root"):
        place.prepared(None)


def test_links_that_go_round_in_a_circle_are_an_error(place: Place) -> None:
    place.maildir = place.root / "one"
    (place.root / "one").symlink_to("two")
    (place.root / "two").symlink_to("one")
    with pytest.raises(DeliveryError, match=r"/(one|two) may be changed by others"):
        place.prepared(None)


def test_root_appends_to_no_users_mbox_unless_told_whose_it_is(place: Place) -> None:
    """In a spool that root trusts, too: the file itself tells."""
    spool = make_spool(place)
    spool.touch()
    os.chown(spool, ALICE.uid, MAIL_GROUP)
    with pytest.raises(DeliveryError, match=rf"{spool} belongs to 40001, .* as root: say so with `owner: 40001` in"):
        place.prepared(None, kind="mbox")
    place.mbox = place.home / "mbox"
    with pytest.raises(DeliveryError, match=rf"{place.home} belongs to 40001, .* `owner: 40001`"):
        place.prepared(None, kind="mbox")


# ── what a user plants beforehand ────────────────────────────────────────────────────────────────────────────────


def replaces(name: str, by: Callable[[Place, Path], object]) -> Callable[[Place], None]:
    """Puts something else in the place of a part of the Maildir, as root, which a user could do as well."""

    def plant(place: Place) -> None:
        place.prepared()
        path = place.maildir / name
        path.rename(place.home / "aside")
        by(place, path)

    plant.__name__ = f"{name or 'the Maildir'} {by.__name__}"
    return plant


def to_victim(place: Place, path: Path) -> None:
    path.symlink_to(place.victim / path.relative_to(place.maildir))


def a_fifo(_: Place, path: Path) -> None:
    os.mkfifo(path)
    os.chown(path, ALICE.uid, ALICE.gid)


def a_hard_link(place: Place, path: Path) -> None:
    os.link(place.shadow, path)


PLANTED = [replaces(name, by) for name in ("new", "tmp", f"tmp/{STAGE}") for by in (to_victim, a_fifo, a_hard_link)]


@pytest.mark.parametrize("plant", [*PLANTED, replaces("", to_victim)], ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("create", [True, False])
def test_what_stands_in_the_maildirs_place_gains_nothing(
    place: Place, plant: Callable[[Place], None], create: bool
) -> None:
    plant(place)
    with pytest.raises(DeliveryError):
        deliver_once(place.open(), create=create)
    for path in place.home.rglob("*"):
        if path.is_file() and path.stat().st_nlink > 1:
            path.unlink()


def deliver_once(delivery: Delivery, *, create: bool = False) -> None:
    delivery.prepare(create=create, waiting=False)
    deliver(delivery, MemoryJournal(), b"one\n")


def link_to_shadow(place: Place) -> None:
    place.mbox.symlink_to(place.shadow)


def hard_link_to_shadow(place: Place) -> None:
    os.link(place.shadow, place.mbox)


def fifo(place: Place) -> None:
    a_fifo(place, place.mbox)


def directory_link(place: Place) -> None:
    (place.home / "mail").symlink_to(place.victim)
    place.mbox = place.home / "mail/shadow"


def directory_link_without_the_file(place: Place) -> None:
    (place.home / "mail").symlink_to(place.victim)
    place.mbox = place.home / "mail/inbox"


@pytest.mark.parametrize(
    "plant", [link_to_shadow, hard_link_to_shadow, fifo, directory_link, directory_link_without_the_file]
)
def test_what_stands_in_the_mboxs_place_gains_nothing(place: Place, plant: Callable[[Place], None]) -> None:
    """A hard link to /etc/shadow among them, where ``fs.protected_hardlinks`` is off."""
    plant(place)
    with pytest.raises(DeliveryError):
        deliver_once(place.open(kind="mbox"), create=True)
    if place.mbox.parent == place.home:
        place.mbox.unlink()


def test_what_comes_between_the_look_and_the_append_gains_nothing(place: Place) -> None:
    """The mbox turns into a link, or into another's file, after ``prepare``."""
    for plant in (link_to_shadow, hard_link_to_shadow, fifo):
        delivery = place.prepared(kind="mbox")
        batch = stage(delivery, b"one\n")
        plant(place)
        with pytest.raises(DeliveryError):
            delivery.publish(batch, MemoryJournal())
        place.mbox.unlink()


@pytest.mark.parametrize("name", ["mbox.lock", "mbox.lock.fetchd"])
def test_a_planted_dot_lock_gains_nothing(place: Place, name: str) -> None:
    """What is made, linked or removed by such a name is the user's."""
    (place.home / name).symlink_to(place.victim / "made")
    waiting = Waiting()
    delivery = Mbox(place.mbox, "alice", staging=place.staging, owner=ALICE, sleep=waiting.sleep)
    delivery.prepare()
    with suppress(DeliveryError):
        deliver(delivery, MemoryJournal(), b"one\n")
    assert (waiting.slept > 0) is (name == "mbox.lock")


def test_staged_mail_that_the_owner_removes_is_missed_and_not_taken_for_delivered(place: Place) -> None:
    """She can lose her own mail only; the message is not DELEd, for publishing it fails."""
    delivery = place.prepared()
    batch = stage(delivery, b"one\n")
    (place.maildir / "tmp" / STAGE / batch[0].staged.name).unlink()
    with pytest.raises(DeliveryError, match="staged file vanished"):
        delivery.publish(batch, MemoryJournal())


# ── during a delivery ────────────────────────────────────────────────────────────────────────────────────────────

SWAPPER = """
import json, os, sys
maildir, victim = sys.argv[1:]
swaps = 0
print('ready', flush=True)
while not os.path.exists(maildir + '.stop'):
    for part in ('/tmp/.fetchd-stage', '/tmp', '/new', ''):
        path, aside = maildir + part, maildir + '.aside'
        try:
            os.rename(path, aside)
        except OSError:
            continue
        os.symlink(victim + part, path)
        os.unlink(path)
        os.rename(aside, path)
        swaps += 1
print(json.dumps(swaps), flush=True)
"""
DISTURBED = 100
"""Deliveries that ran into a link, before we believe that no such way leads anywhere."""
MOST_ROUNDS = 20_000


def test_a_user_who_swaps_directories_for_links_in_a_loop_gains_nothing(place: Place) -> None:
    """A race without a finishing line: each step is done with rights that lead nowhere else."""
    place.prepared()
    swapper = as_user(ALICE, SWAPPER, place.maildir, place.victim)
    assert swapper.stdout is not None
    try:
        swapper.stdout.readline()
        outcomes = {True: 0, False: 0}
        while outcomes[False] < DISTURBED and sum(outcomes.values()) < MOST_ROUNDS:
            outcomes[came_through(place)] += 1
            os.sched_yield()
    finally:
        (place.home / "Maildir.stop").touch()
        swaps, _ = swapper.communicate(timeout=20)
    assert swapper.returncode == 0
    assert json.loads(swaps) > 0
    assert outcomes[False] == DISTURBED, outcomes
    deliver_once(place.open())
    assert len(list((place.maildir / "new").iterdir())) >= outcomes[True]
    assert {path.stat().st_uid for path in place.maildir.rglob("*")} == {ALICE.uid}


def came_through(place: Place) -> bool:
    try:
        deliver_once(place.open())
    except DeliveryError:
        return False
    return True


# ── a mail spool ─────────────────────────────────────────────────────────────────────────────────────────────────


def make_spool(place: Place) -> Path:
    """As /var/mail is: root:mail, 2775."""
    spool = place.root / "spool"
    spool.mkdir()
    os.chown(spool, 0, MAIL_GROUP)
    spool.chmod(0o2775)
    place.mbox = spool / "alice"
    return place.mbox


def test_in_a_spool_the_group_makes_file_and_dot_lock(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """``owner: alice:mail``: neither is alice's own to make there."""
    path = make_spool(place)
    locks: list[int] = []
    acquire = DotLock.acquire

    def watched(lock: DotLock, now: float) -> None:
        acquire(lock, now)
        locks.append(Path(f"{path}.lock").stat().st_uid)

    monkeypatch.setattr(DotLock, "acquire", watched)
    deliver(place.prepared(ALICE_AND_MAIL, kind="mbox"), MemoryJournal(), b"one\n")
    assert (path.stat().st_uid, path.stat().st_gid) == (ALICE.uid, MAIL_GROUP)
    assert locks == [ALICE.uid]
    assert [one.name for one in path.parent.iterdir()] == ["alice"]


def test_in_a_spool_without_the_group_the_file_has_to_be_there(place: Place) -> None:
    """And the fcntl lock has to do."""
    path = make_spool(place)
    with pytest.raises(DeliveryError, match="uid 40001, which is not allowed to do that"):
        deliver(place.prepared(kind="mbox"), MemoryJournal(), b"one\n")
    path.touch()
    os.chown(path, ALICE.uid, MAIL_GROUP)
    again = place.prepared(kind="mbox")
    deliver(again, MemoryJournal(), b"two\n")
    assert b"two\n" in path.read_bytes()


def test_anothers_mbox_is_refused(place: Place) -> None:
    """Though the group may write to it."""
    path = make_spool(place)
    path.touch()
    path.chmod(0o660)
    os.chown(path, BOB.uid, MAIL_GROUP)
    with pytest.raises(DeliveryError, match=rf"{path} belongs to 40002, and fetchd delivers as 40001: correct `owner`"):
        place.prepared(ALICE_AND_MAIL, kind="mbox")
    assert path.read_bytes() == b""


def test_a_group_that_is_not_the_owners_works_only_where_the_owner_cannot_change_the_way(place: Place) -> None:
    """Or she would have that group's rights at the end of a link of hers."""
    spool = make_spool(place)
    (place.home / "mail").symlink_to(spool.parent)
    place.mbox = place.home / "mail/alice"
    with pytest.raises(DeliveryError, match=rf"{place.home} belongs to 40001, .* leave the group out of `owner`"):
        place.prepared(ALICE_AND_MAIL, kind="mbox")
    assert list(spool.parent.iterdir()) == []


def test_an_mbox_needs_no_rights_where_fetchd_is_its_owner(tmp_path: Path) -> None:
    root = Owner("root", 0, 0, (0,))
    delivery = Mbox(tmp_path / "mbox", "alice", staging=tmp_path / "staging", owner=root)
    delivery.prepare()
    deliver(delivery, MemoryJournal(), b"one\n")
    assert (tmp_path / "mbox").stat().st_uid == 0
