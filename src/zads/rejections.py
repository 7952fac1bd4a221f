"""Refused input: what a site does not take, and what a filter fails on, as records of the topic ``zads_rejected``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zads import topics
from zads.transactions import Header, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE_BYTES = 4_096  # the name of a source is cut there


def rejection(
    key: bytes | None, value: bytes, *, source: str, reason: str, field: str = "", headers: Sequence[Header] = ()
) -> Record:
    """The record of an input with these bytes from `source`, a file or a place in a topic, refused for a `reason`.

    `field`: the dotted path of the field that it was refused for. `headers`: what is known of it otherwise.
    """
    why = [
        (topics.HEADER_REASON, reason.encode("utf-8", "replace")),
        (topics.HEADER_FIELD, field.encode("utf-8", "replace")),
        (topics.HEADER_SOURCE, source.encode("utf-8", "surrogateescape")[:SOURCE_BYTES]),
    ]
    return Record(topics.REJECTED, key, value, [*headers, *why])
