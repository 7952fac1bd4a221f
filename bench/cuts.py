"""A hundred filters as plain functions of a decoded alert, and how users of the stream decode one today.

It needs only fastavro: the peers' environment has no package of ours.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any, cast

import fastavro

FILTERS = 100
#: The faintest magnitude that each filter passes. The most generous filter passes 5 % of an ordinary night:
#: `zads filter test` refuses a filter that passes more.
LIMITS = [14.045 + 0.045 * number for number in range(FILTERS)]
#: Every tenth filter looks at the light curve as well.
EVERY = 10
FIELDS = ("candidate.magpsf", "candidate.rb", "candidate.isdiffpos", "candidate.ssdistnr")
HISTORY = "prv_candidates.magpsf"

Fields = Mapping[str, Any]


def read(data: bytes) -> dict[str, Any]:
    """Decode a packet as users do today."""
    return cast("dict[str, Any]", next(fastavro.reader(io.BytesIO(data))))


def bright(candidate: Fields, limit: float) -> bool:
    """A real, positive detection without a known solar-system object nearby."""
    return (
        candidate["magpsf"] < limit
        and (candidate["rb"] or 0.0) > 0.65
        and candidate["isdiffpos"] in ("t", "1")
        and not 0 <= (candidate["ssdistnr"] if candidate["ssdistnr"] is not None else -1.0) < 5
    )


def rises(history: Iterable[Fields] | None, candidate: Fields) -> bool:
    """Half a magnitude brighter than at any time in the last 30 days."""
    seen = [point["magpsf"] for point in history or () if point["magpsf"] is not None]
    return bool(seen) and min(seen) - candidate["magpsf"] > 0.5


def by_candidate(record: Fields) -> list[int]:
    """The filters that pass an alert by its candidate."""
    candidate = record["candidate"]
    return [number for number, limit in enumerate(LIMITS) if bright(candidate, limit)]


def by_light_curve(record: Fields) -> list[int]:
    """The same, but every tenth filter also requires a rise of a candidate that passes."""
    candidate = record["candidate"]
    return [
        number
        for number, limit in enumerate(LIMITS)
        if bright(candidate, limit) and (number % EVERY or rises(record["prv_candidates"], candidate))
    ]


RULES = {"candidate": by_candidate, "light curve": by_light_curve}
