"""What the package offers."""

import doctest
from pathlib import Path

from fetchd import pop3
from fetchd.pop3 import commands, framing
from fetchd.pop3.framing import encode_body
from tests.servers.scripted import Expect, ScriptedServer, Send


def test_example_of_the_docstring_runs(tmp_path: Path) -> None:
    """As it stands, against a server that expects exactly that."""
    script = [
        Send(b"+OK ready\r\n"),
        Expect(b"CAPA"),
        Send(b"-ERR unknown command\r\n"),
        Expect(b"USER alice"),
        Send(b"+OK\r\n"),
        Expect(b"PASS open sesame"),
        Send(b"+OK\r\n"),
        Expect(b"UIDL"),
        Send(b"+OK\r\n1 0001\r\n.\r\n"),
        Expect(b"RETR 1"),
        Send(b"+OK\r\n" + encode_body(b"Subject: hello\r\n\r\nHello, Alice!\r\n")),
        Expect(b"DELE 1"),
        Send(b"+OK\r\n"),
        Expect(b"QUIT"),
        Send(b"+OK\r\n"),
    ]
    with ScriptedServer(script) as server:
        names = {"host": server.host, "port": server.port, "directory": tmp_path}
        result = doctest.testmod(pop3, extraglobs=names)
    assert result.attempted
    assert not result.failed
    assert (tmp_path / "0001").read_bytes() == b"Subject: hello\r\n\r\nHello, Alice!\r\n"


def test_other_examples_run() -> None:
    """Small ones."""
    for module in (framing, commands):
        assert not doctest.testmod(module).failed


def test_everything_that_is_promised_is_there() -> None:
    """DESIGN §5."""
    assert pop3.POP3_PORT == 110
    assert pop3.POP3S_PORT == 995
    for name in pop3.__all__:
        assert getattr(pop3, name) is not None
