"""The night that a demo plays: its visits in their order, from real packets or from the simulator."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from zads import names
from zads.errors import ZadsError
from zads.packet import Packet
from zads.sources import files, simulator


@dataclass
class Visit:
    """The packets of one visit: the name of the exposure that it is dropped as, and (file name, bytes) of each."""

    name: str
    packets: list[tuple[str, bytes]] = field(default_factory=list)

    def tar(self) -> bytes:
        """The visit as an archive, the same bytes every time."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in self.packets:
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()


@dataclass
class Night:
    """The night that is played: its visits in order, the packets' source ("" if simulated), alerts by topic."""

    visits: list[Visit]
    source: str
    counts: Counter[str]

    @property
    def nights(self) -> list[str]:
        """The nights of these packets; one demo may play several."""
        return sorted({parsed[0] for name in self.counts if (parsed := names.parse_topic(name))})

    @property
    def alerts(self) -> int:
        """How many alerts are played."""
        return self.counts.total()


def recorded(path: Path) -> Night:
    """A night from real packets: a directory or an archive of them, grouped by visit, the oldest visit first.

    Raises ZadsError if there are none, or if one is not a packet.
    """
    visits: dict[str, Visit] = {}
    counts: Counter[str] = Counter()
    for name, data in files.packets(path):
        packet = Packet.parse(data, source=name)
        visit = visits.setdefault(packet.visit, Visit(f"{packet.night}-{packet.visit}"))
        visit.packets.append((Path(name).name, data))
        counts[packet.topic] += 1
    if not visits:
        raise ZadsError(f"there are no packets in {path}", hint="name a directory or a .tar.gz of .avro files")
    return Night([visits[visit] for visit in sorted(visits)], str(path), counts)


def simulated(night: str, visits: int, alerts_per_visit: int, seed: int = 1) -> Night:
    """A night of simulated packets, the same for the same arguments."""
    made = [
        Visit(f"{night}-{visit}", packets)
        for visit, packets in simulator.simulate(night, visits, alerts_per_visit, seed)
    ]
    return Night(made, "", Counter(Packet.trusted(data).topic for visit in made for _, data in visit.packets))
