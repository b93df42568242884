"""The real server behaves as the other tests take for granted, and leaves nothing behind."""

import os
import poplib
import signal
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import MakeMailbox
from tests.servers.dovecot import Dovecot, DovecotError, Mailbox, process_group
from tests.servers.pki import TestAuthority

ROUGH = (
    b"From: a@example.org\nSubject: rough\n\nNUL \x00, CR \r, 8-bit \xff\xfe, \xc3\xa4\n.\n..\nFrom here\n"
    + b"x" * 5000
    + b"\n"
)
PLAIN = b"From: b@example.org\nSubject: plain\n\nhello\n"


@contextmanager
def logged_in(client: poplib.POP3, box: Mailbox) -> Iterator[poplib.POP3]:
    """Logs in; closes the line even where the test has done so already."""
    client.encoding = "utf-8"
    try:
        client.user(box.user)
        client.pass_(box.password)
        yield client
    finally:
        client.close()


def unwired(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def test_a_plain_login_works_while_the_server_runs(mailbox: MakeMailbox) -> None:
    box = mailbox(PLAIN, password="pä:ss {wörd}")
    with logged_in(poplib.POP3(box.server.host, box.server.port), box) as client:
        assert client.stat()[0] == 1
        client.quit()


def test_stls_is_offered_and_verified_by_the_authority(mailbox: MakeMailbox, authority: TestAuthority) -> None:
    box = mailbox(PLAIN)
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    client = poplib.POP3("localhost", box.server.port)
    assert "STLS" in client.capa()
    client.stls(context)
    with logged_in(client, box):
        assert client.stat()[0] == 1


def test_pop3s_is_verified_by_the_authority(mailbox: MakeMailbox, authority: TestAuthority) -> None:
    box = mailbox(PLAIN)
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    with logged_in(poplib.POP3_SSL(box.server.host, box.server.tls_port, context=context), box) as client:
        assert unwired(client.retr(1)[1]) == PLAIN


def test_unique_ids_come_in_the_order_of_put(mailbox: MakeMailbox) -> None:
    messages = [b"Subject: %d\n\n%d\n" % (number, number) for number in range(25)]
    box = mailbox(*messages[:20])
    seen: list[bytes] = []
    for more in ((), messages[20:]):
        box.put(*more)
        with logged_in(poplib.POP3(box.server.host, box.server.port), box) as client:
            listed = client.uidl()[1]
            seen = [unwired(client.retr(number)[1]) for number in range(1, len(listed) + 1)]
            client.quit()
        assert len({line.split()[1] for line in listed}) == len(listed)
    assert seen == messages


def test_every_octet_comes_through(mailbox: MakeMailbox) -> None:
    box = mailbox(ROUGH)
    assert box.messages() == [ROUGH]
    # poplib refuses a line over 2,048 octets: read the reply as it is.
    with logged_in(poplib.POP3(box.server.host, box.server.port), box) as client:
        client.sock.sendall(b"RETR 1\r\nQUIT\r\n")
        assert client.file is not None
        reply = client.file.read()
    body = reply.partition(b"\r\n")[2].partition(b"\r\n.\r\n")[0] + b"\r\n"
    assert body == ROUGH.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")


def test_a_wrong_password_is_refused(mailbox: MakeMailbox) -> None:
    box = mailbox(PLAIN)
    wrong = Mailbox(box.server, box.user, "not this one")
    with (
        pytest.raises(poplib.error_proto, match=r"\[AUTH\]"),
        logged_in(poplib.POP3(box.server.host, box.server.port), wrong),
    ):
        pass


def test_an_unknown_user_is_refused(dovecot: Dovecot) -> None:
    nobody = Mailbox(dovecot, "no-such-user", "open sesame")
    with (
        pytest.raises(poplib.error_proto, match=r"\[AUTH\]"),
        logged_in(poplib.POP3(dovecot.host, dovecot.port), nobody),
    ):
        pass


def test_a_user_is_added_once(mailbox: MakeMailbox) -> None:
    box = mailbox()
    with pytest.raises(ValueError, match="exists already"):
        box.server.add_user(box.user, "another")


def test_quit_deletes_and_only_quit(mailbox: MakeMailbox) -> None:
    box = mailbox(PLAIN, ROUGH)
    with logged_in(poplib.POP3(box.server.host, box.server.port), box) as client:
        client.dele(1)
    assert box.messages() == [PLAIN, ROUGH]
    with logged_in(poplib.POP3(box.server.host, box.server.port), box) as client:
        client.dele(1)
        client.quit()
    assert box.messages() == [ROUGH]


def test_settings_reach_the_server_and_two_servers_live_side_by_side(
    dovecot: Dovecot, authority: TestAuthority
) -> None:
    with Dovecot(authority, settings={"login_greeting": "its own"}) as own:
        assert {own.port, own.tls_port}.isdisjoint({dovecot.port, dovecot.tls_port})
        with closing(poplib.POP3(own.host, own.port)) as client:
            assert client.getwelcome().startswith(b"+OK its own <")


def test_stop_ends_every_process_and_removes_the_directory(authority: TestAuthority) -> None:
    server = Dovecot(authority)
    with server:
        box = server.add_user("dave", "secret")
        with logged_in(poplib.POP3(server.host, server.port), box):
            group, directory = server.pid, server.directory
            assert len(process_group(group)) > 1
    assert process_group(group) == []
    assert not directory.exists()


def test_a_server_that_cannot_start_shows_its_log_and_leaves_nothing(authority: TestAuthority) -> None:
    server = Dovecot(authority, settings={"mail_max_userip_connections": "some"})
    with pytest.raises(DovecotError, match="some"), server:
        pass
    assert not server.directory.exists()


def test_the_server_dies_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from tests.servers.dovecot import Dovecot
        from tests.servers.pki import TestAuthority

        server = Dovecot(TestAuthority(Path(sys.argv[1])))
        server.start()
        print(server.pid, server.directory, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True
    ) as run:
        assert run.stdout is not None
        pid, directory = run.stdout.readline().split()
        run.kill()
    try:
        deadline = time.monotonic() + 20
        while process_group(int(pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process_group(int(pid)) == []
    finally:
        with suppress(ProcessLookupError):
            os.killpg(int(pid), signal.SIGKILL)
        subprocess.run(["rm", "-rf", "--", directory], check=True)
