"""Which polls are news: a failing account is worth a line at its first failure and at each change, not every retry."""

import re
from dataclasses import dataclass, field
from typing import Final

from fetchd.errors import Retry
from fetchd.events import InternalError, MessageSkipped, PollDone, PollFailed, PollScheduled, Reloaded
from fetchd.model import Outcome, SkipReason, UniqueId

WEIGHED: Final = (PollDone, PollFailed, PollScheduled, InternalError, Reloaded, MessageSkipped)
"""The events whose level depends on what was said before."""

ON_HOLD: Final = "on hold, lest trying does harm: for a day, or until a reload or SIGUSR1 once the cause is mended"
"""What is said of an account that the daemon puts on hold, though its last error alone did not call for it."""

_VARIABLE: Final = re.compile(r"\S*\d\S*")
"""Words of an error that are new at every retry: times, addresses, the session ids that servers put into refusals."""
_WORDINGS: Final = 16
"""How many wordings of one kind of failure are told before the account is well again."""


@dataclass(slots=True)
class _Failing:
    """How an account fails, and in which wordings that was told."""

    kind: tuple[str, ...]
    told: set[str] = field(default_factory=set)

    def is_news(self, wording: str) -> bool:
        """Returns whether this wording of it is to be told, which it then was."""
        known = wording in self.told or len(self.told) >= _WORDINGS
        self.told.add(wording)
        return not known


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

    - A failure of the kind of the one before (outcome and retry) is ``debug`` in words that were told already, those
      with a digit in them left aside; so is a bug that strikes again.
    - That the daemon puts a failing account on hold is a ``warning``, once, unless the failure said so.
    - The first success after a failure is ``info`` with ``recovered=true``; other successes are ``info`` where mail was
      delivered or deleted, else ``debug``.
    - A message that is skipped for the reason for which it was skipped in the poll before is ``debug``.
    - A poll that we interrupted ourselves is ``info`` and changes nothing.
    - A reload forgets the accounts that it removed or changed: the next failure is news again.

    Safe for many threads, as no account is polled by two at a time.
    """

    def __init__(self) -> None:
        self._failing: dict[tuple[str, str], _Failing] = {}
        self._held: set[str] = set()
        self._skipped: dict[str, _Skipped] = {}

    def weigh(
        self, event: PollDone | PollFailed | PollScheduled | InternalError | Reloaded | MessageSkipped
    ) -> tuple[str, dict[str, object]]:
        """Returns the level of an event, and the fields that it gains."""
        match event:
            case MessageSkipped():
                skipped = self._skipped.setdefault(event.account, _Skipped())
                return ("debug" if skipped.again((event.uid, event.reason)) else event.level), {}
            case PollDone():
                return self._succeeded(event)
            case PollFailed():
                return self._poll_failed(event), {}
            case PollScheduled():
                return self._scheduled(event)
            case InternalError():
                return self._failed(event, ()), {}
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

    def _poll_failed(self, event: PollFailed) -> str:
        if event.outcome is Outcome.INTERRUPTED:
            return "info"
        if event.retry == Retry.HOLD:
            self._held.add(event.account)
        return self._failed(event, (event.outcome.value, event.retry))

    def _failed(self, event: PollFailed | InternalError, kind: tuple[str, ...]) -> str:
        key = (event.name, event.account)
        failing = self._failing.get(key)
        if failing is None or failing.kind != kind:
            failing = self._failing[key] = _Failing(kind)
        return event.level if failing.is_news(_VARIABLE.sub("#", event.error)) else "debug"

    def _scheduled(self, event: PollScheduled) -> tuple[str, dict[str, object]]:
        if event.retry != Retry.HOLD or event.account in self._held:
            return event.level, {}
        self._held.add(event.account)
        return "warning", {"text": ON_HOLD}

    def _forget(self, account: str) -> bool:
        """Returns whether there was a failure to forget."""
        self._held.discard(account)
        failures = [self._failing.pop((kind.name, account), None) for kind in (PollFailed, InternalError)]
        return any(failure is not None for failure in failures)
