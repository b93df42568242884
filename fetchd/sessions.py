"""How a session comes about: the time, the secret or token, and the connection that is logged in.

A part of the composition root, for the daemon as for the errands of single commands.
"""

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fetchd import events
from fetchd.config import SecretReader
from fetchd.model import Account, Proxy, Secret, SecretOAuth, SecretSource, TlsMode
from fetchd.pop3.memory import ServerMemory
from fetchd.pop3.session import POP3Session
from fetchd.pop3.tls import TlsContexts
from fetchd.pop3.trace import Trace
from fetchd.ports import Maildrop
from fetchd.resolver import Resolver

if TYPE_CHECKING:
    import ssl

    from fetchd.oauth.reader import TokenReader


class SystemClock:
    """The machine's own time: see :class:`fetchd.ports.Clock`."""

    def wall(self) -> float:
        """Returns Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Returns seconds that only grow."""
        return time.monotonic()


class Secrets:
    """Fills ``ports.Secrets``: passwords from where the configuration says, access tokens from beside the store.

    What reads tokens is loaded at the first account that has some.
    """

    def __init__(self, state: Path, *, clock: SystemClock, emit: events.Emit) -> None:
        self._state = state
        self._clock = clock
        self._emit = emit
        self._reader = SecretReader(os.environ)
        self._making = threading.Lock()
        self._made: TokenReader | None = None

    def reveal(self, source: SecretSource | SecretOAuth) -> Secret:
        """Returns the password, or an access token that is good for a while: see :class:`fetchd.ports.Secrets`."""
        return self._tokens().reveal(source) if isinstance(source, SecretOAuth) else self._reader.reveal(source)

    def renew(self, source: SecretOAuth, refused: Secret) -> Secret | None:
        """Returns another access token than the one that a server refused: see :class:`fetchd.ports.Secrets`."""
        return self._tokens().renew(source, refused)

    def close(self) -> None:
        """Ends the commands that run, and lets no other begin."""
        self._reader.close()

    def _tokens(self) -> "TokenReader":
        from fetchd.oauth.files import TokenFiles  # noqa: PLC0415 - only for accounts that have tokens
        from fetchd.oauth.reader import TokenReader  # noqa: PLC0415 - likewise

        with self._making:  # two readers would each have their own idea of what could not be stored
            if self._made is None:
                self._made = TokenReader(
                    TokenFiles.beside(self._state),
                    reveal=self._reader.reveal,
                    clock=self._clock,
                    chance=random.random,
                    emit=self._emit,
                )
            return self._made


class Connector:
    """Fills ``ports.Connect``: a session that is logged in.

    One TLS context serves all accounts of equal settings, one look-up all accounts of one host; what a session teaches
    of its server, the next one knows.
    """

    def __init__(
        self, *, trace_to: events.Emit | None = None, reveal: Callable[[SecretSource], Secret] | None = None
    ) -> None:
        self._trace_to = trace_to
        self._reveal = reveal
        self._contexts = TlsContexts()
        self._making = threading.Lock()  # at the start, every worker would make one: 64 times 40 ms and 1 MB
        self._resolver = Resolver()
        self._memories: dict[tuple[str, str, int, str], ServerMemory] = {}

    def __call__(self, account: Account, password: Secret) -> Maildrop:
        """Returns a session that is logged in: see :class:`fetchd.ports.Connect`."""
        proxy = self._proxy(account)
        session = POP3Session.connect(
            account.host,
            account.port,
            tls=account.tls,
            timeout=account.timeout,
            session_timeout=account.session_timeout,
            login_timeout=account.login_timeout,
            minimum_rate=account.minimum_rate,
            source_address=account.source_address,
            proxy=proxy,
            resolve=self._resolver,
            context=self._context(account),
            memory=self._memory(account),
            trace=self._trace(account, password, proxy),
        )
        try:
            session.login(
                account.user,
                password,
                mechanism=account.mechanism,
                allow_plaintext=account.allow_plaintext_password,
                is_token=isinstance(account.password, SecretOAuth),
            )
        except BaseException:
            session.close()
            raise
        return session

    def _trace(self, account: Account, password: Secret, proxy: Proxy | None) -> Trace | None:
        emit = self._trace_to
        if emit is None:
            return None
        masked = [password, *([proxy.password] if proxy and proxy.password else [])]

        def write(direction: str, line: str) -> None:
            emit(events.Traced(account.name, direction, line))

        return Trace(write, *masked)

    def _proxy(self, account: Account) -> Proxy | None:
        """Returns the proxy with its password, which is read anew for every session, as the account's own is."""
        if account.proxy is None or account.proxy_password is None:
            return account.proxy
        assert self._reveal is not None, "Connector(reveal=…)"
        return replace(account.proxy, password=self._reveal(account.proxy_password))

    def _context(self, account: Account) -> "ssl.SSLContext | None":
        if account.tls.mode is TlsMode.NONE:
            return None
        with self._making:
            return self._contexts.get(account.tls)

    def _memory(self, account: Account) -> ServerMemory:
        key = (account.name, account.host, account.port, account.user)
        return self._memories.setdefault(key, ServerMemory())
