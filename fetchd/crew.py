"""The workers: a bounded number of threads, each with one account in hand. The only threads that touch an account."""

import queue
import threading
from collections.abc import Callable

from fetchd.errors import FetchdError
from fetchd.inbox import Finished, Message
from fetchd.model import Account


class Crew:
    """At most ``size`` worker threads, hired when there is work and no idle hand."""

    def __init__(self, *, size: int, work: Callable[[Account], Finished], post: Callable[[Message], None]) -> None:
        self._size = size
        self._work = work
        self._post = post
        self._jobs: queue.SimpleQueue[Account] = queue.SimpleQueue()
        self._hired = 0
        self._busy = 0

    @property
    def has_room(self) -> bool:
        """Whether another account can be taken in hand at once."""
        return self._busy < self._size

    def give(self, account: Account) -> None:
        """Hands an account to a worker. Called by the main loop only, as is :meth:`returned`.

        Raises:
            FetchdError: the system gives no thread, not even a first one.
        """
        self._busy += 1
        self._jobs.put(account)
        if self._busy > self._hired:
            self._hire()

    def returned(self) -> None:
        """Notes that a worker's :class:`Finished` was read."""
        self._busy -= 1

    def _hire(self) -> None:
        """Starts one more worker; where the system gives none, those who are there do the work."""
        try:
            threading.Thread(target=self._run, name=f"worker-{self._hired + 1}", daemon=True).start()
        except RuntimeError as error:
            if not self._hired:
                raise FetchdError(
                    f"no worker can be started: {error}; raise the limit of processes (ulimit -u, TasksMax, pids.max)"
                ) from error
            self._size = self._hired
        else:
            self._hired += 1

    def _run(self) -> None:
        while True:
            self._post(self._work(self._jobs.get()))
