"""How a session begins: the greeting, and STLS (RFC 2595) where the line has to be secured first."""

import ssl

from fetchd.errors import NetworkError, TlsError
from fetchd.model import POP3S_PORT, Capabilities, Reply, Tls
from fetchd.pop3.commands import CAPA, STLS
from fetchd.pop3.conversation import Conversation
from fetchd.pop3.refusals import refused_greeting, said
from fetchd.pop3.replies import parse_capabilities


def greet(conversation: Conversation) -> Reply:
    """Reads and returns the greeting.

    Raises:
        POP3Error: the server will not serve us, and why.
        NetworkError: none came; where a plain connection went to the port of POP3S, the message says so.
    """
    peer = conversation.transport.peer
    try:
        reply = conversation.greeting()
    except NetworkError as error:
        if not conversation.transport.tls_version and peer.endswith(f":{POP3S_PORT}"):
            raise NetworkError(f"{error} (port {POP3S_PORT} speaks TLS: use tls: implicit)") from error
        raise
    if not reply.ok:
        raise refused_greeting(reply, f"{peer}: the server does not serve us")
    return reply


def start_tls(conversation: Conversation, settings: Tls, context: ssl.SSLContext | None) -> None:
    """Secures the line by STLS. There is no way on without it.

    Raises:
        TlsError: STLS is missing or refused, or the handshake fails.
    """
    peer = conversation.transport.peer
    if "STLS" not in ask_capabilities(conversation):
        raise TlsError(f"{peer}: the server does not offer STLS, and nothing goes on in plain text")
    reply = conversation.ask(STLS)
    if not reply.ok:
        raise TlsError(f"{peer}: STLS was refused, and nothing goes on in plain text: {said(reply)}")
    conversation.start_tls(settings, context)


def ask_capabilities(conversation: Conversation) -> Capabilities:
    """Returns what CAPA says now; empty where the server has no CAPA."""
    conversation.check_idle()
    conversation.send(CAPA)
    return read_capabilities(conversation)


def read_capabilities(conversation: Conversation) -> Capabilities:
    """Reads the reply to the oldest command in flight, which is CAPA."""
    lines: list[bytes] = []
    reply = conversation.read_lines(CAPA, lines.extend)
    return parse_capabilities(lines) if reply.ok else Capabilities()
