"""One file from the web: https and nothing else, verified, bounded in octets, steps and seconds."""

import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx

_MOST_STEPS: Final = 4
"""The first request, and those that redirects ask for."""
_OK: Final = 200


class WebError(Exception):
    """The file cannot be had; the message is a phrase."""


class Web:
    """Gets files. Safe for many threads.

    Args:
        make_transport: for tests: what carries the requests; else the network, by way of ``$HTTPS_PROXY`` if set.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        make_transport: "Callable[[], httpx.BaseTransport | None]" = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_transport = make_transport
        self._clock = clock
        self._verify = ssl.create_default_context()

    def get(self, url: str, *, limit: int, seconds: float) -> bytes | None:
        """Returns a file of at most ``limit`` octets; None where the server says that there is none.

        Raises:
            WebError: it cannot be reached, is not to be trusted, redirects to where nothing is verified, or sends
                too much.
        """
        import httpx  # noqa: PLC0415 - heavy, and for this alone

        deadline = self._clock() + seconds
        transport = self._make_transport()
        try:
            with httpx.Client(transport=transport, verify=self._verify, timeout=seconds) as client:
                for _ in range(_MOST_STEPS):
                    answer = self._step(client, url, limit=limit, deadline=deadline)
                    if not isinstance(answer, str):
                        return answer
                    url = answer
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise WebError(_reason(error)) from error
        raise WebError("it redirects again and again")

    def _step(self, client: "httpx.Client", url: str, *, limit: int, deadline: float) -> bytes | str | None:
        """Returns the file, None for none, or the address that it is at."""
        # A compressed answer of a few octets could become any number of them.
        headers = {"Accept-Encoding": "identity", "User-Agent": "fetchd"}
        with client.stream("GET", url, headers=headers) as response:
            if response.is_redirect:
                following = response.next_request
                if following is None or following.url.scheme != "https":
                    raise WebError("it redirects to a line that nothing protects")
                return str(following.url)
            if response.status_code != _OK:
                return None
            return self._body(response, limit=limit, deadline=deadline)

    def _body(self, response: "httpx.Response", *, limit: int, deadline: float) -> bytes:
        body = b""
        for piece in response.iter_raw():
            body += piece
            if len(body) > limit:
                raise WebError(f"it sends more than {limit >> 10} KiB")
            if self._clock() > deadline:
                raise WebError("it is too slow")
        return body


def _reason(error: Exception) -> str:
    import httpx  # noqa: PLC0415 - as above

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not to be trusted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return "it does not answer" if isinstance(error, httpx.TransportError | OSError) else "it does not speak HTTP"
