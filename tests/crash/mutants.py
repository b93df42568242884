"""fetchd with one of its rules taken out. Each mutant patches functions of the process under test, and must be caught.

The patches sit at the lowest seam there is, so that they outlive the code above it: the C library's flushes, and the
two methods by which a batch is committed and published.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final


def mutate(name: str, *, mute: Callable[[int], object], home: Path) -> None:
    """Takes a rule out of this process.

    Args:
        name: one of :data:`MUTANTS`.
        mute: ``crash_mute`` of the shim.
        home: where state and target are.
    """
    if name == "no file flush":
        mute(1)
    elif name == "no directory flush":
        mute(2)
    elif name == "publish before commit":
        _publish_before_commit()
    elif name == "unlink on a failed commit":
        _unlink_on_a_failed_commit(home)
    else:
        raise ValueError(name)


MUTANTS: Final = ("no file flush", "no directory flush", "publish before commit", "unlink on a failed commit")


def _publish_before_commit() -> None:
    """Puts each commit off until the batch is published."""
    from fetchd.delivery.maildir import Maildir  # noqa: PLC0415 - the modules of the process under test
    from fetchd.delivery.mbox import Mbox  # noqa: PLC0415
    from fetchd.store.sqlite import SqliteStore  # noqa: PLC0415

    commit: Callable[..., None] = SqliteStore.commit
    waiting: list[Callable[[], None]] = []

    def put_off(*args: Any, **kwargs: Any) -> None:
        waiting.append(lambda: commit(*args, **kwargs))

    def publishing(publish: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = publish(*args, **kwargs)
            while waiting:
                waiting.pop(0)()
            return result

        return call

    patched: Any
    for patched in (Maildir, Mbox):
        patched.publish = publishing(patched.publish)
    patched = SqliteStore
    patched.commit = put_off


def _unlink_on_a_failed_commit(home: Path) -> None:
    """Takes a commit that reports an error for one that did not happen, and tidies up."""
    from fetchd.errors import StoreError  # noqa: PLC0415 - the modules of the process under test
    from fetchd.store.sqlite import SqliteStore  # noqa: PLC0415

    commit: Callable[..., None] = SqliteStore.commit

    def call(store: SqliteStore, account: str, batch: Sequence[Any], **kwargs: Any) -> None:
        try:
            commit(store, account, batch, **kwargs)
        except StoreError:
            for committed in batch:
                for staged in home.rglob(committed.staged.name):
                    staged.unlink()
            raise

    patched: Any = SqliteStore
    patched.commit = call
