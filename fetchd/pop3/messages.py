"""Asking for messages and for their deletion, many in flight."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from fetchd.errors import ProtocolError
from fetchd.pop3.commands import Command, dele, list_one, retr, top
from fetchd.pop3.conversation import Conversation
from fetchd.pop3.memory import ServerMemory
from fetchd.pop3.pipeline import answers
from fetchd.pop3.refusals import refused_message
from fetchd.pop3.replies import named_message
from fetchd.ports import Deleted, InStep, Retrieved, Write

if TYPE_CHECKING:
    from email.message import EmailMessage


def retrieve_each(
    conversation: Conversation,
    numbers: Sequence[int],
    sink: Callable[[int], Write],
    *,
    window: int,
    memory: ServerMemory,
) -> Iterator[Retrieved]:
    """Retrieves messages in order; see :meth:`fetchd.pop3.session.POP3Session.retrieve_each`."""

    def read(command: Command) -> Retrieved:
        return _retrieved(conversation, command, sink)

    return answers(conversation, [retr(number) for number in numbers], read, window=window, memory=memory)


def retrieve_proven(
    conversation: Conversation,
    numbers: Sequence[int],
    sink: Callable[[int], Write],
    *,
    proofs: AbstractSet[int],
    window: int,
    memory: ServerMemory,
) -> Iterator[Retrieved | InStep]:
    """Retrieves messages in order, with proof of that order; see :meth:`fetchd.ports.Maildrop.retrieve_proven`.

    The proof is ``LIST n`` behind ``RETR n``: unlike any other reply its answer names a message, so it cannot be taken
    for one that came too often, and it costs no round trip of its own where the server takes several commands at once.
    """

    def read(command: Command) -> Retrieved | InStep:
        if command.verb == "LIST":
            return _proof(conversation, command)
        return _retrieved(conversation, command, sink)

    commands: list[Command] = []
    for number in numbers:
        commands.append(retr(number))
        if number in proofs:
            commands.append(list_one(number))
    return answers(conversation, commands, read, window=window, memory=memory)


def delete_each(
    conversation: Conversation, numbers: Sequence[int], *, window: int, memory: ServerMemory
) -> Iterator[Deleted]:
    """Marks messages for deletion in order; see :meth:`fetchd.ports.Maildrop.delete_each`."""

    def read(command: Command) -> Deleted:
        number = int(command.args)
        reply = conversation.read_status()
        if reply.ok:
            return Deleted(number)
        return Deleted(number, refused=refused_message(reply, conversation.failed(command)))

    return answers(conversation, [dele(number) for number in numbers], read, window=window, memory=memory)


def header(conversation: Conversation, number: int, *, most: int) -> "EmailMessage":
    """Returns a message's header by TOP; what a server sends beyond it, or beyond ``most`` octets, is dropped.

    Raises:
        MessageRefusedError: the server does not give it.
    """
    command = top(number, 0)
    from fetchd.pop3.mime import HeaderCollector  # noqa: PLC0415 - whoever fetches mail takes none apart

    collector = HeaderCollector(most=most)
    conversation.check_idle()
    conversation.send(command)
    reply, _ = conversation.read_body(lambda: collector.write)
    if not reply.ok:
        raise refused_message(reply, conversation.failed(command))
    return collector.parse()


def _retrieved(conversation: Conversation, command: Command, sink: Callable[[int], Write]) -> Retrieved:
    """Reads the reply to RETR."""
    number = int(command.args)
    reply, octets = conversation.read_body(lambda: sink(number))
    if reply.ok:
        return Retrieved(number, octets)
    return Retrieved(number, refused=refused_message(reply, conversation.failed(command)))


def _proof(conversation: Conversation, command: Command) -> InStep:
    """Reads the reply to LIST for one message."""
    named = named_message(conversation.read_status())
    with conversation.unbroken(f"the reply to {command}"):
        if named not in {None, int(command.args)}:
            raise ProtocolError("it names another message: the server has answered too often, or not at all")
    return InStep(proven=named is not None)
