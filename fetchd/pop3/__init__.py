"""A POP3 client (RFC 1939, 2449, 2595, 3206, 8314) that loses nothing, hangs nowhere, and reveals nothing.

Messages are streamed, several in flight where the server can; TLS is verified; everything that goes wrong is a typed
error, and nothing half is ever passed off as whole.

>>> from fetchd.pop3 import POP3Session
>>> with POP3Session.connect(host, port) as session:
...     session.login("alice", "open sesame")
...     for number, uid in session.unique_ids().items():
...         with open(directory / uid.decode(), "wb") as file:
...             octets = session.retrieve(number, file)
...         print(f"message {number}: {octets} octets")
...         session.delete_message(number)
message 1: 33 octets

Leaving the ``with`` block sends QUIT, upon which the server deletes; leaving it by an exception drops the line, and
nothing is deleted.
"""

from fetchd.errors import (
    AccountError,
    AuthenticationError,
    FetchdError,
    LoginDelayError,
    MailboxBusyError,
    MessageRefusedError,
    NetworkError,
    POP3Error,
    ProtocolError,
    Retry,
    SecretError,
    TlsError,
    UsageError,
)
from fetchd.model import (
    POP3_PORT,
    POP3S_PORT,
    Capabilities,
    MessageInfo,
    Proxy,
    ProxyKind,
    Reply,
    Secret,
    Tls,
    TlsMode,
    UniqueId,
)
from fetchd.pop3.protocol import Limits
from fetchd.pop3.replies import is_positive
from fetchd.pop3.session import POP3Session
from fetchd.pop3.tls import TlsContexts, client_context
from fetchd.pop3.trace import Trace
from fetchd.ports import Deleted, Retrieved

__all__ = [
    "POP3S_PORT",
    "POP3_PORT",
    "AccountError",
    "AuthenticationError",
    "Capabilities",
    "Deleted",
    "FetchdError",
    "Limits",
    "LoginDelayError",
    "MailboxBusyError",
    "MessageInfo",
    "MessageRefusedError",
    "NetworkError",
    "POP3Error",
    "POP3Session",
    "ProtocolError",
    "Proxy",
    "ProxyKind",
    "Reply",
    "Retrieved",
    "Retry",
    "Secret",
    "SecretError",
    "Tls",
    "TlsContexts",
    "TlsError",
    "TlsMode",
    "Trace",
    "UniqueId",
    "UsageError",
    "client_context",
    "is_positive",
]
