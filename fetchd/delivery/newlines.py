r"""CRLF → LF, exactly, over any chunk's edge: mail on disk has Unix line ends, mail on the wire has CRLF (RFC 1939 §3).

Only a CR directly before an LF goes. A bare CR is part of the message (FAULTS F 90): ``a\r\r\n`` becomes ``a\r\n``.
"""


class LineEnds:
    """Converts one message. Works on whole buffers: see SPEED.md for what the obvious loop would cost."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = False

    def convert(self, data: bytes | bytearray | memoryview) -> bytes:
        """Returns the next octets with LF for CRLF; a CR at the end is held back until what follows it is known.

        What is returned may be ``data`` itself, where that cannot change.
        """
        octets = data if isinstance(data, bytes) else bytes(data)
        if not octets:
            return octets
        if self._held:
            octets = b"\r" + octets
        self._held = octets.endswith(b"\r")
        if self._held:
            octets = octets[:-1]
        if b"\r" not in octets:
            return octets
        # Where every CR is followed by LF, dropping all CRs is the same and costs half.
        without = octets.replace(b"\r", b"")
        if _are_before_lf(octets, len(octets) - len(without)):
            return without
        return octets.replace(b"\r\n", b"\n")

    def end(self) -> bytes:
        """Returns what is still held: a CR that ends the message stays."""
        held, self._held = self._held, False
        return b"\r" if held else b""


def _are_before_lf(octets: bytes, count: int) -> bool:
    """Returns whether all CRs, ``count`` of them and at least one, are followed by LF.

    It is so where there are as many CRLFs. The lines of base64, which most of a large message is, have one length: then
    every CR is where it has to be, and two slices show that in an eighth of the time.
    """
    first = octets.find(b"\r")
    length = octets.find(b"\r", first + 1) - first
    if length > 0 and (len(octets) - first - 1) // length + 1 == count:
        crs, lfs = octets[first::length], octets[first + 1 :: length]
        if crs == b"\r" * count and lfs == b"\n" * count:
            return True
    return octets.count(b"\r\n") == count
