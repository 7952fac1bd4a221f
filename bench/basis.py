"""What figures depend on: the packets that were measured and the machine that measured them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zads.errors import ZadsError
from zads.packet import Packet
from zads.sources import files, simulator

PACKETS = 200
#: Facts of a machine that decide whether its figures can be compared with another's.
SAME_MACHINE = ("cores", "processor")


@dataclass(frozen=True)
class Basis:
    """The packets and the machine of a run."""

    kind: str  # of packets, in words
    digest: str  # of the packets, in any order
    machine: Mapping[str, Any]

    def difference(self, reference: Mapping[str, Any] | None) -> str:
        """Why figures cannot be compared with those of a reference's `digest` and `machine`; "" if they can."""
        if reference is None:
            return f"it has no figures for packets of this kind ({self.kind})"
        if self.digest != reference["digest"]:
            return "it was measured on other packets"
        if any(self.machine[name] != reference["machine"][name] for name in SAME_MACHINE):
            return f"it was measured on {processors(reference['machine'])}, this run on {processors(self.machine)}"
        return ""


def processors(machine: Mapping[str, Any]) -> str:
    """The number of cores and their model, in words."""
    return f"{machine['cores']} cores of {machine['processor']}"


def digest(packets: Sequence[bytes]) -> str:
    """A hash of some packets that does not depend on their order, in hexadecimal."""
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(data).digest() for data in packets))).hexdigest()[:16]


def given_packets(directory: Path | None) -> tuple[str, list[bytes]]:
    """The packets to measure and their kind: real ones with their schema versions, or simulated ones of all versions.

    Raises ZadsError for a directory without packets.
    """
    if directory is None:
        visits = simulator.simulate("20181129", 1, PACKETS)
        return "simulated", [data for _, packets in visits for _, data in packets]
    found = [data for _, data in files.packets(directory)]
    if not found:
        raise ZadsError(f"there are no packets in {directory}")
    chosen = random.Random(1).sample(found, min(PACKETS, len(found)))
    versions = sorted({Packet.trusted(data).schema_version for data in chosen})
    return f"real, schema {', '.join(versions)}", chosen
