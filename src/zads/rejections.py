"""Records of the topic ``zads_rejected``: input that a site refuses, and alerts on which a filter fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zads import names
from zads.transactions import Header, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE_BYTES = 4_096  # the name of a source is cut there


def rejection(
    key: bytes | None, value: bytes, *, source: str, reason: str, field: str = "", headers: Sequence[Header] = ()
) -> Record:
    """The record of an input with these bytes from `source`, a file or a place in a topic, refused for a `reason`.

    `field`: the dotted path of the field that it was refused for. `headers`: what else is known of it.
    """
    why = [
        (names.HEADER_REASON, reason.encode("utf-8", "replace")),
        (names.HEADER_FIELD, field.encode("utf-8", "replace")),
        (names.HEADER_SOURCE, source.encode("utf-8", "surrogateescape")[:SOURCE_BYTES]),
    ]
    return Record(names.REJECTED_TOPIC, key, value, [*headers, *why])
