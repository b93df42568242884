"""What a failure most likely means at this provider, and what to do about it: one sentence, or none. Pure."""

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

from fetchd.errors import AccountError, AuthenticationError, LoginDelayError, MailboxBusyError
from fetchd.model import TOKEN_WAYS, UNIX_PREFIX, TlsMode
from fetchd.providers import Provider, of_domain, of_host


class _Kind(Enum):
    """What went wrong, as far as a provider has something to say of it."""

    REFUSED = auto()
    TOKEN_REFUSED = auto()
    TOO_SOON = auto()
    WRONG_TLS = auto()
    UNREACHABLE = auto()


_OF_TOKEN: Final = re.compile(rf"the login by (?:{'|'.join(TOKEN_WAYS)}) was refused")
_REFUSED_ALL_THE_SAME: Final = (
    "The provider gave this token, and its mail server refuses it: see that POP is on for this mailbox, and that user "
    "is the address with which somebody logged in."
)
_BY_TEXT: Final[tuple[tuple[re.Pattern[str], _Kind | None], ...]] = (
    (re.compile(r"\[IN-USE|\[SYS/|\block(?:ed)?\b|in use", re.IGNORECASE), None),
    (re.compile(r"LOGIN-DELAY|login limit|too (?:many|often)|minutes apart", re.IGNORECASE), _Kind.TOO_SOON),
    (_OF_TOKEN, _Kind.TOKEN_REFUSED),
    (re.compile(r"the login by \S+ was refused|: [A-Z0-9-]+ cannot be used with it"), _Kind.REFUSED),
    (re.compile(r"speaks plain POP3 on this port|\(port \d+ speaks TLS|does not offer STLS"), _Kind.WRONG_TLS),
    (re.compile(r"cannot connect|cannot be resolved|resolving the name took longer"), _Kind.UNREACHABLE),
)
"""How fetchd's own messages begin to differ, for who has nothing but the text: the store."""


def hint(host: str, error: AccountError | str) -> str:
    """Returns what is known of this failure at the provider whose server this is; "" where nothing is.

    Args:
        host: the account's.
        error: what the poll ended with; or its text alone, as the store keeps it.

    >>> hint("pop.gmx.net", "pop.gmx.net:110: the server does not offer STLS, and nothing goes on in plain text")
    'GMX has its POP3 at pop.gmx.net, port 995, with tls: implicit.'
    """
    if host.startswith(UNIX_PREFIX):
        return ""
    kind = _kind(error)
    provider = of_host(host)
    if provider is None or kind is _Kind.TOKEN_REFUSED:
        return _anywhere(host, kind)
    match kind:
        case _Kind.REFUSED:
            return provider.refusal
        case _Kind.TOO_SOON if provider.least_interval:
            least = provider.least_interval // 60
            return f"{provider.name} lets nobody in more often than every {_minutes(least)}: set interval: {least}m."
        case _Kind.WRONG_TLS:
            return _where(provider)
    return ""


def _kind(error: AccountError | str) -> _Kind | None:
    text = str(error)
    match error:
        case AuthenticationError():
            return _Kind.TOKEN_REFUSED if _OF_TOKEN.search(text) else _Kind.REFUSED
        case LoginDelayError():
            return _Kind.TOO_SOON
        case MailboxBusyError():
            return None
    return next((kind for pattern, kind in _BY_TEXT if pattern.search(text)), None)  # None, too: somebody is busy


def _anywhere(host: str, kind: _Kind | None) -> str:
    if kind is _Kind.TOKEN_REFUSED:
        return _REFUSED_ALL_THE_SAME
    return _elsewhere(host) if kind in {_Kind.UNREACHABLE, _Kind.WRONG_TLS} else ""


def _elsewhere(host: str) -> str:
    """Returns where the provider of a host such as ``imap.gmail.com`` or ``gmx.de`` has its POP3."""
    provider = next((found for domain in _domains(host) if (found := of_domain(domain)) is not None), None)
    return _where(provider) if provider is not None else ""


def _domains(host: str) -> Iterator[str]:
    labels = host.rstrip(".").split(".")
    return (".".join(labels[start:]) for start in range(len(labels) - 1))


def _where(provider: Provider) -> str:
    if provider.no_pop3:
        return provider.no_pop3
    tls = "" if provider.tls is TlsMode.NONE else f", with tls: {provider.tls}"
    return f"{provider.name} has its POP3 at {provider.hosts[0]}, port {provider.port}{tls}."


def _minutes(number: int) -> str:
    return "minute" if number == 1 else f"{number} minutes"
