"""Records of the topic ``zads_rejected``: input that a site refuses, and alerts on which a filter fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zads import names
from zads.transactions import Header, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE_BYTES = 4_096  # the name of a source is cut there

#: What is wrong with a refused file, by the field that it was refused for. Any other field has a wrong value.
KINDS = {
    "": "file",
    "block": "file",
    "header": "schema",
    "schemavsn": "schema",
    "candid": "candid",
    "candidate.jd": "date",
    "candidate.programid": "programme",
}
OTHER_KIND = "value"


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


def kind(record: Record) -> str:
    """What is wrong with the input of a record of refused input: one of KINDS, or OTHER_KIND."""
    field = dict(record.headers).get(names.HEADER_FIELD, b"").decode("utf-8", "replace")
    return KINDS.get(field, OTHER_KIND)
