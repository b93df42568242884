"""Messages as the standard library's ``email`` sees them, once all their octets are in hand.

The policy is ``email.policy.SMTP``: the modern API, with CRLF line ends both in what was parsed and in ``as_bytes()``.
Nothing here touches the line to the server, so that no defect of a message can bring it out of step.
"""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

_HEADER_END: Final = re.compile(rb"(?:\A|\n)(?:\r?\n)")


def parse_message(octets: bytes) -> EmailMessage:
    """Returns a whole message parsed; its ``defects`` say what is wrong with it."""
    return message_from_bytes(octets, policy=SMTP)


def leaf_parts(message: EmailMessage) -> Iterator[EmailMessage]:
    """Yields the parts of a multipart message that are not multipart themselves, in their order.

    An attached message (``message/rfc822``) is one part. A message that is not multipart has none.
    """
    if not _is_multipart(message):
        return
    for part in message.iter_parts():
        if isinstance(part, EmailMessage):  # which the policy makes every part
            if _is_multipart(part):
                yield from leaf_parts(part)
            else:
                yield part


def _is_multipart(message: EmailMessage) -> bool:
    return message.get_content_maintype() == "multipart" and message.is_multipart()


class HeaderCollector:
    """Keeps a message's header, and drops whatever follows the empty line behind it.

    Args:
        most: octets after which the header is cut.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._kept = bytearray()
        self._complete = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next octets of the message."""
        if self._complete:
            return
        self._kept += data
        end = _HEADER_END.search(self._kept)
        if end is not None or len(self._kept) > self._most:
            self._complete = True
            del self._kept[end.end() if end else self._most :]

    def parse(self) -> EmailMessage:
        """Returns the header as a message without content."""
        return message_from_bytes(bytes(self._kept), policy=SMTP)
