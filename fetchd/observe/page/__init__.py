"""The status page: one page of HTML made here, and its style, script and icon as files beside it.

Text from servers and configurations enters by the template alone, which escapes it. jinja2 is loaded when somebody
asks for the page.
"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fetchd.observe.page.view import make_view
from fetchd.observe.pages import Page, Request, Response
from fetchd.observe.status import Status

if TYPE_CHECKING:
    from jinja2 import Template

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: nothing from elsewhere, nothing inline."""

_HERE: Final = Path(__file__).parent
_FILES: Final = (
    ("status.css", "text/css; charset=utf-8"),
    ("status.js", "text/javascript; charset=utf-8"),
    ("icon.svg", "image/svg+xml"),
)


class StatusPage:
    """Renders the page for whoever asks; safe for many threads."""

    def __init__(self, status: Callable[[], Status]) -> None:
        """``status`` tells how things stand now."""
        self._status = status
        self._loading = threading.Lock()
        self._template: Template | None = None

    def pages(self) -> Mapping[str, Page]:
        """Returns the page and its files, by path."""
        return {"/": self._page, **{f"/{name}": _file(_HERE / name, kind) for name, kind in _FILES}}

    def _page(self, request: Request) -> Response:
        view = make_view(self._status(), wanted=request.query.get("q", ""), page=request.query.get("page", ""))
        html = self._loaded().render(view=view)
        return Response(
            html.encode("utf-8", "backslashreplace"), content_type="text/html; charset=utf-8", policy=POLICY
        )

    def _loaded(self) -> "Template":
        with self._loading:
            if self._template is None:
                self._template = _load()
            return self._template


def _load() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - see above

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("status.html")


def _file(path: Path, kind: str) -> Page:
    return lambda _request: Response(path.read_bytes(), content_type=kind)
