"""A DNS server and a web server of the tests' own, on loopback: real sockets, real TLS, any answer."""

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import httpx

from tests.servers.pki import TestAuthority


@dataclass
class Names:
    """A DNS server by UDP: ``records`` by (name, type), as text; what is not in it does not exist."""

    records: Mapping[tuple[str, str], tuple[str, ...]]
    asked: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def resolver(self, seconds: float) -> dns.resolver.Resolver:
        """What asks this server, and no other."""
        made = dns.resolver.Resolver(configure=False)
        made.nameservers = ["127.0.0.1"]
        made.port = self.port
        made.lifetime = seconds
        return made

    def answer(self, wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        key = (question.name.to_text(), dns.rdatatype.to_text(question.rdtype))
        self.asked.append(key)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if key in self.records:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", key[1], *self.records[key]))
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()


@contextmanager
def serving_names(records: Mapping[tuple[str, str], tuple[str, ...]]) -> Iterator[Names]:
    names = Names(records)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        names.port = sock.getsockname()[1]

        def serve() -> None:
            while wire := sock.recvfrom(4096):
                if wire[0] == b"end":
                    return
                sock.sendto(names.answer(wire[0]), wire[1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield names
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", ("127.0.0.1", names.port))
            thread.join()


@dataclass(frozen=True)
class Page:
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Pages:
    """A web server by https, for any host that its certificate names: pages by ``https://host/path``, without query."""

    pages: Mapping[str, Page]
    context: ssl.SSLContext
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def transport(self) -> httpx.BaseTransport:
        """Leads every request to this server; certificates are verified for the host that was meant."""
        return _Led(self.port, self.context)


class _Led(httpx.BaseTransport):
    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._inner = httpx.HTTPTransport(verify=context)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "sni_hostname": request.url.host}
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


@contextmanager
def serving_pages(pages: Mapping[str, Page], authority: TestAuthority, *names: str) -> Iterator[Pages]:
    """Serves pages under a certificate that has these names."""
    served = Pages(pages, ssl.create_default_context(cafile=str(authority.ca_file)))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"https://{self.headers['Host']}{self.path}"
            served.asked.append(url)
            page = served.pages.get(url.partition("?")[0], Page(b"", 404))
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            try:
                self.wfile.write(page.body)
            except OSError:
                self.close_connection = True  # who asked has heard enough

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    issued = authority.issue(*names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert_file, issued.key_file)
    server = _Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust the certificate goes without a word."""
