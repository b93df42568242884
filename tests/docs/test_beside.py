"""docs/docker-beside.md: what it says was tried, with the Dovecot that is here."""

import poplib
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import text_of
from tests.servers.dovecot import Dovecot
from tests.servers.pki import TestAuthority

PLUGIN: Final = Path("/usr/lib/dovecot/modules/lib10_mail_crypt_plugin.so")
LETTER: Final = b"Subject: plain\r\n\r\nAs fetchd delivers it.\r\n"


def doveadm(server: Dovecot, *arguments: str, stdin: str = "") -> str:
    command = ["doveadm", "-c", str(server.directory / "dovecot.conf"), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_dovecot_says_where_a_mailbox_is_and_whose(authority: TestAuthority) -> None:
    with Dovecot(authority) as server:
        server.add_user("alice@example.com", "open sesame")
        said = doveadm(server, "user", "alice@example.com")
        maildir = server.directory / "mail/alice@example.com"
        fields = dict(line.split("\t", 1) for line in said.splitlines())
        assert fields["mail"].startswith(f"maildir:{maildir}")
        assert {fields["uid"], fields["gid"]} == {str(maildir.stat().st_uid), str(maildir.stat().st_gid)}


@pytest.mark.skipif(not PLUGIN.exists(), reason="this Dovecot has no mail_crypt")
def test_dovecot_reads_plain_messages_beside_encrypted_ones(authority: TestAuthority, tmp_path: Path) -> None:
    """As mailcow configures it: mail_crypt with a global key, and zlib."""
    if Dovecot(authority).version >= (2, 4):
        pytest.skip("Dovecot 2.4 spells this otherwise; mailcow's is 2.3")
    key, public = tmp_path / "private.pem", tmp_path / "public.pem"
    for command in (
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)],
        ["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(public)],
    ):
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    # A section, though a setting is a line: the first opens its brace, the last closes it. Keys are inline, since
    # Dovecot's user may not read a file of this test's.
    section = {
        "plugin {\nmail_crypt_global_private_key": b64encode(key.read_bytes()).decode(),
        "mail_crypt_global_public_key": b64encode(public.read_bytes()).decode(),
        "mail_crypt_save_version": "2",
        "zlib_save": "gz\n}",
    }
    with Dovecot(authority, settings={"mail_plugins": "zlib mail_crypt", **section}) as server:
        mailbox = server.add_user("alice@example.com", "open sesame")
        mailbox.put(LETTER)
        doveadm(server, "save", "-u", mailbox.user, stdin="Subject: kept\n\nBy Dovecot itself.\n")
        stored = mailbox.messages()
        assert [octets.startswith(b"CRYPTED") for octets in stored] == [False, True]
        line = poplib.POP3(server.host, server.port, timeout=60)
        line.user(mailbox.user)
        line.pass_(mailbox.password)
        assert [b"\r\n".join(line.retr(number)[1])[:13] for number in (1, 2)] == [b"Subject: plai", b"Subject: kept"]
        line.quit()


def test_the_page_says_what_was_tried() -> None:
    assert text_of("docs/docker-beside.md").count("ried here") == 2
