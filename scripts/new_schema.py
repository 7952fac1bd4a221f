#!/usr/bin/env python3
"""Packets as a survey would write them after a change: an unknown schema version with one more optional field.

    scripts/new_schema.py FROM TO

FROM is a directory or archive of packets. TO is created, with the changed packets under the same names.
The program is for rehearsals.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import fastavro

from zads.sources import files

VERSION = "4.03"


def changed(data: bytes) -> bytes:
    """The packet in the new version, with the new field `candidate.rehearsal`, which is null."""
    reader = fastavro.reader(io.BytesIO(data))
    record, definition = next(reader), json.loads(reader.metadata["avro.schema"])
    definition["version"] = record["schemavsn"] = VERSION
    candidate = next(field for field in definition["fields"] if field["name"] == "candidate")["type"]
    candidate["fields"].append({"name": "rehearsal", "type": ["null", "float"], "default": None})
    out = io.BytesIO()
    fastavro.writer(out, definition, [record])
    return out.getvalue()


def main(source: str, target: str) -> None:
    """Write the changed packets of ``source`` into the new directory ``target``."""
    Path(target).mkdir(parents=True)
    for name, data in files.packets(Path(source)):
        Path(target, Path(name).name).write_bytes(changed(data))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: scripts/new_schema.py FROM TO")
    main(*sys.argv[1:])
