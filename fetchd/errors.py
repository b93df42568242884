"""Every error that fetchd raises on purpose, on one page.

The type says what went wrong; an :class:`AccountError`'s ``retry`` says what the scheduler does about it::

    FetchdError
    ├ ConfigError                     refuse to start; on reload keep the old configuration
    ├ UsageError                      a command was asked for something that cannot be (exit code 2)
    ├ AccountError                    ends this session only; carries the account's name and retry
    │ ├ NetworkError ─ TlsError       never falls back to plain text
    │ ├ ProtocolError                 the server broke the protocol
    │ ├ POP3Error(reply)              -ERR
    │ │  ├ AuthenticationError        LATER; HOLD on [AUTH]
    │ │  ├ MailboxBusyError           [IN-USE]
    │ │  ├ LoginDelayError            [LOGIN-DELAY]
    │ │  └ MessageRefusedError        -ERR to one RETR or DELE: the line is still in step, skip that message
    │ ├ UniqueIdsChangedError         not one known unique-id is listed any more: a human decides
    │ ├ PolicyError                   the server cannot do what the policy needs (no UIDL in keep mode)
    │ ├ SecretError                   the password cannot be had
    │ ├ DeliveryError                 ENOSPC, EDQUOT, EACCES, EIO …: nothing marked, nothing deleted
    │ ├ StoreError                    no memory of what is seen: no fetching
    │ └ Interrupted                   we were asked to stop; nothing is wrong with the account

OS errors become one of these at the seam where they happen (``pop3/transport.py``, ``delivery/``, ``store/``,
``config/``) and nowhere else, always ``raise … from``. Texts that come from a server are escaped and capped by
:func:`printable` before they enter a message.
"""

from enum import StrEnum

from fetchd.model import Outcome, Reply

SERVER_TEXT_LIMIT = 200
"""The most octets of a server's text that any message, log event or label repeats."""


class Retry(StrEnum):
    """When the scheduler polls an account again after an error."""

    SOON = "soon"
    """A passing fault: back off from a minute upwards."""
    LATER = "later"
    """Trying again soon would do harm or no good: back off from the account's interval upwards."""
    HOLD = "hold"
    """A human has to act: hold the account until a reload, a SIGUSR1 or a day has passed."""


def printable(text: bytes | str) -> str:
    r"""Returns a server's text as one printable ASCII-or-letters line of at most 200 characters.

    Control characters, escape sequences and octets above 0x7E come out as ``\xNN``, so that no server can colour
    a terminal, forge a log line or grow one without bound.

    >>> printable(b"locked \x1b[31mby\r\nme")
    'locked \\x1b[31mby\\r\\nme'
    """
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
    cut = raw[:SERVER_TEXT_LIMIT]
    shown = cut.decode("ascii", "backslashreplace").encode("unicode_escape").decode("ascii")
    shown = shown.replace("\\\\x", "\\x")
    return shown[:SERVER_TEXT_LIMIT] + ("…" if len(raw) > len(cut) or len(shown) > SERVER_TEXT_LIMIT else "")


class FetchdError(Exception):
    """The root: whatever fetchd raises on purpose. ``str(error)`` is one line for a human, without secrets."""


class ConfigError(FetchdError):
    """The configuration cannot be used; ``problems`` holds one ready line for each thing that is wrong."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UsageError(FetchdError):
    """A command was asked for something that cannot be, for example an account that does not exist."""


class AccountError(FetchdError):
    """Something that ends the session in hand of one account, and touches no other account.

    Attributes:
        account: the account's name; empty until the use case binds it.
        retry: what the scheduler does next.
        outcome: the metrics' label for errors of this type.
    """

    retry: Retry = Retry.SOON
    outcome: Outcome = Outcome.INTERNAL

    def __init__(self, message: str, *, retry: Retry | None = None) -> None:
        super().__init__(message)
        self.account = ""
        if retry is not None:
            self.retry = retry


class NetworkError(AccountError):
    """Connecting, sending or receiving failed, timed out, or the peer went away."""

    outcome = Outcome.NETWORK


class TlsError(NetworkError):
    """No secure channel: a certificate that does not verify, a handshake that fails, STLS refused or missing.

    Never answered by trying again without TLS.
    """

    outcome = Outcome.TLS
    retry = Retry.LATER


class ProtocolError(AccountError):
    """The server said something that POP3 does not allow; the session cannot be trusted any more."""

    outcome = Outcome.PROTOCOL


class POP3Error(AccountError):
    """The server answered ``-ERR``.

    Attributes:
        reply: the server's reply, with its text and its RFC 2449 §8 response code.
    """

    outcome = Outcome.REFUSED

    def __init__(self, message: str, reply: Reply, *, retry: Retry | None = None) -> None:
        super().__init__(message, retry=retry)
        self.reply = reply


class AuthenticationError(POP3Error):
    """The login was refused. LATER, or HOLD where the server says ``[AUTH]`` (RFC 3206 §4), lest it locks us out."""

    outcome = Outcome.AUTH
    retry = Retry.LATER


class MailboxBusyError(POP3Error):
    """``[IN-USE]`` (RFC 2449 §8.1.1): another session holds the maildrop."""

    outcome = Outcome.BUSY


class LoginDelayError(POP3Error):
    """``[LOGIN-DELAY]`` (RFC 2449 §8.1.2): the password may be right, we came back too early."""

    outcome = Outcome.BUSY
    retry = Retry.LATER


class MessageRefusedError(POP3Error):
    """``-ERR`` to one RETR or DELE: that message cannot be had now; the session goes on."""


class UniqueIdsChangedError(AccountError):
    """Not one unique-id that should still be there is listed: fetching all again would flood the user."""

    outcome = Outcome.POLICY
    retry = Retry.HOLD


class PolicyError(AccountError):
    """The server cannot do what the account's policy needs."""

    outcome = Outcome.POLICY
    retry = Retry.HOLD


class SecretError(AccountError):
    """The password cannot be read, or holds octets that no POP3 command may carry."""

    outcome = Outcome.SECRET
    retry = Retry.LATER


class DeliveryError(AccountError):
    """The target cannot take mail now. Nothing was marked as seen, nothing is deleted on the server."""

    outcome = Outcome.DELIVERY


class StoreError(AccountError):
    """The store of what was seen cannot be read or written. Without memory there is no fetching."""

    outcome = Outcome.STORE


class Interrupted(AccountError):  # noqa: N818 - not a fault
    """fetchd was asked to stop while this session ran; what was not finished is fetched next time."""

    outcome = Outcome.INTERRUPTED
