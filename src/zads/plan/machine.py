"""The machine that a plan counts in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A machine: processors, memory in GiB, disks in TB altogether, network in Gbit/s."""

    processors: int = 16
    memory_gib: float = 64
    disk_tb: float = 8
    network_gbit: float = 10

    def __str__(self) -> str:
        return (
            f"{self.processors} processors, {self.memory_gib:g} GiB of memory, {self.disk_tb:g} TB of disks, "
            f"{self.network_gbit:g} Gbit/s"
        )
