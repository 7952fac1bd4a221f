"""Real packets as alerts of another night: the survey's own bytes, except for dates and numbers.

The producer publishes no packet twice, so a recorded night streams only once. Headers, images and histories stay as the
survey wrote them.
"""

from __future__ import annotations

import datetime
import io
import itertools
import json
import zlib
from pathlib import Path

import fastavro

from zads.avro.container import SYNC_BYTES, read_header
from zads.julian import SECONDS_A_DAY, UNIX_EPOCH_JD
from zads.sources.simulator import VISIT_SECONDS

_EVENING = 6 / 24  # of a day: 06:00 UTC, in the night at Palomar


def write(source: Path, night: str, directory: Path, visits: int, alerts: int) -> Path:
    """Write so many visits of so many alerts into a directory, from the packets below ``source``. Returns it."""
    directory.mkdir()
    day = datetime.datetime.strptime(night, "%Y%m%d").replace(tzinfo=datetime.UTC)
    start = UNIX_EPOCH_JD + day.timestamp() / SECONDS_A_DAY + _EVENING
    packets = itertools.cycle([path.read_bytes() for path in sorted(source.rglob("*.avro"))])
    for visit in range(visits):
        for number in range(alerts):
            candid = int(night[2:]) * 10**12 + visit * 10**6 + number
            jd = start + visit * VISIT_SECONDS / SECONDS_A_DAY
            (directory / f"{candid}.avro").write_bytes(redated(next(packets), jd, candid))
    return directory


def redated(data: bytes, jd: float, candid: int) -> bytes:
    """A packet with another date and number. Its header is the same, byte for byte."""
    entries, position = read_header(data)
    definition = json.loads(entries["avro.schema"])
    record = next(iter(fastavro.reader(io.BytesIO(data))))
    record["candid"] = record["candidate"]["candid"] = candid
    record["candidate"]["jd"] = jd
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, definition, record)
    block = buffer.getvalue()
    if entries.get("avro.codec") == b"deflate":
        block = zlib.compress(block)[2:-4]  # without the frame of zlib
    head = data[: position + SYNC_BYTES]
    return head + _number(1) + _number(len(block)) + block + head[-SYNC_BYTES:]


def _number(value: int) -> bytes:
    """A positive number as Avro writes it (zigzag, seven bits a byte)."""
    value, found = value << 1, bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
