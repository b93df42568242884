"""What a server's octets say: the events of :meth:`fetchd.pop3.protocol.Pop3Protocol.next_event`."""

from enum import Enum, auto
from typing import Final

from fetchd.model import Reply
from fetchd.pop3.commands import Command
from fetchd.values import value


class NeedData(Enum):
    """What :meth:`Pop3Protocol.next_event` returns when it cannot say more."""

    NEED_DATA = auto()


NEED_DATA: Final = NeedData.NEED_DATA


@value
class Greeting:
    """The server greeted; the session is in the AUTHORIZATION state, or CLOSED where it said ``-ERR``."""

    reply: Reply


@value
class StatusReply:
    """The status line for a command. Where it is positive and the command's kind is not LINE, more events follow."""

    command: Command
    reply: Reply


@value
class ListLines:
    """Some lines of a list, at least one, without their ends."""

    command: Command
    lines: list[bytes]


@value
class BodyChunk:
    """Some octets of a message, at least one, without dot-stuffing, line ends as they came."""

    command: Command
    data: bytes


@value
class ReplyEnded:
    """The terminating dot of a list or a message was seen."""

    command: Command


@value
class Challenge:
    """The server asks back before it decides on AUTH; ``text`` is what follows its ``+``. Answer it."""

    command: Command
    text: bytes


Event = Greeting | StatusReply | ListLines | BodyChunk | ReplyEnded | Challenge
