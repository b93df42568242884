"""The first ten minutes against a real Dovecot, at a terminal: init, check --connect, --once, and once more."""

import ssl
import subprocess
from pathlib import Path

from tests.conftest import MakeMailbox
from tests.e2e.running import command, environment, fetchd, maildir_content
from tests.servers.pki import TestAuthority
from tests.servers.terminal import TerminalProgram


def test_from_an_address_to_delivered_mail(mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path) -> None:
    """init asks, writes, logs in; --once fetches; the next one has nothing to do; a second account goes in beside."""
    box = mailbox(b"Subject: one\n\nx\n", b"Subject: two\n\ny\n", password="open sesame")
    other = mailbox(b"Subject: three\n\nz\n", password="second")
    # The server's certificate is to be one that this machine trusts: OpenSSL's own way to say so.
    env = environment(tmp_path, {"SSL_CERT_FILE": str(authority.ca_file), "XDG_CONFIG_HOME": str(tmp_path / "conf")})
    path = tmp_path / "conf" / "fetchd" / "fetchd.yaml"
    server = ("--host", box.server.host, "--port", str(box.server.tls_port), "--tls", "implicit")
    assert ssl.get_default_verify_paths().openssl_cafile_env == "SSL_CERT_FILE"
    with TerminalProgram(command("init", str(path), *server), env=env, cwd=tmp_path) as terminal:
        terminal.answer("E-mail address: ", box.user)
        terminal.answer("User name [", "")
        terminal.answer("(not shown): ", "open sesame")
        terminal.answer("Deliver into [~/Maildir]: ", "")
        terminal.answer("Leave the mail on the server? [Y/n]: ", "")
        terminal.answer("Ask for new mail every [5m]: ", "")
        terminal.answer("Try it now?", "")
        assert terminal.end() == 0, terminal.text
        assert "open sesame" not in terminal.text
        assert "\nNext:\n  fetchd --once" in terminal.text
    assert fetchd(tmp_path, "check", env=env).code == 0
    polled = fetchd(tmp_path, "--once", env=env)
    assert (polled.code, polled.out) == (0, "1 account: 2 new messages (32 bytes)\n"), polled.err
    assert fetchd(tmp_path, "--once", env=env).out == "1 account: nothing new\n"
    added = subprocess.run(
        command("init", "--add", *server, "--address", other.user, "--password-stdin", "--yes"),
        input=b"second\n",
        env=env,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert added.returncode == 0, added.stderr
    polled = fetchd(tmp_path, "--once", env=env)
    assert (polled.code, polled.out) == (0, "2 accounts: 1 new message (18 bytes)\n"), polled.err
    expected = [b"Subject: one\n\nx\n", b"Subject: three\n\nz\n", b"Subject: two\n\ny\n"]
    assert maildir_content(tmp_path / "Maildir") == sorted(expected)


def test_a_wrong_password_is_found_by_the_first_try(
    mailbox: MakeMailbox, authority: TestAuthority, tmp_path: Path
) -> None:
    """The file stands, the exit code says that the login failed, and the next command is said."""
    box = mailbox(password="open sesame")
    env = environment(tmp_path, {"SSL_CERT_FILE": str(authority.ca_file)})
    server = ("--host", box.server.host, "--port", str(box.server.tls_port), "--yes", "--address", box.user)
    with TerminalProgram(command("init", "fetchd.yaml", *server), env=env, cwd=tmp_path) as terminal:
        terminal.answer("(not shown): ", "wrong")
        assert terminal.end() == 1
        assert "the try failed. Next:\n  fetchd -c fetchd.yaml check --connect -a" in terminal.text
    assert (tmp_path / "fetchd.yaml").exists()
