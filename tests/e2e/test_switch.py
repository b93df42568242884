"""From fetchmail, getmail and mpop to fetchd: the real programs fetch, then fetchd takes over, and nothing comes twice.

These are the commands of docs/coming-from.md.
"""

import os
import pwd
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fetchd.demo import DemoServer
from tests.conftest import MakeMailbox
from tests.docs.pages import blocks
from tests.e2e.running import PATIENCE, environment

CALLER = pwd.getpwuid(os.geteuid()).pw_name
TOOLS = ("fetchmail", "getmail", "mpop")


@dataclass(frozen=True, slots=True)
class Old:
    """An old fetcher as it is installed for one user: ``run`` polls once, ``rc`` is its configuration."""

    tool: str
    home: Path
    rc: Path

    def run(self) -> None:
        commands = {
            "fetchmail": ["fetchmail", "--fetchmailrc", str(self.rc)],
            "getmail": ["getmail", "--quiet", "--getmaildir", str(self.rc.parent), "--rcfile", str(self.rc)],
            "mpop": ["mpop", "--quiet", "--file", str(self.rc), "--all-accounts"],
        }
        env = environment(self.home, {"FETCHMAILHOME": str(self.home), "USER": CALLER, "LOGNAME": CALLER})
        done = subprocess.run(commands[self.tool], env=env, capture_output=True, timeout=60, check=False)
        assert done.returncode in {0, 1}, (done.stdout, done.stderr)  # 1 is fetchmail's "no mail"

    def delivered(self) -> int:
        spool = self.home / "old"
        return sum(1 for path in spool.rglob("*") if path.is_file() and path.stat().st_size)


def set_up(tool: str, home: Path, host: str, port: int, user: str, password: str) -> Old:
    """Writes the old fetcher's configuration: it keeps mail on the server, and each message becomes a file."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed: sh .ci/need {tool}")
    spool = home / "old"
    for folder in ("new", "cur", "tmp"):
        (spool / folder).mkdir(parents=True)
    store = home / "store"
    store.write_text(f'#!/bin/sh\nexec cat > "$(mktemp {spool}/new/XXXXXX)"\n')
    store.chmod(0o755)
    if tool == "fetchmail":
        rc = home / ".fetchmailrc"
        text = (
            f"poll {host} proto pop3 uidl port {port}\n"
            f'  user "{user}" pass "{password}" is {CALLER} here sslproto "" keep mda "{store}"\n'
        )
    elif tool == "getmail":
        rc = home / ".config/getmail/getmailrc"
        text = (
            f"[retriever]\ntype = SimplePOP3Retriever\nserver = {host}\nport = {port}\nusername = {user}\n"
            f"password = {password}\n[destination]\ntype = MDA_external\npath = {store}\nallow_root_commands = true\n"
            "[options]\nread_all = false\ndelete_after = 14\n"
        )
    else:
        rc = home / ".mpoprc"
        text = (
            f"account work\nhost {host}\nport {port}\nuser {user}\npassword {password}\nauth user\n"
            f"keep on\ndelivery maildir {spool}\n"
        )
    rc.parent.mkdir(parents=True, exist_ok=True)
    rc.write_text(text)
    rc.chmod(0o600)
    return Old(tool, home, rc)


def shell(old: Old, script: str) -> str:
    """Runs commands of the page in the old fetcher's home, with the ``fetchd`` of this tree; returns what they said."""
    programs = old.home / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "fetchd").write_text(f'#!/bin/sh\nexec {sys.executable} -m fetchd "$@"\n')
    (programs / "fetchd").chmod(0o755)
    own = {"FETCHMAILHOME": str(old.home), "XDG_STATE_HOME": str(old.home / "state")}
    env = environment(old.home, {"PATH": f"{programs}:{os.environ['PATH']}", **own})
    done = subprocess.run(
        ["sh", "-ec", script],
        env=env,
        cwd=old.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=10 * PATIENCE,
        check=False,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    return said


def page(tool: str) -> str:
    """Returns the commands of docs/coming-from.md for this fetcher."""
    (found,) = (block.text for block in blocks("docs/coming-from.md") if f"import {tool} --seen\n" in block.text)
    return found


def run(old: Old, *arguments: str) -> str:
    return shell(old, shlex.join(["fetchd", *arguments]))


@pytest.mark.parametrize("tool", TOOLS)
def test_after_a_switch_only_what_is_new_comes_and_that_once(tool: str, mailbox: MakeMailbox, tmp_path: Path) -> None:
    """FACTS §4.7, and every command of docs/coming-from.md: nothing comes; then one new message, once."""
    box = mailbox(*(b"Subject: %d\r\n\r\nold\r\n" % number for number in range(7)), password="sesame")
    old = set_up(tool, tmp_path, box.server.host, box.server.port, box.user, box.password)
    old.run()
    assert old.delivered() == 7

    said = shell(old, page(tool))
    assert "1 account, no errors" in said
    assert [line.split()[1:] for line in said.splitlines() if line.startswith(("user", "work "))] == [list("7700")] * 2
    assert "1 account: 7 messages will not be fetched again; fetchd deletes none of them\n" in said
    assert said.endswith("1 account: nothing new\n")

    box.put(b"Subject: 8\r\n\r\nnew\r\n")
    assert run(old, "--once").endswith("1 account: 1 new message (16 bytes)\n")
    assert run(old, "--once").endswith("1 account: nothing new\n")
    everything = [path.read_bytes() for path in tmp_path.rglob("new/*")]
    assert (len(everything), sum(b"Subject: 8" in one for one in everything)) == (8, 1)
    assert len(box.messages()) == 8


def test_what_the_old_fetcher_delivered_is_deleted_when_the_user_says_so(mailbox: MakeMailbox, tmp_path: Path) -> None:
    """Architecture, invariant 5: only --delivered-by-old makes it ours to delete."""
    box = mailbox(b"Subject: 1\r\n\r\nold\r\n", password="sesame")
    old = set_up("mpop", tmp_path, box.server.host, box.server.port, box.user, box.password)
    old.run()
    shell(old, page("mpop"))
    config = tmp_path / ".config/fetchd/fetchd.yaml"
    config.write_text(config.read_text().replace("leave_on_server: true", "leave_on_server: false"))
    assert run(old, "--once").endswith("1 account: nothing new\n")
    assert len(box.messages()) == 1
    said = run(old, "import", "mpop", "--seen", "--delivered-by-old")
    assert "may be deleted as leave_on_server says" in said
    assert run(old, "--once").endswith("1 account: nothing new, 1 deleted\n")
    assert box.messages() == []


# ── unique-ids that the old fetcher writes otherwise than the server has them ────────────────────────────────────────


@pytest.mark.parametrize(
    ("tool", "written"),
    [("fetchmail", b"@127.0.0.1 " + b"L" * 128 + b"\n"), ("getmail", b"INBOX-12-34567\0")],
    ids=["fetchmail", "getmail"],
)
def test_unique_ids_that_were_written_otherwise_are_found_again(tool: str, written: bytes, tmp_path: Path) -> None:
    """FACTS §4.1, §4.2: fetchmail cuts at 128 characters, getmail writes ``-`` for ``/``."""
    uids = [b"L" * 140, b"plain", b"INBOX/12/34567"]
    mail = [(uid, b"Subject: old\n\nold\n") for uid in uids]
    with DemoServer({"alice": ("demo", mail)}) as server:
        old = set_up(tool, tmp_path, "127.0.0.1", server.port, "alice", "demo")
        old.run()
        rc = f"fetchd import {tool} --write-secrets secrets > fetchd.yaml"
        shell(old, rc)
        memory = [path for path in tmp_path.rglob("*") if path.name.startswith(("oldmail-", ".fetchids"))]
        assert written in memory[0].read_bytes()
        said = shell(old, f"fetchd -c fetchd.yaml import {tool} --seen; fetchd -c fetchd.yaml --once")
        assert said.splitlines()[1].split()[1:] == ["3", "3", "0", "0"]
        assert said.endswith("1 account: nothing new\n")


def test_a_user_with_a_domain_is_found_again_in_the_name_of_getmails_file(tmp_path: Path) -> None:
    r"""getmail 6.18 leaves the backslash of ``DOMAIN\user`` in the name of its file; others write ``-`` for it."""
    with DemoServer({"corp\\joe": ("demo", [(b"1", b"Subject: old\n\nold\n")])}) as server:
        old = set_up("getmail", tmp_path, "127.0.0.1", server.port, "corp\\joe", "demo")
        old.run()
        shell(old, "fetchd import getmail --write-secrets secrets > fetchd.yaml")
        said = shell(old, "fetchd -c fetchd.yaml import getmail --seen; fetchd -c fetchd.yaml --once")
        assert said.endswith("1 account: nothing new\n")
