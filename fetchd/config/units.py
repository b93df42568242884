"""Durations and sizes as people write them: ``30s 5m 2h 14d 1w`` and ``512KB 50MB 1GiB``. Pure.

A duration carries its unit, for ``interval: 300`` means five minutes to one reader and five hours to another; only
zero goes without. A size without a unit is octets. KB, MB … are powers of 1000, KiB, MiB … powers of 1024.
"""

import re
from typing import Final

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_OCTETS: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "kib": 2**10,
    "mb": 10**6,
    "mib": 2**20,
    "gb": 10**9,
    "gib": 2**30,
    "tb": 10**12,
    "tib": 2**40,
}
_WRITTEN: Final = {
    "kb": "KB",
    "kib": "KiB",
    "mb": "MB",
    "mib": "MiB",
    "gb": "GB",
    "gib": "GiB",
    "tb": "TB",
    "tib": "TiB",
}

LONGEST: Final = 36525 * _SECONDS["d"]
"""The longest duration, in seconds: a hundred years, so that no sum of times overflows."""
LARGEST: Final = 2**63 - 1
"""The largest size, in octets: what SQLite and ``off_t`` can hold."""

_NUMBER_AND_UNIT: Final = re.compile(r"([0-9]{1,20}) ?([A-Za-z]{0,12})")
_FIRST_WORD: Final = re.compile(r"\S{0,60}")
_HOW_DURATION: Final = "write a whole number and a unit, as in 30s, 5m, 2h, 14d or 1w"
_HOW_SIZE: Final = "write a whole number and a unit, as in 512KB, 50MB or 1GiB"
_LONG_UNITS: Final = re.compile(r"(s)ec(?:ond)?s?|(m)in(?:ute)?s?|(h)(?:ou)?rs?|(d)ays?|(w)eeks?")


def parse_duration(value: str | int) -> int:
    """Returns a duration in seconds.

    Raises:
        ValueError: it is not one; the text says how to write it.

    >>> parse_duration("14d")
    1209600
    """
    if isinstance(value, int):
        return _seconds_without_unit(value)
    match = _NUMBER_AND_UNIT.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{quoted(value)} is not a duration: {_HOW_DURATION}")
    number, unit = int(match[1]), match[2]
    if not unit:
        return _seconds_without_unit(number)
    if unit not in _SECONDS:
        raise ValueError(f'"{value.strip()}" is not a duration: {_how_to_write(number, unit)}')
    seconds = number * _SECONDS[unit]
    if seconds > LONGEST:
        raise ValueError(f"{quoted(value)} is longer than a hundred years")
    return seconds


def _seconds_without_unit(number: int) -> int:
    if number == 0:
        return 0
    if 0 < number <= LONGEST:
        longer = format_duration(number)
        same = f"{number}s" + (f" or {longer}" if longer != f"{number}s" else "")
        raise ValueError(f"{number} has no unit: write {same} where seconds are meant")
    raise ValueError(f"{quoted(str(number))} is not a duration: {_HOW_DURATION}")


def _how_to_write(number: int, unit: str) -> str:
    long = _LONG_UNITS.fullmatch(unit.lower())
    short = next(filter(None, long.groups()), "") if long else unit.lower()
    return f"write {number}{short}" if short in _SECONDS else _HOW_DURATION


def format_duration(seconds: int) -> str:
    """Returns a duration as :func:`parse_duration` reads it, in the largest unit that is exact.

    >>> format_duration(300)
    '5m'
    """
    for unit, factor in reversed(_SECONDS.items()):
        if seconds and seconds % factor == 0:
            return f"{seconds // factor}{unit}"
    return f"{seconds}s"


def parse_size(value: str | int) -> int:
    """Returns a size in octets.

    Raises:
        ValueError: it is not one; the text says how to write it.

    >>> parse_size("50MB")
    50000000
    """
    match = _NUMBER_AND_UNIT.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{quoted(str(value))} is not a size: {_HOW_SIZE}")
    number, unit = int(match[1]), match[2].lower()
    if unit not in _OCTETS:
        decimal, binary = f"{unit}b", f"{unit}ib"
        if decimal in _WRITTEN and binary in _WRITTEN:
            how = f"write {number}{_WRITTEN[decimal]} (powers of 1000) or {number}{_WRITTEN[binary]} (powers of 1024)"
        else:
            how = _HOW_SIZE
        raise ValueError(f"{quoted(str(value))} is not a size: {how}")
    octets = number * _OCTETS[unit]
    if octets > LARGEST:
        raise ValueError(f"{quoted(str(value))} is larger than any message can be")
    return octets


def format_size(octets: int) -> str:
    """Returns a size as :func:`parse_size` reads it: the shortest text that is exact.

    >>> format_size(50_000_000), format_size(1024), format_size(1025)
    ('50MB', '1KiB', '1025')
    """
    exact = [
        f"{octets // _OCTETS[unit]}{_WRITTEN[unit]}" for unit in _WRITTEN if octets and octets % _OCTETS[unit] == 0
    ]
    return min([*exact, str(octets)], key=len)


def quoted(text: str) -> str:
    r"""Returns the first word of a text of the configuration in quotes: printable, and at most 60 characters of it.

    What follows a space where none belongs is something else that was swallowed, for want of a comma or a line's end.

    >>> quoted("a\x1bb"), quoted("pop.gmx.net password hunter2")
    ('"a\\x1bb"', '"pop.gmx.net…"')
    """
    word = _FIRST_WORD.match(text)
    cut = word[0] if word else ""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return f'"{shown}"' if len(cut) == len(text) else f'"{shown}…"'
