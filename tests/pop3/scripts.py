"""What most scripts of a POP3 session begin and end with, and who plays the client."""

import io
from collections.abc import Callable

from fetchd.model import Tls, TlsMode
from fetchd.pop3 import POP3Session
from fetchd.pop3.transport import SocketTransport
from tests.servers.scripted import Expect, ScriptedServer, Send, Step

GREETING = Send(b"+OK POP3 Ready...\r\n")
OK = Send(b"+OK\r\n")
LOGIN: list[Step] = [GREETING, Expect(b"USER user"), OK, Expect(b"PASS secret"), OK]
PIPELINING: list[Step] = [Expect(b"CAPA"), Send(b"+OK\r\nPIPELINING\r\n.\r\n")]
NO_PIPELINING: list[Step] = [Expect(b"CAPA"), Send(b"-ERR what?\r\n")]
QUIT: list[Step] = [Expect(b"QUIT"), OK]


def logged_in(server: ScriptedServer, **arguments: object) -> POP3Session:
    session = POP3Session.connect(server.host, server.port, **arguments)
    try:
        session.login("user", "secret", mechanism="USER")
    except BaseException:
        session.close()
        raise
    return session


class Mail:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.files: dict[int, io.BytesIO] = {}

    def __call__(self, number: int) -> Callable[[object], object]:
        """Opens a message."""
        assert number not in self.files
        self.files[number] = io.BytesIO()
        return self.files[number].write

    def messages(self) -> dict[int, bytes]:
        """What arrived."""
        return {number: file.getvalue() for number, file in self.files.items()}


class Distant(SocketTransport):
    """A line to another host."""

    @property
    def is_local(self) -> bool:
        """No."""
        return False


def over_the_hills(server: ScriptedServer) -> POP3Session:
    transport = Distant.connect(server.host, server.port)
    return POP3Session.over(transport, tls=Tls(mode=TlsMode.NONE))
