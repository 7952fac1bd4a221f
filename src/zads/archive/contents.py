"""What a set of packets holds, in a digest that does not depend on their order or on how they are packed.

It is the sum modulo 2^256 of SHA-256 over each packet's candid and the SHA-256 of its bytes (see `zads.manifest` for
why a sum). So an archive, a directory and a topic can be compared. Headers that differ from topic to topic, such as the
time of production, are not part of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from zads.manifest import MODULUS


@dataclass
class Contents:
    """The packets of an archive or a topic: their number, their bytes, and their digest as a number."""

    packets: int = 0
    size: int = 0
    digest_sum: int = 0

    def add(self, candid: int, size: int, sha256: bytes) -> None:
        """Add a packet with so many bytes and this SHA-256."""
        self.packets += 1
        self.size += size
        one = hashlib.sha256(candid.to_bytes(8, "big") + sha256).digest()
        self.digest_sum = (self.digest_sum + int.from_bytes(one, "big")) % MODULUS

    @property
    def digest(self) -> str:
        """The digest as 64 hexadecimal digits."""
        return f"{self.digest_sum:064x}"
