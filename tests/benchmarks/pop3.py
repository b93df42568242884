"""How fast the POP3 client is, and how much memory it takes: ``python -m tests.benchmarks.pop3``.

Figures to read, not a test.
"""

import time
import tracemalloc
from collections.abc import Callable, Mapping

from fetchd.pop3.commands import LIST, UIDL, Command, password, retr
from fetchd.pop3.events import NEED_DATA, BodyChunk, ListLines
from fetchd.pop3.framing import encode_body
from fetchd.pop3.listing import Sizes, UniqueIds
from fetchd.pop3.protocol import Pop3Protocol

LINES = (100_000, 1_000_000)
CHUNK = 256 * 1024


def in_transaction() -> Pop3Protocol:
    """A protocol that is logged in."""
    protocol = Pop3Protocol()
    protocol.receive_data(b"+OK\r\n")
    protocol.next_event()
    protocol.send(password(b"secret"))
    protocol.receive_data(b"+OK\r\n")
    protocol.next_event()
    return protocol


def listed(command: Command, data: bytes, kind: type[UniqueIds | Sizes]) -> Mapping[int, object]:
    """What a list says, received in chunks."""
    protocol, found = in_transaction(), kind()
    protocol.send(command)
    for start in range(0, len(data), CHUNK):
        protocol.receive_data(data[start : start + CHUNK])
        while (event := protocol.next_event()) is not NEED_DATA:
            if isinstance(event, ListLines):
                found.add(event.lines)
    return found.mapping()


def body(data: bytes) -> int:
    """How many octets a message has, received in chunks."""
    protocol, octets = in_transaction(), 0
    protocol.send(retr(1))
    for start in range(0, len(data), CHUNK):
        protocol.receive_data(data[start : start + CHUNK])
        while (event := protocol.next_event()) is not NEED_DATA:
            if isinstance(event, BodyChunk):
                octets += len(event.data)
    return octets


def measured(what: str, run: Callable[[], object], *, unit: float = 1.0, per: str = "") -> None:
    """Prints the CPU time of the best of five runs, and the peak of what one more allocates."""
    best = min(_cpu(run) for _ in range(5)) / unit
    tracemalloc.start()
    run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{what:<34} {best * 1000:8.1f} ms{per:<8} {peak / 1e6:6.1f} MB at the peak")


def _cpu(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def measure_lists(lines: int) -> None:
    """Prints what both lists of such a maildrop cost."""
    uidl = b"+OK\r\n" + b"".join(b"%d %032x\r\n" % (n, n) for n in range(1, lines + 1)) + b".\r\n"
    sizes = b"+OK\r\n" + b"".join(b"%d %d\r\n" % (n, 1000 + n) for n in range(1, lines + 1)) + b".\r\n"
    assert len(listed(UIDL, uidl, UniqueIds)) == len(listed(LIST, sizes, Sizes)) == lines
    measured(f"UIDL, {lines:,} lines", lambda: listed(UIDL, uidl, UniqueIds))
    measured(f"LIST, {lines:,} lines", lambda: listed(LIST, sizes, Sizes))


def main() -> None:
    """Prints all figures."""
    text = b"+OK\r\n" + encode_body((b"x" * 74 + b"\r\n") * (100_000_000 // 76))
    for lines in LINES:
        measure_lists(lines)
    measured("a body of 100 MB, lines of 76", lambda: body(text), unit=0.1, per=" a GB")


if __name__ == "__main__":
    main()
