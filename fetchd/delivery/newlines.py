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
        # Where every CR is followed by LF, dropping all CRs is the same and costs half. It is so where as many go as
        # there are CRLFs: of a CR that is not followed by LF, or that now ends the octets, there is none.
        without = octets.replace(b"\r", b"")
        if len(octets) - len(without) == octets.count(b"\r\n"):
            return without
        return octets.replace(b"\r\n", b"\n")

    def end(self) -> bytes:
        """Returns what is still held: a CR that ends the message stays."""
        held, self._held = self._held, False
        return b"\r" if held else b""
