"""A server with maildrops too large to have: it lists a million messages, and has none of them."""

import socket
import socketserver
import threading
from types import TracebackType
from typing import Self

from tests.benchmarks.limits import END


class BulkServer:
    """POP3 on loopback. Every user's maildrop holds the same ``count`` messages, which cannot be retrieved.

    It knows what a poll needs that finds nothing new: CAPA, USER and PASS, STAT, UIDL, LIST, QUIT, pipelined.
    """

    host = "127.0.0.1"

    def __init__(self, count: int) -> None:
        uids = b"".join(b"%d %08x6b055376\r\n" % (number, number) for number in range(1, count + 1))
        sizes = b"".join(b"%d 1000\r\n" % number for number in range(1, count + 1))
        replies = {
            b"CAPA": b"+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\nRESP-CODES" + END,
            b"STAT": b"+OK %d %d\r\n" % (count, 1000 * count),
            b"UIDL": b"+OK\r\n" + uids + b".\r\n",
            b"LIST": b"+OK\r\n" + sizes + b".\r\n",
        }

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"+OK ready\r\n")
                for line in self.rfile:
                    self.wfile.write(replies.get(line[:4].upper().strip(), b"+OK\r\n"))
                    if line[:4].upper() == b"QUIT":
                        return

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that is stopped in the middle leaves: that is no news."""

        self._server = Server((self.host, 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="bulk server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def free_port() -> int:
    """Returns a port that nobody has right now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
