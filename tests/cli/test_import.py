"""``fetchd import``: a configuration read where it is, secrets in files of their own, one line for what is wrong."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchd import cli
from fetchd.demo import DemoServer
from fetchd.store.sqlite import SqliteStore

Run = Callable[..., tuple[int, str, str]]
MPOPRC = "account work\nhost {host}\nport {port}\nuser alice\npassword hunter2\nkeep on\ndelivery maildir {maildir}\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process, in a home of its own."""
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY", "FETCHD_CONFIG", "FETCHMAILHOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def called(*arguments: str) -> tuple[int, str, str]:
        code = cli.invoke(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return called


@pytest.fixture
def switched(tmp_path: Path):
    """A server with three messages of alice's, mpop's memory of some, and the new configuration."""
    mail = [(uid, b"Subject: x\n\nx\n") for uid in (b"one", b"two", b"three")]
    with DemoServer({"alice": ("hunter2", mail)}) as server:
        (tmp_path / "secret").write_text("hunter2\n")
        (tmp_path / "secret").chmod(0o600)
        config = tmp_path / "fetchd.yaml"
        config.write_text(
            f"accounts:\n  work: {{host: 127.0.0.1, port: {server.port}, tls: none, user: alice, "
            f"password: {{file: secret}}, deliver: {{maildir: {tmp_path}/Maildir}}}}\n"
        )

        def remember(*uids: str) -> None:
            (tmp_path / ".mpop_uidls").mkdir(exist_ok=True)
            text = f" {len(uids)} 127.0.0.1 alice\n" + "".join(f"{uid}\n" for uid in uids)
            (tmp_path / ".mpop_uidls/alice_at_127.0.0.1").write_text(text)

        yield str(config), remember


# ── the configuration ────────────────────────────────────────────────────────────────────────────────────────────────


def write_rc(tmp_path: Path, name: str = ".mpoprc") -> Path:
    path = tmp_path / name
    path.write_text(MPOPRC.format(host="pop.example.org", port=1100, maildir="~/Maildir"))
    path.chmod(0o600)
    return path


def test_the_configuration_is_found_where_the_fetcher_looks_for_it(run: Run, tmp_path: Path) -> None:
    write_rc(tmp_path)
    code, out, err = run("import", "mpop")
    assert (code, err) == (0, "")
    assert "  work:\n    host: pop.example.org\n" in out


def test_no_configuration_is_one_line_that_says_where_it_was_looked_for(run: Run, tmp_path: Path) -> None:
    code, out, err = run("import", "getmail")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"looked for {tmp_path}/.config/getmail/getmailrc, {tmp_path}/.getmail/getmailrc; name the file" in err


def test_a_broken_configuration_is_one_line_with_its_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".mpoprc").write_text("account a\nhots x\n")
    assert run("import", "mpop") == (78, "", f"{tmp_path}/.mpoprc:2: mpop has no such command\n")


def test_an_empty_configuration_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".mpoprc").write_text("# nothing\n")
    assert run("import", "mpop") == (78, "", f"{tmp_path}/.mpoprc: there is no account in it\n")


def test_a_password_goes_into_a_file_that_nobody_else_can_read_and_nowhere_else(run: Run, tmp_path: Path) -> None:
    write_rc(tmp_path)
    secrets = tmp_path / "new/secrets"
    code, out, err = run("import", "mpop", "--write-secrets", str(secrets))
    assert code == 0
    assert "hunter2" not in out + err
    assert f"password: {{file: {secrets}/work}}" in out
    assert ((secrets / "work").read_text(), stat.S_IMODE((secrets / "work").stat().st_mode)) == ("hunter2\n", 0o600)
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700


def test_a_secret_that_is_there_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    """A second run writes the same again; another file's content, or a link's target, stays as it is."""
    write_rc(tmp_path)
    assert run("import", "mpop", "--write-secrets", str(tmp_path))[0] == 0
    assert run("import", "mpop", "--write-secrets", str(tmp_path))[0] == 0
    (tmp_path / "work").write_text("mine\n")
    code, out, err = run("import", "mpop", "--write-secrets", str(tmp_path))
    assert (code, out, err.count("\n"), (tmp_path / "work").read_text()) == (2, "", 1, "mine\n")
    (tmp_path / "work").unlink()
    (tmp_path / "work").symlink_to(tmp_path / "elsewhere")
    assert run("import", "mpop", "--write-secrets", str(tmp_path))[0] == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(shutil.which("fetchmail") is None, reason="fetchmail is not installed: sh .ci/need fetchmail")
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_configuration_that_fetchmail_refuses_is_read_all_the_same(mode: int, run: Run, tmp_path: Path) -> None:
    rc = tmp_path / ".fetchmailrc"
    rc.write_text("poll pop.example.org proto pop3 user joe pass hunter2 ssl keep\n")
    rc.chmod(mode)
    code, out, err = run("import", "fetchmail")
    assert (code, "  joe@pop.example.org:\n" in out) == (0, True)
    assert ("fetchmail refuses" in err) is (mode == 0o644)


def test_without_fetchmail_its_configuration_is_read_and_that_is_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rc").write_text("poll pop.example.org proto pop3 user joe pass hunter2 ssl keep\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = run("import", "fetchmail", str(tmp_path / "rc"))
    assert (code, "  joe@pop.example.org:\n" in out) == (0, True)
    assert err == "note: fetchmail is not installed here, so fetchd has read its configuration by itself\n"


@pytest.mark.skipif(shutil.which("fetchmail") is None, reason="fetchmail is not installed: sh .ci/need fetchmail")
def test_a_password_that_fetchmail_garbles_is_read_all_the_same(run: Run, tmp_path: Path) -> None:
    rc = tmp_path / ".fetchmailrc"
    rc.write_text("poll pop.example.org proto pop3 user joe pass 'h\u00e4nter' ssl keep\n")
    rc.chmod(0o600)
    code, _, err = run("import", "fetchmail", "--write-secrets", str(tmp_path / "secrets"))
    assert (code, "--configdump garbles what is in" in err) == (0, True)
    assert (tmp_path / "secrets/joe@pop.example.org").read_text() == "h\u00e4nter\n"


def test_the_yaml_is_utf_8_whatever_the_terminal_is(tmp_path: Path) -> None:
    rc = write_rc(tmp_path)
    rc.write_text(rc.read_text() + "tls_certcheck off\n")
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "fetchd", "import", "mpop"]
    done = subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)
    assert (done.returncode, "{fingerprint: …}" in done.stdout.decode()) == (0, True)


def test_options_of_the_other_half_are_refused(run: Run) -> None:
    assert run("import", "mpop", "--dry-run")[0] == 2
    assert run("import", "mpop", "--seen", "--write-secrets", "x")[0] == 2
    assert run("import", "mpop", "--seen", "--dry-run", "--offline")[0] == 2


# ── what was seen ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dry_run_shows_the_numbers_and_makes_no_store(run: Run, switched, tmp_path: Path) -> None:
    config, remember = switched
    remember("one", "two", "gone")
    code, out, err = run("-c", config, "import", "mpop", "--seen", "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "account  remembered  matched  new  gone",
        "work              3        2    1     1",
        "Nothing was written (--dry-run).",
    ]
    assert not (tmp_path / "state").exists()


def test_what_is_taken_over_is_not_fetched_and_the_rest_is(run: Run, switched) -> None:
    config, remember = switched
    remember("one", "three")
    assert run("-c", config, "import", "mpop", "--seen")[0] == 0
    code, out, _ = run("-c", config, "--once")
    assert (code, out) == (0, "1 account: 1 new message (14 bytes)\n")


def test_nothing_that_matches_stops_until_somebody_says_yes(run: Run, switched) -> None:
    config, remember = switched
    remember("x", "y")
    code, out, err = run("-c", config, "import", "mpop", "--seen", "--dry-run")
    assert (code, "not one of the unique-ids that mpop remembers is listed" in err) == (1, True)
    code, out, err = run("-c", config, "import", "mpop", "--seen")
    assert (code, "work: left out; --yes takes it over all the same" in err) == (1, True)
    assert out.endswith("\nNothing was written.\n")
    assert run("-c", config, "import", "mpop", "--seen", "--yes")[0] == 0


def test_offline_takes_the_unique_ids_as_they_are(run: Run, switched) -> None:
    config, remember = switched
    remember("one", "two", "three", "gone")
    code, out, _ = run("-c", config, "import", "mpop", "--seen", "--offline")
    assert (code, out.splitlines()[1].split()) == (0, ["work", "4", "-", "-", "-"])
    assert run("-c", config, "--once")[1] == "1 account: nothing new\n"


def test_a_server_that_refuses_is_said_and_the_others_go_on(run: Run, switched, tmp_path: Path) -> None:
    config, remember = switched
    remember("one")
    (tmp_path / "secret").write_text("wrong\n")
    code, out, err = run("-c", config, "import", "mpop", "--seen")
    assert (code, "work: cannot be compared, and is left out: 127.0.0.1:" in err) == (1, True)
    assert "Repeat this before fetchd polls it\n" in err
    assert out.endswith("\nNothing was written.\n")


def test_files_can_be_named_and_foreign_ones_are_said(run: Run, switched, tmp_path: Path) -> None:
    config, remember = switched
    remember("one")
    (tmp_path / "other").write_text(" 1 pop.example.org bob\nx\n")
    code, _, err = run("-c", config, "import", "mpop", "--seen", str(tmp_path / "other"), str(tmp_path / ".mpop_uidls"))
    assert (code, err) == (
        0,
        f"note: {tmp_path}/other: mpop remembers 1 unique-id of 'bob at pop.example.org', which no account is\n",
    )
    code, _, err = run("-c", config, "import", "mpop", "--seen", str(tmp_path / "other"))
    assert (code, err.splitlines()[-1]) == (
        2,
        "fetchd: mpop remembers nothing of any account that is configured: compare host and user",
    )


def test_a_memory_of_another_users_stops_nobody(
    run: Run, switched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's /var/lib/fetchmail is fetchmail's alone, on every machine that has fetchmail; root sees it all."""
    config, _ = switched
    (tmp_path / ".fetchids").write_text("alice@127.0.0.1 one\n")
    theirs = tmp_path / "theirs/.fetchids"

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path == theirs:
            raise PermissionError(errno.EACCES, "Permission denied")
        return os.stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr("fetchd.cli.seen.memories", lambda *_: [tmp_path / ".fetchids", theirs, theirs])
    code, out, err = run("-c", config, "import", "fetchmail", "--seen", "--dry-run")
    assert (code, out.splitlines()[1].split()) == (0, ["work", "1", "1", "2", "0"])
    assert err == f"note: {theirs.parent}: Permission denied: what fetchmail may remember there is left out\n"
    code, _, err = run("-c", config, "import", "fetchmail", "--seen", "--dry-run", str(theirs))
    assert (code, err) == (78, f"{theirs}: Permission denied\n")


def test_hidden_files_beside_mpops_are_not_its_memory(run: Run, switched, tmp_path: Path) -> None:
    config, remember = switched
    remember("one")
    (tmp_path / ".mpop_uidls/.alice.swp").write_bytes(b"b0VIM")
    assert run("-c", config, "import", "mpop", "--seen", "--dry-run")[0] == 0


def test_an_account_of_which_nothing_is_remembered_is_said(run: Run, switched, tmp_path: Path) -> None:
    """Else a name that is written otherwise would have all of its mail fetched again, and nobody told."""
    config, remember = switched
    remember("one")
    with Path(config).open("a") as file:
        file.write("  bob: {host: pop.example.org, user: bob, password: {file: secret}, deliver: {maildir: /m}}\n")
    code, _, err = run("-c", config, "import", "mpop", "--seen", "--dry-run")
    assert code == 0
    assert err.startswith(
        "note: nothing is taken over for bob, of which mpop remembers nothing. Where mpop has fetched "
    )
    assert err.endswith(" compare host and user, or name that file, too\n")


def test_an_empty_memory_does_not_make_an_account_known(run: Run, switched) -> None:
    """``first_poll: skip`` still applies: there is nothing that could have been taken over."""
    config, remember = switched
    remember()
    Path(config).write_text(Path(config).read_text().replace("tls: none", "tls: none, first_poll: skip"))
    assert run("-c", config, "import", "mpop", "--seen")[0] == 2
    assert run("-c", config, "--once")[1].startswith("1 account: nothing new")


def test_two_maildrops_behind_one_host_and_user_keep_their_memories_apart(run: Run, switched, tmp_path: Path) -> None:
    """Two tunnels, say, whose servers number their mail alike: getmail has a file for each port."""
    config, _ = switched
    with DemoServer({"alice": ("hunter2", [(uid, b"Subject: y\n\ny\n") for uid in (b"one", b"two")])}) as other:
        text = Path(config).read_text()
        port = text.partition("port: ")[2].partition(",")[0]
        second = text.splitlines()[1].replace("work:", "other:").replace(f"port: {port}", f"port: {other.port}")
        Path(config).write_text(f"{text}{second}\n")
        for number, uid in ((port, "one"), (other.port, "two")):
            (tmp_path / f"oldmail-127.0.0.1-{number}-alice").write_text(f"{uid}\x001795461986\n")
        code, out, err = run("-c", config, "import", "getmail", "--seen", str(tmp_path))
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()[1:3]] == [
        ["work", "1", "1", "2", "0"],
        ["other", "1", "1", "1", "0"],
    ]


def test_two_accounts_that_share_a_memory_are_said(run: Run, switched, tmp_path: Path) -> None:
    """mpop and fetchmail do not tell by the port; plain numbers as unique-ids would name other messages."""
    config, remember = switched
    remember("one")
    text = Path(config).read_text()
    port = text.partition("port: ")[2].partition(",")[0]
    Path(config).write_text(f"{text}{text.splitlines()[1].replace('work:', 'other:').replace(port, '1')}\n")
    _, _, err = run("-c", config, "import", "mpop", "--seen", "--dry-run")
    assert "alice_at_127.0.0.1: work and other have one host and user, so both get what mpop remembers of it" in err


def test_a_file_that_is_none_is_said_in_a_line_that_can_be_read(run: Run, switched, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x1b[31m@" + b"\xff" * 5000 + b" uid\n")
    code, _, err = run("-c", switched[0], "import", "fetchmail", "--seen", str(tmp_path / "file"))
    assert (code, "\x1b" in err, len(err) < 600) == (2, False, True)


def test_nobody_is_asked_where_there_is_no_standard_input(run: Run, switched, monkeypatch: pytest.MonkeyPatch) -> None:
    config, remember = switched
    remember("x")
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = run("-c", config, "import", "mpop", "--seen")
    assert (code, "work: left out; --yes takes it over all the same" in err) == (1, True)


def test_a_file_that_is_named_twice_counts_once(run: Run, switched, tmp_path: Path) -> None:
    config, remember = switched
    remember("one")
    file = str(tmp_path / ".mpop_uidls/alice_at_127.0.0.1")
    code, out, _ = run("-c", config, "import", "mpop", "--seen", "--dry-run", file, str(tmp_path / ".mpop_uidls"))
    assert (code, out.splitlines()[1].split()) == (0, ["work", "1", "1", "2", "0"])


def test_nothing_left_behind_is_one_line(run: Run, switched, tmp_path: Path) -> None:
    code, _, err = run("-c", switched[0], "import", "mpop", "--seen")
    assert (code, err) == (
        2,
        f"fetchd: mpop has left no unique-ids behind: looked in {tmp_path}/.mpop_uidls; name the file\n",
    )
    code, _, err = run("-c", switched[0], "import", "mpop", "--seen", str(tmp_path / "missing"))
    assert (code, err) == (78, f"{tmp_path}/missing: No such file or directory\n")


def test_a_store_that_another_fetchd_works_on_is_left_alone(run: Run, switched, tmp_path: Path) -> None:
    config, remember = switched
    remember("one")
    with SqliteStore.open(tmp_path / "state/fetchd/fetchd.db"):
        code, out, err = run("-c", config, "import", "mpop", "--seen")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "another fetchd" in err
    assert "stop it first" in err
