"""fetchd.oauth.files: who may read a token file, and that it is whole, whoever is killed, and whoever else writes."""

import errno
import fcntl
import os
import stat
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from fetchd.errors import Retry, SecretError
from fetchd.model import Secret
from fetchd.oauth.files import TokenFiles
from fetchd.oauth.tokens import Tokens

TOKENS = Tokens("a", "id", "https://x/", access_token=Secret(b"A"), refresh_token=Secret(b"R"), obtained_at=1.0)
NEWER = replace(TOKENS, access_token=Secret(b"B"), refresh_token=Secret(b"S"))


@pytest.fixture
def files(tmp_path: Path) -> TokenFiles:
    return TokenFiles(tmp_path / "tokens")


def put(files: TokenFiles, tokens: Tokens = TOKENS) -> None:
    with files.locked("alice") as file:
        file.write(tokens)


def test_nobody_has_logged_in_yet(files: TokenFiles) -> None:
    assert files.read("alice") is None


def test_what_is_written_is_read_by_its_owner_alone(files: TokenFiles, tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        put(files)
    finally:
        os.umask(mask)
    assert files.read("alice") == TOKENS
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tokens").iterdir()}
    assert modes == {"alice.json": 0o600, "alice.lock": 0o600}


def test_a_directory_that_was_too_open_is_closed(files: TokenFiles, tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir(mode=0o755)
    put(files)
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o700


def test_the_file_then_its_name_are_synced(files: TokenFiles) -> None:
    calls = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        calls.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def rename(*arguments: object, **more: object) -> None:
        calls.append("rename")
        real_rename(*arguments, **more)  # type: ignore[arg-type]

    with patch("os.fsync", fsync), patch("os.rename", rename):
        put(files)
    assert calls == ["file", "rename", "directory"]


@pytest.mark.parametrize("call", ["pwrite", "ftruncate", "fsync", "rename"])
def test_what_cannot_be_stored_leaves_what_was_there(files: TokenFiles, tmp_path: Path, call: str) -> None:
    put(files)
    with (
        patch(f"os.{call}", side_effect=OSError(errno.ENOSPC, "No space left on device")),
        pytest.raises(SecretError, match=r"alice.json: No space left on device") as caught,
    ):
        put(files, NEWER)
    assert caught.value.retry is Retry.SOON
    assert files.read("alice") == TOKENS
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == ["alice.json", "alice.lock"]
    put(files, NEWER)
    assert files.read("alice") == NEWER


def test_room_is_made_sure_of_before_anything_is_asked_for(files: TokenFiles) -> None:
    with (
        patch("os.posix_fallocate", side_effect=OSError(errno.ENOSPC, "No space left on device")),
        pytest.raises(SecretError, match="No space left"),
        files.locked("alice") as file,
    ):
        file.prepare()
    with patch("os.posix_fallocate", side_effect=OSError(errno.EOPNOTSUPP, "Not supported")):
        put(files)
    assert files.read("alice") == TOKENS


def test_what_a_kill_left_is_in_nobodys_way(files: TokenFiles, tmp_path: Path) -> None:
    put(files)
    (tmp_path / "tokens" / ".alice.new").write_text("half a tok")
    assert files.read("alice") == TOKENS
    put(files, NEWER)
    assert files.read("alice") == NEWER
    assert not (tmp_path / "tokens" / ".alice.new").exists()


def test_a_lock_that_is_held_is_waited_for(files: TokenFiles, tmp_path: Path) -> None:
    put(files)
    with (tmp_path / "tokens" / "alice.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SecretError, match="another fetchd has held") as caught, files.locked("alice", patience=0.1):
            pass
        assert caught.value.retry is Retry.SOON
        with files.locked("bob", patience=0.1):
            pass
    put(files, NEWER)


def test_no_link_is_followed(files: TokenFiles, tmp_path: Path) -> None:
    put(files)
    (tmp_path / "elsewhere").write_text("{}")
    for name in ("alice.json", "alice.lock"):
        (tmp_path / "tokens" / name).unlink()
        (tmp_path / "tokens" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretError, match=r"alice.json: Too many levels"):
        files.read("alice")
    with pytest.raises(SecretError, match="Too many levels"):
        put(files)
    assert (tmp_path / "elsewhere").read_text() == "{}"


def test_neither_a_pipe_nor_a_directory_is_a_token_file(files: TokenFiles, tmp_path: Path) -> None:
    put(files)
    path = tmp_path / "tokens" / "alice.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SecretError, match="not a regular file"):
        files.read("alice")


def test_a_file_of_somebody_elses_is_named_with_what_to_do(files: TokenFiles, tmp_path: Path) -> None:
    put(files)
    (tmp_path / "tokens" / "alice.json").write_text("hunter2")
    with pytest.raises(
        SecretError, match=r"alice.json is no token file of this fetchd: run fetchd login alice"
    ) as caught:
        files.read("alice")
    assert "hunter2" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_is_the_service_s(files: TokenFiles, tmp_path: Path) -> None:
    """``sudo fetchd login`` beside a service that runs as a user of its own."""
    os.chown(tmp_path, 1234, 4321)
    put(files)
    for path in (tmp_path / "tokens", *(tmp_path / "tokens").iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321), path


def test_somebody_may_log_in_before_fetchd_ever_ran(tmp_path: Path) -> None:
    files = TokenFiles(tmp_path / "state" / "fetchd" / "tokens")
    put(files)
    assert files.read("alice") == TOKENS
    assert stat.S_IMODE((tmp_path / "state" / "fetchd").stat().st_mode) == 0o700
