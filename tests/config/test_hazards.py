"""fetchd.config.hazards: what works and will hurt, as ``fetchd check`` sees it. Real files, real modes, real mounts."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd.config import hazards
from fetchd.config.loader import load

ENVIRON = {"HOME": "/home/alice", "PASSWORD": "x"}
Warned = Callable[..., list[str]]


MOUNTS, TEMPORARY = hazards._MOUNTS, hazards._TEMPORARY


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that nothing is said against, though it is below /tmp, and /tmp may be in memory."""
    monkeypatch.setattr(hazards, "_TEMPORARY", ())
    monkeypatch.setattr(hazards, "_MOUNTS", Path("/nonexistent"))
    return tmp_path


@pytest.fixture
def warned(home: Path) -> Warned:
    """Returns the warnings about a file with these keys of an account, without their place's file."""

    def warned(*keys: str, state: str = "", thorough: bool = True, without: tuple[str, ...] = ()) -> list[str]:
        path = home / "fetchd.yaml"
        usual = {
            "host": "pop.example.org",
            "user": "alice@example.org",
            "password": "{env: PASSWORD}",
            "deliver": f"{{maildir: {home}/Maildir}}",
        }
        own = {*without, *(key.partition(":")[0] for key in keys)}
        lines = [*(f"{key}: {value}" for key, value in usual.items() if key not in own), *keys]
        text = f"state: {state or home / 'fetchd.db'}\naccounts:\n  alice:\n" + "".join(f"    {one}\n" for one in lines)
        path.write_text(text)
        path.chmod(0o600)
        found = load(path, environ=ENVIRON, thorough=thorough).warnings
        return [line.removeprefix(f"{path}:").partition(": ")[2] for line in found]

    return warned


def test_nothing_is_said_where_nothing_will_hurt(warned: Warned) -> None:
    assert warned() == []


@pytest.mark.parametrize("host", ["pop.gmail.com", "POP.gmail.com."])
def test_an_interval_below_the_providers_limit(host: str, warned: Warned) -> None:
    """FACTS §5: Gmail. Five minutes are the default, so that most people have not written them."""
    expected = "Gmail locks out who comes more often than every 10m: write interval: 10m"
    assert warned(f"host: {host}") == [f"accounts.alice: {expected}"]
    assert warned(f"host: {host}", "interval: 7m") == [f"accounts.alice.interval: {expected}"]
    assert warned(f"host: {host}", "interval: 10m") == []


def test_a_password_where_only_tokens_are_taken(warned: Warned) -> None:
    """FACTS §5: Microsoft."""
    (line,) = warned("host: outlook.office365.com")
    assert line.startswith("accounts.alice.password: Outlook.com and Microsoft 365: no passwords are taken any more")
    assert "oauth: {provider: microsoft, client_id: …}" in line
    assert warned("host: outlook.office365.com", "mechanism: XOAUTH2") == [], "the password's command may give a token"
    oauth = "oauth: {provider: microsoft, client_id: abc}"
    assert warned("host: outlook.office365.com", oauth, without=("password",)) == []


@pytest.mark.parametrize(
    ("host", "is_public"),
    [
        ("pop.example.org", True),
        ("8.8.8.8", True),
        ("192.168.1.9", False),
        ("fd00::9", False),
        ("mailserver", False),
        ("nas.local", False),
        ("localhost", False),
        ("unix:/run/pop3.sock", False),
    ],
)
def test_a_plain_line_to_a_public_host(host: str, is_public: bool, warned: Warned) -> None:
    plain = ("tls: none", "allow_plaintext_password: true")
    said = f"whoever is on the way to {host} can read the mail and the password: write tls: implicit, or tls: starttls"
    assert warned(f"host: '{host}'", *plain) == ([f"accounts.alice.tls: {said}"] if is_public else [])


def test_a_plain_line_on_which_the_password_is_never_sent(warned: Warned) -> None:
    (line,) = warned("tls: none", "mechanism: SCRAM-SHA-256")
    assert "can read the mail: write" in line


def test_state_in_memory(warned: Warned, monkeypatch: pytest.MonkeyPatch) -> None:
    """FACTS §3, 3 and 4: with the state, the memory of what was fetched is gone."""
    monkeypatch.setattr(hazards, "_MOUNTS", MOUNTS)
    line = next(line for line in warned(state="/dev/shm/fetchd/fetchd.db") if line.startswith("state"))
    assert line.startswith("state: /dev/shm/fetchd/fetchd.db is in memory (tmpfs): what was fetched is forgotten")


def test_state_in_a_temporary_directory(warned: Warned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hazards, "_TEMPORARY", TEMPORARY)
    expected = "state: /tmp/f/fetchd.db is in a directory for temporary files, which systems empty: put it elsewhere"
    assert warned(state="/tmp/f/fetchd.db") == [expected]


def test_state_or_mail_on_a_network_file_system(home: Path, warned: Warned, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/durability.md; the mount is told, not made. Of two mounts at one place the later one counts."""
    mounts = home / "mountinfo"
    share = str(home).replace(" ", "\\040")
    mounts.write_text(
        f"1 1 0:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:2 / {share} rw shared:1 - ext4 /dev/sdb1 rw\n"
        f"3 1 0:3 / {share} rw - nfs4 server:/x rw\nnonsense\n"
    )
    monkeypatch.setattr(hazards, "_MOUNTS", mounts)
    store, mail = sorted(warned(), reverse=True)
    assert f"{home}/fetchd.db is on a network file system (nfs4), where the store is not safe" in store
    assert f"{home}/Maildir is on a network file system (nfs4), for which fetchd promises nothing" in mail


def test_mail_in_memory(warned: Warned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hazards, "_MOUNTS", MOUNTS)
    line = next(line for line in warned("deliver: {maildir: /dev/shm/Maildir}") if "deliver" in line)
    assert line == (
        "accounts.alice.deliver: /dev/shm/Maildir is in memory (tmpfs): the mail is lost with the next start of this "
        "machine"
    )


def test_a_directory_that_everyone_may_write_to(home: Path, warned: Warned) -> None:
    """Whoever may rename a directory may put another in its place. The sticky bit keeps them from it."""
    shared = home / "shared"
    (shared / "alice").mkdir(parents=True)
    shared.chmod(0o777)
    deliver = f"deliver: {{maildir: {shared}/alice/Maildir}}"
    replaced = f"replace {shared}/alice/Maildir: chmod o-w {shared}"
    expected = f"everyone on this machine can write to {shared}, and so {replaced}"
    assert warned(deliver) == [f"accounts.alice.deliver: {expected}"]
    assert warned(state=f"{shared}/alice/f.db") == [f"state: {expected.replace('Maildir', 'f.db')}"]
    shared.chmod(0o1777)
    assert warned(deliver) == []


def test_a_target_whose_parent_is_missing(home: Path, warned: Warned) -> None:
    assert warned(f"deliver: {{maildir: {home}/no/such/Maildir}}") == [
        f"accounts.alice.deliver: {home}/no/such does not exist: create it, or write create_parents: true"
    ]
    assert warned(f"deliver: {{maildir: {home}/no/such/Maildir, create_parents: true}}") == []


def test_a_target_that_we_may_not_write_to(home: Path, warned: Warned, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so the answer is given here."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != home)
    said = f"whoever runs this check may not write to {home}: fetchd has to run as somebody who may"
    assert warned() == [f"accounts.alice.deliver: {said}"]


def test_a_target_of_the_other_kind(home: Path, warned: Warned) -> None:
    (home / "file").touch()
    assert warned(f"deliver: {{maildir: {home}/file}}") == [
        f"accounts.alice.deliver: {home}/file is no directory, and so no Maildir"
    ]
    (home / "directory").mkdir()
    assert warned(f"deliver: {{mbox: {home}/directory}}") == [
        f"accounts.alice.deliver: {home}/directory is a directory, and so no mbox"
    ]


def test_one_path_as_a_maildir_and_as_an_mbox(home: Path) -> None:
    path = home / "fetchd.yaml"
    account = "host: pop.example.org, password: {env: PASSWORD}"
    path.write_text(
        f"state: {home}/f.db\naccounts:\n"
        f"  a: {{{account}, user: a, deliver: {{maildir: {home}/mail}}}}\n"
        f"  b: {{{account}, user: b, deliver: {{maildir: {home}/mail}}}}\n"
        f"  c: {{{account}, user: c, deliver: {{mbox: {home}/mail}}}}\n"
    )
    assert load(path, environ=ENVIRON, thorough=True).warnings == (
        f'{path}:5: accounts.c.deliver: "a" (line 3) has a Maildir at this very path: only one of them can be',
    )


@pytest.mark.parametrize(
    ("octets", "files", "said"),
    [
        (99_999_999, 10**6, "is nearly full: 99 MB are free"),
        (100_000_000, 999, "is nearly full: 999 more files fit"),
        (100_000_000, 1000, ""),
    ],
)
def test_a_file_system_that_is_nearly_full(
    octets: int, files: int, said: str, warned: Warned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room is told, not made."""
    room = os.statvfs_result((1, 1, 0, octets, octets, 10**6, files, files, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    lines = warned()
    assert len(lines) == (2 if said else 0)
    assert all(said in line for line in lines)


def test_the_daemon_does_not_look_around(warned: Warned) -> None:
    """It starts with ten thousand accounts, and has been checked."""
    assert warned("host: pop.gmail.com", state="/dev/shm/fetchd.db", thorough=False) == []
