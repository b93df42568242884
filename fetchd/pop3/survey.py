"""What is in the maildrop: STAT, UIDL and LIST, in one round trip where the server takes several commands at once."""

from collections.abc import Mapping

from fetchd.errors import NetworkError, POP3Error
from fetchd.model import Capabilities, UniqueId
from fetchd.pop3.commands import CAPA, LIST, STAT, UIDL
from fetchd.pop3.conversation import Conversation
from fetchd.pop3.listing import Sizes, UniqueIds
from fetchd.pop3.memory import ServerMemory
from fetchd.pop3.opening import read_capabilities
from fetchd.pop3.refusals import refusal
from fetchd.pop3.replies import parse_stat
from fetchd.ports import Survey


def survey(conversation: Conversation, *, pipelined: bool, memory: ServerMemory) -> Survey:
    """Returns what is in the maildrop.

    Args:
        conversation: idle, in the TRANSACTION state.
        pipelined: whether to ask for all three at once.
        memory: is told whether the server can take that.

    Raises:
        POP3Error: the server refuses STAT or LIST. UIDL it may refuse.
    """
    conversation.check_idle()
    if pipelined:
        conversation.send(STAT, UIDL, LIST)
    return _read(conversation, pipelined=pipelined, memory=memory)


def survey_at_once(conversation: Conversation, *, memory: ServerMemory) -> tuple[Capabilities, Survey]:
    """Returns what CAPA says and what is in the maildrop, asked in one round trip.

    For a server that says before the login that it takes several commands at once: what it says of that holds in both
    states (RFC 2449 §6.8).

    Raises:
        POP3Error: see :func:`survey`.
    """
    conversation.check_idle()
    conversation.send(CAPA, STAT, UIDL, LIST)
    try:
        capabilities = read_capabilities(conversation)
    except NetworkError:
        memory.broke(pipelined=True)
        raise
    return capabilities, _read(conversation, pipelined=True, memory=memory)


def _read(conversation: Conversation, *, pipelined: bool, memory: ServerMemory) -> Survey:
    try:
        messages, octets = _stat(conversation, sent=pipelined)
        uids, no_uidl = _uidl(conversation, sent=pipelined)
        if pipelined:
            memory.pipelining_worked()
        sizes = _list(conversation, sent=pipelined)
    except NetworkError:
        memory.broke(pipelined=pipelined)
        raise
    return Survey(messages, octets, uids, sizes, no_uidl)


def _stat(conversation: Conversation, *, sent: bool) -> tuple[int, int]:
    reply = conversation.read_status() if sent else conversation.ask(STAT)
    if not reply.ok:
        raise refusal(reply, conversation.failed(STAT))
    with conversation.unbroken("the reply to STAT"):
        messages, octets = parse_stat(reply.text)
    conversation.expect_messages(messages)
    return messages, octets


def _uidl(conversation: Conversation, *, sent: bool) -> tuple[Mapping[int, UniqueId] | None, POP3Error | None]:
    if not sent:
        conversation.send(UIDL)
    listed = UniqueIds()
    reply = conversation.read_lines(UIDL, listed.add)
    return (listed.mapping(), None) if reply.ok else (None, refusal(reply, conversation.failed(UIDL)))


def _list(conversation: Conversation, *, sent: bool) -> Mapping[int, int]:
    if not sent:
        conversation.send(LIST)
    listed = Sizes()
    reply = conversation.read_lines(LIST, listed.add)
    if not reply.ok:
        raise refusal(reply, conversation.failed(LIST))
    return listed.mapping()
