"""A provider that answers by a script: real sockets, one answer a request, and a memory of what was asked."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl

GRANT = {"access_token": "access-1", "refresh_token": "refresh-1", "token_type": "Bearer", "expires_in": 3600}


@dataclass
class Say:
    """One answer.

    Attributes:
        body: an object becomes JSON.
        before: is called when the request is there, before the answer.
        drip: seconds between the octets of the answer.
        length: what Content-Length claims; None for the truth.
    """

    body: object = field(default_factory=lambda: dict(GRANT))
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None
    drip: float = 0.0
    length: int | None = None


@dataclass
class Asked:
    """One request."""

    path: str
    form: dict[str, str]
    headers: dict[str, str]


def refusal(code: str, description: str = "") -> Say:
    return Say({"error": code, **({"error_description": description} if description else {})}, status=400)


class Endpoint:
    """The provider. A context manager; ``script`` is what it says, in order, the last one again and again."""

    def __init__(self, *script: Say) -> None:
        self.script = list(script)
        self.asked: list[Asked] = []
        self.ends = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                outer.asked.append(Asked(self.path, dict(parse_qsl(form)), dict(self.headers.items())))
                outer._answer(self, outer.script.pop(0) if len(outer.script) > 1 else outer.script[0])

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, say: Say) -> None:
        say.before()
        body = say.body if isinstance(say.body, bytes) else json.dumps(say.body).encode()
        head = {"Content-Type": "application/json", **say.headers}
        head["Content-Length"] = str(len(body) if say.length is None else say.length)
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        octets = f"HTTP/1.1 {say.status} X\r\nConnection: close\r\n{lines}\r\n".encode() + body
        try:
            if say.drip:
                for octet in octets:
                    request.wfile.write(bytes([octet]))
                    request.wfile.flush()
                    if self.ends.wait(say.drip):
                        return
            else:
                request.wfile.write(octets)
        except OSError:  # the client has gone
            return


def forms(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [one.form for one in endpoint.asked]
