"""The base class of every error that a person can act on."""

from __future__ import annotations

from collections.abc import Sequence


class ZadsError(Exception):
    """Something went wrong that the reader can act on.

    ``message`` says what and where, ``hint`` what to do next; the command line prints both on one line and exits 1.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


def some(things: Sequence[str], most: int) -> str:
    """The first few of the things that an error names, and the number of the others."""
    more = len(things) - most
    return ", ".join(things[:most]) + (f" and {more} more" if more > 0 else "")
