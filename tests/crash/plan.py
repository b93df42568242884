"""Which faults are tried: all of them, or a slice that is spread over everything."""

from collections.abc import Iterator, Sequence
from itertools import groupby, product
from typing import Final

from tests.crash.judge import Kind
from tests.crash.shim import KINDS, Call, Fault, FaultKind
from tests.crash.trials import Setting

TARGETS: Final[tuple[Kind, ...]] = ("maildir", "mbox")

MATRIX: Final = tuple(
    Setting(keep, kind, batch, pipelined)
    for keep, kind, batch, pipelined in product((True, False), TARGETS, (1, 3), (False, True))
)
"""{keep, delete} × {Maildir, mbox} × {batch 1, batch 3} × {lock-step, pipelined}, three letters each."""

TOGETHER: Final = tuple(
    Setting(keep, kind, 6, pipelined=True, letters=6) for keep, kind in product((True, False), TARGETS)
)
"""Batches that are so large that they are flushed with the whole file system, where that can be had."""

_EVERYWHERE: Final = ("kill", "torn")

_STRIDE: Final[dict[FaultKind, int]] = {
    "kill": 9,
    "torn": 17,
    "term": 29,
    "EIO": 19,
    "ENOSPC": 37,
    "EDQUOT": 61,
    "full": 31,
    "dying": 29,
}
"""In a slice, one fault of this many is tried."""


def faults(calls: Sequence[Call]) -> Iterator[Fault]:
    """Yields every fault that can strike a run that makes these calls.

    Calls that repeat, as the writes of one transaction do, are each killed and torn; other faults strike the first and
    the last of them.
    """
    points = set(turning_points(calls))
    for kind in KINDS:
        for number, call in enumerate(calls, 1):
            if _can_strike(kind, call) and (number in points or kind in _EVERYWHERE):
                yield Fault(kind, number)


def slice_of(calls: Sequence[Call], *, offset: int) -> Iterator[Fault]:
    """Yields some of these faults, and others for another offset.

    Of calls that repeat, as the writes of one transaction do, only the first and the last count.
    """
    wanted = set(turning_points(calls))
    for kind in KINDS:
        striking = [fault for fault in faults(calls) if fault.kind == kind and fault.number in wanted]
        stride = _STRIDE[kind]
        yield from striking[offset % stride :: stride]


def turning_points(calls: Sequence[Call]) -> list[int]:
    """Returns the numbers of the calls that differ from the one before, or from the one behind."""
    points: list[int] = []
    number = 1
    for _, same in groupby(calls):
        last = number + len(list(same)) - 1
        points += [number] if number == last else [number, last]
        number = last + 1
    return points


def _can_strike(kind: FaultKind, call: Call) -> bool:
    match kind:
        case "torn":
            return call.can_be_torn
        case "ENOSPC" | "EDQUOT" | "full" | "dying":
            return call.takes_space or call.flushes
        case _:
            return True
