"""A second hand for one session: a batch goes to disk while the next one is coming in. Fills ``ports.Lane``."""

import threading
from collections.abc import Callable


class Beside:
    """Does one thing at a time in a thread of its own, which is made when there is something to do."""

    __slots__ = ("_error", "_thread")

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], object]) -> None:
        """Begins ``work`` once what was begun before has ended; raises what that raised, and does not begin then."""
        self.wait()
        thread = threading.Thread(target=self._run, args=(work,), name="lane", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads: in turn, then
            work()
        else:
            self._thread = thread

    def wait(self) -> None:
        """Returns when nothing is under way; raises what the last work raised, once."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it belongs to who waits
            self._error = error


class InTurn:
    """Does everything at once, in the caller's thread."""

    __slots__ = ()

    def start(self, work: Callable[[], object]) -> None:
        """Does ``work`` and raises what it raises."""
        work()

    def wait(self) -> None:
        """Returns: nothing is ever under way."""
