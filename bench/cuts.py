"""A hundred filters as plain functions of a decoded alert, and the way in which users of the stream decode one today.

It needs fastavro alone: the peers' environment has nothing of ours.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any, cast

import fastavro

FILTERS = 100
#: The faintest magnitude that each of the filters takes: the most generous one passes 5 % of an ordinary night, beyond
#: which `zads filter test` refuses a filter.
LIMITS = [14.045 + 0.045 * number for number in range(FILTERS)]
#: How many of them look at the light curve as well: every tenth.
EVERY = 10
FIELDS = ("candidate.magpsf", "candidate.rb", "candidate.isdiffpos", "candidate.ssdistnr")
HISTORY = "prv_candidates.magpsf"

Fields = Mapping[str, Any]


def read(data: bytes) -> dict[str, Any]:
    """What everybody does with a packet today."""
    return cast("dict[str, Any]", next(fastavro.reader(io.BytesIO(data))))


def bright(candidate: Fields, limit: float) -> bool:
    """A real, positive detection that no known solar-system object is near to."""
    return (
        candidate["magpsf"] < limit
        and (candidate["rb"] or 0.0) > 0.65
        and candidate["isdiffpos"] in ("t", "1")
        and not 0 <= (candidate["ssdistnr"] if candidate["ssdistnr"] is not None else -1.0) < 5
    )


def rises(history: Iterable[Fields] | None, candidate: Fields) -> bool:
    """Half a magnitude brighter than ever in the last 30 days."""
    seen = [point["magpsf"] for point in history or () if point["magpsf"] is not None]
    return bool(seen) and min(seen) - candidate["magpsf"] > 0.5


def by_candidate(record: Fields) -> list[int]:
    """The filters that pass an alert by its candidate."""
    candidate = record["candidate"]
    return [number for number, limit in enumerate(LIMITS) if bright(candidate, limit)]


def by_light_curve(record: Fields) -> list[int]:
    """The same, but every tenth filter asks for a rise as well, once the candidate has passed."""
    candidate = record["candidate"]
    return [
        number
        for number, limit in enumerate(LIMITS)
        if bright(candidate, limit) and (number % EVERY or rises(record["prv_candidates"], candidate))
    ]


RULES = {"candidate": by_candidate, "light curve": by_light_curve}
