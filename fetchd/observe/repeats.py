"""Which polls are news: a failing account is worth a line at its first failure and at each change, not every retry."""

from dataclasses import dataclass, field
from typing import Final

from fetchd.events import Event, InternalError, MessageSkipped, PollDone, PollFailed, Reloaded, TooLarge
from fetchd.model import Outcome, SkipReason, UniqueId

WEIGHED: Final = (PollDone, PollFailed, InternalError, Reloaded, MessageSkipped, TooLarge)
"""The events whose level depends on what was said before."""


@dataclass(slots=True)
class _Skipped:
    """What one account's last whole poll skipped, and what the one in hand did: no more is ever remembered."""

    before: set[tuple[UniqueId | None, SkipReason]] = field(default_factory=set)
    now: set[tuple[UniqueId | None, SkipReason]] = field(default_factory=set)

    def again(self, skip: tuple[UniqueId | None, SkipReason]) -> bool:
        self.now.add(skip)
        return skip in self.before

    def poll_ended(self) -> None:
        self.before, self.now = self.now, set()


class Repeats:
    """Remembers each account's last failure, and says at which level an event is to be logged.

    - A failure like the one before (outcome, error and retry) is ``debug``; so is a bug that strikes again.
    - The first success after a failure is ``info`` with ``recovered=true``; other successes are ``info`` where mail was
      delivered or deleted, else ``debug``.
    - A message that is skipped for the reason for which it was skipped in the poll before is ``debug``.
    - A poll that we interrupted ourselves is ``info`` and changes nothing.
    - A reload forgets the accounts that it removed or changed: the next failure is news again.

    Safe for many threads, as no account is polled by two at a time.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[str, ...]] = {}
        self._skipped: dict[str, _Skipped] = {}

    def weigh(
        self, event: PollDone | PollFailed | InternalError | Reloaded | MessageSkipped
    ) -> tuple[str, dict[str, object]]:
        """Returns the level of an event, and the fields that it gains."""
        match event:
            case MessageSkipped():
                skipped = self._skipped.setdefault(event.account, _Skipped())
                return ("debug" if skipped.again((event.uid, event.reason)) else event.level), {}
            case PollDone():
                return self._succeeded(event)
            case PollFailed(outcome=Outcome.INTERRUPTED):
                return "info", {}
            case PollFailed():
                return self._failed(event, event.account, event.outcome.value, event.error, event.retry), {}
            case InternalError():
                return self._failed(event, event.account, event.error), {}
            case Reloaded():
                for account in event.removed + event.changed:
                    self._forget(account)
                    self._skipped.pop(account, None)
                return event.level, {}

    def _succeeded(self, event: PollDone) -> tuple[str, dict[str, object]]:
        if event.account in self._skipped:
            self._skipped[event.account].poll_ended()
        if self._forget(event.account):
            return "info", {"recovered": True}
        return ("info" if event.result.delivered or event.result.deleted else "debug"), {}

    def _failed(self, event: Event, account: str, *failure: str) -> str:
        key = (event.name, account)
        if self._last.get(key) == failure:
            return "debug"
        self._last[key] = failure
        return event.level

    def _forget(self, account: str) -> bool:
        """Returns whether there was a failure to forget."""
        failures = [self._last.pop((kind.name, account), None) for kind in (PollFailed, InternalError)]
        return any(failure is not None for failure in failures)
