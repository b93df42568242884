"""What is in the maildrop: STAT, UIDL and LIST, in one round trip where the server takes several commands at once."""

from fetchd.errors import NetworkError, POP3Error
from fetchd.model import MessageInfo, UniqueId
from fetchd.pop3.commands import LIST, STAT, UIDL
from fetchd.pop3.conversation import Conversation
from fetchd.pop3.memory import ServerMemory
from fetchd.pop3.refusals import refusal
from fetchd.pop3.replies import add_listings, add_unique_ids, parse_stat
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


def _uidl(conversation: Conversation, *, sent: bool) -> tuple[dict[int, UniqueId] | None, POP3Error | None]:
    if not sent:
        conversation.send(UIDL)
    listed: dict[int, UniqueId] = {}
    reply = conversation.read_lines(UIDL, lambda lines: add_unique_ids(lines, listed))
    return (listed, None) if reply.ok else (None, refusal(reply, conversation.failed(UIDL)))


def _list(conversation: Conversation, *, sent: bool) -> dict[int, int]:
    if not sent:
        conversation.send(LIST)
    listed: dict[int, MessageInfo] = {}
    reply = conversation.read_lines(LIST, lambda lines: add_listings(lines, listed))
    if not reply.ok:
        raise refusal(reply, conversation.failed(LIST))
    return {number: info.size for number, info in listed.items()}
