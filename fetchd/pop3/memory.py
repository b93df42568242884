"""What earlier sessions taught of one account's server: kept by the caller, from one session to the next."""

from dataclasses import dataclass, field

from fetchd.model import Capabilities


@dataclass(slots=True)
class ServerMemory:
    """Grows by what goes wrong, so that it goes wrong once. For one account, and one session of it at a time.

    Attributes:
        way: the way to log in that worked last (``POP3Session.mechanism``); "" for none yet.
        broken_ways: ways to log in in the middle of which the server went away: they come last.
        capa_failures: how many times running the server went away, or fell silent, when it was asked for CAPA.
        capa_works: it has answered CAPA.
        is_lock_step: the server lists PIPELINING, and loses commands that come before it has answered (FAULTS C 47).
        is_pipelining: it has answered several commands that came together: what breaks later has other reasons.
        before_login: what CAPA said before the last login that succeeded, and the TLS version of the line on which it
            said so ("" for a plain line); None where there was none, or it may have changed.
    """

    way: str = ""
    broken_ways: set[str] = field(default_factory=set)
    capa_failures: int = 0
    capa_works: bool = False
    is_lock_step: bool = False
    is_pipelining: bool = False
    before_login: tuple[str, Capabilities] | None = None

    def order(self, ways: list[str]) -> list[str]:
        """Returns ways to log in, in the order in which they are to be tried."""
        return sorted(ways, key=lambda way: (way in self.broken_ways, way != self.way))

    @property
    def has_no_capa(self) -> bool:
        """Whether the server cannot bear CAPA (fetchmail's FAQ R11); one line that broke there proves nothing."""
        return self.capa_failures > 1 and not self.capa_works

    def pipelining_worked(self) -> None:
        """Notes that a command was answered that had been sent before the one ahead of it was answered."""
        self.is_pipelining = True

    def broke(self, *, pipelined: bool) -> None:
        """Notes that the line broke, or fell silent; where it does in lock-step, pipelining was not to blame."""
        self.is_lock_step = pipelined and not self.is_pipelining

    def offered_before(self, tls_version: str) -> Capabilities | None:
        """Returns what the server said before a login that succeeded, on a line as secure as this one; None if unknown.

        A list from another line is none (RFC 2595 §4).
        """
        if self.before_login is None or self.before_login[0] != tls_version:
            return None
        return self.before_login[1]
