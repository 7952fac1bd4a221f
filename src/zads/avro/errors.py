"""The error of all that looks at bytes."""

from __future__ import annotations


class MismatchError(Exception):
    """The bytes are not what Avro or their schema says: `field` is the dotted path, `reason` what is wrong there.

    The container's own parts are fields as well: "header", "block"; "" stands for the bytes as a whole.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
