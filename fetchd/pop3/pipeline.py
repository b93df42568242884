"""Pipelining (RFC 2449 §6.8): a window of commands in flight, refilled with one write when half of it is answered."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from fetchd.errors import NetworkError
from fetchd.pop3.commands import Command
from fetchd.pop3.conversation import WINDOW_OCTETS, Conversation
from fetchd.pop3.memory import ServerMemory

WINDOW: Final = 1024
"""How many commands are in flight by default, where the server can take it: at 80 ms from server to client, small mail
needs that many to come in at the line's speed."""

T = TypeVar("T")


def answers(
    conversation: Conversation,
    commands: Sequence[Command],
    read: Callable[[Command], T],
    *,
    window: int,
    memory: ServerMemory,
) -> Iterator[T]:
    """Sends commands, several ahead of their replies, and yields what ``read`` makes of each reply in turn.

    Left early while replies are outstanding, it drops the line: nobody could tell what belongs to what any more.

    Args:
        conversation: idle, and in a state where the commands are legal.
        commands: all of one kind.
        read: reads the reply to the command it is given, to its end.
        window: the most commands in flight; 1 is lock-step. :data:`WINDOW_OCTETS` bounds them too.
        memory: is told whether the server can take it: if not, the next session goes in lock-step.

    Raises:
        UsageError: the conversation is not idle.
    """
    conversation.check_idle()
    sizes = [command.octets for command in commands]
    half = window // 2
    sent = 0
    octets = 0
    try:
        for answered, command in enumerate(commands):
            first = sent
            if sent - answered <= half:
                while sent < len(commands) and sent - answered < window:
                    if octets + sizes[sent] > WINDOW_OCTETS:
                        break
                    octets += sizes[sent]
                    sent += 1
            if sent > first:
                conversation.send(*commands[first:sent])
            was_early = window > 1 and answered > 0  # it went out before the one ahead of it was answered
            is_followed = conversation.outstanding > 1
            try:
                answer = read(command)
            except NetworkError:
                memory.broke(pipelined=was_early or is_followed)
                raise
            if was_early:
                memory.pipelining_worked()
            yield answer
            octets -= sizes[answered]
    finally:
        if conversation.outstanding:
            conversation.drop("it was left before every reply was read")
