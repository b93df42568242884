"""What the machine has to say: missing files, and files that others can read. Real files, real modes."""

import errno
import importlib.util
import os
from pathlib import Path

import pytest

from fetchd.config.loader import load
from fetchd.errors import ConfigError

TEXT = """\
accounts:
  alice:
    host: pop.gmx.net
    user: alice
    password: PASSWORD
    deliver: {maildir: /home/alice/Maildir}
"""


MISSING = "No such file or directory"


def write(tmp_path: Path, password: str, mode: int = 0o600, more: str = "") -> Path:
    path = tmp_path / "f.yaml"
    path.write_text(TEXT.replace("PASSWORD", password) + more)
    path.chmod(mode)
    return path


def warnings(path: Path, **environ: str) -> list[str]:
    found = load(path, environ={"STATE_DIRECTORY": "/s", "PATH": "/usr/bin:/bin", **environ}).warnings
    return [line.removeprefix(f"{path}:") for line in found]


def test_a_plain_password_is_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, "hunter2")
    assert warnings(path) == [
        "5: accounts.alice.password: a password stands here in plain text: password: {file: …} keeps it apart"
    ]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
def test_a_plain_password_that_others_can_read_is_an_error_with_the_fix(mode: int, tmp_path: Path) -> None:
    """Issue 7, item 6."""
    path = write(tmp_path, "hunter2", mode)
    with pytest.raises(ConfigError) as refused:
        load(path, environ={"STATE_DIRECTORY": "/s"})
    assert str(refused.value) == (
        f"{path}:5: accounts.alice.password: a password stands here in plain text and others can read it "
        f"(mode {mode:04o}): chmod 600 {path}, or write password: {{file: …}}"
    )


def test_a_file_that_others_can_read_is_no_matter_without_a_password_in_it(tmp_path: Path) -> None:
    assert warnings(write(tmp_path, "{env: P}", 0o644), P="x") == []


def test_a_group_that_may_read_is_the_services_own_where_root_owns_the_file(tmp_path: Path) -> None:
    """root:fetchd 0640 is how a service without root gets its configuration; alice:users 0640 is a slip."""
    path = write(tmp_path, "hunter2", 0o640)
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    assert len(warnings(path)) == 1
    os.chown(path, 1000, 1000)
    with pytest.raises(ConfigError, match=r"others can read it \(mode 0640\)"):
        load(path, environ={"STATE_DIRECTORY": "/s"})


def test_many_plain_passwords_are_one_warning(tmp_path: Path) -> None:
    more = "".join(f"  a{i}: {{host: h{i}.x, user: u, password: p, deliver: {{mbox: m}}}}\n" for i in range(3))
    assert warnings(write(tmp_path, "hunter2", more=more)) == [
        (
            "5: accounts.alice.password: a password stands here in plain text (as do 3 more): "
            "password: {file: …} keeps it apart"
        )
    ]


def test_a_password_in_a_proxys_url_is_a_password_too(tmp_path: Path) -> None:
    path = write(tmp_path, "{env: P}", more="    proxy: http://u:hunter2@proxy.example:1\n")
    assert warnings(path, P="x") == [
        (
            "7: accounts.alice.proxy: a password stands here in plain text: "
            "proxy: {url: …, password: {file: …}} keeps it apart"
        )
    ]
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"others can read it \(mode 0644\): chmod 600 [^ ]*f\.yaml, or write proxy"):
        load(path, environ={"STATE_DIRECTORY": "/s"})
    path = write(tmp_path, "{env: P}", 0o644, more="    proxy: http://proxy.example:1\n")
    assert warnings(path, P="x") == []


def test_a_missing_secret_file_is_a_warning_for_it_may_come(tmp_path: Path) -> None:
    assert warnings(write(tmp_path, "{file: gmx}")) == [
        f"5: accounts.alice.password.file: {tmp_path}/gmx: {MISSING}: put the password into it, and nothing else"
    ]


def test_a_secret_file_that_everyone_can_read_is_a_warning(tmp_path: Path) -> None:
    """FAULTS 115."""
    secret = tmp_path / "gmx"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    assert warnings(write(tmp_path, "{file: gmx}")) == [
        (
            f"5: accounts.alice.password.file: {secret}: everyone on this machine can read it (mode 0644): "
            f"chmod 600 {secret}"
        )
    ]
    secret.chmod(0o640)
    assert warnings(write(tmp_path, "{file: gmx}")) == []


def test_a_secret_in_a_fifo_is_a_warning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gmx")
    assert warnings(write(tmp_path, "{file: gmx}")) == [
        f"5: accounts.alice.password.file: {tmp_path}/gmx: not a regular file"
    ]


def test_a_missing_variable_command_or_credential_is_a_warning(tmp_path: Path) -> None:
    at = "5: accounts.alice.password"
    assert warnings(write(tmp_path, "{env: P}")) == [f"{at}.env: this environment variable is not set"]
    assert warnings(write(tmp_path, "{command: no-such-command a}")) == [f"{at}.command: there is no such command"]
    assert warnings(write(tmp_path, "{command: cat a}")) == []
    assert warnings(write(tmp_path, "{credential: gmx}")) == [
        f"{at}.credential: systemd credentials are there only when systemd starts fetchd"
    ]
    path = write(tmp_path, "{credential: gmx}")
    assert warnings(path, CREDENTIALS_DIRECTORY=str(tmp_path)) == [
        f"{at}.credential: {tmp_path}/gmx: No such file or directory"
    ]
    (tmp_path / "gmx").touch()
    assert warnings(path, CREDENTIALS_DIRECTORY=str(tmp_path)) == []


def test_missing_tls_files_are_warnings(tmp_path: Path) -> None:
    (tmp_path / "key").touch(0o644)
    (tmp_path / "key").chmod(0o644)
    more = "    tls: {ca_file: ca, client_cert: cert, client_key: key}\n"
    assert warnings(write(tmp_path, "{env: P}", more=more), P="x") == [
        f"7: accounts.alice.tls.ca_file: {tmp_path}/ca: No such file or directory",
        f"7: accounts.alice.tls.client_cert: {tmp_path}/cert: No such file or directory",
        (
            f"7: accounts.alice.tls.client_key: {tmp_path}/key: everyone on this machine can read it (mode 0644): "
            f"chmod 600 {tmp_path}/key"
        ),
    ]


def test_what_is_missing_for_a_default_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(
        "defaults: {password: {env: P}, host: h.x, deliver: {mbox: m}}\naccounts:\n  a: {user: a}\n  b: {user: b}\n"
    )
    assert warnings(path) == ["1: defaults.password.env: this environment variable is not set"]


@pytest.mark.parametrize(
    ("password", "more", "said"),
    [
        ("{file: gmx}", "", "5: accounts.alice.password.file: HERE/gmx: MISSING: put the password into it"),
        ("{file: .}", "", "5: accounts.alice.password.file: HERE: not a regular file"),
        ("{command: no-such-command}", "", "5: accounts.alice.password.command: there is no such command"),
        ("hunter2", "tls: {ca_file: ca}", "7: accounts.alice.tls.ca_file: HERE/ca: MISSING"),
        (
            "hunter2",
            "proxy: {url: socks5://a@h:1, password: {file: p}}",
            "7: accounts.alice.proxy.password.file: HERE/p: MISSING: put the password into it",
        ),
    ],
)
def test_what_is_missing_is_an_error_to_who_checks_and_a_warning_to_the_daemon(
    password: str, more: str, said: str, tmp_path: Path
) -> None:
    """Issue 7: a missing secret file is among the twenty typical mistakes; but it may come before the next poll."""
    path = write(tmp_path, password, more=f"    {more}\n")
    with pytest.raises(ConfigError) as refused:
        load(path, environ={"STATE_DIRECTORY": "/s"}, thorough=True)
    (line,) = refused.value.problems
    assert line.startswith(f"{path}:{said.replace('HERE', str(tmp_path)).replace('MISSING', MISSING)}")
    assert line.removeprefix(f"{path}:") in warnings(path)


@pytest.mark.parametrize("password", ["{env: P}", "{credential: gmx}"])
def test_what_only_the_service_manager_gives_is_a_warning_to_who_checks(password: str, tmp_path: Path) -> None:
    found = load(write(tmp_path, password), environ={"STATE_DIRECTORY": "/s"}, thorough=True)
    assert len([line for line in found.warnings if "alice.password." in line]) == 1


def test_a_secret_that_cannot_be_looked_at_may_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fetchd may run as somebody else than whoever checks."""
    path = write(tmp_path, "{file: gmx}")
    stat = Path.stat

    def denied(self: Path, **how: bool) -> os.stat_result:
        if self.name == "gmx":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat(self, **how)

    monkeypatch.setattr(Path, "stat", denied)
    found = load(path, environ={"STATE_DIRECTORY": "/s"}, thorough=True)
    assert f"{path}:5: accounts.alice.password.file: {tmp_path}/gmx: Permission denied" in found.warnings


def test_a_keyring_without_the_package_that_reads_it_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "{keyring: gmx}")
    assert warnings(path) == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert warnings(path) == [
        "5: accounts.alice.password.keyring: the package that reads it is missing: install fetchd[keyring]"
    ]


def test_a_proxys_plain_password_beside_its_url_is_a_password_too(tmp_path: Path) -> None:
    path = write(tmp_path, "{env: P}", more="    proxy: {url: http://u@proxy.example:1, password: hunter2}\n")
    assert warnings(path, P="x") == [
        "7: accounts.alice.proxy.password: a password stands here in plain text: password: {file: …} keeps it apart"
    ]
