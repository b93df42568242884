"""``owner``: whom the machine knows, and who may deliver for whom."""

import grp
import os
import pwd
from pathlib import Path

import pytest

from fetchd.config.loader import load
from fetchd.config.owners import look_up
from fetchd.errors import ConfigError
from fetchd.model import MaildirTarget, MboxTarget, Owner

TEXT = """\
accounts:
  alice:
    host: pop.gmx.net
    user: alice
    password: {env: P}
    deliver: DELIVER
"""
GROUPS = {"alice": 1001, "mail": 8, "staff": 50}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users alice (1001) and bob (1002); alice is in staff, too. fetchd runs as root."""
    users = {
        name: pwd.struct_passwd((name, "x", uid, uid, "", "/", "/bin/sh"))
        for name, uid in (("alice", 1001), ("bob", 1002), ("root", 0))
    }

    def by_number(uid: int) -> pwd.struct_passwd:
        return next((one for one in users.values() if one.pw_uid == uid), None) or users[str(uid)]

    monkeypatch.setattr(pwd, "getpwnam", users.__getitem__)
    monkeypatch.setattr(pwd, "getpwuid", by_number)
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", GROUPS[name], [])))
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 50] if name == "alice" else [gid])
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def write(tmp_path: Path, deliver: str) -> Path:
    path = tmp_path / "f.yaml"
    path.write_text(TEXT.replace("DELIVER", deliver))
    return path


def refused(tmp_path: Path, deliver: str) -> str:
    path = write(tmp_path, deliver)
    with pytest.raises(ConfigError) as caught:
        load(path, environ={"STATE_DIRECTORY": "/s", "P": "x"})
    return str(caught.value).removeprefix(f"{path}:6: accounts.alice.deliver.owner: ")


ALICE = Owner("alice", 1001, 1001, (1001, 50))


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("alice", ALICE),
        ("1001", Owner("1001", 1001, 1001, (1001, 50))),
        ("alice:staff", Owner("alice:staff", 1001, 50, (1001, 50))),
        ("alice:50", Owner("alice:50", 1001, 50, (1001, 50))),
        ("alice:mail", Owner("alice:mail", 1001, 8, (1001, 50))),
        ("5000:mail", Owner("5000:mail", 5000, 8, (8,))),
        ("5000:5000", Owner("5000:5000", 5000, 5000, (5000,))),
    ],
)
def test_a_user_is_a_name_or_a_number_with_a_group_of_its_own_or_another(text: str, owner: Owner) -> None:
    assert look_up(text) == owner


@pytest.mark.parametrize("written", ["alice", "1001", '"alice"', "alice:staff"])
def test_a_target_has_its_owner(tmp_path: Path, written: str) -> None:
    accounts = load(
        write(tmp_path, f"{{maildir: /home/alice/Maildir, owner: {written}}}"),
        environ={"STATE_DIRECTORY": "/s", "P": "x"},
    ).accounts
    expected = look_up(written.strip('"'))
    assert accounts["alice"].target == MaildirTarget(Path("/home/alice/Maildir"), owner=expected)


def test_in_a_spool_the_group_may_be_another(tmp_path: Path) -> None:
    path = write(tmp_path, '{mbox: /var/mail/alice, owner: "alice:mail"}')
    target = load(path, environ={"STATE_DIRECTORY": "/s", "P": "x"}).accounts["alice"].target
    assert target == MboxTarget(Path("/var/mail/alice"), owner=Owner("alice:mail", 1001, 8, (1001, 50)))


@pytest.mark.parametrize(
    ("owner", "says"),
    [
        ("carol", 'there is no user "carol" on this machine'),
        ("alice:wheel", 'there is no group "wheel" on this machine'),
        ("5000", "user 5000 has no entry in the user database, so write its group too: 5000:GROUP"),
        ("4294967295:8", 'there is no user "4294967295" on this machine'),
        ('"٣"', 'there is no user "٣" on this machine'),
        ("[alice]", "a user's name or number is expected, or USER:GROUP, as in owner: alice"),
        ("true", "a user's name or number is expected, or USER:GROUP, as in owner: alice"),
        ('"alice:"', "a user's name or number is expected, or USER:GROUP, as in owner: alice"),
        ("-1", 'there is no user "-1" on this machine'),
        (
            "alice:mail",
            (
                "alice:mail: that is not a group of the user's, and only an mbox may have such a one, as in a mail "
                "spool: leave the group out"
            ),
        ),
        ("root:root", 'there is no group "root" on this machine'),
        ("root:0", "fetchd runs as that user already, and changes no group then: leave the group out"),
    ],
)
def test_an_owner_that_is_no_good_is_one_clear_line(tmp_path: Path, owner: str, says: str) -> None:
    assert refused(tmp_path, f"{{maildir: /home/alice/Maildir, owner: {owner}}}") == says


def test_without_root_nobody_delivers_as_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 78, before anything is fetched."""
    monkeypatch.setattr(os, "geteuid", lambda: 1002)
    deliver = "{maildir: /home/alice/Maildir, owner: alice}"
    assert refused(tmp_path, deliver) == (
        "fetchd runs as uid 1002, and only root can deliver as another user: run it as root, or as alice, or leave "
        "this out"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    accounts = load(write(tmp_path, deliver), environ={"STATE_DIRECTORY": "/s", "P": "x"}).accounts
    assert accounts["alice"].target == MaildirTarget(Path("/home/alice/Maildir"), owner=ALICE)
