"""What ``-ERR`` means: the typed error for it, by response code (RFC 2449 §8.1, RFC 3206), or else by its words.

Without a response code only a login is interpreted: many servers say in free text what ``[IN-USE]`` and
``[LOGIN-DELAY]`` say, and a password that is called wrong for it would be typed in anew for nothing.
"""

import re
from typing import Final

from fetchd.errors import (
    AuthenticationError,
    LoginDelayError,
    MailboxBusyError,
    MessageRefusedError,
    POP3Error,
    Retry,
    printable,
)
from fetchd.model import Reply

_BUSY: Final = re.compile(
    rb"\block(?:ed)?\b|\bin use\b|\bbusy\b|duplicate login|already (?:logged|open)"
    rb"|another (?:pop3?|session|client|connection)",
    re.IGNORECASE,
)
_LOCKED_OUT: Final = re.compile(
    rb"account.{0,40}\block|user (?:is |has been )?lock|\block(?:ed)? ?out", re.IGNORECASE | re.DOTALL
)
"""That is the account's owner's affair, not another session's."""
_DELAY: Final = re.compile(
    rb"login (?:limit|delay|rate|frequency)|too (?:many|often|frequent|soon|fast)|(?:minutes?|seconds?|hours?) apart"
    rb"|rate limit|exceeded the|try again (?:in|after) |wait \d",
    re.IGNORECASE,
)
_PASSING: Final = re.compile(
    rb"temporar|unavailable|try again|later|internal (?:server )?error|timed? ?out|database|backend", re.IGNORECASE
)


def said(reply: Reply) -> str:
    """Returns a negative reply as a message quotes it: escaped and capped."""
    code = f"[{printable(reply.code)}]" if reply.code else ""
    return " ".join(word for word in ("-ERR", code, printable(reply.text)) if word)


def refusal(reply: Reply, what: str) -> POP3Error:
    """Returns the error for a negative reply to anything but a login, RETR, TOP or DELE.

    Args:
        reply: the reply.
        what: how the message begins, for example ``pop.example.net:995: STAT failed``.
    """
    return _by_code(reply, what) or POP3Error(_message(reply, what), reply)


def refused_message(reply: Reply, what: str) -> MessageRefusedError:
    """Returns the error for a negative reply to RETR, TOP or DELE: it concerns that message only."""
    return MessageRefusedError(_message(reply, what), reply)


def refused_greeting(reply: Reply, what: str) -> POP3Error:
    """Returns the error for a greeting that is ``-ERR``: nobody was asked for a password yet."""
    return _by_code(reply, what) or _by_words(reply, what) or POP3Error(_message(reply, what), reply)


def refused_login(reply: Reply, what: str) -> POP3Error:
    """Returns the error for a login that was refused.

    Only ``[AUTH]`` says for certain that user or password are wrong (RFC 3206 §4); without a code that is what is
    left once the words do not say otherwise.
    """
    by_code = _by_code(reply, what)
    if by_code is not None:
        return by_code
    return _by_words(reply, what) or AuthenticationError(_message(reply, what), reply)


def _message(reply: Reply, what: str) -> str:
    return f"{what}: {said(reply)}"


def _by_code(reply: Reply, what: str) -> POP3Error | None:
    message = _message(reply, what)
    match reply.code.partition("/")[0], reply.code:
        case "AUTH", _:
            return AuthenticationError(message, reply, retry=Retry.HOLD)
        case "IN-USE", _:
            return MailboxBusyError(message, reply)
        case "LOGIN-DELAY", _:
            return LoginDelayError(message, reply)
        case _, "SYS/PERM":
            # It is the server's operator who has to act (RFC 3206 §5), and nobody tells us when: ask at long intervals.
            return POP3Error(message, reply, retry=Retry.LATER)
        case "SYS", _:
            return POP3Error(message, reply, retry=Retry.SOON)
    return None


def _by_words(reply: Reply, what: str) -> POP3Error | None:
    message = _message(reply, what)
    if _DELAY.search(reply.text):
        return LoginDelayError(message, reply)
    if _LOCKED_OUT.search(reply.text):
        return None
    if _BUSY.search(reply.text):
        return MailboxBusyError(message, reply)
    if _PASSING.search(reply.text):
        return POP3Error(message, reply, retry=Retry.SOON)
    return None
