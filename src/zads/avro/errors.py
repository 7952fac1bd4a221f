"""The error of all modules that read bytes."""

from __future__ import annotations


class MismatchError(Exception):
    """The bytes contradict Avro or their schema: `field` is the dotted path, `reason` says what is wrong there.

    The container's own parts are fields as well: "header", "block"; "" stands for the bytes as a whole.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
