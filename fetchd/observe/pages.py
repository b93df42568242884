"""What the HTTP endpoint answers: a request, a response, and the pages that are one line or one document. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import field
from http import HTTPStatus
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs

from fetchd.values import value

NOTHING_ALLOWED: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of whatever is no page for humans."""

_FIELDS: Final = 8
"""The most fields of a query that are looked at."""


@value
class Request:
    """What a page may want to know: the query's fields, each at its first value; empty where it cannot be read."""

    query: Mapping[str, str] = field(default_factory=dict)


@value
class Response:
    """What a page answers. ``policy`` is its Content-Security-Policy."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"
    policy: str = NOTHING_ALLOWED


Page = Callable[[Request], Response]
"""Makes one page; called in a thread of its own for every request."""


def metrics_page(render: Callable[[], bytes], content_type: str) -> Page:
    """Returns the page ``/metrics``."""
    return document_page(render, content_type)


def document_page(render: Callable[[], bytes], content_type: str) -> Page:
    """Returns a page that is one document, made anew for every request."""
    return lambda _request: Response(render(), content_type=content_type)


def health_page(check: Callable[[], tuple[bool, str]]) -> Page:
    """Returns a page such as ``/healthz``: 200 where the check says True, else 503, with its text as one line."""

    def page(_request: Request) -> Response:
        healthy, text = check()
        return Response(f"{text}\n".encode(), HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)

    return page


def parse_query(text: str) -> Mapping[str, str]:
    """Returns a query's fields; a query that is none has none.

    >>> dict(parse_query("q=gmx&page=2&q=other"))
    {'q': 'gmx', 'page': '2'}
    """
    try:
        fields = parse_qs(text, max_num_fields=_FIELDS, errors="replace")
    except ValueError:
        return MappingProxyType({})
    return {name: values[0] for name, values in fields.items()}
