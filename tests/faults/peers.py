"""Peers that say in TLS and in SASL what no honest server says."""

import base64
import hashlib
import hmac
import re
import subprocess
from collections.abc import Callable

from tests.faults.conftest import NAME
from tests.faults.server import Answer, Session
from tests.servers.pki import TestAuthority


def coded(octets: bytes) -> bytes:
    return base64.b64encode(octets)


class OpenSsl:
    """``openssl s_server``, which can do what Python's ssl cannot: what is typed goes to the client."""

    def __init__(self, authority: TestAuthority, *options: str) -> None:
        issued = authority.issue(NAME)
        self.process = subprocess.Popen(
            [
                *("openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-crlf", *options),
                *("-cert", str(issued.cert_file), "-key", str(issued.key_file)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.type = self.process.stdin.write
        self.said = b""
        self.port = int(self.wait_for(rb"ACCEPT 127\.0\.0\.1:(\d+)")[1])

    def wait_for(self, pattern: bytes) -> re.Match[bytes]:
        """Returns once it has said this."""
        assert self.process.stdout is not None
        while not (match := re.search(pattern, self.said)):
            more = self.process.stdout.read(65536)
            assert more, self.said.decode(errors="replace")
            self.said += more
        return match

    def end(self) -> None:
        """Waits for its end, which comes when the client has left, and takes what it said last."""
        try:
            rest, _ = self.process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest, _ = self.process.communicate()
        self.said += rest


class ScramServer:
    """What an honest server says in SCRAM-SHA-256 (RFC 7677), and what it could say instead.

    Attributes:
        password: the client's.
        first: makes the server-first message of what would be right: nonce, salt, iterations.
        final: makes what follows the client's proof, from the right signature: challenges, then the reply.
    """

    def __init__(
        self,
        password: bytes,
        first: Callable[[str], str] = lambda nonce: f"r={nonce}ext,s=QUJDREVGR0hJSktMTU5PUA==,i=4096",
        final: Callable[[str], list[str]] = lambda signature: [f"v={signature}"],
    ) -> None:
        self.password = password
        self.first = first
        self.final = final
        self.heard: list[bytes] = []

    def __call__(self, session: Session) -> Answer:
        bare = base64.b64decode(session.lines[-1].split()[2]).decode().partition(",")[2].partition(",")[2]
        first = self.first(bare.partition("r=")[2])
        answer = self._ask(session, first)
        if answer is None:
            return b"-ERR cancelled\r\n"
        without_proof = answer.rpartition(",p=")[0]
        for challenge in self.final(self._signature(bare, first, without_proof)):
            if self._ask(session, challenge) is None:
                return b"-ERR cancelled\r\n"
        return session.log_in()

    def _ask(self, session: Session, challenge: str) -> str | None:
        line = session.ask(b"+ " + coded(challenge.encode()) + b"\r\n")
        self.heard.append(line)
        return None if line == b"*" else base64.b64decode(line).decode()

    def _signature(self, bare: str, first: str, without_proof: str) -> str:
        salted = hashlib.pbkdf2_hmac("sha256", self.password, b"ABCDEFGHIJKLMNOP", 4096)
        key = hmac.digest(salted, b"Server Key", "sha256")
        return coded(hmac.digest(key, f"{bare},{first},{without_proof}".encode(), "sha256")).decode()
