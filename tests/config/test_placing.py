"""fetchd.config.placing: files whole or not at all, never over another, private from their first octet."""

import os
import pwd
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from fetchd.config import paths, placing
from fetchd.errors import ConfigError, UsageError

GOOD = "accounts:\n  a: {host: h.org, user: a, password: {env: X}, deliver: {maildir: /m}}\n"
BAD = "accounts:\n  a: {hots: h.org}\n"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(autouse=True)
def _wide_umask() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_password_s_file_and_directory_are_their_owner_s_alone(tmp_path: Path) -> None:
    file = placing.place_password(tmp_path, "alice", b"hunter2", None)
    assert file == tmp_path / "secrets" / "alice"
    assert file.read_bytes() == b"hunter2\n"
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)
    assert os.listdir(file.parent) == ["alice"]


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    first = placing.place_password(tmp_path, "alice", b"one", None)
    (tmp_path / "secrets" / "alice-2").symlink_to("/etc/nowhere")
    third = placing.place_password(tmp_path, "alice", b"three", None)
    assert (first.read_bytes(), third.name, third.read_bytes()) == (b"one\n", "alice-3", b"three\n")


def test_a_directory_that_others_can_look_into_gets_no_password(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    with pytest.raises(placing.CannotWriteError, match="chmod 700"):
        placing.place_password(tmp_path, "alice", b"x", None)
    assert os.listdir(tmp_path / "secrets") == []


def test_a_directory_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "secrets").symlink_to("elsewhere")
    with pytest.raises(placing.CannotWriteError, match="cannot be written"):
        placing.place_password(tmp_path, "alice", b"x", None)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_configuration_is_private_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.yaml"
    placing.place_new(path, GOOD, environ={"HOME": "/h"}, service=None)
    assert (path.read_text(), mode(path), os.listdir(tmp_path)) == (GOOD, 0o600, ["fetchd.yaml"])


def test_a_configuration_that_came_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.yaml"
    path.write_text("mine")
    with pytest.raises(UsageError, match="never overwritten"):
        placing.place_new(path, GOOD, environ={"HOME": "/h"}, service=None)
    assert (path.read_text(), os.listdir(tmp_path)) == ("mine", ["fetchd.yaml"])


def test_what_the_loader_refuses_is_not_written_and_the_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.yaml"
    with pytest.raises(ConfigError, match=rf"^{path}:2: ") as caught:
        placing.place_new(path, BAD, environ={"HOME": "/h"}, service=None)
    assert ".fetchd-" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_replaced_file_keeps_its_mode_and_the_link_to_it(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "fetchd.yaml"
    real.write_text(GOOD)
    real.chmod(0o640)
    link.symlink_to("real.yaml")
    text, seen = placing.read(link)
    placing.place_over(link, f"# more\n{text}", seen, environ={"HOME": "/h"})
    assert (real.read_text(), mode(real), link.is_symlink()) == (f"# more\n{GOOD}", 0o640, True)
    assert sorted(os.listdir(tmp_path)) == ["fetchd.yaml", "real.yaml"]


@pytest.mark.parametrize("text", [BAD, "accounts: ["])
def test_a_replacement_that_the_loader_refuses_changes_nothing(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fetchd.yaml"
    path.write_text(GOOD)
    with pytest.raises(ConfigError):
        placing.place_over(path, text, path.stat(), environ={"HOME": "/h"})
    assert (path.read_text(), os.listdir(tmp_path)) == (GOOD, ["fetchd.yaml"])


def test_a_file_that_somebody_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "fetchd.yaml"
    path.write_text(GOOD)
    text, seen = placing.read(path)
    path.write_text(f"# theirs\n{GOOD}")
    with pytest.raises(UsageError, match="changed meanwhile"):
        placing.place_over(path, text, seen, environ={"HOME": "/h"})
    assert path.read_text() == f"# theirs\n{GOOD}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_service_can_read_what_root_writes_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped unit runs fetchd as a user of its own, with /etc/fetchd root's and readable by its group."""
    monkeypatch.setattr(paths, "_SYSTEM_CONFIG", tmp_path / "etc" / "fetchd.yaml")
    monkeypatch.setattr(placing, "SERVICE_USER", "nobody")
    path = tmp_path / "etc" / "fetchd.yaml"
    service = placing.service_of(path)
    nobody = pwd.getpwnam("nobody")
    assert service == nobody
    assert placing.service_of(tmp_path / "fetchd.yaml") is None
    before = os.umask(0o077)
    try:
        placing.make_directory(path.parent, service)
    finally:
        os.umask(before)
    secret = placing.place_password(path.parent, "alice", b"x", service)
    placing.place_new(path, GOOD, environ={"HOME": "/h"}, service=service)
    found = [(one.stat().st_uid, one.stat().st_gid, mode(one)) for one in (path.parent, path, secret.parent, secret)]
    assert found == [
        (0, nobody.pw_gid, 0o750),
        (0, nobody.pw_gid, 0o640),
        (nobody.pw_uid, nobody.pw_gid, 0o700),
        (nobody.pw_uid, nobody.pw_gid, 0o600),
    ]


@pytest.mark.parametrize(
    ("mode_of_it", "group", "is_refused"),
    [(0o700, 0, True), (0o750, 0, True), (0o750, 65534, False), (0o755, 0, False), (0o705, 65534, True)],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_directory_that_the_service_may_not_look_into_is_said(
    mode_of_it: int, group: int, is_refused: bool, tmp_path: Path
) -> None:
    """It would say that there is no configuration."""
    service = pwd.struct_passwd(("fetchd", "x", 65534, 65534, "", "/", "/bin/false"))
    directory = tmp_path / "etc"
    directory.mkdir()
    os.chown(directory, 0, group)
    directory.chmod(mode_of_it)
    with pytest.raises(placing.CannotWriteError, match="chgrp fetchd") if is_refused else nullcontext():
        placing.make_directory(directory, service)


def test_missing_directories_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    placing.make_directory(tmp_path / "a" / "b", None)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)
