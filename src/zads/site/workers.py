"""Which filter workers run on which host: those of each group go round the hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def share(
    filter_groups: Mapping[str, Mapping[str, Any] | None], hosts: Sequence[str], host: str
) -> list[tuple[str, int]]:
    """The workers of a host: each one's group, and its number in the group, from 1 on. Raises ValueError if the host
    is none of the ``hosts`` of workers."""
    place = hosts.index(host)
    return [
        (group, number)
        for group, settings in filter_groups.items()
        for number in range(1, (settings or {}).get("workers", 1) + 1)
        if (number - 1) % len(hosts) == place
    ]
