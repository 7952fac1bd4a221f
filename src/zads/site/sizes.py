"""Sizes of memory as people write them for Java and for containers: ``512m``, ``4g``."""

from __future__ import annotations

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_UNITS = {"k": KIB, "m": MIB, "g": GIB, "t": 1 << 40}


def size(text: object) -> int:
    """The bytes of a size as Java's -Xmx takes it. Raises ValueError for any other text."""
    written = str(text).strip().lower()
    number, unit = (written[:-1], _UNITS[written[-1]]) if written[-1:] in _UNITS else (written, 1)
    if not number.isdecimal() or not int(number):
        raise ValueError(f"{written!r} is no size: write a number and k, m or g, as in 512m")
    return int(number) * unit
