"""What one core does with packets in memory: ours beside what users of the stream write today.

Each row runs ours and the peer in turn, round by round, on the same packets, so that whatever else the machine does
meets both. The figure is the ratio of a round; its median and range over the rounds are reported.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import fastavro
from fastavro.validation import validate

from zads.packet import Packet

FILTERS = 100
CUTS = ("candidate.magpsf", "candidate.rb", "candidate.isdiffpos", "candidate.ssdistnr")


@dataclass(frozen=True)
class Row:
    """One comparison: two ways to do the same with a packet's bytes, and the ratio of speeds that is the goal."""

    name: str
    peer_name: str
    ours: Callable[[bytes], object]
    peer: Callable[[bytes], object]
    goal: float
    comparable: bool = True  # whether both give the same value; else a unit test proves what is equal


def read(data: bytes) -> dict:
    """What everybody does with a packet today."""
    return next(fastavro.reader(io.BytesIO(data)))


def _cut(candidate: dict, limit: float) -> bool:
    return (
        candidate["magpsf"] < limit
        and (candidate["rb"] or 0.0) > 0.65
        and candidate["isdiffpos"] in ("t", "1")
        and not 0 <= (candidate["ssdistnr"] if candidate["ssdistnr"] is not None else -1.0) < 5
    )


LIMITS = [16.0 + 0.03 * number for number in range(FILTERS)]


def _ours_cuts(data: bytes) -> int:
    candidate = Packet.trusted(data).read(CUTS)["candidate"]
    return sum(_cut(candidate, limit) for limit in LIMITS)


def _peer_cuts(data: bytes) -> int:
    candidate = read(data)["candidate"]
    return sum(_cut(candidate, limit) for limit in LIMITS)


def _rises(history: Iterable[dict] | None, candidate: dict) -> bool:
    seen = [point["magpsf"] for point in history or () if point["magpsf"] is not None]
    return bool(seen) and min(seen) - candidate["magpsf"] > 0.5


def _ours_light_curve(data: bytes) -> int:
    packet = Packet.trusted(data)
    candidate = packet.read(CUTS)["candidate"]
    passed = sum(_cut(candidate, limit) for limit in LIMITS[10:])
    if any(_cut(candidate, limit) for limit in LIMITS[:10]):
        history = packet.read(("prv_candidates.magpsf",))["prv_candidates"]
        passed += sum(_cut(candidate, limit) and _rises(history, candidate) for limit in LIMITS[:10])
    return passed


def _peer_light_curve(data: bytes) -> int:
    record = read(data)
    candidate = record["candidate"]
    passed = sum(_cut(candidate, limit) for limit in LIMITS[10:])
    return passed + sum(_cut(candidate, limit) and _rises(record["prv_candidates"], candidate) for limit in LIMITS[:10])


def _peer_validate(data: bytes) -> bool:
    reader = fastavro.reader(io.BytesIO(data))
    return validate(next(reader), reader.writer_schema, raise_errors=True)


LOOP = "loop over fastavro.reader"
ROWS = [
    Row("candidate cuts, bytes to verdict, 100 filters", LOOP, _ours_cuts, _peer_cuts, 15.0),
    Row("10 of 100 filters need the light curve", LOOP, _ours_light_curve, _peer_light_curve, 10.0),
    Row("full decode", LOOP, lambda data: Packet.trusted(data).read_all(), read, 1.3, False),
    Row("validation", "fastavro.reader and validate(raise_errors=True)", Packet.parse, _peer_validate, 20.0, False),
]
