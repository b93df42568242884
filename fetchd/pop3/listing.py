"""What LIST and UIDL say, in little memory: a list of a million lines is lawful; one that never ends looks the same.

As Python's objects, a million numbers, sizes and unique-ids come to 350 MB; here they are some arrays and one buffer of
octets, of about the size that came over the wire. How much that may be, :class:`~fetchd.pop3.protocol.Limits` says.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from itertools import accumulate, chain, islice
from operator import lt
from typing import Final, TypeVar

from fetchd.errors import ProtocolError
from fetchd.model import UniqueId
from fetchd.pop3.replies import parse_listing, parse_unique_id

UNORDERED_LINES: Final = 250_000
"""The most lines of a list that is not in ascending order, as every known server's is: to tell in those whether a
number comes twice takes a table of them all."""
SMALL_LINES: Final = 10_000
SMALL_OCTETS: Final = 2**20
"""Up to here, a list is handed on as a ``dict``, which is faster to ask."""

# Most lines are as the RFC has them, and are parsed many at a time. Where any of them is not, each is parsed by itself.
_LISTINGS: Final = re.compile(rb"^([1-9][0-9]{0,18}) ([0-9]{1,18})$", re.MULTILINE)
_UNIQUE_IDS: Final = re.compile(rb"^([1-9][0-9]{0,18}) ([^ \n][^\n]*)$", re.MULTILINE)

_ROWS: Final = 4096
_BLOCK_OCTETS: Final = 64 * 1024
_BATCH: Final = 2000
"""How many lines are parsed at a time: what that takes in between should not count."""


_Value = TypeVar("_Value")
_Pairs = Callable[[], Iterator[tuple[int, _Value]]]


class _Column:
    """Numbers of one width, by place. In blocks: one array would be copied as it grows, and leave holes behind it."""

    __slots__ = ("_blocks", "_typecode")

    def __init__(self, typecode: str) -> None:
        self._typecode = typecode
        self._blocks = [array(typecode)]

    def __len__(self) -> int:
        return (len(self._blocks) - 1) * _ROWS + len(self._blocks[-1])

    def __getitem__(self, place: int) -> int:
        return self._blocks[place // _ROWS][place % _ROWS]

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._blocks)

    def extend(self, values: list[int]) -> None:
        """Adds numbers at the end.

        Raises:
            OverflowError: one is too large.
        """
        done = 0
        while done < len(values):
            room = _ROWS - len(self._blocks[-1])
            self._blocks[-1].fromlist(values[done : done + room])
            done += room
            if len(self._blocks[-1]) == _ROWS:
                self._blocks.append(array(self._typecode))


class _Numbers:
    """Message numbers in the order in which they were listed, none of them twice."""

    __slots__ = ("_last", "_numbers", "_places")

    def __init__(self) -> None:
        self._numbers = _Column("I")
        self._last = 0
        self._places: dict[int, int] | None = None  # by number; while they ascend, nobody needs it

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def add(self, numbers: list[int]) -> None:
        """Takes more of them.

        Raises:
            ProtocolError: one occurs twice, or is too large; or there are too many that are not in ascending order.
        """
        first_place = len(self._numbers)
        ascending = self._places is None and self._ascend(numbers)
        try:
            self._numbers.extend(numbers)
        except OverflowError:
            raise ProtocolError(f"no message number: {max(numbers)}") from None
        if ascending:
            self._last = numbers[-1]
            return
        if len(self._numbers) > UNORDERED_LINES:
            raise ProtocolError(f"more than {UNORDERED_LINES} lines that are not in ascending order")
        if self._places is None:
            self._places = {number: place for place, number in enumerate(islice(self._numbers, first_place))}
        for place, number in enumerate(numbers, first_place):
            if self._places.setdefault(number, place) != place:
                raise ProtocolError(f"message {number} is listed twice")

    def place(self, number: object) -> int:
        """Returns at which place a number was listed.

        Raises:
            KeyError: at none.
        """
        if self._places is not None:
            return self._places[number]  # type: ignore[index]  # no key of another type is found
        if isinstance(number, int):
            numbers = self._numbers
            # Where no message is missing, number n stands at place n - 1.
            guess = number - 1
            if 0 <= guess < len(numbers) and numbers[guess] == number:
                return guess
            found = bisect_left(numbers, number)
            if found < len(numbers) and numbers[found] == number:
                return found
        raise KeyError(number)

    def _ascend(self, numbers: list[int]) -> bool:
        return self._last < numbers[0] and all(map(lt, numbers, numbers[1:]))


class _Items(ItemsView[int, _Value]):
    """Numbers and what is listed for them, without looking each one up."""

    def __init__(self, listed: Mapping[int, _Value], pairs: _Pairs[_Value]) -> None:
        super().__init__(listed)
        self._pairs = pairs

    def __iter__(self) -> Iterator[tuple[int, _Value]]:
        return self._pairs()


class _Values(ValuesView[_Value]):
    """What is listed, without looking each one up."""

    def __init__(self, listed: Mapping[int, _Value], pairs: _Pairs[_Value]) -> None:
        super().__init__(listed)
        self._pairs = pairs

    def __iter__(self) -> Iterator[_Value]:
        return (value for _, value in self._pairs())


class Sizes(Mapping[int, int]):
    """What LIST says: message number → octets, 0 where the server gives none, in the order listed."""

    __slots__ = ("_numbers", "_sizes")

    def __init__(self) -> None:
        self._numbers = _Numbers()
        self._sizes = _Column("q")

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __getitem__(self, number: int) -> int:
        return self._sizes[self._numbers.place(number)]

    def add(self, lines: Sequence[bytes]) -> None:
        """Parses more lines.

        Raises:
            ProtocolError: a line cannot be read, or a message number occurs twice.
        """
        for start in range(0, len(lines), _BATCH):
            self._add(lines[start : start + _BATCH])

    def _add(self, lines: Sequence[bytes]) -> None:
        found = _LISTINGS.findall(b"\n".join(lines))
        if len(found) == len(lines):
            parsed = [(int(number), int(size)) for number, size in found]
        else:
            parsed = [parse_listing(line) for line in lines]
        self._numbers.add([number for number, _ in parsed])
        self._sizes.extend([size for _, size in parsed])

    def mapping(self) -> Mapping[int, int]:
        """Returns the same, in the form that is best for its size."""
        return dict(self.pairs()) if len(self) <= SMALL_LINES else self

    def items(self) -> ItemsView[int, int]:
        """Returns numbers and what is listed for them."""
        return _Items(self, self.pairs)

    def values(self) -> ValuesView[int]:
        """Returns what is listed."""
        return _Values(self, self.pairs)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yields number and size, in the order listed."""
        return zip(self._numbers, self._sizes, strict=True)


class UniqueIds(Mapping[int, UniqueId]):
    """What UIDL says: message number → unique-id, in the order listed."""

    __slots__ = ("_blocks", "_end", "_ends", "_numbers", "_starts")

    def __init__(self) -> None:
        self._numbers = _Numbers()
        # The octets of all unique-ids, without anything in between. In blocks, for one buffer would be copied as it
        # grows, and so need twice the room; no unique-id lies in two of them.
        self._blocks = [bytearray()]
        self._starts = [0]  # where each block begins
        self._end = 0
        self._ends = _Column("I")  # where each unique-id ends, and the next begins

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __getitem__(self, number: int) -> UniqueId:
        place = self._numbers.place(number)
        start, end = self._ends[place - 1] if place else 0, self._ends[place]
        block = bisect_right(self._starts, start) - 1
        offset = self._starts[block]
        return UniqueId(bytes(self._blocks[block][start - offset : end - offset]))

    def add(self, lines: Sequence[bytes]) -> None:
        """Parses more lines.

        Raises:
            ProtocolError: a line cannot be read, or a message number occurs twice.
        """
        for start in range(0, len(lines), _BATCH):
            self._add(lines[start : start + _BATCH])

    def _add(self, lines: Sequence[bytes]) -> None:
        found = _UNIQUE_IDS.findall(b"\n".join(lines))
        parsed = found if len(found) == len(lines) else [parse_unique_id(line) for line in lines]
        uids = [uid for _, uid in parsed]
        self._numbers.add([int(number) for number, _ in parsed])
        try:
            self._ends.extend(list(accumulate(map(len, uids), initial=self._end))[1:])
        except OverflowError:
            raise ProtocolError("the unique-ids come to more than 4 GiB") from None
        self._end += sum(map(len, uids))
        if len(self._blocks[-1]) >= _BLOCK_OCTETS:
            self._starts.append(self._starts[-1] + len(self._blocks[-1]))
            self._blocks.append(bytearray())
        self._blocks[-1] += b"".join(uids)

    def mapping(self) -> Mapping[int, UniqueId]:
        """Returns the same, in the form that is best for its size."""
        is_small = len(self) <= SMALL_LINES and self._end <= SMALL_OCTETS
        return dict(self.pairs()) if is_small else self

    def items(self) -> ItemsView[int, UniqueId]:
        """Returns numbers and what is listed for them."""
        return _Items(self, self.pairs)

    def values(self) -> ValuesView[UniqueId]:
        """Returns what is listed."""
        return _Values(self, self.pairs)

    def pairs(self) -> Iterator[tuple[int, UniqueId]]:
        """Yields number and unique-id, in the order listed."""
        numbers, ends, end = iter(self._numbers), iter(self._ends), 0
        for offset, block in zip(self._starts, map(bytes, self._blocks), strict=True):
            while end < offset + len(block):
                start, end = end, next(ends)
                yield next(numbers), UniqueId(block[start - offset : end - offset])
