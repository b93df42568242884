"""One request to a provider, with a deadline for the whole of it: a form goes there, a small answer comes back.

TLS is verified against the system's authorities; a proxy is what the environment names (``HTTPS_PROXY``,
``NO_PROXY``). No redirect is followed, for it would carry the secrets in the form elsewhere. httpx is loaded here, at
the first request.
"""

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from fetchd import __version__
from fetchd.errors import NetworkError, SecretError, TlsError, printable
from fetchd.oauth.replies import Answer

LIMIT_OCTETS: Final = 256 * 2**10
"""The largest answer that is read."""
DEADLINE: Final = 30.0
"""Seconds that a request may take as a whole, but for looking up a name: the system's resolver has its own limits."""
_STEP: Final = 15.0
"""Seconds that each read or write may take."""
_CONNECT: Final = 5.0
"""Seconds that each address of a host, and TLS, may take. They are tried one by one, so where IPv6 leads nowhere, this
leaves time for IPv4."""
_REDIRECTS: Final = range(300, 400)


def post(url: str, form: str, headers: Mapping[str, str], *, deadline: float = DEADLINE) -> Answer:
    """Sends a form, and returns the answer.

    Args:
        url: where to; ``https``, or ``http`` to this machine.
        form: ``application/x-www-form-urlencoded``.
        headers: of the request.
        deadline: seconds for all of it.

    Raises:
        TlsError: the certificate is not good.
        NetworkError: no answer came, or too large a one.
        SecretError: the address or the proxy's is no good.
    """
    import httpx  # noqa: PLC0415 - 0.2 s and 20 MB, and a poll with a good token does without

    where = url.partition("://")[2].partition("/")[0]
    if not is_safe(url):
        raise SecretError(f"{where}: no token is asked for over plain http: write https://")
    watch = _Watch(deadline)
    try:
        with (
            _client(httpx, url, deadline) as client,
            watch,
            client.stream(
                "POST",
                url,
                content=form.encode(),
                headers={**headers, "User-Agent": f"fetchd/{__version__}", "Accept-Encoding": "identity"},
                extensions={"trace": watch},
            ) as response,
        ):
            if response.status_code in _REDIRECTS:
                raise NetworkError(f"{where} redirects elsewhere (HTTP {response.status_code}), which is not followed")
            return Answer(response.status_code, _body(response, where))
    except (httpx.InvalidURL, UnicodeError):  # of what idna refuses, too
        raise SecretError(f"{where}: this is no name of a host: look at the endpoints of oauth") from None
    except (httpx.HTTPError, OSError) as error:
        if watch.overdue:
            raise NetworkError(f"{where} did not answer within {deadline:g} s") from error
        raise _translated(error, where) from error


def is_safe(url: str) -> bool:
    """Returns whether nobody can listen on the way there."""
    if url.startswith("https://"):
        return True
    authority = url.removeprefix("http://").partition("/")[0].partition("?")[0]
    host = authority.rpartition(":")[0] if authority.rpartition(":")[2].isdigit() else authority
    return url.startswith("http://") and host in {"127.0.0.1", "[::1]", "localhost"}


@contextmanager
def _client(httpx: Any, url: str, deadline: float) -> Iterator[Any]:
    encrypted = url.startswith("https://")
    try:
        client = httpx.Client(
            verify=ssl.create_default_context() if encrypted else False,
            trust_env=encrypted,  # a proxy would hear what goes to this machine in the clear
            follow_redirects=False,
            timeout=httpx.Timeout(min(_STEP, deadline), connect=min(_CONNECT, deadline)),
        )
    except httpx.InvalidURL:  # which quotes a part of it, and there may be a password in it
        raise SecretError("the proxy that the environment names cannot be used: its URL is none") from None
    except (ImportError, ValueError) as error:  # of a proxy that needs more, or is none
        raise SecretError(f"the proxy that the environment names cannot be used: {printable(str(error))}") from error
    with client:
        yield client


def _body(response: Any, where: str) -> bytes:
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > LIMIT_OCTETS:
            raise NetworkError(f"{where} answers with more than {LIMIT_OCTETS >> 10} KiB")
    return bytes(body)


def _translated(error: Exception, where: str) -> NetworkError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TlsError(f"{where}: the certificate is not good: {printable(cause.verify_message)}")
        cause = cause.__cause__ or cause.__context__
    return NetworkError(f"{where} cannot be reached: {printable(str(error)) or type(error).__name__}")


class _Watch:
    """Cuts the connection at a deadline, whatever step it is in: the library's own limits are for each read.

    It is the request's ``trace`` (https://www.encode.io/httpcore/extensions/), which is told of the connection.
    """

    def __init__(self, seconds: float) -> None:
        self.overdue = False
        self._line: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._line is not None:
            self._line.close()

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.complete") and self._line is None:
            # TLS takes the socket itself away; another descriptor of it still reaches the connection.
            line = info["return_value"].get_extra_info("socket")
            try:
                self._line = line.dup()
            except OSError:
                line.close()  # nobody else has hold of it yet
                raise
            if self.overdue:
                self._cut()

    def _cut(self) -> None:
        self.overdue = True
        if self._line is not None:
            with suppress(OSError):  # it ended meanwhile
                self._line.shutdown(socket.SHUT_RDWR)
