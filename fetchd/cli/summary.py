"""What a run did, in one line for a human."""

from collections.abc import Collection, Iterable

from fetchd.model import PollResult
from fetchd.wording import counted


def summary(results: Iterable[PollResult], failed: Collection[str] = ()) -> str:
    """Returns a run's last line.

    Args:
        results: of every poll, the failed ones' too: what they delivered before they failed counts.
        failed: names of the accounts whose poll failed.

    >>> summary([PollResult("alice", delivered=17, octets=3_400_000, deleted=5)], failed=["bob"])
    '2 accounts: 17 new messages (3.4 MB), 5 deleted, 1 account failed'
    """
    polls = list(results)
    names = {poll.account for poll in polls} | set(failed)
    if not names:
        return "no accounts"
    delivered = sum(poll.delivered for poll in polls)
    deleted = sum(poll.deleted for poll in polls)
    skipped = sum(sum(poll.skipped.values()) for poll in polls)
    size = human_size(sum(poll.octets for poll in polls))
    parts = [f"{counted(delivered, 'new message')} ({size})" if delivered else "nothing new"]
    if deleted:
        parts.append(f"{deleted:,} deleted")
    if skipped:
        parts.append(f"{skipped:,} skipped")
    if failed:
        parts.append(f"{counted(len(set(failed)), 'account')} failed")
    return f"{counted(len(names), 'account')}: {', '.join(parts)}"


def human_size(octets: int) -> str:
    """Returns a size in decimal units with one decimal, as the progress bars count: ``512 bytes``, ``3.4 MB``."""
    if octets < 1000:  # noqa: PLR2004 - the step between the units
        return counted(octets, "byte")
    size = float(octets)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if round(size, 1) < 1000:  # noqa: PLR2004 - as above; 999.96 would be shown as 1000.0
            return f"{size:.1f} {unit}"
    return f"{size / 1000:,.1f} PB"
